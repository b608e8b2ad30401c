"""Dropout."""

from __future__ import annotations

from typing import Any

from ..backend import xp
from ..random import uniform_noise
from .checks import dropping, floats


def dropout(x: Any, p: float = 0.5, rng: Any = None) -> Any:
    """Set each entry to 0 with probability ``p``, and divide the others by ``1 - p``.

    For training: in evaluation, do not call it (Srivastava et al. 2014). Where ``p`` is 0, that is
    ``x`` itself, and nothing is drawn. Raises ValueError unless ``0 <= p < 1``.
    """
    x, p = floats(x), dropping(p)
    if p == 0:
        return x
    kept = uniform_noise(x.shape, rng=rng) >= p
    return x * (kept * xp.asarray(1 / (1 - p), x.dtype))
