"""The fast kernels on any machine: without Numba, without a cache, with a damaged, shared or stale
one, in threads and forks, for other processors. Each in a process of its own."""

import json
import os
import platform
import shutil

import pytest
from processes import HEAD, ROOT, check, run, start

from minae import backend, kernels

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(backend.name != "numpy", reason="the fast kernels are for NumPy alone"),
]
needs_numba = pytest.mark.usefixtures("numba")


SUMS = "right('scatter_sum', integers(50, 7), rng.integers(0, 5, 50), 5)"
GATE = 'right("gate", integers(64, 50), integers(64, 50))'
LIGHT = f"{HEAD}\nreport(right=[{SUMS}, {GATE}])"  # two that compile at once
ALL = f"""{HEAD}
report(right=[
    right("nearest", integers(300, 7), integers(70, 7)),
    right("nearest", integers(3, 5), kernels.prepare(integers(9, 5))),
    right("conv2d", integers(2, 6, 5, 3), integers(3, 3, 3, 5), integers(5), relu=True),
    right("conv2d_input", integers(2, 4, 3, 5), integers(3, 3, 3, 5), size=(6, 5)),
    right("conv2d_weight", integers(2, 6, 5, 3), integers(2, 4, 3, 5), size=(3, 3)),
    {SUMS}, {GATE},
])"""


# --- Numba is absent -----------------------------------------------------------------------------

ABSENT = 'import sys; sys.modules["numba"] = None\n'


def test_without_numba_numpy_computes():
    check(run(ABSENT + ALL), "computes in NumPy alone, more slowly", fell=True)
    assert 'pip install "minae[fast]"' in run(ABSENT + LIGHT).stdout.replace("\\", "")


@needs_numba
def test_a_numba_that_may_not_compile_counts_as_absent():
    done = run(ALL, NUMBA_DISABLE_JIT=1)
    check(done, "computes in NumPy alone, more slowly: NUMBA_DISABLE_JIT", fell=True)
    assert not done.stderr


def test_the_reference_asks_for_no_numba():
    done = run(ALL + '\nimport sys; assert "numba" not in sys.modules', MINAE_KERNELS="reference")
    check(done)


@pytest.mark.parametrize("program, environment, error", [
    (ABSENT + LIGHT, {}, "ModuleNotFoundError"),
    (LIGHT, {"NUMBA_DISABLE_JIT": "1"}, "Unavailable: NUMBA_DISABLE_JIT is set"),
], ids=["no numba", "no compiler"])  # fmt: skip
def test_fast_raises_where_auto_falls_back(program, environment, error, request):
    if environment:
        request.getfixturevalue("numba")
    done = start(program, MINAE_KERNELS="fast", **environment)
    assert done.returncode == 1 and error in done.stderr.splitlines()[-1]


def test_warm_up_takes_one_dtype_and_refuses_others():
    kernels.warm_up("float32")
    for dtypes in ("float16", ["float32", "int64"]):
        with pytest.raises(ValueError, match="float32 and float64, not"):
            kernels.warm_up(dtypes)


@needs_numba
def test_warm_up_compiles_all_or_falls_back_once():
    program = HEAD + "kernels.warm_up(); kernels.warm_up(); report(right=[])"
    check(run(program, NUMBA_DISABLE_JIT=1), "NUMBA_DISABLE_JIT", fell=True)
    check(run(program, MINAE_KERNELS="reference"))
    done = start(program, MINAE_KERNELS="fast", NUMBA_DISABLE_JIT=1)
    assert done.returncode == 1 and "Unavailable" in done.stderr
    check(run(HEAD + """
kernels.warm_up(["float32"])
from minae.kernels import compiler
dtypes = {tuple(each.forms) for each in compiler._kernels}
report(right=[len(compiler._kernels) >= 8, dtypes == {(np.dtype("f4"),)}])
"""))


