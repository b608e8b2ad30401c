"""Score-function losses against the exact gradient: by enumeration, and from samples."""

import itertools
import math

import numpy as np
import pytest
from tiny import Tiny, as_tuples, sequences

import minae
from minae import Tensor, backend, nn, optim
from minae.seq import (
    Baseline,
    greedy,
    learned_baseline,
    leave_one_out,
    reinforce,
    sample,
    self_critical,
)

SEQUENCES = sequences(3, 2)


@pytest.fixture
def model():
    return Tiny(3, seed=1, hidden=2, scale=0.7)


@pytest.fixture
def rewards(array):
    """One for each sequence, far from 0."""
    return array(5 + np.random.default_rng(0).normal(size=len(SEQUENCES)))


def flat(gradients, numpy):
    return np.concatenate([numpy(g).ravel() for g in gradients])


def gradient(loss, model, numpy):
    return flat(minae.grad(loss, model.parameters, retain_graph=True), numpy)


def exact(model, rewards, numpy):
    """The gradient of the mean reward, over all sequences."""
    return gradient((minae.exp(model.scores(SEQUENCES)) * rewards).sum(), model, numpy)


def moments(model, loss, samples, numpy):
    """The mean of an estimator and the trace of its covariance, over all tuples of ``samples``."""
    log_probabilities = model.scores(SEQUENCES)
    probabilities = np.exp(numpy(log_probabilities))
    total = mean = square = 0.0
    for chosen in itertools.product(range(len(SEQUENCES)), repeat=samples):
        share = probabilities[list(chosen)].prod()
        index = backend.asarray(np.array(chosen))
        found = gradient(loss(log_probabilities, index), model, numpy)
        total += share
        mean = mean - share * found  # a loss is to fall where the reward is to rise
        square += share * (found**2).sum()
    assert math.isclose(total, 1, rel_tol=1e-9)
    return mean, square - (mean**2).sum()


# --- Over all tuples of samples: exactly ---------------------------------------------------------


def test_every_estimator_is_unbiased_and_a_baseline_lowers_its_variance(model, rewards, numpy):
    wanted = exact(model, rewards, numpy)
    state, first = model.start(1)
    best = greedy(model.step, state, first, length=2)
    (tokens,) = as_tuples(numpy(best.tokens), numpy(best.lengths))
    greedy_reward = rewards[SEQUENCES.index(tokens)]
    guess = Tensor(backend.asarray(np.array([4.0])), requires_grad=True)

    estimators = {
        "plain": lambda p, i: reinforce(p[i], rewards[i]),
        "constant": lambda p, i: reinforce(p[i], rewards[i], rewards[i] * 0 + 4),
        "leave one out": lambda p, i: leave_one_out(p[i], rewards[i]),
        "self-critical": lambda p, i: self_critical(
            p[i], rewards[i], backend.xp.full(2, float(greedy_reward))
        ),
        "learned": lambda p, i: learned_baseline(
            p[i], rewards[i], minae.broadcast_to(guess, shape=(2,))
        ),
    }
    variances = {}
    for name, loss in estimators.items():
        mean, variances[name] = moments(model, loss, 2, numpy)
        np.testing.assert_allclose(mean, wanted, rtol=1e-9, atol=1e-11, err_msg=name)
    plain = variances.pop("plain")
    assert max(variances.values()) < plain / 5


def test_leave_one_out_of_three_and_of_several_rows(model, rewards, numpy):
    wanted = exact(model, rewards, numpy)
    small = rewards[:9]
    assert len(SEQUENCES) == 9
    mean, _ = moments(model, lambda p, i: leave_one_out(p[i], small[i]), 3, numpy)
    np.testing.assert_allclose(mean, wanted, rtol=1e-9, atol=1e-11)

    log_probabilities, grid = model.scores(SEQUENCES), np.arange(6).reshape(2, 3)
    index = backend.asarray(grid)
    whole = leave_one_out(log_probabilities[index], rewards[index])
    rows = [leave_one_out(log_probabilities[i], rewards[i]) for i in index]
    assert math.isclose(float(whole), sum(map(float, rows)) / 2, rel_tol=1e-12)
    r, p = numpy(rewards)[grid], numpy(log_probabilities)[grid]
    by_hand = [(r[k, j] - np.delete(r[k], j).mean()) * p[k, j] for k in range(2) for j in range(3)]
    assert math.isclose(float(whole), -np.mean(by_hand), rel_tol=1e-12)


def test_a_bonus_for_entropy_is_a_reward(model, rewards, numpy):
    def loss(p, i):
        return reinforce(p[i], rewards[i] - 0.3 * p[i].detach().array)

    p = model.scores(SEQUENCES)
    entropy = -(minae.exp(p) * p).sum()
    wanted = exact(model, rewards, numpy) + 0.3 * gradient(entropy, model, numpy)
    mean, _ = moments(model, loss, 1, numpy)
    np.testing.assert_allclose(mean, wanted, rtol=1e-9, atol=1e-11)


