"""Decoding: sequences from a model that says, token by token, how likely each next one is.

The model is a function ``step(tokens, state) -> (logits, state)``: ``tokens`` (rows,) are the last
ones, ``logits`` (rows, vocabulary) those of the next. What is between the calls is the ``state``,
which ``take_rows`` knows how to pick rows from. A sequence is over with the token ``end``, which
belongs to it, or when it has ``length`` tokens: the probabilities of all of these sum to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import minae.ops as ops

from ..backend import Array, concatenate, expect, xp
from ..engine import entries, no_grad
from ..faults import check, fetch
from ..functional import top_k as largest
from ..functional.checks import booleans, integers
from ..random import uniform_noise

Step = Callable[[Any, Any], tuple[Any, Any]]


class Decoded(NamedTuple):
    """A sequence for each row."""

    tokens: Array  # (rows, time): after the end of a sequence, only its end token
    lengths: Array  # (rows,): the end token is counted
    log_probabilities: Any  # (rows, time): of each token, 0 after the end; recorded as the model is


class Hypotheses(NamedTuple):
    """The best sequences found for each row, the best first."""

    tokens: Array  # (rows, count, time): after the end of a sequence, only its end token, or 0
    lengths: Array  # (rows, count): the end token is counted; 0 where there is no other sequence
    scores: Array  # (rows, count): what they are ranked by; -inf where there is no other sequence
    log_probabilities: Array  # (rows, count): of the whole sequence, under the model


# --- One sequence for each row -------------------------------------------------------------------


def sample(
    step: Step, state: Any, first: Any, *, length: int, end: int | None = None,
    temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
    rng: Any = None,
) -> Decoded:
    """Draw a sequence for each row, and say how probable it was.

    ``step`` is that of a model, ``model.step``: ``(tokens, state)`` to ``(logits, state)``.
    ``state`` is the one to start from, ``first`` (rows,) a token for each row, which is no part of
    the result; what stands before it is read by ``model.start``. ``length`` is the most tokens to
    draw, ``end`` the token that ends a sequence, if any. Logits are divided by ``temperature``;
    then all but the ``top_k`` largest are left out; then all but the fewest that have at least the
    share ``top_p`` of what is left (Holtzman et al. 2020), the more probable first, of equals the
    lower token.

    The log-probabilities are those under the distribution that was drawn from, with all of this
    done to it. Where the model is recorded, they are too, so that ``reinforce`` can learn from
    them; elsewhere, write ``with minae.no_grad()``. Raises ValueError for options out of range,
    FloatingPointError where the largest logit of a row is not finite, or too large for its dtype
    once it is divided.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive, got {temperature}; for 0, use greedy()")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}")

    def cooled(tokens: Any, state: Any) -> tuple[Any, Any]:
        logits, state = step(tokens, state)
        return logits if temperature == 1 else logits / temperature, state

    def choose(logits: Any) -> tuple[Array, Any]:
        if top_k is not None or top_p is not None:
            logits = ops.where(_likeliest(entries(logits), top_k, top_p), logits, -math.inf)
        scores = ops.log_softmax(logits)
        below = xp.cumsum(xp.exp(entries(scores)), axis=-1, dtype="float64")
        # In (0, total]: the first to reach it has a share of its own, whatever was rounded.
        place = (1 - uniform_noise((len(below), 1), "float64", rng)) * below[:, -1:]
        return (below < place).sum(axis=-1), scores

    return _decoded(cooled, state, first, length, end, choose)


def greedy(
    step: Step, state: Any, first: Any, *, length: int, end: int | None = None
) -> Decoded:
    """The most probable token each time, the lowest of equals.

    ``step``, ``state``, ``first``, ``length``, ``end`` and errors are those of ``sample``. The
    log-probabilities are the model's.
    """

    def choose(logits: Any) -> tuple[Array, Any]:
        scores = ops.log_softmax(logits)
        return entries(scores).argmax(axis=-1), scores

    return _decoded(step, state, first, length, end, choose)