# --- The cache -----------------------------------------------------------------------------------

COMPILING = "minae: compiling kernels for this processor, once"


def cached(folder):
    return sorted(path for path in folder.rglob("*.nb?"))


@needs_numba
def test_compiling_says_so_in_one_line_and_a_warm_cache_is_silent(tmp_path):
    done = run(LIGHT, MINAE_CACHE=tmp_path)
    check(done)
    assert done.stderr.splitlines() == [COMPILING]
    files = cached(tmp_path)
    assert [path.suffix for path in files] == [".nbc", ".nbi"] * 2
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    done = run(LIGHT, MINAE_CACHE=tmp_path)
    check(done)
    assert not done.stderr and cached(tmp_path) == files


PLACES = "MINAE_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"


@needs_numba
def test_where_no_cache_can_be_made_it_works_without(tmp_path):
    (tmp_path / "file").touch()
    done = run(LIGHT, **dict.fromkeys(PLACES) | {"HOME": tmp_path / "file" / "below"})
    check(done, "compiled kernels cannot be kept")
    assert done.stderr.splitlines() == [COMPILING]


@pytest.mark.parametrize("place", PLACES)
def test_each_place_may_be_one_where_no_cache_can_be_made(place, compiled, monkeypatch, tmp_path):
    compiler = compiled("compiler")
    (tmp_path / "file").touch()
    for name in PLACES[PLACES.index(place) :]:
        monkeypatch.setenv(name, str(tmp_path))
    for name in PLACES[: PLACES.index(place)]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(compiler, "_warned", [])
    assert tmp_path in compiler._cache.__wrapped__().parents
    monkeypatch.setenv(place, str(tmp_path / "file" / "below"))
    with pytest.warns(RuntimeWarning, match="set MINAE_CACHE to a folder of yours"):
        assert compiler._cache.__wrapped__() is None


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache that has what LIGHT needs; to be copied."""
    folder = tmp_path_factory.mktemp("warm")
    run(LIGHT, MINAE_CACHE=folder)
    return folder


@needs_numba
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_cache_changes_no_result(suffix, warm, tmp_path):
    shutil.copytree(warm, tmp_path, dirs_exist_ok=True)
    empty, cut = (path for path in cached(tmp_path) if path.suffix == suffix)
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    report = json.loads(run(LIGHT, MINAE_CACHE=tmp_path).stdout)
    assert all(report["right"]) and not report["fell"]


posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


@needs_numba
@posix
def test_a_cache_that_others_may_write_is_not_used(warm, tmp_path):
    shutil.copytree(warm, tmp_path, dirs_exist_ok=True)
    (folder,) = tmp_path.iterdir()
    folder.chmod(0o777)
    times = {path: path.stat().st_mtime_ns for path in cached(folder)}
    done = run(LIGHT, MINAE_CACHE=tmp_path)
    check(done, "others may write")
    assert done.stderr.splitlines() == [COMPILING]
    assert times and {path: path.stat().st_mtime_ns for path in cached(folder)} == times


@posix
@pytest.mark.parametrize("mode, used", [(0o700, True), (0o755, True), (0o720, False),
                                        (0o702, False)])  # fmt: skip
def test_which_modes_let_others_write(mode, used, compiled, monkeypatch, tmp_path):
    compiler = compiled("compiler")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("MINAE_CACHE", str(tmp_path))
    monkeypatch.setattr(compiler, "_warned", [])
    folder = compiler._cache.__wrapped__()
    folder.chmod(mode)
    if used:
        assert compiler._cache.__wrapped__() == folder
    else:
        with pytest.warns(RuntimeWarning, match="others may write"):
            assert compiler._cache.__wrapped__() is None


@needs_numba
def test_an_edited_intrinsic_is_compiled_anew_whatever_its_date(tmp_path):
    root, cache = tmp_path / "copy", tmp_path / "cache"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "minae", root / "minae", ignore=ignored)
    program = f"""{HEAD}