# --- From samples --------------------------------------------------------------------------------


def test_what_is_sampled_estimates_the_gradient_within_its_error(model, numpy):
    """With sequences of several lengths; the standard error is that of the enumeration."""
    everything, rows = sequences(3, 4, end=2), 20_000
    value = {s: s.count(1) - s.count(2) / 2 for s in everything}
    wanted = square = 0.0
    for s in everything:
        score = gradient(model.scores([s]).sum(), model, numpy)
        share = math.exp(model.log_probability(s))
        wanted = wanted + share * value[s] * score
        square = square + share * (value[s] * score) ** 2
    error = np.sqrt((square - wanted**2) / rows)

    state, first = model.start(rows)
    drawn = sample(model.step, state, first, length=4, end=2, rng=np.random.default_rng(0))
    rewards = [value[s] for s in as_tuples(numpy(drawn.tokens), numpy(drawn.lengths))]
    loss = reinforce(drawn.log_probabilities.sum(axis=1), rewards)
    found = -gradient(loss, model, numpy)
    assert (np.abs(found - wanted) <= 4 * error).all()
    assert np.abs(wanted).max() > 10 * error.max()  # so that a wrong one would be seen


# --- The learned baseline ------------------------------------------------------------------------


def test_a_learned_baseline_learns_apart_from_the_model(array, numpy):
    """The model gets no gradient of the squared error, and the baseline none of the rest."""
    features = Tensor(array(np.random.default_rng(0).normal(size=(8, 3))), requires_grad=True)
    weight = Tensor(array(np.ones(3)), requires_grad=True)
    baseline = Baseline(nn.Linear(3, 1, rng=np.random.default_rng(1))).astype("float64")
    rewards = array(np.arange(8.0))
    log_probabilities = features @ weight
    expected = baseline(features)
    assert expected.shape == (8,)
    loss = learned_baseline(log_probabilities, rewards, expected)
    alone = reinforce(log_probabilities, rewards, expected.detach())
    sources = [features, weight, *baseline.parameters()]
    found = minae.grad(loss, sources, retain_graph=True)
    for a, b in zip(found[:2], minae.grad(alone, sources[:2]), strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))
    error = minae.mse_loss(baseline(features), Tensor(rewards))
    for a, b in zip(found[2:], minae.grad(error, sources[2:]), strict=True):
        np.testing.assert_allclose(numpy(a), numpy(b), rtol=1e-12)


def test_a_baseline_comes_to_expect_the_rewards(array, numpy):
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    rewards = 3 * x[:, 0] - x[:, 1] + 7
    baseline = Baseline(nn.Linear(2, 1, rng=np.random.default_rng(1)))
    optimizer = optim.Adam(baseline.parameters(), lr=0.1)
    for _ in range(300):
        expected = baseline(array(x))
        loss = learned_baseline(array(np.zeros(64, "float32")), rewards, expected)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(numpy(baseline(array(x))), rewards, atol=0.05)


def test_a_policy_learns_what_is_rewarded(numpy):
    model, rng = Tiny(4, seed=3), np.random.default_rng(0)
    optimizer = optim.Adam(model.parameters, lr=0.05)
    state, first = model.start(60)
    for _ in range(60):
        drawn = sample(model.step, state, first, length=3, rng=rng)
        twos = (numpy(drawn.tokens) == 2).sum(axis=1).reshape(15, 4)
        scores = drawn.log_probabilities.sum(axis=1).reshape(15, 4)
        optimizer.zero_grad()
        leave_one_out(scores, twos).backward()
        optimizer.step()
    assert math.exp(model.log_probability((2, 2, 2))) > 0.9


# --- What is refused -----------------------------------------------------------------------------


def test_rewards_are_constants_of_one_shape(array):
    p = Tensor(array([-1.0, -2.0]), requires_grad=True)
    r = Tensor(array([3.0, 4.0]), requires_grad=True)
    loss = reinforce(p, r * 2, r)
    assert float(loss) == -(3 * -1 + 4 * -2) / 2
    loss.backward()
    assert r.grad is None
    for wrong in ([[3.0], [4.0]], [3.0], 3.0):
        with pytest.raises(ValueError, match=r"a reward \[2\], one for each sample"):
            reinforce(p, wrong)
        with pytest.raises(ValueError, match=r"a baseline \[2\], one for each sample"):
            self_critical(p, [3.0, 4.0], wrong)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_one_error(bad, array):
    p = Tensor(array([[-1.0, -2.0]]), requires_grad=True)
    with pytest.raises(FloatingPointError, match="the reward is not finite"):
        float(leave_one_out(p, [[bad, 1.0]]))
    with pytest.raises(FloatingPointError, match="the baseline is not finite"):
        float(reinforce(p, [[1.0, 1.0]], [[1.0, bad]]))


def test_one_sample_leaves_none_out(array):
    for shape in ((), (3, 1)):
        with pytest.raises(ValueError, match="two samples or more"):
            leave_one_out(array(np.zeros(shape)), array(np.zeros(shape)))
