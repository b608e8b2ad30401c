"""A language model by an LSTM: sentences word by word, each foretold from all before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import minae.ops as ops

from ..backend import Array, asarray, xp
from ..engine import entries
from ..functional import cross_entropy
from ..nn import LSTM, Embedding, Linear
from .saving import Saved
from .tokens import embedded, read_ids, read_last


class RecurrentLM(Saved):
    """Sentences (batch, words), integers in [0, vocabulary), to their probabilities.

    One more token, ``vocabulary`` itself, begins and ends each. Words are vectors of ``features``,
    and the LSTM has ``hidden``.
    """

    def __init__(
        self, vocabulary: int, features: int = 64, hidden: int = 128, *, rng: Any = None
    ) -> None:
        self.config = {"vocabulary": vocabulary, "features": features, "hidden": hidden}
        self.vocabulary = vocabulary
        self.table = Embedding(vocabulary + 1, features, rng=rng)
        self.lstm = LSTM(features, hidden, rng=rng)
        self.output = Linear(hidden, vocabulary + 1, rng=rng)

    def forward(self, text: Any) -> Any:
        """log p of each sentence of ``text`` (batch, words), an array or a ``seq.Padded``."""
        ids, mask = read_ids(text, self.vocabulary, None, "words")
        end = xp.full((len(ids), 1), self.vocabulary)
        real = xp.ones(ids.shape, bool) if mask is None else mask
        ids = xp.where(real, ids, self.vocabulary)
        states, _ = self.lstm(embedded(self.table, xp.concatenate([end, ids], 1)))
        nats = cross_entropy(
            self.output(states), xp.concatenate([ids, end], 1), reduction="none"
        )
        counted = xp.concatenate([xp.ones(end.shape, bool), real], 1)  # words, and one end
        return -ops.where(counted, nats, 0.0).sum(axis=1)

    def loss(self, text: Any) -> tuple[Any, dict[str, Any]]:
        """What to minimise, the mean of ``-log p`` of words and ends, and the perplexity."""
        ids, mask = read_ids(text, self.vocabulary, None, "words")
        count = ids.size if mask is None else mask.sum()
        loss = -self(text).sum() / asarray(count + len(ids)).astype(self.output.weight.dtype)
        return loss, {"perplexity": xp.exp(entries(loss))}

    def start(self, rows: int) -> tuple[Array, tuple[Any, Any]]:
        """The first tokens (rows,), and the state before them."""
        zeros = xp.zeros((rows, self.lstm.hidden), self.output.weight.dtype)
        return xp.full(rows, self.vocabulary), (zeros, zeros)

    def step(self, tokens: Any, state: Any) -> tuple[Any, tuple[Any, Any]]:
        """The logits (rows, vocabulary + 1) after one more of ``tokens`` (rows,), and the state."""
        x = embedded(self.table, read_last(tokens, self.vocabulary + 1))
        first = tuple(ops.reshape(part, shape=(1, *part.shape)) for part in state)
        out, last = self.lstm(x, first)
        return self.output(out[:, 0]), tuple(part[0] for part in last)

    @staticmethod
    def _shapes(vocabulary: int, features: int, hidden: int) -> Iterator[tuple[str, tuple]]:
        yield "table.weight", (vocabulary + 1, features)
        yield "output.weight", (hidden, vocabulary + 1)
