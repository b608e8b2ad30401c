"""Sums over all structures of a chart: one register holds the same cell of several charts.

So nothing is gathered, and what a level's terms look like does not matter. A cell whose score is
-inf in all charts of a register is not looked into: what a constraint forbids, or a length leaves
out, takes no time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from minae.backend import expect

from . import reference
from .compiler import array, flat, inline, kernel
from .levels import Level
from .threads import share
from .transcendental import LOG_2, exp, floor, log, power, scaled
from .vectors import everywhere, higher, lanes, largest, lower, put, vector

CHARTS = lanes(np.dtype(np.float64))  # of a register
LOWEST = -1e308  # stands for -inf where it is subtracted
LEAST = -1023.0  # of a power of two that is taken to be 0


def chart_total(x: Any, levels: Sequence[Level], semiring: Any) -> Any:
    """See ``reference.chart_total``."""
    kernels = {"log": _total, "max": _largest, "expectation": _mean, "entropy": _entropy}
    if semiring.name not in kernels:
        return reference.chart_total(x, levels, semiring)
    values = [_entries(semiring.values, x.shape)] if semiring.name == "expectation" else []
    return _run(kernels[semiring.name], x, levels, (), *values)


def chart_parts(x: Any, levels: Sequence[Level], semiring: Any) -> Any:
    """See ``reference.chart_parts``."""
    cells = x.shape[1]
    if semiring.name == "log":
        return _run(_probabilities, x, levels, (cells,))
    if semiring.name == "max":
        return _run(_best, x, levels, (cells,))
    if semiring.name == "expectation":
        return _run(_covariance, x, levels, (cells,), _entries(semiring.values, x.shape))
    if semiring.name == "sample":
        count, items = len(semiring.uniforms), sum(level.size for level in levels)
        uniforms = _entries(semiring.uniforms, (count, len(x), items))
        return _run(_draw, x, levels, (count, cells), uniforms).swapaxes(0, 1)
    return reference.chart_parts(x, levels, semiring)


def _run(kernel: Any, x: Any, levels: Sequence[Level], shape: tuple[int, ...], *given: Any) -> Any:
    """What a kernel makes of each chart, of a ``shape``."""
    items, needed = _items(tuple(levels))
    if x.shape[1] < needed:
        raise IndexError(expect(f"charts of {needed} cells or more", x))
    entries = flat(x if x.dtype in (np.float32, np.float64) else x.astype(np.float64))
    compiled, out = kernel[entries.dtype], np.empty((len(x), *shape), entries.dtype)
    arguments = len(x), items, *given, out.reshape(-1)
    share(lambda i: compiled(entries, i * CHARTS, *arguments), -(-len(x) // CHARTS))
    return out.astype(x.dtype, copy=False)


def _entries(array: Any, shape: tuple[int, ...]) -> Any:
    """The array, flat and checked: the kernels look for no bounds."""
    if array.shape != shape:
        raise ValueError(expect(f"an array {list(shape)} in the semiring", array))
    return flat(array.astype(np.float64, copy=False))


@functools.lru_cache(maxsize=32)
def _items(levels: tuple[Level, ...]) -> tuple[Any, int]:
    """The cells that have terms, level by level, and how many cells the levels need. Of each with
    terms a row: its place, the number of its terms, the place of the first cell at the left and the
    step from there to the next, and the same at the right; in charts of which a cell takes a
    register."""
    rows, needed = [np.empty((0, 6), np.int64)], 1
    for level in levels:
        needed = max(needed, *(1 + int(places.max(initial=-1)) for places in level.places()))
        size, terms, cells, left, right = level
        i = np.arange(size)
        columns = [CHARTS * (cells[0] + i * cells[1]), 0 * i + terms]
        for start, by_cell, by_term in (left, right):
            columns += [CHARTS * (start + i * by_cell), 0 * i + CHARTS * by_term]
        rows.append(np.stack(columns, axis=1))
    return np.concatenate(rows), needed


def _arguments(*given: Any) -> Any:
    """The scores of all charts, the first chart of the register, how many there are in all, and
    items; what else is given; and what is written."""
    return lambda f: (
        array(f), types.intp, types.intp, types.int64[:, ::1], *given, types.Array(f, 1, "C")
    )  # fmt: skip


_VALUES = array(types.float64)


# --- Charts in registers --------------------------------------------------------------------------


@inline
def _take(x, first, batch):
    """Charts from ``first`` on, of which each cell takes a register; beyond the last, that one."""
    cells = len(x) // batch
    chart = np.empty(cells * CHARTS)
    for i in range(CHARTS):
        row = min(first + i, batch - 1) * cells
        for cell in range(cells):
            chart[cell * CHARTS + i] = x[row + cell]
    return chart


@inline
def _give_back(chart, first, batch, out):
    cells = len(chart) // CHARTS
    for i in range(min(CHARTS, batch - first)):
        row = (first + i) * cells
        for cell in range(cells):
            out[row + cell] = chart[cell * CHARTS + i]


@inline
def _root_alone(chart):
    """The root alone has something."""
    parts = np.zeros(chart.size)
    parts[-CHARTS:] = 1
    return parts


@inline
def _add(x, values, place):
    put(vector(values, place) + x, values, place)


# --- Numbers of any size ------------------------------------------------------------------------
#
# The sums are of exp(score), which no float may hold: each is m 2^e, with m in [1, 2) and a whole e
# that is a float too, or -inf for what is worth nothing. So a term is a product, brought to the
# scale of the others by bits, and no exponential is taken but those of the scores.


@inline
def _numbers(chart):
    """m and e of exp(score), e in place of the scores."""
    m, e = np.ones_like(chart), chart
    for i in range(0, len(chart), CHARTS):
        x = vector(chart, i)
        if largest(x) > -math.inf:
            k = floor(x * everywhere(1 / LOG_2))
            rest = x - k * everywhere(LOG_2)  # anything, where a score is huge
            put(exp(lower(higher(rest, everywhere(0.0)), everywhere(1.0))), m, i)
            put(k, e, i)
    return m, e


@inline
def _term(m, e, left, right, top):
    scale = power(vector(e, left) + vector(e, right) - top)
    return vector(m, left) * vector(m, right) * scale


# --- Upwards --------------------------------------------------------------------------------------


@inline
def _largest_term(chart, items, i):
    left, right, top = items[i, 2], items[i, 4], everywhere(-math.inf)
    for _ in range(items[i, 1]):
        top = higher(vector(chart, left) + vector(chart, right), top)
        left += items[i, 3]
        right += items[i, 5]
    return top


@inline
def _fill(m, e, items):
    """Make scores what every cell is worth, a sum; those of the terms alone are m 2^e by item."""
    sums, tops = np.ones(len(items) * CHARTS), np.zeros(len(items) * CHARTS)
    for i in range(len(items)):
        cell = items[i, 0]
        if largest(vector(e, cell)) > -math.inf:
            top = _largest_term(e, items, i)
            _add(top, e, cell)
            top = higher(top, everywhere(LOWEST))
            left, right, total = items[i, 2], items[i, 4], everywhere(0.0)
            for _ in range(items[i, 1]):
                total = total + _term(m, e, left, right, top)
                left += items[i, 3]
                right += items[i, 5]
            put(higher(total, everywhere(1.0)), sums, i * CHARTS)  # which is 0 without terms
            put(top, tops, i * CHARTS)
            digits, exponent = scaled(vector(m, cell) * total)
            put(digits, m, cell)
            _add(exponent, e, cell)
    return sums, tops


@inline
def _means(m, e, items, sums, tops, values):
    """The mean of a second score over the structures below each cell, and by item that of terms."""
    means, of_terms = values.copy(), np.zeros_like(sums)
    for i in range(len(items)):
        if largest(vector(e, items[i, 0])) > -math.inf:
            left, right, top = items[i, 2], items[i, 4], vector(tops, i * CHARTS)
            mean, total = everywhere(0.0), vector(sums, i * CHARTS)
            for _ in range(items[i, 1]):
                probability = _term(m, e, left, right, top) / total  # 1 where there is no choice
                mean = mean + probability * (vector(means, left) + vector(means, right))
                left += items[i, 3]
                right += items[i, 5]
            put(mean, of_terms, i * CHARTS)
            _add(mean, means, items[i, 0])
    return means, of_terms


@inline
def _fill_largest(chart, items):
    """Make scores what every cell is worth: the largest score."""
    for i in range(len(items)):
        if largest(vector(chart, items[i, 0])) > -math.inf:
            _add(_largest_term(chart, items, i), chart, items[i, 0])


@kernel(_arguments())
def _total(x, first, batch, items, out):
    m, e = _numbers(_take(x, first, batch))
    _fill(m, e, items)
    root = len(m) - CHARTS
    put(log(vector(m, root)) + vector(e, root) * everywhere(LOG_2), m, root)
    _give_back(m[root:], first, batch, out)


@kernel(_arguments())
def _largest(x, first, batch, items, out):
    chart = _take(x, first, batch)
    _fill_largest(chart, items)
    _give_back(chart[-CHARTS:], first, batch, out)


@kernel(_arguments(_VALUES))
def _mean(x, first, batch, items, values, out):
    m, e = _numbers(_take(x, first, batch))
    sums, tops = _fill(m, e, items)
    means, _ = _means(m, e, items, sums, tops, _take(values, first, batch))
    _give_back(means[-CHARTS:], first, batch, out)


@kernel(_arguments())
def _entropy(x, first, batch, items, out):
    """That of a cell's choice, and the mean of those below: no large numbers are subtracted."""
    m, e = _numbers(_take(x, first, batch))
    sums, tops = _fill(m, e, items)
    logs, entropies = np.empty_like(m), np.zeros_like(m)
    for i in range(0, len(m), CHARTS):
        put(log(vector(m, i)), logs, i)
    for i in range(len(items)):
        if largest(vector(e, items[i, 0])) > -math.inf:
            left, right, top = items[i, 2], items[i, 4], vector(tops, i * CHARTS)
            mean, total = everywhere(0.0), vector(sums, i * CHARTS)
            for _ in range(items[i, 1]):
                scale = vector(e, left) + vector(e, right) - top
                scale = higher(scale, everywhere(LEAST)) * everywhere(LOG_2)
                surprise = scale + vector(logs, left) + vector(logs, right)
                surprise = vector(entropies, left) + vector(entropies, right) - surprise
                mean = mean + _term(m, e, left, right, top) * surprise
                left += items[i, 3]
                right += items[i, 5]
            put(mean / total + log(total), entropies, items[i, 0])
    _give_back(entropies[-CHARTS:], first, batch, out)


