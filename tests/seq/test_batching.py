"""Batches of like length."""

from itertools import chain

import numpy as np
import pytest

from minae.seq import batches_by_length

LENGTHS = np.random.default_rng(0).integers(1, 60, 3001)


def order(**options):
    options = {"seed": 1, "epoch": 2} | options
    return [batch.tolist() for batch in batches_by_length(LENGTHS, 32, **options)]


def test_each_sequence_comes_once_an_epoch():
    batches = order()
    assert sorted(chain(*batches)) == list(range(3001))
    assert sorted(map(len, batches)) == [3001 % 32, *[32] * (3001 // 32)]


def test_a_run_goes_on_where_it_stopped():
    assert order(start=40) == order()[40:] and order(start=10**9) == []
    assert order() != order(epoch=3) != order(seed=2, epoch=3) != order(seed=2)


def test_little_is_padded_and_batches_are_shuffled():
    batches = order()
    padding = sum(LENGTHS[b].max() * len(b) - LENGTHS[b].sum() for b in batches) / LENGTHS.sum()
    assert padding < 0.03
    means = [LENGTHS[b].mean() for b in batches]
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.3
    near = order(pool=1)  # sorted among themselves alone: as random as without lengths
    assert np.std([LENGTHS[b].mean() for b in near]) < 5 < 15 < np.std(means)


def test_sequences_meet_others_in_each_epoch():
    pairs = [{frozenset(b[i : i + 2]) for b in order(epoch=e) for i in range(0, len(b) - 1, 2)}
             for e in (0, 1)]  # fmt: skip
    assert len(pairs[0] & pairs[1]) < 100 < 1400 < len(pairs[0])


@pytest.mark.parametrize(
    "lengths, options, what",
    [
        ([], {}, "one or more sequences"),
        ([[1]], {}, "one or more sequences"),
        ([1], {"size": 0}, "size and pool must be at least 1"),
        ([1], {"pool": 0}, "size and pool must be at least 1"),
        ([1], {"start": -1}, "start at least 0"),
        ([1], {"seed": -1}, "non-negative"),
    ],
)
def test_what_makes_no_batches_is_refused(lengths, options, what):
    with pytest.raises(ValueError, match=what):
        batches_by_length(lengths, **({"size": 2, "seed": 0, "epoch": 0} | options))
