"""Losses by hand: what is ignored, weighed and smoothed, and what is refused."""

import math

import numpy as np
import pytest

import minae
from minae import Tensor

LOGITS = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])


@pytest.fixture
def logits(array):
    return Tensor(array(LOGITS), requires_grad=True)


def test_what_is_ignored_costs_nothing_and_learns_nothing(logits, numpy):
    loss = minae.cross_entropy(logits, [0, -100])
    assert loss.item() == pytest.approx(math.log(2))
    assert not numpy(minae.grad(loss, logits))[1].any()
    loss = minae.cross_entropy(logits, [7, 7], ignore_index=7)
    assert loss.item() == 0 and not numpy(minae.grad(loss, logits)).any()


def test_the_weight_of_a_class_weighs_the_mean_too(logits):
    loss = minae.cross_entropy(logits, [0, 1], weight=[1, 3, 0])
    assert loss.item() == pytest.approx((math.log(2) - 3 * math.log(0.8)) / 4)
    loss = minae.cross_entropy(logits, [0, 1], weight=[1, 3, 0], reduction="sum")
    assert loss.item() == pytest.approx(math.log(2) - 3 * math.log(0.8))


def test_smoothing_spreads_the_target(logits):
    wanted = -(0.8 * math.log(0.5) + 0.1 * (math.log(0.5) + 2 * math.log(0.25)) * 2 / 3)
    loss = minae.cross_entropy(logits[:1], [0], label_smoothing=0.2)
    assert loss.item() == pytest.approx(wanted)


def test_each_loss_by_itself(logits, numpy):
    losses = minae.cross_entropy(logits, [0, -100], reduction="none")
    assert numpy(losses).tolist() == pytest.approx([math.log(2), 0])


def test_float32_stays(array):
    x = array(LOGITS, "float32")
    for options in ({"weight": [1, 2, 3]}, {"label_smoothing": 0.1}, {"ignore_index": 0}):
        assert minae.cross_entropy(Tensor(x), [0, 1], **options).dtype == "float32"
    assert minae.binary_cross_entropy_with_logits(x, x, pos_weight=[1, 2, 3]).dtype == "float32"


def test_what_is_refused(logits, array):
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\), got -1"):
        minae.cross_entropy(logits, [0, -1])
    with pytest.raises(ValueError, match=r"Expect: weight \[3\], one for each class"):
        minae.cross_entropy(logits, [0, 1], weight=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\]"):
        minae.cross_entropy(logits, [0, 1], label_smoothing=1.5)
    with pytest.raises(ValueError, match="choose mean, sum or none"):
        minae.mse_loss(logits, logits, reduction="average")
    with pytest.raises(ValueError, match="delta must be above 0"):
        minae.huber_loss(logits, logits, 0.0)
    with pytest.raises(ValueError, match="apply sigmoid first"):
        minae.binary_cross_entropy(array([1.5]), array([1.0]))
    with pytest.raises(ValueError, match="apply sigmoid first"):
        minae.binary_cross_entropy(array([math.nan]), array([1.0]))
    for loss in (minae.huber_loss, minae.kl_div, minae.binary_cross_entropy):
        with pytest.raises(ValueError, match="would broadcast"):
            loss(array(np.ones((4, 1)) / 2), array(np.ones(4)))


def test_the_floor_of_the_logarithm(array):
    assert minae.binary_cross_entropy(array([1e-60]), array([1.0])) == 100


def test_log1mexp_near_0_and_far_below(array, numpy):
    x = Tensor(array([-1e-20, -1e-3, -50.0, -math.inf]), requires_grad=True)
    y = minae.log1mexp(x)
    wanted = [math.log(1e-20), math.log(-math.expm1(-1e-3)), -math.exp(-50), 0]
    np.testing.assert_allclose(numpy(y), wanted, rtol=1e-15)
    gradient = numpy(minae.grad(y.sum(), x))
    np.testing.assert_allclose(gradient, [-1e20, -1 / math.expm1(1e-3), -math.exp(-50), 0])
