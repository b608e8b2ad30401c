"""Windows of a text that need not fit into memory, for language models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ..backend import Array, asarray, numpy

BUFFER = 1000  # windows in memory


def windows(
    documents: Iterable[Any], batch: int, time: int, *, seed: int, epoch: int, start: int = 0,
    buffer: int = BUFFER,
) -> Iterator[Array]:  # fmt: skip
    """Arrays (batch, time + 1) of ids, int64: the first ``time`` are read, the last are foretold.

    ``documents`` are lists of ids, one after the other, as ``map(tokenizer.encode, lines(path))``;
    they are joined as they are, so that what shall stand between two must be in them. Windows share
    an id with the next one, hence each id but the first is foretold once; what is left at the end
    is dropped. They are shuffled among ``buffer`` of them; the order follows from ``seed``,
    ``epoch`` and the documents. ``start`` batches are skipped, for a run that continues; the last
    batch has fewer windows where ``batch`` does not divide them. Raises ValueError for a
    ``batch``, ``time`` or ``buffer`` below 1 or a negative ``seed``, ``epoch`` or ``start``.
    """
    if min(batch, time, buffer) < 1 or start < 0:
        raise ValueError(
            "batch, time and buffer must be at least 1 and start at least 0; got "
            f"{batch}, {time}, {buffer} and {start}"
        )
    rng = numpy.random.default_rng([seed, epoch])
    rows = _shuffled(_cut(documents, time), buffer, rng)
    batches = iter(lambda: list(islice(rows, batch)), [])
    return (asarray(numpy.stack(found)) for found in islice(batches, start, None))


def _cut(documents: Iterable[Any], time: int) -> Iterator[numpy.ndarray]:
    """The windows, in the order of the text."""
    kept: list[int] = []
    for document in documents:
        kept += document
        ends = range(time, len(kept), time)
        for end in ends:
            yield numpy.array(kept[end - time : end + 1], numpy.int64)
        del kept[: len(ends) * time]


def _shuffled(items: Iterator[Any], buffer: int, rng: numpy.random.Generator) -> Iterator[Any]:
    """The items, each exchanged for a random one of those that wait."""
    waiting = list(islice(items, buffer))
    for item in items:
        place = int(rng.integers(buffer))
        yield waiting[place]
        waiting[place] = item
    rng.shuffle(waiting)
    yield from waiting
