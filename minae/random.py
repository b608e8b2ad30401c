"""The default random generator, and the draws that minae makes.

Every function that draws takes ``rng``, a ``numpy.random.Generator``; without one it uses the
default generator, which ``seed`` sets. There is one for the process, and ``using`` puts another in
its place, for one thread or task.

``normal`` and ``uniform`` draw on the host and move the numbers to the backend, so that a seed
gives a model the same start on a CPU and on a GPU. What is drawn again in each training step, the
``noise``, is drawn where it is used: on a GPU by a counter-based generator, Philox (Salmon et al.
2011), whose key and counter are on the device. ``seed`` sets these too, and under an ``rng`` or
``using`` each draw takes its key from that generator.
"""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import minae.kernels as kernels

from .backend import Array, asarray, asnumpy, not_captured, numpy, xp

# On a device: the key and the counter of its noise, changed in place alone (see capture).
_philox: Any = None
if xp is not numpy:
    _philox = xp.asarray(numpy.array([secrets.randbits(64), 0], "uint64"))


@functools.cache  # made at the first draw: NumPy imports its random module no sooner
def _of_the_process() -> numpy.random.Generator:
    return numpy.random.Generator(numpy.random.PCG64())


_in_place: ContextVar[Any] = ContextVar("generator", default=None)


def default_generator() -> numpy.random.Generator:
    """The generator used where no ``rng`` is given, seeded by the system or by ``seed``."""
    return _in_place.get() or _of_the_process()


@contextmanager
def using(rng: numpy.random.Generator) -> Iterator[None]:
    """Make ``rng`` the default generator in the ``with`` block, for the current thread or task.

    So that models which train in several threads draw what each would draw alone.
    """
    token = _in_place.set(generator(rng))
    try:
        yield
    finally:
        _in_place.reset(token)


def _draws_here() -> bool:
    """Whether noise comes from the device's own generator: there is one, and none in its place."""
    return _philox is not None and _in_place.get() is None


def seed(number: int) -> None:
    """Restart the default generator: from here on every draw is determined by ``number``."""
    bits = default_generator().bit_generator
    bits.state = type(bits)(number).state
    if _draws_here():
        key = numpy.random.SeedSequence(number).generate_state(1, "uint64")
        _philox[...] = asarray(numpy.array([key[0], 0], "uint64"))


def get_state() -> dict[str, Any]:
    """The state of the default generator, a dictionary of integers and strings for a checkpoint."""
    state = dict(default_generator().bit_generator.state)
    return state | {"philox": asnumpy(_philox).tolist()} if _draws_here() else state


def set_state(state: dict[str, Any]) -> None:
    """Continue the default generator from what ``get_state`` gave.

    Of a state from NumPy, noise on a GPU starts anew.
    """
    state = dict(state)
    noise = state.pop("philox", None)
    default_generator().bit_generator.state = state
    if _draws_here():
        start = [generator(None).integers(1 << 63), 0] if noise is None else noise
        _philox[...] = asarray(numpy.array(start, "uint64"))


def generator(rng: Any) -> numpy.random.Generator:
    """``rng`` itself, or the default generator where it is None."""
    not_captured("draw from a NumPy generator")
    if rng is None:
        return default_generator()
    if not hasattr(rng, "standard_normal"):
        raise TypeError(f"rng must be a generator, like numpy.random.default_rng(0); got {rng!r}")
    return rng


def normal(shape: Any, scale: float = 1.0, dtype: Any = "float32", rng: Any = None) -> Array:
    """Gaussian numbers of mean 0 and standard deviation ``scale``."""
    draws = generator(rng).standard_normal(shape, dtype=dtype)
    return asarray(draws * numpy.dtype(dtype).type(scale))


def uniform(
    shape: Any, low: float = 0.0, high: float = 1.0, dtype: Any = "float32", rng: Any = None
) -> Array:
    """Numbers spread evenly over [low, high)."""
    draws = generator(rng).random(shape, dtype=dtype)
    return asarray((low + (high - low) * draws).astype(dtype, copy=False))


# --- Noise: drawn where it is used ---------------------------------------------------------------


def normal_noise(shape: Any, dtype: Any = "float32", rng: Any = None) -> Array:
    """Gaussian numbers of mean 0 and deviation 1, drawn where the backend computes."""
    if _philox is None:
        return normal(shape, 1.0, dtype, rng)
    return _drawn("normal", shape, dtype, rng)


def uniform_noise(shape: Any, dtype: Any = "float32", rng: Any = None) -> Array:
    """Numbers spread evenly over [0, 1), drawn where the backend computes."""
    if _philox is None:
        return uniform(shape, 0.0, 1.0, dtype, rng)
    return _drawn("uniform", shape, dtype, rng)


def integer_noise(high: int, shape: Any, rng: Any = None) -> Array:
    """Integers in [0, high), drawn where the backend computes."""
    if _philox is None:
        return generator(rng).integers(high, size=shape)
    return (uniform_noise(shape, "float64", rng) * high).astype("int64")


def _drawn(kind: str, shape: Any, dtype: Any, rng: Any) -> Array:
    state = _philox
    if rng is not None or not _draws_here():
        state = asarray(numpy.array([generator(rng).integers(1 << 63), 0], "uint64"))
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return getattr(kernels, kind)(state, math.prod(shape), dtype).reshape(shape)
