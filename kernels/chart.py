"""Sums over all structures of a chart: each chart of a batch by one thread.

The terms of several cells of a level are written one after the other, so that what is done with
them is done in one loop. A cell whose score is -inf is not looked into: what a constraint forbids,
or a length leaves out, takes no time.
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
from .compiler import associative, inline, kernel
from .levels import Level
from .threads import share
from .transcendental import exp

TOGETHER = 512  # terms that are worth a loop of their own


def chart_total(x: Any, levels: Sequence[Level], semiring: Any) -> Any:
    """See ``reference.chart_total``."""
    kind, table = semiring.name, _items(tuple(levels))
    if kind in ("log", "max"):
        total, best = _total[x.dtype], kind == "max"
        return _each(x, (), lambda chart, b: total(chart, *table, best))
    if kind == "expectation":
        mean, values = _mean[x.dtype], _shaped(semiring.values, x.shape)
        return _each(x, (), lambda chart, b: mean(chart, *table, _double(values[b])))
    if kind == "entropy":
        entropy = _entropy[x.dtype]
        return _each(x, (), lambda chart, b: entropy(chart, *table))
    return reference.chart_total(x, levels, semiring)


def chart_parts(x: Any, levels: Sequence[Level], semiring: Any) -> Any:
    """See ``reference.chart_parts``."""
    kind, table, row = semiring.name, _items(tuple(levels)), x.shape[1:]
    if kind == "log":
        probabilities = _probabilities[x.dtype]
        return _each(x, row, lambda chart, b: probabilities(chart, *table))
    if kind == "max":
        best = _best[x.dtype]
        return _each(x, row, lambda chart, b: best(chart, *table))
    if kind == "expectation":
        covariance, values = _covariance[x.dtype], _shaped(semiring.values, x.shape)
        return _each(x, row, lambda chart, b: covariance(chart, *table, _double(values[b])))
    if kind == "sample":
        draw, count = _draw[x.dtype], len(semiring.uniforms)
        uniforms = _shaped(semiring.uniforms, (count, len(x), len(table[0])))
        rows = _each(x, (count, *row),
                     lambda chart, b: draw(chart, *table, _double(uniforms[:, b])))  # fmt: skip
        return rows.swapaxes(0, 1)
    return reference.chart_parts(x, levels, semiring)


def _each(x: Any, shape: tuple[int, ...], function: Any) -> Any:
    """What ``function`` makes of the scores of each chart, which it may write over."""
    out = np.empty((len(x), *shape), x.dtype)

    def work(b: int) -> None:
        out[b] = function(np.array(x[b], np.float64), b)

    share(work, len(x))
    return out


def _shaped(array: Any, shape: tuple[int, ...]) -> Any:
    """The array, checked: the kernels look for no bounds."""
    if array.shape != shape:
        raise ValueError(expect(f"an array {list(shape)} in the semiring", array))
    return array


def _double(values: Any) -> Any:
    return np.ascontiguousarray(values, np.float64)


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


# --- Numbers of any size ------------------------------------------------------------------------
#
# The sums are of exp(score), which no float may hold: each is m 2^e, with a whole e that is a float
# too. So a term is a product, brought to the scale of the others by bits, and no exponential is
# taken but those of the scores. While no m is farther from 1 than LARGE, all e are 0 and not looked
# at: the chart is tame. What is worth nothing has m = 0 and e = -inf.

LOG_2, WHOLE = math.log(2), 1.5 * 2.0**52  # a float plus WHOLE has its nearest integer as last bits
ONE, DIGITS = 1023 << 52, (1 << 52) - 1  # the bits of 1.0; those behind the point
LARGE, LOG_LARGE = 2.0**300, 200.0  # a score times two such cells is a float still


@inline
def _numbers(chart, items):
    """m and e of exp(x) for the scores x, m in their place; whether they are tame; and room for the
    terms of some items. Each loop does one thing, so that LLVM takes a register of scores at once.
    """
    e, wild, most = np.zeros_like(chart), 0, 0
    for i in range(len(e)):
        wild += (chart[i] > LOG_LARGE) | ((chart[i] < -LOG_LARGE) & (chart[i] > -math.inf))
    if wild:
        for i in range(len(e)):
            e[i] = np.floor(chart[i] * (1 / LOG_2) + 0.5)  # a float, whatever its size
    else:
        for i in range(len(e)):
            e[i] = 0.0 if chart[i] > -math.inf else -math.inf
    for i in range(len(e)):
        rest = chart[i] - e[i] * LOG_2  # of huge scores no digit is left
        chart[i] = exp(rest if abs(rest) <= LOG_LARGE else 0.0)
    for i in range(len(e)):
        chart[i] = chart[i] if e[i] > -math.inf else 0.0
    for i in range(len(items)):
        most = max(most, items[i, 1])
    return chart, e, np.full(1, wild == 0), np.empty(most + TOGETHER), np.empty(TOGETHER)


@inline
def _normalize(m, e, cell):
    """Bring m into [1, 2)."""
    if m[cell] > 0:
        bits = np.float64(m[cell]).view(np.int64)
        e[cell] += (bits >> 52) - 1023
        m[cell] = np.int64((bits & DIGITS) | ONE).view(np.float64)


@inline
def _log(m, e):
    return math.log(m) + e * LOG_2 if e > -math.inf else -math.inf


@associative
def _sum(powers, first, last):
    total = 0.0
    for k in range(first, last):
        total += powers[k]
    return total


@inline
def _powers(m, e, tame, items, first, last, powers, tops):
    """The terms of some items, one item after the other, each divided by 2^top, the largest power
    among those of its item. An item that is worth nothing has no place, and top = -inf."""
    place = 0
    for i in range(first, last):
        left, right, top, end = items[i, 2], items[i, 4], -math.inf, place + items[i, 1]
        if e[items[i, 0]] == -math.inf:
            pass
        elif tame[0]:
            for k in range(place, end):
                powers[k] = m[left] * m[right]
                left += items[i, 3]
                right += items[i, 5]
            if _sum(powers, place, end) > 0:
                top = 0.0
        else:
            for k in range(place, end):
                powers[k] = e[left] + e[right]
                top = max(top, powers[k])
                left += items[i, 3]
                right += items[i, 5]
            if top > -math.inf:
                left, right = items[i, 2], items[i, 4]
                for k in range(place, end):
                    bits = np.float64(max(powers[k] - top, -1023.0) + WHOLE).view(np.int64)
                    powers[k] = m[left] * m[right] * np.int64((bits << 52) + ONE).view(np.float64)
                    left += items[i, 3]
                    right += items[i, 5]
        tops[i - first] = top
        if top > -math.inf:
            place = end


# --- Upwards ----------------------------------------------------------------------------------

# The same for every dtype: scores that become what cells are worth, and what _items returns.
_CHART = types.float64[::1], types.int64[:, ::1], types.int64[::1]


@inline
def _fill(m, e, tame, items, groups, powers, tops):
    """Make scores what every cell is worth: a sum."""
    for g in range(len(groups) - 1):
        first, last, place = groups[g], groups[g + 1], 0
        _powers(m, e, tame, items, first, last, powers, tops)
        for i in range(first, last):
            cell, total = items[i, 0], 0.0
            e[cell] += tops[i - first]
            if tops[i - first] > -math.inf:
                total = m[cell] * _sum(powers, place, place + items[i, 1])
                place += items[i, 1]
            m[cell] = total
            if not tame[0]:
                _normalize(m, e, cell)
            elif total > LARGE or 0 < total < 1 / LARGE:
                tame[0] = False
                for each in range(len(m)):
                    _normalize(m, e, each)


@inline
def _fill_largest(chart, items):
    """Make scores what every cell is worth: the largest score."""
    for i in range(len(items)):
        if chart[items[i, 0]] > -math.inf:
            chart[items[i, 0]] += _first_largest(chart, items, i)[0]


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
def _means(m, e, tame, items, groups, values, powers, tops):
    """The mean of the second score over the structures below each cell."""
    means = values.copy()
    for g in range(len(groups) - 1):
        first, last, place = groups[g], groups[g + 1], 0
        _powers(m, e, tame, items, first, last, powers, tops)
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


@kernel(lambda f: (*_CHART, types.boolean))
def _total(chart, items, groups, best):
    if best:
        _fill_largest(chart, items)
        return chart[-1]
    m, e, tame, powers, tops = _numbers(chart, items)
    _fill(m, e, tame, items, groups, powers, tops)
    return _log(m[-1], e[-1])


@kernel(lambda f: (*_CHART, types.float64[::1]))
def _mean(chart, items, groups, values):
    m, e, tame, powers, tops = _numbers(chart, items)
    _fill(m, e, tame, items, groups, powers, tops)
    return _means(m, e, tame, items, groups, values, powers, tops)[-1]


@kernel(lambda f: _CHART)
def _entropy(chart, items, groups):
    """That of a cell's choice, and the mean of those below: no large numbers are subtracted."""
    m, e, tame, powers, tops = _numbers(chart, items)
    _fill(m, e, tame, items, groups, powers, tops)
    logs, entropies = np.log(m), np.zeros(chart.size)
    for g in range(len(groups) - 1):
        first, last, place = groups[g], groups[g + 1], 0
        _powers(m, e, tame, items, first, last, powers, tops)
        for i in range(first, last):
            left, right, top, mean = items[i, 2], items[i, 4], tops[i - first], 0.0
            if top > -math.inf:
                end = place + items[i, 1]
                total = _sum(powers, place, end)
                for k in range(place, end):
                    if powers[k] > 0:
                        power = logs[left] + logs[right] + (e[left] + e[right] - top) * LOG_2
                        mean += powers[k] * (entropies[left] + entropies[right] - power)
                    left += items[i, 3]
                    right += items[i, 5]
                entropies[items[i, 0]] = mean / total + math.log(total)
                place = end
    return entropies[-1]


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


