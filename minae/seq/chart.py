"""Sums over all structures of a chart, as functions that the engine differentiates.

Scores are (batch, cells); ``levels`` say which cells have which terms (``kernels/levels.py``). The
gradient of the log-partition is the marginals; theirs is a covariance (Eisner 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import minae.kernels as kernels

from .. import ops
from ..engine import grad, primitive
from ..functional import index_add
from ..kernels.levels import Level
from ..tensor import Tensor
from .semirings import Entropy, Expectation, Log, Max


@primitive(x=lambda g, x, levels: g[:, None] * marginals(x, levels=levels))
def log_partition(x, *, levels):
    """The logarithm of the sum over all structures of exp(the sum of the scores of its parts)."""
    return kernels.chart_total(x, levels, Log())


@primitive(x=lambda g, x, levels: covariance(g, x, levels=levels))
def marginals(x, *, levels):
    """The probability of each part."""
    return kernels.chart_parts(x, levels, Log())


@primitive(
    values=lambda g, x, levels: covariance(g, x, levels=levels),
    x=lambda g, values, x, levels: _third(g, values, x, levels),
)
def covariance(values, x, *, levels):
    """The covariance of each part with the sum of the ``values`` of all parts."""
    return kernels.chart_parts(x, levels, Expectation(values))


@primitive(x=lambda g, x, levels: -g[:, None] * covariance(_finite(x), x, levels=levels))
def entropy(x, *, levels):
    """The entropy of a structure drawn by its probability; 0 where there is none."""
    return kernels.chart_total(x, levels, Entropy())


@primitive(x=lambda g, x, levels: g[:, None] * best_parts(x, levels=levels))
def best_score(x, *, levels):
    """The largest score of a structure."""
    return kernels.chart_total(x, levels, Max())


@primitive()
def best_parts(x, *, levels):
    """The parts of the structure that has it: a constant, where it is differentiated."""
    return kernels.chart_parts(x, levels, Max())


def _finite(x: Any) -> Any:
    """``x``, but 0 where it is -inf: of a part that no structure has."""
    return ops.where(x == -float("inf"), 0.0, x)


def _third(g: Any, values: Any, x: Any, levels: Sequence[Level]) -> Any:
    """The gradient in ``x`` of g times the covariance: the third derivative of the log-partition.

    By the engine, from a log-partition in its own ops, which may be differentiated ever on.
    """
    recorded = type(x) is Tensor and x.requires_grad
    leaf = x if recorded else Tensor(x, requires_grad=True)
    chart = leaf.T
    for level in levels:
        cells, left, right = level.places()
        terms = ops.getitem(chart, index=left) + ops.getitem(chart, index=right)
        chart = index_add(chart, cells, ops.logsumexp(terms, axis=1))
    first = grad(chart[-1].sum(), leaf, create_graph=True)
    second = grad((first * values).sum(), leaf, create_graph=True)
    return grad((second * g).sum(), leaf, create_graph=recorded)
