"""LSTM over whole sequences, on the register tile, with its weights packed once.

No sequence of a batch waits for another: each thread takes some of them through all steps. A step
multiplies their states by the weights, block of columns by block, and applies the gates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from . import gates as definition
from .compiler import array, flat, inline, kernel
from .products import matmul
from .threads import share, threads
from .tile import rows, start, step, store
from .transcendental import exp, tanh
from .vectors import ROWS, VECTORS, WIDTH, lanes

SMALL = 1 << 18  # multiplications that are not worth a second thread


def lstm(projected: Any, weight: Any, hidden: Any, cell: Any, gates: Any = None) -> Any:
    """See ``reference.lstm``."""
    if not (_suit(projected, weight, hidden, cell) and _alike(gates, projected)):
        return definition.lstm(projected, weight, hidden, cell, gates)
    (steps, batch, _), size = projected.shape, hidden.shape[1]
    out = np.empty((steps, batch, 2 * size), projected.dtype)
    kept = np.empty(0, projected.dtype) if gates is None else gates.reshape(-1)
    arrays = flat(projected), _packed(weight), flat(hidden), flat(cell), out.reshape(-1), kept
    _share(_lstm, arrays, steps, batch, size)
    return out


def lstm_gradient(
    g: Any, projected: Any, weight: Any, hidden: Any, cell: Any, out: Any, gates: Any = None
) -> tuple[Any, Any, Any, Any]:
    """See ``reference.lstm_gradient``."""
    if not (_suit(projected, weight, hidden, cell, g, out) and _alike(gates, projected)):
        return definition.lstm_gradient(g, projected, weight, hidden, cell, out, gates)
    (steps, batch, _), size = projected.shape, hidden.shape[1]
    before = np.concatenate([hidden[None], out[:-1, :, :size]]).reshape(-1, size)
    if gates is None:
        gates = np.empty(projected.shape, projected.dtype)
        lstm(projected, weight, hidden, cell, gates)
    slopes = np.empty(projected.shape, projected.dtype)
    to_hidden, to_cell = np.empty(hidden.shape, g.dtype), np.empty(cell.shape, g.dtype)
    arrays = (
        flat(g), _packed(weight.T), flat(cell), flat(out), flat(gates),
        slopes.reshape(-1), to_hidden.reshape(-1), to_cell.reshape(-1),
    )  # fmt: skip
    _share(_lstm_gradient, arrays, steps, batch, size)
    to_weight = matmul(before.T, slopes.reshape(-1, 4 * size))
    return slopes, to_weight, to_hidden, to_cell


def _suit(projected: Any, weight: Any, hidden: Any, cell: Any, *outs: Any) -> bool:
    """Whether all are of one dtype that is compiled for, and of the shapes that fit together."""
    (steps, batch, wide), size = projected.shape, len(weight)
    out, state = (steps, batch, 2 * size), (batch, size)
    shapes = (steps, batch, 4 * size), (size, wide), state, state, *[out] * len(outs)
    return projected.dtype in (np.float32, np.float64) and projected.size > 0 and all(
        isinstance(x, np.ndarray) and x.dtype == projected.dtype and x.shape == shape
        for x, shape in zip((projected, weight, hidden, cell, *outs), shapes)
    )  # fmt: skip


def _alike(gates: Any, projected: Any) -> bool:
    """Whether there are no gates, or they lie in memory as the kernels write and read them."""
    return gates is None or (
        gates.dtype == projected.dtype and gates.shape == projected.shape
        and gates.flags.c_contiguous
    )  # fmt: skip


def _packed(weight: Any) -> Any:
    """A matrix as blocks of as many columns as a tile is wide, filled up with zeros."""
    block = VECTORS * lanes(weight.dtype)
    filled = np.pad(weight, ((0, 0), (0, -weight.shape[1] % block)))
    return flat(filled.reshape(len(weight), -1, block).swapaxes(0, 1))


def _share(compute: Any, arrays: tuple, steps: int, batch: int, size: int) -> None:
    """Call the kernel for ranges of the batch, in several threads."""
    parts = min(threads(), -(-batch // ROWS)) if 4 * batch * size * size > SMALL else 1
    function = compute[arrays[0].dtype]

    def work(part: int) -> None:
        first, last = batch * part // parts, batch * (part + 1) // parts
        function(*arrays, steps, batch, size, first, last)

    share(work, parts)


@inline
def _multiply(x, places, depth, packed, columns, begin, out, targets):
    """``out[n, c] = sum_d x[n, d] packed[d, c]``; out has room for whole blocks."""
    block = VECTORS * WIDTH // x.itemsize
    for c in range(0, columns, block):
        for r in range(0, places.size, ROWS):
            at, to = rows(places, r, places.size), rows(targets, r, places.size)
            acc, p = start(begin, 0, VECTORS), c * depth
            for d in range(depth):
                acc = step(acc, x, at, d, packed, p)
                p += block
            store(acc, out, to, c, -np.inf)


@inline
def _row(x, n, size):
    return x[n * size : (n + 1) * size]


@inline
def _halves(x, n, size):
    return _row(x, 2 * n, size), _row(x, 2 * n + 1, size)


@inline
def _quarters(x):
    size = x.size // 4
    return _row(x, 0, size), _row(x, 1, size), _row(x, 2, size), _row(x, 3, size)


@kernel(lambda f: (*[array(f)] * 4, *[f[::1]] * 2, *[types.intp] * 5))
def _lstm(projected, packed, hidden, cell, out, kept, steps, batch, size, first, last):
    count, wide = last - first, packed.size // size
    begin = np.zeros(VECTORS * WIDTH // out.itemsize, out.dtype)
    gates = np.empty(count * wide, out.dtype)
    cells, one = cell[first * size : last * size].copy(), out.dtype.type(1)
    targets = np.arange(count) * wide
    for t in range(steps):
        if t:
            places = ((t - 1) * batch + first + np.arange(count)) * 2 * size
            _multiply(out, places, size, packed, 4 * size, begin, gates, targets)
        else:
            places = (first + np.arange(count)) * size
            _multiply(hidden, places, size, packed, 4 * size, begin, gates, targets)
        for n in range(count):
            row = t * batch + first + n
            line = gates[n * wide : n * wide + 4 * size]
            given = _row(projected, row, 4 * size)
            for d in range(4 * size):
                line[d] += given[d]
            i, f, c, o = _quarters(line)
            own, (new, new_cell) = _row(cells, n, size), _halves(out, row, size)
            for d in range(size):
                i[d], f[d] = one / (one + exp(-i[d])), one / (one + exp(-f[d]))
                c[d], o[d] = tanh(c[d]), one / (one + exp(-o[d]))
                own[d] = f[d] * own[d] + i[d] * c[d]
                new_cell[d] = own[d]
                new[d] = o[d] * tanh(own[d])
            if kept.size:
                to = _row(kept, row, 4 * size)
                for d in range(4 * size):
                    to[d] = line[d]


@kernel(lambda f: (*[array(f)] * 5, *[f[::1]] * 3, *[types.intp] * 5))
def _lstm_gradient(
    g, packed, cell, out, gates, slopes, to_hidden, to_cell, steps, batch, size, first, last
):
    count, wide = last - first, packed.size // (4 * size)
    begin = np.zeros(VECTORS * WIDTH // out.itemsize, out.dtype)
    back = np.zeros(count * wide, out.dtype)
    carried, one = np.zeros(count * size, out.dtype), out.dtype.type(1)
    targets = np.arange(count) * wide
    for t in range(steps - 1, -1, -1):
        for n in range(count):
            row = t * batch + first + n
            i, f, c, o = _quarters(_row(gates, row, 4 * size))
            to_i, to_f, to_c, to_o = _quarters(_row(slopes, row, 4 * size))
            (_, new), (pull, pull_cell) = _halves(out, row, size), _halves(g, row, size)
            old = _row(out, 2 * (row - batch) + 1, size) if t else _row(cell, first + n, size)
            state, kept = back[n * wide : n * wide + size], _row(carried, n, size)
            for d in range(size):
                squashed = tanh(new[d])
                u = pull[d] + state[d]
                v = pull_cell[d] + kept[d] + u * o[d] * (one - squashed * squashed)
                to_i[d] = v * c[d] * i[d] * (one - i[d])
                to_f[d] = v * old[d] * f[d] * (one - f[d])
                to_c[d] = v * i[d] * (one - c[d] * c[d])
                to_o[d] = u * squashed * o[d] * (one - o[d])
                kept[d] = v * f[d]
        places = (t * batch + first + np.arange(count)) * 4 * size
        _multiply(slopes, places, 4 * size, packed, size, begin, back, targets)
    for n in range(count):
        _row(to_hidden, first + n, size)[:] = back[n * wide : n * wide + size]
    to_cell[first * size : last * size] = carried
