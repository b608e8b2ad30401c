"""Random numbers by a counter: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers").

Four words of 32 bits are a function of a key and a counter, a block; any number of threads can draw
at once. ``state`` is an array of two uint64, key and counter, and a draw moves the counter on in
place: it may live on a device, whose draws can be replayed without the host.
"""

from __future__ import annotations

import math
from typing import Any

from minae.backend import Array, xp

_WORD = 0xFFFFFFFF


def uniform(state: Array, count: int, dtype: Any = "float32") -> Array:
    """``count`` numbers spread evenly over [0, 1): multiples of 2^-24, in float64 of 2^-53.

    ``state`` is an array of two uint64, a key and a counter of blocks of four 32-bit words (Salmon
    et al. 2011, Philox4x32-10); the counter moves on, in place. Each number is made of one word,
    in float64 of two. A draw takes whole blocks and leaves the rest of its last one: two draws of
    3 are not one of 6. Raises TypeError where ``dtype`` is neither float32 nor float64.
    """
    words = _words(state, count, dtype)
    bits = 8 * words.dtype.itemsize
    kept = 24 if bits == 32 else 53
    return (words >> (bits - kept)).astype(dtype) * 0.5**kept


def normal(state: Array, count: int, dtype: Any = "float32") -> Array:
    """``count`` numbers of the normal distribution with mean 0 and variance 1 (Box & Muller 1958).

    Two uniform ones, u in (0, 1] of all their bits and v in [0, 1), make two of them: the sine and
    the cosine of ``2 pi v`` times ``sqrt(-2 log u)``. ``state``, ``dtype``, blocks and errors are
    as in ``uniform``.
    """
    words = _words(state, count + count % 2, dtype).reshape(-1, 2)
    bits = 8 * words.dtype.itemsize
    kept = 24 if bits == 32 else 53
    u = words[:, 0].astype(dtype) * 0.5**bits + 0.5 ** (bits + 1)
    angle = (words[:, 1] >> (bits - kept)).astype("float64") * (2 * math.pi * 0.5**kept)
    radius = xp.sqrt(-2 * xp.log(u.astype("float64")))
    pairs = xp.stack([radius * xp.sin(angle), radius * xp.cos(angle)], axis=-1)
    return pairs.astype(dtype).reshape(-1)[:count]


def check(dtype: Any) -> int:
    """How many numbers of this dtype a block makes."""
    per_block = {"float32": 4, "float64": 2}.get(xp.dtype(dtype).name)
    if per_block is None:
        raise TypeError(f"random numbers are float32 or float64, not {dtype}")
    return per_block


def _words(state: Array, count: int, dtype: Any) -> Array:
    """The bits of ``count`` numbers: words of 32, or of 64, the earlier word below."""
    per_block = check(dtype)
    blocks = -(-count // per_block)
    key, counter = state[:1], state[1:]
    number = counter + xp.arange(blocks, dtype="uint64")
    zero = xp.zeros_like(number)
    words = philox([number & _WORD, number >> 32, zero, zero], [key & _WORD, key >> 32])
    counter += blocks
    if per_block == 2:
        words = [low | high << 32 for low, high in (words[:2], words[2:])]
    flat = xp.stack(words, axis=-1).reshape(-1)[:count]
    return flat if per_block == 2 else flat.astype("uint32")


def philox(counter: list[Array], key: list[Array]) -> list[Array]:
    """The four words of blocks, from four of their counters and two of the key, all as uint64."""
    (a, b, c, d), (k, h) = counter, key
    for _ in range(10):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = right >> 32 ^ b ^ k, right & _WORD, left >> 32 ^ d ^ h, left & _WORD
        k, h = (k + 0x9E3779B9) & _WORD, (h + 0xBB67AE85) & _WORD
    return [a, b, c, d]
