"""The GPU: CuPy on a device that it can use, or why there is none; and its memory.

Only ``backend.py`` asks, and only where ``MINAE_BACKEND`` is not ``numpy``.
"""

from __future__ import annotations

import functools
import sys
from typing import Any


def find(number: str, say: bool) -> Any:
    """CuPy, computing on the device of this number; if asked to, says so on standard error.

    Raises ImportError, with the cure, where it cannot.
    """
    install = "pip install cupy-cuda13x, or for an older driver cupy-cuda12x"
    try:
        import cupy

        runtime = cupy.cuda.runtime
    except Exception as error:  # a broken installation raises whatever it comes to
        raise ImportError(f"CuPy cannot be imported ({_reason(error)}): {install}") from error
    try:
        driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
        count = runtime.getDeviceCount() if driver else 0
    except Exception as error:  # CuPy's own classes
        raise ImportError(f"no CUDA device can be used ({_reason(error)}): {install}") from error
    if not count:
        cure = "does nvidia-smi list one, and does CUDA_VISIBLE_DEVICES name it?"
        raise ImportError(f"no CUDA device was found: {cure}")
    if driver // 1000 < needed // 1000:  # 12040 is CUDA 12.4
        old, new = (f"{v // 1000}.{v % 1000 // 10}" for v in (driver, needed))
        raise ImportError(f"the driver is of CUDA {old}, CuPy of {new}: update it, or {install}")
    if not number.isdecimal() or int(number) >= count:
        here = f"choose one of 0 to {count - 1}" if count > 1 else "there is 0 alone"
        raise ImportError(f"MINAE_DEVICE={number} is no GPU here: {here}")
    cupy.cuda.Device(int(number)).use()
    cupy.cuda.set_allocator(functools.partial(_allocate, cupy))
    if say:
        card = runtime.getDeviceProperties(int(number))["name"]
        print(f"minae: on CuPy, device {number}, {card.decode()}", file=sys.stderr)
    return cupy


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _allocate(cupy: Any, size: int) -> Any:
    """Memory of the device, as CuPy allocates it; an error that says what is there."""
    pool = cupy.get_default_memory_pool()
    try:
        return pool.malloc(size)
    except cupy.cuda.memory.OutOfMemoryError as error:
        pool.free_all_blocks()
        free, total = cupy.cuda.runtime.memGetInfo()
        raise MemoryError(
            f"the GPU has no room for an array of {size:,} bytes: {pool.used_bytes():,} are in use "
            f"here, {free:,} of {total:,} are free. Take smaller batches, or minae.checkpoint"
        ) from error
