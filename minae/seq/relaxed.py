"""Relaxed tokens: drawn as vectors of weights over the vocabulary, through which gradients pass."""

from __future__ import annotations

import math
from typing import Any

import minae.ops as ops

from ..backend import xp
from ..engine import entries
from ..functional.checks import floats
from ..random import uniform_noise
from ..vq import straight_through
from .decode import Step, _checked, _started


def gumbel_softmax(
    logits: Any, temperature: float = 1.0, hard: bool = False, rng: Any = None
) -> Any:
    """Weights (..., classes) drawn by ``softmax((logits + G) / temperature)``, G Gumbel noise.

    The largest weight is at each class with the probability ``softmax(logits)``; the lower the
    temperature, the nearer is it to 1, and the larger are the gradients (Jang et al. 2017, Maddison
    et al. 2017). If ``hard``, the values are one-hot, with 1 at the largest weight; the gradients
    stay those of the weights (straight through). Raises ValueError unless the temperature is
    positive.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive, got {temperature}")
    logits = floats(logits)
    # Multiples of 2^-24, in float64 of 2^-53, of which 0 would make infinite noise.
    u = xp.maximum(uniform_noise(logits.shape, logits.dtype, rng=rng), 2.0**-25)
    noisy = (logits - xp.log(-xp.log1p(-u))) / temperature
    weights = ops.softmax(noisy)
    if not hard:
        return weights
    chosen = entries(noisy).argmax(axis=-1)
    return straight_through(
        weights, (chosen[..., None] == xp.arange(logits.shape[-1])).astype(logits.dtype)
    )


def sample_relaxed(
    step: Step, state: Any, first: Any, *, length: int, temperature: float = 1.0,
    hard: bool = False, rng: Any = None,
) -> Any:
    """Sequences of relaxed tokens: weights (rows, length, vocabulary).

    ``step``, ``state`` and ``first`` are those of ``sample``. The first tokens that the step takes
    are integers (rows,), the later ones weights (rows, vocabulary), which it embeds as
    ``weights @ table``: where they are one-hot, the row of the table. ``temperature`` and ``hard``
    are those of ``gumbel_softmax``; lowering the temperature in the course of training is left to
    the caller. All sequences have this ``length``: a weight of an end token ends nothing.
    """
    tokens = _started(first, length)
    written = []
    for _ in range(length):
        logits, state = step(tokens, state)
        logits = _checked(logits, len(tokens), None, False)
        tokens = gumbel_softmax(logits, temperature, hard, rng)
        written.append(tokens)
    return ops.stack(written, axis=1)
