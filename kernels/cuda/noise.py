"""Random numbers made on the device: the host reads nothing of their state."""

from __future__ import annotations

from typing import Any

from minae.backend import Array, xp

from ..noise import check
from . import THREADS, grid, module, suffix


def uniform(state: Array, count: int, dtype: Any = "float32") -> Array:
    """See ``reference.uniform``."""
    return _draw("uniform", state, count, dtype)


def normal(state: Array, count: int, dtype: Any = "float32") -> Array:
    """See ``reference.normal``."""
    return _draw("normal", state, count, dtype)


def _draw(kernel: str, state: Array, count: int, dtype: Any) -> Array:
    blocks = -(-count // check(dtype))
    out = xp.empty(count, dtype)
    if blocks:
        function = module("noise").get_function(f"{kernel}_{suffix(out.dtype)}")
        function(grid(blocks), (THREADS,), (state, out, count))
        counter = state[1:]
        counter += blocks  # behind the kernel that reads it, in the order of the stream
    return out
