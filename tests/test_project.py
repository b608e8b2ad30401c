"""The project keeps its word: the README runs, the sources are typed and in their lines."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import minae
from minae.engine import OPS

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(minae.xp.__name__ != "numpy", reason="the plain arrays of README are NumPy's")
def test_the_readme_runs(capsys, tmp_path, monkeypatch, scratch_ops):
    monkeypatch.chdir(tmp_path)  # it saves a file
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    for promised in re.findall(r"print\(.*\) +# (.+)", code):
        assert promised in printed
    assert "sqrt(float32[2]) made the first NaN, at (1,); called at" in printed


def test_the_readme_shows_the_whole_public_api():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (screen,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    listed = set(re.findall(r"\w+", screen[screen.index("# All there is") :]))
    assert {name for name in dir(minae) if not name.startswith("_")} <= listed


@pytest.mark.parametrize("tool", [["ruff", "check", "."], ["mypy"]], ids=lambda t: t[0])
def test_static_checks(tool):
    pytest.importorskip(tool[0], reason="a tool of the extra test")
    done = subprocess.run(
        [sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_mutant_of_every_rule():
    """And all that are said to be equivalent to the original still exist."""
    command = [sys.executable, ROOT / "tests" / "mutate_rules.py", "--list"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for op in OPS.values():
        if op.forward.__module__.startswith("minae.ops"):
            for rule in filter(None, [*op.rules, op.joint]):
                name = f".{rule.pull.__name__}"
                name = f"{op.name}, {rule.argument}" if name == ".<lambda>" else name
                assert f"{name}\n" in done.stdout, name


def code_lines(path):
    """Lines that hold code: no blanks, comments or docstrings."""
    source = path.read_text(encoding="utf-8")
    strings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, node.end_lineno + 1)
    }  # fmt: skip
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in blank and token.type != tokenize.ENDMARKER
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - strings)


def test_the_engine_stays_small():
    parts = ["backend", "random", "op", "engine", "debugging", "tensor", "ops/*"]
    files = [f for part in parts for f in (ROOT / "minae").glob(f"{part}.py")]
    assert len(files) >= 12
    assert sum(map(code_lines, files)) <= 1650


def test_version_and_types():
    assert re.fullmatch(r"\d+\.\d+\.\d+", minae.__version__)
    assert f"## {minae.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert (ROOT / "minae" / "py.typed").exists()
