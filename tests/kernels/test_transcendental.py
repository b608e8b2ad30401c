"""The formulas for exp, tanh and erf: off by two units in the last place at most, everywhere."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

pytestmark = pytest.mark.kernels

NAMES, DTYPES = ["exp", "tanh", "erf"], ["f4", "f8"]


@pytest.fixture(scope="module")
def formulas(compiled):
    """Each as a function of arrays."""
    module, numba = compiled("transcendental"), pytest.importorskip("numba")

    def over_arrays(formula):
        ufunc = numba.vectorize(["f4(f4)", "f8(f8)"])(lambda x: formula(x))
        return np.errstate(all="ignore")(ufunc)  # what the processor flags on the way

    return {name: over_arrays(getattr(module, name)) for name in NAMES}


def exact(name, x):
    """Of a float, with the digits that float64 lacks (but erf as the C library has it)."""
    with localcontext(prec=50):
        x = Decimal(max(-1000.0, min(x, 1000.0)))  # farther out no float tells them apart
        if name == "exp":
            return x.exp()
        if name == "erf":
            return Decimal(math.erf(x))
        if abs(x) < Decimal("1e-9"):
            return x - x**3 / 3
        power = (2 * x).exp()
        return (power - 1) / (power + 1)


def points(dtype):
    """Every order of magnitude, most of all those where the results differ from 0, 1 and inf."""
    info = np.finfo(dtype)
    low = math.log10(info.smallest_subnormal) + 0.5
    sizes = 10.0 ** np.linspace(low, math.log10(info.max) - 0.01, 1500)
    lowest, highest = math.log(info.smallest_subnormal), math.log(info.max)
    ends = np.nextafter(dtype.type([lowest, highest]), 0)
    parts = [
        sizes, -sizes, np.linspace(-4, 4, 2001), np.linspace(lowest - 3, highest, 2001), ends,
        np.linspace(lowest - 1, math.log(info.tiny) + 1, 501),  # denormal results
    ]
    return np.concatenate(parts).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_to_two_units_in_the_last_place(formulas, name, dtype):
    x = points(np.dtype(dtype))
    found = formulas[name](x)
    assert found.dtype == dtype
    most = Decimal(float(np.finfo(dtype).max))
    for a, b in zip(x.tolist(), found.tolist()):
        want = exact(name, a)
        if want > most:
            assert b == math.inf
        else:
            unit = Decimal(float(np.spacing(np.dtype(dtype).type(abs(want)))))
            assert abs(Decimal(b) - want) <= 2 * unit, a


@pytest.mark.parametrize("name", NAMES)
def test_a_million_float32_to_two_units(formulas, name):
    function = {"exp": np.exp, "tanh": np.tanh, "erf": np.vectorize(math.erf)}[name]
    step = 20_011 if name == "erf" else 4_001
    x = np.arange(0, 2**32, step, dtype="u8").astype("u4").view("f4")
    x = x[np.isfinite(x)]
    with np.errstate(over="ignore"):
        exact = function(x.astype("f8"))
        rounded = exact.astype("f4")
    found = formulas[name](x)
    finite = np.isfinite(rounded)
    error = abs(found[finite] - exact[finite])
    assert (error <= 2 * np.spacing(abs(rounded[finite]))).all()
    assert (found == rounded)[~finite].all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_special_values(formulas, dtype):
    most = np.finfo(dtype).max
    x = np.array([np.inf, most, 0.0, -0.0, -most, -np.inf, np.nan], dtype)
    found, nan = [formulas[name](x) for name in NAMES], np.nan
    np.testing.assert_array_equal(found[0], [np.inf, np.inf, 1, 1, 0, 0, nan])
    for each in found[1:]:
        np.testing.assert_array_equal(each, [1, 1, 0, 0, -1, -1, nan])
        assert np.signbit(each[:4]).tolist() == [False, False, False, True]
