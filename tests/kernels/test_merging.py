"""Byte-pair merges: the definition against Sennrich's algorithm, the compiled form against it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.kernels import merges

WORDS = st.lists(st.tuples(st.lists(st.integers(0, 3), max_size=14), st.integers(1, 9)), max_size=9)


def flat(rows):
    """Words and counts as the kernels take them."""
    words = [word for word, _ in rows]
    starts = np.cumsum([0, *map(len, words)])
    return np.array([s for word in words for s in word], np.int64), starts, np.array(
        [count for _, count in rows], np.int64
    )


def counted_anew(rows, size, least):
    """Count all pairs anew for each merge, up to a second way to one symbol."""
    words, contents, found = [word for word, _ in rows], [(i,) for i in range(4)], []
    while len(contents) < size:
        often = Counter()
        for word, (_, count) in zip(words, rows):
            for pair in zip(word, word[1:]):  # noqa: RUF007
                often[pair] += count
        if not often or max(often.values()) < least:
            break
        pair = min(often, key=lambda p: (-often[p], p))
        content = contents[pair[0]] + contents[pair[1]]
        if content in contents:
            break
        found.append([*pair, len(contents)])
        words = [plainly_merged(word, pair, len(contents)) for word in words]
        contents.append(content)
    return found


def plainly_merged(word, pair, new):
    merged, at = [], 0
    while at < len(word):
        both = tuple(word[at : at + 2]) == pair
        merged.append(new if both else word[at])
        at += 1 + both
    return merged


@given(WORDS, st.integers(0, 16), st.integers(0, 6))
def test_the_definition_is_that_of_counting_anew(rows, size, least):
    wanted = counted_anew(rows, size, least)
    pairs, made = merges.learn_merges(*flat(rows), 4, size, least)
    assert np.c_[pairs, made].tolist()[: len(wanted)] == wanted
    assert len(made) == len(wanted) or made[len(wanted)] <= 4 + len(wanted)


@given(st.lists(st.integers(0, 3), max_size=40), st.randoms(use_true_random=False))
def test_the_lowest_rank_is_merged_first_from_the_left(word, chance):
    pairs = chance.sample([(a, b) for a in range(8) for b in range(8)], 12)
    made = [4 + i % 4 for i in range(12)]
    ranks = merges.rank_merges(np.array(pairs), np.array(made))
    wanted = list(word)
    while found := [(pairs.index(pair), at) for at, pair in enumerate(zip(wanted, wanted[1:]))  # noqa: RUF007
                    if pair in pairs]:  # fmt: skip
        rank, at = min(found)
        wanted[at : at + 2] = [made[rank]]
    assert merges.merge(np.array(word, np.int64), ranks).tolist() == wanted


@pytest.mark.kernels
def test_the_compiled_form_gives_the_same(compiled):
    fast = compiled("merging")

    @given(WORDS, st.integers(0, 30), st.integers(0, 6))
    def same(rows, size, least):
        wanted, found = (m.learn_merges(*flat(rows), 4, size, least) for m in (merges, fast))
        assert [x.tolist() for x in found] == [x.tolist() for x in wanted]
        assert [x.dtype for x in found] == [x.dtype for x in wanted]
        for word, _ in rows:
            word = np.array(word, np.int64)
            ours = fast.merge(word, fast.rank_merges(*found))
            assert ours.tolist() == merges.merge(word, merges.rank_merges(*wanted)).tolist()

    same()


@pytest.mark.kernels
def test_long_words_and_many_symbols(compiled):
    """Tables and lists grow; contents are long."""
    fast, rng = compiled("merging"), np.random.default_rng(0)
    for symbols in (1, 2, 300):
        words = rng.integers(symbols, size=4000)
        arguments = words, np.array([0, 1, 1500, 1500, 4000]), np.array([5, 2, 7, 1]), symbols, 900
        wanted, found = merges.learn_merges(*arguments), fast.learn_merges(*arguments)
        assert [x.tolist() for x in found] == [x.tolist() for x in wanted]
        ours = fast.merge(words, fast.rank_merges(*found))
        assert ours.tolist() == merges.merge(words, merges.rank_merges(*wanted)).tolist()


@pytest.mark.kernels
def test_of_a_pair_with_two_ranks_the_last_counts(compiled):
    pairs, made = np.array([[0, 1], [1, 1], [0, 1]]), np.array([2, 3, 4])
    for form in (merges, compiled("merging")):
        ranks = form.rank_merges(pairs, made)
        assert form.merge(np.array([0, 1, 1, 0, 1]), ranks).tolist() == [0, 3, 4]
