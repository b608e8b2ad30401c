"""Sums of rows by code: each thread owns a range of codes, and looks for their rows.

So nobody ever adds to what another adds to, and every sum is taken in the order of the rows. Where
rows are many, each half of them has sums of its own, which are added at the end: whoever owns a
half reads it from front to back, as memory likes it. Halves follow from the sizes alone, so that no
number of threads changes a sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from . import reference
from .compiler import array, flat, kernel, zeros
from .threads import share, threads
from .vectors import WIDTH, put, vector

CHUNK = 1024  # rows that are looked through before they are added
MANY = 8  # rows for each code: so many that a second table of sums is little beside them
SMALL = 1 << 17  # entries that are not worth a second thread


def scatter_sum(values: Any, codes: Any, count: int) -> Any:
    """See ``reference.scatter_sum``."""
    reference.check_scatter(values, codes)
    if values.dtype not in (np.float32, np.float64) or count < 0:
        return reference.scatter_sum(values, codes, count)
    columns, places = values.shape[-1], flat(codes.astype(np.int64, copy=False))
    large = values.size > SMALL
    halves = 2 if large and len(places) >= MANY * count else 1
    ranges = max(1, threads() // halves) if large else 1
    out = zeros((halves, count, columns), values.dtype)
    rows, sums, add = flat(values), out.reshape(halves, -1), _add[values.dtype]
    bad = []

    def work(part: int) -> None:
        half, owner = divmod(part, ranges)
        first, last = len(places) * half // halves, len(places) * (half + 1) // halves
        low, high = count * owner // ranges, count * (owner + 1) // ranges
        bad.append(add(rows, places, sums[half], columns, first, last, low, high, count))

    share(work, halves * ranges)
    if min(bad) < len(places):
        reference.check_range(codes, count)
    return out[0] + out[1] if halves == 2 else out[0]


@kernel(lambda f: (array(f), array(types.int64), f[::1], *[types.intp] * 6))
def _add(values, codes, sums, columns, first, last, low, high, count):
    """Add up those of the rows [first, last) whose codes are in [low, high). Returns the place of
    the first code outside [0, count), or the number of all."""
    width = WIDTH // values.itemsize
    whole = columns - columns % width
    own = np.empty(CHUNK, np.int64)
    for begin in range(first, last, CHUNK):
        found = 0
        for n in range(begin, min(begin + CHUNK, last)):
            code = codes[n]
            if code < 0 or code >= count:
                return n
            own[found] = n  # without a branch, which nobody could predict
            found += (low <= code) & (code < high)
        for i in range(found):
            row, total = own[i] * columns, codes[own[i]] * columns
            for d in range(0, whole, width):
                put(vector(sums, total + d) + vector(values, row + d), sums, total + d)
            for d in range(whole, columns):
                sums[total + d] += values[row + d]
    return codes.size
