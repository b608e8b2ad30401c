"""The transformer: one sequence written from another (Vaswani et al. 2017), as in translation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from typing import Any, NamedTuple

import minae.ops as ops

from ..backend import Array, asarray, expect, numpy
from ..functional import linear, mean
from ..nn import Dropout, Embedding, TransformerDecoder, TransformerEncoder
from ..random import normal
from ..tensor import Tensor
from .saving import Saved
from .tokens import embedded, labels_of, loss_of, read_ids, read_last, read_tokens


class Reading(NamedTuple):
    """What a Transformer keeps while it writes: a state of the decoding protocol."""

    context: Any  # (rows, source time, features): what the encoder made of the source
    mask: Array | None  # (rows, source time): what of it is no padding
    caches: list  # of the decoder's layers


class Transformer(Saved):
    """Sources (batch, time) and targets (batch, time) to the logits of the target's next tokens.

    Their tokens are integers in [0, sources) and [0, targets). Up to ``context`` of them are seen
    at once. Encoder and decoder have ``layers`` each, with ``heads`` that divide the ``features``
    and ``inner`` features in between, 4 ``features`` by default. ``positions`` are ``"fixed"``,
    sines of their number (section 3.5), or ``"learned"``; ``norm_first`` is that of
    ``nn.TransformerEncoderLayer``. The vectors of the target's tokens are also the weights of the
    output; with ``shared``, they are those of the source's, too (section 3.4). ``dropout`` is that
    of the vectors, of attention and of what is added in each layer.
    """

    def __init__(
        self, sources: int, targets: int, context: int = 128, layers: int = 3, features: int = 256,
        heads: int = 8, inner: int | None = None, dropout: float = 0.1, positions: str = "fixed",
        norm_first: bool = False, shared: bool = False, *, rng: Any = None,
    ) -> None:
        if min(sources, targets, context) < 1 or positions not in ("fixed", "learned"):
            raise ValueError(f"impossible {sources=}, {targets=}, {context=}, {positions=}")
        if shared and sources != targets:
            raise ValueError(f"{sources} and {targets} tokens cannot be shared: they are others")
        self.config = {
            "sources": sources, "targets": targets, "context": context, "layers": layers,
            "features": features, "heads": heads, "inner": inner, "dropout": dropout,
            "positions": positions, "norm_first": norm_first, "shared": shared,
        }  # fmt: skip
        self.sources, self.targets, self.context = sources, targets, context
        options: Any = {"inner": inner, "dropout": dropout, "norm_first": norm_first, "rng": rng}
        self.source = Embedding(sources, features, rng=rng)
        self.target = self.source if shared else Embedding(targets, features, rng=rng)
        for table in {id(t): t for t in (self.source, self.target)}.values():
            table.weight.data *= features**-0.5  # as output weights; the inputs are scaled back
        learned = positions == "learned"
        scale = features**-0.5
        table = normal((context, features), scale, rng=rng) if learned else sines(context, features)
        self.positions = Tensor(table, requires_grad=learned)
        self.encoder = TransformerEncoder(layers, features, heads, **options)
        self.decoder = TransformerDecoder(layers, features, heads, **options)
        self.dropout = Dropout(dropout, rng=rng)

    def forward(self, source: Any, target: Any) -> Any:
        """The logits (batch, time, targets) of the token after each of the ``target``.

        ``source`` and ``target`` are arrays (batch, time), or ``seq.Padded``.
        """
        context, mask = self._encode(source)
        ids, _ = read_tokens(target, self.targets, self.context, "target tokens")
        return self._decode(ids, context, mask)

    def loss(
        self, source: Any, target: Any, label_smoothing: float = 0.0
    ) -> tuple[Any, dict[str, Any]]:
        """What to minimise, the mean of ``-log p`` of all tokens of ``target`` but the first, and
        the perplexity.

        ``source`` (batch, time) and ``target`` (batch, time + 1) are arrays, or ``seq.Padded``, of
        which padding does not count. Target sequences begin with a token that says so, and end
        with another. ``label_smoothing`` is that of ``cross_entropy``; the perplexity is without.
        """
        context, mask = self._encode(source)
        ids, real = read_ids(target, self.targets, self.context + 1, "target tokens", least=2)
        logits = self._decode(ids[:, :-1], context, mask)
        return loss_of(logits, labels_of(ids, real), label_smoothing)

    def attention(self, source: Any, target: Any) -> Any:
        """What of the ``source`` is looked at after each of the ``target``, by shares.

        (batch, target time, source time), for a picture: the mean of all heads of the last layer.
        ``source`` and ``target`` are those of a call.
        """
        context, mask = self._encode(source)
        ids, _ = read_tokens(target, self.targets, self.context, "target tokens")
        x, layers = self._placed(self.target, ids), list[Any](self.decoder.layers)
        for layer in layers[:-1]:
            x = layer(x, context, context_mask=_of_keys(mask))
        return mean(layers[-1].attention(x, context, context_mask=_of_keys(mask)), axis=1)

    # --- Token by token ------------------------------------------------------------------------

    def start(self, source: Any) -> Reading:
        """What is kept after reading the ``source``: the first state.

        The first token that ``step`` takes is the one that begins each sequence.
        """
        return Reading(*self._encode(source), self.decoder.start())

    def step(self, tokens: Any, state: Reading) -> tuple[Any, Reading]:
        """The logits (rows, targets) after one more of ``tokens`` (rows,), and the next state.

        ``tokens`` may be one-hot vectors (rows, targets) instead, through which gradients pass. The
        ``state`` that is given stays as it is.
        """
        context, mask, before = Reading(*state)
        caches = [tuple(map(copy, pair)) for pair in before]
        logits = self._decode(read_last(tokens, self.targets), context, mask, caches)
        return ops.getitem(logits, index=(slice(None), 0)), Reading(context, mask, caches)

    def _encode(self, source: Any) -> tuple[Any, Array | None]:
        ids, mask = read_tokens(source, self.sources, self.context, "source tokens")
        x = self.encoder(self._placed(self.source, ids), mask=_of_keys(mask))
        return x, mask

    def _decode(self, ids: Any, context: Any, mask: Any, caches: list | None = None) -> Any:
        if ids.shape[0] != context.shape[0]:
            raise ValueError(expect("as many targets as sources", ids, context))
        before = len(caches[0][0]) if caches else 0
        x = self._placed(self.target, ids, before)
        x = self.decoder(x, context, context_mask=_of_keys(mask), caches=caches)
        return linear(x, ops.swapaxes(self.target.weight, first=0, second=1))

    def _placed(self, table: Embedding, ids: Any, before: int = 0) -> Any:
        """The vectors of tokens, with their positions in them."""
        end = before + ids.shape[1]
        if end > self.context:
            cure = "draw fewer, or make a model of a longer context="
            raise ValueError(f"{end} tokens are more than the context of {self.context}: {cure}")
        positions = ops.getitem(self.positions, index=slice(before, end))
        x = embedded(table, ids)
        return self.dropout(x * math.sqrt(x.shape[-1]) + positions)

    @staticmethod
    def _shapes(
        sources: int, targets: int, context: int, layers: int, features: int, inner: int | None,
        shared: bool, **others: Any,
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        inner = 4 * features if inner is None else inner
        yield "source.weight", (sources, features)
        if not shared:
            yield "target.weight", (targets, features)
        yield "positions", (context, features)
        for layer in range(layers):
            for stack in ("encoder", "decoder"):
                yield f"{stack}.layers.{layer}.linear1.weight", (features, inner)


def sines(count: int, features: int) -> Array:
    """The positions 0 to ``count - 1`` as vectors (count, features): sines and cosines, from fast
    to slow (Vaswani et al. 2017, section 3.5)."""
    pairs = numpy.arange(0, features, 2)
    angles = numpy.arange(count)[:, None] / 10000 ** (pairs / features)
    table = numpy.empty((count, features))
    table[:, 0::2], table[:, 1::2] = numpy.sin(angles), numpy.cos(angles)[:, : features // 2]
    return asarray(table.astype("float32"))


def _of_keys(mask: Array | None) -> Array | None:
    """The mask of padding as one of attention."""
    return None if mask is None else mask[:, None, None, :]
