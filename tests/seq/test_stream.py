"""Windows of a stream."""

import itertools

import pytest

from minae.seq import windows


@pytest.fixture
def found(numpy):
    def run(documents, batch=4, time=3, seed=0, epoch=0, **options):
        made = windows(documents, batch, time, seed=seed, epoch=epoch, **options)
        return [numpy(w) for w in made]

    return run


DOCUMENTS = [list(range(10)), [], [10], list(range(11, 63))]


def test_each_id_is_foretold_once(found):
    batches = found(DOCUMENTS)
    assert [b.shape for b in batches] == [(4, 4)] * 5 and batches[0].dtype == "int64"
    rows = sorted(row.tolist() for batch in batches for row in batch)
    assert rows == [list(range(i, i + 4)) for i in range(0, 60, 3)]  # 61 and 62 are left
    assert [b.shape for b in found(DOCUMENTS, batch=8)] == [(8, 4), (8, 4), (4, 4)]
    assert found([]) == found([[1, 2, 3]]) == []
    assert found([[1, 2, 3, 4]])[0].tolist() == [[1, 2, 3, 4]]


def test_the_order_follows_from_seed_and_epoch_and_a_run_goes_on(found):
    whole = [b.tolist() for b in found(DOCUMENTS, buffer=6)]
    assert whole == [b.tolist() for b in found(iter(DOCUMENTS), buffer=6)]
    assert whole[3:] == [b.tolist() for b in found(DOCUMENTS, buffer=6, start=3)]
    assert whole != [b.tolist() for b in found(DOCUMENTS, buffer=6, epoch=1)]
    other = [b.tolist() for b in found(DOCUMENTS, buffer=6, seed=1)]
    assert whole != other != [b.tolist() for b in found(DOCUMENTS, buffer=6, epoch=1)]


def test_a_buffer_of_one_keeps_the_order_and_of_all_shuffles(found):
    rows = [row[0] for b in found(DOCUMENTS, buffer=1) for row in b]
    assert rows == sorted(rows)
    mixed = [row[0] for b in found(DOCUMENTS, buffer=100) for row in b]
    assert mixed != sorted(mixed) and sorted(mixed) == rows


def test_all_that_wait_take_turns_to_the_end(found):
    """Of 40 windows, 10 at a time: each one of the first 10 may come first, of the last 10 last."""
    runs = [[int(row[0]) for b in found([range(41)], time=1, epoch=epoch, buffer=10) for row in b]
            for epoch in range(200)]  # fmt: skip
    assert {run[0] for run in runs} == {*range(10)}
    assert all(max(run[: i + 1]) < i + 11 for run in runs for i in range(30))
    neighbours = sum(b == a + 1 for run in runs for a, b in itertools.pairwise(run))
    assert neighbours < 0.1 * sum(map(len, runs))
    assert any(run[-2] > run[-1] for run in runs) and any(run[-2] < run[-1] for run in runs)


def test_no_more_is_read_than_is_needed(numpy):
    read = itertools.count()
    endless = ([next(read)] * 3 for _ in itertools.repeat(None))
    first = next(windows(endless, 4, 3, seed=0, epoch=0, buffer=10))
    assert first.shape == (4, 4) and next(read) < 20


@pytest.mark.parametrize("options", [{"batch": 0}, {"time": 0}, {"buffer": 0}, {"start": -1}])
def test_what_makes_no_windows_is_refused(options):
    with pytest.raises(ValueError, match="must be at least 1"):
        windows([[1]], **({"batch": 1, "time": 1, "seed": 0, "epoch": 0} | options))
