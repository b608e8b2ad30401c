"""Fixtures. Every test makes and reads arrays through two of them, whatever the backend is."""

import importlib.util
import os

import numpy as np
import pytest
from hypothesis import settings

from minae import backend
from minae.engine import OPS

if importlib.util.find_spec("numba") is None:  # the first kernel would warn: an error in tests
    os.environ.setdefault("MINAE_KERNELS", "reference")

settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


@pytest.fixture(scope="session")
def array():
    """``array(values, dtype=None)``: an array of the backend."""
    return lambda values, dtype=None: backend.asarray(np.asarray(values, dtype=dtype))


@pytest.fixture(scope="session")
def numpy():
    """``numpy(x)``: the entries of an array of the backend, or of a Tensor, as a NumPy array."""
    return lambda x: np.asarray(backend.asnumpy(getattr(x, "array", x)))


@pytest.fixture
def scratch_ops():
    """Ops that a test declares are forgotten after it."""
    before = dict(OPS)
    yield
    OPS.clear()
    OPS.update(before)
