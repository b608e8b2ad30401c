"""Elementwise work, one pass over each array: the steps of the optimizers, relu, its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import reference
from .compiler import array, kernel
from .threads import share, threads

SMALL = 1 << 16  # entries that are not worth a second thread
TINY = 1 << 11  # entries that NumPy is done with before a kernel is called


def sgd(
    p: Any, g: Any, velocity: Any, lr: float, momentum: float = 0.0, decay: float = 0.0,
    nesterov: bool = False,
) -> None:
    """See ``reference.sgd``."""
    if velocity is None or not (flat_alike(p, g, velocity) and _writable(p, velocity)):
        return reference.sgd(p, g, velocity, lr, momentum, decay, nesterov)
    ahead = momentum if nesterov else 0.0
    shared(_sgd[p.dtype], (p, g, velocity), (float(lr), momentum, decay, ahead))


def adam(
    p: Any, g: Any, m: Any, v: Any, step: float, lr: float, betas: tuple[float, float], eps: float,
    decay: float = 0.0, largest: Any = None,
) -> None:
    """See ``reference.adam``."""
    if largest is not None or not (flat_alike(p, g, m, v) and _writable(p, m, v)):
        return reference.adam(p, g, m, v, step, lr, betas, eps, decay, largest)
    (first, second), step, lr = betas, float(step), float(lr)
    scale = lr / (1 - first**step)
    root = (1 - second**step) ** 0.5
    rest = 1 - first, 1 - second  # here, in float64: in float32 the second is off by 5e-5
    numbers = first, second, *rest, scale, root, eps, 1 - lr * decay
    shared(_adam[p.dtype], (p, g, m, v), numbers)


def relu(x: Any) -> Any:
    """See ``reference.relu``."""
    if not flat_alike(x) or x.size < TINY:
        return reference.relu(x)
    out = np.empty_like(x)
    shared(_relu[x.dtype], (x, out), ())
    return out


def gate(x: Any, by: Any) -> Any:
    """See ``reference.gate``."""
    if not flat_alike(x, by) or x.size < TINY:
        return reference.gate(x, by)
    out = np.empty_like(x)
    shared(_gate[x.dtype], (x, by, out), ())
    return out


def flat_alike(*arrays: Any) -> bool:
    """Whether all can be walked as one line, and are of one dtype that is compiled for."""
    first = arrays[0]
    return all(
        isinstance(a, np.ndarray) and a.dtype in (np.float32, np.float64) and a.dtype == first.dtype
        and a.shape == first.shape and a.flags.c_contiguous and a.flags.aligned
        for a in arrays
    )  # fmt: skip


def _writable(*arrays: Any) -> bool:
    return all(a.flags.writeable for a in arrays)


def shared(update: Any, arrays: tuple, numbers: tuple) -> None:
    lines = [a.reshape(-1) for a in arrays]
    size = lines[0].size
    parts = threads() if size > SMALL else 1

    def work(part: int) -> None:
        first, last = size * part // parts, size * (part + 1) // parts
        update(*[line[first:last] for line in lines], *numbers)

    share(work, parts)


@kernel(lambda f: (f[::1], array(f), f[::1], f, f, f, f))
def _sgd(p, g, velocity, lr, momentum, decay, ahead):
    for i in range(p.size):
        change = g[i] + decay * p[i] if decay else g[i]  # 0 times an infinite p is NaN
        velocity[i] = velocity[i] * momentum + change
        p[i] -= lr * (change + ahead * velocity[i] if ahead else velocity[i])


@kernel(lambda f: (f[::1], array(f), f[::1], f[::1], *[f] * 8))
def _adam(p, g, m, v, first, second, other_first, other_second, scale, root, eps, shrink):
    for i in range(p.size):
        m[i] = m[i] * first + other_first * g[i]
        v[i] = v[i] * second + other_second * (g[i] * g[i])
        p[i] = p[i] * shrink - m[i] / (np.sqrt(v[i]) / root + eps) * scale


@kernel(lambda f: (array(f), f[::1]))
def _relu(x, out):
    zero = x.dtype.type(0)  # of the dtype, or the loop would be done in float64
    for i in range(x.size):
        out[i] = zero if x[i] < zero else x[i]


@kernel(lambda f: (array(f), array(f), f[::1]))
def _gate(x, by, out):
    zero = x.dtype.type(0)
    for i in range(x.size):
        out[i] = zero if by[i] <= zero else x[i]
