"""The choice of backend, what importing costs, and what each process may load."""

import json
import subprocess
import sys

import numpy as np
import pytest

from minae import backend

SHOW = (
    "import json, sys, minae; from minae import backend; print(json.dumps([backend.name, sorted("
    "{m.split('.')[0] for m in sys.modules}), sorted(m for m in sys.modules if 'minae' in m)]))"
)


def run(code, **environment):
    """Run code in a fresh process: (exit status, standard output, standard error)."""
    import os

    clean = {k: v for k, v in os.environ.items() if not k.startswith("MINAE_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean | environment
    )
    return done.returncode, done.stdout, done.stderr


def test_import_loads_neither_accelerators_nor_later_rooms():
    status, out, err = run(SHOW)
    assert status == 0, err
    name, top, inside = json.loads(out)
    assert name == "numpy"
    assert not {"cupy", "numba", "scipy", "torch", "pytest", "hypothesis"} & set(top)
    assert "minae.testing" not in inside
    assert run("import minae; minae.testing.check_grads; assert 'testing' in dir(minae)")[0] == 0
    assert "has no attribute 'nonsense'" in run("import minae; minae.nonsense")[2]


def test_import_draws_no_numbers_and_writes_no_files(tmp_path):
    code = (
        "import sys\n"
        "import numpy, os, contextlib, heapq\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: seen.append((event, args)))\n"
        "import minae\n"
        "writes = [a for e, a in seen if e == 'open' and isinstance(a[1], str) and a[1] != 'r'"
        " and 'b' not in a[1]]\n"
        "bad = [e for e, a in seen if e.startswith(('socket', 'subprocess', 'os.mkdir'))]\n"
        "assert not bad and not writes, (bad, writes)\n"
        "assert 'threading' not in sys.modules or len(sys.modules['threading'].enumerate()) == 1\n"
    )
    status, _, err = run(code, PYTHONDONTWRITEBYTECODE="1")
    assert status == 0, err


def test_auto_never_raises():
    status, out, err = run(SHOW, MINAE_BACKEND="auto")
    assert status == 0 and json.loads(out)[0] in ("numpy", "cupy"), err


def test_cupy_without_cupy_names_the_cure():
    hide = "import sys; sys.modules['cupy'] = None; import minae"
    status, _, err = run(hide, MINAE_BACKEND="cupy")
    last = err.strip().splitlines()[-1]
    assert status == 1 and last.startswith("ImportError: MINAE_BACKEND=cupy, but CuPy cannot be")
    assert "minae[cuda12]" in last and "unset MINAE_BACKEND" in last


def test_cupy_without_a_device_names_the_reason():
    fake = (
        "import sys, types; c = sys.modules['cupy'] = types.ModuleType('cupy');"
        "c.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=lambda: 0));"
        "import minae; print(minae.xp.__name__)"
    )
    status, _, err = run(fake, MINAE_BACKEND="cupy")
    assert status == 1 and "no CUDA device was found" in err
    status, out, _ = run(fake, MINAE_BACKEND="auto")
    assert status == 0 and out.strip() == "numpy"


def test_an_unknown_backend_is_refused():
    status, _, err = run("import minae", MINAE_BACKEND="jax")
    assert status == 1 and "choose numpy, cupy or auto" in err


def test_asarray_takes_what_speaks_dlpack(numpy):
    class Speaker:
        def __init__(self, values):
            self.values = values

        def __dlpack__(self, **options):
            return self.values.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.values.__dlpack_device__()

    source = backend.asarray([1.0, 2.0])
    np.testing.assert_array_equal(numpy(backend.asarray(Speaker(source))), [1, 2])
    assert backend.asarray(Speaker(source), "float64").dtype == "float64"


def test_memory_maps_are_arrays(tmp_path, numpy):
    import minae

    path = tmp_path / "x.npy"
    np.save(path, np.arange(6.0, dtype="float32"))
    mapped = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(numpy(minae.tensor(mapped)[2:4]), [2, 3])
    if backend.name == "numpy":
        assert (minae.Tensor([2.0]) * mapped).tolist() == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), ("x" * 100, "'" + "x" * 36 + "..."), (np.zeros((2, 0), "int8"), "int8[2, 0]")],
)
def test_describe(value, text):
    assert backend.describe(value) == text
