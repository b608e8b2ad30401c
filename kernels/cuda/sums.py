"""Sums of rows by code on the device: a counting sort by code, then sums over a tree of pieces."""

from __future__ import annotations

from typing import Any

from minae.backend import xp

from .. import reference
from . import module

THREADS, WARPS = 256, 8
PIECE = 64  # rows that one warp adds up, as in sums.cu
TILE = 512  # rows that one warp sorts; more where the counts of all tiles would be ...
CELLS = 1 << 22  # ... more than this


def scatter_sum(values: Any, codes: Any, count: int) -> Any:
    """See ``reference.scatter_sum``."""
    reference.check_scatter(values, codes)
    rows, supported = codes.size, values.dtype in (xp.float32, xp.float64)
    if not supported or not values.size or not 0 <= count < 1 << 31 or rows >= 1 << 31:
        return reference.scatter_sum(values, codes, count)
    columns, name = values.shape[-1], "float" if values.dtype == xp.float32 else "double"
    values, codes, kernels = xp.ascontiguousarray(values), codes.ravel(), module("sums")
    keys = xp.ascontiguousarray(codes, xp.int64)

    tiles = min(-(-rows // TILE), max(1, CELLS // (count + 1)))
    tile = -(-rows // tiles)
    table = xp.zeros((count + 1) * tiles, xp.int32)
    order, ordered = xp.empty((2, rows), xp.int32)
    sizes = rows, count, tile, tiles
    counting, sorting = kernels.get_function("count_codes"), kernels.get_function("sort_codes")
    counting((-(-rows // THREADS),), (THREADS,), (keys, *sizes, table))
    table = xp.cumsum(table, dtype=xp.int32)
    sorting((-(-tiles // WARPS),), (THREADS,), (keys, *sizes, table, order, ordered))

    out = xp.zeros((count, columns), values.dtype)
    add, left = kernels.get_function(f"sum_{name}"), rows
    while left:
        pieces = -(-left // PIECE)
        later = xp.empty((2 * pieces, columns), values.dtype), xp.empty(2 * pieces, xp.int32)
        grid = (-(-pieces // WARPS) * -(-columns // 32),)  # of two sides, one would be limited
        add(grid, (THREADS,), (values, order, ordered, left, columns, count, out, *later))
        (values, ordered), order = later, 0  # no order: as they stand
        left = 2 * pieces if pieces > 1 else 0
    reference.check_range(codes, count)
    return out
