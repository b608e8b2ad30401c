"""Convolution, features last, without an image ever being padded or unrolled.

An output pixel is a row of the register tile, its channels are the vectors, and the walk goes over
(tap, input channel): at each step the tile reads one entry of every pixel's image, and a line of
the weights. Taps that fall into the padding are skipped: pixels are sorted into classes that see
the same taps, which are the same whichever image a pixel is in.

The gradient of the images is this very loop: a pixel of theirs gathers from the results that it
took part in, through the same taps in the opposite direction, and a stride only makes more classes.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import types

from . import patches
from .compiler import Kernel, array, flat, inline, kernel
from .patches import Grid, Pair
from .threads import share, threads
from .tile import along, rows, start, step, store, strided, totals
from .vectors import ROWS, VECTORS, WIDTH, lanes

SMALL = 3 << 19  # multiplications that are worth a call


def conv2d(x: Any, weight: Any, bias: Any = None, *, relu: bool = False, **where: Any) -> Any:
    """See ``reference.conv2d``."""
    grid = laid(**where)
    if not suits(grid.groups, x, weight, bias):
        return patches.conv2d(x, weight, bias, relu=relu, **where)
    return _gather(x, weight, bias, _forward(x.shape, weight.shape, grid), relu)


def conv2d_input(
    g: Any, weight: Any, bias: Any = None, *, size: Any, relu: bool = False, **where: Any
) -> Any:
    """See ``reference.conv2d_input``."""
    grid = laid(**where)
    if not suits(grid.groups, g, weight, bias):
        return patches.conv2d_input(g, weight, bias, size=size, relu=relu, **where)
    plan = _backward(g.shape, weight.shape, tuple(size), grid)
    return _gather(g, weight.swapaxes(2, 3), bias, plan, relu)


def laid(
    stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1), groups: int = 1
) -> Grid:
    """A Grid that can be looked up: its pairs may come as lists."""
    return Grid(tuple(stride), tuple(padding), tuple(dilation), groups)


def suits(groups: int, *arrays: Any) -> bool:
    """Whether the tile can do it: one group, and one dtype that it is compiled for."""
    dtype = arrays[0].dtype
    return groups == 1 and dtype in _FLOATS and all(a is None or a.dtype == dtype for a in arrays)


_FLOATS = np.dtype(np.float32), np.dtype(np.float64)


# --- Forward, and the gradient of the images ------------------------------------------------------


class Plan(NamedTuple):
    """Which taps each result of one image reads, and where.

    Neighbours of a line, in the image as in the weights, are one run: one loop of the tile.
    """

    size: Pair  # of the results
    order: Any  # of the taps, as an index of the weights: the one that makes runs long
    source: Any  # of each pixel, sorted by class: the pixel that its first tap reads
    target: Any  # the pixel itself
    pixels: Any  # where each class begins
    runs: Any  # where the runs of each class begin
    moves: Any  # of each run: from the first tap's pixel to its own
    weights: Any  # its place among the taps
    lengths: Any  # and how many taps it has


@functools.lru_cache(maxsize=64)
def _forward(x: tuple[int, ...], weight: tuple[int, ...], grid: Grid) -> Plan:
    """From images to results, of these shapes."""
    size = patches.output_size(x, weight, *grid)
    return _plan((x[1], x[2]), size, (weight[0], weight[1]), grid, False)


@functools.lru_cache(maxsize=64)
def _backward(g: tuple[int, ...], weight: tuple[int, ...], size: Pair, grid: Grid) -> Plan:
    """From results to images of this size."""
    patches.check_input(g, weight, size, *grid)
    return _plan((g[1], g[2]), size, (weight[0], weight[1]), grid, True)


@functools.lru_cache(maxsize=64)  # one for all sizes of the batch
def _plan(source: Pair, target: Pair, kernel: Pair, grid: Grid, adjoint: bool) -> Plan:
    high, wide = (
        _classes(source[i], target[i], kernel[i], grid.stride[i], grid.padding[i],
                 grid.dilation[i], adjoint)
        for i in (0, 1)
    )  # fmt: skip
    places: tuple[list, list, list] = [], [], [0]
    runs: tuple[list, list, list, list] = [0], [], [], []
    for vertical, down in high.items():
        for horizontal, across in wide.items():
            ys, xs = np.array(down), np.array(across)
            places[0].append(np.add.outer(ys[:, 1] * source[1], xs[:, 1]).reshape(-1))
            places[1].append(np.add.outer(ys[:, 0] * target[1], xs[:, 0]).reshape(-1))
            places[2].append(places[2][-1] + places[0][-1].size)
            for k, dj in vertical:
                for q, dm, length in _runs(horizontal):
                    runs[1].append(dj * source[1] + dm)
                    runs[2].append(k * kernel[1] + q)
                    runs[3].append(length)
            runs[0].append(len(runs[1]))
    order = [_order(kernel[i], grid.stride[i], adjoint) for i in (0, 1)]
    index = np.ix_(*order) if adjoint else ...
    read, written = (np.concatenate([np.zeros(0, np.int64), *a]) for a in places[:2])
    return Plan(target, index, read, written, *(np.array(a, np.int64) for a in (places[2], *runs)))


def _order(kernel: int, stride: int, adjoint: bool) -> list[int]:
    """The adjoint reads every ``stride``-th tap, the last one first."""
    taps = range(kernel)
    return sorted(taps, key=lambda k: (k % stride, -k)) if adjoint else list(taps)


def _classes(
    source: int, target: int, kernel: int, stride: int, padding: int, dilation: int, adjoint: bool
) -> dict[tuple[Pair, ...], list[Pair]]:
    """Along one axis: for each set of (tap, move from the first), the pixels that see it, each with
    the source of its first tap. A tap is known by its place in the order."""
    found: dict[tuple[Pair, ...], list[Pair]] = {}
    order = _order(kernel, stride, adjoint)
    for i in range(target):
        if adjoint:
            reads = [divmod(i + padding - k * dilation, stride) for k in order]
        else:
            reads = [(i * stride - padding + k * dilation, 0) for k in order]
        taps = [(k, j) for k, (j, rest) in enumerate(reads) if not rest and 0 <= j < source]
        first = taps[0][1] if taps else 0
        found.setdefault(tuple((k, j - first) for k, j in taps), []).append((i, first))
    return found


def _runs(taps: tuple[Pair, ...]) -> list[list[int]]:
    """Neighbours in one: (tap, move, how many)."""
    runs: list[list[int]] = []
    for k, move in taps:
        if runs and (k, move) == (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]):
            runs[-1][2] += 1
        else:
            runs.append([k, move, 1])
    return runs


def _gather(x: Any, weight: Any, bias: Any, plan: Plan, relu: bool) -> Any:
    """weight (kh, kw, inputs, outputs), by which each pixel sums what its taps read of x."""
    batch, (inputs, outputs), width = len(x), weight.shape[2:], lanes(x.dtype)
    patches.check_bias(bias, outputs)
    vectors = VECTORS if -outputs % (VECTORS * width) < VECTORS // 2 * width else VECTORS // 2
    y = np.empty((batch, *plan.size, outputs), x.dtype)
    lines = weight[plan.order].reshape(-1, outputs)  # one for each step of the walk
    if 4 * outputs <= VECTORS * width and inputs % width == 0:  # too few to fill the vectors
        compute, packed, padded = _convolve_few[x.dtype], lines.T, outputs
    else:
        compute, block = _convolve[vectors][x.dtype], vectors * width
        padded = -(-outputs // block) * block
        if padded > outputs:
            lines = np.pad(lines, ((0, 0), (0, padded - outputs)))
        packed = lines.reshape(len(lines), -1, block).swapaxes(0, 1)
    begin = np.zeros(padded, x.dtype)
    if bias is not None:
        begin[:outputs] = bias
    arrays = flat(x), flat(packed), begin, y.reshape(-1)
    parts = max(4 * threads(), (x.nbytes + y.nbytes) >> 17)  # what the cache holds, or less,
    parts = max(1, min(parts, y.size * len(lines) // max(SMALL, 1)))  # if it is worth a call
    floor = 0.0 if relu else -np.inf

    def work(part: int) -> None:
        compute(*arrays, floor, batch, inputs, outputs, *plan[2:], part, parts)

    share(work, parts)
    return y


def _arguments(f: Any) -> tuple:
    """Types: images, weights, bias and results; sizes; the fields of a Plan; which part."""
    sizes, plan = [types.intp] * 3, [array(types.int64)] * 7
    return (array(f), array(f), array(f), f[::1], f, *sizes, *plan, types.intp, types.intp)


def _convolving(vectors: int) -> Kernel:
    """The loop, with a tile of so many vectors."""

    @kernel(_arguments)
    def convolve(
        x, packed, begin, y, floor, batch, inputs, outputs,
        source, target, pixels, runs, moves, weights, lengths, part, parts,
    ):
        """The given part of the pixels of all classes, each in all images. weights (blocks, taps,
        inputs, block): the vectors hold output channels."""
        block = vectors * WIDTH // x.itemsize
        lines = packed.size // begin.size
        image_in, image_out = x.size // max(batch, 1), y.size // max(batch, 1)
        edge = np.empty(ROWS * block, x.dtype)
        for c in range(pixels.size - 1):
            reads = _places(source, pixels, c, batch, image_in, inputs, part, parts)
            writes = _places(target, pixels, c, batch, image_out, outputs, part, parts)
            for channel in range(0, begin.size, block):
                for r in range(0, reads.size, ROWS):
                    at = rows(reads, r, reads.size)
                    acc = start(begin, channel, vectors)
                    for t in range(runs[c], runs[c + 1]):
                        place = moves[t] * inputs
                        p = channel * lines + weights[t] * inputs * block
                        for d in range(place, place + lengths[t] * inputs):
                            acc = step(acc, x, at, d, packed, p)
                            p += block
                    if channel + block <= outputs:
                        store(acc, y, rows(writes, r, reads.size), channel, floor)
                    else:
                        store(acc, edge, strided(0, block), 0, floor)
                        for i in range(min(ROWS, reads.size - r)):
                            for j in range(outputs - channel):
                                y[writes[r + i] + channel + j] = edge[i * block + j]

    return convolve


# Half a tile wastes less on a number of channels that fills but half of a whole one.
_convolve = {vectors: _convolving(vectors) for vectors in (VECTORS, VECTORS // 2)}


@kernel(_arguments)
def _convolve_few(
    x, packed, begin, y, floor, batch, inputs, outputs,
    source, target, pixels, runs, moves, weights, lengths, part, parts,
):
    """The same for few output channels. weights (outputs, taps, inputs): the vectors hold input
    channels, and are added up at the end."""
    width = WIDTH // x.itemsize
    lines = packed.size // max(outputs, 1)
    image_in, image_out = x.size // max(batch, 1), y.size // max(batch, 1)
    zeros = np.zeros(width, x.dtype)
    for c in range(pixels.size - 1):
        reads = _places(source, pixels, c, batch, image_in, inputs, part, parts)
        writes = _places(target, pixels, c, batch, image_out, outputs, part, parts)
        for r in range(0, reads.size, ROWS):
            at = rows(reads, r, reads.size)
            for channel in range(outputs):
                acc = start(zeros, 0, 1)
                for t in range(runs[c], runs[c + 1]):
                    p = channel * lines + weights[t] * inputs
                    for d in range(0, lengths[t] * inputs, width):
                        acc = along(acc, x, at, moves[t] * inputs + d, packed, p + d)
                sums = totals(acc)
                for i in range(min(ROWS, reads.size - r)):
                    total = sums[i] + begin[channel]
                    y[writes[r + i] + channel] = floor if total < floor else total


@inline
def _places(first, pixels, c, batch, image, channels, part, parts):
    """Where the rows of one part of class ``c`` begin: its pixels in one image after another."""
    size = pixels[c + 1] - pixels[c]
    begin, end = batch * size * part // parts, batch * size * (part + 1) // parts
    places = np.empty(end - begin, np.int64)
    n, pixel = begin // size, begin % size
    for r in range(end - begin):
        places[r] = n * image + first[pixels[c] + pixel] * channels
        pixel += 1
        if pixel == size:
            n, pixel = n + 1, 0
    return places
