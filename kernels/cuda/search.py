"""The exact nearest codeword on the device: for each chunk of rows a screen, then the decision.

Which of the screens of ``search.cu`` it is follows from the dtype and the number of dimensions.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from minae.backend import xp

from .. import reference
from . import module, tensor_cores

THREADS, WARPS = 256, 8
GROUP, BLOCK = 32, 128  # codewords whose scores are kept as one; that are packed together
TENSOR = range(4, 257)  # dimensions with which float32 goes to the tensor cores: where they are
# fewer, bf16 lets too many codewords through; where they are more, registers cannot hold a row
CELLS = 1 << 25  # scores that are kept at a time
SHARED = 512  # thread blocks that fill a card; where rows are few, blocks share out the codebook


class Screen(NamedTuple):
    """A codebook as one of the screens reads it."""

    kernels: Any
    name: str  # in which its kernels' names end
    rows: int  # that one thread block screens
    centre: Any  # with zeros up to a multiple of GROUP
    packed: Any
    bounds: Any  # float64: the smallest and the largest norm, the largest loss by rounding

    def launch(self, kernel: str, grid: tuple[int, ...], *args: Any) -> None:
        self.kernels.get_function(f"{kernel}_{self.name}")(grid, (THREADS,), args)


class Prepared(reference.Prepared):
    """A codebook (K, D), checked and, at the first search, packed."""

    @functools.cached_property
    def packed(self) -> Screen:
        dims = self.shape[1]
        if self.dtype == xp.float32 and dims in TENSOR and tensor_cores():
            return self._bf16(-(-dims // GROUP))
        name, rows = ("float", 128) if self.dtype == xp.float32 else ("double", 64)
        return self._pack(module("search"), name, rows, (dims + 1) * BLOCK, self.dtype)

    def _bf16(self, pairs: int) -> Screen:
        kernels = module("search", f"-DPAIRS={pairs}")
        tiles = 4 if pairs <= 2 else 2 if pairs <= 4 else 1
        words = (pairs * 128 + 8) * BLOCK // 8
        return self._pack(kernels, "bf16", tiles * 16 * WARPS, words, xp.uint32)

    def _pack(self, kernels: Any, name: str, rows: int, length: int, dtype: Any) -> Screen:
        (size, dims), blocks = self.shape, -(-self.shape[0] // BLOCK)
        screen = Screen(
            kernels, name, rows, xp.zeros(-(-dims // GROUP) * GROUP, self.dtype),
            xp.empty(blocks * length, dtype), xp.empty(3, xp.float64),
        )  # fmt: skip
        codebook, centre, packed, bounds = self.codebook, *screen[3:]
        screen.launch("mean", (-(-dims // 32),), codebook, size, dims, centre, bounds)
        grid = (min(256, blocks * BLOCK // WARPS),)
        screen.launch("pack", grid, codebook, centre, size, dims, packed, bounds)
        return screen


def prepare(codebook: Any) -> Prepared:
    """See ``reference.prepare``."""
    return Prepared(codebook)


def nearest(vectors: Any, codebook: Any, *, nonfinite: str = "raise") -> tuple[Any, Any]:
    """See ``reference.nearest``."""
    dtype = reference.check_nearest(vectors, codebook, nonfinite)
    if not isinstance(codebook, Prepared) or codebook.dtype != dtype:
        codebook = Prepared(reference.entries(codebook).astype(dtype, copy=False))
    (size, dims), shape = codebook.shape, vectors.shape[:-1]
    z = xp.ascontiguousarray(vectors.reshape(-1, dims), dtype)
    codes, distances = xp.empty(len(z), xp.int64), xp.empty(len(z), dtype)
    screen, blocks = codebook.packed, -(-size // BLOCK)
    groups = blocks * BLOCK // GROUP
    most = max(1, CELLS // groups // screen.rows)  # thread blocks of a chunk
    step = min(most, -(-len(z) // screen.rows)) * screen.rows
    scores = xp.empty(step * groups, dtype)
    for first in range(0, len(z), max(1, step)):
        part = slice(first, first + step)
        count = len(z[part])
        tiles = -(-count // screen.rows)
        grid = (tiles, max(1, min(blocks, SHARED // tiles)))
        centre, packed, bounds = screen[3:]
        screen.launch("screen", grid, z[part], centre, packed, count, dims, blocks, scores)
        screen.launch(
            "decide", (-(-count // (8 * WARPS)),), z[part], codebook.codebook, centre, packed,
            bounds, scores, count, size, dims, codes[part], distances[part],
        )  # fmt: skip
    reference.check_codes(codes, shape, nonfinite)
    return codes.reshape(shape), distances.reshape(shape)
