"""Attention without its scores ever being in memory, after Dao et al. 2022, on the register tile.

For each head, a panel of queries meets all keys. Their scores are kept the other way round, (keys,
panel): the tile then makes them out of queries that stand side by side in the vectors, and all that
a softmax does along the keys is done for a vector of queries at once. The gradient makes the scores
again, which costs less than to have kept them, and adds up what the panels give to keys and values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from . import dot_product
from .compiler import array, flat, inline, kernel
from .dot_product import apart, joined, split
from .threads import share, threads
from .tile import add_to, rows, start, step, store
from .transcendental import exp
from .vectors import ROWS, VECTORS, WIDTH, everywhere, higher, put, vector

PANEL = 32  # queries, or as many as a tile takes
SMALL = 1 << 16  # multiplications that are not worth a second thread


def attention(query: Any, key: Any, value: Any, mask: Any = None, causal: bool = False) -> Any:
    """See ``reference.attention``."""
    if not _suit(query, key, value):
        return dot_product.attention(query, key, value, mask, causal)
    out = _empty(query, value.shape[3])
    _each_head(_attention, (query, key, value), (out,), mask, causal)
    return out


def attention_gradient(
    g: Any, query: Any, key: Any, value: Any, mask: Any = None, causal: bool = False
) -> Any:
    """See ``reference.attention_gradient``."""
    if not _suit(query, key, value, g):
        return dot_product.attention_gradient(g, query, key, value, mask, causal)
    out = tuple(_empty(x, x.shape[3]) for x in (query, key, value))
    _each_head(_attention_gradient, (query, key, value, g), out, mask, causal)
    return out


def self_attention(projected: Any, heads: int, mask: Any = None, causal: bool = False) -> Any:
    """See ``reference.self_attention``."""
    query, key, value = apart(projected, heads)
    return joined(attention(query, key, value, mask, causal))


def self_attention_gradient(
    g: Any, projected: Any, heads: int, mask: Any = None, causal: bool = False
) -> Any:
    """See ``reference.self_attention_gradient``."""
    given = *apart(projected, heads), split(g, heads)
    if not _suit(*given):
        return dot_product.self_attention_gradient(g, projected, heads, mask, causal)
    out = np.empty(projected.shape, projected.dtype)  # one array, of which the kernel fills thirds
    _each_head(_attention_gradient, given, tuple(apart(out, heads)), mask, causal)
    return out


def _suit(query: Any, key: Any, value: Any, *g: Any) -> bool:
    """Whether all are (batch, heads, time, features) of one dtype that is compiled for, and fit."""
    return (
        query.dtype in (np.float32, np.float64)
        and all(
            isinstance(x, np.ndarray) and x.dtype == query.dtype and x.ndim == 4
            and x.shape[:2] == query.shape[:2] and x.size
            for x in (query, key, value, *g)
        )
        and query.shape[3] == key.shape[3] and key.shape[2] == value.shape[2]
        and all(x.shape == (*query.shape[:3], value.shape[3]) for x in g)
    )  # fmt: skip


def _empty(like: Any, features: int) -> Any:
    """An array (batch, heads, time, features), in which the heads of a position are neighbours."""
    batch, heads, time, _ = like.shape
    return np.empty((batch, time, heads, features), like.dtype).swapaxes(1, 2)


def _line(x: Any) -> tuple[Any, Any]:
    """The memory of an array whose last axis lies in it, and the steps of the other axes."""
    size = x.itemsize
    spread = x.strides[3] != size and x.shape[3] > 1  # of one feature the step may be any
    if spread or any(s < 0 or s % size for s in x.strides) or not x.flags.aligned:
        x = flat(x).reshape(x.shape)
    span = sum(s // size * (n - 1) for s, n in zip(x.strides, x.shape)) + 1
    memory = np.lib.stride_tricks.as_strided(x, (span,), (size,), writeable=x.flags.writeable)
    return memory, np.array(x.strides[:3], np.int64) // size


def _each_head(compute: Any, given: tuple, out: tuple, mask: Any, causal: bool) -> None:
    """Call the kernel for all heads of arrays that are read, and of those that are written."""
    query, _, value = given[:3]
    batch, heads, queries, part = query.shape
    keys, width = value.shape[2:]
    shape = batch, heads, queries, keys
    hidden = np.empty((0,) * 4, bool) if mask is None else np.broadcast_to(~mask, shape)
    arrays = [each for x in (*given, *out) for each in _line(x)]
    sizes = heads, queries, keys, part, width, causal, part**-0.5
    parts = min(threads() if queries * keys * part > SMALL else 1, batch * heads)
    function = compute[query.dtype]

    def work(i: int) -> None:
        first, last = batch * heads * i // parts, batch * heads * (i + 1) // parts
        function(*arrays, hidden, *sizes, first, last)

    share(work, parts)


def _arguments(read: int, written: int) -> Callable[[Any], tuple]:
    """Types: so many arrays with their steps; what is hidden; sizes, causal, scale; the heads."""
    places, hidden = array(types.int64), types.Array(types.boolean, 4, "A", readonly=True)
    return lambda f: (
        *(array(f), places) * read, *(f[::1], places) * written, hidden, *[types.intp] * 5,
        types.boolean, f, types.intp, types.intp,
    )  # fmt: skip


# --- The parts of it --------------------------------------------------------------------------


@inline
def _whole(size, block):
    return -(-size // block) * block


@inline
def _pack(x, steps, pair, heads, first, count, features, scale, out, width):
    """Positions of a head as rows of ``width``, times ``scale``."""
    begin = pair // heads * steps[0] + pair % heads * steps[1] + first * steps[2]
    for i in range(count):
        place = begin + i * steps[2]
        source, target = x[place : place + features], out[i * width : i * width + features]
        for d in range(features):
            target[d] = source[d] * scale


@inline
def _unpack(rows, width, x, steps, pair, heads, first, count, features):
    """The opposite."""
    begin = pair // heads * steps[0] + pair % heads * steps[1] + first * steps[2]
    for i in range(count):
        place = begin + i * steps[2]
        source, target = rows[i * width : i * width + features], x[place : place + features]
        for d in range(features):
            target[d] = source[d]


@inline
def _turn(rows, width, count, features, out, panel):
    """Rows as columns, of a panel; 0 where there are too few."""
    for d in range(features):
        for i in range(count):
            out[d * panel + i] = rows[i * width + d]
        for i in range(count, panel):
            out[d * panel + i] = 0


@inline
def _scores(x, places, seen, depth, columns, panel, begin, out, targets):
    """``out[j, i] = sum_d x[j, d] columns[d, i]`` of the keys that are seen."""
    block = VECTORS * WIDTH // x.itemsize
    for r in range(0, seen, ROWS):
        at, to = rows(places, r, seen), rows(targets, r, seen)
        for c in range(0, panel, block):
            acc = start(begin, 0, VECTORS)
            for d in range(depth):
                acc = step(acc, x, at, d, columns, d * panel + c)
            store(acc, out, to, c, -np.inf)


@inline
def _mix(scores, panel, places, seen, count, w, width, begin, out, targets):
    """``out[i, d] = sum_j scores[j, i] w[j, d]`` of the queries of a panel."""
    block = VECTORS * WIDTH // w.itemsize
    for r in range(0, count, ROWS):
        at, to = rows(places, r, count), rows(targets, r, count)
        for c in range(0, width, block):
            acc = start(begin, 0, VECTORS)
            for j in range(seen):
                acc = step(acc, scores, at, j * panel, w, j * width + c)
            store(acc, out, to, c, -np.inf)


@inline
def _gather(scores, places, seen, count, w, width, begin, sums):
    """``sums[j, d] += sum_i scores[j, i] w[i, d]``, tile by tile."""
    block = VECTORS * WIDTH // w.itemsize
    place = 0
    for r in range(0, seen, ROWS):
        at = rows(places, r, seen)
        for c in range(0, width, block):
            acc = start(begin, 0, VECTORS)
            for i in range(count):
                acc = step(acc, scores, at, i, w, i * width + c)
            add_to(acc, sums, place)
            place += ROWS * block


@inline
def _spread(sums, keys, width, out, scale):
    """Those sums as rows."""
    block = VECTORS * WIDTH // out.itemsize
    for j in range(keys):
        tile = j // ROWS * ROWS * width + j % ROWS * block
        for c in range(0, width, block):
            source = sums[tile + c * ROWS : tile + c * ROWS + block]
            target = out[j * width + c : j * width + c + block]
            for d in range(block):
                target[d] = source[d] * scale


@inline
def _hide(scores, panel, seen, count, hidden, pair, heads, first, causal, shift):
    """-inf where a query may not look: query i is at the place of key ``i + shift``."""
    nothing = scores.dtype.type(-np.inf)
    if causal:
        for j in range(max(0, first + shift + 1), seen):
            line, later = scores[j * panel : (j + 1) * panel], j - shift - first
            for i in range(panel):
                line[i] = nothing if i < later else line[i]
    if hidden.size:
        there = hidden[pair // heads, pair % heads]
        for j in range(seen):
            for i in range(count):
                if there[first + i, j]:
                    scores[j * panel + i] = nothing


@inline
def _exponentials(scores, panel, seen, top, total):
    """``exp(score - top)``, and their sums, of each query of a panel."""
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    size = WIDTH // scores.itemsize
    for c in range(0, panel, size):
        most = everywhere(scores.dtype.type(-np.inf))
        for j in range(seen):
            most = higher(vector(scores, j * panel + c), most)
        put(most, top, c)
    for i in range(panel):
        top[i] = top[i] if abs(top[i]) < np.inf else zero
    for c in range(0, panel, size):
        most, sums = vector(top, c), everywhere(zero)
        for j in range(seen):
            power = exp(vector(scores, j * panel + c) - most)
            put(power, scores, j * panel + c)
            sums = sums + power
        put(sums, total, c)
    for i in range(panel):
        total[i] = one / (one if total[i] < one else total[i])


@inline
def _softmax_gradient(scores, slopes, panel, seen, total):
    """Make exponentials probabilities, by what their sums are divided by; and slopes of these those
    of the scores."""
    size = WIDTH // scores.itemsize
    for c in range(0, panel, size):
        share, along = vector(total, c), everywhere(scores.dtype.type(0))
        for j in range(seen):
            p = vector(scores, j * panel + c) * share
            put(p, scores, j * panel + c)
            along = along + p * vector(slopes, j * panel + c)
        for j in range(seen):
            slope = vector(slopes, j * panel + c) - along
            put(vector(scores, j * panel + c) * slope, slopes, j * panel + c)


@inline
def _seen(first, count, keys, causal, shift):
    """How many keys a panel of queries meets: in whole tiles, for a tile that sticks out does its
    last row more than once, and these would be added to what another panel meets."""
    return min(keys, _whole(max(0, first + count + shift), ROWS)) if causal else keys


# --- Forward ----------------------------------------------------------------------------------


@kernel(_arguments(3, 1))
def _attention(
    query, q_steps, key, k_steps, value, v_steps, out, o_steps, hidden, heads, queries, keys, part,
    features, causal, scale, first, last,
):
    block, one = VECTORS * WIDTH // query.itemsize, query.dtype.type(1)
    panel = _whole(min(PANEL, queries), block)
    width = _whole(features, block)
    begin = np.zeros(block, query.dtype)
    top, total = np.empty(panel, query.dtype), np.empty(panel, query.dtype)
    k, v = np.empty(keys * part, query.dtype), np.zeros(keys * width, query.dtype)
    q, columns = np.empty(panel * part, query.dtype), np.empty(part * panel, query.dtype)
    scores, mixed = np.empty(keys * panel, query.dtype), np.empty(panel * width, query.dtype)
    key_places, score_places = np.arange(keys) * part, np.arange(keys) * panel
    query_places, mixed_places = np.arange(panel), np.arange(panel) * width
    shift = keys - queries
    for pair in range(first, last):
        _pack(key, k_steps, pair, heads, 0, keys, part, one, k, part)
        _pack(value, v_steps, pair, heads, 0, keys, features, one, v, width)
        for i in range(0, queries, panel):
            count = min(panel, queries - i)
            seen = _seen(i, count, keys, causal, shift)
            _pack(query, q_steps, pair, heads, i, count, part, scale, q, part)
            _turn(q, part, count, part, columns, panel)
            _scores(k, key_places, seen, part, columns, panel, begin, scores, score_places)
            _hide(scores, panel, seen, count, hidden, pair, heads, i, causal, shift)
            _exponentials(scores, panel, seen, top, total)
            _mix(scores, panel, query_places, seen, count, v, width, begin, mixed, mixed_places)
            for n in range(count):
                line = mixed[n * width : (n + 1) * width]
                for d in range(width):
                    line[d] *= total[n]
            _unpack(mixed, width, out, o_steps, pair, heads, i, count, features)


# --- Backward ---------------------------------------------------------------------------------


@kernel(_arguments(4, 3))
def _attention_gradient(
    query, q_steps, key, k_steps, value, v_steps, g, g_steps, to_query, tq_steps, to_key, tk_steps,
    to_value, tv_steps, hidden, heads, queries, keys, part, features, causal, scale, first, last,
):
    block, one = VECTORS * WIDTH // query.itemsize, query.dtype.type(1)
    panel = _whole(min(PANEL, queries), block)
    narrow, width = _whole(part, block), _whole(features, block)
    begin = np.zeros(block, query.dtype)
    top, total = np.empty(panel, query.dtype), np.empty(panel, query.dtype)
    k, v = np.zeros(keys * narrow, query.dtype), np.zeros(keys * width, query.dtype)
    q, q_columns = np.zeros(panel * narrow, query.dtype), np.empty(part * panel, query.dtype)
    u, u_columns = np.zeros(panel * width, query.dtype), np.empty(features * panel, query.dtype)
    scores, slopes = np.empty(keys * panel, query.dtype), np.empty(keys * panel, query.dtype)
    mixed = np.empty(panel * narrow, query.dtype)
    key_sums = np.empty(_whole(keys, ROWS) * narrow, query.dtype)
    value_sums = np.empty(_whole(keys, ROWS) * width, query.dtype)
    key_places, value_places = np.arange(keys) * narrow, np.arange(keys) * width
    score_places, query_places = np.arange(keys) * panel, np.arange(panel)
    mixed_places = np.arange(panel) * narrow
    shift = keys - queries
    for pair in range(first, last):
        _pack(key, k_steps, pair, heads, 0, keys, part, one, k, narrow)
        _pack(value, v_steps, pair, heads, 0, keys, features, one, v, width)
        key_sums[:], value_sums[:] = 0, 0
        for i in range(0, queries, panel):
            count = min(panel, queries - i)
            seen = _seen(i, count, keys, causal, shift)
            _pack(query, q_steps, pair, heads, i, count, part, scale, q, narrow)
            _turn(q, narrow, count, part, q_columns, panel)
            _pack(g, g_steps, pair, heads, i, count, features, one, u, width)
            _turn(u, width, count, features, u_columns, panel)
            _scores(k, key_places, seen, part, q_columns, panel, begin, scores, score_places)
            _hide(scores, panel, seen, count, hidden, pair, heads, i, causal, shift)
            _exponentials(scores, panel, seen, top, total)
            _scores(v, value_places, seen, features, u_columns, panel, begin, slopes, score_places)
            _softmax_gradient(scores, slopes, panel, seen, total)
            _gather(scores, score_places, seen, count, u, width, begin, value_sums)
            _gather(slopes, score_places, seen, count, q, narrow, begin, key_sums)
            _mix(slopes, panel, query_places, seen, count, k, narrow, begin, mixed, mixed_places)
            for n in range(count):
                line = mixed[n * narrow : (n + 1) * narrow]
                for d in range(narrow):
                    line[d] *= scale
            _unpack(mixed, narrow, to_query, tq_steps, pair, heads, i, count, part)
        _spread(key_sums, keys, narrow, k, one)
        _unpack(k, narrow, to_key, tk_steps, pair, heads, 0, keys, part)
        _spread(value_sums, keys, width, v, one)
        _unpack(v, width, to_value, tv_steps, pair, heads, 0, keys, features)
