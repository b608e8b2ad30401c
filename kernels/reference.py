"""Every kernel by its definition, in the NumPy API alone: what the fast forms must equal.

Array functions, no Tensor. Work goes in blocks that stay in cache, and the heavy part is BLAS.
"""

from __future__ import annotations

import functools
from typing import Any

from minae.backend import Array, expect, quiet, sum_segments, xp
from minae.faults import check

# Kernels too, in files of their own.
from .dot_product import (  # noqa: F401
    attention,
    attention_gradient,
    self_attention,
    self_attention_gradient,
)
from .error_function import (  # noqa: F401
    erf,
    gelu,
    gelu_gradient,
    gelu_tanh,
    gelu_tanh_gradient,
)
from .gates import lstm, lstm_gradient  # noqa: F401
from .levels import chart_parts, chart_total  # noqa: F401
from .merges import learn_merges, merge, rank_merges  # noqa: F401
from .noise import normal, uniform  # noqa: F401
from .patches import conv2d, conv2d_input, conv2d_weight  # noqa: F401
from .rows import (  # noqa: F401
    cross_entropy,
    cross_entropy_gradient,
    layer_norm,
    layer_norm_gradient,
    log_softmax,
    log_softmax_gradient,
    softmax,
    softmax_gradient,
    standardize,
    standardize_gradient,
)

_SCORES = 1 << 20  # elements per block of `nearest`: 4 MB in float32
_ROWS = 1 << 18  # elements per block of gathered rows


# --- nearest codeword ---------------------------------------------------------------------------


class Prepared:
    """A codebook (K, D), checked and copied; what `nearest` computes from it is kept here."""

    ndim = 2

    def __init__(self, codebook: Array) -> None:
        self.codebook = checked(codebook)
        self.shape, self.dtype = self.codebook.shape, self.codebook.dtype

    @functools.cached_property
    def screen(self) -> tuple[Array, Array, Array, Array]:
        """The centre (D,), a table (D + 1, K) that gives the scores of (a, 1), and the smallest and
        largest norm of a centred codeword."""
        with quiet():
            centre = self.codebook.mean(axis=0, dtype=xp.float64).astype(self.dtype)
            centred = self.codebook - centre
            squares = (centred * centred).sum(axis=1)
            table = xp.concatenate([-centred.T, 0.5 * squares[None]])
            return centre, table, xp.sqrt(squares.min()), xp.sqrt(squares.max())


def prepare(codebook: Array) -> Prepared:
    """Make a codebook (K, D) ready for many calls of `nearest`, which takes it in place of the
    array::

        book = prepare(codebook)
        codes, distances = nearest(vectors, book)

    It is a copy: what is written to the array later does not change it; ``book.codebook`` is what
    it holds. (A float32 one that meets float64 vectors is prepared anew, in float64, at each call.)

    Raises as `nearest` does: TypeError for a codebook that is not float32 or float64, ValueError
    for one that is not (K, D), is empty or is not finite.
    """
    return Prepared(codebook)


def checked(codebook: Array) -> Array:
    """A copy of the codebook, in row-major order, once nothing is wrong with it."""
    _check_arrays(codebook)
    if codebook.ndim != 2 or 0 in codebook.shape:
        problem = "is empty" if codebook.ndim == 2 else "must be (K, D)"
        raise ValueError(f"the codebook {problem}: {codebook.shape}")
    _check_dtype(codebook)
    check_codewords(codebook)
    return xp.array(codebook, order="C")


def check_codewords(codebook: Array) -> None:
    """Raise for the first codeword that is not finite."""
    bad = ~xp.isfinite(codebook).all(axis=1)
    check(bad, ValueError, "a codeword is not finite",
          lambda: f"codeword {int(xp.flatnonzero(bad)[0])} is not finite")  # fmt: skip


