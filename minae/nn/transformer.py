"""Transformer layers (Vaswani et al. 2017, section 3): attention and a feed-forward net, each added
to what it was made from; stacks of them, and what they keep while a sequence is written.

State has PyTorch's names, so that ``interop.load_torch`` reads that of its layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops import relu
from .attention import KeyValueCache, MultiheadAttention
from .linear import Linear
from .module import Module
from .norm import LayerNorm
from .sequential import Dropout


class _Layer(Module):
    """Attention of one kind or two, then the feed-forward net, with a norm for each."""

    attends: tuple[str, ...] = ("self_attn",)
    self_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm

    def __init__(
        self, features: int, heads: int, inner: int | None = None, dropout: float = 0.1,
        activation: Callable[[Any], Any] = relu, norm_first: bool = False, *,
        eps: float = 1e-5, rng: Any = None,
    ) -> None:
        inner = 4 * features if inner is None else inner
        self.activation, self.norm_first = activation, norm_first
        for name in self.attends:
            setattr(self, name, MultiheadAttention(features, heads, dropout=dropout, rng=rng))
        self.linear1 = Linear(features, inner, rng=rng)
        self.linear2 = Linear(inner, features, rng=rng)
        for number in range(len(self.attends) + 1):
            setattr(self, f"norm{number + 1}", LayerNorm(features, eps))
        self.dropout = Dropout(dropout, rng=rng)

    def _added(self, x: Any, norm: LayerNorm, part: Callable[[Any], Any]) -> Any:
        """``x`` and what ``part`` makes of it, normalized on the way in or after the sum."""
        if self.norm_first:
            return x + self.dropout(part(norm(x)))
        return norm(x + self.dropout(part(x)))

    def _feed(self, x: Any) -> Any:
        return self.linear2(self.activation(self.linear1(x)))


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself by several ``heads``, then two linear maps with ``inner``
    features between them (4 ``features`` by default) and an ``activation``, a function.

    What each makes is added to what it was given. The sum is normalized; or, with ``norm_first``,
    what it was given is, and not the sum (Xiong et al. 2020, figure 1). ``dropout`` is that of
    attention's weights and of what is added, ``eps`` that of the norms.
    """

    def forward(
        self, x: Any, *, mask: Any = None, causal: bool = False, cache: KeyValueCache | None = None
    ) -> Any:
        """Sequences (batch, time, features) to the same shape.

        ``mask``, ``causal`` and ``cache`` are those of ``MultiheadAttention``.
        """
        x = self._added(
            x, self.norm1, lambda x: self.self_attn(x, mask=mask, causal=causal, cache=cache)
        )
        return self._added(x, self.norm2, self._feed)


class TransformerDecoderLayer(_Layer):
    """``TransformerEncoderLayer`` that, between the two, looks at another sequence, the context.

    ``features``, ``heads``, ``inner``, ``dropout``, ``activation``, ``norm_first`` and ``eps`` are
    the same.
    """

    attends = ("self_attn", "multihead_attn")
    multihead_attn: MultiheadAttention
    norm3: LayerNorm

    def forward(
        self, x: Any, context: Any, *, mask: Any = None, context_mask: Any = None,
        causal: bool = True, cache: tuple[KeyValueCache, KeyValueCache] | None = None,
    ) -> Any:
        """Sequences (batch, time, features) to the same shape, by a ``context`` (batch, keys,
        features).

        ``mask`` and ``causal`` say what positions see of each other, ``context_mask`` what they see
        of the context, as in ``MultiheadAttention``. ``cache`` is a pair: for the sequence, and for
        the context.
        """
        own, others = cache or (None, None)
        x = self._added(
            x, self.norm1, lambda x: self.self_attn(x, mask=mask, causal=causal, cache=own)
        )
        x = self._added(
            x, self.norm2,
            lambda x: self.multihead_attn(x, context, mask=context_mask, cache=others),
        )  # fmt: skip
        return self._added(x, self.norm3, self._feed)

    def attention(self, x: Any, context: Any, *, context_mask: Any = None) -> Any:
        """What of the ``context`` each position of ``x`` looks at, by shares: (batch, heads, time,
        keys). ``context_mask`` is that of a call."""
        x = self._added(x, self.norm1, lambda x: self.self_attn(x, causal=True))
        x = self.norm2(x) if self.norm_first else x
        return self.multihead_attn.weights(x, context, mask=context_mask)


class _Stack(Module):
    layer: type[_Layer]

    def __init__(self, layers: int, features: int, heads: int, **options: Any) -> None:
        if layers < 1:
            raise ValueError(f"a stack of {layers} layers does nothing: give it one or more")
        self.layers = [self.layer(features, heads, **options) for _ in range(layers)]
        first = self.layers[0]
        self.norm = LayerNorm(features, first.norm1.eps) if first.norm_first else None

    def _through(self, x: Any, caches: Any, *args: Any, **options: Any) -> Any:
        for layer, cache in zip(self.layers, caches or [None] * len(self.layers), strict=True):
            x = layer(x, *args, cache=cache, **options)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """``layers`` of ``TransformerEncoderLayer``, and one norm more if they have ``norm_first``.

    ``features``, ``heads`` and the ``options`` are those of a layer.
    """

    layer = TransformerEncoderLayer

    def forward(
        self, x: Any, *, mask: Any = None, causal: bool = False,
        caches: list[KeyValueCache] | None = None,
    ) -> Any:
        """Sequences (batch, time, features) to the same shape.

        ``mask`` and ``causal`` are those of ``MultiheadAttention``; with ``caches`` of ``start()``,
        ``x`` holds the positions that are new.
        """
        return self._through(x, caches, mask=mask, causal=causal)

    def start(self) -> list[KeyValueCache]:
        """What to keep of a sequence that is written step by step: a cache for each layer."""
        return [KeyValueCache() for _ in self.layers]


class TransformerDecoder(_Stack):
    """``layers`` of ``TransformerDecoderLayer``, and one norm more if they have ``norm_first``.

    ``features``, ``heads`` and the ``options`` are those of a layer.
    """

    layer = TransformerDecoderLayer

    def forward(
        self, x: Any, context: Any, *, mask: Any = None, context_mask: Any = None,
        causal: bool = True, caches: list[tuple[KeyValueCache, KeyValueCache]] | None = None,
    ) -> Any:
        """Sequences (batch, time, features) to the same shape, by a ``context``.

        ``mask``, ``context_mask`` and ``causal`` are those of a layer; with ``caches`` of
        ``start()``, ``x`` holds the positions that are new.
        """
        return self._through(
            x, caches, context, mask=mask, context_mask=context_mask, causal=causal
        )

    def start(self) -> list[tuple[KeyValueCache, KeyValueCache]]:
        """What to keep of a sequence that is written step by step: two caches for each layer."""
        return [(KeyValueCache(), KeyValueCache()) for _ in self.layers]
