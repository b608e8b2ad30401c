"""Debug mode: which op made the first NaN, and on which line of the user's program.

The engine asks ``debugging`` at each op and each gradient, and calls this file only when it is set.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .backend import asnumpy, describe, numpy, xp

debugging: ContextVar[bool] = ContextVar("debugging", default=False)
PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


@contextmanager
def debug() -> Iterator[None]:
    """Check every op and every gradient inside the ``with`` block. Slow; for finding mistakes.

    The first NaN raises FloatingPointError that names the op, the position and the line of your
    program, forward and backward; a gradient rule of wrong arity, shape or dtype raises TypeError.
    Record the graph inside the block too: only then does an error in backward know your line.
    """
    token = debugging.set(True)
    try:
        with numpy.errstate(invalid="ignore"):  # what NumPy would warn of is raised
            yield
    finally:
        debugging.reset(token)


def users_line() -> str:
    """The innermost line outside minae: where the program called the op."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return f"{file}:{line}: {linecache.getline(file, line).strip()}"


def place(node: Any) -> str:
    """Where a Node was recorded, or how to find out."""
    known = hasattr(node, "line")
    return f", recorded at {node.line}" if known else " (minae.debug() would name the line)"


def first_nan(value: Any) -> tuple[int, ...] | None:
    """The index of the first NaN in a Tensor, array or number, or None."""
    if value is None:
        return None
    array = xp.asarray(getattr(value, "array", value))
    if array.dtype.kind != "f":
        return None
    bad = asnumpy(xp.isnan(array))
    return tuple(int(i[0]) for i in bad.nonzero()) if bad.any() else None


def check_result(name: str, args: tuple, out: Any) -> None:
    """Raise if the op made a NaN, or met one that no op has made."""
    where = first_nan(out)
    if where is None:
        return
    for position, a in enumerate(args):
        if (met := first_nan(a)) is not None:
            what = f"argument {position} of {name} holds a NaN at {met}"
            break
    else:
        what = f"{name}({', '.join(map(describe, args))}) made the first NaN, at {where}"
    raise FloatingPointError(f"{what}; called at {users_line()}")


def check_gradient(node: Any, argument: str, gradient: Any, source: Any) -> None:
    """Raise if what a rule returned is no gradient for ``source``, or is the first NaN."""
    rule = f"the rule of {node.op.name} for {argument}"
    if not hasattr(gradient, "dtype"):
        raise TypeError(f"{rule} returned {gradient!r}, not an array{place(node)}")
    if gradient.dtype not in (source.dtype, node.dtype):
        raise TypeError(
            f"{rule} returned {gradient.dtype} for {source.dtype} in, {node.dtype} out{place(node)}"
        )
    if (where := first_nan(gradient)) is not None:
        raise FloatingPointError(f"{rule} made the first NaN gradient, at {where}{place(node)}")
