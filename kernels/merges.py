"""Byte-pair merges by their definition: which neighbouring symbols become one, learned from counted
words, and applied to a word (Sennrich, Haddow and Birch 2016). For NumPy alone, as all text is."""

from __future__ import annotations

from collections import defaultdict
from heapq import heapify, heappop, heappush, heapreplace
from itertools import pairwise
from typing import Any

import numpy as np


def learn_merges(
    words: Any, starts: Any, counts: Any, symbols: int, size: int, least: int = 1
) -> tuple[Any, Any]:
    """The pairs of symbols (merges, 2) in the order in which they are merged, and the symbol
    (merges,) that each becomes; all are int64.

    ``words`` are the symbols of all words, one after the other, numbers below ``symbols``; word i
    begins at ``starts[i]``, the last one ends at ``starts[-1]``, and each occurs as often as
    ``counts`` says. New symbols are numbered on from ``symbols``, until there are ``size`` of them
    or no pair occurs ``least`` times. The most frequent pair is merged first, of equally frequent
    ones the least. Two pairs that make the same sequence make the same symbol. These are the merges
    of Hugging Face's trainer, in its order.
    """
    often: defaultdict[tuple[int, int], int] = defaultdict(int)
    places: defaultdict[tuple[int, int], list[int]] = defaultdict(list)  # the words with the pair
    flat, bounds, weights = words.tolist(), starts.tolist(), counts.tolist()
    lists = [flat[start:end] for start, end in pairwise(bounds)]
    for i, word in enumerate(lists):
        for pair in pairwise(word):
            often[pair] += weights[i]
            places[pair].append(i)
    heap = [(-often[pair], pair, found) for pair, found in places.items()]
    heapify(heap)
    contents: list[tuple[int, ...]] = [(symbol,) for symbol in range(symbols)]
    known: dict[tuple[int, ...], int] = {}
    pairs, made = [], []
    while heap and len(contents) < size:
        negative, pair, found = heap[0]
        if often[pair] != -negative:  # it has become rarer since
            heapreplace(heap, (-often[pair], pair, found))
            continue
        if -negative < max(least, 1):
            break
        heappop(heap)
        content = contents[pair[0]] + contents[pair[1]]
        new = known.setdefault(content, len(contents))
        if new == len(contents):
            contents.append(content)
        pairs.append(pair)
        made.append(new)
        places.clear()  # of what was new in the step before
        for i in dict.fromkeys(found):
            _merge(lists[i], pair, new, weights[i], often, places, i)
        for other, found in places.items():
            if often[other] > 0:
                heappush(heap, (-often[other], other, found))
    return np.array(pairs, np.int64).reshape(-1, 2), np.array(made, np.int64)


def _merge(
    word: list[int], pair: tuple[int, int], new: int, count: int, often: Any, places: Any, i: int
) -> None:
    """Merge the pair within word ``i``, and count its neighbours anew."""
    first, second = pair
    at = 0
    while True:
        try:
            at = word.index(first, at, -1)
        except ValueError:
            return
        if word[at + 1] == second:
            if at:
                before = word[at - 1]
                often[before, first] -= count
                often[before, new] += count
                places[before, new].append(i)
            word[at : at + 2] = [new]
            if at + 1 < len(word):
                after = word[at + 1]
                often[second, after] -= count
                often[new, after] += count
                places[new, after].append(i)
        at += 1


def rank_merges(pairs: Any, made: Any) -> Any:
    """``pairs`` (merges, 2) and the symbols ``made`` (merges,) of them, as ``merge`` wants them."""
    rows = zip(map(tuple, pairs.tolist()), made.tolist())
    return {pair: (rank, new) for rank, (pair, new) in enumerate(rows)}


def merge(word: Any, ranks: Any) -> Any:
    """``word``, int64 symbols, after all merges: each time, the pair that comes first in ``ranks``
    becomes one, the leftmost of them. ``ranks`` are those of ``rank_merges``."""
    symbols = [*word.tolist(), -1]  # -1: none, at the end and where one was merged with another
    end = len(symbols) - 1
    right, left = list(range(1, end + 2)), list(range(-1, end))
    heap = [
        (found[0], at, found[1])
        for at, pair in enumerate(pairwise(symbols))
        if (found := ranks.get(pair))
    ]
    heapify(heap)
    while heap:
        rank, at, new = heappop(heap)
        after = right[at]
        if symbols[at] < 0 or ranks.get((symbols[at], symbols[after]), (None,))[0] != rank:
            continue  # one of the two has changed since
        symbols[at], symbols[after] = new, -1
        right[at] = after = right[after]
        if after < end:
            left[after] = at
            if found := ranks.get((new, symbols[after])):
                heappush(heap, (found[0], at, found[1]))
        if (before := left[at]) >= 0 and (found := ranks.get((symbols[before], new))):
            heappush(heap, (found[0], before, found[1]))
    return np.array([symbol for symbol in symbols if symbol >= 0], np.int64)
