"""Sequence to sequence: a recurrent net reads, another writes, and looks back at what was read.

Attention is that of Luong et al. 2015 ("global", section 3.1, with the "general" score): it depends
on the state that the writer has reached, and not the other way round as in Bahdanau et al. 2015. So
in training the writer takes all its steps in one op, and attention is two products for all of them.
What was read can be copied (See et al. 2017, section 2.2): an unknown word of the source is written
as the number of its place there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import minae.ops as ops

from ..backend import Array, expect, xp
from ..engine import entries
from ..faults import check
from ..functional import cross_entropy, linear, log_sigmoid
from ..nn import GRU, LSTM, Dropout, Embedding, Linear
from .saving import Saved
from .tokens import (
    NOTHING,
    embedded,
    labels_of,
    loss_of,
    read_ids,
    read_last,
    read_tokens,
    soft,
)

CELLS = {"LSTM": LSTM, "GRU": GRU}


class Reading(NamedTuple):
    """What a Seq2Seq keeps while it writes: a state of the decoding protocol."""

    memory: Any  # (rows, source time, hidden): what the reader made of the source
    mask: Array | None  # (rows, source time): what of it is no padding
    copies: Array | None  # (rows, source time): what a copy of each source token is in the target
    states: tuple  # of the writer: one or two of (rows, layers, hidden)


class Written(NamedTuple):
    """What the writer made of its inputs."""

    logits: Any  # (rows, time, targets): of tokens in the vocabulary
    weights: Any  # (rows, time, source time): logarithms of those of attention
    gate: Any  # (rows, time): the logit of writing a token of the vocabulary, instead of a copy
    states: tuple  # as in a Reading


class Seq2Seq(Saved):
    """Sources (batch, time) and targets (batch, time) to the logits of the target's next tokens.

    Their tokens are integers in [0, sources) and [0, targets), and become vectors of ``features``.
    Reader and writer have ``layers`` of the ``cell`` ``"LSTM"`` or ``"GRU"`` with ``hidden``
    features; the reader has half of them for each direction. ``dropout`` is that of the vectors,
    between layers, and of what the output is made from.

    With ``unknown``, the target's token for unknown words, source tokens can be copied. Methods
    then take ``copies`` (batch, source time): what a copy of each source token is in the target; a
    token below ``targets``, or for an unknown word ``targets + place``, with the first place in
    the source where it stands. ``copy_ids`` makes them. Logits have ``targets + source time``
    entries then, the logarithms of probabilities.
    """

    def __init__(
        self, sources: int, targets: int, features: int = 128, hidden: int = 256, layers: int = 1,
        dropout: float = 0.1, cell: str = "LSTM", unknown: int | None = None, *, rng: Any = None,
    ) -> None:
        if cell not in CELLS or hidden % 2:
            raise ValueError(f"impossible {cell=}, {hidden=}: give LSTM or GRU, an even number")
        if unknown is not None and not 0 <= unknown < targets:
            raise ValueError(f"unknown must be one of {targets} tokens, got {unknown}")
        self.config = {
            "sources": sources, "targets": targets, "features": features, "hidden": hidden,
            "layers": layers, "dropout": dropout, "cell": cell, "unknown": unknown,
        }  # fmt: skip
        self.sources, self.targets, self.unknown = sources, targets, unknown
        self.source = Embedding(sources, features, rng=rng)
        self.target = Embedding(targets, features, rng=rng)
        between = dropout if layers > 1 else 0.0
        self.reader = CELLS[cell](
            features, hidden // 2, layers, dropout=between, bidirectional=True, rng=rng
        )
        self.writer = CELLS[cell](features, hidden, layers, dropout=between, rng=rng)
        self.score = Linear(hidden, hidden, bias=False, rng=rng)
        self.join = Linear(2 * hidden, hidden, rng=rng)
        self.output = Linear(hidden, targets, rng=rng)
        self.gate = None if unknown is None else Linear(2 * hidden + features, 1, rng=rng)
        self.dropout = Dropout(dropout, rng=rng)

    def forward(self, source: Any, target: Any, copies: Any = None) -> Any:
        """The logits (batch, time, targets) of the token after each of the ``target``.

        ``source`` and ``target`` are arrays (batch, time), or ``seq.Padded``. With ``copies``, see
        above.
        """
        reading = self.start(source, copies)
        ids, _ = read_tokens(target, self._width(reading), None, "target tokens")
        return self._mixed(self._write(ids, reading), reading)

    def loss(self, source: Any, target: Any, copies: Any = None) -> tuple[Any, dict[str, Any]]:
        """What to minimise, the mean of ``-log p`` of all tokens of ``target`` but the first, and
        the perplexity.

        ``source`` (batch, time) and ``target`` (batch, time + 1) are arrays, or ``seq.Padded``, of
        which padding does not count. Target sequences begin with a token that says so, and end
        with another. With ``copies`` (see above), a target token may be one of them.
        """
        reading = self.start(source, copies)
        ids, real = read_ids(target, self._width(reading), None, "target tokens", least=2)
        written, labels = self._write(ids[:, :-1], reading), labels_of(ids, real)
        if reading.copies is None:
            return loss_of(written.logits, labels)
        counted, known = labels != NOTHING, labels < self.targets
        same = reading.copies[:, None] == labels[:, :, None]  # (batch, time, source time)
        lost = counted & ~known & ~same.any(axis=2)
        check(lost, ValueError, "a target token is the copy of no source token: see copy_ids")
        label = xp.where(counted & known, labels, 0)
        by_vocabulary = -cross_entropy(written.logits, label, reduction="none")
        by_copy = ops.logsumexp(ops.where(same, written.weights, -math.inf), axis=-1)
        both = ops.stack([
            ops.where(known, log_sigmoid(written.gate) + by_vocabulary, -math.inf),
            log_sigmoid(-written.gate) + by_copy,
        ])
        log_p = ops.where(counted, ops.logsumexp(both, axis=0), 0.0)
        loss = -ops.sum(log_p) / xp.maximum(counted.sum(), 1).astype(log_p.dtype)
        return loss, {"perplexity": xp.exp(entries(loss))}

    def attention(self, source: Any, target: Any, copies: Any = None) -> Any:
        """What of the ``source`` is looked at after each of the ``target``, by shares.

        (batch, target time, source time), for a picture. ``source``, ``target`` and ``copies`` are
        those of a call.
        """
        reading = self.start(source, copies)
        ids, _ = read_tokens(target, self._width(reading), None, "target tokens")
        return ops.exp(self._write(ids, reading).weights)

    # --- Token by token ------------------------------------------------------------------------

    def start(self, source: Any, copies: Any = None) -> Reading:
        """What is kept after reading the ``source``: the first state. For ``copies``, see above.

        The first token that ``step`` takes is the one that begins each sequence.
        """
        ids, mask = read_tokens(source, self.sources, None, "source tokens")
        if (copies is None) != (self.unknown is None):
            raise ValueError("copies= go with a model that has unknown=, and with no other")
        if copies is not None:
            longest = self.targets + ids.shape[1]
            copies, _ = read_ids(copies, longest, None, "copies")
            if copies.shape != ids.shape[:2]:
                raise ValueError(expect(f"copies {list(ids.shape[:2])}, like the source", copies))
        x = self.dropout(embedded(self.source, ids))
        memory, last = self.reader(x, lengths=None if mask is None else mask.sum(axis=1))
        return Reading(memory, mask, copies, tuple(map(self._both_ways, _listed(last))))

    def step(self, tokens: Any, state: Reading) -> tuple[Any, Reading]:
        """The logits (rows, targets) after one more of ``tokens`` (rows,), and the next state.

        With ``copies``, see above. ``tokens`` may be one-hot vectors (rows, targets) instead,
        through which gradients pass. The ``state`` that is given stays as it is.
        """
        reading = Reading(*state)
        written = self._write(read_last(tokens, self._width(reading)), reading)
        logits = ops.getitem(self._mixed(written, reading), index=(slice(None), 0))
        return logits, reading._replace(states=written.states)

    def _write(self, ids: Any, reading: Reading) -> Written:
        """Read ``ids`` (rows, time) on from the state of the writer, and look at the source."""
        memory, mask = reading.memory, reading.mask
        if len(ids) != len(memory):
            raise ValueError(expect("as many targets as sources", ids, memory))
        x = self.dropout(self._vectors(ids))
        first = tuple(ops.swapaxes(s, first=0, second=1) for s in reading.states)
        out, last = self.writer(x, first if len(first) > 1 else first[0])
        scores = self.score(out) @ ops.swapaxes(memory, first=1, second=2)
        if mask is not None:
            scores = ops.where(mask[:, None], scores, -math.inf)
        weights = ops.log_softmax(scores)
        context = ops.exp(weights) @ memory
        joined = ops.tanh(self.join(ops.concatenate(context, out, axis=-1)))
        gate = None
        if self.gate is not None:
            gate = self.gate(ops.concatenate(context, out, x, axis=-1))
            gate = ops.reshape(gate, shape=gate.shape[:2])
            if mask is not None:  # of an empty source, nothing can be copied
                gate = ops.where(mask.any(axis=1)[:, None], gate, math.inf)
        states = tuple(ops.swapaxes(s, first=0, second=1) for s in _listed(last))
        return Written(self.output(self.dropout(joined)), weights, gate, states)

    def _mixed(self, written: Written, reading: Reading) -> Any:
        """The logits; with copies, the logarithms of the mixture (See et al. 2017, equation 9)."""
        if reading.copies is None:
            return written.logits
        (rows, time, _), width = written.logits.shape, self._width(reading)
        places = xp.arange(rows)[:, None, None], xp.arange(time)[:, None], reading.copies[:, None]
        copied = ops.scatter_add(ops.exp(written.weights), index=places, shape=(rows, time, width))
        any_copy = copied > 0
        by_copy = ops.where(any_copy, ops.log(ops.where(any_copy, copied, 1.0)), -math.inf)
        gate = ops.reshape(written.gate, shape=(rows, time, 1))
        by_vocabulary = ops.log_softmax(written.logits) + log_sigmoid(gate)
        more = ((0, 0), (0, 0), (0, width - self.targets))
        by_vocabulary = ops.pad(by_vocabulary, width=more, value=-math.inf)
        return ops.logsumexp(ops.stack([by_vocabulary, by_copy + log_sigmoid(-gate)]), axis=0)

    def _width(self, reading: Reading) -> int:
        """How many tokens can be written."""
        return self.targets + (0 if reading.copies is None else reading.copies.shape[1])

    def _vectors(self, ids: Any) -> Any:
        """Those of target tokens; a copied word is read as the unknown one that it is."""
        if self.unknown is None:
            return embedded(self.target, ids)
        if not soft(ids):
            return embedded(self.target, xp.where(ids < self.targets, ids, self.unknown))
        known, copied = (ops.getitem(ids, index=(..., part))
                         for part in (slice(self.targets), slice(self.targets, None)))
        unknown = ops.getitem(self.target.weight, index=slice(self.unknown, self.unknown + 1))
        return linear(known, self.target.weight) + ops.sum(copied, axis=-1, keepdims=True) * unknown

    @staticmethod
    def _both_ways(last: Any) -> Any:
        """The last states of both directions (2 layers, batch, half) as (batch, layers, hidden)."""
        layers, batch, half = last.shape
        parts = ops.reshape(last, shape=(layers // 2, 2, batch, half))
        parts = ops.transpose(parts, axes=(2, 0, 1, 3))
        return ops.reshape(parts, shape=(batch, layers // 2, 2 * half))

    @staticmethod
    def _shapes(
        sources: int, targets: int, features: int, hidden: int, layers: int, cell: str,
        **others: Any,
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        gates = CELLS[cell].gates
        yield "source.weight", (sources, features)
        yield "target.weight", (targets, features)
        for layer in range(layers):
            yield f"writer.weight_hh_l{layer}", (hidden, gates * hidden)


def copy_ids(
    words: Sequence[Any], source: Sequence[Any], vocabulary: Mapping[Any, int], unknown: int
) -> list[int]:
    """The target tokens of ``words``: of one that is not in the ``vocabulary``,
    ``len(vocabulary) + place`` with its first place in the ``source``; without one, ``unknown``.

    With the source itself as the words, these are the ``copies`` of a ``Seq2Seq``. What it writes
    becomes words again by the vocabulary below its length, by ``source[token - length]`` above.
    """
    places = {word: len(vocabulary) + i for i, word in reversed(list(enumerate(source)))}
    return [
        vocabulary[word] if word in vocabulary else places.get(word, unknown) for word in words
    ]


def _listed(state: Any) -> tuple:
    """The arrays of a recurrent state: two of an LSTM, one of a GRU."""
    return state if isinstance(state, tuple) else (state,)
