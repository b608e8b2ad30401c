"""Attention and its masks."""

from __future__ import annotations

import math
from typing import Any

import minae.ops as ops

from ..backend import Array, expect, numpy, xp
from ..kernels.dot_product import visible
from .checks import booleans
from .noise import dropout


def attention(
    query: Any, key: Any, value: Any, mask: Any = None, bias: Any = None, *,
    causal: bool = False, p: float = 0.0, rng: Any = None,
) -> Any:
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1).

    ``query`` (..., queries, features), ``key`` (..., keys, features), ``value`` (..., keys, out);
    the axes before broadcast. ``mask`` (..., queries, keys) is True where a query may look, and
    ``causal`` hides what comes after it, where the queries are the last positions; a query that may
    look nowhere gets 0. ``bias`` (..., queries, keys) is added to the scores, ``p`` the probability
    with which a weight is dropped. Returns (..., queries, out). Raises TypeError for a mask that is
    not boolean, ValueError where the shapes do not fit.
    """
    flat = min(len(x.shape) for x in (query, key, value)) < 2
    if flat or query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        wanted = "query (..., queries, n), key (..., keys, n), value (..., keys, out)"
        raise ValueError(expect(wanted, query, key, value))
    queries, keys = query.shape[-2], key.shape[-2]
    causal = causal and queries > 1  # a single one is the last, and sees all
    alike = query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
    if fused(bias, p) and alike and len(query.shape) == 4:
        mask = fitting(mask, (*query.shape[:-1], keys))
        return ops.attention(query, key, value, mask=mask, causal=causal)
    scores = query @ ops.swapaxes(key, first=-1, second=-2) * (query.shape[-1] ** -0.5)
    if bias is not None:
        scores = scores + bias
    seen = visible(fitting(mask, scores.shape), causal, queries, keys)
    weights = ops.softmax(scores if seen is None else ops.where(seen, scores, -math.inf))
    return (dropout(weights, p, rng) if p else weights) @ value


def fused(bias: Any, p: float) -> bool:
    """Whether one op does all of it: on a GPU the products are a library's, and are apart."""
    return xp is numpy and bias is None and not p


def fitting(mask: Any, shape: tuple[int, ...]) -> Array | None:
    """A mask as an array, checked to be boolean and to broadcast to ``shape``."""
    if mask is None:
        return None
    mask = booleans(mask, "mask")
    if not _broadcasts(mask.shape, shape):
        raise ValueError(expect(f"a mask that broadcasts to {list(shape)}", mask))
    return mask


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))


def causal_mask(queries: int, keys: int | None = None) -> Array:
    """The mask (queries, keys) under which each position sees itself and what came before.

    With more keys than queries, the queries are the last of the positions.
    """
    keys = queries if keys is None else keys
    return xp.tri(queries, keys, keys - queries, dtype=bool)
