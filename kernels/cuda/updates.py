"""Elementwise work on the device: relu, its gradient, the steps of the optimizers, and ``flag``."""

from __future__ import annotations

from typing import Any

import numpy

from minae.backend import Array, xp

from .. import reference
from . import THREADS, flat, grid, module, suffix

BLOCKS = 1024  # at most, where each takes many entries: an H100 holds about so many


def relu(x: Any) -> Any:
    """See ``reference.relu``."""
    if not flat(x):
        return reference.relu(x)
    out = xp.empty_like(x)
    _kernel("relu", x)(grid(x.size), (THREADS,), (x, out, x.size))
    return out


def gate(x: Any, by: Any) -> Any:
    """See ``reference.gate``."""
    if not flat(x, by):
        return reference.gate(x, by)
    out = xp.empty_like(x)
    _kernel("gate", x)(grid(x.size), (THREADS,), (x, by, out, x.size))
    return out


def sgd(
    p: Array, g: Array, velocity: Array | None, lr: Any, momentum: float = 0.0, decay: float = 0.0,
    nesterov: bool = False,
) -> None:
    """See ``reference.sgd``."""
    if not (flat(p, g) if velocity is None else flat(p, g, velocity)):
        return reference.sgd(p, g, velocity, lr, momentum, decay, nesterov)
    kept = 0 if velocity is None else velocity  # 0 is the null pointer
    numbers = *_number(lr), float(momentum), float(decay), bool(nesterov)
    _kernel("sgd", p)(_some(p.size), (THREADS,), (p, g, kept, p.size, *numbers))


def adam(
    p: Array, g: Array, m: Array, v: Array, step: Any, lr: Any, betas: tuple[float, float],
    eps: float, decay: float = 0.0, largest: Array | None = None,
) -> None:
    """See ``reference.adam``."""
    if largest is not None or not flat(p, g, m, v):
        return reference.adam(p, g, m, v, step, lr, betas, eps, decay, largest)
    numbers = *_number(step), *_number(lr), *map(float, betas), float(eps), float(decay)
    _kernel("adam", p)(_some(p.size), (THREADS,), (p, g, m, v, p.size, *numbers))


def flag(word: Array, bad: Array, number: int) -> None:
    """See ``reference.flag``."""
    if bad.size:
        args = word.view("uint64"), xp.ascontiguousarray(bad), bad.size, numpy.uint64(number)
        _kernel("flag")(_some(bad.size), (THREADS,), args)


def _kernel(name: str, like: Array | None = None) -> Any:
    return module("updates").get_function(name if like is None else f"{name}_{suffix(like.dtype)}")


def _some(size: int) -> tuple[int]:
    return (min(grid(size)[0], BLOCKS),)


def _number(x: Any) -> tuple[Any, float]:
    """What a kernel takes for a number: where on the device it is, or itself."""
    return (x.astype("float64", copy=False), 0.0) if isinstance(x, xp.ndarray) else (0, float(x))
