"""The gradient of a convolution's weights: a walk over pixels.

The register tile holds input by output channels of one tap, and each step adds the product of one
pixel's channels. Each thread owns tiles, so that no number of threads changes a sum.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numba import types

from . import patches
from .compiler import array, flat, kernel
from .convolution import laid, suits
from .patches import Grid, Pair
from .threads import share, threads
from .tile import add_to, start, step, strided
from .vectors import ROWS, VECTORS, WIDTH, lanes

SMALL = 1 << 20  # multiplications that are not worth a second thread
CACHED = 1 << 15  # bytes of images that are walked over again and again


def conv2d_weight(x: Any, g: Any, *, size: Any, **where: Any) -> Any:
    """See ``reference.conv2d_weight``."""
    grid, size = laid(**where), tuple(size)
    if not suits(grid.groups, x, g):
        return patches.conv2d_weight(x, g, size=size, **where)
    shape = patches.check_weight(x.shape, g.shape, size, *grid)
    taps, inputs, outputs = size, x.shape[3], g.shape[3]
    joined = inputs < ROWS and size[1] > 1 and grid.dilation[1] == 1
    if joined:  # too few channels to fill a tile: a result's taps along a line are neighbours
        down, across = grid.padding
        x = _roomy(x, across)
        taps, inputs, grid = (size[0], 1), size[1] * inputs, grid._replace(padding=(down, 0))
    block = VECTORS * lanes(x.dtype)
    if not joined and -outputs % block * inputs > -inputs % block * outputs:  # waste less
        x, g = _filled_up(x), _roomy(g, 0) if outputs < ROWS else g
        walk = _walk(x.shape[1:], g.shape[1:], taps, grid)
        sums = _outer(g, outputs, x, inputs, walk.y, walk.x, walk.bands).swapaxes(1, 2)
    else:
        x, g = _roomy(x, 0) if inputs < ROWS and not joined else x, _filled_up(g)
        walk = _walk(x.shape[1:], g.shape[1:], taps, grid)
        sums = _outer(x, inputs, g, outputs, walk.x, walk.y, walk.bands)
    return np.ascontiguousarray(sums).reshape(shape)


def _roomy(images: Any, across: int) -> Any:
    """The images, with columns of zeros on both sides, in memory that goes on behind them: a tile
    with more rows than there are channels reads past the end."""
    batch, height, width, channels = images.shape
    shape = batch, height, width + 2 * across, channels
    size = math.prod(shape)
    wide = np.zeros(size + ROWS, images.dtype)[:size].reshape(shape)
    wide[:, :, across : across + width] = images
    return wide


def _filled_up(images: Any) -> Any:
    """The images with channels of zeros behind theirs, to whole tiles."""
    missing = -images.shape[3] % (VECTORS * lanes(images.dtype))
    return np.pad(images, ((0, 0), (0, 0), (0, 0), (0, missing))) if missing else images


class Walk(NamedTuple):
    """What a tile meets in one image: a band of rows, small enough for the cache, after another,
    and in each, for every tap, the pixels that it reads inside the image."""

    x: Any  # the entries of x where these begin
    y: Any  # and of y
    bands: Any  # (bands, taps + 1): where each tap's pixels begin


@functools.lru_cache(maxsize=64)
def _walk(x: tuple[int, ...], y: tuple[int, ...], taps: Pair, grid: Grid) -> Walk:
    (height, width, inputs), (oh, ow, outputs) = x, y
    (down, across), (top, left), (high, wide) = grid[:3]
    columns = np.arange(ow)
    band = max(1, CACHED // (4 * (down * width * inputs + ow * outputs)))
    reads, writes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    bands, total = [], 0
    for first in range(0, oh, band):
        bands.append([total])
        for k, q in itertools.product(range(taps[0]), range(taps[1])):
            entries = columns * across - left + q * wide
            inside = (entries >= 0) & (entries < width)
            for i in range(first, min(first + band, oh)):
                j = i * down - top + k * high
                if 0 <= j < height:
                    reads.append((j * width + entries[inside]) * inputs)
                    writes.append((i * ow + columns[inside]) * outputs)
                    total += len(reads[-1])
            bands[-1].append(total)
    return Walk(np.concatenate(reads), np.concatenate(writes), np.array(bands))


def _outer(
    x: Any, left: int, y: Any, right: int, x_places: Any, y_places: Any, bands: Any
) -> Any:
    """For each tap, the sum over pixels of the left channels of x times the right ones of y."""
    block, taps = VECTORS * lanes(x.dtype), bands.shape[1] - 1
    tiles, blocks = -(-left // ROWS), -(-right // block)
    sums = np.zeros((tiles, taps, blocks, ROWS, block), x.dtype)
    compute, units = _correlate[x.dtype], tiles * taps
    # A tile starts early enough to end with the channels.
    starts = np.maximum(0, np.minimum(np.arange(tiles) * ROWS, left - ROWS))
    entries = x.base.reshape(-1) if left < ROWS else flat(x)  # with what is behind roomy images
    arrays = entries, flat(y), sums.reshape(-1)
    parts = threads() if len(x) * len(x_places) * left * right > SMALL else 1

    def work(part: int) -> None:
        first, last = units * part // parts, units * (part + 1) // parts
        compute(
            *arrays, len(x), math.prod(x.shape[1:]), starts, blocks, x_places, y_places,
            bands.reshape(-1), first, last,
        )

    share(work, parts)
    out = np.empty((taps, left, right), x.dtype)
    for tile, first in enumerate(starts.tolist()):
        part = sums[tile].swapaxes(1, 2).reshape(taps, ROWS, blocks * block)
        out[:, first : first + ROWS] = part[:, : left - first, :right]
    return out


@kernel(lambda f: (
    array(f), array(f), f[::1], types.intp, types.intp, array(types.int64), types.intp,
    *[array(types.int64)] * 3, types.intp, types.intp,
))
def _correlate(
    x, y, sums, batch, x_image, starts, blocks, x_places, y_places, bands, first, last
):
    """The tiles [first, last) of (channels of x, tap): all pixels, in their order."""
    block = VECTORS * WIDTH // x.itemsize
    size = ROWS * block
    taps = sums.size // (starts.size * blocks * size)
    zeros = np.zeros(block, x.dtype)
    y_image = y.size // max(batch, 1)
    for n in range(batch):
        for band in range(0, bands.size, taps + 1):
            for tile in range(first, last):
                begin, end = bands[band + tile % taps], bands[band + tile % taps + 1]
                reads, writes = x_places[begin:end], y_places[begin:end]
                at = strided(n * x_image + starts[tile // taps], 1)
                for b in range(blocks):
                    place, y_place = (tile * blocks + b) * size, n * y_image + b * block
                    acc = start(zeros, 0, VECTORS)  # a sum for each band: shorter ones round less
                    for k in range(reads.size):
                        acc = step(acc, x, at, reads[k], y, y_place + writes[k])
                    add_to(acc, sums, place)
