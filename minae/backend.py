"""The array library, chosen once at import: NumPy, or CuPy on a GPU.

``MINAE_BACKEND`` is ``numpy`` (the default), ``cupy``, or ``auto`` (CuPy if it is installed and
finds a device, else NumPy; it says which). ``MINAE_DEVICE`` is the number of the GPU (``gpu.py``
finds it). Everything else in minae writes ``xp.``; whatever the two libraries do differently is one
function of this file.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy

Array = Any  # an array of the chosen library: the two share no type that a checker could name


def _choose(wanted: str) -> Any:
    if wanted == "numpy":
        return numpy
    if wanted not in ("cupy", "auto"):
        raise ValueError(f"MINAE_BACKEND is {wanted!r}; choose numpy, cupy or auto")
    from .gpu import find

    try:
        return find(os.environ.get("MINAE_DEVICE") or "0", say=wanted == "auto")
    except ImportError as error:
        if wanted == "cupy":
            raise ImportError(f"MINAE_BACKEND=cupy, but {error}; or unset MINAE_BACKEND") from error
        print(f"minae: on NumPy, since {error}", file=sys.stderr)
        return numpy


xp: Any = _choose(os.environ.get("MINAE_BACKEND") or "numpy")
"""The array library at work: ``numpy`` or ``cupy``, as ``MINAE_BACKEND`` says at import."""
name: str = xp.__name__
ndarray: Any = xp.ndarray
device = int(os.environ.get("MINAE_DEVICE") or "0") if name == "cupy" else None


class CaptureError(RuntimeError):
    """A step that cannot be captured, for what it does: see ``minae.capture``."""


capturing: ContextVar[Any] = ContextVar("capturing", default=None)  # the step being captured


def not_captured(what: str) -> None:
    """Raise CaptureError if a step is being captured, which must not do ``what``."""
    if capturing.get() is not None:
        raise CaptureError(f"a captured step cannot {what}: do it outside, before or after")


def describe(value: Any) -> str:
    """How errors name a value: ``float32[4, 5]`` for an array or Tensor, else a short repr."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def expect(wanted: str, *actual: Any, why: str = "the shapes do not fit") -> str:
    """What errors say where something else should have come: what, and what came."""
    return f"{why}\n  Expect: {wanted}\n  Actual: {', '.join(map(describe, actual))}"


def operand(value: Any, weak: bool = True) -> Any:
    """What to compute with where an op meets ``value``, which is no Tensor, array or number.

    A list becomes an array; a NumPy scalar, if ``weak``, the Python number that it is, so that
    ``np.sqrt(2) * x`` keeps the dtype of ``x``. Raises TypeError, with the cure, for the rest.
    """
    if isinstance(value, numpy.generic):
        return value.item() if weak else value
    if isinstance(value, (list, tuple)) or (isinstance(value, numpy.memmap) and xp is numpy):
        return asarray(value)
    kind = f"{type(value).__module__.split('.')[0]}.{type(value).__qualname__}"
    raise TypeError(f"got a {kind} on the {name} backend; convert it first, with minae.tensor(x)")


def asarray(value: Any, dtype: Any = None) -> Array:
    """An array of this backend that holds ``value``, sharing its memory where that is possible.

    Takes NumPy arrays and scalars, arrays of any library that speaks DLPack, numbers and nested
    lists. Arrays keep their dtype, numbers and lists become float32 (booleans stay), unless
    ``dtype`` says otherwise. Raises TypeError for what holds no real numbers.
    """
    value = numbers(value, dtype)
    if xp is not numpy:
        if isinstance(value, numpy.ndarray) and value.ndim:
            not_captured("bring arrays from the host (make them device arrays first)")
        elif isinstance(value, ndarray) and value.device.id != device:
            where = f"is on GPU {value.device.id}, minae on {device}"
            raise ValueError(f"{describe(value)} {where}: copy it, or choose with MINAE_DEVICE")
    return xp.asarray(value, dtype=dtype)


def numbers(value: Any, dtype: Any = None) -> Any:
    """What ``asarray`` takes, as an array where it is: on the host or here. Raises as it does."""
    if not isinstance(value, (ndarray, numpy.ndarray, numpy.generic)):
        if hasattr(value, "__dlpack__"):
            value = shared(value)
        else:
            value = numpy.asarray(value)
            if dtype is None and value.dtype.kind in "iuf":
                value = value.astype(numpy.float32)
    if value.dtype.kind not in "biuf":
        raise TypeError(f"{describe(value)} holds no real numbers")
    if isinstance(value, numpy.ma.MaskedArray):
        raise TypeError("a masked array would lose its mask here; pass x.filled(value)")
    return value


