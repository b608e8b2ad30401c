"""Roofline

    python benchmarks/roofline.py

The kernels of minae beside what the machine can do, measured in turns with them: a float32 product
of two 2048x2048 matrices by NumPy, and a copy of 256 MB. The intensity of a kernel is its
operations over the bytes that it must read and write at least once; of NDK multiplications and
additions each for nearest (near rows), of those of the taps that meet the image for a convolution.
The ceiling is the lower of the product's rate and intensity times the copy's. Best of all rounds.
The search multiplies in int16 where that decides, twice as many at a time: it may pass the ceiling.
"""

import conv
import nearest
import numpy as np
from harness import main, table

SIDE, COPIED = 2048, 1 << 28
PRODUCT, COPY = "product of matrices", "copy"
CASES = [case for case in nearest.CASES if case[0] == "near"]


def kernels():
    parts = conv.minae()
    works = {work: call for work, call in parts.items() if "both" not in work}
    return nearest.minae(CASES) | works


def ceilings():
    a, b = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), dtype="float32")
    source = np.ones(COPIED // 4, "float32")
    target = np.empty_like(source)
    return {PRODUCT: lambda: a @ b, COPY: lambda: np.copyto(target, source)}


CONTENDERS = {"minae": kernels, "NumPy": ceilings}


def needs():
    """Of each kernel: floating-point operations, and bytes that it must move."""
    found = {}
    for kind, n, d, k in CASES:
        found[f"{kind} {n}x{d}x{k}"] = 2 * n * d * k, 4 * (n * d + k * d) + 12 * n
    for layer in conv.LAYERS:
        taps = sum(
            0 <= out * layer.stride + tap - layer.padding < layer.size
            for out in range(layer.out) for tap in range(layer.kernel)
        )
        work = 2 * conv.BATCH * taps**2 * layer.inner * layer.outer
        size = sum(4 * array.size for array in conv.data(layer))
        found |= {f"{layer}: {part}": (work, size) for part in conv.PARTS[:3]}
    return found


def points(figures):
    """[(kernel, operations per byte, GFLOP/s)], the product's GFLOP/s and the copy's GB/s."""
    product = 2 * SIDE**3 / min(figures[PRODUCT]["NumPy"]) / 1e9
    copy = 2 * COPIED / min(figures[COPY]["NumPy"]) / 1e9
    rows = [
        (work, flops / size, flops / min(figures[work]["minae"]) / 1e9)
        for work, (flops, size) in needs().items() if work in figures
    ]
    return rows, product, copy


def tables(figures):
    found, product, copy = points(figures)
    rows = [
        [work, f"{intensity:.0f}", f"{rate:.0f}", f"{rate / min(product, copy * intensity):.2f}"]
        for work, intensity, rate in found
    ]
    head = ["kernel", "operations / byte", "GFLOP/s", "of the ceiling"]
    return f"Ceilings: {product:.0f} GFLOP/s, {copy:.1f} GB/s.\n\n{table(head, rows)}"


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
