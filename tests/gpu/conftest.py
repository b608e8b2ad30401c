"""The CUDA forms on a GPU; or without one on the CPU, emulated."""

import importlib

import pytest
from standin import emulator

from minae import kernels
from minae.kernels import reference


@pytest.fixture(params=["forwards", "backwards"])
def cuda(request, monkeypatch):
    """``cuda("search")``: the module of that name in kernels/cuda, whose kernels can run here.

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
    return lambda name: importlib.import_module(f"minae.kernels.cuda.{name}")


@pytest.fixture
def emulated(cuda, monkeypatch):
    """Every kernel that has a CUDA form runs it."""

    def form(kernel):
        if kernel not in kernels.CUDA:
            return getattr(reference, kernel)
        return getattr(importlib.import_module(f"minae.kernels.{kernels.CUDA[kernel]}"), kernel)

    monkeypatch.setattr(kernels, "form", form)
