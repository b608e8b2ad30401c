"""Sums of rows by code: each thread owns a range of codes, and looks for their rows.

So nobody ever adds to what another adds to, and every sum is taken in the order of the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from . import reference
from .compiler import aligned, array, flat, kernel
from .threads import share, threads
from .tile import WIDTH, plus, put, vector

CHUNK = 1024  # rows that are looked through before they are added
SMALL = 1 << 17  # entries that are not worth a second thread


def scatter_sum(values: Any, codes: Any, count: int) -> Any:
    """See ``reference.scatter_sum``."""
    reference.check_scatter(values, codes)
    if values.dtype not in (np.float32, np.float64):
        return reference.scatter_sum(values, codes, count)
    columns = values.shape[-1]
    out = aligned(np.zeros, (count, columns), values.dtype)  # no vector lies in two cache lines
    places = flat(codes.astype(np.int64, copy=False))
    rows, sums, add = flat(values), out.reshape(-1), _add[values.dtype]
    parts = threads() if values.size > SMALL else 1
    bad = []

    def work(part: int) -> None:
        low, high = count * part // parts, count * (part + 1) // parts
        bad.append(add(rows, places, sums, columns, low, high, count))

    share(work, parts)
    if bad[0] < len(places):
        reference.refuse_code(codes, bad[0], count)
    return out


@kernel(lambda f: (array(f), array(types.int64), f[::1], *[types.intp] * 4))
def _add(values, codes, sums, columns, low, high, count):
    """Add up the rows whose codes are in [low, high). Returns the place of the first code outside
    [0, count), if any."""
    width = WIDTH // values.itemsize
    whole = columns - columns % width
    own = np.empty(CHUNK, np.int64)
    for begin in range(0, codes.size, CHUNK):
        found = 0
        for n in range(begin, min(begin + CHUNK, codes.size)):
            code = codes[n]
            if code < 0 or code >= count:
                return n
            own[found] = n  # without a branch, which nobody could predict
            found += (low <= code) & (code < high)
        for i in range(found):
            row, total = own[i] * columns, codes[own[i]] * columns
            for d in range(0, whole, width):
                put(plus(vector(sums, total + d), vector(values, row + d)), sums, total + d)
            for d in range(whole, columns):
                sums[total + d] += values[row + d]
    return codes.size