x, y = (np.array(line, "f4").reshape(1, 1, 2, 1) for line in ([2, 3], [5, 7]))
found = kernels.conv2d_weight(x, y, size=(1, 1))
report(right=[reference.__file__.startswith({str(root)!r})], found=found.item())
"""

    def result():
        done = run(program, root, MINAE_CACHE=cache, PYTHONDONTWRITEBYTECODE=1)
        check(done)
        return json.loads(done.stdout)["found"], done.stderr.splitlines()

    assert result() == (31, [COMPILING])
    assert result() == (31, [])
    tile = root / "minae" / "kernels" / "tile.py"  # the kernel itself is in convolution.py
    source, times = tile.read_text(), tile.stat()
    multiply = "builder.call(function, [x, w, acc])"
    assert source.count(multiply) == 1
    tile.write_text(source.replace(multiply, multiply.replace("w", "x")))
    os.utime(tile, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert result() == (13, [COMPILING])


# --- Threads and processes -----------------------------------------------------------------------

# Large enough for all of them to be shared between threads.
SHARED = HEAD + """
vectors, codebook, codes = integers(4000, 16), integers(300, 16), rng.integers(0, 9, 9000)
images, weight, values = integers(8, 14, 14, 8), integers(3, 3, 8, 16), integers(9000, 32)

def everything(module):
    return b"".join(a.tobytes() for a in (
        *module.nearest(vectors, codebook), module.conv2d(images, weight, padding=(1, 1)),
        module.scatter_sum(values, codes, 9),
    ))

want = everything(reference)
"""


@needs_numba
@pytest.mark.parametrize("count", [1, 2])
def test_eight_threads_may_call_at_once(count):
    """Their first calls, too, which compile or load."""
    check(run(SHARED + """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    report(right=list(pool.map(lambda i: everything(kernels) == want, range(40))))
""", MINAE_THREADS=count))


@needs_numba
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_computes_too():
    check(run(SHARED + """
import multiprocessing, os, threading
def helped():
    return any(thread.name == "minae" for thread in threading.enumerate())

assert everything(kernels) == want and helped()
child = os.fork()
if not child:  # it has none of the threads, and starts its own
    alone = not helped()
    os._exit(0 if alone and everything(kernels) == want and helped() else 9)
status = os.waitpid(child, 0)[1]

def work(i):
    return everything(kernels) == want

with multiprocessing.get_context("fork").Pool(2) as pool:
    found = pool.map(work, range(4))
caught.clear()  # Python warns of forks beside threads
report(right=[status == 0, *found, everything(kernels) == want])
"""))


@needs_numba
def test_a_spawned_child_computes_too(tmp_path):
    (tmp_path / "work.py").write_text(SHARED + """
def work(i):
    return everything(kernels) == want
""")
    check(run(f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from work import *
import multiprocessing
assert work(0)
with multiprocessing.get_context("spawn").Pool(2) as pool:
    report(right=pool.map(work, range(4)))
"""))


# --- Other processors ----------------------------------------------------------------------------


@needs_numba
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these are x86's")
def test_a_processor_without_wide_registers_falls_back():
    done = run(ALL, NUMBA_CPU_NAME="nehalem", NUMBA_CPU_FEATURES="+sse4.2")
    check(done, "this processor has none of AVX-512, AVX2 with FMA, and NEON", fell=True)


@needs_numba
def test_a_smaller_processor_gets_its_own_tile(numba):
    """This one's code would not run there; nor does it come from this one's cache."""
    if numba.WIDTH != 64:
        pytest.skip("no processor with AVX-512, to name a smaller one on")
    environment = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2"}
    check(run(ALL, **environment))
    tile = "from minae.kernels.vectors import *; print(WIDTH, ROWS, VECTORS)"
    assert run(tile, **environment).stdout.split() == ["32", "6", "2"]
