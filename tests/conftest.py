"""Fixtures. Every test makes and reads arrays through two of them, whatever the backend is."""

import warnings

import numpy as np
import pytest
from hypothesis import settings

from minae import backend, kernels
from minae.engine import OPS

settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


@pytest.fixture(scope="session", autouse=True)
def warned():
    """That kernels cannot be compiled here, or kept, is said once: now, and not in some test."""
    one = backend.xp.ones(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kernels.gate(one, one)


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
