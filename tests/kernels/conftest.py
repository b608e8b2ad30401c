"""The compiled forms, which need Numba and are for NumPy alone."""

import pytest


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
    vectors, compiler = compiled("vectors"), compiled("compiler")
    folder = compiler._base() if compiler._cache() else tmp_path_factory.getbasetemp() / "kept"
    monkeypatch.setenv("MINAE_CACHE", str(folder))
    return vectors
