"""Windows of a text, pairs of sequences and trees: what an epoch holds, and going on within one."""

import numpy as np
import pytest

from minae.seq import Labeled, Pairs, Sequences, Windows, read_brackets


def taken(data, size, numpy, **where):
    return [numpy(x) for x in data.batches(size, **where)]


def test_windows_lie_side_by_side_from_a_random_beginning(numpy):
    beginnings = set()
    for epoch in range(40):
        found = np.concatenate(taken(Windows(range(103), 10), 4, numpy, seed=0, epoch=epoch))
        assert found.shape == (9, 11) and found.dtype == np.int64
        np.testing.assert_array_equal(found - found[:, :1], np.arange(11)[None].repeat(9, 0))
        first = np.sort(found[:, 0])
        np.testing.assert_array_equal(np.diff(first), 10)
        beginnings.add(int(first[0]))
    assert beginnings == set(range(10))


def test_windows_follow_from_seed_epoch_and_start(numpy):
    data = Windows(np.arange(500, dtype="u2"), 7)
    whole = taken(data, 5, numpy, seed=3, epoch=2)
    assert sum(map(len, whole)) == len(data)
    for a, b in zip(whole[4:], taken(data, 5, numpy, seed=3, epoch=2, start=4), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(whole[0], taken(data, 5, numpy, seed=3, epoch=3)[0])
    assert not np.array_equal(whole[0], taken(data, 5, numpy, seed=4, epoch=2)[0])


def test_the_shortest_text_is_one_window(numpy):
    ((window,),) = taken(Windows([4, 5, 6], 2), 8, numpy, seed=0, epoch=5)
    assert window.tolist() == [4, 5, 6]
    with pytest.raises(ValueError, match="2 ids are no window of 2 steps and one more"):
        Windows([4, 5], 2)
    with pytest.raises(TypeError, match="integers of one text"):
        Windows([[1, 2]], 1)


def test_pairs_stay_together_and_are_padded(numpy):
    sources = [[n] * (n % 5 + 1) for n in range(23)]
    targets = [[100 + n] * (n % 3) for n in range(23)]
    data, seen = Pairs(sources, targets), []
    for source, target in data.batches(4, seed=1, epoch=0):
        for a, m, b, k in zip(*map(numpy, (*source, *target)), strict=True):
            n = int(a[0])
            assert a[:m].tolist() == sources[n] and b[:k].tolist() == targets[n]
            assert not a[m:].any() and not b[k:].any()
            seen.append(n)
    assert sorted(seen) == list(range(23))
    first, *_ = data.batches(4, seed=1, epoch=0, start=3)
    *_, third = (x for x, _ in zip(data.batches(4, seed=1, epoch=0), range(4)))
    np.testing.assert_array_equal(numpy(first[0].values), numpy(third[0].values))


def test_pairs_of_like_length_in_all_come_together(numpy):
    pairs = Pairs([[0]] * 40, [[1] * (1 + n % 4) for n in range(40)])
    lengths = [set(numpy(target.lengths).tolist()) for _, target in pairs.batches(
        10, seed=0, epoch=0)]  # fmt: skip
    assert sorted(lengths, key=min) == [{1}, {2}, {3}, {4}]


def test_more_goes_beside_pairs(numpy):
    sources = [[n] * (n + 1) for n in range(9)]
    copies = [[10 + n] * (n + 1) for n in range(9)]
    batches = list(Pairs(sources, [[0]] * 9, copies).batches(4, seed=0, epoch=0))
    for source, _, copy in batches:
        mask = numpy(source.mask)
        np.testing.assert_array_equal(numpy(source.values) + 10 * mask, numpy(copy.values))
    assert sum(len(source.values) for source, *_ in batches) == 9


def test_pairs_that_are_none():
    with pytest.raises(ValueError, match="2 sources and 2 targets, 1 more"):
        Pairs([[1], [2]], [[1], [2]], [[1]])
    with pytest.raises(ValueError, match="2 sources and 1 targets"):
        Pairs([[1], [2]], [[1]])
    with pytest.raises(ValueError, match="0 sources"):
        Pairs([], [])


def labeled(count):
    """Trees of 1 to 4 words, of which each word and label tells the tree's number."""
    rows = [f"({n} ({n} w{n}) " * (n % 4) + f"({n} w{n})" + ")" * (n % 4) for n in range(count)]
    trees = list(read_brackets(rows))
    ids = [[[int(tree.labels[0]), 7]] * len(tree.leaves) for tree in trees]
    return Labeled(trees, ids, [[int(label) for label in tree.labels] for tree in trees])


def test_trees_keep_their_ids_and_labels(numpy):
    data, seen = labeled(23), []
    assert data.unit == "trees" and len(data) == 23
    for forest, ids, labels in data.batches(4, seed=1, epoch=0):
        assert [str(n) for n in numpy(labels)] == forest.labels
        words = [forest.words[leaf] for leaf in forest.leaves]
        assert [f"w{n}" for n, _ in numpy(ids).tolist()] == words
        seen += [int(forest.labels[i]) for i in forest.roots]
    assert sorted(seen) == list(range(23))
    first, *_ = data.batches(4, seed=1, epoch=0, start=3)
    *_, third = (x for x, _ in zip(data.batches(4, seed=1, epoch=0), range(4)))
    assert first[0] == third[0]


def test_trees_of_one_height_come_together():
    data = labeled(40)
    heights = [{int(tree.level.max()) for tree in forest.trees}
               for forest, *_ in data.batches(10, seed=0, epoch=0)]
    assert sorted(heights, key=min) == [{0}, {1}, {2}, {3}]


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": -1}, {"start": -1}, {"seed": -1}], ids=str)
def test_what_makes_no_batches_is_refused_at_once(wrong):
    for data in (Windows(range(9), 2), Sequences([[1]]), Pairs([[1]], [[2]]), labeled(3)):
        with pytest.raises(ValueError, match=r"at least|non-negative"):
            data.batches(**({"size": 2, "seed": 0, "epoch": 0} | wrong))


def test_labels_that_do_not_fit():
    data = labeled(3)
    few, wrong = data.ids[:2], [[0]] * 3
    for ids, labels in ((few, data.labels), (data.ids, wrong), (wrong, data.labels)):
        with pytest.raises(ValueError, match="ids for their leaves and labels for nodes"):
            Labeled(data.trees, ids, labels)
    with pytest.raises(ValueError, match="there must be trees"):
        Labeled([], [], [])
