"""The register tile, from which every fast loop here is built.

A compiler keeps the sums of a plain loop in memory, and waits for it. A tile is a tuple of vectors
(``vectors.py``), rows by columns, which LLVM keeps in registers for a whole loop. In a step it
multiplies one number of each row into each vector::

    acc = start(bias, 0, VECTORS)                   # ROWS x VECTORS sums
    for d in range(depth):
        acc = step(acc, x, at, d, w, d * block)     # acc[i, j] += x[at[i] + d] * w[d * block + j]
    store(acc, y, out)

That is a product of matrices, a convolution, or the scores of codewords, by what is passed in.
Numbers are float32 or float64, summed by fused multiply-add; or int16 in pairs, summed in int32,
which is twice as fast as float32 on any machine that multiplies pairs in one instruction.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import INDEX, ROWS, WIDTH, Code, Vector


def _sums(dtype: Any) -> Any:
    """The type in which products of a dtype are summed."""
    return types.int32 if dtype is types.int16 else dtype


def _tile(vectors: int, dtype: Any) -> Any:
    return types.UniTuple(Vector(dtype), ROWS * vectors)


def _grid(tile: Any) -> Any:
    """(row, vector, place in the tuple) of every vector of a tile."""
    vectors = tile.count // ROWS
    return [(i, j, i * vectors + j) for i in range(ROWS) for j in range(vectors)]


# --- The intrinsics -------------------------------------------------------------------------------


@intrinsic
def rows(typing, offsets, first, last):
    """``offsets[first], offsets[first + 1], ...`` for the rows of a tile, up to ``offsets[last -
    1]``, which then repeats: a tile that sticks out does its last row more than once."""

    def generate(*given):
        code = Code(*given)
        builder, (_, first, last) = code.builder, code.values
        end = builder.sub(last, INDEX(1))
        places = []
        for i in range(ROWS):
            at = builder.add(first, INDEX(i))
            at = builder.select(builder.icmp_signed("<", at, end), at, end)
            places.append(builder.load(code.place(0, at)))
        return code.pack(places)

    return types.UniTuple(types.intp, ROWS)(offsets, types.intp, types.intp), generate


@intrinsic
def strided(typing, first, stride):
    """``first, first + stride, ...`` for the rows of a tile."""

    def generate(*given):
        code = Code(*given)
        first, stride = code.values
        places = [first]
        for _ in range(ROWS - 1):
            places.append(code.builder.add(places[-1], stride))
        return code.pack(places)

    return types.UniTuple(types.intp, ROWS)(types.intp, types.intp), generate


@intrinsic(prefer_literal=True)
def start(typing, values, place, vectors):
    """A tile whose rows all hold ``values[place:]``, as many vectors wide as the literal says."""
    count = vectors.literal_value
    result = _tile(count, values.dtype)

    def generate(*given):
        code = Code(*given)
        size = WIDTH // (values.dtype.bitwidth // 8)
        line = [code.vector(0, code.values[1], j * size) for j in range(count)]
        return code.pack(line * ROWS)

    return result(values, types.intp, vectors), generate


@intrinsic
def step(typing, acc, x, at, d, w, p):
    """``acc[i, j] += x[at[i] + d] * w[p + j]``; of int16, pairs: ``x[.. + 2 d]`` and the next."""
    pairs = x.dtype is types.int16
    sums = WIDTH // (acc.dtype.dtype.bitwidth // 8)

    def generate(*given):
        code = Code(*given)
        builder, (_, _, _, d, _, p) = code.builder, code.values
        size = WIDTH // (w.dtype.bitwidth // 8)
        line = [code.vector(4, p, j * size) for j in range(acc.count // ROWS)]
        if pairs:
            d = builder.add(d, d)
        numbers = []
        for i in range(ROWS):
            place = code.place(1, builder.extract_value(code.values[2], i), d)
            kind = ir.IntType(32) if pairs else place.type.pointee
            number = code.load(place, kind, x.dtype.bitwidth // 8)
            numbers.append(code.everywhere(number, sums))
        multiply_add = _pairs if pairs else _fused
        return code.pack([
            multiply_add(builder, numbers[i], line[j], code.entry(0, k)) for i, j, k in _grid(acc)
        ])

    return acc(acc, x, at, types.intp, w, types.intp), generate


def _fused(builder: Any, x: Any, w: Any, acc: Any) -> Any:
    name = "f32" if acc.type.element == ir.FloatType() else "f64"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(acc.type, [acc.type] * 3),
        f"llvm.fma.v{acc.type.count}{name}",
    )
    return builder.call(function, [x, w, acc])


def _pairs(builder: Any, x: Any, w: Any, acc: Any) -> Any:
    """``acc + x0 w0 + x1 w1`` of pairs of int16, in the form that LLVM makes one or two
    instructions of: vpmaddwd and vpaddd, or vpdpwssd."""
    count = acc.type.count
    wide = ir.VectorType(ir.IntType(32), 2 * count)
    x = builder.sext(builder.bitcast(x, w.type), wide)
    product = builder.mul(x, builder.sext(w, wide))
    mask = ir.VectorType(ir.IntType(32), count)
    even = builder.shuffle_vector(product, product, mask(list(range(0, 2 * count, 2))))
    odd = builder.shuffle_vector(product, product, mask(list(range(1, 2 * count, 2))))
    return builder.add(acc, builder.add(even, odd))


@intrinsic
def along(typing, acc, x, at, d, w, p):
    """``acc[i, j] += x[at[i] + d + j] * w[p + j]``, of tiles one vector wide: inner products."""

    def generate(*given):
        code = Code(*given)
        builder, (_, _, at, d, _, p) = code.builder, code.values
        line = code.vector(4, p)
        return code.pack([
            _fused(builder, code.vector(1, builder.extract_value(at, i), d), line, code.entry(0, i))
            for i in range(ROWS)
        ])

    return acc(acc, x, at, types.intp, w, types.intp), generate


@intrinsic
def totals(typing, acc):
    """The sum of each row's entries, halves first."""

    def generate(*given):
        code = Code(*given)
        add = code.builder.fadd
        return code.pack([code.reduce(code.entry(0, i), add) for i in range(ROWS)])

    return types.UniTuple(acc.dtype.dtype, ROWS)(acc), generate