def nearest(
    vectors: Array, codebook: Array | Prepared, *, nonfinite: str = "raise"
) -> tuple[Array, Array]:
    """The nearest codeword of every vector, exactly, and its squared Euclidean distance.

    vectors (..., D) and codebook (K, D), float32 or float64, give int64 codes (...) in [0, K) and
    distances (...) in their common dtype, inf where that overflows. The code is the argmin over k
    of sum_d (z_d - e_kd)^2, in float64, added in the order d = 0..D-1 without fused multiply-add,
    the lowest index on ties; so it does not depend on the batch a vector comes in. Extra memory
    does not grow with N times K. Where a codebook serves many calls, `prepare` it once.

    Raises TypeError for other dtypes, ValueError for shapes that do not fit, an empty codebook, a
    codeword that is not finite, and a vector that is not finite; with nonfinite="mask" such a
    vector gets code -1 and distance NaN instead (mind that -1 also indexes the last codeword).
    """
    dtype = check_nearest(vectors, codebook, nonfinite)
    if not isinstance(codebook, Prepared) or codebook.dtype != dtype:
        codebook = Prepared(entries(codebook).astype(dtype, copy=False))
    shape = vectors.shape[:-1]
    vectors = vectors.reshape(-1, codebook.shape[1])
    finite = xp.isfinite(vectors).all(axis=1)
    codes = xp.full(len(vectors), -1, dtype=xp.int64)
    distances = xp.full(len(vectors), xp.nan, dtype=dtype)
    rows = slice(None) if bool(finite.all()) else finite
    with quiet():
        codes[rows], distances[rows] = _nearest(vectors[rows].astype(dtype, copy=False), codebook)
    check_codes(codes, shape, nonfinite)
    return codes.reshape(shape), distances.reshape(shape)


def entries(codebook: Array | Prepared) -> Array:
    """The array that a codebook is, or was prepared from."""
    return codebook.codebook if isinstance(codebook, Prepared) else codebook


def check_nearest(vectors: Array, codebook: Array | Prepared, nonfinite: str) -> Any:
    """The common dtype of vectors and codebook, once their shapes and dtypes fit."""
    _check_arrays(vectors, entries(codebook))
    if nonfinite not in ("raise", "mask"):
        raise ValueError(f"nonfinite must be 'raise' or 'mask', not {nonfinite!r}")
    if vectors.ndim < 1 or codebook.ndim != 2 or vectors.shape[-1] != codebook.shape[1]:
        wanted = "vectors (..., D) and a codebook (K, D)"
        raise ValueError(expect(wanted, vectors.shape, codebook.shape))
    if 0 in codebook.shape:
        raise ValueError(f"the codebook is empty: {codebook.shape}, vectors {vectors.shape}")
    _check_dtype(vectors, codebook)
    return xp.result_type(vectors.dtype, codebook.dtype)


def _check_arrays(*given: Any) -> None:
    for each in given:
        if not isinstance(each, xp.ndarray):
            kind = type(each).__name__
            raise TypeError(f"vectors and codebook must be arrays, not {kind} (of a Tensor: .data)")


def _check_dtype(*arrays: Any) -> None:
    for array in arrays:
        if array.dtype not in (xp.float32, xp.float64):
            raise TypeError(f"vectors and codebook must be float32 or float64, not {array.dtype}")


def check_codes(codes: Array, shape: tuple[int, ...], nonfinite: str) -> None:
    """Raise for the first code -1, of a vector that is not finite, unless that was asked for."""
    if nonfinite != "raise":
        return

    def first() -> str:
        bad = xp.flatnonzero(codes < 0)[0]
        index = [int(i) for i in xp.unravel_index(bad, shape)] if shape else "()"
        return f"the vector at {index} of {shape} {problem}"

    problem = "is not finite (nonfinite='mask' skips)"
    check(codes < 0, ValueError, f"a vector {problem}", first)


