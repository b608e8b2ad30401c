"""Byte-pair merges: the algorithm of the definition, on arrays.

A pair is one number, its first symbol in the upper half. Whatever grows with the text is a flat
array: dense tables with a hash table that points into them, linked lists of words, a binary heap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .compiler import array, inline, kernel

_NUMBERS = np.dtype(np.int64)
_i8 = array(types.int64)


def learn_merges(
    words: Any, starts: Any, counts: Any, symbols: int, size: int, least: int = 1
) -> tuple[Any, Any]:
    """See ``merges.learn_merges``."""
    words, starts, counts = (np.ascontiguousarray(x, np.int64) for x in (words, starts, counts))
    merges = _learn[_NUMBERS](words, starts, counts, symbols, size, max(least, 1))
    return merges[:2].T, merges[2]


def rank_merges(pairs: Any, made: Any) -> Any:
    """See ``merges.rank_merges``."""
    keys = np.ascontiguousarray((pairs[:, 0] << 32 | pairs[:, 1])[None], np.int64)
    made = np.ascontiguousarray(made, np.int64)
    return keys, _hashed[_NUMBERS](keys), made


def merge(word: Any, ranks: Any) -> Any:
    """See ``merges.merge``."""
    return _merge[_NUMBERS](np.ascontiguousarray(word, np.int64), *ranks)


# --- Hash tables: places of keys, which are row 0 of a dense array, and -1 where there is none ----


@inline
def _slot(table, dense, key):
    """Where the place of ``key`` is in the table, or where it belongs."""
    mask = table.size - 1
    at = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)) & mask
    while table[at] >= 0 and dense[0, table[at]] != key:
        at = (at + 1) & mask
    return at


@inline
def _table(dense, count, room):
    """The table of the first ``count`` keys, at most half full when there are ``room`` of them."""
    size = 16
    while size < 2 * room:
        size *= 2
    table = np.full(size, -1, np.int64)
    for i in range(count):
        table[_slot(table, dense, dense[0, i])] = i
    return table


# --- A heap (rows, entries): the greatest of row 0 is above, of equal ones the least of row 1 -----


@inline
def _above(heap, i, j):
    return heap[0, i] > heap[0, j] or (heap[0, i] == heap[0, j] and heap[1, i] < heap[1, j])


@inline
def _exchange(heap, i, j):
    for row in range(heap.shape[0]):
        heap[row, i], heap[row, j] = heap[row, j], heap[row, i]


@inline
def _up(heap, at):
    """Put an entry that may be too far below into its place."""
    while at and _above(heap, at, (at - 1) // 2):
        _exchange(heap, at, (at - 1) // 2)
        at = (at - 1) // 2


@inline
def _down(heap, size):
    """Put the first entry, which may be too far above, into its place among ``size``."""
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _above(heap, child + 1, child):
            child += 1
        if not _above(heap, child, at):
            return
        _exchange(heap, at, child)
        at = child


# --- Learning -------------------------------------------------------------------------------------
# pairs (3, room): the pair, how often it occurs, the first of the links to the words in which it
# became more frequent during this step. links (2, most): the word, the next link. state: how many
# pairs, links and pairs that became more frequent there are. heap: how often, the pair, its links.


@inline
def _gain(key, weight, i, table, pairs, links, risen, state):
    """The pair occurs once more in word i, which occurs ``weight`` times."""
    slot = _slot(table, pairs, key)
    if table[slot] < 0:
        table[slot] = state[0]
        pairs[0, state[0]], pairs[1, state[0]], pairs[2, state[0]] = key, 0, -1
        state[0] += 1
    entry = table[slot]
    pairs[1, entry] += weight
    head = pairs[2, entry]
    if head < 0:
        risen[state[2]] = entry
        state[2] += 1
    if head < 0 or links[0, head] != i:
        links[0, state[1]], links[1, state[1]] = i, head
        pairs[2, entry] = state[1]
        state[1] += 1


@inline
def _lose(key, weight, table, pairs):
    pairs[1, table[_slot(table, pairs, key)]] -= weight


@inline
def _queue(heap, waiting, pairs, risen, state):
    """Put what became more frequent into the heap, and begin anew. Returns how many wait there."""
    for entry in risen[: state[2]]:
        if pairs[1, entry] > 0:
            heap[0, waiting], heap[1, waiting] = pairs[1, entry], pairs[0, entry]
            heap[2, waiting] = pairs[2, entry]
            _up(heap, waiting)
            waiting += 1
        pairs[2, entry] = -1
    state[2] = 0
    return waiting


@inline
def _roomy(table, pairs, count, more):
    """The same table and pairs, or longer ones, where there is room for ``more``."""
    if count + more > pairs.shape[1]:
        longer = np.empty((3, 2 * (count + more)), np.int64)
        longer[:, :count] = pairs[:, :count]
        return _table(longer, count, longer.shape[1]), longer
    return table, pairs


@inline
def _name(table, contents, ends, last):
    """The place of the first of the contents that equals the one at the place ``last``."""
    start, size = ends[last], ends[last + 1] - ends[last]
    mixed = np.uint64(size)
    for k in range(start, start + size):
        mixed = (mixed ^ np.uint64(contents[k])) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    at = np.int64(mixed >> np.uint64(24)) & (table.size - 1)
    while table[at] >= 0:
        other = ends[table[at]]
        same = ends[table[at] + 1] - other == size
        for k in range(size if same else 0):
            same &= contents[other + k] == contents[start + k]
        if same:
            return table[at]
        at = (at + 1) & (table.size - 1)
    table[at] = last
    return last


@kernel(lambda f: (_i8, _i8, _i8, *[types.int64] * 3))
def _learn(base, starts, counts, symbols, size, least):
    words, lengths, most = base.copy(), starts[1:] - starts[:-1], 3 * base.size + 1
    pairs = np.empty((3, 64), np.int64)
    table = _table(pairs, 0, 64)
    links, heap, waiting = np.empty((2, most), np.int64), np.empty((3, most), np.int64), 0
    risen, state = np.empty(most, np.int64), np.zeros(3, np.int64)
    # The base symbols that each new symbol consists of: what the same ones make is the same.
    contents, ends = np.empty(64, np.int64), np.zeros(max(size - symbols, 0) + 2, np.int64)
    names, known = np.full(_table(pairs, 0, ends.size).size, -1, np.int64), 0
    merges, count = np.empty((3, most), np.int64), 0
    for i in range(lengths.size):
        table, pairs = _roomy(table, pairs, state[0], lengths[i])
        for at in range(starts[i], starts[i] + lengths[i] - 1):
            key = words[at] << 32 | words[at + 1]
            _gain(key, counts[i], i, table, pairs, links, risen, state)
    waiting = _queue(heap, waiting, pairs, risen, state)
    while waiting and symbols + known < size:
        often, key, link = heap[0, 0], heap[1, 0], heap[2, 0]
        now = pairs[1, table[_slot(table, pairs, key)]]
        if now != often:  # it has become rarer since
            heap[0, 0] = now
            _down(heap, waiting)
            continue
        if often < least:
            break
        waiting -= 1
        _exchange(heap, 0, waiting)
        _down(heap, waiting)
        first, second = key >> 32, key & 0xFFFFFFFF
        end = ends[known]
        for part in (first, second):
            start = ends[max(part - symbols, 0)]
            length = 1 if part < symbols else ends[part - symbols + 1] - start
            if end + length > contents.size:
                longer = np.empty(2 * (end + length), np.int64)
                longer[:end] = contents[:end]
                contents = longer
            if part < symbols:
                contents[end] = part
            else:
                contents[end : end + length] = contents[start : start + length]
            end += length
        ends[known + 1] = end
        name = _name(names, contents, ends, known)
        known += name == known
        new = symbols + name
        merges[0, count], merges[1, count], merges[2, count] = first, second, new
        count += 1
        while link >= 0:
            i, link = links[0, link], links[1, link]
            table, pairs = _roomy(table, pairs, state[0], 2 * lengths[i])
            at, out, end, weight = starts[i], starts[i], starts[i] + lengths[i], counts[i]
            while at < end:
                if at + 1 < end and words[at] == first and words[at + 1] == second:
                    if out > starts[i]:
                        _lose(words[out - 1] << 32 | first, weight, table, pairs)
                        before = words[out - 1] << 32 | new
                        _gain(before, weight, i, table, pairs, links, risen, state)
                    if at + 2 < end:
                        _lose(second << 32 | words[at + 2], weight, table, pairs)
                        after = new << 32 | words[at + 2]
                        _gain(after, weight, i, table, pairs, links, risen, state)
                    words[out] = new
                    at += 1
                else:
                    words[out] = words[at]
                at += 1
                out += 1
            lengths[i] = out - starts[i]
        waiting = _queue(heap, waiting, pairs, risen, state)
    return merges[:, :count].copy()


# --- Merging --------------------------------------------------------------------------------------


@kernel(lambda f: (types.Array(types.int64, 2, "C", readonly=True),))
def _hashed(keys):
    return _table(keys, keys.shape[1], keys.shape[1])


@inline
def _ranked(heap, waiting, at, first, second, keys, table):
    """Put the pair at this place into the heap, if it has a rank. Returns how many wait there."""
    if first >= 0 and second >= 0:
        rank = table[_slot(table, keys, first << 32 | second)]
        if rank >= 0:
            heap[0, waiting], heap[1, waiting] = -rank, at
            _up(heap, waiting)
            waiting += 1
    return waiting


@kernel(lambda f: (_i8, types.Array(types.int64, 2, "C", readonly=True), _i8, _i8))
def _merge(word, keys, table, made):
    end = word.size
    symbols = np.full(end + 1, -1, np.int64)  # -1: none, at the end and where one was merged
    symbols[:end] = word
    right, left = np.arange(1, end + 2), np.arange(-1, end)
    heap, waiting = np.empty((2, 3 * end + 1), np.int64), 0
    for at in range(end):
        waiting = _ranked(heap, waiting, at, symbols[at], symbols[at + 1], keys, table)
    while waiting:
        rank, at = -heap[0, 0], heap[1, 0]
        waiting -= 1
        _exchange(heap, 0, waiting)
        _down(heap, waiting)
        after = right[at]
        if symbols[at] < 0 or keys[0, rank] != (symbols[at] << 32 | symbols[after]):
            continue  # one of the two has changed since
        symbols[at] = made[rank]
        symbols[after] = -1
        after, before = right[after], left[at]
        right[at] = after
        left[after] = at
        waiting = _ranked(heap, waiting, at, symbols[at], symbols[after], keys, table)
        if before >= 0:
            waiting = _ranked(heap, waiting, before, symbols[before], symbols[at], keys, table)
    return symbols[symbols >= 0]
