"""The device: its memory, its streams, and what they capture.

There is one device, or as many as ``CUDA_VISIBLE_DEVICES`` names. All that is launched is done at
once, so that streams and events order nothing; but a stream that captures keeps what was launched
on it, and its graph computes that anew, into the same arrays.
"""

import os
import threading
import time
import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import numpy

from . import standin

TOTAL = 80 << 30  # bytes of each device
BLOCK = 512  # what a pool gives out is a multiple of this
ERRORS = {
    2: "cudaErrorMemoryAllocation: out of memory",
    100: "cudaErrorNoDevice: no CUDA-capable device is detected",
    101: "cudaErrorInvalidDevice: invalid device ordinal",
    401: "cudaErrorIllegalState: the operation cannot be performed in the present state",
    900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
    901: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error",
}


class _Here(threading.local):
    """Of each thread."""

    device, stream, allocator = 0, None, None


_here = _Here()


class CUDARuntimeError(RuntimeError):
    """An error of CUDA's, by its number."""

    def __init__(self, status):
        super().__init__(ERRORS[status])
        self.status = status


class OutOfMemoryError(MemoryError):
    """An allocation that failed."""

    def __init__(self, size, total, limit=0):
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes"
            + (f", limit set to: {limit:,} bytes)." if limit else ").")
        )


def wait():
    """The host waits for the device. Impossible while the current stream captures."""
    refuse_in_capture()
    standin.note()


def refuse_in_capture():
    stream = get_current_stream()
    if stream.captured is not None:
        stream.broken = True
        raise CUDARuntimeError(900)


# --- Devices -------------------------------------------------------------------------------------


def _count():
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    count = len([name for name in names.split(",") if name.strip() not in ("", "-1")])
    if not count:
        raise CUDARuntimeError(100)
    return count


def _check(device):
    if not 0 <= device < _count():
        raise CUDARuntimeError(101)
    return device


def get_device_id():
    return _here.device


def _properties(device):
    _check(device)
    return {"name": b"stand-in", "totalGlobalMem": TOTAL, "major": 9, "minor": 0,
            "multiProcessorCount": 1, "warpSize": 32, "l2CacheSize": 50 << 20}  # fmt: skip


def _memory_info():
    used = sum(pool.total_bytes() for pool in list(_pools))
    return TOTAL - used, TOTAL


class Device:
    """A device by its number, the current one by default. No number is refused before its use."""

    def __init__(self, device=None):
        self.id = get_device_id() if device is None else int(device)
        self._before = []

    def use(self):
        _here.device = _check(self.id)

    def __enter__(self):
        self._before.append(get_device_id())
        self.use()
        return self

    def __exit__(self, *error):
        _here.device = self._before.pop()

    def synchronize(self):
        _check(self.id)
        wait()

    compute_capability = property(lambda self: "90" if _check(self.id) >= 0 else "")
    mem_info = property(lambda self: _memory_info())

    def __int__(self):
        return self.id

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self):
        return hash(self.id)

    def __repr__(self):
        return f"<CUDA Device {self.id}>"


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    streamCaptureModeGlobal=0, streamCaptureModeThreadLocal=1, streamCaptureModeRelaxed=2,
    getDeviceCount=_count, getDevice=get_device_id, setDevice=lambda device: Device(device).use(),
    driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 13000,
    getDeviceProperties=_properties, memGetInfo=_memory_info, deviceSynchronize=wait,
)  # fmt: skip


def is_available():
    try:
        return _count() > 0
    except CUDARuntimeError:
        return False


# --- Streams -------------------------------------------------------------------------------------


class Stream:
    """An order of launches; one that captures keeps them in ``captured``."""

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.null, self.is_non_blocking = null, non_blocking
        self.device_id, self.ptr = (-1 if null else get_device_id()), 0 if null else id(self)
        self.captured, self.broken, self._before = None, False, []
        self._touched = {}  # arrays older than what is captured, with what they held before

    def use(self):
        _here.stream = self
        return self

    def __enter__(self):
        self._before.append(get_current_stream())
        return self.use()

    def __exit__(self, *error):
        _here.stream = self._before.pop()

    done = property(lambda self: True)

    def synchronize(self):
        if self.captured is not None:
            self.broken = True
            raise CUDARuntimeError(900)
        wait()

    def record(self, event=None):
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event):
        pass

    def begin_capture(self, mode=None):
        if self.null:
            raise CUDARuntimeError(900)
        if self.captured is not None:
            raise CUDARuntimeError(401)
        self.captured, self.broken, self._made = [], False, []

    def touch(self, array, memory):
        """Note an array that a captured launch may change: nothing is computed until the replay."""
        if memory.captured is not self.captured and id(memory) not in self._touched:
            self._touched[id(memory)] = array, array.copy()

    def note(self, memory, array):
        """Note an array of a pool that only this graph uses: there, before each replay, is whatever
        a replay has left in the same memory."""
        if self.captured is not None and memory.pool is not _pool:
            self._made.append(array)

    def refuse(self, function, count):
        """Of CuPy's functions, those that call cuBLAS cannot be captured, and those that join
        arrays may bring a table of these from the host."""
        if function in (numpy.matmul, numpy.dot, numpy.tensordot, numpy.inner) or (
            function is numpy.einsum and count > 1
        ):
            self.broken = True
            raise NotImplementedError("calling cuBLAS API during stream capture")
        if function in (numpy.concatenate, numpy.stack) and count > 1:
            refuse_in_capture()

    def is_capturing(self):
        return self.captured is not None

    def end_capture(self):
        if self.captured is None:
            raise CUDARuntimeError(401)
        launches, self.captured = self.captured, None
        for array, entries in self._touched.values():
            array[...] = entries
        self._touched = {}
        if self.broken:
            raise CUDARuntimeError(901)
        return Graph(launches, self._made)


