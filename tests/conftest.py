"""Fixtures. Every test makes and reads arrays through two of them, whatever the backend is."""

import importlib
import importlib.util
import os
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from minae import backend, kernels
from minae.engine import OPS

if importlib.util.find_spec("numba") is None:  # the first kernel would warn: an error in tests
    os.environ.setdefault("MINAE_KERNELS", "reference")

settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


def pytest_terminal_summary(terminalreporter):
    """``MINAE_SKIPPED`` names a file for the tests that were skipped: one that pytest reads as
    arguments, to run these where what they lacked is installed."""
    if path := os.environ.get("MINAE_SKIPPED"):
        skipped = sorted({each.nodeid for each in terminalreporter.stats.get("skipped", ())})
        Path(path).write_text("".join(f"{each}\n" for each in skipped), encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def warned():
    """That kernels cannot be compiled here, or kept, is said once: now, and not in some test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kernels.scatter_sum(backend.xp.ones((1, 1)), backend.xp.zeros(1, int), 1)


@pytest.fixture(scope="session")
def array():
    """``array(values, dtype=None)``: an array of the backend."""
    return lambda values, dtype=None: backend.asarray(np.asarray(values, dtype=dtype))


@pytest.fixture(scope="session")
def numpy():
    """``numpy(x)``: the entries of an array of the backend, or of a Tensor, as a NumPy array."""
    return lambda x: np.asarray(backend.asnumpy(getattr(x, "array", x)))


@pytest.fixture(scope="session")
def compiled():
    """``compiled("codebook")``: a module of compiled forms; skips where there can be none."""

    def load(name):
        numba = pytest.importorskip("numba", reason="the fast kernels need Numba")
        if backend.name != "numpy" or numba.config.DISABLE_JIT:
            pytest.skip("the fast kernels are for NumPy alone, and need Numba's compiler")
        try:
            with warnings.catch_warnings():  # that they cannot be kept is said here, if it is
                warnings.simplefilter("ignore")
                importlib.import_module("minae.kernels.compiler")._cache()
            return importlib.import_module(f"minae.kernels.{name}")
        except kernels.Unavailable as error:
            pytest.skip(str(error))

    return load


@pytest.fixture
def ctrl_c():
    """Ctrl-C works, also where these tests run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def scratch_ops():
    """Ops that a test declares are forgotten after it."""
    before = dict(OPS)
    yield
    OPS.clear()
    OPS.update(before)
