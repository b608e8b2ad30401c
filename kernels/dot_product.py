"""Scaled dot-product attention by its definition, and its gradient (Vaswani et al. 2017, eq. 1)."""

from __future__ import annotations

import math
from typing import Any

from minae.backend import Array, concatenate, xp

from .rows import softmax, softmax_gradient


def attention(
    query: Array, key: Array, value: Array, mask: Array | None = None, causal: bool = False
) -> Array:
    """``softmax(query key^T / sqrt(features)) value`` of arrays (batch, heads, time, features).

    ``mask``, which broadcasts to (batch, heads, queries, keys), is True where a query may look, and
    ``causal`` hides what comes after it; the queries are the last positions of the keys. A query
    that may look nowhere gets 0.
    """
    return xp.matmul(_weights(query, key, mask, causal), value)


def attention_gradient(
    g: Array, query: Array, key: Array, value: Array, mask: Array | None = None,
    causal: bool = False,
) -> tuple[Array, Array, Array]:
    """Those of ``attention``, with its ``mask`` and ``causal``, in query, key and value; its
    result has the gradient ``g``."""
    weights = _weights(query, key, mask, causal)
    scores = softmax_gradient(xp.matmul(g, value.swapaxes(-1, -2)), weights)
    scores *= query.shape[-1] ** -0.5
    return (
        xp.matmul(scores, key),
        xp.matmul(scores.swapaxes(-1, -2), query),
        xp.matmul(weights.swapaxes(-1, -2), g),
    )


def self_attention(
    projected: Array, heads: int, mask: Array | None = None, causal: bool = False
) -> Array:
    """``attention`` whose queries, keys and values are thirds of what is ``projected``, in that
    order: (batch, time, 3 features) to (batch, time, features).

    ``heads`` is how many there are, of as many features each; ``mask`` and ``causal`` are as there.
    """
    query, key, value = apart(projected, heads)
    return joined(attention(query, key, value, mask, causal))


def self_attention_gradient(
    g: Array, projected: Array, heads: int, mask: Array | None = None, causal: bool = False
) -> Array:
    """That of ``self_attention``, with its ``heads``, ``mask`` and ``causal``, in ``projected``;
    its result has the gradient ``g``."""
    query, key, value = apart(projected, heads)
    found = attention_gradient(split(g, heads), query, key, value, mask, causal)
    return concatenate([joined(x) for x in found], -1)


# --- Heads ------------------------------------------------------------------------------------


def split(x: Any, heads: int) -> Any:
    """(batch, time, features) to (batch, heads, time, part)."""
    batch, time, features = x.shape
    return x.reshape(batch, time, heads, features // heads).swapaxes(1, 2)


def joined(x: Any) -> Any:
    """(batch, heads, time, part) to (batch, time, features)."""
    x = x.swapaxes(1, 2)
    return x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])


def apart(projected: Any, heads: int) -> list:
    """The queries, keys and values of each head."""
    third = projected.shape[-1] // 3
    return [split(projected[..., i * third : (i + 1) * third], heads) for i in range(3)]


# --- Helpers ----------------------------------------------------------------------------------


def visible(mask: Array | None, causal: bool, queries: int, keys: int) -> Array | None:
    """Where a query may look: under the mask, and not at what comes after it."""
    if not causal:
        return mask
    before = xp.tri(queries, keys, keys - queries, dtype=bool)
    return before if mask is None else mask & before


def _weights(query: Array, key: Array, mask: Array | None, causal: bool) -> Array:
    scores = xp.matmul(query, key.swapaxes(-1, -2)) * query.shape[-1] ** -0.5
    seen = visible(mask, causal, query.shape[-2], key.shape[-2])
    return softmax(scores if seen is None else xp.where(seen, scores, -math.inf))
