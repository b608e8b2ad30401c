"""The array functions worth making fast: no Tensor here, arrays in and arrays out.

Each kernel below calls the best form of it that this machine has, found at the first call.
``reference.py`` defines them all in the NumPy API. ``MINAE_KERNELS`` chooses: ``auto`` (the
default) falls back to the reference with a warning where a faster form fails, ``fast`` raises
instead, ``reference`` looks for none. So far no kernel has a faster form.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from collections.abc import Callable
from typing import Any

from . import reference

FORMS: dict[str, str] = {}  # kernel -> the module of this package that holds its faster form


@functools.cache
def form(kernel: str) -> Callable[..., Any]:
    """The function that computes ``kernel`` in this process."""
    choice = os.environ.get("MINAE_KERNELS", "auto")
    if choice not in ("auto", "reference", "fast"):
        raise ValueError(f"MINAE_KERNELS is {choice!r}; choose auto, reference or fast")
    if choice != "reference" and kernel in FORMS:
        try:
            return getattr(importlib.import_module(f".{FORMS[kernel]}", __name__), kernel)
        except Exception as error:  # an accelerator may fail in any way; the reference never does
            if choice == "fast":
                raise
            message = f"{kernel} falls back to its NumPy form: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=3)
    return getattr(reference, kernel)


@functools.wraps(reference.nearest)
def nearest(vectors: Any, codebook: Any, **options: Any) -> Any:
    return form("nearest")(vectors, codebook, **options)


@functools.wraps(reference.scatter_sum)
def scatter_sum(values: Any, codes: Any, count: int) -> Any:
    return form("scatter_sum")(values, codes, count)


@functools.wraps(reference.conv2d)
def conv2d(x: Any, weight: Any, bias: Any = None, **grid: Any) -> Any:
    return form("conv2d")(x, weight, bias, **grid)


@functools.wraps(reference.conv2d_input)
def conv2d_input(y: Any, weight: Any, **grid: Any) -> Any:
    return form("conv2d_input")(y, weight, **grid)


@functools.wraps(reference.conv2d_weight)
def conv2d_weight(x: Any, y: Any, **grid: Any) -> Any:
    return form("conv2d_weight")(x, y, **grid)


@functools.wraps(reference.erf)
def erf(x: Any) -> Any:
    return form("erf")(x)
