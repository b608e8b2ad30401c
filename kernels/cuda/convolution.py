"""Convolution and its two gradients on the device: which tile suits a shape, and its launch."""

from __future__ import annotations

import functools
import math
import os
from typing import Any, NamedTuple

import numpy

from minae.backend import xp

from .. import patches
from ..patches import Grid, Pair
from . import module, tensor_cores

FORWARD, INPUT, WEIGHT = range(3)  # the kernel's KIND
TILES = [  # rows and columns of a block, and of each of its four warps
    (128, 64, 64, 32), (64, 64, 32, 32), (128, 32, 32, 32), (32, 32, 16, 16), (128, 16, 32, 16),
]  # fmt: skip
THREADS = 128
SLOTS = 132  # blocks at once; the same on every card, for sums must not depend on it
LARGEST = 2**31 - 256  # of what the kernel counts in 32 bits, up to a tile too far


def conv2d(x: Any, weight: Any, bias: Any = None, *, relu: bool = False, **where: Any) -> Any:
    """See ``reference.conv2d``."""
    grid = _laid(**where)
    high, wide = patches.output_size(x.shape, weight.shape, *grid)
    patches.check_bias(bias, weight.shape[3])
    sizes = Sizes.of(x.shape, (high, wide), weight.shape, grid)
    found = _launched(FORWARD, sizes, (len(x), high, wide, weight.shape[3]), x, weight, bias, relu)
    return patches.conv2d(x, weight, bias, relu=relu, **where) if found is None else found


def conv2d_input(
    g: Any, weight: Any, bias: Any = None, *, size: Any, relu: bool = False, **where: Any
) -> Any:
    """See ``reference.conv2d_input``."""
    grid, size = _laid(**where), tuple(size)
    patches.check_input(g.shape, weight.shape, size, *grid)
    shape = (len(g), *size, weight.shape[2] * grid.groups)
    patches.check_bias(bias, shape[3])
    sizes = Sizes.of(shape, g.shape[1:3], weight.shape, grid)
    found = _launched(INPUT, sizes, shape, g, weight, bias, relu)
    if found is None:
        return patches.conv2d_input(g, weight, bias, size=size, relu=relu, **where)
    return found


def conv2d_weight(x: Any, g: Any, *, size: Any, **where: Any) -> Any:
    """See ``reference.conv2d_weight``."""
    grid = _laid(**where)
    shape = patches.check_weight(x.shape, g.shape, tuple(size), *grid)
    found = _launched(WEIGHT, Sizes.of(x.shape, g.shape[1:3], shape, grid), shape, x, g)
    return patches.conv2d_weight(x, g, size=size, **where) if found is None else found


def _laid(
    stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1), groups: int = 1
) -> Grid:
    return Grid(tuple(stride), tuple(padding), tuple(dilation), groups)


class Sizes(NamedTuple):
    """Of a convolution, in the order in which the kernel takes them."""

    batch: int
    height: int
    width: int
    within: int  # input channels of a group
    high: int
    wide: int
    per: int  # output channels of a group
    kh: int
    kw: int
    sy: int
    sx: int
    py: int
    px: int
    dy: int
    dx: int
    groups: int

    @classmethod
    def of(cls, images: Any, results: Pair, weight: Any, grid: Grid) -> Sizes:
        pairs = (*grid.stride, *grid.padding, *grid.dilation)
        within, per = weight[2], weight[3] // grid.groups
        return cls._make(
            (*images[:3], within, *results, per, *weight[:2], *pairs, grid.groups)
        )


