"""The array functions worth making fast: no Tensor here, arrays in and arrays out.

Each kernel below calls the best form of it that this machine has, found at the first call.
``reference.py`` defines them all in the NumPy API. ``MINAE_KERNELS`` chooses: ``auto`` (the
default) falls back to the reference with a warning, ``fast`` raises instead, ``reference`` uses
nothing else.
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


def nearest(vectors: Any, codebook: Any, **options: Any) -> Any:
    """Codes of the nearest codewords, and squared distances; see ``reference.nearest``."""
    return form("nearest")(vectors, codebook, **options)


def scatter_sum(values: Any, codes: Any, count: int) -> Any:
    """The sum of the rows of each code; see ``reference.scatter_sum``."""
    return form("scatter_sum")(values, codes, count)


def conv2d(x: Any, weight: Any, bias: Any = None, **grid: Any) -> Any:
    """Convolution, features last; see ``reference.conv2d``."""
    return form("conv2d")(x, weight, bias, **grid)


def conv2d_input(y: Any, weight: Any, **grid: Any) -> Any:
    """Its adjoint in the images; see ``reference.conv2d_input``."""
    return form("conv2d_input")(y, weight, **grid)


def conv2d_weight(x: Any, y: Any, **grid: Any) -> Any:
    """Its adjoint in the filters; see ``reference.conv2d_weight``."""
    return form("conv2d_weight")(x, y, **grid)


def erf(x: Any) -> Any:
    """The error function; see ``reference.erf``."""
    return form("erf")(x)