# --- Downwards ------------------------------------------------------------------------------------


@kernel(_arguments())
def _probabilities(x, first, batch, items, out):
    m, e = _numbers(_take(x, first, batch))
    sums, tops = _fill(m, e, items)
    parts = _root_alone(m)
    for i in range(len(items) - 1, -1, -1):
        part = vector(parts, items[i, 0])
        if largest(part) > 0:
            left, right, top = items[i, 2], items[i, 4], vector(tops, i * CHARTS)
            part = part / vector(sums, i * CHARTS)
            for _ in range(items[i, 1]):
                given = part * _term(m, e, left, right, top)
                _add(given, parts, left)
                _add(given, parts, right)
                left += items[i, 3]
                right += items[i, 5]
    _give_back(parts, first, batch, out)


@kernel(_arguments(_VALUES))
def _covariance(x, first, batch, items, values, out):
    m, e = _numbers(_take(x, first, batch))
    sums, tops = _fill(m, e, items)
    means, of_terms = _means(m, e, items, sums, tops, _take(values, first, batch))
    parts, moves = _root_alone(m), np.zeros_like(m)
    for i in range(len(items) - 1, -1, -1):
        part, move = vector(parts, items[i, 0]), vector(moves, items[i, 0])
        if largest(part) > 0:
            left, right, top = items[i, 2], items[i, 4], vector(tops, i * CHARTS)
            mean, total = vector(of_terms, i * CHARTS), vector(sums, i * CHARTS)
            for _ in range(items[i, 1]):
                probability = _term(m, e, left, right, top) / total
                given = part * probability
                _add(given, parts, left)
                _add(given, parts, right)
                above = vector(means, left) + vector(means, right) - mean
                moved = probability * (move + part * above)
                _add(moved, moves, left)
                _add(moved, moves, right)
                left += items[i, 3]
                right += items[i, 5]
    _give_back(moves, first, batch, out)


