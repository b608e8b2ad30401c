"""Normalization: mean 0 and variance 1 over some axes, then a scale and a shift of the features."""

from __future__ import annotations

import math
from typing import Any

import minae.ops as ops

from ..backend import xp
from ..engine import entries
from .statistics import mean


def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Standardize (..., features) over the features, then scale and shift them (Ba et al. 2016).

    ``weight`` and ``bias`` are (features,), or None; ``eps`` is added to the variance.
    """
    shape, *given = (xp.shape(entries(each)) for each in (x, weight, bias))
    if given == [shape[-1:]] * 2:
        return ops.layer_norm(x, weight, bias, eps=eps)
    return _affine(ops.standardize(x, axis=-1, eps=eps), weight, bias)


def rms_norm(x: Any, weight: Any = None, eps: float = 1e-6) -> Any:
    """Divide (..., features) by the root of their mean square (Zhang & Sennrich 2019, eq. 4).

    ``weight`` (features,) scales the result; ``eps`` is added to the mean square.
    """
    return _affine(x / ops.sqrt(mean(x * x, -1, keepdims=True) + eps), weight, None)


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Standardize each of ``groups`` groups of channels over space (Wu & He 2018).

    ``x`` is (batch, ..., channels), ``weight`` and ``bias`` are (channels,), or None; ``eps`` is
    added to the variance. With as many groups as channels this is instance norm. Raises ValueError
    where the channels do not divide into the groups.
    """
    batch, *space, channels = x.shape
    if groups < 1 or channels % groups:
        raise ValueError(f"{channels} channels do not form {groups} equal groups")
    grouped = ops.reshape(x, shape=(batch, math.prod(space), groups, channels // groups))
    standard = ops.standardize(grouped, axis=(1, 3), eps=eps)
    return _affine(ops.reshape(standard, shape=x.shape), weight, bias)


def instance_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Standardize each channel of each sample over space or time (Ulyanov et al. 2016).

    ``x`` is (batch, ..., channels), ``weight`` and ``bias`` are (channels,), or None; ``eps`` is
    added to the variance.
    """
    space = tuple(range(1, len(x.shape) - 1))
    return _affine(ops.standardize(x, axis=space, eps=eps), weight, bias)


def batch_norm(
    x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalise (..., features) by a given ``mean`` and variance ``var`` (Ioffe & Szegedy 2015).

    Both are (features,), and so are ``weight`` and ``bias``, which scale and shift the result, or
    None; ``eps`` is added to the variance.
    """
    return _affine((x - mean) / ops.sqrt(var + eps), weight, bias)


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias
