"""relu on the device."""

from __future__ import annotations

from typing import Any

from minae.backend import xp

from .. import reference
from . import module

THREADS = 256


def relu(x: Any) -> Any:
    """See ``reference.relu``."""
    if x.dtype not in ("float32", "float64") or not x.size or not x.flags.c_contiguous:
        return reference.relu(x)
    out = xp.empty_like(x)
    kernel = module("updates").get_function(f"relu_{'float' if x.dtype == 'float32' else 'double'}")
    kernel((-(-x.size // THREADS),), (THREADS,), (x, out, x.size))
    return out