def _decoded(
    step: Step, state: Any, first: Any, length: int, end: int | None,
    choose: Callable[[Any], tuple[Array, Any]],
) -> Decoded:
    """``choose`` makes of logits the tokens (rows,), and log-probabilities (rows, vocabulary)."""
    tokens = _started(first, length)
    over = xp.zeros(len(tokens), bool)
    lengths = xp.zeros(len(tokens), "int64")
    written, found = [], []
    for _ in range(length):
        logits, state = step(tokens, state)
        tokens, scores = choose(_checked(logits, len(tokens), end, over))
        if end is not None:
            tokens = xp.where(over, end, tokens)
        taken = ops.getitem(scores, index=(xp.arange(len(tokens)), tokens))
        found.append(taken if end is None else ops.where(over, 0.0, taken))
        written.append(tokens)
        lengths += ~over
        if end is not None:
            over = over | (tokens == end)
            if fetch(over.all())[0]:  # the one number of a step that the host waits for
                break
    return Decoded(xp.stack(written, axis=1), lengths, ops.stack(found, axis=1))


def _likeliest(logits: Array, top_k: int | None, top_p: float | None) -> Array:
    """Which tokens are left: (rows, vocabulary), True where one is."""
    ranked = -xp.sort(-logits, axis=-1)[:, :top_k]
    kept = xp.full((len(logits), 1), ranked.shape[1])
    if top_p is not None:
        shares = ops.softmax(ranked).astype("float64")
        before = xp.cumsum(shares, axis=-1) - shares
        kept = (before < top_p).sum(axis=-1, keepdims=True)
    least = xp.take_along_axis(ranked, kept - 1, axis=-1)
    above, equal = logits > least, logits == least
    spare = kept - above.sum(axis=-1, keepdims=True)
    return above | (equal & (xp.cumsum(equal, axis=-1) <= spare))


# --- Beam search ---------------------------------------------------------------------------------


def beam_search(
    step: Step, state: Any, first: Any, *, length: int, width: int, end: int | None = None,
    count: int = 1, length_penalty: str = "wu", alpha: float = 0.0,
    allowed: Callable[[Array], Any] | None = None,
) -> Hypotheses:
    """The ``count`` best sequences for each row, looked for among ``width`` hypotheses at a time.

    ``step``, ``state``, ``first``, ``length`` and ``end`` are those of ``sample``; nothing is
    recorded. Hypotheses are extended by every token, and the ``width`` most probable extensions
    are looked at, of equals those of the better hypothesis and the lower token first. The ended
    ones among them are finished, and compete no more with the others, of which the best ``width``
    go on. So width 1 is greedy, where alpha is 0, and a width of all that there are is exhaustive.

    Finished sequences are ranked by their score, the log-probability over a ``length_penalty``:
    "wu" is ``((5 + length) / 6) ** alpha`` (Wu et al. 2016, equation 14), "power" is
    ``length ** alpha``, of which an ``alpha`` of 1 makes the mean for a token, and 0 none. The
    length counts the end token. The search ends early when nothing that goes on can reach a score
    that would be returned: with the same result as if it went on.

    ``allowed`` takes the tokens so far, (hypotheses, time) with those of one row beside each other,
    and returns which may follow, boolean (hypotheses, vocabulary); what is left keeps the model's
    log-probability. Raises ValueError for options out of range and arrays of another shape,
    FloatingPointError for logits that are NaN or inf. Where all are -inf, as where nothing is
    allowed, a hypothesis ends in nothing.
    """
    if not 1 <= count <= width:
        raise ValueError(f"a {width=} does not find {count} sequences: needs 1 <= count <= width")
    if length_penalty not in ("wu", "power"):
        raise ValueError(f"length_penalty is {length_penalty!r}; choose wu or power")
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be finite, got {alpha}")

    def penalty(size: int) -> float:
        return ((5 + size) / 6 if length_penalty == "wu" else size) ** alpha

    with no_grad():
        tokens = _started(first, length)
        rows = len(tokens)
        row = xp.arange(rows)[:, None]
        live = xp.zeros((rows, 1), "float64")  # the log-probabilities of what goes on
        prefixes = xp.zeros((rows, 1, 0), "int64")
        best = Hypotheses(
            xp.zeros((rows, count, length), "int64"), xp.zeros((rows, count), "int64"),
            xp.full((rows, count), -math.inf), xp.full((rows, count), -math.inf),
        )
        for size in range(1, length + 1):
            hypotheses = live.shape[1]
            logits, state = step(tokens, state)
            scores = ops.log_softmax(entries(_checked(logits, len(tokens), end, True)))
            if allowed is not None:
                scores = _constrained(scores, allowed, prefixes)
            # Of each hypothesis, only its best extensions can be among the best of all. At most
            # one of them ends, so that of twice the width, a width at least goes on.
            kept = min(2 * width, scores.shape[-1])
            each, next_tokens = largest(scores, kept)
            total = (live.reshape(-1, 1) + each).reshape(rows, hypotheses * kept)
            total, place = largest(total, min(2 * width, hypotheses * kept))
            parents = place // kept
            next_tokens = next_tokens[row * hypotheses + parents, place % kept]
            grown = concatenate([prefixes[row, parents], next_tokens[..., None]], 2)
            ended = xp.full(grown.shape[:2], size == length)
            if end is not None:
                ended |= next_tokens == end
            if end is not None or size == length:
                looked_at = xp.where(ended, total, -math.inf)[:, :width]
                best = _better(best, grown[:, :width], size, looked_at, penalty(size))
            if size == length:
                break
            order = xp.argsort(ended, axis=1, kind="stable")[:, :width]
            live = xp.where(ended, -math.inf, total)[row, order]
            prefixes, parents = grown[row, order], parents[row, order]
            if end is not None:
                # A log-probability only falls, and the penalty is largest at one of both ends.
                bound = live[:, 0] / max(penalty(size + 1), penalty(length))
                if fetch((best.scores[:, -1] >= bound).all())[0]:
                    break
            tokens = prefixes[..., -1].ravel()
            state = take_rows(state, (row * hypotheses + parents).ravel())
    inside = xp.arange(size) < best.lengths[..., None]
    return best._replace(tokens=xp.where(inside, best.tokens[..., :size], end or 0))


