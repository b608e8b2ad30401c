"""Losses with all their options against PyTorch: values, gradients and gradients of gradients."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_torch_ops import TOLERANCES, Row, check, label

import minae

torch = pytest.importorskip("torch", reason="PyTorch is an oracle: pip install minae[oracles]")

tf = torch.nn.functional


def probabilities(*shape: int) -> Callable:
    return lambda rng: rng.uniform(0.05, 0.95, shape)


def distributions(*shape: int) -> Callable:
    return lambda rng: rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def row(name: str, case: str, *inputs: Any, **options: Any) -> Row:
    ours, theirs = getattr(minae, name), getattr(tf, name)
    return Row(name, case, lambda *xs: ours(*xs, **options), lambda *xs: theirs(*xs, **options),
               inputs)


def divergence(reduction: str, shape: tuple) -> Row:
    """PyTorch adds the terms of a distribution to those of the others, or to none."""

    def theirs(x, y):
        terms = tf.kl_div(torch.log_softmax(x, -1), y, reduction="none").sum(-1)
        return {"mean": terms.mean, "sum": terms.sum, "none": lambda: terms}[reduction]()

    return Row(
        "kl_div", f"{reduction}, {shape}",
        lambda x, y: minae.kl_div(minae.log_softmax(x), y, reduction=reduction), theirs,
        (shape, distributions(*shape)),
    )


ROWS = [
    *(
        row(name, f"{reduction}, {shape}", shape, shape, reduction=reduction)
        for name in ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits")
        for reduction in ("mean", "sum", "none")
        for shape in ((), (5,), (2, 3))
    ),
    row("huber_loss", "delta", (4, 5), (4, 5), delta=0.3),
    row("huber_loss", "at its ends", [1.0, -1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], delta=1.0),
    *(
        row("binary_cross_entropy", reduction, probabilities(3, 4), probabilities(3, 4),
            reduction=reduction)
        for reduction in ("mean", "sum", "none")
    ),
    *(
        Row(
            name, "weights",
            lambda x, y, ours=getattr(minae, name): ours(x, y, weight=[1, 2, 3, 4]),
            lambda x, y, theirs=getattr(tf, name): theirs(
                x, y, weight=torch.tensor([1.0, 2.0, 3.0, 4.0])
            ),
            (probabilities(3, 4), probabilities(3, 4)),
        )
        for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits")
    ),
    Row(
        "binary_cross_entropy_with_logits", "pos_weight",
        lambda x, y: minae.binary_cross_entropy_with_logits(x, y, pos_weight=[1, 2, 3, 4]),
        lambda x, y: tf.binary_cross_entropy_with_logits(
            x, y, pos_weight=torch.tensor([1.0, 2.0, 3.0, 4.0])
        ),
        ((3, 4), probabilities(3, 4)),
    ),
    *(divergence(*case) for case in itertools.product(("mean", "sum", "none"), ((5,), (3, 5)))),
    *(
        Row(
            "cosine_similarity", f"{axis=}",
            lambda x, y, axis=axis: minae.cosine_similarity(x, y, axis),
            lambda x, y, axis=axis: tf.cosine_similarity(x, y, axis), ((3, 4), (3, 4)),
        )
        for axis in (0, 1)
    ),
]  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("row", ROWS, ids=label)
def test_loss_agrees_with_torch(row, dtype, array, numpy):
    check(row, dtype, array, numpy)


@settings(max_examples=120)
@given(st.data())
def test_classes(array, numpy, data):
    """``cross_entropy`` and ``nll_loss`` over shapes, weights, ignored labels and smoothing."""
    shape = tuple(data.draw(st.lists(st.integers(1, 3), max_size=2)))
    classes = data.draw(st.integers(1, 5))
    ignore = data.draw(st.sampled_from([-100, -1, 0, 7]))
    allowed = st.integers(0, classes - 1) | (st.just(ignore) if shape else st.nothing())
    count = math.prod(shape)
    labels = data.draw(st.lists(allowed, min_size=count, max_size=count))
    labels = np.array(labels).reshape(shape)
    options = {
        "ignore_index": ignore, "reduction": data.draw(st.sampled_from(["mean", "sum", "none"])),
        "label_smoothing": data.draw(st.sampled_from([0.0, 0.1, 1.0])),
    }  # fmt: skip
    weight = data.draw(st.none() | st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=classes,
                                            max_size=classes))  # fmt: skip
    theirs = None if weight is None else torch.tensor(weight)
    if options["reduction"] == "mean" and (labels == ignore).all():
        logits = array(np.ones((*shape, classes)))
        loss = minae.cross_entropy(logits, labels, weight=weight, **options)
        assert numpy(loss) == 0  # PyTorch has NaN
        return
    dtype = data.draw(st.sampled_from(["float32", "float64"]))

    def flat(function):
        def call(x, i):
            x, i = x.reshape(-1, classes), i.reshape(-1)
            w = None if theirs is None else theirs.to(x.dtype)
            loss = function(x, i, weight=w, **options)
            return loss if options["reduction"] != "none" else loss.reshape(shape)

        return call

    inputs = ((*shape, classes), labels.tolist())
    check(Row(
        "cross_entropy", "drawn", lambda x, i: minae.cross_entropy(x, i, weight=weight, **options),
        flat(tf.cross_entropy), inputs,
    ), dtype, array, numpy)  # fmt: skip
    del options["label_smoothing"]
    check(Row(
        "nll_loss", "drawn", lambda x, i: minae.nll_loss(x, i, weight=weight, **options),
        flat(tf.nll_loss), inputs,
    ), dtype, array, numpy)  # fmt: skip


def test_a_weight_may_be_learned(array, numpy):
    """Its gradient is that of PyTorch, whose weights are constants: by their definition."""
    check(Row(
        "nll_loss", "a learned weight",
        lambda x, w: minae.nll_loss(x, [0, 2, 1], weight=w, reduction="sum"),
        lambda x, w: -(x[[0, 1, 2], [0, 2, 1]] * w[[0, 2, 1]]).sum(), ((3, 3), (3,)),
    ), "float64", array, numpy)  # fmt: skip


def test_what_has_no_probability_costs_nothing_where_none_was_expected(array, numpy):
    """A target of 0 beside a prediction of 0, whose logarithm is -inf: PyTorch has NaN."""
    x = minae.tensor([[0.0, 1.0, -np.inf]], requires_grad=True)
    loss = minae.kl_div(minae.log_softmax(x), array([[0.5, 0.5, 0.0]], "float32"))
    assert np.isfinite(loss.item())
    assert np.isfinite(numpy(minae.grad(loss, x))).all()


def test_certainty_costs_at_most_100(array, numpy):
    p, target = array([0.0, 1.0, 0.0]), array([0.0, 1.0, 1.0])
    loss = minae.binary_cross_entropy(p, target, reduction="none")
    assert numpy(loss).tolist() == [0, 0, 100]
    x = minae.Tensor(p, requires_grad=True)
    pull = numpy(minae.grad(minae.binary_cross_entropy(x, target, reduction="sum"), x))
    assert pull[2] == pytest.approx(-1e12)  # not 0: PyTorch bounds it too
