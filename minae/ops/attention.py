"""Attention in one op, which keeps what it reads: composed of others it would keep its weights."""

from __future__ import annotations

import math

import minae.kernels as kernels

from ..engine import entries, primitive
from ..kernels.dot_product import apart, joined, split, visible
from .elementwise import where
from .linalg import matmul
from .reduction import softmax, softmax_gradient
from .shape import concatenate


def _of_ops(g, query, key, value, mask, causal):
    """The gradients of attention, where they are to be differentiated again."""
    scale = query.shape[3] ** -0.5
    seen = visible(mask, causal, query.shape[2], key.shape[2])
    scores = matmul(query, key.swapaxes(2, 3)) * scale
    weights = softmax(scores if seen is None else where(seen, scores, -math.inf))
    slopes = softmax_gradient(matmul(g, value.swapaxes(2, 3)), weights) * scale
    to_key, to_value = matmul(slopes.swapaxes(2, 3), query), matmul(weights.swapaxes(2, 3), g)
    return matmul(slopes, key), to_key, to_value


def _pull_attention(g, query, key, value, mask, causal):
    pull = kernels.attention_gradient if entries(g) is g else _of_ops
    return pull(g, query, key, value, mask, causal)


@primitive(joint=_pull_attention)
def attention(query, key, value, *, mask=None, causal=False):
    """Each of query, key and value (batch, heads, time, features): Vaswani et al. 2017, eq. 1.

    ``mask`` (batch, heads, queries, keys), whose axes may be 1, is True where a query may look;
    ``causal`` hides what comes after it.
    """
    return kernels.attention(query, key, value, mask, causal)


def _pull_self_attention(g, projected, heads, mask, causal):
    if entries(g) is g:
        return kernels.self_attention_gradient(g, projected, heads, mask, causal)
    found = _of_ops(split(g, heads), *apart(projected, heads), mask, causal)
    return concatenate(*map(joined, found), axis=-1)


@primitive(projected=_pull_self_attention)
def self_attention(projected, *, heads, mask=None, causal=False):
    """``attention`` of queries, keys and values that are thirds of the features, in that order:
    (batch, time, 3 features) to (batch, time, features). Its gradient is one array, too."""
    return kernels.self_attention(projected, heads, mask, causal)
