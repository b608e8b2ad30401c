"""The exact nearest codeword

    python benchmarks/nearest.py

N rows of D numbers against K codewords, float32, two threads. "Near" rows are a random codeword
plus 0.5 of Gaussian noise, "noise" rows are Gaussian; codewords are Gaussian too. Inside the clock:
the whole call, from arrays to codes; for minae and FAISS to squared distances as well. minae packs
its codebook inside the clock; "prepared", and FAISS's IndexFlatL2, have theirs made outside. Only
minae is exact: the others differ where float32 cannot tell two codewords apart. PyTorch holds the
N by K distances of all pairs; "in blocks" holds 16 MB of them at a time.
"""

import os
from functools import partial

import numpy as np
from harness import duration, fastest, geometric, main, over, spread, table

SHAPES = [(6272, 64, 512), (65536, 64, 512), (65536, 64, 8192), (16384, 256, 1024),
          (65536, 32, 4096), (65536, 8, 16384)]  # fmt: skip
CASES = [(kind, *shape) for kind in ("near", "noise") for shape in SHAPES]
BLOCK = 1 << 22  # distances held at a time
FAISS = ("FAISS knn", "FAISS IndexFlatL2")
OTHERS = ("torch.cdist", "torch.addmm", "torch.addmm, in blocks", "scikit-learn")


def data(kind, count, dims, codewords):
    rng = np.random.default_rng(0)
    codebook = rng.standard_normal((codewords, dims), dtype="float32")
    rows = rng.standard_normal((count, dims), dtype="float32")
    if kind == "near":
        rows = codebook[rng.integers(codewords, size=count)] + np.float32(0.5) * rows
    return rows, codebook


def works(cases, search, rows=lambda z: z, codebook=lambda e: e):
    """``search`` of each case; ``rows`` and ``codebook`` prepare its arguments."""
    work = {}
    for kind, *shape in cases:
        z, e = data(kind, *shape)
        work[f"{kind} {'x'.join(map(str, shape))}"] = partial(search, rows(z), codebook(e))
    return work


def minae(cases=CASES):
    from minae.kernels import nearest

    return works(cases, nearest)


def prepared(cases=CASES):
    from minae.kernels import nearest, prepare

    return works(cases, nearest, codebook=prepare)


def reference(cases=CASES):
    os.environ["MINAE_KERNELS"] = "reference"
    return minae(cases)


def faiss_knn(cases=CASES):
    import faiss

    return works(cases, lambda z, e: faiss.knn(z, e, 1))


def faiss_index(cases=CASES):
    import faiss

    def built(e):
        index = faiss.IndexFlatL2(e.shape[1])
        index.add(e)
        return index

    return works(cases, lambda z, index: index.search(z, 1), codebook=built)


def torch_search(cases, search):
    import torch

    return works(cases, search, torch.from_numpy, torch.from_numpy)


def torch_cdist(cases=CASES):
    import torch

    return torch_search(cases, lambda z, e: torch.cdist(z, e).argmin(1))


def addmm(z, e):
    import torch

    return torch.addmm((e * e).sum(1), z, e.T, alpha=-2).argmin(1)


def torch_addmm(cases=CASES):
    return torch_search(cases, addmm)


def torch_blocks(cases=CASES):
    import torch

    def search(z, e):
        return torch.cat([addmm(part, e) for part in z.split(BLOCK // len(e))])

    return torch_search(cases, search)


def scikit_learn(cases=CASES):
    from sklearn.metrics import pairwise_distances_argmin

    return works(cases, pairwise_distances_argmin)


CONTENDERS = {
    "minae": minae, "minae prepared": prepared, "minae without Numba": reference,
    "FAISS knn": faiss_knn, "FAISS IndexFlatL2": faiss_index,
    "torch.cdist": torch_cdist, "torch.addmm": torch_addmm, "torch.addmm, in blocks": torch_blocks,
    "scikit-learn": scikit_learn,
}


def tables(figures):
    """Ours against the better FAISS and the best of the others; then everyone's times."""
    rows = []
    for kind in ("near", "noise"):
        found = {work: row for work, row in figures.items() if work.startswith(kind)}
        columns = [
            [over(fastest(row, peers), row["minae"]) for row in found.values()]
            for peers in (FAISS, OTHERS)
        ]
        for (work, row), *ratios in zip(found.items(), *columns):
            rows.append([work, duration(row["minae"]), *map(spread, ratios)])
        if found:
            means = [f"**{spread(geometric(column))}**" for column in columns]
            rows.append([f"{kind}, geometric mean", "", *means])
    head = ["rows, NxDxK", "minae", "FAISS, the better / minae", "the best of the others / minae"]
    names = [name for name in CONTENDERS if any(name in row for row in figures.values())]
    times = [[work, *(duration(row.get(name, [])) for name in names)]
             for work, row in figures.items()]
    return f"{table(head, rows)}\n\n{table(['rows, NxDxK', *names], times)}"


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
