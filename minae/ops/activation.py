"""Activations: each is one op, which keeps its input. Composed, it would keep several arrays."""

from __future__ import annotations

import minae.kernels as kernels

from ..backend import xp
from ..engine import elementwise
from ..kernels.error_function import CUBE, DENSITY, SLOPE
from .elementwise import exp, gate, sigmoid, softplus, tanh, where


# Not by where(), which is slow on random signs: 3.3 ms against 1.1 in benchmarks/layers.py.
@elementwise(x=lambda g, x, slope: slope * g + (1 - slope) * gate(g, x))
def leaky_relu(x, *, slope=0.01):
    """``x`` where positive, else ``slope * x`` (Maas et al. 2013)."""
    return xp.maximum(x, 0) + float(slope) * xp.minimum(x, 0)


@elementwise(x=lambda g, x, alpha: where(x > 0, g, alpha * g * exp(where(x > 0, 0.0, x))))
def elu(x, *, alpha=1.0):
    """``x`` where positive, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2016)."""
    return xp.where(x > 0, x, float(alpha) * xp.expm1(xp.minimum(x, 0)))


@elementwise(x=lambda g, x: gelu_gradient(g, x))
def gelu(x):
    """``x`` times the normal distribution's cumulative probability (Hendrycks & Gimpel 2016)."""
    return kernels.gelu(x)


@elementwise(
    u=lambda g, x: gelu_gradient(g, x),
    x=lambda g, u, x: g * u * DENSITY * exp(-0.5 * x * x) * (2 - x * x),
)
def gelu_gradient(u, x):
    """The gradient of ``gelu``, whose result has the gradient ``u``."""
    return kernels.gelu_gradient(u, x)


@elementwise(x=lambda g, x: gelu_tanh_gradient(g, x))
def gelu_tanh(x):
    """The approximation of ``gelu`` by a tanh, as in GPT-2 (Hendrycks & Gimpel 2016)."""
    return kernels.gelu_tanh(x)


def _gelu_tanh_curvature(g, u, x):
    """Of ``x s`` with s the logistic function of a cubic, whose slope is w."""
    s = sigmoid(SLOPE * (x + CUBE * x * x * x))
    w = SLOPE * (1 + 3 * CUBE * x * x)
    return g * u * s * (1 - s) * (2 * w + x * ((1 - 2 * s) * w * w + 6 * SLOPE * CUBE * x))


@elementwise(u=lambda g, x: gelu_tanh_gradient(g, x), x=_gelu_tanh_curvature)
def gelu_tanh_gradient(u, x):
    """The gradient of ``gelu_tanh``, whose result has the gradient ``u``."""
    return kernels.gelu_tanh_gradient(u, x)


def _silu(g, x):
    s = sigmoid(x)
    return g * s * (1 + x * (1 - s))


@elementwise(x=_silu)
def silu(x):
    """``x * sigmoid(x)``, also called swish (Elfwing et al. 2018; Ramachandran et al. 2017)."""
    return x * sigmoid(x)


def _mish(g, x):
    t = tanh(softplus(x))
    return g * (t + x * (1 - t * t) * sigmoid(x))


@elementwise(x=_mish)
def mish(x):
    """``x * tanh(softplus(x))`` (Misra 2019, equation 1)."""
    return x * xp.tanh(softplus(x))
