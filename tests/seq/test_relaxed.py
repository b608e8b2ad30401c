"""Relaxed tokens: how often each is the largest, what they are, and whose gradient they pass."""

import numpy as np
import pytest
from tiny import Tiny, softmax, surprise

import minae
from minae import Tensor, backend
from minae.seq import gumbel_softmax, sample_relaxed

LOGITS = [0.5, -1.0, 2.0, 0.0, -3.0]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_the_largest_weight_is_where_the_logits_say(temperature, array, numpy):
    rows = 40_000
    logits = array(np.tile(LOGITS, (rows, 1)), "float32")
    weights = numpy(gumbel_softmax(logits, temperature, rng=rng()))
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    counts = np.bincount(weights.argmax(axis=1), minlength=5)
    assert abs(surprise(counts, rows * softmax(np.array(LOGITS)))) < 4


def test_a_cold_one_is_nearly_one_hot_and_a_hot_one_nearly_even(array, numpy):
    logits = array(np.tile(LOGITS, (500, 1)))
    cold, hot = (numpy(gumbel_softmax(logits, t, rng=rng())) for t in (1e-3, 1e3))
    assert np.median(cold.max(axis=1)) > 0.999 and hot.max() < 0.21


def test_a_hard_one_is_one_hot_with_the_gradient_of_the_soft_one(array, numpy):
    logits = Tensor(array(np.random.default_rng(1).normal(size=(6, 4))), requires_grad=True)
    seed = array(np.random.default_rng(2).normal(size=(6, 4)))
    soft, hard = (gumbel_softmax(logits, 0.7, hard, rng()) for hard in (False, True))
    expected = np.eye(4)[numpy(soft).argmax(axis=1)]
    np.testing.assert_array_equal(numpy(hard), expected)
    gradients = [numpy(minae.grad(x, logits, seed)) for x in (soft, hard)]
    np.testing.assert_array_equal(*gradients)
    assert np.abs(gradients[0]).max() > 0.01


def test_its_gradient_is_right():
    minae.testing.check_grads(
        lambda x: gumbel_softmax(x, 0.5, rng=rng()), [np.linspace(-1, 1, 8).reshape(2, 4)]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_noise_is_finite_at_both_ends_of_the_generator(dtype, monkeypatch, array, numpy):
    ends = array([0.0, 1 - 2.0**-24], dtype)
    monkeypatch.setattr("minae.seq.relaxed.uniform_noise", lambda *_, **__: ends)
    weights = numpy(gumbel_softmax(array([0.0, 0.0], dtype), 1.0))
    assert np.isfinite(weights).all() and weights.dtype == dtype
    assert weights.argmax() == 0  # the smaller the uniform number, the larger is the noise


def test_what_is_impossible_stays_so(array, numpy):
    logits = array([[0.0, -np.inf, 1.0]] * 200, "float32")
    for hard in (False, True):
        assert (numpy(gumbel_softmax(logits, 2.0, hard, rng()))[:, 1] == 0).all()


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_positive(temperature, array):
    with pytest.raises(ValueError, match="temperature must be positive"):
        gumbel_softmax(array([0.0, 1.0]), temperature)


def test_a_hard_sequence_is_read_as_its_tokens(numpy):
    """The model sees a one-hot vector as it sees the token: the same sequence, scored anew."""
    model = Tiny(4, seed=1)
    state, first = model.start(300)
    weights = numpy(sample_relaxed(model.step, state, first, length=2, hard=True, rng=rng()))
    assert weights.shape == (300, 2, 4)
    assert set(weights.ravel().tolist()) == {0.0, 1.0} and (weights.sum(axis=2) == 1).all()
    tokens = weights.argmax(axis=2)
    pairs = [(a, b) for a in range(4) for b in range(4)]
    counts = np.array([(tokens == pair).all(axis=1).sum() for pair in pairs])
    exact = np.exp([model.log_probability(pair) for pair in pairs])
    assert abs(surprise(counts, 300 * exact)) < 4


def test_a_sequence_is_drawn_at_its_temperature(numpy):
    model = Tiny(4, seed=1)
    state, first = model.start(100)
    cold, hot = (
        numpy(sample_relaxed(model.step, state, first, length=2, temperature=t, rng=rng()))
        for t in (1e-3, 1e3)
    )
    assert np.median(cold.max(axis=2)) > 0.999 and hot.max() < 0.26


@pytest.mark.parametrize("hard", [False, True])
def test_gradients_pass_through_all_of_a_sequence(hard, numpy):
    """A soft one is differentiated as it is computed; a hard one reaches each step's input."""
    model = Tiny(3, seed=2)
    state, first = model.start(20)
    seed = backend.asarray(rng(1).normal(size=(20, 3, 3)))

    def total():
        weights = sample_relaxed(model.step, state, first, length=3, hard=hard, rng=rng())
        return (weights * seed).sum()

    found = numpy(minae.grad(total(), model.parameters[0]))
    assert np.abs(found).min() > 0  # also the rows of the tokens that never were the first
    if not hard:
        table = model.parameters[0].array
        for place in ((0, 0), (2, 1)):
            values = []
            for step in (1e-6, -2e-6):
                table[place] += step
                values.append(float(total()))
            table[place] += 1e-6
            np.testing.assert_allclose(found[place], (values[0] - values[1]) / 2e-6, rtol=1e-5)
