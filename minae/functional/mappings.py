"""Linear maps by a matrix, and by a table of rows."""

from __future__ import annotations

from typing import Any

import minae.ops as ops

from ..backend import expect, xp
from ..engine import entries
from .checks import integers


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """``x @ weight + bias``: (..., in) to (..., out), by weight (in, out), bias (out,) or None.

    Raises ValueError where the features of ``x`` are not those of the weight.
    """
    if xp.shape(entries(x))[-1:] != weight.shape[:1]:
        raise ValueError(expect(f"x (..., {weight.shape[0]}), weight (in, out)", x, weight))
    return x @ weight if bias is None else ops.affine(x, weight, bias)


def embedding(table: Any, codes: Any) -> Any:
    """The rows of ``table`` (count, features) for codes (...): (..., features).

    Raises TypeError for codes that are no integers, ValueError for codes outside [0, count).
    """
    return ops.getitem(table, index=integers(codes, table.shape[0], "codes"))
