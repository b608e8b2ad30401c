"""Activations: each is one op, which keeps its input. Composed, it would keep several arrays."""

from __future__ import annotations

import math

import minae.kernels as kernels

from ..backend import xp
from ..engine import elementwise
from .elementwise import erf, exp, gate, sigmoid, softplus, tanh, where

ROOT = math.sqrt(0.5)
DENSITY = 1 / math.sqrt(2 * math.pi)  # of the normal distribution at 0
SLOPE = math.sqrt(2 / math.pi)


# Not by where(), which is slow on random signs: 3.3 ms against 1.1 in benchmarks/layers.py.
@elementwise(x=lambda g, x, slope: slope * g + (1 - slope) * gate(g, x))
def leaky_relu(x, *, slope=0.01):
    """``x`` where positive, else ``slope * x`` (Maas et al. 2013)."""
    return xp.maximum(x, 0) + float(slope) * xp.minimum(x, 0)


@elementwise(x=lambda g, x, alpha: where(x > 0, g, alpha * g * exp(where(x > 0, 0.0, x))))
def elu(x, *, alpha=1.0):
    """``x`` where positive, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2016)."""
    return xp.where(x > 0, x, float(alpha) * xp.expm1(xp.minimum(x, 0)))


def _gelu(g, x):
    return g * (0.5 + 0.5 * erf(x * ROOT) + DENSITY * x * exp(-0.5 * x * x))


@elementwise(x=_gelu)
def gelu(x):
    """``x`` times the normal distribution's cumulative probability (Hendrycks & Gimpel 2016)."""
    return x * (0.5 + 0.5 * kernels.erf(x * ROOT))


def _gelu_tanh(g, x):
    t = tanh(SLOPE * (x + 0.044715 * x * x * x))
    return g * (0.5 + 0.5 * t + 0.5 * SLOPE * x * (1 - t * t) * (1 + 0.134145 * x * x))


@elementwise(x=_gelu_tanh)
def gelu_tanh(x):
    """The approximation of ``gelu`` by a tanh, as in GPT-2 (Hendrycks & Gimpel 2016)."""
    return x * (0.5 + 0.5 * xp.tanh(SLOPE * (x + 0.044715 * x * x * x)))


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
