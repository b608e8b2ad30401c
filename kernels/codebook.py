"""The exact nearest codeword: a screen finds the few that may be nearest, the definition decides.

Take a = z - centre and b = e - centre. Then |z - e|^2 = |a|^2 + 2 s with s = |b|^2 / 2 - a.b, and s
is what a register tile computes: it starts at |b|^2 / 2 and walks the dimensions of -b. The screen
scores one block of codewords after another, and keeps those scores that come within a proven margin
of the lowest which the row has seen; no N-by-K array ever exists. What is then within the margin of
the row's lowest survives, some 1.0 to 1.1 codewords, and is evaluated in float64.

There are two screens:

- In float, with the margin that is proven in ``reference._nearest``.
- In int16: a and b are rounded to a grid, whose unit is a power of two. In units, let q be a, rho =
  |q - q'| what rounding took from the row, and beta the most it took from a codeword. Then q'.b'
  is off by at most (|q| + rho) beta + rho |b|, and |b|^2 / 2, rounded too, by 1/2; centring and
  the sum |b|^2, done in float, by less than (D + 8) eps (|q| + |b|)^2. Only a codeword with
  |b| <= 2 |q| + min |b| can win; nor does one farther out look nearer than it may, since its score
  grows faster than its error. Twice this error, for two codewords, is the margin. This screen
  keeps some 13 bits of a number, enough for nearly always one survivor, and takes half the time
  (benchmarks/roofline.py). It leaves rows far outside the codebook to the other screen, and
  everything where too many survive.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numba import types

from . import reference
from .compiler import array, associative, flat, inline, kernel
from .threads import share, threads
from .tile import any_below, keep, start, step, strided
from .vectors import ROWS, VECTORS, WIDTH, below, lanes, lower, put, smallest, squares, vector

PANEL = 48  # rows that are screened together: a multiple of ROWS
REACH = 1 << 14  # the longest codeword, in units of the grid
FOUR = 4  # distances that are added up at once
NEVER = -1  # the margin of a row that is left out: a limit alone would let a NaN score through
LATER = -2  # the code of a row that is left to the float screen
SMALL = 1 << 20  # multiplications that are not worth a second thread
PIECE = 1536  # rows that a thread takes at a time


class Screen(NamedTuple):
    """A codebook as a register tile reads it."""

    packed: Any  # (blocks, D, block) of -b; in int16 (blocks, D / 2, block, 2) of -b'
    begin: Any  # (blocks * block,): |b|^2 / 2; the largest number where there is no codeword
    unit: float  # of the grid; 1 in float
    least: float  # the smallest |b|, in units
    most: float  # the largest
    beta: float  # the largest |b - b'|, in units; 0 in float


class Prepared(reference.Prepared):
    """A codebook (K, D), checked and packed for many calls of ``nearest``."""

    def __init__(self, codebook: Any) -> None:
        super().__init__(codebook)
        self.codebook.setflags(write=False)  # or it would no longer be what is packed
        with np.errstate(over="ignore", invalid="ignore"):
            sample = self.codebook[:: -(-len(self.codebook) // 256)]  # any centre near them will do
            self.centre = sample.mean(axis=0, dtype=np.float64).astype(self.dtype)
            self.centred = self.codebook - self.centre
            self.squares = np.einsum("kd,kd->k", self.centred, self.centred)
            self.grid = self._grid()

    def _grid(self) -> Screen | None:
        """The screen in int16; none where squares in its unit come near the dtype's limits."""
        most, top = math.sqrt(self.squares.max()), math.ldexp(1, np.finfo(self.dtype).maxexp // 3)
        if not 1 / top < most < top:
            return None
        unit = math.ldexp(1, math.frexp(most / REACH)[1])
        scaled = self.centred * self.dtype.type(1 / unit)
        rounded = np.rint(scaled)
        packed = _packed(-rounded.astype(np.int16), 2)
        rounded -= scaled
        beta = math.sqrt(np.einsum("kd,kd->k", rounded, rounded).max())
        squares = self.squares / self.dtype.type(unit**2)
        halves = np.rint(0.5 * squares).astype(np.int32)
        return _screen(packed, halves, unit, squares, beta)

    @functools.cached_property
    def plain(self) -> Screen:
        """The screen in the dtype of the codebook."""
        halves = (0.5 * self.squares).astype(self.dtype)
        return _screen(_packed(-self.centred, 1), halves, 1.0, self.squares, 0.0)


def prepare(codebook: Any) -> Prepared:
    """See ``reference.prepare``."""
    return Prepared(codebook)


def _screen(packed: Any, halves: Any, unit: float, squares: Any, beta: float) -> Screen:
    width = lanes(packed.dtype)
    blocks = -(-len(halves) // (VECTORS * width))
    top = np.inf if halves.dtype.kind == "f" else np.iinfo(halves.dtype).max
    begin = np.full(blocks * VECTORS * width, top, halves.dtype)
    begin[: len(halves)] = halves
    least, most = math.sqrt(squares.min()), math.sqrt(squares.max())
    return Screen(packed, begin, unit, least, most, beta)


def _packed(table: Any, pair: int) -> Any:
    """(K, D) to (blocks, D / pair, block, pair), flat: one step of the tile reads one line."""
    count, dims = table.shape
    block = VECTORS * lanes(table.dtype)
    whole = table
    if count % block or dims % pair:
        whole = np.zeros((-(-count // block) * block, -(-dims // pair) * pair), table.dtype)
        whole[:count, :dims] = table
    entries = whole.view(np.int32) if pair == 2 else whole  # a pair moves as one
    parts = entries.reshape(-1, block, entries.shape[1]).swapaxes(1, 2)
    return np.ascontiguousarray(parts).reshape(-1).view(table.dtype)


def nearest(vectors: Any, codebook: Any, *, nonfinite: str = "raise") -> tuple[Any, Any]:
    """See ``reference.nearest``."""
    dtype = reference.check_nearest(vectors, codebook, nonfinite)
    if not isinstance(codebook, Prepared) or codebook.dtype != dtype:
        codebook = Prepared(reference.entries(codebook).astype(dtype, copy=False))
    size, dims = codebook.shape
    z, e = flat(vectors.astype(dtype, copy=False)), flat(codebook.codebook)
    count = z.size // dims
    codes, distances = np.empty(count, np.int64), np.empty(count, dtype)
    pieces = max(4 * threads(), count // PIECE) if z.size * size > SMALL else 1
    length = -(-count // (pieces * ROWS)) * ROWS
    grid = [] if codebook.grid is None else [codebook.grid]  # emptied where it does not help

    def search(piece: int) -> None:
        first, last = min(piece * length, count), min((piece + 1) * length, count)
        begin = first
        for screen in grid:
            first = _search_grid[dtype](
                z, e, codebook.centre, *screen, first, last, codes, distances
            )
        if first < last:
            grid.clear()
            in_float(z, first, last, codes, distances)
        later = begin + np.flatnonzero(codes[begin:first] == LATER)
        if later.size:
            some = np.empty(later.size, np.int64), np.empty(later.size, dtype)
            in_float(z.reshape(-1, dims)[later].reshape(-1), 0, later.size, *some)
            codes[later], distances[later] = some

    def in_float(z: Any, first: int, last: int, codes: Any, distances: Any) -> None:
        _search[dtype](z, e, codebook.centre, *codebook.plain, first, last, codes, distances)

    share(search, pieces)
    shape = vectors.shape[:-1]
    reference.check_codes(codes, shape, nonfinite)
    return codes.reshape(shape), distances.reshape(shape)


# --- The screens ----------------------------------------------------------------------------------


def _arguments(f: Any, packed: Any, begin: Any) -> tuple:
    """Types: vectors, codebook and centre; the fields of a Screen; the rows; what is found."""
    screen = (array(packed), array(begin), *[types.float64] * 4)
    return (*[array(f)] * 3, *screen, types.intp, types.intp, types.int64[::1], f[::1])


@kernel(lambda f: _arguments(f, f, f))
def _search(
    vectors, codebook, centre, packed, begin, unit, least, most, beta,
    first, last, codes, distances,
):
    """The float screen: codes and distances of the rows [first, last)."""
    dims, info = centre.size, np.finfo(vectors.dtype)
    x = np.zeros(PANEL * dims, vectors.dtype)
    margins, limits = np.empty(PANEL, vectors.dtype), np.empty(PANEL, vectors.dtype)
    hits, scores, pairs = _room(begin)
    for r0 in range(first, last, PANEL):
        count = min(last - r0, PANEL)
        for i in range(PANEL):
            margins[i], limits[i] = NEVER, -np.inf
        for i in range(count):
            z = vectors[(r0 + i) * dims : (r0 + i + 1) * dims]
            norm = math.sqrt(_centred(z, centre, x[i * dims : (i + 1) * dims]))
            radius = norm + min(most, 2 * norm + least)
            if 4 * (radius * radius) < info.max:
                margins[i] = 2 * (dims + 16) * info.eps * (radius * radius)
                margins[i] += 16 * (dims + 1) * info.tiny * (1 + radius)
                limits[i] = np.inf
            elif _finite(z):
                margins[i], limits[i] = np.inf, np.inf  # all survive
        found = _walk(x, dims, count, packed, dims, begin, margins, limits, hits, scores)
        _settle(
            vectors, r0, count, codebook, dims, limits, found, hits, scores, pairs, pairs.size,
            codes, distances,
        )
    return last


@kernel(lambda f: _arguments(f, types.int16, types.int32))
def _search_grid(
    vectors, codebook, centre, packed, begin, unit, least, most, beta,
    first, last, codes, distances,
):
    """The screen in int16. Returns the row that it has come to: ``last``, or where a panel begins
    for which it is of no use. A row far outside the codebook gets the code LATER."""
    dims, depth, eps = centre.size, (centre.size + 1) // 2, np.finfo(vectors.dtype).eps
    scale, slack, top = vectors.dtype.type(1 / unit), 1 + (dims + 8) * eps, np.iinfo(np.int32).max
    a = np.empty(dims, vectors.dtype)
    x = np.zeros(PANEL * depth * 2, np.int16)
    margins, limits = np.empty(PANEL, np.int32), np.empty(PANEL, np.int32)
    hits, scores, pairs = _room(begin)
    for r0 in range(first, last, PANEL):
        count = min(last - r0, PANEL)
        for i in range(PANEL):
            margins[i], limits[i] = NEVER, -top
        outside = 0
        for i in range(count):
            z = vectors[(r0 + i) * dims : (r0 + i + 1) * dims]
            norm, error = math.sqrt(_centred(z, centre, a)) / unit * slack, np.inf
            if norm < 32767:  # with |b'| at most REACH, sums of products stay below 2^30
                rho = math.sqrt(_rounded(a, scale, x[i * depth * 2 : (i + 1) * depth * 2])) * slack
                reach = min(most, 2 * norm + least) * slack
                error = (norm + rho) * beta * slack + rho * reach + 1
                error += (dims + 8) * eps * (norm + reach) ** 2
            if error < 4e8:
                margins[i], limits[i] = np.int32(2 * error + 2), top
            else:
                outside += 1
        if 8 * outside > count:
            return r0
        found = _walk(x, 2 * depth, count, packed, depth, begin, margins, limits, hits, scores)
        # A survivor costs its distance in float64, the screen saves half of the others' scores.
        worth = count * (1 + begin.size // 64)
        if not _settle(
            vectors, r0, count, codebook, dims, limits, found, hits, scores, pairs, worth,
            codes, distances,
        ):
            return r0
        for i in range(r0, r0 + count):
            if codes[i] < 0:
                codes[i] = LATER
    return last


@inline
def _finite(z):
    """Whether no entry is infinite or NaN."""
    finite = True
    for d in range(z.size):
        finite &= np.isfinite(z[d])
    return finite


@associative
def _centred(z, centre, a):
    """``a = z - centre``, and the sum of its squares."""
    total = a.dtype.type(0)  # not read from a, which may hold anything
    for d in range(z.size):
        a[d] = z[d] - centre[d]
        total += a[d] * a[d]
    return total


@associative
def _rounded(a, scale, x):
    """``x = a`` in units of the grid, rounded, and the sum of the squares of what that took."""
    total = a.dtype.type(0)  # not read from a, which may hold anything
    for d in range(a.size):
        entry = a[d] * scale
        whole = np.rint(entry)
        x[d] = np.int16(whole)
        total += (entry - whole) * (entry - whole)
    return total


@inline
def _room(begin):
    """Arrays for hits, their scores, and survivors: every block, every codeword, of each row of a
    panel. What is not needed is not touched, and so costs nothing."""
    block = VECTORS * WIDTH // begin.itemsize
    most = PANEL * begin.size // block
    entries = most * block
    return np.empty(most, np.int64), np.empty(entries, begin.dtype), np.empty(entries, np.int64)


@inline
def _walk(x, stride, count, packed, depth, begin, margins, limits, hits, scores):
    """Score ``count`` rows with every codeword, block by block.

    A row's limit is the lowest score that it has seen, plus its margin; a block with a score that
    is not above it is a hit, and its scores are kept. Returns how many hits there are.
    """
    width = WIDTH // begin.itemsize
    block = VECTORS * width
    blocks = begin.size // block
    line = packed.size // (blocks * depth)
    tile = np.empty(ROWS * block, begin.dtype)
    found = 0
    for b in range(blocks):
        for r in range(0, count, ROWS):  # the last tile may do rows that nobody asks for
            at = strided(r * stride, stride)
            acc = start(begin, b * block, VECTORS)
            p = b * depth * line
            for d in range(depth):
                acc = step(acc, x, at, d, packed, p)
                p += line
            if any_below(acc, limits, r):
                keep(acc, tile)
                for i in range(ROWS):  # without branches, which nobody could predict
                    low = vector(tile, i * block)
                    for j in range(0, block, width):
                        low = lower(vector(tile, i * block + j), low)
                        put(vector(tile, i * block + j), scores, found * block + j)
                    hits[found] = b * PANEL + r + i
                    limit, margin = limits[r + i], margins[r + i]
                    found += (below(low, limit) != 0) & (margin > NEVER)
                    new = smallest(low) + margin
                    limits[r + i] = new if new < limit else limit
    return found


# --- What survives --------------------------------------------------------------------------------


@inline
def _settle(
    vectors, r0, count, codebook, dims, limits, found, hits, scores, pairs, allowed,
    codes, distances,
):
    """The definition, over the codewords of the hits that survive; -1 and NaN for a row of which
    none does. Returns False where there are more than ``allowed``."""
    width = WIDTH // scores.itemsize
    size, block = codebook.size // dims, VECTORS * width
    survivors = 0
    for n in range(found):
        b, i = hits[n] // PANEL, hits[n] % PANEL
        for j in range(0, block, width):
            bits, k = below(vector(scores, n * block + j), limits[i]), b * block + j
            while bits:
                if bits & 1 and k < size:
                    if survivors == allowed:
                        return False
                    pairs[survivors] = i * size + k  # the codes of a row come in order
                    survivors += 1
                bits >>= 1
                k += 1
    best, terms = np.empty(PANEL), np.empty(FOUR * dims)
    for i in range(count):
        codes[r0 + i], best[i] = -1, np.inf
    for n in range(0, survivors, FOUR):
        for j in range(FOUR):
            pair = pairs[min(n + j, survivors - 1)]
            _terms(vectors, (r0 + pair // size) * dims, codebook, pair % size * dims, dims,
                   terms, j * dims)
        totals = _totals(terms, dims)
        for j in range(min(FOUR, survivors - n)):
            i, k = pairs[n + j] // size, pairs[n + j] % size
            if totals[j] < best[i] or codes[r0 + i] < 0:
                codes[r0 + i], best[i] = k, totals[j]
    for i in range(count):
        distances[r0 + i] = best[i] if codes[r0 + i] >= 0 else np.nan
    return True


@inline
def _terms(vectors, p, codebook, q, dims, terms, place):
    """The terms of a squared distance, in float64: ``terms[place:]``."""
    whole = dims - dims % (WIDTH // 8)
    for d in range(0, whole, WIDTH // 8):
        put(squares(vectors, p + d, codebook, q + d), terms, place + d)
    for d in range(whole, dims):
        difference = np.float64(vectors[p + d]) - codebook[q + d]
        terms[place + d] = difference * difference


@inline
def _totals(terms, dims):
    """The sums of FOUR distances, each in its order. Each addition waits for the last one: so the
    four go side by side."""
    a = b = c = d = 0.0
    for n in range(dims):
        a += terms[n]
        b += terms[dims + n]
        c += terms[2 * dims + n]
        d += terms[3 * dims + n]
    return a, b, c, d
