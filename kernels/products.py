"""Products of matrices by BLAS, on the threads that all kernels share.

OpenBLAS's own threads go on spinning for some 25 milliseconds after each product, and take the
processor from the kernel that follows. So while a product is computed here, OpenBLAS is told to
work in the thread that calls it, and each of our threads has it compute parts of the result.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .threads import share

SMALL = 1 << 22  # multiplications that are not worth a second thread
PART = 256  # rows or columns that are worth that BLAS prepares the other matrix once more
OPENMP = 2  # what OpenBLAS calls a build that takes OpenMP's threads
NAMES = "scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"


def matmul(x: Any, y: Any) -> Any:
    """See ``reference.matmul``."""
    blas = _openblas()
    stack, alike = x.shape[:-2], x.ndim == y.ndim > 1 and x.dtype == y.dtype
    if blas is None or not alike or y.shape[:-1] != (*stack, x.shape[-1]) or not x.dtype.isnative:
        return np.matmul(x, y)
    out = np.empty((*x.shape[:-1], y.shape[-1]), x.dtype)
    rows, columns = out.ndim - 2, out.ndim - 1
    among = range(rows) if max(stack, default=1) > 1 else (rows, columns)
    axis = max(among, key=out.shape.__getitem__)  # the longest, of a stack or of a matrix
    size = out.shape[axis]
    least = PART if axis >= rows else -(-size // 16)
    parts = _parts(size, least) if x.size * y.shape[-1] > SMALL else 1
    errors: dict[str, Any] = {**np.geterr(), "call": np.geterrcall()}

    def work(i: int) -> None:
        part = (slice(None),) * axis + (slice(size * i // parts, size * (i + 1) // parts),)
        left, right = x if axis == columns else x[part], y if axis == rows else y[part]
        with np.errstate(**errors):  # which each thread has of its own
            np.matmul(left, right, out=out[part])

    with _one_thread(blas):
        share(work, parts)
    return out


def _parts(size: int, least: int) -> int:
    """How many parts of at least so much an axis is cut into: 2, or a higher power of 2. Not by the
    number of threads, so that this changes no bit: BLAS rounds by where in a tile a number is."""
    return max(2, 1 << max(size // least, 1).bit_length() - 1)


class _OpenBLAS(NamedTuple):
    """How many threads it takes for a product, and how to change that."""

    threads: Callable[[], int]
    set_threads: Callable[[int], None]


@functools.cache
def _openblas() -> _OpenBLAS | None:
    """That of NumPy; None where NumPy has another BLAS, or one on the threads of OpenMP: of these
    each thread says for itself how many it takes."""
    extension = importlib.import_module("numpy._core._multiarray_umath")
    library = ctypes.PyDLL(extension.__file__)  # and whatever it has loaded
    for name in NAMES:
        try:
            kind, *both = (getattr(library, name.format(each))
                           for each in ("get_parallel", "get_num_threads", "set_num_threads"))
        except AttributeError:
            continue
        return None if kind() == OPENMP else _OpenBLAS(*both)
    return None


@contextmanager
def _one_thread(blas: _OpenBLAS) -> Iterator[None]:
    """OpenBLAS in the calling thread alone; it has its others again when the last leaves.

    Ctrl-C may come at any line. Who could not leave is still inside, and does when it leaves again.
    """
    global _before
    me = threading.get_ident()
    try:
        with _lock:
            if not _inside:
                _before = blas.threads()
            _inside.add(me)
            blas.set_threads(1)
        yield
    finally:
        with _lock:
            if _inside == {me}:
                blas.set_threads(_before)
            _inside.discard(me)


def _forget() -> None:
    """A forked child has none of the threads that may be in there."""
    global _lock
    _lock = threading.Lock()
    if _inside and (blas := _openblas()):
        _inside.clear()
        blas.set_threads(_before)


_lock, _before = threading.Lock(), 1
_inside: set[int] = set()  # the threads that are in there
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
