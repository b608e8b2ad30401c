"""Data that hand out their own batches: windows of a text, sequences, pairs of them, trees.

Each follows from (seed, epoch, start) alone, so that a run that was interrupted needs no state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..backend import Array, asarray, describe, numpy
from ..transfer import uploads
from .batching import batches_by_length
from .padded import Padded, pad
from .trees import Forest, Tree


class Windows:
    """A text in memory, ``ids`` in a list or a host array, as windows of ``time`` steps.

    In each epoch they lie side by side, from a random beginning on, and come in a random order.
    Raises ValueError where the text is shorter than one window.
    """

    unit = "windows"

    def __init__(self, ids: Any, time: int) -> None:
        self.ids, self.time = numpy.asarray(ids), time
        if self.ids.ndim != 1 or self.ids.dtype.kind not in "iu":
            raise TypeError(f"ids must be the integers of one text, got {describe(self.ids)}")
        if time < 1 or len(self) < 1:
            raise ValueError(f"{len(self.ids)} ids are no window of {time} steps and one more:"
                             " take a longer text, or fewer steps")

    def __len__(self) -> int:
        """How many windows an epoch has; one fewer than fit, which leaves room for the beginning.
        """
        whole = (len(self.ids) - 1) // self.time
        return max(whole - 1, min(whole, 1))

    def batches(self, size: int, *, seed: int, epoch: int, start: int = 0) -> Iterator[Array]:
        """Arrays (size, time + 1), int64: all but the last are read, all but the first foretold.

        ``size``, ``seed``, ``epoch`` and ``start`` are those of ``data.batch_indices``, and so is
        what is raised.
        """
        if size < 1 or start < 0:
            raise ValueError(f"size must be at least 1 and start at least 0; got {size}, {start}")
        rng = numpy.random.default_rng([seed, epoch])
        room = len(self.ids) - 1 - len(self) * self.time
        places = rng.integers(min(room, self.time - 1) + 1) + self.time * rng.permutation(len(self))
        steps = numpy.arange(self.time + 1)
        begins = range(start * size, len(self), size)
        return uploads(
            self.ids[places[i : i + size, None] + steps].astype(numpy.int64) for i in begins
        )


class Sequences:
    """The ids of ``sequences``, a list of lists. Raises ValueError where there are none."""

    unit = "sequences"

    def __init__(self, sequences: Sequence[Any]) -> None:
        if not len(sequences):
            raise ValueError("there is no sequence")
        self.sequences, self.lengths = sequences, [len(ids) for ids in sequences]

    def __len__(self) -> int:
        return len(self.sequences)

    def batches(self, size: int, *, seed: int, epoch: int, start: int = 0) -> Iterator[Padded]:
        """Those of like length together, padded: see ``batches_by_length``, which says what
        ``size``, ``seed``, ``epoch`` and ``start`` are."""
        order = batches_by_length(self.lengths, size, seed=seed, epoch=epoch, start=start)
        return (pad(self.sequences[i] for i in chosen) for chosen in order)


class Pairs:
    """The ids of ``sources``, and the ``targets`` that each is to become: two lists of lists.

    ``more`` lists of lists, such as what copies of the sources are, go beside them. Raises
    ValueError where there are none, or more of the one than of the other.
    """

    unit = "pairs"

    def __init__(
        self, sources: Sequence[Any], targets: Sequence[Any], *more: Sequence[Any]
    ) -> None:
        self.sides = (sources, targets, *more)
        if any(len(side) != len(sources) for side in self.sides) or not len(sources):
            others = "".join(f", {len(side)} more" for side in more)
            raise ValueError(f"{len(sources)} sources and {len(targets)} targets{others} are no"
                             " pairs")
        self.sources, self.targets = sources, targets
        self.lengths = [len(a) + len(b) for a, b in zip(sources, targets)]

    def __len__(self) -> int:
        return len(self.sources)

    def batches(
        self, size: int, *, seed: int, epoch: int, start: int = 0
    ) -> Iterator[tuple[Padded, ...]]:
        """Pairs of like length together, each side padded: see ``batches_by_length``, which says
        what ``size``, ``seed``, ``epoch`` and ``start`` are."""
        order = batches_by_length(self.lengths, size, seed=seed, epoch=epoch, start=start)
        return (tuple(pad(side[i] for i in chosen) for side in self.sides) for chosen in order)


class Labeled:
    """Trees with the ids of their words and a label at each node.

    ``ids`` has for each of ``trees`` a list with an entry for each leaf, an id or several, and
    ``labels`` one with an integer for each node. Raises ValueError where there are none, and where
    numbers do not agree.
    """

    unit = "trees"

    def __init__(self, trees: Sequence[Tree], ids: Sequence[Any], labels: Sequence[Any]) -> None:
        self.trees, self.ids, self.labels = trees, ids, labels
        sizes = [(len(tree.leaves), len(tree)) for tree in trees]
        if not sizes or sizes != [*zip(map(len, ids), map(len, labels))]:
            raise ValueError("there must be trees, with ids for their leaves and labels for nodes")
        self.levels = [int(tree.level.max()) for tree in trees]

    def __len__(self) -> int:
        return len(self.trees)

    def batches(
        self, size: int, *, seed: int, epoch: int, start: int = 0
    ) -> Iterator[tuple[Forest, Array, Array]]:
        """Trees of like height together: a forest, the ids of its leaves, the labels of its nodes.

        ``size``, ``seed``, ``epoch`` and ``start`` are those of ``batches_by_length``.
        """
        order = batches_by_length(self.levels, size, seed=seed, epoch=epoch, start=start)
        return map(self.taken, order)

    def taken(self, chosen: Any) -> tuple[Forest, Array, Array]:
        """Those with the numbers ``chosen``, as a batch."""
        chosen = list(chosen)
        ids, labels = (
            asarray(numpy.concatenate([numpy.asarray(of[i], "int64") for i in chosen]))
            for of in (self.ids, self.labels)
        )
        return Forest(self.trees[i] for i in chosen), ids, labels
