"""Vector quantization: each vector is replaced by the nearest codeword of a learned codebook.

Two ways to learn it: ``VectorQuantizer`` by gradient, ``VectorQuantizerEMA`` by moving averages.
In one order, always: search, quantize, loss; and in training then the codebook. A codebook learns
only from codes in use, so both guard against collapse: codewords start at the k-means of the first
batches, and one that has fallen out of use is put where vectors are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import kernels
from ..backend import Array, capturing, count, expect, numpy, xp
from ..engine import entries, stamp
from ..faults import check
from ..functional import embedding, mse_loss
from ..functional.checks import integers
from ..nn.module import Module
from ..random import integer_noise, normal
from ..replay import NotYet
from ..tensor import Tensor
from .kmeans import kmeans
from .straight_through import straight_through

ROWS_PER_CODE = 4  # vectors that k-means wants for each codeword


class Quantized(NamedTuple):
    """What a quantizer returns."""

    values: Any  # (..., D): the codewords; gradients pass straight through to the input
    codes: Array  # (...): integers in [0, K)
    loss: Any  # to be added to what the model minimises
    perplexity: Array  # of this batch's codes


def perplexity(counts: Array) -> Array:
    """``exp`` of the entropy of codes used ``counts`` (K,) times: how many are in even use.

    1 where one code takes all, K where all are used alike, 0 of no codes at all.
    """
    total = counts.sum()
    share = counts / xp.maximum(total, 1)
    entropy = -(share * xp.log(xp.where(counts > 0, share, 1))).sum()
    return xp.exp(entropy) * (total > 0)


class VectorQuantizer(Module):
    """A codebook (K, D) trained by gradient (van den Oord et al. 2017, equations 1 to 3).

    K is ``codes`` and D is ``features``. The loss is
    ``mean (sg[z] - e)^2 + commitment mean (z - sg[e])^2`` over all entries, with sg for no
    gradient. In training, moreover:

    - ``init="kmeans"``: the first batch sets the codewords to the centres of its vectors; where it
      holds fewer than four for each, the next batches set the rest. ``init="random"`` leaves them
      normally distributed.
    - ``revive``: a codeword whose use, averaged over some ``1 / (1 - decay)`` batches, falls below
      this share of an even use is set to a vector of the batch, drawn at random. 0 never revives.

    At first, while the vectors still move fast, averages are shorter: after n batches the decay is
    at most ``(1 + n) / (10 + n)``. ``rng`` draws the first codebook; what training draws comes from
    the default generator (see ``minae.random.using``).
    """

    def __init__(
        self, codes: int, features: int, *, commitment: float = 0.25, decay: float = 0.99,
        init: str = "kmeans", revive: float = 0.3, rng: Any = None,
    ) -> None:
        if codes < 1 or features < 1:
            raise ValueError(f"a codebook needs codes and features, got ({codes}, {features})")
        if not 0 <= decay < 1 or not 0 <= revive < 1 or commitment < 0:
            raise ValueError(f"impossible {decay=}, {revive=}, {commitment=}")
        if init not in ("kmeans", "random"):
            raise ValueError(f"init is {init!r}; choose kmeans or random")
        self.codebook = Tensor(normal((codes, features), rng=rng), requires_grad=True)
        self.use = xp.ones(codes, "float32")  # a moving average of the vectors per batch
        self.batches = xp.zeros(1, "int64")  # that it has averaged
        # Codewords that k-means has set: on the host, since it decides what is done.
        self.placed = numpy.full(1, 0 if init == "kmeans" else codes)
        self.commitment, self.decay, self.revive = commitment, decay, revive

    def forward(self, x: Any) -> Quantized:
        """Quantize vectors (..., D). Raises ValueError where D differs, FloatingPointError where
        a vector is not finite."""
        vectors = entries(x).reshape(-1, self._features(x))
        if self.training and not len(vectors):
            raise ValueError("there are no vectors to learn from")
        bad = ~xp.isfinite(vectors)
        check(bad, FloatingPointError, "the vectors to be quantized are not finite")
        if self.training:
            self._place(vectors)
        codes = self.encode(x)
        counts = count(codes.ravel(), len(self.codebook))
        replaced, loss = self._replace(x, codes)
        values = straight_through(x, replaced)
        if self.training:
            self._learn(vectors, codes.ravel(), counts)
            self._revive(vectors)
        return Quantized(values, codes, loss, perplexity(counts))

    def encode(self, x: Any) -> Array:
        """The index of the nearest codeword, lowest on ties: (..., D) to integers (...)."""
        self._features(x)
        return kernels.nearest(entries(x), self.codebook.array)[0]

    def decode(self, codes: Any) -> Array:
        """Codewords: integers (...) in [0, K) to (..., D), so that ``decode(encode(x))`` is x
        quantized. Raises ValueError for a code outside."""
        return self.codebook.array[integers(codes, len(self.codebook), "codes")]

    def options(self) -> dict[str, Any]:
        """The arguments that make another quantizer of this kind; its state is not among them."""
        codes, features = self.codebook.shape
        return {"codes": codes, "features": features, "commitment": self.commitment,
                "decay": self.decay, "revive": self.revive}

    def extra_repr(self) -> str:
        codes, features = self.codebook.shape
        return f"{codes}, {features}"

    # --- The steps -----------------------------------------------------------------------------

    def _features(self, x: Any) -> int:
        features = self.codebook.shape[1]
        if len(x.shape) < 1 or x.shape[-1] != features:
            raise ValueError(expect(f"vectors (..., {features})", x))
        return features

    def _replace(self, x: Any, codes: Array) -> tuple[Tensor, Any]:
        """The codewords for x, with the loss between the two, both ways."""
        chosen = embedding(self.codebook, codes)
        fixed = Tensor(entries(x))
        loss = mse_loss(chosen, fixed) + self.commitment * mse_loss(x, chosen.detach())
        return chosen, loss

    def _learn(self, vectors: Array, codes: Array, counts: Array) -> None:
        """What the codebook learns without a gradient: here only how much each code is used."""
        newness = (1 - self._decay()).astype(self.use.dtype)
        self.use += newness * (counts.astype(self.use.dtype) - self.use)
        self.batches += 1

    def _decay(self) -> Array:
        """What an average keeps of its past when the next batch comes: (1,)."""
        return xp.minimum(self.decay, (1 + self.batches) / (10 + self.batches))

    def _place(self, vectors: Array) -> None:
        """Set codewords not placed yet to centres of ``vectors``, until all are."""
        placed, codes = int(self.placed[0]), len(self.codebook)
        if placed < codes:
            if capturing.get() is not None:
                raise NotYet("k-means still places codewords: capture a later step")
            new = min(codes - placed, max(1, len(vectors) // ROWS_PER_CODE))
            centres, sizes = kmeans(vectors, new)
            book = self.codebook.array
            book[placed : placed + new] = centres
            book[placed + new :] = centres[0]  # the search gives ties to the first: never found
            self.use[placed : placed + new] = sizes
            self.placed += new
            stamp(self.codebook)

    def _revive(self, vectors: Array) -> None:
        """Set codewords out of use to vectors of the batch, and their use to an even one."""
        if not self.revive or int(self.placed[0]) < len(self.codebook):
            return
        even = self.use.mean()
        dead = self.use < self.revive * even
        drawn = integer_noise(len(vectors), len(dead))
        book = self.codebook.array
        book[...] = xp.where(dead[:, None], vectors[drawn], book)
        self.use[...] = xp.where(dead, even, self.use)
        stamp(self.codebook)


class VectorQuantizerEMA(VectorQuantizer):
    """A codebook (K, D) of moving averages (van den Oord et al. 2017, appendix A.1).

    Each codeword is the mean of the vectors that it stood for, older ones counting less by
    ``decay`` a batch. The paper's sums m and counts N give ``e = m / N``; written as a running
    mean, ``e += (1 - decay) (sum - n e) / N`` for a batch with n vectors of that sum, there is no
    m to get out of step, and N is ``use``. The codebook is a buffer: no optimizer moves it, and
    the loss is ``commitment mean (z - e)^2`` alone. The options are those of VectorQuantizer:
    ``commitment``, ``decay``, ``init``, ``revive`` and ``rng``.
    """

    def __init__(self, codes: int, features: int, **options: Any) -> None:
        super().__init__(codes, features, **options)
        self.codebook = self.codebook.detach()

    def _replace(self, x: Any, codes: Array) -> tuple[Tensor, Any]:
        chosen = Tensor(self.codebook.array[codes])
        return chosen, self.commitment * mse_loss(x, chosen)

    def _learn(self, vectors: Array, codes: Array, counts: Array) -> None:
        newness = (1 - self._decay()).astype(self.use.dtype)
        super()._learn(vectors, codes, counts)
        book = self.codebook.array
        sums = kernels.scatter_sum(vectors, codes, len(book))
        counts = counts.astype(book.dtype)[:, None]
        share = newness / xp.maximum(self.use, 1e-30)[:, None]
        book += xp.where(counts > 0, share * (sums - counts * book), 0).astype(book.dtype)
        stamp(self.codebook)