def _nearest(vectors: Array, prepared: Prepared) -> tuple[Array, Array]:
    """`nearest` on finite (N, D) of the codebook's dtype: BLAS screens, the definition decides.

    With a = z - centre and b = e - centre, |z - e|^2 = |a|^2 + 2 s where s = |b|^2 / 2 - a.b, and
    one product of (a, 1) and (-b, |b|^2 / 2) gives s. Let u = eps / 2 and r = |a| + |b|. Centring
    (2 u), the norm (D u) and the product ((D + 1) u, in any order: Higham, Accuracy and Stability,
    eq. 3.5) put s off by at most (D + 3) eps r^2 / 2, and the definition's own rounding counts for
    at most half of that. Two codewords differ, so the winner lies within 1.5 (D + 3) eps r^2 of
    the lowest s; we allow 2 (D + 16) eps r^2, and `tiny` for what underflows. The codeword of
    least norm shows |b| <= 2 |a| + min |b| for the winner, so a stray codeword costs nothing.
    """
    codebook, (centre, table, least, most) = prepared.codebook, prepared.screen
    (count, dims), info = codebook.shape, xp.finfo(vectors.dtype)
    step = max(1, _SCORES // count)
    left = xp.ones((min(step, len(vectors)), dims + 1), vectors.dtype)
    product = xp.empty((len(left), count), vectors.dtype)
    codes = xp.empty(len(vectors), xp.int64)
    distances = xp.empty(len(vectors), vectors.dtype)
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step]
        row = xp.arange(len(block))
        a = left[: len(block), :dims]
        xp.subtract(block, centre, out=a)
        scores = xp.matmul(left[: len(block)], table, out=product[: len(block)])
        norm = xp.sqrt(xp.einsum("nd,nd->n", a, a))
        radius = norm + xp.minimum(most, 2 * norm + least)
        margin = (dims + 16) * info.eps * (2 * radius * radius)  # inf where distances overflow
        margin += 16 * (dims + 1) * info.tiny * (1 + radius)
        best = scores.argmin(axis=1)
        lowest = scores[row, best]
        limit = lowest + margin
        scores[row, best] = xp.inf
        # `not greater` instead of `less or equal`: a NaN, from overflow, must survive
        open_rows = xp.flatnonzero(~(scores.min(axis=1) > limit))
        if open_rows.size:
            survives = ~(scores[open_rows] > limit[open_rows, None])
            survives[xp.arange(len(open_rows)), best[open_rows]] = True
            which, code = xp.nonzero(survives)
            exact = xp.full(survives.shape, xp.inf)
            exact[which, code] = _distances(block, open_rows[which], codebook, code)
            best[open_rows] = exact.argmin(axis=1)
        codes[start : start + step] = best
        distances[start : start + step] = _distances(block, row, codebook, best)
    return codes, distances


