"""The reference kernels, which need NumPy alone, against NumPy's obvious form and PyTorch.

    python benchmarks/reference.py

Two threads, float32. Inside the clock: the whole call, from arrays to arrays.

- nearest codeword, rows near codewords (a random codeword plus 0.5 of Gaussian noise): against the
  distances of all pairs by one product, and against torch.addmm with argmin. Ours alone is exact.
- sums of rows by code: against np.add.at and Tensor.index_add_.
- convolution, forward and both gradients, the layers of a small VQ-VAE at batch 128: against
  PyTorch in its channels-last layout.
"""

from functools import partial

import numpy as np
from harness import main

SEARCHES = [(6272, 64, 512), (65536, 64, 512)]
SUMS = [(20_000, 512, 64), (1_000, 50_000, 64)]
LAYERS = [  # size, in, out, kernel, stride, padding
    (28, 1, 32, 4, 2, 1), (14, 32, 64, 4, 2, 1), (7, 64, 64, 3, 1, 1), (7, 64, 32, 3, 1, 1),
    (7, 32, 64, 1, 1, 0),
]  # fmt: skip


def search_data(count, dims, codewords):
    rng = np.random.default_rng(0)
    codebook = rng.standard_normal((codewords, dims), dtype="float32")
    noise = rng.standard_normal((count, dims), dtype="float32")
    return codebook[rng.integers(codewords, size=count)] + 0.5 * noise, codebook


def sum_data(count, codes, dims):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, dims), dtype="float32"), rng.integers(codes, size=count)


def layer_data(size, inner, outer, kernel, stride, padding):
    rng = np.random.default_rng(0)
    out = (size + 2 * padding - kernel) // stride + 1
    shapes = (128, size, size, inner), (kernel, kernel, inner, outer), (128, out, out, outer)
    return [rng.standard_normal(shape, dtype="float32") for shape in shapes]


def label(kind, numbers):
    return f"{kind} {'x'.join(map(str, numbers))}"


def reference():
    from minae.kernels import reference as kernels

    def conv(x, w, g, size, kernel, stride, padding):
        grid = {"stride": (stride, stride), "padding": (padding, padding)}
        kernels.conv2d(x, w, **grid)
        kernels.conv2d_input(g, w, size=(size, size), **grid)
        kernels.conv2d_weight(x, g, size=(kernel, kernel), **grid)

    work = {}
    for shape in SEARCHES:
        z, e = search_data(*shape)
        work[label("nearest", shape)] = partial(kernels.nearest, z, e)
    for shape in SUMS:
        v, c = sum_data(*shape)
        work[label("sums", shape)] = partial(kernels.scatter_sum, v, c, shape[1])
    for layer in LAYERS:
        size, _, _, kernel, stride, padding = layer
        work[label("conv", layer)] = partial(
            conv, *layer_data(*layer), size, kernel, stride, padding
        )
    return work


def numpy_obvious():
    def nearest(z, e):
        return ((z * z).sum(1)[:, None] - 2 * z @ e.T + (e * e).sum(1)).argmin(1)

    def sums(v, c, k):
        out = np.zeros((k, v.shape[1]), v.dtype)
        np.add.at(out, c, v)
        return out

    work = {}
    for shape in SEARCHES:
        z, e = search_data(*shape)
        work[label("nearest", shape)] = partial(nearest, z, e)
    for shape in SUMS:
        v, c = sum_data(*shape)
        work[label("sums", shape)] = partial(sums, v, c, shape[1])
    return work


def pytorch():
    import torch

    torch.set_num_threads(2)

    def nearest(z, e):
        return torch.addmm((e * e).sum(1), z, e.T, alpha=-2).argmin(1)

    def sums(v, c, k):
        return torch.zeros(k, v.shape[1]).index_add_(0, c, v)

    def conv(x, w, g, stride, padding):
        y = torch.nn.functional.conv2d(x, w, stride=stride, padding=padding)
        torch.autograd.grad(y, [x, w], g)

    work = {}
    for shape in SEARCHES:
        z, e = map(torch.from_numpy, search_data(*shape))
        work[label("nearest", shape)] = partial(nearest, z, e)
    for shape in SUMS:
        v, c = map(torch.from_numpy, sum_data(*shape))
        work[label("sums", shape)] = partial(sums, v, c, shape[1])
    for layer in LAYERS:
        x, w, g = map(torch.from_numpy, layer_data(*layer))
        last = torch.channels_last
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=last).requires_grad_()
        w = w.permute(3, 2, 0, 1).contiguous(memory_format=last).requires_grad_()
        g = g.permute(0, 3, 1, 2).contiguous(memory_format=last)
        work[label("conv", layer)] = partial(conv, x, w, g, *layer[4:])
    return work


if __name__ == "__main__":
    main(__doc__, "minae", 2,
         {"minae": reference, "numpy, obvious": numpy_obvious, "torch": pytorch})
