"""Activations beyond the primitive ones (``relu``, ``tanh``, ``sigmoid``, ``softplus``)."""

from __future__ import annotations

import math
from typing import Any

import minae.ops as ops

from .rearranging import split


def gelu(x: Any) -> Any:
    """``x`` times the normal distribution's cumulative probability (Hendrycks & Gimpel 2016)."""
    return x * 0.5 * (1 + ops.erf(x * math.sqrt(0.5)))


def gelu_tanh(x: Any) -> Any:
    """The approximation of ``gelu`` by a tanh, as in GPT-2 (Hendrycks & Gimpel 2016)."""
    return x * 0.5 * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def silu(x: Any) -> Any:
    """``x * sigmoid(x)``, also called swish (Elfwing et al. 2018; Ramachandran et al. 2017)."""
    return x * ops.sigmoid(x)


def mish(x: Any) -> Any:
    """``x * tanh(softplus(x))`` (Misra 2019, equation 1)."""
    return x * ops.tanh(ops.softplus(x))


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """``x`` where positive, else ``slope * x`` (Maas et al. 2013)."""
    return ops.where(x > 0, x, slope * x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """``x`` where positive, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2016)."""
    return ops.where(x > 0, x, alpha * ops.expm1(ops.where(x > 0, 0.0, x)))


def selu(x: Any) -> Any:
    """``elu`` scaled so that layers keep mean 0 and variance 1 (Klambauer et al. 2017, eq. 2)."""
    return 1.0507009873554804934 * elu(x, 1.6732632423543772848)


def glu(x: Any, axis: int = -1) -> Any:
    """The first half of ``axis`` times the sigmoid of the second (Dauphin et al. 2017)."""
    values, gate = split(x, 2, axis)
    return values * ops.sigmoid(gate)


def log_sigmoid(x: Any) -> Any:
    """``log(sigmoid(x))``, without underflow."""
    return -ops.softplus(-x)
