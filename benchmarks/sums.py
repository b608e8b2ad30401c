"""Sums of rows by code

    python benchmarks/sums.py

What a codebook's moving averages need: NxDxK is N rows of D numbers, each with one of K codes, to
the K sums. float32, two threads. Inside the clock: the whole call, from arrays to a new array; of
the one-hot matrix, its making too.
"""

import os
from functools import partial

import numpy as np
from harness import compared, main

SHAPES = [(20_000, 64, 512), (1_000, 64, 50_000)]


def works(function, convert=lambda x: x):
    """``function(values, codes, count)`` of each shape."""
    work = {}
    for count, dims, codes in SHAPES:
        rng = np.random.default_rng(0)
        values = rng.standard_normal((count, dims), dtype="float32")
        chosen = rng.integers(codes, size=count)
        name = f"{count}x{dims}x{codes}"
        work[name] = partial(function, convert(values), convert(chosen), codes)
    return work


def minae():
    from minae.kernels import scatter_sum

    return works(scatter_sum)


def reference():
    os.environ["MINAE_KERNELS"] = "reference"
    return minae()


def one_hot():
    def sums(values, codes, count):
        chosen = np.zeros((len(codes), count), values.dtype)
        chosen[np.arange(len(codes)), codes] = 1
        return chosen.T @ values

    return works(sums)


def add_at():
    def sums(values, codes, count):
        out = np.zeros((count, values.shape[1]), values.dtype)
        np.add.at(out, codes, values)
        return out

    return works(sums)


def pytorch():
    import torch

    def sums(values, codes, count):
        return torch.zeros(count, values.shape[1]).index_add_(0, codes, values)

    return works(sums, torch.from_numpy)


CONTENDERS = {
    "minae": minae, "one-hot in NumPy": one_hot, "np.add.at": add_at, "torch.index_add_": pytorch,
    "minae without Numba": reference,
}
tables = partial(compared, ours="minae", first="NxDxK")

if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
