"""Which form of a kernel runs: MINAE_KERNELS, the fall-back and its one warning."""

import sys
import types

import pytest

from minae import backend, kernels
from minae.kernels import reference

on_the_host = pytest.mark.skipif(backend.name != "numpy", reason="the other forms need NumPy")


@pytest.fixture(autouse=True)
def fresh():
    before = list(kernels._fallen)
    kernels.form.cache_clear()
    kernels._fallen.clear()
    yield
    kernels.form.cache_clear()
    kernels._fallen[:] = before


@pytest.fixture
def faster(monkeypatch):
    """A module that holds a faster erf."""
    module = types.ModuleType("minae.kernels.faster")
    module.erf = lambda x: "fast"
    monkeypatch.setitem(sys.modules, "minae.kernels.faster", module)
    monkeypatch.setitem(kernels.FORMS, "erf", "faster")


@on_the_host
@pytest.mark.parametrize(
    ("choice", "result"), [(None, "fast"), ("auto", "fast"), ("fast", "fast"), ("reference", 0.0)]
)
def test_the_choice(choice, result, faster, monkeypatch, array):
    if choice is None:
        monkeypatch.delenv("MINAE_KERNELS", raising=False)
    else:
        monkeypatch.setenv("MINAE_KERNELS", choice)
    assert kernels.erf(array(0.0)) == result


def test_a_kernel_without_a_faster_form(monkeypatch):
    monkeypatch.setenv("MINAE_KERNELS", "fast")
    assert kernels.form("normal") is reference.normal


@on_the_host
def test_a_form_that_fails_falls_back_with_one_warning(monkeypatch, array):
    monkeypatch.setitem(kernels.FORMS, "erf", "no_such_module")
    monkeypatch.setenv("MINAE_KERNELS", "auto")
    with pytest.warns(RuntimeWarning, match="computes in NumPy alone.*no_such_module.*pip"):
        assert float(kernels.erf(array(0.0))) == 0
    assert float(kernels.erf(array(0.0))) == 0  # warnings are errors: there is no second
    monkeypatch.setenv("MINAE_KERNELS", "fast")
    kernels.form.cache_clear()
    with pytest.raises(ImportError):
        kernels.erf(array(0.0))


def test_an_unknown_choice(monkeypatch, array):
    monkeypatch.setenv("MINAE_KERNELS", "quick")
    with pytest.raises(ValueError, match="choose auto, reference or fast"):
        kernels.erf(array(0.0))


def test_every_kernel_is_defined_by_the_reference():
    names = set(kernels.__all__) - {"Unavailable", "by_definition", "form", "warm_up"}
    for name in names:
        assert getattr(kernels, name).__wrapped__ is getattr(reference, name)
    assert kernels.FORMS.keys() | kernels.CUDA.keys() == names


def test_every_faster_form_is_where_it_is_looked_for(compiled):
    for name, module in kernels.FORMS.items():
        assert callable(getattr(compiled(module), name))
