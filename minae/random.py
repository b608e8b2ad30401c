"""The default random generator, and the draws that minae makes.

Everything is drawn by NumPy on the host and then moved to the backend, so that a seed means the
same numbers on a CPU and on a GPU. Every function that draws takes ``rng``, a
``numpy.random.Generator``; without one it uses the default generator, which ``seed`` sets. There is
one for the process, and ``using`` puts another in its place, for one thread or task.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .backend import Array, asarray, numpy


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


def seed(number: int) -> None:
    """Restart the default generator: from here on every draw is determined by ``number``."""
    bits = default_generator().bit_generator
    bits.state = type(bits)(number).state


def get_state() -> dict[str, Any]:
    """The state of the default generator, a dictionary of integers and strings for a checkpoint."""
    return dict(default_generator().bit_generator.state)


def set_state(state: dict[str, Any]) -> None:
    """Continue the default generator from what ``get_state`` gave."""
    default_generator().bit_generator.state = state


def generator(rng: Any) -> numpy.random.Generator:
    """``rng`` itself, or the default generator where it is None."""
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
