"""Score-function losses: learning from rewards that no gradient passes (Williams 1992).

The gradient of a mean reward is ``E[reward * gradient of log p]``. The losses here have its
negative, estimated from samples, as their gradient; what differs is the baseline that is subtracted
from the rewards, which changes the variance but not the mean. Rewards and baselines are constants.

A bonus for entropy is a reward, too: with ``rewards - weight * log_probabilities.detach()``, the
gradient is that of the mean reward plus ``weight`` times the entropy.
"""

from __future__ import annotations

from typing import Any

import minae.ops as ops

from ..backend import Array, asarray, expect, xp
from ..engine import entries
from ..faults import check
from ..functional import mean, mse_loss, stop_gradient
from ..nn.module import Module


def reinforce(log_probabilities: Any, rewards: Any, baseline: Any = None) -> Any:
    """``-mean((rewards - baseline) * log_probabilities)``, one of each for a sample: a number.

    ``log_probabilities`` (...) are those of the whole samples, under the distribution they were
    drawn from: of ``sample``, ``drawn.log_probabilities.sum(axis=1)``. ``rewards`` (...) and the
    ``baseline`` (...), 0 by default, must have the same shape; that is unbiased as long as no
    baseline depends on its own sample. Raises ValueError for other shapes, FloatingPointError for
    rewards that are not finite.
    """
    gain = _constant(rewards, "reward", log_probabilities)
    if baseline is not None:
        gain = gain - _constant(baseline, "baseline", log_probabilities)
    return -mean(log_probabilities * gain)


def leave_one_out(log_probabilities: Any, rewards: Any) -> Any:
    """``reinforce`` of ``log_probabilities`` and ``rewards`` (..., samples), each against the rest.

    The baseline of a sample is the mean reward of the others along the last axis, drawn alike (Kool
    et al. 2019); of ``sample``'s (samples, batch) give the transpose. Errors are those of
    ``reinforce``; ValueError where there is only one sample.
    """
    gain = _constant(rewards, "reward", log_probabilities)
    samples = gain.shape[-1] if gain.ndim else 1
    if samples < 2:
        raise ValueError(expect("rewards (..., samples) of two samples or more", gain))
    others = (gain.sum(axis=-1, keepdims=True) - gain) / (samples - 1)
    return reinforce(log_probabilities, gain, others)


def self_critical(log_probabilities: Any, rewards: Any, greedy_rewards: Any) -> Any:
    """``reinforce`` of ``log_probabilities`` and ``rewards``, against what decoding earns.

    ``greedy_rewards`` are those of the sequences that ``greedy`` finds from the same start (Rennie
    et al. 2017). Errors are those of ``reinforce``.
    """
    return reinforce(log_probabilities, rewards, greedy_rewards)


def learned_baseline(log_probabilities: Any, rewards: Any, expected: Any) -> Any:
    """``reinforce`` of ``log_probabilities`` and ``rewards`` against ``expected`` ones, and their
    squared error added.

    So that one loss trains both, each alone: the model gets the gradient of the first part, and
    what made ``expected``, such as a ``Baseline``, that of the second. Errors are those of
    ``reinforce``.
    """
    wanted = _constant(rewards, "reward", log_probabilities)
    return reinforce(log_probabilities, wanted, expected) + mse_loss(expected, wanted)


class Baseline(Module):
    """The reward to be expected, by a ``body``: a Module from features (..., n) to (..., 1).

    The features are constants to it, so that what made them learns nothing here.
    """

    def __init__(self, body: Module) -> None:
        self.body = body

    def forward(self, features: Any) -> Any:
        """Features (..., n) to what is expected, (...)."""
        return ops.getitem(self.body(stop_gradient(features)), index=(..., 0))


def _constant(values: Any, name: str, like: Any) -> Array:
    """Rewards as an array of the shape and dtype of ``like``: other shapes would broadcast."""
    array = asarray(entries(values)).astype(like.dtype, copy=False)
    if array.shape != like.shape:
        raise ValueError(expect(f"a {name} {list(like.shape)}, one for each sample", array))
    check(~xp.isfinite(array), FloatingPointError, f"the {name} is not finite")
    return array
