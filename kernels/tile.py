"""The register tile, from which every fast loop here is built.

A compiler keeps the sums of a plain loop in memory, and waits for it. Here a Numba type stands for
one vector of a SIMD register, and a tile is a tuple of them, rows by vectors, which LLVM keeps in
registers for a whole loop. A step of the loop multiplies one number of each row into each vector::

    acc = start(bias, 0, VECTORS)                   # ROWS x VECTORS sums
    for d in range(depth):
        acc = step(acc, x, at, d, w, d * block)     # acc[i, j] += x[at[i] + d] * w[d * block + j]
    store(acc, y, out)

That is a product of matrices, a convolution, or the scores of codewords, by what is passed in.
Numbers are float32 or float64, summed by fused multiply-add; or int16 in pairs, summed in int32,
which is twice as fast as float32 on any machine that multiplies pairs in one instruction.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

from . import Unavailable

INDEX = ir.IntType(64)


def _shape() -> tuple[int, int, int]:
    """Bytes of a register, and rows and vectors of a tile that the registers hold."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    has = {name[1:] for name in features.split(",") if name.startswith("+")}
    if "avx512f" in has:
        return 64, 4, 4  # 32 registers
    if {"avx2", "fma"} <= has:
        return 32, 6, 2  # 16 registers
    if "neon" in has:
        return 16, 4, 4  # 32 registers
    raise Unavailable("this processor has none of AVX-512, AVX2 with FMA, and NEON")


WIDTH, ROWS, VECTORS = _shape()


def lanes(dtype: Any) -> int:
    """How many sums of numbers of this dtype one register holds: pairs of int16 count as one."""
    return WIDTH // max(4, dtype.itemsize)


# --- The types ------------------------------------------------------------------------------------


class Vector(types.Type):
    """``WIDTH`` bytes of one number type, in a register."""

    def __init__(self, dtype: Any) -> None:
        self.dtype, self.lanes = dtype, WIDTH // (dtype.bitwidth // 8)
        super().__init__(f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        entry = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(entry, vector.lanes))


def _sums(dtype: Any) -> Any:
    """The type in which products of a dtype are summed."""
    return types.int32 if dtype is types.int16 else dtype


def _tile(vectors: int, dtype: Any) -> Any:
    return types.UniTuple(Vector(dtype), ROWS * vectors)


# --- Reading and writing memory -------------------------------------------------------------------


