"""No kernel reads or writes outside its arrays: it would die, in a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, python_path

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.usefixtures("numba"),
    pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="needs mprotect"),
]


def run(side, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", python_path(ROOT))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    program = [sys.executable, "-X", "faulthandler", Path(__file__).with_name("guarded.py"), side]
    return subprocess.run(program, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("side", ["before", "after"])
def test_no_kernel_leaves_its_arrays(side, monkeypatch):
    done = run(side, monkeypatch)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 100  # arrays of their own, too


def test_who_leaves_an_array_dies(monkeypatch):
    assert run("stray", monkeypatch).returncode in (-signal.SIGSEGV, -signal.SIGBUS)
