"""The choice of backend, what importing costs, and what each process may load."""

import json
import subprocess
import sys
from pathlib import Path

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


# --- A GPU that cannot be used: one line that names the cure, or NumPy where `auto` may choose ----

STANDIN = Path(__file__).with_name("standin")
CHANGED = "import sys; sys.path.insert(0, {path!r}); import cupy; r = cupy.cuda.runtime\n{change}\n"


def changed(change):
    """A program's first line: the stand-in for CuPy, but with another runtime."""
    return CHANGED.format(path=str(STANDIN), change=change)


def raising(error):
    return f"def fail(): raise {error}\nr.getDeviceCount = fail"


UNUSABLE = {
    "no CuPy": (
        "import sys; sys.modules['cupy'] = None\n", "CuPy cannot be imported",
        "pip install cupy-cuda13x",
    ),
    "a broken CuPy": (
        "import sys, types; sys.modules['cupy'] = types.ModuleType('cupy')\n",
        "CuPy cannot be imported (AttributeError", "pip install cupy-cuda13x",
    ),
    "no driver": (changed("r.driverGetVersion = lambda: 0"), "no CUDA device was found", "smi"),
    "no device": (changed("r.getDeviceCount = lambda: 0"), "no CUDA device was found", "smi"),
    "a driver that fails": (
        changed(raising("RuntimeError('cudaErrorInsufficientDriver: too old\\nmore')")),
        "no CUDA device can be used (RuntimeError: cudaErrorInsufficientDriver: too old)",
        "cupy-cuda12x",
    ),
    "an old driver": (
        changed("r.driverGetVersion = lambda: 12040"), "the driver is of CUDA 12.4, CuPy of 13.0",
        "update it, or pip install cupy-cuda13x, or for an older driver cupy-cuda12x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("start, reason, cure", UNUSABLE.values(), ids=UNUSABLE)
def test_what_keeps_cupy_from_working_is_said_in_one_line(start, reason, cure):
    code = start + "import minae; print(minae.xp.__name__)"
    status, _, err = run(code, MINAE_BACKEND="cupy")
    last = err.strip().splitlines()[-1]
    assert status == 1 and last.startswith("ImportError: MINAE_BACKEND=cupy, but "), err
    assert reason in last and cure in last and last.endswith("or unset MINAE_BACKEND")
    status, out, err = run(code, MINAE_BACKEND="auto")
    assert (status, out) == (0, "numpy\n"), err
    assert err.startswith("minae: on NumPy, since ") and reason in err and err.count("\n") == 1


def test_auto_takes_the_gpu_and_says_which():
    code = changed("") + "import minae; print(minae.xp.__name__)"
    status, out, err = run(code, MINAE_BACKEND="auto", CUDA_VISIBLE_DEVICES="0,1", MINAE_DEVICE="1")
    assert (status, out, err) == (0, "cupy\n", "minae: on CuPy, device 1, stand-in\n")


@pytest.mark.parametrize("number", ["2", "-1", "one"])
def test_a_device_that_is_not_there_is_refused(number):
    code = changed("") + "import minae"
    status, _, err = run(
        code, MINAE_BACKEND="cupy", CUDA_VISIBLE_DEVICES="0,1", MINAE_DEVICE=number
    )
    assert status == 1 and f"MINAE_DEVICE={number} is no GPU here: choose one of 0 to 1" in err


def test_arrays_of_another_device_are_refused():
    code = changed("") + (
        "import minae\n"
        "with cupy.cuda.Device(0): x = cupy.ones(3)\n"
        "try: minae.tensor(x)\n"
        "except ValueError as error: print(error)\n"
        "print(minae.tensor([1.0]).data.device.id)\n"
    )
    status, out, err = run(
        code, MINAE_BACKEND="cupy", CUDA_VISIBLE_DEVICES="0,1", MINAE_DEVICE="1"
    )
    assert status == 0, err
    assert out == (
        "float64[3] is on GPU 0, minae on 1: copy it, or choose with MINAE_DEVICE\n1\n"
    )


def test_a_full_device_says_what_was_asked_and_what_is_free():
    code = changed("") + (
        "import minae\n"
        "pool = cupy.get_default_memory_pool()\n"
        "x = minae.tensor([1.0] * 256)\n"
        "del x\n"
        "pool.set_limit(1 << 20)\n"
        "try: minae.tensor([1.0] * 1000).reshape(-1, 1) * minae.tensor([1.0] * 1000)\n"
        "except MemoryError as error: print(error, pool.free_bytes(), sep='\\n')\n"
    )
    status, out, err = run(code, MINAE_BACKEND="cupy")
    assert status == 0, err
    message, free = out.splitlines()
    assert "no room for an array of 4,000,000 bytes: 9,216 are in use here" in message
    assert "of 85,899,345,920 are free" in message and "smaller batches" in message
    assert free == "0"


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
