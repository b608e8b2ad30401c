"""Faults: what is wrong with entries, such as a label out of range or a vector that is not finite.

On NumPy they are raised where they are found. A GPU is not waited for: there, the first fault is
noted in a word on the device, and raised when the host next takes a number from it (``fetch``,
``Tensor.item``, ``Tensor.numpy``); ``MINAE_DEBUG_SYNC=1`` raises it where it is found.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .backend import Array, asnumpy, capturing, numpy, xp

DEFERRED = xp is not numpy and os.environ.get("MINAE_DEBUG_SYNC", "0") in ("", "0")
LATER = " (found on the device, some time before this line: MINAE_DEBUG_SYNC=1 stops there)"

_word: Any = xp.zeros(1, "int64") if DEFERRED else None  # the number of the first fault, or 0
_known: dict[tuple[type, str], int] = {}  # the faults looked for, numbered from 1


def check(
    bad: Array, kind: type[Exception], message: str, detail: Callable[[], str] | None = None
) -> None:
    """Raise ``kind(message)``, now or when a result is read, if any entry of ``bad`` is True.

    ``detail`` may find out more from the entries: it makes the message where that can be waited
    for.
    """
    if not DEFERRED:
        if bad.any():
            raise kind(detail() if detail else message)
        return
    from .kernels import flag  # kernels report faults, too

    flag(_word, bad, _known.setdefault((kind, message), len(_known) + 1))


def fetch(*values: Any) -> list[Any]:
    """The entries of Tensors and arrays as NumPy arrays, with one wait for the device.

    Raises the fault that was noted on the device meanwhile. Integers above 2^53 are rounded.
    """
    arrays = [getattr(value, "array", value) for value in values]
    if not DEFERRED:
        return [numpy.asarray(asnumpy(a)) for a in arrays]
    parts = [xp.ravel(xp.asarray(a)).astype("float64") for a in arrays]
    host = asnumpy(xp.concatenate([_word.astype("float64"), *parts]))
    _raise(int(host[0]))
    found, start = [], 1
    for array, part in zip(arrays, parts):
        entries, start = host[start : start + part.size], start + part.size
        shape, dtype = getattr(array, "shape", ()), getattr(array, "dtype", "float64")
        found.append(entries.astype(dtype).reshape(shape))
    return found


def settle() -> None:
    """Raise the fault that was noted on the device, if any."""
    if DEFERRED and capturing.get() is None:
        _raise(int(asnumpy(_word)[0]))


def _raise(number: int) -> None:
    if number:
        _word.fill(0)
        kind, message = next(fault for fault, n in _known.items() if n == number)
        raise kind(message + LATER)
