"""A register full of numbers as a Numba type, and what is done with one.

A loop of Numba's is given to LLVM number by number, which makes vectors of it where it can. Here a
kernel says which vectors it means: ``put(vector(x, i) + vector(y, i), x, i)``.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
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


# --- Reading and writing memory -------------------------------------------------------------------


class Code:
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


# --- What kernels call ----------------------------------------------------------------------------


@intrinsic
def vector(typing, values, place):
    """``values[place:]``, as many as a register holds."""

    def generate(*given):
        code = Code(*given)
        return code.vector(0, code.values[1])

    return Vector(values.dtype)(values, types.intp), generate


@intrinsic
def put(typing, x, values, place):
    """``values[place:] = x``"""

    def generate(*given):
        code = Code(*given)
        code.put(code.values[0], 1, code.values[2])
        return code.context.get_dummy_value()

    return types.void(x, values, types.intp), generate


@intrinsic
def lower(typing, x, y):
    """The smaller entries of two vectors."""
    return x(x, x), lambda *given: Code(*given).lower(*given[3])


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
    return kind(value), lambda *given: Code(*given).everywhere(given[3][0], kind.lanes)


@intrinsic
def below(typing, x, limit):
    """The lanes of a vector that are not above the limit, as the bits of an integer."""

    def generate(*given):
        code = Code(*given)
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
        code = Code(*given)
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
        code = Code(*given)
        return code.reduce(code.values[0], code.lower)

    return x.dtype(x), generate


@intrinsic
def largest(typing, x):
    """The largest entry of a vector of floats."""

    def generate(*given):
        code, builder = Code(*given), given[1]
        return code.reduce(
            code.values[0], lambda x, y: builder.select(builder.fcmp_ordered(">", x, y), x, y)
        )

    return x.dtype(x), generate


# --- What other threads write ---------------------------------------------------------------------


@intrinsic
def current(typing, values, place):
    """``values[place]`` as it is in memory now, not as it was when last read."""

    def generate(*given):
        code = Code(*given)
        size = values.dtype.bitwidth // 8
        return code.builder.load_atomic(code.place(0, code.values[1]), "acquire", size)

    return values.dtype(values, types.intp), generate
