"""The documentation keeps its word: its code runs and prints what it says, its quotations stand in
the files, its links lead somewhere, every public name is described, and the site builds."""

import ast
import inspect
import io
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import minae
from minae import backend, nn

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "pages").rglob("*.md"))
FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(DOCS / "pages").as_posix()
)


class Block(NamedTuple):
    kind: str
    title: str  # the file that it is quoted from, or what is printed above it
    text: str
    line: int
    follows: bool  # only blank lines stand between it and the block before


def blocks(page):
    content, end, found = page.read_text(encoding="utf-8"), 0, []
    for match in FENCE.finditer(content):
        kind, title, text = match.groups()
        line = content.count("\n", 0, match.start()) + 1
        follows = bool(found) and not content[end : match.start()].strip()
        found.append(Block(kind, title or "", text, line, follows))
        end = match.end()
    return found


def quoted(excerpt, source):
    """Whether the lines stand in ``source`` one after the other, all indented alike; ``...`` alone
    on a line stands for any lines."""
    lines = source.splitlines()
    parts = [part.strip("\n").splitlines() for part in re.split(r"^\.\.\.$", excerpt, flags=re.M)]
    return any(_in_order(parts, lines, shift) for shift in range(-12, 13, 4))


def _in_order(parts, lines, shift):
    start = 0
    for part in parts:
        wanted = [_shifted(line, shift) for line in part]
        places = range(start, len(lines) - len(part) + 1)
        found = next((i for i in places if lines[i : i + len(part)] == wanted), None)
        if found is None:
            return False
        start = found + len(part)
    return True


def _shifted(line, shift):
    return " " * shift + line if shift > 0 and line else line.removeprefix(" " * -shift)


@each_page
def test_every_fence_is_understood(page):
    text = page.read_text(encoding="utf-8")
    assert len(re.findall("^ *```", text, re.M)) == 2 * len(blocks(page))
    assert {block.kind for block in blocks(page)} <= {"python", "text", "sh", "json"}


@each_page
def test_code_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch, scratch_ops):
    if backend.name != "numpy":
        pytest.skip("the pages show what NumPy prints")
    monkeypatch.chdir(tmp_path)
    listed, namespace = blocks(page), {"__name__": "__main__"}
    for block, after in zip(listed, [*listed[1:], None]):
        if block.kind != "python" or block.title:
            continue
        where, printed = f"{page.name}, line {block.line}", io.StringIO()
        with redirect_stdout(printed):
            exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)
        promised = after.text if after and after.kind == "text" and after.follows else ""
        assert printed.getvalue() == promised, where


@each_page
def test_quotations_stand_in_their_files(page):
    for block in blocks(page):
        if block.kind == "python" and block.title:
            source = (ROOT / block.title).read_text(encoding="utf-8")
            assert quoted(block.text, source), f"{page.name}, line {block.line}: {block.title}"


def test_a_false_quotation_is_found():
    source = "def f(x):\n    if x:\n        return 1\n    return 2\n"
    assert quoted("if x:\n    return 1\n", source)
    assert quoted("    def f(x):\n...\n        return 2\n", source)
    assert not quoted("if x:\n    return 2\n", source)
    assert not quoted("if x:\nreturn 1\n", source)
    assert not quoted("return 2\n...\nif x:\n", source)


@each_page
def test_links_lead_somewhere(page):
    prose = re.sub(FENCE, "", page.read_text(encoding="utf-8"))
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", prose):
        if target.startswith(("http:", "https:")):
            continue
        other = (page.parent / target) if target else page
        assert other.is_file(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", other.read_text(encoding="utf-8"), re.M)
            slugs = [re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower())
                     for h in headings]
            assert anchor in slugs, f"{page.name}: {target}#{anchor}"