def _constrained(scores: Array, allowed: Callable[[Array], Any], prefixes: Array) -> Array:
    mask = booleans(allowed(prefixes.reshape(len(scores), prefixes.shape[2])), "what is allowed")
    if mask.shape != scores.shape:
        why = "what is allowed does not fit the logits"
        raise ValueError(expect(f"a mask {list(scores.shape)}", mask, why=why))
    return xp.where(mask, scores, -math.inf)


def _better(
    best: Hypotheses, tokens: Array, size: int, log_probabilities: Array, penalty: float
) -> Hypotheses:
    """The best of those there are and of new ones; of equals, those that were there."""
    rows, count, length = best.tokens.shape
    padded = xp.zeros((rows, tokens.shape[1], length), "int64")
    padded[..., :size] = tokens
    lengths = xp.full(log_probabilities.shape, size)
    scores = concatenate([best.scores, log_probabilities / penalty], 1)
    scores, order = largest(scores, count)
    row = xp.arange(rows)[:, None]
    tokens = concatenate([best.tokens, padded], 1)[row, order]
    lengths = concatenate([best.lengths, lengths], 1)[row, order]
    both = concatenate([best.log_probabilities, log_probabilities], 1)
    return Hypotheses(tokens, lengths, scores, both[row, order])


# --- What all share ------------------------------------------------------------------------------


def take_rows(state: Any, rows: Any) -> Any:
    """The ``state`` of the chosen ``rows`` alone, an array of integers; one may come twice.

    A state is None, an array or Tensor with the rows first, a tuple, list or dict of states, or
    an object with a method ``select(rows)`` that returns itself for these rows. For several samples
    of each row, start from ``take_rows(state, xp.repeat(xp.arange(rows), samples))``.
    Raises TypeError for anything else.
    """
    if state is None:
        return None
    if hasattr(state, "select"):
        return state.select(rows)
    if isinstance(state, dict):
        return {key: take_rows(part, rows) for key, part in state.items()}
    if isinstance(state, (tuple, list)):
        parts = [take_rows(part, rows) for part in state]
        return getattr(type(state), "_make", type(state))(parts)  # or a namedtuple
    if hasattr(state, "dtype"):
        return ops.getitem(state, index=entries(rows))
    kind = type(state).__name__
    raise TypeError(f"there are no rows to take from a {kind}: give it a method select(rows)")


def _started(first: Any, length: int) -> Array:
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    tokens = integers(first, 1 << 31, "first")
    if tokens.ndim != 1:
        raise ValueError(expect("first (rows,), one token for each row", tokens))
    return tokens


def _checked(logits: Any, rows: int, end: int | None, dead: Any) -> Any:
    """The logits, where they are such; only ``dead`` rows may leave no token possible."""
    if len(logits.shape) != 2 or len(logits) != rows:
        raise ValueError(expect(f"logits ({rows}, vocabulary) from the step", logits))
    if end is not None and not 0 <= end < logits.shape[1]:
        raise ValueError(f"end is {end}, but the vocabulary has {logits.shape[1]} tokens")
    top = entries(logits).max(axis=-1)
    wrong = "the largest logit of a row is not finite: no token can be chosen"
    check(~(xp.isfinite(top) | (dead & (top == -math.inf))), FloatingPointError, wrong)
    return logits
