"""Sums over all structures of a chart: each chart of a batch by one thread, cell after cell.

A cell whose score is -inf is not looked into: what a constraint forbids, or a length leaves out,
takes no time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from . import reference
from .compiler import array, inline, kernel
from .levels import Level
from .rows import finite
from .threads import share


def chart_total(x: Any, levels: Sequence[Level], semiring: Any) -> Any:
    """See ``reference.chart_total``."""
    kind = semiring.name
    if kind not in ("log", "max", "expectation", "entropy") or not _fits(x):
        return reference.chart_total(x, levels, semiring)
    x, items, out = np.ascontiguousarray(x), _items(tuple(levels)), np.empty(len(x))
    if kind in ("log", "max"):
        total = _total[x.dtype]
        share(lambda b: total(x[b], items, out[b : b + 1], kind == "max"), len(x))
    else:
        values, mean = _values(x, semiring), _mean[x.dtype]
        share(lambda b: mean(x[b], values[b], items, out[b : b + 1], kind == "entropy"), len(x))
    return out.astype(x.dtype)


def chart_parts(x: Any, levels: Sequence[Level], semiring: Any) -> Any:
    """See ``reference.chart_parts``."""
    kind = semiring.name
    if kind not in ("log", "max", "sample", "expectation") or not _fits(x):
        return reference.chart_parts(x, levels, semiring)
    x, items, out = np.ascontiguousarray(x), _items(tuple(levels)), np.zeros(x.shape, x.dtype)
    if kind == "log":
        probabilities = _probabilities[x.dtype]
        share(lambda b: probabilities(x[b], items, out[b]), len(x))
    elif kind == "max":
        best = _best[x.dtype]
        share(lambda b: best(x[b], items, out[b]), len(x))
    elif kind == "expectation":
        values, covariance = _values(x, semiring), _covariance[x.dtype]
        share(lambda b: covariance(x[b], values[b], items, out[b]), len(x))
    else:
        uniforms = np.ascontiguousarray(semiring.uniforms.swapaxes(0, 1), np.float64)
        out, draw = np.zeros((*uniforms.shape[:2], x.shape[1]), x.dtype), _draw[x.dtype]
        share(lambda b: draw(x[b], items, out[b], uniforms[b]), len(x))
        out = out.swapaxes(0, 1)
    return out


def _fits(x: Any) -> bool:
    return x.dtype in (np.float32, np.float64) and x.size > 0


def _values(x: Any, semiring: Any) -> Any:
    """The second scores of an expectation: of an entropy, the scores themselves."""
    values = finite(x) if semiring.name == "entropy" else semiring.values
    return np.ascontiguousarray(values, x.dtype)


@functools.lru_cache(maxsize=32)
def _items(levels: tuple[Level, ...]) -> Any:
    """The cells that have terms, a row for each: the cell, the number of its terms, the first cell
    at the left and the step from there to the next, and the same at the right."""
    rows = [np.empty((0, 6), np.int64)]
    for count, terms, cells, left, right in levels:
        i = np.arange(count)
        columns = [cells[0] + i * cells[1], 0 * i + terms]
        for start, by_cell, by_term in (left, right):
            columns += [start + i * by_cell, 0 * i + by_term]
        rows.append(np.stack(columns, axis=1))
    return np.concatenate(rows)


# --- Upwards ----------------------------------------------------------------------------------

_ITEMS = types.Array(types.int64, 2, "C", readonly=True)


@inline
def _terms(chart, items, i, out):
    """What the terms of item i are worth, and the largest."""
    left, right, top = items[i, 2], items[i, 4], -math.inf
    for k in range(items[i, 1]):
        out[k] = chart[left] + chart[right]
        top = max(top, out[k])
        left += items[i, 3]
        right += items[i, 5]
    return top


@inline
def _powers(terms, width, top):
    """Make terms their exponentials, of which the largest is 1, and return the sum."""
    total = 0.0
    for k in range(width):
        terms[k] = math.exp(terms[k] - top)
        total += terms[k]
    return total


@inline
def _filled(x, items, terms, best):
    """What every cell is worth."""
    chart = x.astype(np.float64)
    for i in range(len(items)):
        if chart[items[i, 0]] > -math.inf:
            top = _terms(chart, items, i, terms)
            if not best and top > -math.inf:
                top += math.log(_powers(terms, items[i, 1], top))
            chart[items[i, 0]] += top
    return chart


@inline
def _means(values, chart, items, terms):
    """The mean of the second score over the structures below each cell."""
    means = values.astype(np.float64)
    for i in range(len(items)):
        if chart[items[i, 0]] > -math.inf:
            total = _powers(terms, items[i, 1], _terms(chart, items, i, terms))
            means[items[i, 0]] += _mean_of_terms(means, items, i, terms, total)
    return means


@inline
def _mean_of_terms(means, items, i, powers, total):
    left, right, mean = items[i, 2], items[i, 4], 0.0
    for k in range(items[i, 1]):
        mean += powers[k] * (means[left] + means[right])
        left += items[i, 3]
        right += items[i, 5]
    return mean / total


@kernel(lambda f: (array(f), _ITEMS, types.float64[::1], types.boolean))
def _total(x, items, out, best):
    out[0] = _filled(x, items, np.empty(x.size), best)[-1]


@kernel(lambda f: (array(f), array(f), _ITEMS, types.float64[::1], types.boolean))
def _mean(x, values, items, out, entropy):
    terms = np.empty(x.size)
    chart = _filled(x, items, terms, False)
    out[0] = _means(values, chart, items, terms)[-1]
    if entropy:
        out[0] = chart[-1] - out[0] if chart[-1] > -math.inf else 0.0


# --- Downwards --------------------------------------------------------------------------------


@inline
def _give(parts, items, i, given):
    """Give to both cells of each term of item i."""
    left, right = items[i, 2], items[i, 4]
    for k in range(items[i, 1]):
        parts[left] += given[k]
        left += items[i, 3]
    for k in range(items[i, 1]):
        parts[right] += given[k]
        right += items[i, 5]


@kernel(lambda f: (array(f), _ITEMS, f[::1]))
def _probabilities(x, items, out):
    terms, parts = np.empty(x.size), np.zeros(x.size)
    chart = _filled(x, items, terms, False)
    parts[-1] = chart[-1] > -math.inf
    for i in range(len(items) - 1, -1, -1):
        if parts[items[i, 0]] > 0:
            total = _powers(terms, items[i, 1], _terms(chart, items, i, terms))
            for k in range(items[i, 1]):
                terms[k] *= parts[items[i, 0]] / total
            _give(parts, items, i, terms)
    out[:] = parts


@kernel(lambda f: (array(f), array(f), _ITEMS, f[::1]))
def _covariance(x, values, items, out):
    terms, moved = np.empty(x.size), np.empty(x.size)
    parts, moves = np.zeros(x.size), np.zeros(x.size)
    chart = _filled(x, items, terms, False)
    means = _means(values, chart, items, terms)
    parts[-1] = chart[-1] > -math.inf
    for i in range(len(items) - 1, -1, -1):
        part, move = parts[items[i, 0]], moves[items[i, 0]]
        if part > 0:
            total = _powers(terms, items[i, 1], _terms(chart, items, i, terms))
            mean = _mean_of_terms(means, items, i, terms, total)
            left, right = items[i, 2], items[i, 4]
            for k in range(items[i, 1]):
                probability = terms[k] / total
                terms[k] = part * probability
                moved[k] = probability * (move + part * (means[left] + means[right] - mean))
                left += items[i, 3]
                right += items[i, 5]
            _give(parts, items, i, terms)
            _give(moves, items, i, moved)
    out[:] = moves


@kernel(lambda f: (array(f), _ITEMS, f[::1]))
def _best(x, items, out):
    terms = np.empty(x.size)
    chart = _filled(x, items, terms, True)
    out[-1] = 1
    for i in range(len(items) - 1, -1, -1):
        if out[items[i, 0]] > 0:
            top, k = _terms(chart, items, i, terms), 0
            if top > -math.inf:
                while terms[k] < top:
                    k += 1
                out[items[i, 2] + k * items[i, 3]] += 1
                out[items[i, 4] + k * items[i, 5]] += 1


@kernel(lambda f: (array(f), _ITEMS, f[:, ::1], types.Array(types.float64, 2, "C", readonly=True)))
def _draw(x, items, out, uniforms):
    terms = np.empty(x.size)
    chart = _filled(x, items, terms, False)
    for sample in range(len(out)):
        parts = out[sample]
        parts[-1] = 1
        for i in range(len(items) - 1, -1, -1):
            if parts[items[i, 0]] > 0:
                top = _terms(chart, items, i, terms)
                if top > -math.inf:
                    choice, running = 0, 0.0
                    target = uniforms[sample, i] * _powers(terms, items[i, 1], top)
                    for k in range(items[i, 1]):
                        if terms[k] > 0:
                            choice = k
                        running += terms[k]
                        if running > target:
                            break
                    parts[items[i, 2] + choice * items[i, 3]] += 1
                    parts[items[i, 4] + choice * items[i, 5]] += 1
