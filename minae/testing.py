"""``check_grads``: the gradients of a function, of first and higher order, held against finite
differences along random directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .backend import asarray, asnumpy, describe, numpy
from .engine import grad
from .tensor import Tensor

STEP = 1e-3  # the five-point formula errs by its fourth power, rounding by 1e-16 over it


def check_grads(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    order: int = 2,
    tolerance: float = 1e-6,
    rng: Any = None,
) -> None:
    """Raise AssertionError unless ``function`` has the derivatives that its rules claim.

    ``function`` takes one Tensor for each of ``inputs`` (arrays, checked in float64) and returns a
    Tensor of any shape; it must be smooth around them and deterministic. At each order up to
    ``order``, the gradient is projected on random directions and compared with the five-point
    difference quotient along these; the two may differ by ``tolerance``, relative to the larger of
    1 and the terms of the projection. The message says at which order and for which input they
    part. After Maclaurin's ``check_grads`` in HIPS autograd, and JAX's.
    """
    rng = rng or numpy.random.default_rng(0)
    points = [numpy.array(asnumpy(asarray(x, "float64"))) for x in inputs]
    name = getattr(function, "__name__", "the function")
    for level in range(1, order + 1):
        _compare(function, points, f"order {level} of {name}", tolerance, rng)
        function = _slope(function, points, rng)


def _slope(function: Callable, points: list, rng: Any) -> Callable:
    """The derivative of ``function`` along fixed random directions, again a function of Tensors."""
    seed = rng.standard_normal(function(*map(_tensor, points)).shape)
    directions = [asarray(rng.standard_normal(x.shape)) for x in points]

    def slope(*xs: Tensor) -> Tensor:
        y = function(*xs)
        if not y.requires_grad:
            return Tensor(asarray(numpy.zeros(())))
        gradients = grad(y, xs, seed, create_graph=True)
        return sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))

    return slope


def _tensor(point: Any) -> Tensor:
    return Tensor(asarray(point), requires_grad=True)


def _compare(function: Callable, points: list, what: str, tolerance: float, rng: Any) -> None:
    xs = [_tensor(x) for x in points]
    y = function(*xs)
    if type(y) is not Tensor:
        raise TypeError(f"{what}: it returned {describe(y)}, not a Tensor")
    seed = rng.standard_normal(y.shape)
    if y.requires_grad:
        gradients = [asnumpy(g) for g in grad(y, xs, seed)]
    else:
        gradients = [numpy.zeros(x.shape) for x in points]

    def quotient(directions: list) -> float:
        def along(t: float) -> float:
            moved = [_tensor(x + t * v) for x, v in zip(points, directions, strict=True)]
            return float((function(*moved).numpy() * seed).sum())

        h = STEP
        return (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)

    directions = [rng.standard_normal(x.shape) for x in points]
    claimed = [float((g * v).sum()) for g, v in zip(gradients, directions, strict=True)]
    scale = max(1.0, *(float(numpy.abs(g * v).sum()) for g, v in zip(gradients, directions)))
    if abs(quotient(directions) - sum(claimed)) <= tolerance * scale:
        return
    still = [numpy.zeros(x.shape) for x in points]
    lines = [f"the gradient is wrong at {what}:"]
    for i, point in enumerate(points):
        measured = quotient([*still[:i], directions[i], *still[i + 1 :]])
        verdict = "ok" if abs(measured - claimed[i]) <= tolerance * scale else "WRONG"
        lines.append(
            f"  input {i}, {describe(point)}: {verdict}, rules {claimed[i]:.9g}, "
            f"differences {measured:.9g}"
        )
    raise AssertionError("\n".join(lines))
