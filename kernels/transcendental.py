"""The exponential, the hyperbolic tangent and the error function, as what LLVM vectorizes.

Those of the C library are a call for each number. Here ``x = k log 2 + r`` with a whole k, so that
``exp(x) = 2^k exp(r)``: the first factor is put together from bits, and as r is no farther from 0
than half of log 2, a few terms of the series make the second. Off by at most two units in the last
place.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .error_function import TABLES

LOG_2 = math.log(2)


class _Format(NamedTuple):
    """What the formulas need to know of a number type."""

    kind: Any
    bits: Any  # the integer of the same size
    name: str
    mantissa: int  # how many bits hold the digits
    bias: int  # what is added to an exponent
    terms: int  # of the series: what is behind them rounds to nothing
    range: tuple[float, float]  # exp rounds to 0 below it, and to infinity above
    log: tuple[float, float]  # log 2: rounded, so that products with k are exact, and the rest


_FORMATS = {
    types.float32: _Format(
        ir.FloatType(), ir.IntType(32), "float32", 23, 127, 8, (-104.0, 89.0),
        (0.693145751953125, 1.4286068203094172e-6),
    ),
    types.float64: _Format(
        ir.DoubleType(), ir.IntType(64), "float64", 52, 1023, 14, (-746.0, 710.0),
        (0.6931471803691238, 1.9082149292705878e-10),
    ),
}  # fmt: skip


class _Formula:
    """Arithmetic on numbers of one type, or on vectors of ``count``, written down for LLVM."""

    def __init__(self, builder: Any, form: _Format, count: int = 0) -> None:
        self.builder, self.form, self.count = builder, form, count
        kinds = form.kind, form.bits
        self.kind, self.bits = (ir.VectorType(k, count) for k in kinds) if count else kinds

    def number(self, value: float) -> Any:
        return ir.Constant(self.kind, [value] * self.count if self.count else value)

    def integer(self, value: int) -> Any:
        return ir.Constant(self.bits, [value] * self.count if self.count else value)

    def call(self, name: str, *given: Any) -> Any:
        kind = ir.FunctionType(self.kind, [self.kind] * len(given))
        name = f"llvm.{name}.{f'v{self.count}' if self.count else ''}f{self.form.bits.width}"
        return self.builder.call(
            cgutils.get_or_insert_function(self.builder.module, kind, name), given
        )

    def held(self, x: Any, low: float, high: float) -> Any:
        """``x`` between two numbers; the lower one for NaN."""
        for order, bound in ((">", low), ("<", high)):
            limit = self.number(bound)
            x = self.builder.select(self.builder.fcmp_ordered(order, x, limit), x, limit)
        return x

    def polynomial(self, coefficients: Any, x: Any) -> Any:
        """Horner's rule, highest power first."""
        total = self.number(coefficients[0])
        for c in coefficients[1:]:
            total = self.call("fma", total, x, self.number(c))
        return total

    def power(self, exponent: Any) -> Any:
        """2 to a whole number, put together from bits."""
        raised = self.builder.add(exponent, self.integer(self.form.bias))
        digits = self.integer(self.form.mantissa)
        return self.builder.bitcast(self.builder.shl(raised, digits), self.kind)

    def whole(self, x: Any) -> tuple[Any, Any]:
        """The whole number nearest to ``x``, as a float and as an integer: the last digits of x and
        a number so large that it has none behind the point. (AVX2 cannot convert float64.)"""
        large = self.number(1.5 * 2.0**self.form.mantissa)
        t = self.builder.fadd(x, large)
        bits = (self.builder.bitcast(value, self.bits) for value in (t, large))
        return self.builder.fsub(t, large), self.builder.sub(*bits)

    def reduced(self, x: Any) -> tuple[Any, Any, Any]:
        """Whole k, as a float and as an integer, and small r with ``x = k log 2 + r``."""
        coarse, rest = self.form.log
        k, exponent = self.whole(self.builder.fmul(x, self.number(1 / LOG_2)))
        r = self.call("fma", k, self.number(-coarse), x)
        return k, exponent, self.call("fma", k, self.number(-rest), r)

    def series(self, r: Any, first: int) -> Any:
        """``r^n / (n + first)!``, summed from n = 0."""
        terms = reversed(range(first, self.form.terms))
        return self.polynomial([1 / math.factorial(n) for n in terms], r)

    def unless_nan(self, x: Any, value: Any) -> Any:
        return self.builder.select(self.builder.fcmp_unordered("uno", x, x), x, value)

    def exp(self, x: Any) -> Any:
        builder = self.builder
        k, exponent, r = self.reduced(self.held(x, *self.form.range))
        _, half = self.whole(builder.fmul(k, self.number(0.5)))  # 2^k alone may be out of range
        value = builder.fmul(self.series(r, 0), self.power(half))
        return self.unless_nan(x, builder.fmul(value, self.power(builder.sub(exponent, half))))

    def tanh(self, x: Any) -> Any:
        """``h / (h + 1)`` with ``2 h = exp(2 x) - 1``; as ``a - a a / (h + 1)``, where a is h or 1,
        the smaller, what the quotient is rounded by counts for half at most."""
        builder, one = self.builder, self.number(1)
        size = self.held(self.call("fabs", x), 0, 20)  # tanh(20) rounds to 1
        _, exponent, r = self.reduced(builder.fadd(size, size))
        power = self.power(builder.sub(exponent, self.integer(1)))
        small = self.call("fma", builder.fmul(r, r), self.series(r, 2), r)  # exp(r) - 1
        h = self.call("fma", power, small, builder.fsub(power, self.number(0.5)))
        a = builder.select(builder.fcmp_ordered("<", h, one), h, one)
        value = self.call("fma", builder.fneg(a), builder.fdiv(a, builder.fadd(h, one)), a)
        return self.unless_nan(x, self.call("copysign", value, x))

    def erf(self, x: Any) -> Any:
        """As in ``error_function``: one polynomial near 0, and another farther out."""
        builder, (near, far) = self.builder, TABLES[self.form.name]
        size = self.held(self.call("fabs", x), 0, 6)  # erf(6) rounds to 1
        square = builder.fmul(size, size)
        small = self.call("fma", size, self.polynomial(near, square), size)
        shift = self.number(2.5)
        t = builder.fdiv(builder.fsub(size, shift), builder.fadd(size, shift))
        tail = builder.fmul(self.exp(builder.fneg(square)), self.polynomial(far, t))
        large = builder.fsub(self.number(1), tail)
        inside = builder.fcmp_ordered("<", size, self.number(1))
        return self.unless_nan(x, self.call("copysign", builder.select(inside, small, large), x))


