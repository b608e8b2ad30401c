"""Random cases of the nearest codeword, which must be exact.

    python tests/kernels/fuzz_nearest.py --cases 100000 --seed 0

Most are of integers, up to 64 in size: moved and scaled so that float32 still holds them, they have
the codes that BLAS finds, where every number on the way is a whole one below 2^24. The others are
of reals, against the float64 definition. The last has more than 2^31 pairs. Each case follows from
the seed and its number alone. Exits with 1 if any is wrong.
"""

import argparse
import os
import sys
import time
from collections import Counter

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small products: its threads only wait

import numpy as np
from test_reference import definition

from minae.kernels import codebook, reference
from minae.kernels.threads import threads

PAIRS = 1 << 20  # scores that the oracle looks at together


def oracle(vectors, book):
    """Codes and squared distances, of whole numbers."""
    vectors, book = vectors.astype("f4"), book.astype("f4")
    norms, step = (book**2).sum(axis=1), max(1, PAIRS // len(book))
    codes, squares = np.empty((2, len(vectors)), np.int64)
    for first in range(0, len(vectors), step):
        z = vectors[first : first + step]
        scores = norms - 2 * (z @ book.T)
        best = codes[first : first + step] = scores.argmin(axis=1)
        squares[first : first + step] = scores[np.arange(len(z)), best] + (z**2).sum(axis=1)
    return codes, squares


def draw_sizes(rng):
    """(N, D, K): mostly small ones; each size has all its remainders among them."""
    tops = (2001, 301, 3001) if rng.random() < 0.02 else (120, rng.choice([40, 301]), 200)
    return rng.integers((0, 1, 1), tops)


def draw_integers(rng, n, d, k):
    """Vectors, codebook, codes and distances."""
    top = rng.choice([0, 1, 3, 64], p=[0.02, 0.18, 0.2, 0.6])
    vectors, book = rng.integers(-top, top + 1, (n, d)), rng.integers(-top, top + 1, (k, d))
    if rng.random() < 0.3:  # duplicates, and rows that are codewords
        book = book[rng.integers(0, max(1, k // 3), k)]
        vectors[: n // 2] = book[rng.integers(0, k, n // 2)]
    codes, squares = oracle(vectors, book)
    dtype, offset = rng.choice(["f4", "f8"]), rng.choice([0, 0, 1000, -10_000])
    scale = 2.0 ** rng.choice([0, 0, -20, 20, -40, 30])
    vectors, book = (((a + offset) * scale).astype(dtype) for a in (vectors, book))
    return vectors, book, codes, squares * scale**2


def draw_reals(rng, n, d, k):
    n, k, dtypes = n % 200, k % 300 + 1, rng.choice(["f4", "f8"], 2)
    offset, scale = rng.choice([0, 0, 1e3, 1e4]), 10.0 ** rng.choice([0, 0, 0, -30, -19, -4, 5, 18])
    book = (rng.standard_normal((k, d)) + offset) * scale
    vectors = (rng.standard_normal((n, d)) + offset) * scale
    if rng.random() < 0.5:  # near codewords, or between them
        vectors = book[rng.integers(0, k, n)] * (1 + 1e-3 * rng.random())
        vectors = (vectors + rng.choice([0.0, 1.0]) * book[rng.integers(0, k, n)]) / 2
    vectors, book = vectors.astype(dtypes[0]), book.astype(dtypes[1])
    return vectors, book, *definition(vectors, book)


def check(rng, vectors, book, codes, squares):
    """What is wrong with the compiled form, on one of its ways; None if nothing is."""
    os.environ["MINAE_THREADS"] = str(rng.integers(1, 5))
    threads.cache_clear()
    codebook.SMALL = rng.choice([0, 1 << 20])  # 0: the smallest search is shared, too
    way = rng.choice(["plain", "prepared", "float screen"])
    dtype = np.result_type(vectors, book)
    given = book if way == "plain" else codebook.prepare(book.astype(dtype))
    if way == "float screen":
        given.grid = None
    found, distances = codebook.nearest(vectors, given)
    with np.errstate(over="ignore"):
        wrong = np.flatnonzero((found != codes) | (distances != squares.astype(dtype)))
    if not wrong.size:
        return None
    row = wrong[0]
    return (
        f"{len(wrong)} of {len(vectors)} rows, {dtype}, D {book.shape[1]}, K {len(book)}, {way}:"
        f" row {row} got {found[row]} at {distances[row]}, not {codes[row]} at {squares[row]}"
    )


def large(rng):
    n, k = 1_100_000, 2_000
    assert n * k > 1 << 31
    vectors, book = rng.integers(-64, 65, (5000, 3)), rng.integers(-64, 65, (k, 3))
    rows = rng.integers(0, 5000, n)  # the oracle needs each vector but once
    codes, squares = oracle(vectors, book)
    return vectors[rows].astype("f4"), book.astype("f4"), codes[rows], squares[rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--large", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    begin, failures, seen = time.monotonic(), 0, Counter()
    for number in range(given.first, given.first + given.cases):
        rng = np.random.default_rng([given.seed, number])
        n, d, k = map(int, draw_sizes(rng))
        kind = draw_reals if rng.random() < 0.1 else draw_integers
        vectors, book, codes, squares = kind(rng, n, d, k)
        if problem := check(rng, vectors, book, codes, squares):
            failures += 1
            print(f"WRONG: {problem}\n  --seed {given.seed} --first {number} --cases 1 --no-large",
                  flush=True)
        elif rng.random() < 0.001:  # so that what holds the compiled form up is held up itself
            assert (reference.nearest(vectors, book)[0] == codes).all()
        seen.update([kind.__name__[5:], f"D {d}", f"K % 64 = {k % 64}", f"N % 48 = {n % 48}"])
        done = number + 1 - given.first
        if done % max(1, given.cases // 10) == 0:
            print(f"{done} cases, {time.monotonic() - begin:.0f} s, {failures} wrong", flush=True)
    if given.large:
        rng = np.random.default_rng(given.seed)
        if problem := check(rng, *large(rng)):
            failures += 1
            print(f"WRONG: {problem}\n  --seed {given.seed} --cases 0")
    dims, words, rows = (sum(key.startswith(part) for key in seen) for part in ("D", "K", "N"))
    print(
        f"{given.cases} cases and {int(given.large)} large one: {failures} wrong;"
        f" {seen['integers']} of integers, {seen['reals']} of reals; {dims} of 300 D,"
        f" {words} of 64 remainders of K, {rows} of 48 of N; {time.monotonic() - begin:.0f} s"
    )
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
