"""Linear maps by a matrix, and by a table of rows."""

from __future__ import annotations

from typing import Any

import minae.ops as ops

from .checks import integers


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """``x @ weight + bias``: (..., in) to (..., out), by weight (in, out), bias (out,) or None."""
    return x @ weight if bias is None else x @ weight + bias


def embedding(table: Any, codes: Any) -> Any:
    """The rows of ``table`` (count, features) for codes (...): (..., features).

    Raises TypeError for codes that are no integers, ValueError for codes outside [0, count).
    """
    return ops.getitem(table, index=integers(codes, table.shape[0], "codes"))
