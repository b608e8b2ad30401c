"""Digits drawn as a hand would: strokes, bent and slanted at random, with a soft round pen.

They stand in for MNIST where it cannot be had, and look like it: 28 x 28, bright strokes on 0,
the digit within 20 x 20 pixels and its centre of mass in the middle.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from ..backend import numpy
from .images import ImageSet

# The ways to write each digit: strokes, each a curve through points (x, y) of the unit square, y
# downwards. A point that stands twice in a row is a corner.
_GLYPHS: dict[int, list[list[list[tuple[float, float]]]]] = {
    0: [
        [[(0.56, 0.0), (0.28, 0.14), (0.14, 0.46), (0.18, 0.8), (0.42, 1.0), (0.7, 0.88),
          (0.86, 0.54), (0.82, 0.2), (0.6, 0.01), (0.46, 0.04)]],
    ],
    1: [
        [[(0.5, 0.0), (0.5, 0.5), (0.5, 1.0)]],
        [[(0.52, 0.0), (0.5, 0.35), (0.49, 0.7), (0.5, 1.0)]],
        [[(0.3, 0.24), (0.44, 0.12), (0.54, 0.0), (0.54, 0.0), (0.53, 0.5), (0.52, 1.0)]],
    ],
    2: [
        [[(0.06, 0.22), (0.3, 0.04), (0.56, 0.02), (0.66, 0.2), (0.5, 0.52), (0.28, 0.8),
          (0.1, 0.97), (0.1, 0.97), (0.4, 0.9), (0.74, 0.86), (1.1, 0.88)]],
        [[(0.14, 0.24), (0.32, 0.04), (0.6, 0.02), (0.78, 0.22), (0.66, 0.5), (0.4, 0.76),
          (0.12, 0.97), (0.12, 0.97), (0.5, 0.94), (0.9, 0.96)]],
        [[(0.16, 0.2), (0.4, 0.02), (0.68, 0.08), (0.72, 0.34), (0.52, 0.66), (0.26, 0.92),
          (0.1, 0.9), (0.14, 0.76), (0.32, 0.76), (0.55, 0.92), (0.76, 0.98), (0.94, 0.88)]],
    ],
    3: [
        [[(0.18, 0.12), (0.42, 0.0), (0.7, 0.08), (0.74, 0.28), (0.58, 0.44), (0.38, 0.48),
          (0.38, 0.48), (0.64, 0.52), (0.8, 0.7), (0.7, 0.92), (0.42, 1.0), (0.12, 0.9)]],
        [[(0.2, 0.06), (0.45, 0.02), (0.74, 0.04), (0.74, 0.04), (0.58, 0.22), (0.42, 0.4),
          (0.42, 0.4), (0.68, 0.46), (0.8, 0.68), (0.66, 0.92), (0.38, 1.0), (0.14, 0.9)]],
    ],
    4: [
        [[(0.22, 0.04), (0.16, 0.3), (0.16, 0.5), (0.34, 0.56), (0.6, 0.53), (0.86, 0.48)],
         [(0.76, 0.0), (0.71, 0.35), (0.66, 0.7), (0.64, 1.0)]],
        [[(0.62, 0.0), (0.4, 0.28), (0.12, 0.6), (0.12, 0.6), (0.5, 0.6), (0.9, 0.58)],
         [(0.66, 0.02), (0.65, 0.5), (0.64, 1.0)]],
    ],
    5: [
        [[(0.34, 0.04), (0.3, 0.24), (0.26, 0.42), (0.26, 0.42), (0.52, 0.38), (0.76, 0.52),
          (0.78, 0.76), (0.58, 0.96), (0.32, 0.99), (0.12, 0.9)],
         [(0.34, 0.04), (0.6, 0.03), (0.86, 0.0)]],
        [[(0.84, 0.02), (0.6, 0.05), (0.38, 0.06), (0.38, 0.06), (0.32, 0.28), (0.24, 0.46),
          (0.24, 0.46), (0.5, 0.46), (0.7, 0.6), (0.68, 0.82), (0.46, 0.98), (0.16, 0.96)]],
    ],
    6: [
        [[(0.66, 0.0), (0.4, 0.2), (0.22, 0.5), (0.2, 0.8), (0.4, 0.99), (0.66, 0.92),
          (0.76, 0.72), (0.62, 0.54), (0.4, 0.6), (0.24, 0.78)]],
        [[(0.48, 0.0), (0.3, 0.26), (0.2, 0.6), (0.28, 0.92), (0.54, 0.99), (0.76, 0.84),
          (0.68, 0.64), (0.46, 0.62), (0.26, 0.8)]],
    ],
    7: [
        [[(0.12, 0.1), (0.45, 0.08), (0.82, 0.04), (0.82, 0.04), (0.66, 0.34), (0.52, 0.66),
          (0.42, 1.0)]],
        [[(0.14, 0.2), (0.18, 0.06), (0.18, 0.06), (0.5, 0.08), (0.82, 0.06), (0.82, 0.06),
          (0.7, 0.4), (0.62, 0.7), (0.58, 1.0)]],
        [[(0.12, 0.08), (0.45, 0.06), (0.84, 0.04), (0.84, 0.04), (0.64, 0.36), (0.5, 0.66),
          (0.4, 1.0)], [(0.34, 0.52), (0.56, 0.5), (0.8, 0.46)]],
    ],
    8: [
        [[(0.86, 0.06), (0.6, 0.0), (0.34, 0.1), (0.34, 0.3), (0.52, 0.5), (0.6, 0.74),
          (0.46, 0.97), (0.24, 0.98), (0.2, 0.8), (0.42, 0.54), (0.68, 0.32), (0.88, 0.08)]],
        [[(0.72, 0.12), (0.5, 0.0), (0.28, 0.12), (0.32, 0.32), (0.54, 0.5), (0.74, 0.72),
          (0.66, 0.94), (0.42, 0.99), (0.26, 0.84), (0.36, 0.62), (0.56, 0.44), (0.74, 0.26),
          (0.72, 0.1)]],
        [[(0.5, 0.46), (0.28, 0.32), (0.3, 0.08), (0.54, 0.0), (0.74, 0.14), (0.68, 0.36),
          (0.48, 0.48), (0.26, 0.66), (0.28, 0.92), (0.54, 1.0), (0.74, 0.84), (0.68, 0.6),
          (0.48, 0.46)]],
    ],
    9: [
        [[(0.76, 0.16), (0.52, 0.02), (0.28, 0.16), (0.26, 0.4), (0.46, 0.5), (0.68, 0.38),
          (0.77, 0.14), (0.77, 0.14), (0.74, 0.5), (0.68, 0.78), (0.64, 1.0)]],
        [[(0.74, 0.2), (0.54, 0.02), (0.28, 0.14), (0.24, 0.38), (0.44, 0.5), (0.66, 0.4),
          (0.75, 0.18), (0.75, 0.18), (0.74, 0.56), (0.6, 0.88), (0.34, 1.0), (0.18, 0.9)]],
    ],
}  # fmt: skip
_POINTS = 64  # per digit: at most a pixel apart on the longest
_WAVES = 3.2  # radians over the height of a digit
_CHUNK = 500  # digits drawn at a time: 20 MB
_BOX = 20.0  # pixels: the longer side of a digit, as in MNIST


def draw_digits(labels: Any, rng: numpy.random.Generator) -> numpy.ndarray:
    """A digit for each of ``labels`` (n,), integers from 0 to 9: uint8 (n, 28, 28, 1).

    Each is one of its digit's ways to be written, bent, turned, slanted, stretched and moved, with
    a pen of its own width. The same labels and state of ``rng`` give the same bytes, on one
    machine. Raises ValueError for other labels.
    """
    labels = numpy.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not numpy.isin(labels, range(10)).all():
        raise ValueError("labels must be a list of integers from 0 to 9")
    images = numpy.empty((len(labels), 28, 28, 1), numpy.uint8)
    for i in range(0, len(labels), _CHUNK):
        points, spacing = _hand(labels[i : i + _CHUNK], rng)
        images[i : i + _CHUNK, ..., 0] = _ink(points, spacing, rng)
    return images


def generated_digits(train: int = 60000, test: int = 10000, seed: int = 0) -> ImageSet:
    """``train`` and ``test`` built-in digits of random labels, determined by ``seed``."""
    arrays = []
    for part, count in enumerate((train, test)):
        rng = numpy.random.default_rng([seed, part])  # one does not depend on the other's length
        labels = rng.integers(0, 10, count, numpy.uint8)
        arrays += [draw_digits(labels, rng), labels]
    return ImageSet("digits", f"drawn by minae, seed {seed}", *arrays)


def _hand(labels: numpy.ndarray, rng: numpy.random.Generator) -> tuple[Any, Any]:
    """Points of the pen's way in pixels (n, points, 2), and the ink's way per point (n,)."""
    n = len(labels)
    first, count, glyphs, lengths = _glyphs()
    chosen = first[labels] + rng.integers(0, count[labels])
    points = glyphs[chosen]  # (n, points, 2)

    # Bent: slow waves push the points, each together with its neighbours.
    waves = rng.normal(0, _WAVES, (n, 2, 6)).astype("float32")
    phases = rng.uniform(0, 2 * math.pi, (n, 1, 6)).astype("float32")
    pushes = rng.normal(0, 0.033, (n, 6, 2)).astype("float32")
    points = points + numpy.sin(points @ waves + phases) @ pushes

    # Turned, slanted, stretched; then fitted to the box and centred.
    angle, slant, stretch = rng.normal([0, 0.25, -0.12], [0.1, 0.24, 0.2], (n, 3)).T
    cos, sin, wide = numpy.cos(angle), numpy.sin(angle), numpy.exp(stretch)
    linear = numpy.array([[wide * cos, wide * sin], [-slant * cos - sin, cos - slant * sin]])
    points = points @ linear.transpose(2, 0, 1).astype("float32")
    scale = rng.normal(0.9, 0.04, n).astype("float32") * _BOX / numpy.ptp(points, 1).max(1)
    points = (points - points.mean(axis=1, keepdims=True)) * scale[:, None, None]
    centre = 13.5 + rng.normal(0, 0.4, (n, 1, 2)).astype("float32")
    return points + centre, lengths[chosen] * scale / _POINTS


def _ink(points: Any, spacing: Any, rng: numpy.random.Generator) -> Any:
    """The pen's way as grey pixels (n, 28, 28), 0 to 255: a sum of Gaussians that saturates."""
    pen = numpy.clip(rng.normal(0.74, 0.15, len(points)), 0.48, 1.3).astype("float32")  # pixels
    near = points.swapaxes(1, 2)[..., None] - numpy.arange(28, dtype="float32")
    near *= (math.sqrt(0.5) / pen)[:, None, None, None]
    # Beyond exp(-20) products become subnormal numbers, on which a processor is slow: 20,000 digits
    # would take 2.1 s instead of 0.5 s (generated_digits(20000, 0), 2 cores).
    near = numpy.exp(-numpy.minimum(near * near, 20))  # (n, x or y, points, 28)
    ink = near[:, 1].swapaxes(1, 2) @ near[:, 0]  # (n, 28 y, 28 x): a Gaussian is separable
    # The middle of a straight stroke is sqrt(2 pi) pen / spacing; 2.2 makes it flat and round.
    ink *= (2.2 * spacing / (pen * math.sqrt(2 * math.pi)))[:, None, None]
    grey = numpy.clip(ink * 1.1 - 0.1, 0, 1)  # a background of 0, a stroke of 1
    return numpy.rint(grey * 255).astype(numpy.uint8)


