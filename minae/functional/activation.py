"""Activations composed of ops; the others are ops themselves."""

from __future__ import annotations

from typing import Any

import minae.ops as ops

from .checks import floats
from .rearranging import split


def selu(x: Any) -> Any:
    """``elu`` scaled so that layers keep mean 0 and variance 1 (Klambauer et al. 2017, eq. 2)."""
    return 1.0507009873554804934 * ops.elu(x, alpha=1.6732632423543772848)


def glu(x: Any, axis: int = -1) -> Any:
    """The first half of ``axis`` times the sigmoid of the second (Dauphin et al. 2017)."""
    values, gate = split(x, 2, axis)
    return values * ops.sigmoid(gate)


def log_sigmoid(x: Any) -> Any:
    """``log(sigmoid(x))``, without underflow."""
    return -ops.softplus(-floats(x))
