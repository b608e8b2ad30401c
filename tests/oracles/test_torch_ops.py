"""Every op of minae against PyTorch: values, gradients and gradients of gradients.

The table has one row for each thing to try. PyTorch computes in float64 whatever the dtype of the
row, so that a difference is minae's alone. `check` serves test_torch_functional.py as well.
"""

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest

import minae
from minae import Tensor, ops
from minae.engine import OPS
from minae.ops import Grid

torch = pytest.importorskip("torch", reason="PyTorch is an oracle: pip install minae[oracles]")

INF, NAN = float("inf"), float("nan")
TOLERANCES = {"float32": (1e-5, 1e-5, 1e-4), "float64": (1e-10, 1e-10, 1e-10)}  # by order


class Row(NamedTuple):
    """One function of minae, its counterpart, and what to call both with.

    Of the inputs, a tuple is a shape to fill with normal numbers, a list holds the entries, and a
    function draws them. Floats are differentiated; integers and booleans are plain arrays.
    """

    name: str
    case: str
    ours: Callable
    theirs: Callable
    inputs: tuple = ()
    result: str = ""  # the dtype of the result, where it is not that of the inputs


def check(row: Row, dtype: str, array: Callable, numpy: Callable) -> None:
    """Compare values, first-order and second-order gradients.

    The last are those of sum(first-order gradients * directions), for the inputs and for the seed.
    """
    rng = np.random.default_rng(0)
    values = [draw(each, rng, dtype) for each in row.inputs]
    ours = [array(v) for v in values]
    ours = [Tensor(v, requires_grad=True) if v.dtype == dtype else v for v in ours]
    theirs = [torch.tensor(v, dtype=torch.float64 if v.dtype == dtype else None) for v in values]
    xs = [x for x in ours if type(x) is Tensor]
    zs = [z.requires_grad_() for z in theirs if z.is_floating_point()]
    y, z = row.ours(*ours), row.theirs(*theirs)
    assert y.dtype == (row.result or dtype)
    agree(numpy(y), z, TOLERANCES[dtype][0], "values")
    if not getattr(y, "requires_grad", False):
        assert not any(g.any() for g in their_gradients(z, zs, torch.ones_like(z)))
        return

    seed = rng.standard_normal(y.shape).astype(y.dtype)
    their_seed = torch.tensor(seed, dtype=z.dtype, requires_grad=True)
    gradients = minae.grad(y, xs, array(seed), retain_graph=True)
    expected = their_gradients(z, zs, their_seed)
    for i, (x, g, h) in enumerate(zip(xs, gradients, expected, strict=True)):
        assert (g.dtype, g.shape) == (x.dtype, x.shape)
        agree(numpy(g), h, TOLERANCES[dtype][1], f"gradient {i}")

    seed = Tensor(array(seed), requires_grad=True)
    directions = [rng.standard_normal(x.shape).astype(dtype) for x in xs]
    recorded = minae.grad(y, xs, seed, create_graph=True)
    slope = sum((g * array(v)).sum() for g, v in zip(recorded, directions, strict=True))
    their_slope = sum((h * torch.tensor(v)).sum() for h, v in zip(expected, directions))
    xs, expected = [*xs, seed], their_gradients(their_slope, [*zs, their_seed], None)
    for i, (x, g, h) in enumerate(zip(xs, minae.grad(slope, xs), expected, strict=True)):
        assert (g.dtype, g.shape) == (x.dtype, x.shape)
        agree(numpy(g), h, TOLERANCES[dtype][2], f"second-order gradient {i}")


def draw(each: Any, rng: np.random.Generator, dtype: str) -> np.ndarray:
    if type(each) is tuple:
        values = np.asarray(rng.standard_normal(each))
    else:
        values = each(rng) if callable(each) else np.array(each)
    return values.astype(dtype) if values.dtype.kind == "f" else values


def their_gradients(z: Any, zs: list, seed: Any) -> list:
    """The gradients by PyTorch, themselves recorded; zeros where there are none."""
    if not z.requires_grad:
        return [torch.zeros_like(x) for x in zs]
    return torch.autograd.grad(z, zs, seed, create_graph=True, materialize_grads=True)


def agree(ours: np.ndarray, theirs: Any, tolerance: float, what: str) -> None:
    """Equal up to ``tolerance`` times the largest entry; what is NaN in PyTorch may be anything."""
    theirs = theirs.numpy(force=True)
    assert ours.shape == theirs.shape, what
    finite, infinite = np.isfinite(theirs), np.isinf(theirs)
    np.testing.assert_array_equal(ours[infinite], theirs[infinite], what)
    scale = np.abs(theirs[finite]).max(initial=0)
    error = np.abs(ours[finite].astype("float64") - theirs[finite]).max(initial=0)
    assert error <= tolerance * scale, f"{what}: off by {error:.3g}, the largest is {scale:.3g}"


def label(row: Row) -> str:
    return f"{row.name}: {row.case}"


def positive(*shape: int) -> Callable:
    return lambda rng: rng.uniform(0.5, 2, shape)


# --- The table: elementwise ------------------------------------------------------------------

BROADCASTS = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (2, 1, 4)), ((), (2, 3)), ((1, 1), (5,))]


def binary(name: str, theirs: Callable, sample: Callable = lambda *shape: shape) -> list[Row]:
    """An op of two arrays, with all ways in which one may be broadcast to the other."""
    ours = getattr(ops, name)
    rows = [
        Row(name, f"{a} and {b}", ours, theirs, (sample(*a), sample(*b)))
        for pair in BROADCASTS
        for a, b in {pair, pair[::-1]}
    ]
    twice = Row(
        name, "x twice", lambda x: ours(x, x * x), lambda x: theirs(x, x * x), (sample(3, 4),)
    )
    return [*sorted(rows, key=label), twice]