@intrinsic
def any_below(typing, acc, limits, place):
    """Whether any row has an entry that is not above its limit, ``limits[place + i]``."""

    def generate(*given):
        code = Code(*given)
        builder, count = code.builder, acc.dtype.lanes
        lowest: dict[int, Any] = {}  # of each row, its vectors folded into one
        for i, _, k in _grid(acc):
            entry = code.entry(0, k)
            lowest[i] = code.lower(entry, lowest[i]) if i in lowest else entry
        found = ir.VectorType(ir.IntType(1), count)([0] * count)
        for i, row in lowest.items():
            limit = builder.load(code.place(1, code.values[2], i))
            found = builder.or_(found, code.not_above(row, code.everywhere(limit, count)))
        lanes = builder.bitcast(found, ir.IntType(count))
        return builder.icmp_unsigned("!=", lanes, lanes.type(0))

    return types.boolean(acc, limits, types.intp), generate


@intrinsic
def keep(typing, acc, y):
    """``y[:] = acc``, row after row."""

    def generate(*given):
        code = Code(*given)
        for _, _, k in _grid(acc):
            code.put(code.entry(0, k), 1, k * acc.dtype.lanes)
        return code.context.get_dummy_value()

    return types.void(acc, y), generate


@intrinsic
def store(typing, acc, y, at, place, floor):
    """``y[at[i] + place + j] = max(acc[i, j], floor)``; NaN stays."""

    def generate(*given):
        code = Code(*given)
        builder, (_, _, at, place, floor) = code.builder, code.values
        size = WIDTH // (y.dtype.bitwidth // 8)
        least = code.everywhere(floor, size)
        for i, j, k in _grid(acc):
            value = code.entry(0, k)
            below = builder.fcmp_ordered("<", value, least)
            value = builder.select(below, least, value)
            code.put(value, 1, builder.extract_value(at, i), place, j * size)
        return code.context.get_dummy_value()

    return types.void(acc, y, at, types.intp, y.dtype), generate


@intrinsic
def add_to(typing, acc, y, place):
    """``y[place:] += acc``, row after row."""

    def generate(*given):
        code = Code(*given)
        size = WIDTH // (y.dtype.bitwidth // 8)
        for _, _, k in _grid(acc):
            at = code.values[2], k * size
            code.put(code.builder.fadd(code.vector(1, *at), code.entry(0, k)), 1, *at)
        return code.context.get_dummy_value()

    return types.void(acc, y, types.intp), generate
