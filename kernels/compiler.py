"""How a kernel becomes machine code: when it is first needed, once, and kept on disk.

The cache is a folder of its own for each state of these sources, version of Numba and instruction
set, so that an edited intrinsic can never meet old code. Code in it is run: a folder that others
may write is not used.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import shutil
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy
from numba.core import event
from numba.core.registry import cpu_target

from . import Unavailable

LINE = 64  # bytes of a cache line


class Kernel:
    """A function to be compiled for each dtype that it meets: ``kernel[dtype](...)``.

    ``signature(dtype)`` gives the Numba types of its arguments.
    """

    def __init__(self, function: Callable[..., Any], signature: Callable[[Any], tuple]) -> None:
        self.__doc__ = function.__doc__
        self.function, self.signature = function, signature
        self.forms: dict[Any, Callable[..., Any]] = {}
        _kernels.append(self)

    def __getitem__(self, dtype: Any) -> Callable[..., Any]:
        """The machine code for arrays of this dtype. Raises Unavailable where there can be none."""
        if dtype not in self.forms:
            with _lock:
                if dtype not in self.forms:
                    self.forms[dtype] = _compiled(self.function, self.signature(_numba(dtype)))
        return self.forms[dtype]


_kernels: list[Kernel] = []


def compile_all(dtypes: Iterable[str]) -> None:
    """Compile every kernel that has been declared."""
    for dtype in map(numpy.dtype, dtypes):
        for each in _kernels:
            each[dtype]


def kernel(signature: Callable[[Any], tuple]) -> Callable[[Callable[..., Any]], Kernel]:
    """Declare a function to be compiled by its types: ``@kernel(lambda f: (array(f), ...))``."""
    return lambda function: Kernel(function, signature)


def array(dtype: Any) -> Any:
    """The Numba type of a flat array that a kernel only reads."""
    return numba.types.Array(dtype, 1, "C", readonly=True)


def flat(x: Any) -> Any:
    """The entries of an array one after the other, aligned: itself where that is possible."""
    return (numpy.ascontiguousarray(x) if x.flags.aligned else x.copy()).reshape(-1)


def zeros(shape: tuple[int, ...], dtype: Any) -> Any:
    """Those of NumPy, but they begin where a cache line does."""
    size, extra = math.prod(shape), LINE // dtype.itemsize
    room = numpy.zeros(size + extra, dtype)
    first = -room.ctypes.data % LINE // dtype.itemsize
    return room[first : first + size].reshape(shape)


def _renew_lock() -> None:
    """A forked child may have copied the lock while another thread of its parent held it."""
    global _lock
    _lock = threading.RLock()


_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)

_OPTIONS = {
    "nogil": True, "error_model": "numpy", "boundscheck": False, "no_cfunc_wrapper": True
}  # fmt: skip
inline = numba.njit(no_cpython_wrapper=True, **_OPTIONS)  # for what kernels call
# For sums whose order is free: they alone are given to the vectorizer to rearrange.
associative = numba.njit(
    no_cpython_wrapper=True, fastmath={"reassoc", "contract", "nsz"}, **_OPTIONS
)


def _numba(dtype: Any) -> Any:
    return numba.from_dtype(numpy.dtype(dtype))


def _compiled(function: Callable[..., Any], signature: tuple) -> Callable[..., Any]:
    if numba.config.DISABLE_JIT:
        raise Unavailable("NUMBA_DISABLE_JIT is set")
    folder = _cache()
    if folder is None:
        return _uncached(function, signature)
    # A folder for each form: two processes that fill it at once then write the same.
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    own = folder / "-".join(map(str, (function.__name__, *cells, signature[0].dtype)))
    try:
        return _cached(function, signature, own)
    except Exception:  # a damaged file: once more without it
        shutil.rmtree(own, ignore_errors=True)
    try:
        return _cached(function, signature, own)
    except Exception as error:  # a full disk, or it does not compile
        compiled = _uncached(function, signature)
        _warn(f"the cache of compiled kernels in {folder} cannot be used ({error})")
        return compiled


def _cached(function: Callable[..., Any], signature: tuple, folder: Path) -> Callable[..., Any]:
    folder.mkdir(mode=0o700, exist_ok=True)
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)  # the only way to say it
    try:
        return numba.njit(signature, cache=True, **_OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = before


def _uncached(function: Callable[..., Any], signature: tuple) -> Callable[..., Any]:
    try:
        return numba.njit(signature, **_OPTIONS)(function)
    except Exception as error:
        raise Unavailable(f"{function.__name__} does not compile: {error}") from error


# --- The cache ------------------------------------------------------------------------------------


@functools.cache
def _cache() -> Path | None:
    """The folder for compiled kernels, or None, with a warning, where there can be none."""
    try:
        folder = _base().absolute() / f"kernels-{_digest()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid"):
            status = folder.stat()
            if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise PermissionError(f"others may write to {folder}")
        probe = folder / f".{os.getpid()}"
        probe.touch()
        probe.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        _warn(f"compiled kernels cannot be kept ({error})")
        return None
    return folder


def _base() -> Path:
    if chosen := os.environ.get("MINAE_CACHE") or os.environ.get("NUMBA_CACHE_DIR"):
        return Path(chosen)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "minae"
    return Path.home() / ".cache" / "minae"


def _digest() -> str:
    """Of all that the machine code follows from: these sources, Numba, the processor."""
    versions = numba.__version__, llvmlite.__version__, sys.version_info[:2]
    digest = hashlib.sha256(repr(versions).encode())
    digest.update(repr(cpu_target.target_context.codegen().magic_tuple()).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _warn(reason: str) -> None:
    if not _warned:
        _warned.append(reason)
        advice = "set MINAE_CACHE to a folder of yours, or they are compiled anew in each process"
        warnings.warn(f"{reason}: {advice}", RuntimeWarning, stacklevel=2)


_warned: list[str] = []


# --- Saying so ------------------------------------------------------------------------------------


class _Announcement(event.Listener):
    """One line, the first time that anything here is compiled and not found in the cache."""

    said = False

    def on_start(self, event: Any) -> None:
        name = event.data["dispatcher"].py_func.__module__
        if not self.said and name.startswith(__package__ or "") and sys.stderr is not None:
            print("minae: compiling kernels for this processor, once", file=sys.stderr, flush=True)
            self.said = True

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Announcement())
