"""Multi-head attention, with what it needs for decoding step by step, and relative positions."""

from __future__ import annotations

import math
from typing import Any

import minae.ops as ops

from ..backend import Array, expect, xp
from ..functional import attention, linear, split
from ..functional.attention import fitting, fused
from ..functional.checks import booleans, dropping, integers
from ..random import normal, uniform
from ..tensor import Tensor
from .linear import Linear, constant
from .module import Module


class MultiheadAttention(Module):
    """Attention by several heads at once, each over its part of the features (Vaswani et al. 2017,
    section 3.2.2).

    ``in_proj_weight`` (features, 3 features) makes queries, keys and values, ``out_proj`` joins the
    heads, both with ``bias`` or without. ``dropout`` is the probability with which a weight is
    dropped in training. Raises ValueError where the heads do not divide the features.
    """

    def __init__(
        self, features: int, heads: int, bias: bool = True, dropout: float = 0.0, *,
        rng: Any = None,
    ) -> None:
        if heads < 1 or features % heads:
            raise ValueError(f"{heads} heads do not divide {features} features")
        self.features, self.heads = features, heads
        self.dropout, self.rng = dropping(dropout), rng
        bound = math.sqrt(6 / (features + 3 * features))  # Glorot & Bengio 2010, equation 16
        weight = uniform((features, 3 * features), -bound, bound, rng=rng)
        self.in_proj_weight = Tensor(weight, requires_grad=True)
        self.in_proj_bias = constant(3 * features, 0) if bias else None
        self.out_proj = Linear(features, features, bias, rng=rng)
        if bias:
            self.out_proj.bias = constant(features, 0)

    def forward(
        self, x: Any, context: Any = None, *, mask: Any = None, bias: Any = None,
        causal: bool = False, cache: KeyValueCache | None = None,
    ) -> Any:
        """Sequences (batch, queries, features) to the same shape.

        They look at themselves, or at a ``context`` (batch, keys, features). ``mask`` is True where
        a query may look, ``bias`` is added to the scores; both broadcast to (batch, heads, queries,
        keys), so that padding is masked by ``valid[:, None, None, :]``. ``causal`` hides from each
        position what comes after it. With a ``cache``, ``x`` holds the positions that are new, and
        sees the earlier ones too; of a context, the cache keeps what the first call made of it.
        """
        self._check(x)
        mask = None if mask is None else booleans(mask, "mask")
        if mask is not None and mask.ndim not in (2, 4):
            wanted = "(queries, keys) or (batch, heads, queries, keys), where axes may be 1"
            why = "the mask does not fit; of padding, it is valid[:, None, None, :]"
            raise ValueError(expect(wanted, mask, why=why))
        if causal and context is not None:
            raise ValueError("causal hides later positions of x: a context has none of those")
        p = self.dropout if self.training else 0.0
        if context is None:
            projected = self._project(x, 0, 3)
            if cache is None and fused(bias, p):
                batch, time, _ = x.shape
                mask = fitting(mask, (batch, self.heads, time, time))
                out = ops.self_attention(projected, heads=self.heads, mask=mask, causal=causal)
                return self.out_proj(out)
            query, key, value = map(self._split_heads, split(projected, 3, axis=-1))
            if cache is not None:
                key, value = cache.extend(key, value)
        else:
            self._check(context)
            query = self._split_heads(self._project(x, 0, 1))
            cache = KeyValueCache() if cache is None else cache
            if not len(cache):
                both = split(self._project(context, 1, 3), 2, axis=-1)
                cache.extend(*map(self._split_heads, both))
            key, value = cache.keys, cache.values
        out = attention(query, key, value, mask, bias, causal=causal, p=p, rng=self.rng)
        out = ops.swapaxes(out, first=1, second=2)  # (batch, queries, heads, part)
        return self.out_proj(ops.reshape(out, shape=x.shape))

    def weights(self, x: Any, context: Any, *, mask: Any = None) -> Any:
        """What of the ``context`` each position of ``x`` looks at, by shares: (batch, heads,
        queries, keys). Nothing is dropped; the ``mask`` is that of a call."""
        self._check(x)
        self._check(context)
        query = self._split_heads(self._project(x, 0, 1))
        key = self._split_heads(self._project(context, 1, 2))
        return attention(query, key, xp.eye(key.shape[2], dtype=key.dtype), mask)

    def _project(self, x: Any, first: int, last: int) -> Any:
        """Queries, keys and values are parts 0, 1 and 2 of one product: those asked for."""
        part = slice(first * self.features, last * self.features)
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if last - first < 3:
            weight, bias = weight[:, part], None if bias is None else bias[part]
        return linear(x, weight, bias)

    def _split_heads(self, x: Any) -> Any:
        """(batch, time, features) to (batch, heads, time, part)."""
        batch, time, features = x.shape
        heads = ops.reshape(x, shape=(batch, time, self.heads, features // self.heads))
        return ops.swapaxes(heads, first=1, second=2)

    def _check(self, x: Any) -> None:
        if len(x.shape) != 3 or x.shape[2] != self.features:
            raise ValueError(expect(f"(batch, time, {self.features})", x))

    def extra_repr(self) -> str:
        return f"{self.features}, {self.heads}" + (
            "" if self.in_proj_bias is not None else ", bias=False"
        )


class KeyValueCache:
    """The keys and values (batch, heads, time, part) of all positions so far, of one layer.

    A sequence that is written step by step computes each of them once.
    """

    def __init__(self) -> None:
        self.keys: Any = None
        self.values: Any = None

    def __len__(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def extend(self, keys: Any, values: Any) -> tuple[Any, Any]:
        """Add those of new positions; all there are."""
        if len(self):
            if keys.shape[0] != (rows := self.keys.shape[0]):
                raise ValueError(f"{keys.shape[0]} rows do not continue a state of {rows}")
            keys = ops.concatenate(self.keys, keys, axis=2)
            values = ops.concatenate(self.values, values, axis=2)
        self.keys, self.values = keys, values
        return keys, values

    def select(self, rows: Any) -> KeyValueCache:
        """A cache of the chosen ``rows`` of the batch, integers (N,), some perhaps twice."""
        chosen = KeyValueCache()
        if self.keys is not None:
            rows = integers(rows, self.keys.shape[0], "rows")
            chosen.keys = ops.getitem(self.keys, index=rows)
            chosen.values = ops.getitem(self.values, index=rows)
        return chosen


class RelativeBias(Module):
    """A bias of attention, learned for each of ``heads`` and distances (Raffel et al. 2020, 2.1).

    Distances are put into ``buckets``: half of them hold one distance each, the others grow with
    the logarithm up to ``farthest``, from where on all are in the last. With ``bidirectional``, one
    half of the buckets is for what comes before, the other for what comes after; without, all are
    for what comes before.
    """

    def __init__(
        self, heads: int, buckets: int = 32, farthest: int = 128, bidirectional: bool = True, *,
        rng: Any = None,
    ) -> None:
        if buckets < 4 or buckets % 4 or farthest <= buckets:
            raise ValueError(f"impossible {buckets=}, {farthest=}")
        self.buckets, self.farthest, self.bidirectional = buckets, farthest, bidirectional
        self.weight = Tensor(normal((buckets, heads), rng=rng), requires_grad=True)

    def forward(self, queries: int, keys: int | None = None) -> Any:
        """The bias (heads, queries, keys); with more keys, the queries are the last positions."""
        keys = queries if keys is None else keys
        distance = xp.arange(keys) - xp.arange(keys - queries, keys)[:, None]  # key less query
        bias = ops.getitem(self.weight, index=self.bucket(distance))
        return ops.transpose(bias, axes=(2, 0, 1))

    def bucket(self, distance: Array) -> Array:
        """The bucket of each distance, the position of the key less that of the query."""
        half = self.buckets // 2 if self.bidirectional else self.buckets
        after = distance > 0
        offset = half * after if self.bidirectional else 0
        far = xp.abs(distance) if self.bidirectional else xp.where(after, 0, -distance)
        exact = half // 2
        growth = xp.log(xp.maximum(far, exact) / exact) / math.log(self.farthest / exact)
        rough = exact + (growth * (half - exact)).astype(int)
        return offset + xp.where(far < exact, far, xp.minimum(rough, half - 1))

    def extra_repr(self) -> str:
        buckets, heads = self.weight.shape
        return f"{heads}, {buckets}, {self.farthest}"