@functools.cache
def _glyphs() -> tuple[numpy.ndarray, ...]:
    """For each digit its first glyph and their number; for each glyph its points and length."""
    counts = [len(_GLYPHS[digit]) for digit in range(10)]
    ways, lengths = zip(*(_way(glyph) for digit in range(10) for glyph in _GLYPHS[digit]))
    first = numpy.cumsum([0, *counts[:-1]])
    points = numpy.array(ways, "float32")
    return first, numpy.array(counts), points, numpy.array(lengths, "float32")


def _way(strokes: Any) -> tuple[numpy.ndarray, float]:
    """``_POINTS`` points at equal distances along the strokes, and the length of them all."""
    curves = [_curve(numpy.array(stroke)) for stroke in strokes]
    steps = [numpy.hypot(*numpy.diff(curve, axis=0).T) for curve in curves]
    along = numpy.cumsum(numpy.concatenate([numpy.append(0, s) for s in steps]))  # no ink between
    places = (numpy.arange(_POINTS) + 0.5) * along[-1] / _POINTS
    x, y = numpy.concatenate(curves).T
    points = [numpy.interp(places, along, x), numpy.interp(places, along, y)]
    return numpy.stack(points, axis=1), along[-1]


def _curve(knots: numpy.ndarray) -> numpy.ndarray:
    """A Catmull-Rom curve through ``knots`` (k, 2), 32 points to each of its pieces.

    E. Catmull and R. Rom, A class of local interpolating splines, 1974.
    """
    before, after = 2 * knots[0] - knots[1], 2 * knots[-1] - knots[-2]
    knots = numpy.stack([before, *knots, after])
    t = numpy.linspace(0, 1, 32)[:, None]
    curve = []
    for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:]):
        if (b == c).all():
            continue  # a corner: its neighbours end here with a slope of their own
        bend = (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
        curve.append(b + 0.5 * ((c - a) * t + bend))
    return numpy.concatenate(curve)