@inline
def _start(chart):
    """The root alone has something."""
    parts = np.zeros(chart.size)
    parts[-1] = 1
    return parts


@kernel(lambda f: _CHART)
def _probabilities(chart, items, groups):
    m, e, tame, powers, tops = _numbers(chart, items)
    _fill(m, e, tame, items, groups, powers, tops)
    parts = _start(chart)
    for g in range(len(groups) - 2, -1, -1):
        first, last, place = groups[g], groups[g + 1], 0
        _powers(m, e, tame, items, first, last, powers, tops)
        for i in range(first, last):
            if tops[i - first] > -math.inf:
                end = place + items[i, 1]
                scale = parts[items[i, 0]] / _sum(powers, place, end)
                for k in range(place, end):
                    powers[k] *= scale
                _give(parts, items, i, powers, place)
                place = end
    return parts


@kernel(lambda f: (*_CHART, types.float64[::1]))
def _covariance(chart, items, groups, values):
    m, e, tame, powers, tops = _numbers(chart, items)
    _fill(m, e, tame, items, groups, powers, tops)
    means = _means(m, e, tame, items, groups, values, powers, tops)
    parts, moves, moved = _start(chart), np.zeros(chart.size), np.empty_like(powers)
    for g in range(len(groups) - 2, -1, -1):
        first, last, place = groups[g], groups[g + 1], 0
        _powers(m, e, tame, items, first, last, powers, tops)
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
    return moves


