"""Sums over all structures of a chart: each chart of a batch by one thread.

The terms of several cells of a level are written one after the other, so that their exponentials
are taken in one loop, a register of them at once. A cell whose score is -inf is not looked into:
what a constraint forbids, or a length leaves out, takes no time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from . import reference
from .compiler import array, associative, inline, kernel
from .levels import Level
from .rows import finite
from .threads import share

TOGETHER = 512  # terms that are worth a loop of their own


def chart_total(x: Any, levels: Sequence[Level], semiring: Any) -> Any:
    """See ``reference.chart_total``."""
    kind = semiring.name
    if kind not in ("log", "max", "expectation", "entropy") or not _fits(x):
        return reference.chart_total(x, levels, semiring)
    x, table, out = np.ascontiguousarray(x), _items(tuple(levels)), np.empty((len(x), 1))
    if kind in ("log", "max"):
        total = _total[x.dtype]
        share(lambda b: total(x[b], *table, out[b], kind == "max"), len(x))
    else:
        values, mean = _values(x, semiring), _mean[x.dtype]
        share(lambda b: mean(x[b], values[b], *table, out[b], kind == "entropy"), len(x))
    return out[:, 0].astype(x.dtype)


def chart_parts(x: Any, levels: Sequence[Level], semiring: Any) -> Any:
    """See ``reference.chart_parts``."""
    kind = semiring.name
    if kind not in ("log", "max", "sample", "expectation") or not _fits(x):
        return reference.chart_parts(x, levels, semiring)
    x, table = np.ascontiguousarray(x), _items(tuple(levels))
    out = np.zeros(x.shape, x.dtype)
    if kind == "log":
        probabilities = _probabilities[x.dtype]
        share(lambda b: probabilities(x[b], *table, out[b]), len(x))
    elif kind == "max":
        best = _best[x.dtype]
        share(lambda b: best(x[b], *table, out[b]), len(x))
    elif kind == "expectation":
        values, covariance = _values(x, semiring), _covariance[x.dtype]
        share(lambda b: covariance(x[b], values[b], *table, out[b]), len(x))
    else:
        uniforms = np.ascontiguousarray(semiring.uniforms.swapaxes(0, 1), np.float64)
        out, draw = np.zeros((*uniforms.shape[:2], x.shape[1]), x.dtype), _draw[x.dtype]
        share(lambda b: draw(x[b], *table, out[b], uniforms[b]), len(x))
        out = out.swapaxes(0, 1)
    return out


def _fits(x: Any) -> bool:
    return x.dtype in (np.float32, np.float64) and x.size > 0


def _values(x: Any, semiring: Any) -> Any:
    """The second scores of an expectation: of an entropy, the scores themselves."""
    values = finite(x) if semiring.name == "entropy" else semiring.values
    return np.ascontiguousarray(values, x.dtype)


@functools.lru_cache(maxsize=32)
def _items(levels: tuple[Level, ...]) -> tuple[Any, Any]:
    """The cells that have terms, and which of them are taken together.

    Of each cell a row: the cell, the number of its terms, the first cell at the left and the step
    from there to the next, and the same at the right. Group g is the items from groups[g] to
    groups[g + 1], all of one level.
    """
    rows, groups = [np.empty((0, 6), np.int64)], [0]
    for size, terms, cells, left, right in levels:
        i = np.arange(size)
        columns = [cells[0] + i * cells[1], 0 * i + terms]
        for start, by_cell, by_term in (left, right):
            columns += [start + i * by_cell, 0 * i + by_term]
        rows.append(np.stack(columns, axis=1))
        first = groups[-1]
        groups += [*range(first, first + size, max(1, TOGETHER // terms))[1:], first + size]
    return np.concatenate(rows), np.array(groups)


# --- Exponentials -----------------------------------------------------------------------------

LOG2_E, WHOLE = 1 / math.log(2), 1.5 * 2.0**52
LOG2 = 0.6931471803691238, 1.9082149292705878e-10  # with the first, products with k are exact
SERIES = tuple(1 / math.factorial(n) for n in range(13, -1, -1))


@inline
def _exp(x):
    """exp(x) of x up to 0, off by two units in the last place at most: without a branch or a call,
    so that LLVM takes a register of numbers at once. It is 2^k times the series of the rest."""
    t = max(x, -708.0) * LOG2_E + WHOLE  # its last bits are k, the integer nearest to x / log 2
    k = t - WHOLE
    rest = max(x, -708.0) - k * LOG2[0] - k * LOG2[1]
    series = SERIES[0]
    for c in SERIES[1:]:
        series = series * rest + c
    power = np.int64((np.float64(t).view(np.int64) + 1023) << 52).view(np.float64)
    return 0.0 if x <= -708.0 else series * power


@associative
def _sum(powers, first, last):
    total = 0.0
    for k in range(first, last):
        total += powers[k]
    return total


@inline
def _powers(chart, items, first, last, powers, tops):
    """The exponentials of the terms of some items, one item after the other, divided by the largest
    of each; ``tops`` are the logarithms of these. An item that is worth nothing has no place."""
    place = 0
    for i in range(first, last):
        left, right, top = items[i, 2], items[i, 4], -math.inf
        if chart[items[i, 0]] > -math.inf:
            for k in range(place, place + items[i, 1]):
                powers[k] = chart[left] + chart[right]
                top = max(top, powers[k])
                left += items[i, 3]
                right += items[i, 5]
        tops[i - first] = top
        if top > -math.inf:
            for k in range(place, place + items[i, 1]):
                powers[k] -= top
            place += items[i, 1]
    for k in range(place):
        powers[k] = _exp(powers[k])


# --- Upwards ----------------------------------------------------------------------------------

_ITEMS = types.Array(types.int64, 2, "C", readonly=True)
_GROUPS = array(types.int64)


@inline
def _filled(x, items, groups, powers, tops):
    """What every cell is worth: the logarithm of a sum."""
    chart = x.astype(np.float64)
    for g in range(len(groups) - 1):
        first, last, place = groups[g], groups[g + 1], 0
        _powers(chart, items, first, last, powers, tops)
        for i in range(first, last):
            top = tops[i - first]
            if top > -math.inf:
                top += math.log(_sum(powers, place, place + items[i, 1]))
                place += items[i, 1]
            chart[items[i, 0]] += top
    return chart


@inline
def _largest(x, items):
    """What every cell is worth: the largest score."""
    chart = x.astype(np.float64)
    for i in range(len(items)):
        if chart[items[i, 0]] > -math.inf:
            chart[items[i, 0]] += _first_largest(chart, items, i)[0]
    return chart


@inline
def _first_largest(chart, items, i):
    """The largest term of item i, and the number of the first that is as large."""
    left, right, top, choice = items[i, 2], items[i, 4], -math.inf, 0
    for k in range(items[i, 1]):
        if chart[left] + chart[right] > top:
            top, choice = chart[left] + chart[right], k
        left += items[i, 3]
        right += items[i, 5]
    return top, choice


@inline
def _means(values, chart, items, groups, powers, tops):
    """The mean of the second score over the structures below each cell."""
    means = values.astype(np.float64)
    for g in range(len(groups) - 1):
        first, last, place = groups[g], groups[g + 1], 0
        _powers(chart, items, first, last, powers, tops)
        for i in range(first, last):
            if tops[i - first] > -math.inf:
                means[items[i, 0]] += _mean_of_terms(means, items, i, powers, place)
                place += items[i, 1]
    return means


@inline
def _mean_of_terms(means, items, i, powers, place):
    left, right, mean = items[i, 2], items[i, 4], 0.0
    for k in range(place, place + items[i, 1]):
        mean += powers[k] * (means[left] + means[right])
        left += items[i, 3]
        right += items[i, 5]
    return mean / _sum(powers, place, place + items[i, 1])


@kernel(lambda f: (array(f), _ITEMS, _GROUPS, types.float64[::1], types.boolean))
def _total(x, items, groups, out, best):
    if best:
        out[0] = _largest(x, items)[-1]
    else:
        powers, tops = np.empty(x.size + TOGETHER), np.empty(TOGETHER)
        out[0] = _filled(x, items, groups, powers, tops)[-1]


@kernel(lambda f: (array(f), array(f), _ITEMS, _GROUPS, types.float64[::1], types.boolean))
def _mean(x, values, items, groups, out, entropy):
    powers, tops = np.empty(x.size + TOGETHER), np.empty(TOGETHER)
    chart = _filled(x, items, groups, powers, tops)
    out[0] = _means(values, chart, items, groups, powers, tops)[-1]
    if entropy:
        out[0] = chart[-1] - out[0] if chart[-1] > -math.inf else 0.0


# --- Downwards --------------------------------------------------------------------------------


@inline
def _give(parts, items, i, given, place):
    """Give to both cells of each term of item i."""
    left, right = items[i, 2], items[i, 4]
    for k in range(place, place + items[i, 1]):
        parts[left] += given[k]
        left += items[i, 3]
    for k in range(place, place + items[i, 1]):
        parts[right] += given[k]
        right += items[i, 5]


@kernel(lambda f: (array(f), _ITEMS, _GROUPS, f[::1]))
def _probabilities(x, items, groups, out):
    powers, tops, parts = np.empty(x.size + TOGETHER), np.empty(TOGETHER), np.zeros(x.size)
    chart = _filled(x, items, groups, powers, tops)
    parts[-1] = 1
    for g in range(len(groups) - 2, -1, -1):
        first, last, place = groups[g], groups[g + 1], 0
        _powers(chart, items, first, last, powers, tops)
        for i in range(first, last):
            if tops[i - first] > -math.inf:
                end = place + items[i, 1]
                scale = parts[items[i, 0]] / _sum(powers, place, end)
                for k in range(place, end):
                    powers[k] *= scale
                _give(parts, items, i, powers, place)
                place = end
    out[:] = parts


@kernel(lambda f: (array(f), array(f), _ITEMS, _GROUPS, f[::1]))
def _covariance(x, values, items, groups, out):
    powers, moved, tops = np.empty(x.size), np.empty(x.size + TOGETHER), np.empty(TOGETHER)
    parts, moves = np.zeros(x.size), np.zeros(x.size)
    chart = _filled(x, items, groups, powers, tops)
    means = _means(values, chart, items, groups, powers, tops)
    parts[-1] = 1
    for g in range(len(groups) - 2, -1, -1):
        first, last, place = groups[g], groups[g + 1], 0
        _powers(chart, items, first, last, powers, tops)
        for i in range(first, last):
            if tops[i - first] > -math.inf:
                end, left, right = place + items[i, 1], items[i, 2], items[i, 4]
                part, move = parts[items[i, 0]], moves[items[i, 0]]
                mean = _mean_of_terms(means, items, i, powers, place)
                total = _sum(powers, place, end)
                for k in range(place, end):
                    probability = powers[k] / total
                    powers[k] = part * probability
                    moved[k] = probability * (move + part * (means[left] + means[right] - mean))
                    left += items[i, 3]
                    right += items[i, 5]
                _give(parts, items, i, powers, place)
                _give(moves, items, i, moved, place)
                place = end
    out[:] = moves


@kernel(lambda f: (array(f), _ITEMS, _GROUPS, f[::1]))
def _best(x, items, groups, out):
    chart = _largest(x, items)
    out[-1] = 1
    for i in range(len(items) - 1, -1, -1):
        if out[items[i, 0]] > 0:
            top, choice = _first_largest(chart, items, i)
            if top > -math.inf:
                out[items[i, 2] + choice * items[i, 3]] += 1
                out[items[i, 4] + choice * items[i, 5]] += 1


@kernel(
    lambda f: (
        array(f), _ITEMS, _GROUPS, f[:, ::1], types.Array(types.float64, 2, "C", readonly=True)
    )
)  # fmt: skip
def _draw(x, items, groups, out, uniforms):
    powers, tops = np.empty(x.size + TOGETHER), np.empty(TOGETHER)
    chart = _filled(x, items, groups, powers, tops)
    for sample in range(len(out)):
        parts = out[sample]
        parts[-1] = 1
        for i in range(len(items) - 1, -1, -1):
            if parts[items[i, 0]] > 0:
                _powers(chart, items, i, i + 1, powers, tops)
                if tops[0] > -math.inf:
                    target = uniforms[sample, i] * _sum(powers, 0, items[i, 1])
                    choice, running = 0, 0.0
                    for k in range(items[i, 1]):
                        if powers[k] > 0:  # rounding may leave none above the target
                            choice = k
                        running += powers[k]
                        if running > target:
                            break
                    parts[items[i, 2] + choice * items[i, 3]] += 1
                    parts[items[i, 4] + choice * items[i, 5]] += 1