def unary(name: str, theirs: Callable, *more: Any, sample: Any = (3, 4)) -> list[Row]:
    """An op of one array, on ``sample`` and on ``more``."""
    inputs = {"numbers": sample} | {f"special {i}": entries for i, entries in enumerate(more)}
    return [Row(name, case, getattr(ops, name), theirs, (x,)) for case, x in inputs.items()]


def power(case: str, x: Any, y: Any) -> Row:
    return Row("pow", case, ops.pow, torch.pow, (x, y))


def to_number(number: float, x: Any) -> Row:
    return Row("pow", f"** {number}", lambda x: x**number, lambda x: x**number, (x,))


TIES = ([[1.0, -2.0, 0.0, 3.0]], [[1.0, 2.0, 0.0, -3.0], [0.0, -2.0, 0.0, 3.0]])

ELEMENTWISE = [
    *binary("add", torch.add),
    *binary("sub", torch.sub),
    *binary("mul", torch.mul),
    *binary("div", torch.div, positive),
    *binary("pow", torch.pow, positive),
    *binary("maximum", torch.maximum),
    *binary("minimum", torch.minimum),
    Row("maximum", "ties", ops.maximum, torch.maximum, TIES),
    Row("minimum", "ties", ops.minimum, torch.minimum, TIES),
    Row("add", "a number", lambda x: x + 2 + ops.add(3.0, x), lambda x: 2 * x + 5, ((3, 4),)),
    Row("sub", "from a number", lambda x: 3 - x - 1, lambda x: 2 - x, ((3, 4),)),
    Row("mul", "a number", lambda x: 0.5 * x * 3, lambda x: 1.5 * x, ((3, 4),)),
    Row("div", "a number", lambda x: 2 / x + x / 3, lambda x: 2 / x + x / 3, (positive(3, 4),)),
    Row("add", "no entries", ops.add, torch.add, ((0, 3), (1, 3))),
    Row("mul", "a plain array", ops.mul, torch.mul, ((3, 4), [True, False, True, True])),
    *(to_number(n, (3, 4)) for n in (0, 1, 2, 3, -1, -2.0)),
    *(to_number(n, positive(3, 4)) for n in (0.5, -1.5, 2.5)),
    *(to_number(n, [0.0, -1.0, 0.0, 2.0]) for n in (0, 1, 2, 3.0)),
    *(
        Row("pow", f"{n} **", lambda x, n=n: n**x, lambda x, n=n: n**x, ((3, 4),))
        for n in (2, 0.5, 1)
    ),
    Row("pow", "0 **", lambda x: 0**x, lambda x: 0**x, (positive(3, 4),)),
    power("base 0", [0.0, 0.0, 0.0, 2.0], [1.0, 2.0, 2.5, 3.0]),
    Row(
        "pow", "fixed exponents, zeros",
        lambda x, n: x ** n.astype(x.dtype), lambda x, n: x ** n.to(x.dtype),
        ([[0.0], [3.0], [-2.0]], [0, 1, 2, 3]),
    ),
    *unary("neg", torch.neg),
    *unary("exp", torch.exp, [-80.0, 0.0, 20.0], [-INF, 0.0]),
    *unary("expm1", torch.expm1, [-80.0, -1e-6, 0.0, 1e-6], [20.0, 1.0]),
    *unary("log", torch.log, [1e-10, 1e10], sample=positive(3, 4)),
    *unary(
        "log1mexp", lambda x: torch.log(-torch.expm1(x)), [-1e-6, -0.69, -0.7, -30.0],
        sample=lambda rng: -rng.uniform(0.1, 3, (3, 4)),
    ),
    *unary("log1p", torch.log1p, [-0.999, -1e-6, 0.0, 1e-6, 1e6], sample=positive(3, 4)),
    *unary("sqrt", torch.sqrt, [1e-20, 1e-20], [1e20, 1.0], sample=positive(3, 4)),
    *unary("sin", torch.sin, [0.0, 3.0, -30.0]),
    *unary("cos", torch.cos, [0.0, 3.0, -30.0]),
    *unary("tanh", torch.tanh, [-1.0, 0.0, 3.0], [-90.0, 0.5, 90.0]),
    *unary("sigmoid", torch.sigmoid, [-3.0, 0.0, 3.0], [-200.0, 0.5, 200.0], [-INF, INF, 0.5]),
    *unary(
        "softplus", lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        [-3.0, 0.0, 3.0], [-200.0, 0.5, 200.0],
    ),
    *unary("erf", torch.erf, [-0.999, 0.0, 1e-3, 1.001], [-8.0, 0.0, 8.0]),
    *unary("relu", torch.relu, [-1.0, 0.0, -0.0, 2.0]),
    *(
        Row("gate", case, ops.gate, lambda x, by: torch.where(by <= 0, 0, x), inputs)
        for case, inputs in {
            "one shape": ((2, 3), [[-1.0, 0.0, -0.0], [2.0, 1e-30, NAN]]),
            "broadcast": ((3,), (2, 1)),
            "broadcast back": ((2, 1), (3,)),
        }.items()
    ),
    *unary("abs", torch.abs, [-1.0, 0.0, -0.0, 2.0]),
    *unary("sign", torch.sign, [-1.0, 0.0, 2.0]),
    Row(
        "sign", "as a factor",
        lambda x: ops.sign(x) * x * x, lambda x: torch.sign(x) * x * x, ([-1.0, 0.0, 2.0],),
    ),
    *(
        Row(
            "clip", f"{low} to {high}",
            lambda x, low=low, high=high: ops.clip(x, low=low, high=high),
            lambda x, low=low, high=high: torch.clamp(x, low, high),
            ([[-2.0, -0.5, 0.2], [0.5, 0.7, -1.0]],),
        )
        for low, high in ((-0.5, 0.5), (None, 0.5), (-0.5, None), (-5, 5), (1, 2))
    ),
    *(
        Row("where", case, ops.where, torch.where, inputs)
        for case, inputs in {
            "one shape": ([[True, False], [False, True]], (2, 2), (2, 2)),
            "condition broadcast": ([True, False, True], (2, 3), (2, 3)),
            "branches broadcast": ([[True, False], [False, False]], (2,), (2, 1)),
            "all broadcast": ([[True], [False]], (), (4, 1, 3)),
        }.items()
    ),
    Row(
        "where", "NaN not taken", ops.where, torch.where,
        ([[True, False], [True, False]], [[1.0, NAN], [2.0, NAN]], (2, 2)),
    ),
    Row(
        "where", "a number",
        lambda c, x: ops.where(c, x, -1.5) + ops.where(c, 2.0, x),
        lambda c, x: torch.where(c, x, -1.5) + torch.where(c, 2.0, x),
        ([[True], [False]], (2, 2)),
    ),
    *(
        Row(
            "astype", dtype,
            lambda x, dtype=dtype: ops.astype(x * x, dtype=dtype),
            lambda x, dtype=dtype: (x * x).to(getattr(torch, dtype)),
            ((3, 4),), dtype,
        )
        for dtype in ("float32", "float64")
    ),
]

