"""``kmeans``: codewords that start where the vectors are."""

from __future__ import annotations

from typing import Any

from .. import backend, kernels
from ..backend import Array, asarray, xp
from ..random import generator


def kmeans(
    vectors: Array, count: int, iterations: int = 10, rng: Any = None
) -> tuple[Array, Array]:
    """Lloyd's algorithm (1957) from ``count`` of the vectors: centres (count, D), sizes (count,).

    ``vectors`` is (N, D) with N >= count. Each of ``iterations`` moves every centre to the mean of
    the vectors nearest to it; a centre that has none goes to one of the vectors farthest from
    theirs. The sizes are the numbers of vectors nearest to the centres that are returned. Raises
    ValueError where there are fewer vectors than centres, or one is not finite.
    """
    if not 1 <= count <= len(vectors):
        raise ValueError(f"{len(vectors)} vectors do not make {count} clusters")
    start = generator(rng).choice(len(vectors), count, replace=False)
    centres = vectors[asarray(start, "int64")]
    codes, distances = kernels.nearest(vectors, centres)
    for _ in range(iterations):
        sizes = backend.count(codes, count)
        sums = kernels.scatter_sum(vectors, codes, count)
        farthest = vectors[xp.argsort(-distances, kind="stable")[:count]]
        empty = sizes == 0
        centres = xp.where(
            empty[:, None],
            farthest[xp.cumsum(empty) - 1],
            sums / xp.maximum(sizes, 1)[:, None].astype(sums.dtype),
        )
        codes, distances = kernels.nearest(vectors, centres)
    return centres, backend.count(codes, count)
