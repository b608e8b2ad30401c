"""Products of matrices on the device.

They are CuPy's, which are cuBLAS's; but that cannot be called while a step is captured. There, a
product is a convolution with a single tap, in which each matrix of a batch is a group of channels.
"""

from __future__ import annotations

import math
from typing import Any

from minae.backend import CaptureError, capturing, numpy, xp

from .convolution import conv2d


def matmul(x: Any, y: Any) -> Any:
    """See ``reference.matmul``."""
    return xp.matmul(x, y) if capturing.get() is None else captured(x, y)


def captured(x: Any, y: Any) -> Any:
    """``matmul`` without cuBLAS, for float32 and float64."""
    dtype = xp.result_type(x, y)
    if dtype not in ("float32", "float64"):
        raise CaptureError(f"a captured step multiplies no matrices of {dtype}: cast them first")
    row, column = x.ndim == 1, y.ndim == 1
    x, y = x[None] if row else x, y[:, None] if column else y
    (n, k), m = x.shape[-2:], y.shape[-1]
    if y.shape[-2] != k:
        raise ValueError(f"matmul of {x.shape} and {y.shape}: {k} columns, but {y.shape[-2]} rows")
    batch = numpy.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    shape, count = (*batch, n, m), math.prod(batch)
    if not k or 0 in shape:
        out = xp.zeros(shape, dtype)
    elif y.ndim == 2:
        out = conv2d(x.reshape(1, -1, 1, k), y.reshape(1, 1, k, m)).reshape(shape)
    else:
        x = xp.broadcast_to(x, (*batch, n, k)).reshape(count, n, k).swapaxes(0, 1)
        y = xp.broadcast_to(y, (*batch, k, m)).reshape(count, k, m).swapaxes(0, 1)
        x, y = x.reshape(1, n, 1, count * k), y.reshape(1, 1, k, count * m)
        out = conv2d(x, y, groups=count).reshape(n, count, m).swapaxes(0, 1).reshape(shape)
    out = out[..., 0] if column else out
    return out[..., 0, :] if row and not column else out[..., 0] if row else out