# --- The table: products ---------------------------------------------------------------------


def features_first(x: Any) -> Any:
    return x.permute(0, 3, 1, 2)


def features_last(x: Any) -> Any:
    return x.permute(0, 2, 3, 1)


def filters(weight: Any) -> Any:
    return weight.permute(3, 2, 0, 1)


def convolutions(case: str, x: tuple, weight: tuple, **options: Any) -> list[Row]:
    """A convolution and its two adjoints: in PyTorch a transposed one, and an unfolding."""
    grid = Grid(**options)
    options, groups = grid._asdict(), grid.groups
    (batch, *size, _), (*kernel, within, channels) = x, weight

    def conv(x, weight, bias=None):
        x = torch.nn.functional.conv2d(features_first(x), filters(weight), bias, **options)
        return features_last(x)

    def conv_input(y, weight, bias=None):
        small = torch.nn.functional.conv_transpose2d(features_first(y), filters(weight), **options)
        missing = [n - m for n, m in zip(size, small.shape[2:])]
        return features_last(
            torch.nn.functional.conv_transpose2d(
                features_first(y), filters(weight), bias, output_padding=missing, **options
            )
        )

    def conv_weight(x, y):
        patches = torch.nn.functional.unfold(
            features_first(x), kernel, grid.dilation, grid.padding, grid.stride
        )
        patches = patches.reshape(batch, groups, within * kernel[0] * kernel[1], -1)
        y = y.reshape(batch, -1, groups, channels // groups)
        weight = torch.einsum("bgpn,bngo->pgo", patches, y)
        return weight.reshape(within, *kernel, channels).permute(1, 2, 0, 3)

    def ours_input(y, weight, bias=None, relu=False):
        return ops.conv2d_input(y, weight, bias, size=tuple(size), grid=grid, relu=relu)

    y = tuple(conv(torch.zeros(x), torch.zeros(weight)).shape)
    of_image, of_result = (x, weight, (channels,)), (y, weight, (within * groups,))
    return [
        Row(
            "conv2d", case, lambda x, weight, bias: ops.conv2d(x, weight, bias, grid=grid), conv,
            of_image,
        ),
        Row(
            "conv2d", f"{case}, no bias", lambda x, w: ops.conv2d(x, w, None, grid=grid), conv,
            of_image[:2],
        ),
        Row(
            "conv2d_relu", case, lambda *xs: ops.conv2d(*xs, grid=grid, relu=True),
            lambda *xs: torch.relu(conv(*xs)), of_image,
        ),
        Row("conv2d_input", case, ours_input, conv_input, of_result),
        Row("conv2d_input", f"{case}, no bias", ours_input, conv_input, of_result[:2]),
        Row(
            "conv2d_input_relu", case, lambda *xs: ours_input(*xs, relu=True),
            lambda *xs: torch.relu(conv_input(*xs)), of_result,
        ),
        Row(
            "conv2d_weight", case,
            lambda x, y: ops.conv2d_weight(x, y, size=tuple(kernel), grid=grid), conv_weight,
            (x, y),
        ),
    ]


def einsum(subscripts: str, *shapes: tuple) -> Row:
    return Row(
        "einsum", subscripts, lambda *xs: minae.einsum(subscripts, *xs),
        lambda *xs: torch.einsum(subscripts, *xs), shapes,
    )


PRODUCTS = [
    *(
        Row("matmul", f"{a} @ {b}", ops.matmul, torch.matmul, (a, b))
        for a, b in (
            ((3,), (3,)),
            ((3,), (3, 4)),
            ((2, 3), (3,)),
            ((2, 3), (3, 4)),
            ((2, 3, 4), (4,)),
            ((4,), (2, 4, 3)),
            ((2, 3, 4), (4, 5)),
            ((2, 2, 3, 4), (4, 5)),
            ((3, 4), (2, 4, 5)),
            ((2, 3, 4), (2, 4, 5)),
            ((1, 3, 4), (2, 4, 5)),
            ((2, 1, 3, 4), (3, 4, 2)),
            ((5, 1, 1, 2), (1, 3, 2, 4)),
            ((2, 0), (0, 3)),
        )
    ),
    *(
        Row("affine", f"{x} and {bias}", ops.affine, lambda x, w, b: x @ w + b, (x, (3, 4), bias))
        for x, bias in (((2, 3), (4,)), ((3,), (4,)), ((2, 5, 3), (4,)), ((2, 3), (1,)),
                        ((2, 3), ()), ((2, 3), (2, 1)), ((0, 3), (4,)))
    ),
    Row("matmul", "x @ x.T", lambda x: x @ x.T, lambda x: x @ x.T, ((3, 4),)),
    einsum("ij,jk->ik", (2, 3), (3, 4)),
    einsum("ij,jk", (2, 3), (3, 4)),
    einsum("ij->ji", (2, 3)),
    einsum("ij->", (2, 3)),
    einsum("ij->j", (2, 3)),
    einsum("i,j->ij", (2,), (3,)),
    einsum("i,i", (3,), (3,)),
    einsum("ii", (3, 3)),
    einsum("ii->i", (3, 3)),
    einsum("iij,jk->ik", (2, 2, 3), (3, 4)),
    einsum("ijk,k,lj->il", (2, 3, 4), (4,), (5, 3)),
    einsum("...ij,...jk->...ik", (2, 3, 4), (4, 5)),
    einsum("...i,ij->...j", (2, 5, 3), (3, 4)),
    einsum("b...,b->...", (2, 3, 4), (2,)),
    einsum("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    einsum("ij,kj->ik", (2, 1), (3, 4)),
    einsum("ij,ij->i", (2, 3), (2, 3)),
    Row(
        "einsum", "x twice", lambda x: minae.einsum("ij,kj->ik", x, x),
        lambda x: torch.einsum("ij,kj->ik", x, x), ((2, 3),),
    ),
    *convolutions("plain", (2, 5, 6, 3), (3, 2, 3, 4)),
    *convolutions("1 x 1", (2, 3, 4, 3), (1, 1, 3, 2)),
    *convolutions("strided", (2, 7, 8, 2), (3, 3, 2, 3), stride=(2, 3)),
    *convolutions("strided 1 x 1", (2, 4, 5, 2), (1, 1, 2, 3), stride=(2, 2)),
    *convolutions("padded", (1, 4, 5, 2), (3, 3, 2, 2), padding=(1, 2)),
    *convolutions("dilated", (1, 7, 7, 2), (2, 3, 2, 2), dilation=(3, 2)),
    *convolutions("grouped", (2, 4, 4, 4), (2, 2, 2, 6), groups=2),
    *convolutions("depthwise", (2, 4, 4, 3), (3, 3, 1, 3), padding=(1, 1), groups=3),
    *convolutions(
        "all at once", (2, 8, 9, 4), (3, 2, 2, 6),
        stride=(2, 3), padding=(2, 1), dilation=(2, 3), groups=2,
    ),
    *convolutions("pixels unread", (1, 6, 6, 1), (2, 2, 1, 2), stride=(3, 4)),
]

# --- The table: reductions -------------------------------------------------------------------

AXES = [None, 0, -1, 1, (0, 2), (-1, 1)]


def reductions(name: str, ours: Callable, theirs: Callable, x: Any = (3, 3, 4)) -> list[Row]:
    """A reduction over every kind of ``axis``, with and without keepdims."""
    return [
        Row(
            name, f"{axis=}, {keepdims=}",
            lambda x, axis=axis, keepdims=keepdims: ours(x, axis=axis, keepdims=keepdims),
            lambda x, axis=axis, keepdims=keepdims: theirs(
                x, dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims
            ),
            (x,),
        )
        for axis, keepdims in product(AXES, (False, True))
    ]


def along(name: str, theirs: Callable, axis: int, x: Any, case: str = "numbers") -> Row:
    return Row(
        name, f"{case}, {axis=}", lambda x: getattr(ops, name)(x, axis=axis),
        lambda x: theirs(x, dim=axis), (x,),
    )


def slope(function: Callable) -> Callable:
    """The gradient of a function in PyTorch, with that of its result first."""
    return lambda u, x, *more: torch.autograd.grad(function(x, *more), x, u, create_graph=True)[0]


def their_cross_entropy(x: Any, labels: Any) -> Any:
    rows, how = x.flatten(0, -2), {"reduction": "none", "ignore_index": -1}
    return torch.nn.functional.cross_entropy(rows, labels.flatten(), **how).reshape(labels.shape)


TIED = np.array([[[1, 3, 3, 3], [0, 0, 0, 0], [2, 1, 3, 0]], [[3, 3, 1, 1]] * 3], float)
LARGE = [[100.0, 100.5, -100.0], [-100.0, -99.0, -101.0]]
HUGE = [[1000.0, 0.0, -1000.0], [-3000.0, -1000.0, -2000.0]]
MASKED = [[0.5, -INF, 1.0], [-INF, -INF, 2.0], [0.1, 0.2, 0.3]]

REDUCTIONS = [
    *reductions("sum", ops.sum, torch.sum),
    *reductions("max", ops.max, torch.amax),
    *reductions("min", ops.min, torch.amin),
    *reductions("max", ops.max, torch.amax, TIED),
    *reductions("min", ops.min, torch.amin, TIED),
    *reductions("logsumexp", ops.logsumexp, torch.logsumexp),
    Row("sum", "a scalar", ops.sum, torch.sum, ((),)),
    Row("sum", "no entries", lambda x: ops.sum(x, axis=0), lambda x: x.sum(0), ((0, 3),)),
    *(along(name, getattr(torch, name), axis, (2, 3, 4))
      for name in ("cumsum", "softmax", "log_softmax", "logsumexp") for axis in (-1, 0, 1, -2)),
    *(along(name, getattr(torch, name), 1, x, case)
      for name in ("softmax", "log_softmax", "logsumexp")
      for case, x in {
          "large": LARGE, "huge": HUGE, "-inf": MASKED, "one entry": (3, 1)
      }.items()),
    *(
        Row(
            "softmax_gradient", f"{axis=}",
            lambda u, p, axis=axis: ops.softmax_gradient(u, p, axis=axis),
            lambda u, p, axis=axis: p * (u - (u * p).sum(axis, keepdim=True)), ((2, 3, 4),) * 2,
        )
        for axis in (-1, 1)
    ),
    *(
        Row(
            "log_softmax_gradient", f"{axis=}",
            lambda u, y, axis=axis: ops.log_softmax_gradient(u, y, axis=axis),
            lambda u, y, axis=axis: u - y.exp() * u.sum(axis, keepdim=True), ((2, 3, 4),) * 2,
        )
        for axis in (-1, 1)
    ),
    *(
        row
        for case, (x, labels) in {
            "numbers": ((4, 3), [2, -1, 0, 2]), "batches": ((2, 2, 5), [[0, 4], [2, -1]]),
            "large": (LARGE, [2, 0]), "huge": (HUGE, [1, 1]), "-inf": (MASKED, [0, 2, -1]),
            "one class": ((3, 1), [0, -1, 0]),
        }.items()
        for row in (
            Row("cross_entropy", case, lambda x, labels: ops.cross_entropy(x, labels=labels),
                their_cross_entropy, (x, labels)),
            Row("cross_entropy_gradient", case,
                lambda u, x, labels: ops.cross_entropy_gradient(u, x, labels=labels),
                slope(their_cross_entropy), (np.shape(labels), x, labels)),
        )
    ),
]

# --- The table: shapes -----------------------------------------------------------------------


def getitem(case: str, pick: Callable, *arrays: list, x: Any = (4, 3, 5)) -> Row:
    """``pick(x, *arrays)`` is both libraries' x[...]; for minae's, x hands the index to the op."""
    return Row("getitem", case, lambda x, *i: pick(Indexed(x), *i), pick, (x, *arrays))


class Indexed(NamedTuple):
    x: Tensor

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self.x, index=index)


def scatter(case: str, shape: tuple, x: tuple, index: Callable, *arrays: list) -> Row:
    """Where ``index(*arrays)`` may name a place twice, PyTorch's index_put accumulates."""

    def theirs(x, *arrays):
        out, at = torch.zeros(shape, dtype=x.dtype), index(*arrays)
        if arrays:
            return out.index_put(at if type(at) is tuple else (at,), x, accumulate=True)
        out[at] = x
        return out

    return Row(
        "scatter_add", case,
        lambda x, *arrays: ops.scatter_add(x, index=index(*arrays), shape=shape),
        theirs, (x, *arrays),
    )


def same(name: str, case: str, ours: Callable, theirs: Callable, *inputs: Any) -> Row:
    return Row(name, case, ours, theirs, inputs or ((2, 3, 4),))


def join(name: str, axis: int, *shapes: tuple, repeats: int = 1) -> Row:
    ours, theirs = getattr(ops, name), getattr(torch, name)
    return Row(
        name, f"{axis=} of {shapes} {repeats} times", lambda *xs: ours(xs * repeats, axis=axis),
        lambda *xs: theirs(xs * repeats, dim=axis), shapes,
    )


MASK = [[True, False, True], [False, False, True], [True, True, True], [False, True, False]]

SHAPES = [
    same("reshape", "(6, 4)", lambda x: ops.reshape(x, shape=(6, 4)), lambda x: x.reshape(6, 4)),
    same("reshape", "-1", lambda x: ops.reshape(x, shape=(4, -1)), lambda x: x.reshape(4, -1)),
    same("reshape", "an integer", lambda x: ops.reshape(x, shape=-1), lambda x: x.reshape(-1)),
    same("reshape", "scalar", lambda x: ops.reshape(x, shape=()), lambda x: x.reshape(()), (1, 1)),
    same("transpose", "reversed", ops.transpose, lambda x: x.permute(2, 1, 0)),
    *(
        same(
            "transpose", f"{axes}", lambda x, axes=axes: ops.transpose(x, axes=axes),
            lambda x, axes=axes: x.permute(axes),
        )
        for axes in ((1, 2, 0), (2, 0, 1), (-1, 0, -2), (0, 2, 1))
    ),
    *(
        same(
            "swapaxes", f"{a} and {b}", lambda x, a=a, b=b: ops.swapaxes(x, first=a, second=b),
            lambda x, a=a, b=b: torch.swapaxes(x, a, b),
        )
        for a, b in ((0, 1), (-1, 0), (1, 1), (-1, -2))
    ),
    *(
        same(
            "broadcast_to", f"{x} to {to}", lambda x, to=to: ops.broadcast_to(x, shape=to),
            lambda x, to=to: torch.broadcast_to(x, to), x,
        )
        for x, to in (((3,), (2, 3)), ((2, 1), (4, 2, 3)), ((), (2, 2)), ((2, 3), (2, 3)))
    ),
    *(
        same(
            "sum_to", f"{x} to {to}", lambda x, to=to: ops.sum_to(x, shape=to),
            lambda x, to=to, axes=axes: x.sum(axes).reshape(to), x,
        )
        for x, to, axes in (
            ((2, 3), (3,), 0),
            ((4, 2, 3), (2, 1), (0, 2)),
            ((2, 2), (), (0, 1)),
            ((2, 3), (1, 1), (0, 1)),
            ((2, 1, 3), (1, 1, 3), 0),
        )
    ),
    same("sum_to", "its own shape", lambda x: ops.sum_to(x, shape=(2, 3, 4)), lambda x: x * 1),
    *(
        same(
            "flip", f"{axis=}", lambda x, axis=axis: ops.flip(x, axis=axis),
            lambda x, axis=axis, dims=dims: torch.flip(x, dims),
        )
        for axis, dims in ((None, (0, 1, 2)), (0, (0,)), (-1, (2,)), ((0, -2), (0, 1)))
    ),
    getitem("an integer", lambda x: x[1]),
    getitem("a negative integer", lambda x: x[-1, 2]),
    getitem("a scalar", lambda x: x[3, 0, -2]),
    getitem("slices", lambda x: x[1:3, :2]),
    getitem("a step", lambda x: x[::2, 1:, 1::3]),
    getitem("no entries", lambda x: x[2:2]),
    getitem("None", lambda x: x[None, :, None, 1]),
    getitem("Ellipsis", lambda x: x[..., 2]),
    getitem("Ellipsis and None", lambda x: x[1:, ..., None, 0]),
    getitem("rows, one twice", lambda x, i: x[i], [0, 2, 2, -1]),
    getitem("rows (2, 2)", lambda x, i: x[i], [[0, 2], [2, -4]]),
    getitem("rows, none", lambda x, i: x[i], np.zeros(0, int)),
    getitem("rows of a vector", lambda x, i: x[i], [3, 3, 0], x=(4,)),
    getitem("columns", lambda x, i: x[:, i], [0, 2, 2]),
    getitem("last axis", lambda x, i: x[..., i], [[0, 4, 4]]),
    getitem("pairs", lambda x, i, j: x[i, j], [0, 1, 1, -1], [2, 0, 0, 1]),
    getitem("pairs, apart", lambda x, i, j: x[i, :, j], [0, 1, 1], [4, 0, 0]),
    getitem("pairs, broadcast", lambda x, i, j: x[i, 1:, j], [[0], [3]], [4, 0, 0]),
    getitem("an array and an integer", lambda x, i: x[i, 1], [0, 2, 2]),
    getitem("an array and None", lambda x, i: x[None, i], [0, 2, 2]),
    getitem("a mask", lambda x, m: x[m], MASK),
    getitem("a mask of rows", lambda x, m: x[m], [True, False, False, True]),
    getitem("a mask of columns", lambda x, m: x[:, m], [True, False, True]),
    getitem("a mask, empty", lambda x, m: x[m], [False] * 4),
    getitem("a mask and an array", lambda x, m, i: x[m, i], [True, False, False, True], [1, 1]),
    same("getitem", "negative step", lambda x: x[::-1, ::-2], lambda x: x.flip(0, 1)[:, ::2]),
    scatter("an integer", (3, 4), (4,), lambda: 1),
    scatter("slices", (4, 5), (2, 2), lambda: (slice(1, 3), slice(0, 4, 2))),
    scatter("Ellipsis", (2, 3, 4), (2, 3), lambda: (..., -1)),
    scatter("rows, some twice", (4, 3), (5, 3), lambda i: i, [0, 2, 2, -1, 3]),
    scatter("rows (2, 3)", (4, 3), (2, 3, 3), lambda i: i, [[0, 2, 2], [0, 0, 1]]),
    scatter("rows of a vector", (4,), (3,), lambda i: i, [1, 1, -3]),
    scatter("rows of matrices", (4, 2, 3), (3, 2, 3), lambda i: i, [1, 1, 0]),
    scatter("pairs", (3, 4), (4,), lambda i, j: (i, j), [0, 1, 1, -2], [3, 0, 0, 0]),
    scatter("a mask", (4, 3), (7,), lambda m: m, MASK),
    join("concatenate", 0, (2, 3), (1, 3), (4, 3)),
    join("concatenate", 1, (2, 3), (2, 1)),
    join("concatenate", -1, (2, 3, 1), (2, 3, 2)),
    join("concatenate", 0, (0, 3), (2, 3)),
    join("concatenate", 0, (3,)),
    join("concatenate", 1, (2, 3), (2, 4), repeats=2),
    join("stack", 0, (2, 3), (2, 3), (2, 3)),
    join("stack", 1, (2, 3), (2, 3)),
    join("stack", -1, (2, 3), (2, 3)),
    join("stack", -2, (2, 3), (2, 3)),
    join("stack", 0, (), ()),
    join("stack", 1, (2, 3), (2, 3), repeats=2),
    *(
        same(
            "pad", f"{width} of {value}",
            lambda x, width=width, value=value: ops.pad(x, width=width, value=value),
            lambda x, width=width, value=value: torch.nn.functional.pad(
                x, [n for pair in reversed(width) for n in pair], value=value
            ),
            (2, 3),
        )
        for width, value in ((((1, 2), (0, 3)), 0.0), (((0, 0), (2, 0)), -1.5))
    ),
]

# --- The table: activations and standardization ------------------------------------------------


def activation(name: str, case: str, **options: Any) -> list[Row]:
    tf = torch.nn.functional
    theirs = {"gelu_tanh": lambda x: tf.gelu(x, approximate="tanh")}.get(name)
    theirs = theirs or getattr(tf, name)
    renamed = {"negative_slope" if key == "slope" else key: n for key, n in options.items()}
    inputs = {"numbers": (3, 4), "tails": [-30.0, -5.0, 0.5, 30.0], "0": [-1.0, 0.0, -0.0]}
    if name == "elu":
        del inputs["0"]  # see test_elu_at_0
    return [
        Row(
            name, f"{case} {entries}", lambda x: getattr(ops, name)(x, **options),
            lambda x: theirs(x, **renamed), (x,),
        )
        for entries, x in inputs.items()
    ]


def standardized(x: Any, axis: Any, eps: float = 1e-5) -> Any:
    var, mean = torch.var_mean(x, dim=axis, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(var + eps)


ACTIVATIONS = [
    *activation("gelu", ""),
    *activation("gelu_tanh", ""),
    *(
        Row(
            f"{name}_gradient", case, getattr(ops, f"{name}_gradient"),
            slope(lambda x, how=how: torch.nn.functional.gelu(x, approximate=how)), inputs,
        )
        for name, how in (("gelu", "none"), ("gelu_tanh", "tanh"))
        for case, inputs in (("numbers", ((3, 4),) * 2), ("tails", ((3,), [-9.0, 0.0, 30.0])))
    ),
    *activation("silu", ""),
    *activation("mish", ""),
    *activation("leaky_relu", ""),
    *activation("leaky_relu", "slope", slope=0.2),
    *activation("elu", ""),
    *activation("elu", "alpha", alpha=0.7),
    *(
        Row(
            "standardize", f"{axis=}, {eps=}",
            lambda x, axis=axis, eps=eps: ops.standardize(x, axis=axis, eps=eps),
            lambda x, axis=axis, eps=eps: standardized(x, axis, eps), ((3, 3, 4),),
        )
        for axis in (-1, 0, (0, 2)) for eps in (1e-5, 0.1)
    ),
    *(
        Row(
            "standardize_gradient", f"{axis=}, {eps=}",
            lambda u, x, axis=axis, eps=eps: ops.standardize_gradient(u, x, axis=axis, eps=eps),
            slope(lambda x, axis=axis, eps=eps: standardized(x, axis, eps)), ((3, 3, 4),) * 2,
        )
        for axis in (-1, 0, (0, 2)) for eps in (1e-5, 0.1)
    ),
]

# --- The table: layer norm and attention -------------------------------------------------------


def attention(query: Any, key: Any, value: Any, mask: Any, causal: bool) -> Any:
    before = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    seen = before if causal else None
    if mask is not None:
        seen = torch.tensor(mask) & before if causal else torch.tensor(mask)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # differentiable twice
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, seen)


def self_attention(projected: Any, heads: int, mask: Any, causal: bool) -> Any:
    parts = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in projected.chunk(3, -1)]
    return attention(*parts, mask, causal).transpose(1, 2).flatten(2)