Stream.null = _Here.stream = Stream(null=True)


def get_current_stream():
    return _here.stream


class Event:
    """A point in a stream."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.time = None if disable_timing else 0.0

    done = property(lambda self: True)

    def record(self, stream=None):
        if self.time is not None:
            self.time = time.perf_counter()

    def synchronize(self):
        wait()


def get_elapsed_time(start, end):
    """Milliseconds between two events."""
    return 1000 * (end.time - start.time)


class Graph:
    """What a stream has captured. (CuPy's cannot be made by hand, either.)"""

    def __init__(self, launches, made):
        self._launches, self._made = launches, made

    def upload(self, stream=None):
        pass

    def launch(self, stream=None):
        refuse_in_capture()
        for array in self._made:
            spoil(array)
        for launch in self._launches:
            launch()


def spoil(array):
    """Fill an array with what nobody should read."""
    array.fill(numpy.nan if array.dtype.kind in "fc" else numpy.array(-1).astype(array.dtype))


# --- Memory --------------------------------------------------------------------------------------


class Memory:
    """A block of a pool, to which it goes back when nothing points to it any more."""

    def __init__(self, pool, size):
        self.pool, self.size, self.device_id = pool, size, get_device_id()
        self.captured = get_current_stream().captured

    def __del__(self):
        self.pool._used -= self.size


class MemoryPointer:
    """Where in a block something begins."""

    def __init__(self, mem, ptr):
        self.mem, self.ptr, self.device_id = mem, ptr, mem.device_id

    device = property(lambda self: Device(self.device_id))


class MemoryPool:
    """Memory that is kept for the next allocation when it is freed."""

    def __init__(self, allocator=None):
        self._used = self._total = self._limit = 0
        _pools.add(self)

    def malloc(self, size):
        size = -(-size // BLOCK) * BLOCK
        limit = min(self._limit or TOTAL, TOTAL)
        if self._used + size > limit:
            raise OutOfMemoryError(size, self._total, self._limit)
        self._used += size
        self._total = min(max(self._total, self._used), limit)
        return MemoryPointer(Memory(self, size), 0)

    def used_bytes(self):
        return self._used

    def total_bytes(self):
        return self._total

    def free_bytes(self):
        return self._total - self._used

    def free_all_blocks(self, stream=None):
        self._total = self._used

    def set_limit(self, size=None, fraction=None):
        self._limit = int(TOTAL * fraction) if size is None and fraction else size or 0

    def get_limit(self):
        return self._limit


_pools: weakref.WeakSet = weakref.WeakSet()
_pool = MemoryPool()
_allocator = _pool.malloc


def get_default_memory_pool():
    return _pool


def get_allocator():
    return _here.allocator or _allocator


def set_allocator(allocator=None):
    """The function that gets memory for arrays: from a size in bytes to a MemoryPointer."""
    global _allocator
    _allocator = allocator or MemoryPool().malloc


@contextmanager
def using_allocator(allocator=None):
    before, _here.allocator = _here.allocator, allocator or MemoryPool().malloc
    try:
        yield
    finally:
        _here.allocator = before


def alloc(size):
    return get_allocator()(size)


memory = SimpleNamespace(
    OutOfMemoryError=OutOfMemoryError, MemoryPool=MemoryPool, MemoryPointer=MemoryPointer,
    alloc=alloc, set_allocator=set_allocator, get_allocator=get_allocator,
)  # fmt: skip


class PinnedMemoryPointer(bytearray):
    """Memory of the host that the device reads and writes by itself."""


def alloc_pinned_memory(size):
    return PinnedMemoryPointer(size)


def is_pinned(array):
    while array is not None and not isinstance(array, PinnedMemoryPointer):
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return array is not None
