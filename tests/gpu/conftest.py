"""What only CuPy has, on a GPU or on the stand-in; and the CUDA forms, there emulated."""

import importlib

import pytest
from standin import emulator

from minae import backend, faults, kernels
from minae.kernels import reference


@pytest.fixture(autouse=True)
def on_cupy():
    if backend.name == "numpy":
        pytest.skip("for CuPy, or its stand-in: PYTHONPATH=tests/standin:. MINAE_BACKEND=cupy")


@pytest.fixture(params=["forwards", "backwards"])
def compiler(on_cupy, request, monkeypatch):
    """CUDA can be compiled and run here.

    Emulated, all tests run twice: with threads that take turns in one order and in the other.
    """
    package = importlib.import_module("minae.kernels.cuda")
    if package.RawModule is None:
        if not emulator.available:
            pytest.skip("CUDA is emulated by g++ on x86-64 alone")
        monkeypatch.setattr(package, "RawModule", emulator.RawModule)
        monkeypatch.setattr(emulator, "backwards", request.param == "backwards")
    elif request.param == "backwards":
        pytest.skip("a GPU has an order of its own")


@pytest.fixture
def cuda(compiler, monkeypatch):
    """``cuda("search")``: the module of that name in kernels/cuda; faults are raised at once."""
    monkeypatch.setattr(faults, "DEFERRED", False)
    return lambda name: importlib.import_module(f"minae.kernels.cuda.{name}")


@pytest.fixture
def emulated(compiler, monkeypatch):
    """Every kernel that has a CUDA form runs it."""

    def form(kernel):
        if kernel not in kernels.CUDA:
            return getattr(reference, kernel)
        return getattr(importlib.import_module(f"minae.kernels.{kernels.CUDA[kernel]}"), kernel)

    monkeypatch.setattr(kernels, "form", form)