def arrays(mask: Any) -> Any:
    return None if mask is None else minae.xp.asarray(mask)


PADDED = np.array([[True, True, False, True], [True, False, True, True]])[:, None, None]
HIDDEN = np.array([[True, False, True, False]] * 3 + [[True] * 4])

FUSED = [
    *(
        Row(
            "layer_norm", f"{shape}, {eps=}", lambda *xs, eps=eps: ops.layer_norm(*xs, eps=eps),
            lambda x, *xs, eps=eps: torch.nn.functional.layer_norm(x, x.shape[-1:], *xs, eps),
            (shape, shape[-1:], shape[-1:]),
        )
        for shape in ((4,), (2, 3, 4)) for eps in (1e-5, 0.1)
    ),
    *(
        Row(
            "attention", f"{mask=}, {causal=}".replace("\n", ""),
            lambda *qkv, m=mask, c=causal: ops.attention(*qkv, mask=arrays(m), causal=c),
            lambda *qkv, m=mask, c=causal: attention(*qkv, m, c),
            ((2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 6)),
        )
        for mask in (None, PADDED, HIDDEN) for causal in (False, True)
    ),
    *(
        Row(
            "self_attention", f"{heads=}, {mask=}, {causal=}".replace("\n", ""),
            lambda x, h=heads, m=mask, c=causal: ops.self_attention(
                x, heads=h, mask=arrays(m), causal=c),
            lambda x, h=heads, m=mask, c=causal: self_attention(x, h, m, c), ((2, 4, 18),),
        )
        for heads in (1, 2, 6) for mask, causal in ((None, True), (PADDED, False))
    ),
]  # fmt: skip

