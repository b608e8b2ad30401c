"""Byte-pair merges: which neighbouring symbols become one, learned from counted words, applied to a
word (Sennrich, Haddow and Birch 2016)."""

from __future__ import annotations

from collections import defaultdict
from heapq import heapify, heappop, heappush, heapreplace
from itertools import pairwise

Pair = tuple[int, int]


def learn(
    words: list[list[int]], counts: list[int], symbols: list[str], size: int, least: int = 1,
    prefix: str = "",
) -> list[tuple[Pair, int]]:  # fmt: skip
    """The merges, in their order: the pair of ids, and the id of what it becomes.

    ``words`` are lists of ids and change; each occurs as often as ``counts`` says. ``symbols``, by
    id, grow until there are ``size``, or until no pair occurs ``least`` times. The most frequent
    pair is merged first; of equally frequent ones, the least. The second symbol of a pair loses
    ``prefix``. The same merges as Hugging Face's trainer, in the same order.
    """
    ids = {symbol: i for i, symbol in enumerate(symbols)}
    often: defaultdict[Pair, int] = defaultdict(int)
    places: defaultdict[Pair, list[int]] = defaultdict(list)  # the words that hold the pair
    for i, (word, count) in enumerate(zip(words, counts)):
        for pair in pairwise(word):
            often[pair] += count
            places[pair].append(i)
    heap = [(-often[pair], pair, found) for pair, found in places.items()]
    heapify(heap)
    merges = []
    while heap and len(symbols) < size:
        negative, pair, found = heap[0]
        if often[pair] != -negative:  # it has become rarer since
            heapreplace(heap, (-often[pair], pair, found))
            continue
        if -negative < max(least, 1):
            break
        heappop(heap)
        first, second = pair
        symbol = symbols[first] + symbols[second].removeprefix(prefix)
        new = ids.setdefault(symbol, len(symbols))  # another pair may have made it before
        if new == len(symbols):
            symbols.append(symbol)
        merges.append((pair, new))
        places.clear()  # of what was new in the step before
        for i in dict.fromkeys(found):
            _merge(words[i], first, second, new, counts[i], often, places, i)
        for pair, found in places.items():
            if often[pair] > 0:
                heappush(heap, (-often[pair], pair, found))
    return merges


def _merge(
    word: list[int], first: int, second: int, new: int, count: int,
    often: defaultdict[Pair, int], places: defaultdict[Pair, list[int]], number: int,
) -> None:  # fmt: skip
    """Merge the pair within one word, and count its neighbours anew."""
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
                places[before, new].append(number)
            word[at : at + 2] = [new]
            if at + 1 < len(word):
                after = word[at + 1]
                often[second, after] -= count
                often[new, after] += count
                places[new, after].append(number)
        at += 1


def apply(word: list[int], ranks: dict[Pair, tuple[int, int]]) -> list[int]:
    """``word``, a list of ids, after all merges: the one of the lowest rank first, from the left.

    ``ranks`` gives for a pair of ids its rank and the id of what it becomes.
    """
    end = len(word)
    ids = [*word, -1]  # -1: no symbol, at the end and where one was merged into the one before
    right = list(range(1, end + 2))
    left = list(range(-1, end))
    heap = [
        (found[0], at, found[1])
        for at, pair in enumerate(pairwise(word))
        if (found := ranks.get(pair))
    ]
    heapify(heap)
    while heap:
        rank, at, new = heappop(heap)
        after = right[at]
        if ids[at] < 0 or ranks.get((ids[at], ids[after]), (None,))[0] != rank:
            continue  # one of the two has changed since
        ids[at], ids[after] = new, -1
        right[at] = after = right[after]
        if after < end:
            left[after] = at
            if found := ranks.get((new, ids[after])):
                heappush(heap, (found[0], at, found[1]))
        if (before := left[at]) >= 0 and (found := ranks.get((ids[before], new))):
            heappush(heap, (found[0], before, found[1]))
    return [i for i in ids if i >= 0]
