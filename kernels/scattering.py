"""Sums of rows by code: one pass over the rows, and each thread owns some of the columns.

So nobody ever adds to what another adds to, and every sum is taken in the order of the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from . import reference
from .compiler import array, flat, kernel
from .threads import share, threads
from .tile import WIDTH, plus, put, vector

LINE = 16  # columns that a thread takes at least
SMALL = 1 << 17  # entries that are not worth a second thread


def scatter_sum(values: Any, codes: Any, count: int) -> Any:
    """See ``reference.scatter_sum``."""
    reference.check_scatter(values, codes)
    if values.dtype not in (np.float32, np.float64):
        return reference.scatter_sum(values, codes, count)
    columns = values.shape[-1]
    out = np.zeros((count, columns), values.dtype)
    places = flat(codes.astype(np.int64, copy=False))
    rows, sums, add = flat(values), out.reshape(-1), _add[values.dtype]
    parts = max(1, min(threads(), columns // LINE)) if values.size > SMALL else 1
    bad = []

    def work(part: int) -> None:
        first, last = columns * part // parts, columns * (part + 1) // parts
        bad.append(add(rows, places, sums, columns, first, last, count))

    share(work, parts)
    if bad[0] < len(places):
        reference.refuse_code(codes, bad[0], count)
    return out


@kernel(lambda f: (array(f), array(types.int64), f[::1], *[types.intp] * 4))
def _add(values, codes, sums, columns, first, last, count):
    """Add up the columns [first, last). Returns the place of the first code outside, if any."""
    width = WIDTH // values.itemsize
    whole = last - (last - first) % width
    for n in range(codes.size):
        code = codes[n]
        if code < 0 or code >= count:
            return n
        row, total = n * columns, code * columns
        for d in range(first, whole, width):
            put(plus(vector(sums, total + d), vector(values, row + d)), sums, total + d)
        for d in range(whole, last):
            sums[total + d] += values[row + d]
    return codes.size
