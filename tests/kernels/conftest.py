"""The compiled forms, which need Numba and are for NumPy alone."""

import importlib
import warnings

import pytest

from minae import backend, kernels


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
def threads(compiled, monkeypatch):
    """``threads(3)``: so many threads share the work from now on."""
    module = compiled("threads")

    def choose(count):
        monkeypatch.setenv("MINAE_THREADS", str(count))
        module.threads.cache_clear()
        assert module.threads() == count

    yield choose
    monkeypatch.undo()
    module.threads.cache_clear()


@pytest.fixture
def numba(compiled, monkeypatch, tmp_path_factory):
    """The fast kernels can be compiled, and kept."""
    tile, compiler = compiled("tile"), compiled("compiler")
    folder = compiler._base() if compiler._cache() else tmp_path_factory.getbasetemp() / "kept"
    monkeypatch.setenv("MINAE_CACHE", str(folder))
    return tile
