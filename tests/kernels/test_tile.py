"""The tile in other shapes: LLVM splits or widens the vectors that this processor lacks."""

import os
from pathlib import Path

import numpy as np
import pytest
from processes import HEAD, check, run

from minae.seq import BinaryTrees
from minae.seq.semirings import Log

pytestmark = pytest.mark.kernels


@pytest.fixture(scope="module")
def points(compiled, tmp_path_factory):
    """A file of vectors, a codebook, images, weights and scores, with what this machine's tile
    gives."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 5, 5, 5)), rng.standard_normal((3, 3, 5, 19))
    arrays = {"z": rng.standard_normal((300, 13)), "e": rng.standard_normal((205, 13)), "x": x,
              "w": w}  # fmt: skip
    arrays = {name: a.astype("f4") for name, a in arrays.items()}
    arrays["z"] += 100
    arrays["e"] += 100
    codebook, convolution = compiled("codebook"), compiled("convolution")
    arrays["codes"], arrays["distances"] = codebook.nearest(arrays["z"], arrays["e"])
    arrays["y"] = convolution.conv2d(arrays["x"], arrays["w"])
    arrays["scores"] = rng.standard_normal((11, 6, 6))
    trees = BinaryTrees(arrays["scores"])
    arrays["parts"] = compiled("chart").chart_parts(trees.cells, trees.levels, Log())
    path = tmp_path_factory.mktemp("points") / "points.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("shape", [(64, 4, 4), (32, 6, 2), (16, 4, 4)], ids=str)
def test_a_tile_of_any_shape_gives_the_same_bits(shape, points, numba):
    if shape == (numba.WIDTH, numba.ROWS, numba.VECTORS):
        pytest.skip("this is the shape that all other tests run with")
    done = run(HEAD + f"""
from minae.kernels import vectors
vectors.WIDTH, vectors.ROWS, vectors.VECTORS = {shape}
from minae.kernels import chart, codebook
from minae.seq import BinaryTrees
from minae.seq.semirings import Log
assert (codebook.WIDTH, codebook.ROWS, codebook.VECTORS) == {shape}
assert chart.CHARTS == {shape[0]} // 8
given = np.load({str(points)!r})
prepared = kernels.prepare(given["e"])
found = [kernels.nearest(given["z"], prepared)]
prepared.grid = None
found.append(kernels.nearest(given["z"], prepared))
same = [np.array_equal(a, given[name]) for pair in found
        for a, name in zip(pair, ("codes", "distances"))]
same.append(np.array_equal(kernels.conv2d(given["x"], given["w"]), given["y"]))
trees = BinaryTrees(given["scores"])
same.append(np.array_equal(
    kernels.chart_parts(trees.cells, trees.levels, Log()), given["parts"]))
for n, d, k in [(1, 1, 1), (7, 2, 5), (53, 9, 33), (97, 16, 130)]:
    same.append(right("nearest", integers(n, d), integers(k, d)))
report(right=same)
""", MINAE_CACHE=Path(os.environ["MINAE_CACHE"]) / "-".join(map(str, shape)))
    check(done)
