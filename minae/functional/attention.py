"""Attention and its masks."""

from __future__ import annotations

import math
from typing import Any

import minae.ops as ops

from ..backend import Array, expect, xp
from .checks import booleans
from .noise import dropout


def attention(
    query: Any, key: Any, value: Any, mask: Any = None, bias: Any = None, *,
    p: float = 0.0, rng: Any = None,
) -> Any:
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1).

    ``query`` (..., queries, features), ``key`` (..., keys, features), ``value`` (..., keys, out);
    the axes before broadcast. ``mask`` (..., queries, keys) is True where a query may look; a
    query that may look nowhere gets 0. ``bias`` (..., queries, keys) is added to the scores, ``p``
    the probability with which a weight is dropped. Returns (..., queries, out). Raises TypeError
    for a mask that is not boolean.
    """
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        wanted = "query (..., queries, n), key (..., keys, n), value (..., keys, out)"
        raise ValueError(expect(wanted, query, key, value))
    scores = query @ ops.swapaxes(key, first=-1, second=-2) * (query.shape[-1] ** -0.5)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        mask, shape = booleans(mask, "mask"), scores.shape
        if not _broadcasts(mask.shape, shape):
            raise ValueError(expect(f"a mask that broadcasts to {list(shape)}", mask))
        scores = ops.where(mask, scores, -math.inf)
    weights = ops.softmax(scores)
    return (dropout(weights, p, rng) if p else weights) @ value


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))


def causal_mask(queries: int, keys: int | None = None) -> Array:
    """The mask (queries, keys) under which each position sees itself and what came before.

    With more keys than queries, the queries are the last of the positions.
    """
    keys = queries if keys is None else keys
    return xp.tri(queries, keys, keys - queries, dtype=bool)
