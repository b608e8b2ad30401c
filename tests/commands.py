"""The commands in examples/, run in the process of the test."""

import io
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str


def run(example, *options, cwd=ROOT, **environment):
    """What a program would see of it. A value None takes a variable of the environment away."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [example, *map(str, options)])
        patch.chdir(cwd)
        for name, value in environment.items():
            patch.delenv(name, raising=False) if value is None else patch.setenv(name, str(value))
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / "examples" / example), run_name="__main__")
    return Done(stop.value.code, out.getvalue(), err.getvalue())