class _Code:
    """What the intrinsics write their code with: the arguments of one call, and LLVM's builder."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self.context, self.builder = context, builder
        self.types, self.values = signature.args, values
        self.result = signature.return_type

    def place(self, array: int, *offsets: Any) -> Any:
        """The address in argument ``array`` at a sum of offsets."""
        data = self.context.make_array(self.types[array])(
            self.context, self.builder, self.values[array]
        ).data
        total = INDEX(0)
        for offset in offsets:
            total = self.builder.add(total, INDEX(offset) if isinstance(offset, int) else offset)
        return self.builder.gep(data, [total])

    def load(self, address: Any, kind: Any, align: int) -> Any:
        value = self.builder.load(self.builder.bitcast(address, kind.as_pointer()))
        value.align = align
        return value

    def vector(self, array: int, *offsets: Any) -> Any:
        """A register full of an array's entries."""
        dtype = self.types[array].dtype
        kind = self.context.get_value_type(Vector(dtype))
        return self.load(self.place(array, *offsets), kind, dtype.bitwidth // 8)

    def put(self, value: Any, array: int, *offsets: Any) -> None:
        place = self.builder.bitcast(self.place(array, *offsets), value.type.as_pointer())
        self.builder.store(value, place).align = self.types[array].dtype.bitwidth // 8

    def everywhere(self, value: Any, count: int) -> Any:
        """A vector of ``count`` times the same value."""
        empty = ir.VectorType(value.type, count)(ir.Undefined)
        one = self.builder.insert_element(empty, value, ir.IntType(32)(0))
        mask = ir.VectorType(ir.IntType(32), count)([0] * count)
        return self.builder.shuffle_vector(one, empty, mask)

    def entry(self, tile: int, place: int) -> Any:
        return self.builder.extract_value(self.values[tile], place)

    def pack(self, values: list) -> Any:
        return self.context.make_tuple(self.builder, self.result, values)

    def reduce(self, x: Any, combine: Any) -> Any:
        """All entries of a vector combined: its halves, then theirs, down to one."""
        while x.type.count > 1:
            half = x.type.count // 2
            mask = ir.VectorType(ir.IntType(32), half)
            halves = [
                self.builder.shuffle_vector(x, x, mask(list(range(first, first + half))))
                for first in (0, half)
            ]
            x = combine(*halves)
        return self.builder.extract_element(x, ir.IntType(32)(0))

    def lower(self, x: Any, y: Any) -> Any:
        """The smaller of two vectors, lane by lane; ``y`` where x is NaN."""
        if isinstance(x.type.element, ir.IntType):
            return self.builder.select(self.builder.icmp_signed("<", x, y), x, y)
        return self.builder.select(self.builder.fcmp_ordered("<", x, y), x, y)

    def not_above(self, x: Any, limit: Any) -> Any:
        """Which entries are not above the limit: NaN is not."""
        if isinstance(x.type.element, ir.IntType):
            return self.builder.icmp_signed("<=", x, limit)
        return self.builder.fcmp_unordered("<=", x, limit)


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
        code = _Code(*given)
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
        code = _Code(*given)
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
        code = _Code(*given)
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
        code = _Code(*given)
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
        code = _Code(*given)
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
        code = _Code(*given)
        add = code.builder.fadd
        return code.pack([code.reduce(code.entry(0, i), add) for i in range(ROWS)])

    return types.UniTuple(acc.dtype.dtype, ROWS)(acc), generate


@intrinsic
def any_below(typing, acc, limits, place):
    """Whether any row has an entry that is not above its limit, ``limits[place + i]``."""

    def generate(*given):
        code = _Code(*given)
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
        code = _Code(*given)
        for _, _, k in _grid(acc):
            code.put(code.entry(0, k), 1, k * acc.dtype.lanes)
        return code.context.get_dummy_value()

    return types.void(acc, y), generate


@intrinsic
def store(typing, acc, y, at, place, floor):
    """``y[at[i] + place + j] = max(acc[i, j], floor)``; NaN stays."""

    def generate(*given):
        code = _Code(*given)
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
        code = _Code(*given)
        size = WIDTH // (y.dtype.bitwidth // 8)
        for _, _, k in _grid(acc):
            at = code.values[2], k * size
            code.put(code.builder.fadd(code.vector(1, *at), code.entry(0, k)), 1, *at)
        return code.context.get_dummy_value()

    return types.void(acc, y, types.intp), generate


# --- Single vectors -------------------------------------------------------------------------------


@intrinsic
def vector(typing, values, place):
    """``values[place:]``, as many as a register holds."""

    def generate(*given):
        code = _Code(*given)
        return code.vector(0, code.values[1])

    return Vector(values.dtype)(values, types.intp), generate


@intrinsic
def put(typing, x, values, place):
    """``values[place:] = x``"""

    def generate(*given):
        code = _Code(*given)
        code.put(code.values[0], 1, code.values[2])
        return code.context.get_dummy_value()

    return types.void(x, values, types.intp), generate


@intrinsic
def lower(typing, x, y):
    """The smaller entries of two vectors."""
    return x(x, x), lambda *given: _Code(*given).lower(*given[3])


@intrinsic
def higher(typing, x, y):
    """The larger entries of two vectors of floats."""

    def generate(*given):
        builder, (x, y) = given[1], given[3]
        return builder.select(builder.fcmp_ordered(">", x, y), x, y)

    return x(x, x), generate


def _operator(function: Any, name: str) -> None:
    """An operator of two vectors of floats, by the name of LLVM's instruction."""

    @infer_global(function)
    class Typing(AbstractTemplate):
        def generic(self, args: Any, keywords: Any) -> Any:
            alike = isinstance(args[0], Vector) and args[1:] == (args[0],)
            return args[0](*args) if alike else None

    @lower_builtin(function, Vector, Vector)
    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return getattr(builder, name)(*values)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


@intrinsic
def everywhere(typing, value):
    """A vector of nothing but this value."""
    kind = Vector(value)
    return kind(value), lambda *given: _Code(*given).everywhere(given[3][0], kind.lanes)


@intrinsic
def below(typing, x, limit):
    """The lanes of a vector that are not above the limit, as the bits of an integer."""

    def generate(*given):
        code = _Code(*given)
        builder, (x, limit) = code.builder, code.values
        limit = code.everywhere(limit, x.type.count)
        lanes = builder.bitcast(code.not_above(x, limit), ir.IntType(x.type.count))
        return builder.zext(lanes, INDEX)

    return types.intp(x, x.dtype), generate


@intrinsic
def squares(typing, x, p, y, q):
    """``(x[p:] - y[q:])^2`` in float64, as many as a register holds."""
    wide = Vector(types.float64)

    def generate(*given):
        code = _Code(*given)
        _, p, _, q = code.values
        kind = ir.VectorType(code.context.get_value_type(x.dtype), wide.lanes)
        entries = [code.load(code.place(a, at), kind, x.dtype.bitwidth // 8)
                   for a, at in ((0, p), (2, q))]
        if x.dtype is not types.float64:
            double = code.context.get_value_type(wide)
            entries = [code.builder.fpext(each, double) for each in entries]
        difference = code.builder.fsub(*entries)
        return code.builder.fmul(difference, difference)

    return wide(x, types.intp, y, types.intp), generate


@intrinsic
def smallest(typing, x):
    """The smallest entry of a vector."""

    def generate(*given):
        code = _Code(*given)
        return code.reduce(code.values[0], code.lower)

    return x.dtype(x), generate


@intrinsic
def largest(typing, x):
    """The largest entry of a vector of floats."""

    def generate(*given):
        code, builder = _Code(*given), given[1]
        return code.reduce(
            code.values[0], lambda x, y: builder.select(builder.fcmp_ordered(">", x, y), x, y)
        )

    return x.dtype(x), generate


# --- What other threads write ---------------------------------------------------------------------


@intrinsic
def current(typing, values, place):
    """``values[place]`` as it is in memory now, not as it was when last read."""

    def generate(*given):
        code = _Code(*given)
        size = values.dtype.bitwidth // 8
        return code.builder.load_atomic(code.place(0, code.values[1]), "acquire", size)

    return values.dtype(values, types.intp), generate
