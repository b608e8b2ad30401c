"""Sequences of several lengths in one array."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..backend import Array, asarray, numpy, xp


class Padded(NamedTuple):
    """Sequences side by side, the shorter ones filled up at their right."""

    values: Array  # (batch, time, ...)
    lengths: Array  # (batch,): how many of each row's entries are its own; int64

    @property
    def mask(self) -> Array:
        """(batch, time), bool: True where an entry is the sequence's own."""
        return xp.arange(self.values.shape[1]) < self.lengths[:, None]


def pad(sequences: Iterable[Any], value: Any = 0) -> Padded:
    """``sequences``, lists or host arrays (time, ...), as one array, filled up with ``value``.

    Integers become int64; other numbers keep their dtype, and lists of floats become float32. An
    empty sequence has the length 0. Raises ValueError where there is no sequence, where they differ
    in more than their time, and for a fraction or NaN among integers; TypeError for text.
    """
    rows = [_row(sequence) for sequence in sequences]
    if not rows:
        raise ValueError("there is no sequence to pad")
    full = [row for row in rows if row.size] or rows[:1]
    if any(row.dtype.kind in "SU" for row in full):
        raise TypeError("sequences are of numbers, not of text: encode it first")
    if any(row.ndim == 0 or row.shape[1:] != full[0].shape[1:] for row in full):
        shapes = sorted({str(row.shape) for row in full})
        if all(row.ndim == 0 for row in full):
            raise ValueError("sequences must be several, each (time, ...); put the one into [...]")
        raise ValueError(f"sequences must be (time, ...), alike but for time; got {shapes}")
    lengths = numpy.array([len(row) for row in rows])
    dtype = numpy.result_type(*full)
    if dtype.kind != "f" and numpy.mod(value, 1).any():
        raise ValueError(f"{dtype} cannot be filled up with {value}")
    values = numpy.full((len(rows), lengths.max(), *full[0].shape[1:]), value, dtype)
    values[numpy.arange(lengths.max()) < lengths[:, None]] = numpy.concatenate(full)
    return Padded(asarray(values), asarray(lengths.astype(numpy.int64)))


def _row(sequence: Any) -> Any:
    row = numpy.asarray(sequence)
    if row.size == 0 or row.dtype.kind in "iu":
        return row.astype(numpy.int64)
    return row if hasattr(sequence, "dtype") or row.dtype.kind != "f" else row.astype("float32")
