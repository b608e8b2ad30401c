"""GELU, its approximation and the error function, with gradients: one pass over each array."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import reference
from .compiler import Kernel, array, kernel
from .error_function import CUBE, DENSITY, ROOT, SLOPE
from .transcendental import erf as _erf
from .transcendental import exp
from .updates import TINY, flat_alike, shared


def _map(name: str, function: Kernel, *arrays: Any) -> Any:
    """The function of each entry, or pair; by its definition where a call is not worth it."""
    if not flat_alike(*arrays) or arrays[0].size < TINY:
        return getattr(reference, name)(*arrays)
    out = np.empty_like(arrays[0])
    shared(function[out.dtype], (*arrays, out), ())
    return out


def erf(x: Any) -> Any:
    """See ``reference.erf``."""
    return _map("erf", _erf_each, x)


def gelu(x: Any) -> Any:
    """See ``reference.gelu``."""
    return _map("gelu", _gelu, x)


def gelu_gradient(g: Any, x: Any) -> Any:
    """See ``reference.gelu_gradient``."""
    return _map("gelu_gradient", _gelu_gradient, g, x)


def gelu_tanh(x: Any) -> Any:
    """See ``reference.gelu_tanh``."""
    return _map("gelu_tanh", _gelu_tanh, x)


def gelu_tanh_gradient(g: Any, x: Any) -> Any:
    """See ``reference.gelu_tanh_gradient``."""
    return _map("gelu_tanh_gradient", _gelu_tanh_gradient, g, x)


@kernel(lambda f: (array(f), f[::1]))
def _erf_each(x, out):
    for i in range(x.size):
        out[i] = _erf(x[i])


@kernel(lambda f: (array(f), f[::1]))
def _gelu(x, out):
    half, root = x.dtype.type(0.5), x.dtype.type(ROOT)
    for i in range(x.size):
        out[i] = x[i] * (half + half * _erf(x[i] * root))


@kernel(lambda f: (array(f), array(f), f[::1]))
def _gelu_gradient(g, x, out):
    half, root, density = x.dtype.type(0.5), x.dtype.type(ROOT), x.dtype.type(DENSITY)
    for i in range(x.size):
        bell = density * exp(-half * x[i] * x[i])
        out[i] = g[i] * (half + half * _erf(x[i] * root) + x[i] * bell)


# (1 + tanh(u)) / 2 is the logistic function of 2 u, which takes one exponential.


@kernel(lambda f: (array(f), f[::1]))
def _gelu_tanh(x, out):
    one, slope, cube = x.dtype.type(1), x.dtype.type(SLOPE), x.dtype.type(CUBE)
    for i in range(x.size):
        out[i] = x[i] / (one + exp(-slope * x[i] * (one + cube * x[i] * x[i])))


@kernel(lambda f: (array(f), array(f), f[::1]))
def _gelu_tanh_gradient(g, x, out):
    one, slope, cube = x.dtype.type(1), x.dtype.type(SLOPE), x.dtype.type(CUBE)
    three = x.dtype.type(3)
    for i in range(x.size):
        square = cube * x[i] * x[i]
        e = exp(-slope * abs(x[i]) * (one + square))
        most = one / (one + e)
        least = e * most  # as 1 - most it would be a difference, and e of the other sign overflow
        s = most if x[i] > 0 else least
        out[i] = g[i] * (s + most * least * x[i] * slope * (one + three * square))