@kernel(lambda f: _CHART)
def _best(chart, items, groups):
    _fill_largest(chart, items)
    parts = _start(chart)
    for i in range(len(items) - 1, -1, -1):
        if parts[items[i, 0]] > 0:
            top, choice = _first_largest(chart, items, i)
            if top > -math.inf:
                _choose(parts, items, i, choice)
    return parts


@kernel(lambda f: (*_CHART, types.float64[:, ::1]))
def _draw(chart, items, groups, uniforms):
    m, e, tame, powers, tops = _numbers(chart, items)
    _fill(m, e, tame, items, groups, powers, tops)
    out = np.zeros((len(uniforms), chart.size))
    for sample in range(len(out)):
        parts = out[sample]
        parts[-1] = 1
        for i in range(len(items) - 1, -1, -1):
            if parts[items[i, 0]] > 0:
                _powers(m, e, tame, items, i, i + 1, powers, tops)
                if tops[0] > -math.inf:
                    target = uniforms[sample, i] * _sum(powers, 0, items[i, 1])
                    choice, running = 0, 0.0
                    for k in range(items[i, 1]):
                        if powers[k] > 0:  # rounding may leave none above the target
                            choice = k
                        running += powers[k]
                        if running > target:
                            break
                    _choose(parts, items, i, choice)
    return out


@inline
def _choose(parts, items, i, choice):
    """Give all to one term of item i."""
    parts[items[i, 2] + choice * items[i, 3]] += 1
    parts[items[i, 4] + choice * items[i, 5]] += 1
