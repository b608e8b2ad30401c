"""Sums over all structures of a chart, level by level, in any semiring.

A chart is a row of cells. Each has a score, and some have terms besides: a term is a cell at the
left times a cell at the right, and such a cell is worth its score times the sum of its terms. The
last cell is the root, whose own score is not -inf; what it is worth is the sum over all structures
of the product of their scores. A structure is a choice of one term at the root, of one at both
cells of that, and so on; the cells that it meets are its parts.

Which cells have which terms is said by Levels: what a level reads, those before it have made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from minae.backend import Array, xp


class Level(NamedTuple):
    """Cells that can be computed together: ``size`` of them, with ``terms`` terms each.

    Cell i is ``cells[0] + i cells[1]``, and its term k has at its left the cell
    ``left[0] + i left[1] + k left[2]``, at its right one by ``right``. Of the cells at the left no
    two are the same, or all the cells of the level have the same (``left[1] == 0``); at the right
    too. A structure meets a cell that has terms once at most.
    """

    size: int
    terms: int
    cells: tuple[int, int]
    left: tuple[int, int, int]
    right: tuple[int, int, int]

    def places(self) -> tuple[Array, Array, Array]:
        """The cells (size,), those at the left and those at the right (size, terms).

        A side that all cells share is (1, terms).
        """
        first, step = self.cells
        sides = []
        for start, by_cell, by_term in (self.left, self.right):
            rows = xp.arange(self.size if by_cell else 1)[:, None] * by_cell
            sides.append(start + rows + by_term * xp.arange(self.terms))
        return first + step * xp.arange(self.size), *sides


def chart_total(x: Array, levels: Sequence[Level], semiring: Any) -> Array:
    """The sum over all structures of each chart, (batch,), from the scores ``x`` (batch, cells).

    ``levels`` say which cells have which terms, and ``semiring``, one of ``minae.seq.semirings``,
    what a sum is and a product. Computed in float64, in the dtype of x.
    """
    return semiring.total(_filled(x, levels, semiring)[-1]).astype(x.dtype)


def chart_parts(x: Array, levels: Sequence[Level], semiring: Any) -> Array:
    """What each cell has in the sum over all structures of its chart, in the shape of ``x``.

    ``levels`` are those of the chart. In the semiring ``Log`` it is the probability of each part;
    other ones say of ``semiring`` what it is.
    """
    chart = _filled(x, levels, semiring)
    parts = semiring.start(chart)
    end = sum(level.size for level in levels)
    for level in reversed(levels):
        cells, left, right = level.places()
        items = slice(end - level.size, end)
        end -= level.size
        terms = semiring.times(chart[left], chart[right])
        given = semiring.give(parts[cells], terms, items)
        for side in (left, right):
            shared = len(side) < level.size
            parts[side] += given.sum(axis=0, keepdims=True) if shared else given
    return semiring.parts(parts).astype(x.dtype)


def _filled(x: Array, levels: Sequence[Level], semiring: Any) -> Array:
    """What each cell is worth: (cells, ..., batch)."""
    chart = semiring.lift(x.T.astype("float64"))
    for level in levels:
        cells, left, right = level.places()
        total = semiring.plus(semiring.times(chart[left], chart[right]))
        chart[cells] = semiring.times(chart[cells], total)
    return chart
