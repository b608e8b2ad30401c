"""Losses. Shapes must be equal: nothing broadcasts.

Each takes ``reduction``: ``"mean"`` over all entries, ``"sum"``, or ``"none"`` for each loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minae.ops as ops

from ..backend import Array, asarray, describe, expect, xp
from ..engine import elementwise, entries
from ..faults import DEFERRED, check
from .checks import floats, integers, same_shape
from .rearranging import take
from .statistics import mean, norm


def mse_loss(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    """``(prediction - target) ** 2``, or its ``reduction`` (mean, sum, none).

    Raises ValueError where their shapes differ.
    """
    same_shape(prediction, target)
    return _reduce((floats(prediction) - target) ** 2, reduction)


def l1_loss(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    """``|prediction - target|``, or its ``reduction`` (mean, sum, none).

    Raises ValueError where their shapes differ.
    """
    same_shape(prediction, target)
    return _reduce(ops.abs(floats(prediction) - target), reduction)


def huber_loss(
    prediction: Any, target: Any, delta: float = 1.0, *, reduction: str = "mean"
) -> Any:
    """Half of ``(prediction - target) ** 2`` up to ``delta``, from there on a straight line.

    Or its ``reduction`` (mean, sum, none); after Huber 1964. Raises ValueError where the shapes
    differ, or ``delta`` is not above 0.
    """
    same_shape(prediction, target)
    if not delta > 0:
        raise ValueError(f"delta must be above 0, got {delta}")
    difference = floats(prediction) - target
    error = ops.abs(difference)
    square, line = 0.5 * difference * difference, delta * (error - 0.5 * delta)
    return _reduce(ops.where(error < delta, square, line), reduction)


# --- Yes or no -------------------------------------------------------------------------------


def binary_cross_entropy_with_logits(
    logits: Any, target: Any, *, weight: Any = None, pos_weight: Any = None,
    reduction: str = "mean",
) -> Any:
    """``-pos_weight target log p - (1 - target) log(1 - p)`` with ``p = sigmoid(logits)``.

    Computed from the logits, so that it stays finite. ``pos_weight`` counts positive targets more
    (or less), ``weight`` whole entries; both broadcast to the logits. ``reduction`` is mean, sum or
    none. Raises ValueError unless logits and target have one shape.
    """
    same_shape(logits, target)
    if pos_weight is None:
        loss = ops.softplus(logits) - logits * target
    else:
        pos_weight = _given(pos_weight, logits)
        loss = (1 - target) * logits + (1 + (pos_weight - 1) * target) * ops.softplus(-logits)
    return _reduce(loss if weight is None else loss * _given(weight, logits), reduction)


def binary_cross_entropy(
    prediction: Any, target: Any, *, weight: Any = None, reduction: str = "mean"
) -> Any:
    """``-target log p - (1 - target) log(1 - p)`` of probabilities p, the logs held above -100.

    Prefer ``binary_cross_entropy_with_logits``, which loses no precision and says what ``weight``
    and ``reduction`` are. Raises ValueError unless both shapes are equal, and where a prediction is
    outside [0, 1].
    """
    same_shape(prediction, target)
    p = entries(prediction)
    outside = ~((p >= 0) & (p <= 1))  # so is NaN
    check(outside, ValueError, "predictions must be probabilities in [0, 1]: apply sigmoid first")
    loss = -(target * bounded_log(prediction) + (1 - target) * bounded_log(1 - prediction))
    return _reduce(loss if weight is None else loss * _given(weight, prediction), reduction)


@elementwise(p=lambda g, p: g / ops.maximum(p, 1e-12))
def bounded_log(p):
    """The logarithm, but not below -100; its gradient goes on to pull, as in PyTorch."""
    return xp.where(p > 0, xp.maximum(xp.log(xp.where(p > 0, p, 1)), -100), -100)


# --- One of many -----------------------------------------------------------------------------


def cross_entropy(
    logits: Any, labels: Any, *, weight: Any = None, ignore_index: int = -100,
    label_smoothing: float = 0.0, reduction: str = "mean",
) -> Any:
    """``-log softmax(logits)[label]``, in nats, of logits (..., classes) and integer labels (...).

    ``weight`` (classes) is that of each class; the mean is then weighted, too. Where a label is
    ``ignore_index`` there is no loss and no gradient; a mean over nothing is 0. ``label_smoothing``
    is the share of the target that is spread over all classes (Szegedy et al. 2016, section 7),
    ``reduction`` is mean, sum or none.
    Raises ValueError where the shapes do not agree or a label is neither in [0, classes) nor
    ``ignore_index``, TypeError where labels are no integers.
    """
    if label_smoothing:  # which needs the logarithms of all probabilities
        return nll_loss(
            ops.log_softmax(logits), labels, weight=weight, ignore_index=ignore_index,
            label_smoothing=label_smoothing, reduction=reduction,
        )  # fmt: skip
    return _of_labels(logits, labels, _cross_entropy, weight, ignore_index, reduction)


def nll_loss(
    log_probabilities: Any, labels: Any, *, weight: Any = None, ignore_index: int = -100,
    label_smoothing: float = 0.0, reduction: str = "mean",
) -> Any:
    """``-log_probabilities[label]`` of ``labels``: ``cross_entropy`` after ``log_softmax``.

    ``weight``, ``ignore_index``, ``label_smoothing``, ``reduction`` and errors are the same there.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing}")

    def loss(x: Any, labels: Array, weight: Any) -> Any:
        taken = _weighted(-take(x, labels[..., None], -1)[..., 0], weight, labels)
        if not label_smoothing:
            return taken
        uniform = x if weight is None else x * weight
        spread = ops.sum(uniform, axis=-1) * (label_smoothing / x.shape[-1])
        return (1 - label_smoothing) * taken - spread

    return _of_labels(log_probabilities, labels, loss, weight, ignore_index, reduction)


