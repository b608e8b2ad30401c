"""Elementwise ops. Arguments broadcast; the engine sums gradients back to their shapes."""

from __future__ import annotations

import math

import minae.kernels as kernels

from ..backend import xp
from ..engine import elementwise

# --- Arithmetic ------------------------------------------------------------------------------


@elementwise(x=lambda g: g, y=lambda g: g)
def add(x, y):
    """``x + y``"""
    return x + y


@elementwise(x=lambda g: g, y=lambda g: -g)
def sub(x, y):
    """``x - y``"""
    return x - y


@elementwise(x=lambda g, y: g * y, y=lambda g, x: g * x)
def mul(x, y):
    """``x * y``"""
    return x * y


@elementwise(x=lambda g, y: g / y, y=lambda g, y, out: -g * out / y)
def div(x, y):
    """``x / y``"""
    return x / y


@elementwise(x=lambda g: -g)
def neg(x):
    """``-x``"""
    return -x


def _base(x, y):
    """``x``, with 1 for the 0 of 0 ** 0: that is constant in x, and 0 ** -1 has no place in it."""
    if isinstance(y, (int, float)) and y != 0:
        return x
    return where((x == 0) & (y == 0), 1.0, x)


def _log(x):
    """``log(x)``, with 0 for the logarithm of 0: 0 ** y does not vary with y."""
    if isinstance(x, (int, float)):
        return math.log(x) if x > 0 else 0.0 if x == 0 else math.nan
    return log(where(x == 0, 1.0, x))


@elementwise(
    x=lambda g, x, y: g * y * _base(x, y) ** (y - 1),
    y=lambda g, x, out: g * out * _log(x),
)
def pow(x, y):
    """``x ** y``"""
    return x**y


# --- Exponentials and roots ------------------------------------------------------------------


@elementwise(x=lambda g, out: g * out)
def exp(x):
    """e to the power ``x``."""
    return xp.exp(x)


@elementwise(x=lambda g, out: g * (out + 1))
def expm1(x):
    """``exp(x) - 1``, accurate near 0."""
    return xp.expm1(x)


@elementwise(x=lambda g, x: g / x)
def log(x):
    """The natural logarithm."""
    return xp.log(x)


@elementwise(x=lambda g, x: g / (1 + x))
def log1p(x):
    """``log(1 + x)``, accurate near 0."""
    return xp.log1p(x)


@elementwise(x=lambda g, x: g * exp(x) / expm1(x))
def log1mexp(x):
    """``log(1 - exp(x))`` for x below 0, accurate near 0 and far below (Maechler 2012, eq. 7).

    The gradient at -inf is 0.
    """
    near = x > -math.log(2)
    one, other = xp.where(near, x, -1), xp.where(near, -1, x)
    return xp.where(near, xp.log(-xp.expm1(one)), xp.log1p(-xp.exp(other)))


# The gradient at 0 is defined as 0 (division by infinity), so that a norm may be differentiated.
@elementwise(x=lambda g, out: g * 0.5 / where(out == 0, math.inf, out))
def sqrt(x):
    """The square root; its gradient at 0 is 0."""
    return xp.sqrt(x)


# --- Trigonometric and sigmoidal -------------------------------------------------------------


@elementwise(x=lambda g, x: g * cos(x))
def sin(x):
    """The sine."""
    return xp.sin(x)


@elementwise(x=lambda g, x: -g * sin(x))
def cos(x):
    """The cosine."""
    return xp.cos(x)


@elementwise(x=lambda g, out: g - g * out * out)
def tanh(x):
    """The hyperbolic tangent."""
    return xp.tanh(x)


@elementwise(x=lambda g, out: g * out * (1 - out))
def sigmoid(x):
    """``1 / (1 + exp(-x))``, without overflow on either side."""
    small = _small(x)
    return xp.maximum(small, x >= 0) / (1 + small)


def _small(x):
    """``exp(-|x|)``, for bytes too, which have no minus."""
    unsigned = getattr(x, "dtype", None) is not None and x.dtype.kind in "bu"
    return xp.exp(-xp.abs(x.astype("float32") if unsigned else x))


@elementwise(x=lambda g, x: g * sigmoid(x))
def softplus(x):
    """``log(1 + exp(x))``, without overflow."""
    small = _small(x)
    more = 1 + small
    # log1p(small) with Kahan's correction, as NumPy's own takes several times as long.
    return xp.maximum(x, 0) + (xp.log(more) - ((more - 1) - small) / more)


@elementwise(x=lambda g, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))
def erf(x):
    """The error function, the integral of ``2 / sqrt(pi) * exp(-t * t)`` from 0 to ``x``."""
    return kernels.erf(x)


# --- Piecewise: at a kink, the gradient is that of PyTorch ------------------------------------


@elementwise(x=lambda g, by: gate(g, by))
def gate(x, by):
    """``x``, but 0 where ``by`` is 0 or below."""
    return kernels.gate(x, by)


@elementwise(x=lambda g, out: gate(g, out))
def relu(x):
    """``max(x, 0)``; its gradient at 0 is 0."""
    return kernels.relu(x)


@elementwise(x=lambda g, x: g * sign(x))
def abs(x):
    """``|x|``; its gradient at 0 is 0."""
    return xp.abs(x)


@elementwise(x=lambda g: where(False, g, 0.0))
def sign(x):
    """-1, 0 or 1; its gradient is 0 everywhere."""
    return xp.sign(x)


@elementwise(
    x=lambda g, x, y: g * (x > y) + g * 0.5 * (x == y),
    y=lambda g, x, y: g * (x < y) + g * 0.5 * (x == y),
)
def maximum(x, y):
    """The larger of two; where they are equal, each gets half of the gradient."""
    return xp.maximum(x, y)


@elementwise(
    x=lambda g, x, y: g * (x < y) + g * 0.5 * (x == y),
    y=lambda g, x, y: g * (x > y) + g * 0.5 * (x == y),
)
def minimum(x, y):
    """The smaller of two; where they are equal, each gets half of the gradient."""
    return xp.minimum(x, y)


@elementwise(
    x=lambda g, condition: where(condition, g, 0.0),
    y=lambda g, condition: where(condition, 0.0, g),
)
def where(condition, x, y):
    """``x`` where ``condition`` holds, else ``y``. What is not taken gets the gradient 0.

    The op that made it may still turn this 0 into NaN: ``where(x > 0, log(x), 0)`` at 0 divides it
    by 0. Put ``where`` inside, too: ``log(where(x > 0, x, 1))``.
    """
    return xp.where(xp.asarray(condition), x, y)


@elementwise(x=lambda g, x, low, high: g * inside(x, low, high))
def clip(x, *, low=None, high=None):
    """``x`` held between ``low`` and ``high`` (None: no limit); outside them its gradient is 0."""
    low, high = (n.item() if hasattr(n, "item") else n for n in (low, high))  # NumPy's are weak
    return xp.clip(x, low, high)


def inside(x, low, high):
    """Where ``low <= x <= high``, as a plain array."""
    return (low is None or x >= low) & (high is None or x <= high)


# --- Precision -------------------------------------------------------------------------------


@elementwise(x=lambda g: g)  # the engine brings the gradient back into the dtype of x
def astype(x, *, dtype):
    """``x`` in another floating ``dtype``. Raises TypeError for others: they pass no gradient."""
    if xp.dtype(dtype).kind != "f":
        raise TypeError(f"{dtype} passes no gradient: use x.detach().astype({str(dtype)!r})")
    return x.astype(dtype)