def _launched(
    kind: int, sizes: Sizes, shape: tuple[int, ...], left: Any, right: Any, bias: Any = None,
    relu: bool = False,
) -> Any:
    """The result, or None where it is not the kernel's."""
    dtype = xp.result_type(left, right) if bias is None else xp.result_type(left, right, bias)
    if dtype not in ("float32", "float64"):
        return None
    if math.prod(shape) == 0:
        return xp.empty(shape, dtype)
    left, right = (xp.ascontiguousarray(a, dtype) for a in (left, right))
    bias = 0 if bias is None else xp.ascontiguousarray(bias, dtype)  # 0: a null pointer
    aligned = (_address(left) | _address(right)) % 16 == 0
    plan = _plan(kind, sizes, dtype.char, aligned, _products(dtype.char))
    if plan is None:
        return None
    options, blocks, splits, numbers = plan
    kernels, out = module("convolution", *options), xp.empty(shape, dtype)
    none = dtype.type(-numpy.inf)
    floor = dtype.type(0) if relu else none
    convolve = kernels.get_function("convolve")
    if splits == 1:
        convolve((blocks,), (THREADS,), (left, right, bias, out, *numbers, floor))
        return out
    parts = xp.empty((splits, *shape), dtype)
    convolve((blocks,), (THREADS,), (left, right, 0, parts, *numbers, none))
    ends = numpy.int32(shape[3]), numpy.int32(splits), floor
    add_parts = kernels.get_function("add_parts")
    add_parts((-(-out.size // THREADS),), (THREADS,), (parts, bias, out, out.size, *ends))
    return out


def _address(x: Any) -> int:
    return x.data.ptr if hasattr(x.data, "ptr") else x.ctypes.data


@functools.cache
def _products(dtype: str) -> int:
    """How often the tensor cores multiply for one product: see the kernel's PRODUCTS."""
    if dtype == "d" or not tensor_cores():
        return 0
    return 1 if os.environ.get("MINAE_TF32") == "1" else 3


class Plan(NamedTuple):
    options: tuple[str, ...]
    blocks: int
    splits: int  # parts of each sum
    numbers: tuple[numpy.int32, ...]


@functools.lru_cache(maxsize=256)
def _plan(
    kind: int, sizes: Sizes, dtype: str, aligned: bool, products: int
) -> Plan | None:
    """What to launch; None where there is more than it can count."""
    s = sizes
    pixels, taps = s.batch * s.high * s.wide, s.kh * s.kw
    phases = s.sy * s.sx if kind == INPUT else 1
    sides = -(-s.height // s.sy), -(-s.width // s.sx)  # of a phase
    rows, columns, depth = {
        FORWARD: (pixels, s.per, taps * s.within),
        INPUT: (s.batch * math.prod(sides), s.within, -(-taps // phases) * s.per),
        WEIGHT: (taps * s.within, s.per, pixels),
    }[kind]
    lanes = 2 if dtype == "d" else 4  # entries of 16 bytes, which can be copied at once
    channels = (s.per,) if kind == INPUT else (s.within, s.per)  # that lie in a line
    wide = aligned and not any(n % lanes for n in channels)
    slices = -(-depth // (4 * lanes))

    def count(tile: tuple[int, ...]) -> int:
        return -(-rows // tile[0]) * -(-columns // tile[1]) * phases * s.groups

    def cost(tile: tuple[int, ...]) -> float:
        """In multiplications; to fetch an entry costs as many as 32."""
        one = tile[0] * tile[1] + 32 * (tile[0] + tile[1])
        # One more, for none hides the wait of a processor's only block.
        return one * (count(tile) if kind == WEIGHT else -(-count(tile) // SLOTS) + 1)

    # No warp has registers for more than 1024 doubles.
    tiles = [tile for tile in TILES if dtype != "d" or tile[2] * tile[3] <= 1024]
    tile = min(tiles, key=cost)
    blocks = count(tile)
    splits = max(1, min(2 * SLOTS // blocks, slices // 8)) if blocks < SLOTS else 1
    images = s.batch * s.height * s.width
    if max(rows, columns, depth, images, pixels, blocks * splits) > LARGEST:
        return None
    real = "double" if dtype == "d" else "float"
    names = ("KIND", "REAL", "PRODUCTS", "WIDE", "BM", "BN", "WM", "WN")
    options = zip(names, (kind, real, products, int(wide), *tile))
    return Plan(
        tuple(f"-D{name}={value}" for name, value in options), blocks * splits, splits,
        tuple(map(numpy.int32, (*sizes, splits))),
    )
