"""Sums over all binary trees and over all label sequences

    python benchmarks/charts.py

A batch of 32, float32, two threads: trees over n words, and chains of 100 labels out of 20 with
transitions of their own at each position (those of torch-struct's LinearChainCRF). Inside the
clock: the distribution is made from its scores, the function computed, and its gradient in the
scores, which is the marginals where the function is the log-partition; of the best structure and of
samples, no gradient. "A loss of the marginals" is the sum of their squares, so its gradient is of
second order. torch-struct is the peer of the same semirings (0.5, TreeCRF and LinearChainCRF).
"""

import math
import os
import statistics
import warnings

import numpy as np
from harness import compared, main

BATCH, TIME, LABELS, SAMPLES = 32, 100, 20, 8
SIZES = (20, 40, 80, 160)
TOO_LONG = 160  # words that torch-struct is spared
RNG = np.random.default_rng(0)
SPANS = {n: RNG.standard_normal((BATCH, n, n), dtype="float32") for n in SIZES}
MOVES = RNG.standard_normal((BATCH, TIME - 1, LABELS, LABELS), dtype="float32")


def minae():
    import minae
    from minae.seq import BinaryTrees, LinearChain

    emissions = np.zeros((BATCH, TIME, LABELS), "float32")

    def trees(x):
        return BinaryTrees(x)

    def chain(x):
        return LinearChain(emissions, x)

    def transitions(marginals):
        return marginals[1] if isinstance(marginals, tuple) else marginals

    def square(found):
        marginals = transitions(found.marginals())
        return (marginals * marginals).sum()

    def gradient(family, scores, function):
        x = minae.Tensor(scores, requires_grad=True)
        return lambda: minae.grad(function(family(x)), x)

    work = {
        f"trees of {n}, log-partition": gradient(trees, SPANS[n], lambda f: f.log_partition().sum())
        for n in SIZES
    }
    for name, family, scores in (("trees of 40", trees, SPANS[40]), ("chains", chain, MOVES)):
        work |= {
            f"{name}, log-partition": gradient(family, scores, lambda f: f.log_partition().sum()),
            f"{name}, entropy": gradient(family, scores, lambda f: f.entropy().sum()),
            f"{name}, a loss of the marginals": gradient(family, scores, square),
            f"{name}, the best": lambda family=family, scores=scores: family(scores).best(),
            f"{name}, {SAMPLES} samples": (
                lambda family=family, scores=scores: family(scores).sample(SAMPLES)
            ),
        }
    return work


def reference():
    os.environ["MINAE_KERNELS"] = "reference"
    return {name: call for name, call in minae().items() if str(TOO_LONG) not in name}


def torch_struct():
    import torch

    warnings.simplefilter("ignore")
    import torch_struct

    def gradient(family, x, function):
        def call():
            return torch.autograd.grad(function(family(x)), x)

        x.requires_grad_()
        return call

    def tensor(scores):
        return torch.from_numpy(scores)

    trees, chain = torch_struct.TreeCRF, torch_struct.LinearChainCRF
    work = {
        f"trees of {n}, log-partition":
            gradient(trees, tensor(SPANS[n][..., None]), lambda f: f.partition.sum())
        for n in SIZES if n != TOO_LONG
    }  # fmt: skip
    for name, family, scores in (
        ("trees of 40", trees, SPANS[40][..., None]), ("chains", chain, MOVES)
    ):  # fmt: skip
        x = tensor(scores)
        work |= {
            f"{name}, log-partition": gradient(family, x, lambda f: f.partition.sum()),
            f"{name}, entropy": gradient(family, x, lambda f: f.entropy.sum()),
            f"{name}, a loss of the marginals":
                gradient(family, x, lambda f: f.marginals.square().sum()),
            f"{name}, the best": lambda family=family, x=x: family(x).argmax,
            f"{name}, {SAMPLES} samples": lambda family=family, x=x: family(x).sample((SAMPLES,)),
        }  # fmt: skip
    return work


CONTENDERS = {
    "minae": minae, "torch-struct": torch_struct, "minae without Numba": reference,
}  # fmt: skip


def tables(figures):
    """Ours beside theirs, and the power of n that the time of ours grows with."""
    points = [
        (math.log(n), math.log(statistics.median(figures[work]["minae"])))
        for n in SIZES if (work := f"trees of {n}, log-partition") in figures
    ]  # fmt: skip
    text = compared(figures, "minae", "of 32")
    if len(points) == len(SIZES):
        power = statistics.linear_regression(*zip(*points)).slope
        text += f"\n\nFrom {SIZES[0]} to {SIZES[-1]} words our time grows as n to the {power:.2f}."
    return text


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