# Structures differ from chart to chart: these go down one by one.


@kernel(_arguments())
def _best(x, first, batch, items, out):
    chart, cells = _take(x, first, batch), len(x) // batch
    _fill_largest(chart, items)
    for lane in range(min(CHARTS, batch - first)):
        parts = _structure(out, first + lane, cells)
        for i in range(len(items) - 1, -1, -1):
            if parts[items[i, 0] // CHARTS] > 0:
                left, right = items[i, 2] + lane, items[i, 4] + lane
                top, choice = -math.inf, -1
                for k in range(items[i, 1]):
                    if chart[left] + chart[right] > top:
                        top, choice = chart[left] + chart[right], k
                    left += items[i, 3]
                    right += items[i, 5]
                _choose(parts, items, i, choice)


@kernel(_arguments(_VALUES))
def _draw(x, first, batch, items, uniforms, out):
    m, e = _numbers(_take(x, first, batch))
    sums, tops = _fill(m, e, items)
    count, cells = len(out) // len(x), len(x) // batch
    for lane in range(min(CHARTS, batch - first)):
        for sample in range(count):
            parts = _structure(out, (first + lane) * count + sample, cells)
            place = (sample * batch + first + lane) * len(items)
            for i in range(len(items) - 1, -1, -1):
                if parts[items[i, 0] // CHARTS] > 0:
                    left, right = items[i, 2] + lane, items[i, 4] + lane
                    target = uniforms[place + i] * sums[i * CHARTS + lane]
                    choice, running = -1, 0.0
                    for k in range(items[i, 1]):
                        scale = e[left] + e[right] - tops[i * CHARTS + lane]
                        if scale > LEAST:
                            choice = k  # rounding may leave none above the target
                            running += math.ldexp(m[left] * m[right], int(scale))
                            if running > target:
                                break
                        left += items[i, 3]
                        right += items[i, 5]
                    _choose(parts, items, i, choice)


@inline
def _structure(out, number, cells):
    """The row of a structure, of which there is the root alone."""
    parts = out[number * cells : (number + 1) * cells]
    parts[:] = 0
    parts[-1] = 1
    return parts


@inline
def _choose(parts, items, i, choice):
    """Give all to one term of item i; there is none, -1, where nothing is possible."""
    if choice >= 0:
        parts[(items[i, 2] + choice * items[i, 3]) // CHARTS] += 1
        parts[(items[i, 4] + choice * items[i, 5]) // CHARTS] += 1