def _of_labels(
    x: Any, labels: Any, loss: Callable[[Any, Array, Any], Any], weight: Any, ignore_index: int,
    reduction: str,
) -> Any:
    """The ``loss`` of each row of x (..., classes), those to be ignored left out, reduced."""
    classes = x.shape[-1]
    labels = integers(labels, classes, "labels", besides=ignore_index)
    if labels.shape != x.shape[:-1]:
        raise ValueError(expect(f"labels {list(x.shape[:-1])} for {describe(x)}", labels))
    counted = labels != ignore_index
    everything = not DEFERRED and bool(counted.all())
    if not everything:
        labels = xp.where(counted, labels, 0)
    if weight is not None:
        weight = _given(weight, x)
        if weight.shape != (classes,):
            raise ValueError(expect(f"weight [{classes}], one for each class", weight))
    losses = loss(x, labels, weight)
    if not everything:
        losses = ops.where(counted, losses, 0.0)
    if reduction != "mean":
        return _reduce(losses, reduction)
    counts = counted if weight is None else counted * entries(weight)[labels]
    total = counts.sum(dtype=losses.dtype)
    return ops.sum(losses) / xp.where(total == 0, xp.ones_like(total), total)


def _cross_entropy(x: Any, labels: Array, weight: Any) -> Any:
    return _weighted(ops.cross_entropy(x, labels=labels), weight, labels)


def _weighted(loss: Any, weight: Any, labels: Array) -> Any:
    return loss if weight is None else loss * ops.getitem(weight, index=labels)


def kl_div(log_prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    """The divergence ``sum_i target_i (log target_i - log_prediction_i)`` over the last axis.

    ``target`` holds probabilities, ``log_prediction`` logarithms of them; where a target is 0, so
    is its term. The ``reduction`` is over distributions (as PyTorch's ``batchmean``). Raises
    ValueError unless both shapes are equal.
    """
    same_shape(log_prediction, target)
    possible = target > 0
    surprise = ops.log(ops.where(possible, target, 1.0)) - log_prediction
    return _reduce(ops.sum(target * ops.where(possible, surprise, 0.0), axis=-1), reduction)


def cosine_similarity(x: Any, y: Any, axis: int = -1, eps: float = 1e-8) -> Any:
    """``x . y / (|x| |y|)`` along ``axis``; norms below ``eps`` count as that."""
    lengths = ops.maximum(norm(x, axis), eps) * ops.maximum(norm(y, axis), eps)
    return ops.sum(x * y, axis=axis) / lengths


# --- Helpers ---------------------------------------------------------------------------------


def _reduce(loss: Any, reduction: str) -> Any:
    if reduction == "mean":
        return mean(loss)
    if reduction == "sum":
        return ops.sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(f"reduction is {reduction!r}; choose mean, sum or none")


def _given(weight: Any, like: Any) -> Any:
    """A weight as an array of the dtype of ``like``; a Tensor stays one."""
    return weight if entries(weight) is not weight else asarray(weight, like.dtype)