def _function(name: str, x: Any) -> Any:
    """A formula for numbers of the type x, or for registers of them."""
    single = getattr(x, "dtype", x)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        formula = _Formula(builder, _FORMATS[single], getattr(x, "lanes", 0))
        return getattr(formula, name)(*values)

    return x(x), generate


@intrinsic
def exp(typing, x):
    """The exponential of a float32 or float64, or of a vector."""
    return _function("exp", x)


@intrinsic
def tanh(typing, x):
    """The hyperbolic tangent of a float32 or float64, or of a vector."""
    return _function("tanh", x)


@intrinsic
def erf(typing, x):
    """The error function of a float32 or float64, or of a vector."""
    return _function("erf", x)


# --- Of float64 in registers ----------------------------------------------------------------------


@intrinsic
def log(typing, x):
    """The logarithm of each entry of a vector, by the C library."""
    return x(x), lambda _, builder, __, values: _doubles(builder, x).call("log", *values)


@intrinsic
def floor(typing, x):
    """The largest whole number that is not above each entry of a vector."""
    return x(x), lambda _, builder, __, values: _doubles(builder, x).call("floor", *values)


@intrinsic
def power(typing, x):
    """2 to each entry of a vector, whole numbers not above 1023; 0 for what is below -1022."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        formula = _doubles(builder, x)
        _, exponent = formula.whole(formula.held(values[0], -1023, 1023))
        return formula.power(exponent)

    return x(x), generate


@intrinsic
def scaled(typing, x):
    """m in [1, 2) and whole e, both as floats, with x = m 2^e for each entry of a vector, neither
    negative nor denormal; of 0 they are 1 and -1023."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        formula = _doubles(builder, x)
        bits, one = builder.bitcast(values[0], formula.bits), formula.integer(1023 << 52)
        digits = builder.and_(bits, formula.integer((1 << 52) - 1))
        exponent = builder.lshr(bits, formula.integer(52))
        # As last digits of 2^52 they are a float: AVX2 cannot convert them.
        large = builder.or_(exponent, formula.integer((1023 + 52) << 52))
        e = builder.fsub(builder.bitcast(large, formula.kind), formula.number(2.0**52 + 1023))
        m = builder.bitcast(builder.or_(digits, one), formula.kind)
        return context.make_tuple(builder, signature.return_type, [m, e])

    return types.UniTuple(x, 2)(x), generate


def _doubles(builder: Any, x: Any) -> _Formula:
    return _Formula(builder, _FORMATS[types.float64], x.lanes)