def _distances(vectors: Array, rows: Array, codebook: Array, codes: Array) -> Array:
    """The definition: squared distance of vectors[rows] to codebook[codes], pair by pair."""
    total = xp.zeros(len(codes))
    step = max(1, _ROWS // vectors.shape[1])
    for start in range(0, len(codes), step):
        part = slice(start, start + step)
        difference = vectors[rows[part]].astype(xp.float64)
        difference -= codebook[codes[part]]
        difference *= difference
        part_total = total[part]
        for column in difference.T:  # a loop, because sum() may add in any order
            part_total += column
    return total


# --- sums of rows by code -----------------------------------------------------------------------


def scatter_sum(values: Array, codes: Array, count: int) -> Array:
    """Add up the rows of each code: out[k] = sum of values[n] where codes[n] == k.

    values (..., D) of a float dtype, which the result (count, D) keeps, and integer codes (...) in
    [0, count). The order of addition is fixed by the codes: the same input gives the same bits.

    Raises TypeError for codes that are no integers, ValueError for shapes that do not fit, and
    IndexError for a code outside; a negative one too.
    """
    check_scatter(values, codes)
    values = values.reshape(codes.size, values.shape[-1])
    codes = codes.ravel()
    check_range(codes, count)
    out = xp.zeros((count, values.shape[1]), values.dtype)
    # NumPy sorts 16-bit keys by radix, wider ones by comparison
    order = xp.argsort(codes.astype(xp.uint16 if count <= 1 << 16 else xp.int64), kind="stable")
    # reduceat walks all rows once per column: in blocks they stay in cache
    step = max(1, _ROWS // max(1, values.shape[1]))
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        sorted_codes = codes[rows]
        changes = xp.concatenate([xp.ones(1, bool), sorted_codes[1:] != sorted_codes[:-1]])
        first = xp.flatnonzero(changes)
        out[sorted_codes[first]] += sum_segments(values[rows], first)
    return out


def check_scatter(values: Array, codes: Array) -> None:
    if codes.dtype.kind not in "iu":
        raise TypeError(f"codes must be integers, not {codes.dtype}")
    if values.shape[:-1] != codes.shape or values.ndim < 1:
        raise ValueError(expect("values (..., D) and codes (...)", values.shape, codes.shape))


def check_range(codes: Array, count: int) -> None:
    """Raise for the first code outside [0, count)."""
    bad = (codes < 0) | (codes >= count)

    def first() -> str:
        place = int(xp.flatnonzero(bad)[0])
        return f"code {int(codes.ravel()[place])} at position {place} {problem}"

    problem = f"is outside [0, {count})"
    check(bad, IndexError, f"a code {problem}", first)


# --- products -----------------------------------------------------------------------------------


def matmul(x: Array, y: Array) -> Array:
    """``x @ y``, as NumPy's: (..., n, k) and (..., k, m) to (..., n, m); either may be (k,)."""
    return xp.matmul(x, y)


# --- relu and its gradient ----------------------------------------------------------------------


def relu(x: Array) -> Array:
    """``max(x, 0)``, in the shape and dtype of x; NaN stays."""
    return xp.maximum(x, 0)


def gate(x: Array, by: Array) -> Array:
    """``x``, but 0 where ``by`` is 0 or below, in the dtype of x; the two broadcast.

    Where ``by`` is NaN, x stays: relu hands NaN on, and its gradient with it.
    """
    zero = x.dtype.type(0) if hasattr(x, "dtype") else 0.0
    return xp.where(xp.asarray(by) <= 0, zero, x)


# --- steps of the optimizers, in place ----------------------------------------------------------


def sgd(
    p: Array, g: Array, velocity: Array | None, lr: float, momentum: float = 0.0,
    decay: float = 0.0, nesterov: bool = False,
) -> None:
    """``v = momentum v + g + decay p; p -= lr v``, in place (Sutskever et al. 2013, eqs. 1 and 2,
    in PyTorch's form: the learning rate is not part of v).

    Parameter p, gradient g and velocity v have one shape; p and v change. Without a velocity (None)
    there is no momentum. With ``nesterov`` it is ``p -= lr (g + decay p + momentum v)`` (eqs. 3
    and 4). ``lr`` may be an array of one number in float64: what a device reads when it steps.
    """
    lr = _weak(lr, p)
    if decay:
        g = g + decay * p
    if velocity is not None:
        velocity *= momentum
        velocity += g
        g = g + momentum * velocity if nesterov else velocity
    p -= lr * g


def adam(
    p: Array, g: Array, m: Array, v: Array, step: float, lr: float, betas: tuple[float, float],
    eps: float, decay: float = 0.0, largest: Array | None = None,
) -> None:
    """Adam (Kingma & Ba 2015, algorithm 1), after ``p *= 1 - lr decay`` (Loshchilov & Hutter 2019,
    algorithm 2); in place, and ``step`` counts from 1.

    Parameter p, gradient g, m and v have one shape; p, m and v change. ``m`` and ``v`` are moving
    averages of the gradient and of its square, which keep the shares ``betas`` of their past and
    are corrected for having started at 0 (not at all where ``step`` is inf); then
    ``p -= lr m' / (sqrt(v') + eps)``. With ``largest``, an array that changes too, the largest v so
    far takes the place of v (Reddi et al. 2018, algorithm 2). ``step`` and ``lr`` may be arrays of
    one number in float64, as in `sgd`.
    """
    first, second = betas
    m *= first
    m += (1 - first) * g
    v *= second
    v += (1 - second) * (g * g)
    if largest is not None:
        v = xp.maximum(largest, v, out=largest)
    divisor = xp.sqrt(v)
    divisor /= _weak((1 - second**step) ** 0.5, p)
    divisor += eps
    update = m / divisor
    update *= _weak(lr / (1 - first**step), p)
    if decay:
        p *= _weak(1 - lr * decay, p)
    p -= update


def _weak(number: Any, like: Array) -> Any:
    """An array of one number in the dtype of another array; a number, which has none, as it is."""
    return number.astype(like.dtype) if hasattr(number, "astype") else number


# --- what went wrong, noted without a look ------------------------------------------------------


def flag(word: Array, bad: Array, number: int) -> None:
    """Make ``word``, an array of one int64, ``number`` where any of ``bad`` is True; in place.

    A word that is not 0 stays: it tells of what went wrong first. The host waits for nothing.
    """
    word += ((word == 0) & bad.any()) * number
