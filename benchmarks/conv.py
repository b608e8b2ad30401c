"""Convolution: the layers of the VQ-VAE

    python benchmarks/conv.py

Batch 128, float32, two threads, no bias. Inside the clock: one call for the result, and one for
each gradient, from arrays to a new array. minae holds features last; PyTorch is given its default
layout and channels last, and the faster of the two counts in each round. The sum is of the forward
call and both gradients, which PyTorch computes in one call. "Transposed" layers go from the small
images to the large ones.
"""

import os
from functools import partial
from typing import NamedTuple

import numpy as np
from harness import duration, fastest, geometric, main, over, spread, table

BATCH = 128
PARTS = ("forward", "input gradient", "weight gradient", "both gradients")
LAYOUTS = ("torch", "torch, channels last")


class Layer(NamedTuple):
    """A convolution from images (size, size, inner); ``transposed`` is it backwards."""

    size: int
    inner: int
    outer: int
    kernel: int
    stride: int = 1
    padding: int = 0
    transposed: bool = False

    @property
    def out(self):
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    def __str__(self):
        size, first, last = self.size, self.inner, self.outer
        if self.transposed:
            size, first, last = self.out, last, first
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        kind = ", transposed" if self.transposed else ""
        return f"{size}x{size}x{first} to {last}, {self.kernel}x{self.kernel}{stride}{kind}"


LAYERS = [
    Layer(28, 1, 32, 4, 2, 1), Layer(14, 32, 64, 4, 2, 1), Layer(7, 64, 64, 3, 1, 1),
    Layer(7, 64, 32, 3, 1, 1), Layer(7, 32, 64, 1), Layer(7, 64, 64, 1),
    Layer(14, 32, 64, 4, 2, 1, transposed=True), Layer(28, 1, 32, 4, 2, 1, transposed=True),
]  # fmt: skip


def data(layer):
    """Images, weights and results of the convolution, features last."""
    rng = np.random.default_rng(0)
    shapes = [(BATCH, layer.size, layer.size, layer.inner),
              (layer.kernel, layer.kernel, layer.inner, layer.outer),
              (BATCH, layer.out, layer.out, layer.outer)]
    return [rng.standard_normal(shape, dtype="float32") for shape in shapes]


def works(parts):
    """``parts(layer)`` gives the calls of the four parts."""
    return {f"{layer}: {part}": call
            for layer in LAYERS for part, call in zip(PARTS, parts(layer), strict=True)}


def minae():
    from minae import kernels

    def parts(layer):
        x, w, y = data(layer)
        grid = {"stride": (layer.stride,) * 2, "padding": (layer.padding,) * 2}
        there = partial(kernels.conv2d, x, w, **grid)
        back = partial(kernels.conv2d_input, y, w, size=(layer.size,) * 2, **grid)
        weight = partial(kernels.conv2d_weight, x, y, size=(layer.kernel,) * 2, **grid)
        forward, inner = (back, there) if layer.transposed else (there, back)
        return forward, inner, weight, lambda: (inner(), weight())

    return works(parts)


def reference():
    os.environ["MINAE_KERNELS"] = "reference"
    return minae()


def pytorch(layout="contiguous_format"):
    import torch

    def parts(layer):
        x, w, y = map(torch.from_numpy, data(layer))
        x, w, y = (
            t.contiguous(memory_format=getattr(torch, layout))
            for t in (x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), y.permute(0, 3, 1, 2))
        )
        given, gradient = (y, x) if layer.transposed else (x, y)
        grid = [(layer.stride,) * 2, (layer.padding,) * 2, (1, 1), layer.transposed, (0, 0), 1]
        backward = partial(torch.ops.aten.convolution_backward, gradient, given, w, None, *grid)
        masks = [True, False, False], [False, True, False], [True, True, False]
        return (partial(torch.ops.aten.convolution, given, w, None, *grid),
                *(partial(backward, mask) for mask in masks))

    return works(parts)


CONTENDERS = {
    "minae": minae, "torch": pytorch, "torch, channels last": partial(pytorch, "channels_last"),
    "minae without Numba": reference,
}


def tables(figures):
    """Ours and PyTorch over ours, for each part and for the sum of forward and both gradients."""
    rows, sums = [], []
    for layer in LAYERS:
        parts = [figures.get(f"{layer}: {part}") for part in PARTS]
        if None in parts:
            continue
        forward, *_, both = parts
        whole = {name: [a + b for a, b in zip(forward[name], both[name])] for name in forward}
        sums.append([over(fastest(whole, peers), whole["minae"])
                     for peers in (LAYOUTS, ["minae without Numba"])])
        ratios = [spread(over(fastest(row, LAYOUTS), row["minae"])) for row in parts[:3]]
        rows.append([str(layer), duration(whole["minae"]), *ratios, *map(spread, sums[-1])])
    means = [f"**{spread(geometric(column))}**" for column in zip(*sums)]
    rows.append(["geometric mean", "", "", "", "", *means])
    head = ["layer", "minae, sum", "forward", "input gradient", "weight gradient", "sum",
            "minae without Numba / minae, sum"]
    return "PyTorch / minae:\n\n" + table(head, rows)


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