def test_the_menu_lists_every_page_once():
    nav = (DOCS / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[1]
    listed = re.findall(r": (\S+\.md)$", nav, re.M)
    assert sorted(listed) == sorted(p.relative_to(DOCS / "pages").as_posix() for p in PAGES)


@each_page
def test_commands_name_files_that_exist(page):
    for block in blocks(page):
        if block.kind == "sh":
            for path in re.findall(r"[\w./-]+/[\w./-]+\.(?:py|yml|toml)\b", block.text):
                assert (ROOT / path).is_file(), f"{page.name}, line {block.line}: {path}"


# --- The run folder ------------------------------------------------------------------------------


def keys_of_the_table(heading):
    """The names in the first column of the table below a heading of the page."""
    text = (DOCS / "pages" / "run-folder.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([\w.]+)` \|", section, re.M)


def test_the_keys_of_the_metrics_are_the_example_s():
    tree = ast.parse((ROOT / "examples" / "vqvae_mnist.py").read_text(encoding="utf-8"))
    (written,) = [
        node.value for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "metrics"
    ]
    keys = [key.value for key in written.keys if key is not None]  # None: **run.summary()
    assert keys_of_the_table("metrics.json") == [*keys, "seconds", "step_ms", "versions"]


# --- The docstrings ------------------------------------------------------------------------------

ROOMS = [room for name in dir(minae) if isinstance(room := getattr(minae, name), ModuleType)
         and room.__name__.startswith("minae.")]
SELF_EVIDENT = {"x", "y", "rng", "path", "keepdims"}  # the page of the functions says the rest


def public(room):
    """What a module offers, by name: what its ``__all__`` lists, or else what it defines."""
    defined = [name for name, thing in vars(room).items() if not name.startswith("_")
               and getattr(thing, "__module__", "") == room.__name__ and callable(thing)]
    names = getattr(room, "__all__", defined)
    return {name: getattr(room, name) for name in names if not name.startswith("_")}


EVERYTHING = {f"{room.__name__}.{name}": thing
              for room in (minae, *ROOMS) for name, thing in public(room).items()}


def test_every_public_function_class_and_method_says_what_it_does():
    assert len(ROOMS) >= 12
    for path, thing in EVERYTHING.items():
        assert thing.__doc__, path
        for name, member in vars(thing).items() if inspect.isclass(thing) else ():
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(getattr(thing, name)), f"{path}.{name}"


def test_every_parameter_is_spoken_of_by_its_name():
    for path, thing in EVERYTHING.items():
        record = inspect.isclass(thing) and issubclass(thing, (tuple, Exception))
        if record or not callable(thing):
            continue
        parents = getattr(thing, "__mro__", (thing,))
        told = " ".join(p.__doc__ for p in parents if not p.__name__.startswith("_") and p.__doc__)
        for name in inspect.signature(thing).parameters.keys() - SELF_EVIDENT:
            assert re.search(rf"\b{name}\b", told), f"{path} does not say what {name} is"


# --- The site ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(package, reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "-f", DOCS / "mkdocs.yml", "-d", folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_loads_nothing_from_elsewhere(site):
    built = list(site.rglob("*.html"))
    assert len(built) >= len(PAGES)
    loaded = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*(?:src|href)=["']?(?:https?:)?//""")
    for page in built:
        assert not loaded.search(page.read_text(encoding="utf-8")), page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text("utf-8"))


@pytest.fixture(scope="module")
def entries(site):
    """What the reference says of each name: for every place, the description without its code."""
    found = {}
    for page in sorted((site / "reference").glob("*.html")):
        article = page.read_text(encoding="utf-8").split("<article")[1].split("</article>")[0]
        _, *parts = re.split(r'<h\d id="(minae[\w.]*)" class="doc doc-heading">', article)
        for path, entry in zip(parts[::2], parts[1::2]):
            entry = re.sub(r"<details.*?</details>", "", entry, flags=re.DOTALL)  # the source code
            _, _, entry = entry.partition('<div class="doc doc-contents')
            found.setdefault(path, []).append((page.name, entry))
    return found


def test_every_public_name_has_one_entry_that_describes_it(entries):
    for path in EVERYTHING:
        places = [page for page, _ in entries.get(path, ())]
        assert len(places) == 1, f"{path} is on {places}: see docs/pages/reference"
        ((_, entry),) = entries[path]
        assert re.search(r"<p>.*\w", entry), path  # the line of its bases has a class


def test_every_layer_shows_how_it_is_made(site):
    text = (site / "reference" / "nn.html").read_text(encoding="utf-8")
    for name in nn.__all__:
        if getattr(nn, name).__init__ is not object.__init__:
            _, _, entry = text.partition(f'id="minae.nn.{name}" class="doc doc-heading">')
            signature = re.sub("<.*?>", "", entry.partition('<div class="doc doc-contents')[0])
            assert f"{name}(" in signature, name


def test_the_reference_has_no_private_and_no_inherited_names(entries):
    for path, ((_, entry), *_) in entries.items():
        bases = re.findall(r'class="doc doc-class-bases">.*?</p>', entry, re.DOTALL)
        assert not re.search(r"\b_[a-zA-Z]", re.sub("<.*?>", " ", " ".join([path, *bases]))), path
    assert "minae.nn.Module.parameters" in entries and "minae.nn.Linear.parameters" not in entries


def test_kernels_are_described_by_their_definition(entries):
    ((_, entry),) = entries["minae.kernels.nearest"]
    assert "vectors (..., D) and codebook (K, D)" in entry


def test_docstrings_become_code_and_links(entries):
    ((_, entry),) = entries["minae.elementwise"]
    (code,) = re.findall(r"<pre>(.*?)</pre>", entry, re.DOTALL)
    assert "@elementwise(x=lambda g, y: g * y" in re.sub(r"<.*?>", "", code)
    ((_, entry),) = entries["minae.optim.SGD"]
    assert 'href="kernels.html#minae.kernels.sgd"><code>kernels.sgd</code></a>' in entry
    ((_, entry),) = entries["minae.vq.Quantized.codes"]
    assert "(...): integers in [0, K)" in entry  # the comment beside the field
    for path, places in entries.items():
        for _, entry in places:
            prose = re.sub(r"<pre>.*?</pre>|<.*?>", "", entry, flags=re.DOTALL)
            assert "::" not in prose and "``" not in prose, path