def shared(value: Any) -> Any:
    """The memory of another library's array, as an array here."""
    try:
        on_host = value.__dlpack_device__()[0] == 1  # kDLCPU, which CuPy does not read
        return (numpy if on_host else xp).from_dlpack(value)
    except (AttributeError, BufferError, RuntimeError, ValueError) as error:
        raise TypeError(
            f"{type(value).__name__} {describe(value)} cannot be read ({error}): convert it there "
            "first, to a dense array of a dtype that NumPy has (not bfloat16), on this device"
        ) from error


def asnumpy(value: Array) -> Any:
    """The array in the host's memory: itself on NumPy; a copy from CuPy, which waits for it."""
    if xp is numpy or isinstance(value, numpy.ndarray):
        return value
    not_captured("copy to the host (.item(), .numpy(), float(x), print, if x)")
    return xp.asnumpy(value)


def beside(value: Any, target: Array) -> Array:
    """``value`` as an array where ``target`` is, which may be the host."""
    return asnumpy(value) if isinstance(target, numpy.ndarray) else asarray(value)


def quiet() -> AbstractContextManager:
    """Let overflow and division by zero pass in silence. CuPy never warns, and has no errstate."""
    return numpy.errstate(all="ignore") if xp is numpy else nullcontext()


def concatenate(arrays: Any, axis: int) -> Array:
    """``arrays``, one after the other along ``axis``."""
    if capturing.get() is None:
        return xp.concatenate(arrays, axis)
    # CuPy may bring a table of them from the host, which no replay would find again.
    first, axis = arrays[0], axis % arrays[0].ndim
    length = sum(a.shape[axis] for a in arrays)
    shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
    out, start = xp.empty(shape, xp.result_type(*arrays)), 0
    for a in arrays:
        out[(slice(None),) * axis + (slice(start, start + a.shape[axis]),)] = a
        start += a.shape[axis]
    return out


def count(codes: Array, number: int) -> Array:
    """How often each of the integers 0 to ``number - 1`` occurs in ``codes`` (N,): (number,).

    All must be in that range.
    """
    if xp is numpy:
        return numpy.bincount(codes, minlength=number)
    counts = xp.zeros(number, "int64")  # CuPy's bincount waits for the largest code
    add_at(counts, codes, xp.ones(1, "int64"))
    return counts


def sum_segments(rows: Array, first: Array) -> Array:
    """The sums of consecutive rows, from each index of ``first`` (ascending from 0) to the next."""
    if xp is numpy:
        return numpy.add.reduceat(rows, first, axis=0)
    # CuPy's reduceat subtracts running sums: one NaN or one large row would spoil all that follow.
    starts = xp.zeros(len(rows), int)
    starts[first[1:]] = 1
    sums = xp.zeros((len(first), *rows.shape[1:]), rows.dtype)
    add_at(sums, starts.cumsum(), rows)
    return sums


def add_at(out: Array, index: Any, values: Array) -> None:
    """``out[index] += values``, where all that meets at one place is added up."""
    if xp is not numpy and out.dtype == "int64":  # CuPy adds these as what they are modulo 2**64
        out, values = out.view("uint64"), values.astype("int64", copy=False).view("uint64")
    xp.add.at(out, index, values)


def put_last(out: Array, index: Any, order: Array) -> None:
    """``out[index] = order`` with ascending ``order``: where places coincide, the last stays."""
    if xp is numpy:
        out[index] = order
    else:  # CuPy assigns in any order
        xp.maximum.at(out, index, order)


@functools.cache
def keep_memory() -> None:
    """Have the C library keep what is freed, for the arrays of the next training step.

    glibc gives large arrays back to the system at once, which then has to find, clear and map each
    of their pages again in the next step. Does nothing where there is another library, or where the
    user has tuned glibc: ``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_``,
    ``GLIBC_TUNABLES``.
    """
    tuned = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}
    if xp is not numpy or tuned & os.environ.keys():
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # malloc.h
    mallopt(mmap_threshold, 1 << 25)  # the largest that it takes
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 1 << 26)