# --- The table: windows and recurrence -------------------------------------------------------

PICKS = [[[0, 2], [1, 0]], [[2, 2], [1, 1]]]  # of two windows of three


def spread(x: Any, axis: int, size: int, stride: int, length: int) -> Any:
    """The transpose of the matrix that sums windows, applied to ``x``."""
    count = x.shape[axis]
    matrix = torch.zeros(length, count, dtype=x.dtype)
    for i in range(count):
        matrix[i * stride : i * stride + size, i] = 1
    return torch.tensordot(x, matrix, ([axis], [1])).movedim(-1, axis)


def put_windows(x: Any, picks: Any, stride: int, length: int) -> Any:
    """Along axis 1."""
    places = picks + stride * torch.arange(picks.shape[1])[:, None]
    return torch.zeros(x.shape[0], length, x.shape[2], dtype=x.dtype).scatter_add(1, places, x)


def their_lstm(projected: Any, weight: Any, hidden: Any, cell: Any) -> Any:
    out = []
    for x in projected:
        i, f, g, o = (x + hidden @ weight).chunk(4, -1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        out.append(torch.cat([hidden, cell], -1))
    return torch.stack(out)


def their_gru(projected: Any, weight: Any, bias: Any, hidden: Any) -> Any:
    out = []
    for x in projected:
        (r, z, n), (hr, hz, hn) = x.chunk(3, -1), (hidden @ weight + bias).chunk(3, -1)
        r, z = torch.sigmoid(r + hr), torch.sigmoid(z + hz)
        hidden = (1 - z) * torch.tanh(n + r * hn) + z * hidden
        out.append(hidden)
    return torch.stack(out)


WINDOWS = [
    *(
        Row(
            name, f"{axis=}, {size} every {stride}",
            lambda x, f=getattr(ops, name), o=(axis, size, stride): f(x, *o),
            lambda x, f=theirs, o=(axis, size, stride): f(x.unfold(*o)), ((2, 7, 6),),
        )
        for name, theirs in (("sum_windows", lambda x: x.sum(-1)),
                             ("max_windows", lambda x: x.amax(-1)))
        for axis, size, stride in ((1, 3, 1), (1, 2, 3), (2, 3, 2), (0, 1, 1))
    ),
    *(
        Row(
            "spread_windows", f"{axis=}, {size} every {stride}",
            lambda x, o=(axis, size, stride, length): ops.spread_windows(x, *o),
            lambda x, o=(axis, size, stride, length): spread(x, *o), ((2, 3, 2),),
        )
        for axis, size, stride, length in ((1, 3, 2, 8), (1, 2, 3, 8), (2, 4, 1, 5))
    ),
    Row(
        "take_windows", "three every two",
        lambda x: ops.take_windows(x, minae.xp.asarray(PICKS), 1, 3, 2),
        lambda x: x.unfold(1, 3, 2).gather(3, torch.tensor(PICKS)[..., None])[..., 0], ((2, 6, 2),),
    ),
    Row(
        "put_windows", "three every two",
        lambda x: ops.put_windows(x, minae.xp.asarray(PICKS), 1, 3, 2, 6),
        lambda x: put_windows(x, torch.tensor(PICKS), 2, 6), ((2, 2, 2),),
    ),
    *(
        Row(
            "lstm", f"{steps} steps", ops.lstm, their_lstm,
            ((steps, 2, 12), (3, 12), (2, 3), (2, 3)),
        )
        for steps in (1, 4)
    ),
    *(
        Row("gru", f"{steps} steps", ops.gru, their_gru, ((steps, 2, 9), (3, 9), (9,), (2, 3)))
        for steps in (1, 4)
    ),
]  # fmt: skip

ROWS = ELEMENTWISE + PRODUCTS + REDUCTIONS + SHAPES + ACTIVATIONS + FUSED + WINDOWS


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("row", ROWS, ids=label)
def test_op_agrees_with_torch(row, dtype, array, numpy):
    check(row, dtype, array, numpy)


def test_every_op_has_a_row():
    names = {name for name, op in OPS.items() if op.forward.__module__.startswith("minae.ops.")}
    assert names == {row.name for row in ROWS}


@pytest.mark.parametrize("op", [ops.relu, minae.Tensor.relu])
def test_the_gradient_of_relu_at_nan(op, array, numpy):
    values = [np.nan, -1.0, 0.0, 2.0]
    x, theirs = Tensor(array(values), requires_grad=True), torch.tensor(values, requires_grad=True)
    torch.relu(theirs).sum().backward()
    np.testing.assert_array_equal(
        numpy(minae.grad(op(x), x, array([1.0] * 4))), theirs.grad.numpy()
    )


# --- Where minae differs on purpose ----------------------------------------------------------


def test_sqrt_has_gradient_0_at_0(array, numpy):
    x = Tensor(array([0.0, 4.0]), requires_grad=True)
    assert numpy(minae.grad(ops.sqrt(x), x, array([1.0, 1.0]))).tolist() == [0, 0.25]


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_a_row_of_minus_inf_is_empty(name, array, numpy):
    """It has softmax 0 and log-sum -inf, its gradient is 0, and it does not touch other rows."""
    entries = np.array([[-INF, -INF], [0.5, -INF], [0.5, 1.5]])
    x = Tensor(array(entries), requires_grad=True)
    y = getattr(ops, name)(x, axis=-1)
    empty = {"softmax": [0, 0], "log_softmax": [-INF, -INF], "logsumexp": -INF}[name]
    assert numpy(y)[0].tolist() == empty
    seed = np.random.default_rng(0).standard_normal(y.shape)
    gradient = numpy(minae.grad(y, x, array(seed)))
    z = torch.tensor(entries[1:], requires_grad=True)
    getattr(torch, name)(z, dim=-1).backward(torch.tensor(seed[1:]))
    agree(gradient[1:], z.grad, 1e-10, "gradient")
    if name != "log_softmax":  # its values there are -inf: no finite loss reads them
        assert gradient[0].tolist() == [0, 0]
