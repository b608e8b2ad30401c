"""Random graphs: reverse mode, as minae does it, against forward mode in plain NumPy.

A program is a list of steps on all values that came before. The reference pushes a tangent through
it, one for each entry of the value that is asked for; it has no graph, no order and no sums.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices

import minae
from minae import Tensor

LIMIT = 4  # larger values are brought back by tanh, which keeps gradients comparable
SIZE = 24  # the most entries of a value


class Step(NamedTuple):
    """``name`` says what is done with the values at ``operands``, and ``how`` with which options"""

    name: str
    operands: tuple[int, ...]
    how: Any = None


# Each op as minae does it, and as NumPy does; the options come last. A linear op does to tangents
# what it does to values, a product has the product rule, a curve its derivative.
LINEAR = {
    "add": (lambda x, y, _: x + y, lambda x, y, _: x + y),
    "sub": (lambda x, y, _: x - y, lambda x, y, _: x - y),
    "join": (
        lambda x, y, axis: minae.concatenate([x, y], axis),
        lambda x, y, axis: np.concatenate([x, y], axis),
    ),
    "sum": (lambda x, how: minae.sum(x, **how), lambda x, how: np.sum(x, **how)),
    "broadcast": (minae.broadcast_to, np.broadcast_to),
    "reshape": (minae.reshape, np.reshape),
    "transpose": (lambda x, _: x.T, lambda x, _: x.T),
    "getitem": (lambda x, index: x[index], lambda x, index: x[index]),
}
PRODUCT = {
    "mul": (lambda x, y, _: x * y, lambda x, y, _: x * y),
    "matmul": (lambda x, y, _: x @ y, lambda x, y, _: np.matmul(x, y)),
}
CURVE = {
    "tanh": (lambda x, _: x.tanh(), lambda x, _: np.tanh(x), lambda x: np.cosh(x) ** -2),
    "exp": (
        lambda x, _: x.tanh().exp(),
        lambda x, _: np.exp(np.tanh(x)),
        lambda x: np.exp(np.tanh(x)) / np.cosh(x) ** 2,
    ),
    "div": (
        lambda x, _: 1 / (x * x + 1),
        lambda x, _: 1 / (x * x + 1),
        lambda x: -2 * x / (x * x + 1) ** 2,
    ),
}
OPS = LINEAR | PRODUCT | CURVE
BINARY = ["add", "sub", "join", "mul", "matmul"]


# --- The reference ---------------------------------------------------------------------------


def run(leaves: list, steps: list, library: int) -> list:
    """All values of the program, by minae (0) or NumPy (1)."""
    values = list(leaves)
    for step in steps:
        values.append(OPS[step.name][library](*(values[i] for i in step.operands), step.how))
    return values


def push(values: list, steps: list, start: int, tangent: np.ndarray) -> np.ndarray:
    """How the last value moves when that at ``start`` moves along ``tangent``."""
    tangents = [np.zeros_like(v) for v in values]
    tangents[start] = tangent
    first = len(values) - len(steps)
    for at, step in list(enumerate(steps, first))[max(start + 1 - first, 0) :]:
        f = OPS[step.name][1]
        xs, ts = [values[i] for i in step.operands], [tangents[i] for i in step.operands]
        if step.name in LINEAR:
            tangents[at] = f(*ts, step.how)
        elif step.name in PRODUCT:
            tangents[at] = f(ts[0], xs[1], step.how) + f(xs[0], ts[1], step.how)
        else:
            tangents[at] = CURVE[step.name][2](*xs) * ts[0]
    return tangents[-1]


def reference(values: list, steps: list, start: int, seed: np.ndarray) -> np.ndarray:
    """The gradient for the value at ``start``, entry by entry."""
    shape = values[start].shape
    units = np.eye(values[start].size).reshape(-1, *shape)
    return np.array([(seed * push(values, steps, start, e)).sum() for e in units]).reshape(shape)


# --- The programs ----------------------------------------------------------------------------


@st.composite
def programs(draw: Any) -> tuple[list, list, np.ndarray]:
    """Leaves, steps and a seed for the last value."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
    leaves = [rng.standard_normal(s) for s in draw(st.lists(shapes, min_size=1, max_size=3))]
    values, steps = list(leaves), []
    names = st.sampled_from(sorted(OPS) + BINARY)  # where graphs join, more often
    for name in draw(st.lists(names, min_size=6, max_size=12)):
        recent = draw(st.integers(max(0, len(values) - 3), len(values) - 1))
        steps.append(complete(draw, name, recent, values))
        values = run(leaves, steps, 1)
        if np.abs(values[-1]).max() > LIMIT:
            steps.append(Step("tanh", (len(values) - 1,)))
            values = run(leaves, steps, 1)
    return leaves, steps, rng.standard_normal(values[-1].shape)


def complete(draw: Any, name: str, i: int, values: list) -> Step:
    """A step that does ``name`` to the value at ``i``, or where it cannot, the tanh."""
    x = values[i]
    axes = st.integers(-x.ndim, x.ndim - 1) if x.ndim else st.none()
    if name in BINARY:
        how = draw(axes) if name == "join" and x.ndim else 0
        steps = [Step(name, pair, how) for j in range(len(values)) for pair in ((i, j), (j, i))]
        fitting = [step for step in steps if fits(values, step)]
        return draw(st.sampled_from(fitting)) if fitting else Step("tanh", (i,))
    if name == "sum":
        some = st.lists(axes, unique_by=lambda a: a % x.ndim).map(tuple) if x.ndim else st.none()
        how = {"axis": draw(st.none() | axes | some), "keepdims": draw(st.booleans())}
    elif name == "broadcast":
        how = tuple(n if n > 1 else draw(st.integers(1, 2)) for n in (1, *x.shape))
    elif name == "reshape":
        how = draw(st.sampled_from([(-1,), (1, *x.shape), (*x.shape, 1), x.shape[::-1], (1, -1)]))
    elif name == "getitem":
        how = draw(indices(x.shape))
    else:
        how = None
    step = Step(name, (i,), how)
    return step if fits(values, step) else Step("tanh", (i,))


def fits(values: list, step: Step) -> bool:
    try:
        return 0 < OPS[step.name][1](*(values[i] for i in step.operands), step.how).size <= SIZE
    except ValueError:
        return False


def indices(shape: tuple) -> st.SearchStrategy:
    """Slices, integers, None and Ellipsis; or rows, of which the same may come again."""
    basic = basic_indices(shape, allow_newaxis=True, max_dims=4)
    if not shape:
        return basic
    return basic | st.lists(st.integers(-shape[0], shape[0] - 1), min_size=2, max_size=4)


# --- The comparison --------------------------------------------------------------------------


def assert_close(ours: np.ndarray, reference: np.ndarray) -> None:
    assert ours.shape == reference.shape
    scale = max(1, np.abs(reference).max())
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-10 * scale)


@settings(max_examples=500, derandomize=True, deadline=None, database=None)
@given(program=programs())
def test_gradients_of_random_graphs(program, array, numpy):
    leaves, steps, seed = program
    expected = run(leaves, steps, 1)
    xs = [Tensor(array(x), requires_grad=True) for x in leaves]
    ours = run(xs, steps, 0)
    for y, z in zip(ours, expected, strict=True):
        assert_close(numpy(y), z)

    gradients = minae.grad(ours[-1], ours, array(seed), retain_graph=True)
    assert all(y.grad is None for y in ours)
    wanted = [reference(expected, steps, i, seed) for i in range(len(ours))]
    for g, h in zip(gradients, wanted, strict=True):
        assert_close(numpy(g), h)
    for y, h in zip(ours, wanted):  # asked for alone, when the pass goes only where it must
        assert_close(numpy(minae.grad(ours[-1], y, array(seed), retain_graph=True)), h)

    used = ancestors(len(ours), steps)
    for times in (1, 2):
        ours[-1].backward(array(seed), retain_graph=times == 1)
        assert all(y.grad is None for y in ours[len(xs) :])
        for i, x in enumerate(xs):
            assert (x.grad is not None) == (i in used)
            if x.grad is not None:
                assert_close(numpy(x.grad), times * wanted[i])


def ancestors(count: int, steps: list) -> set[int]:
    """What the last value was made from, itself included."""
    used = {count - 1}
    for at in range(count - 1, count - 1 - len(steps), -1):
        if at in used:
            used.update(steps[at - count].operands)
    return used


@pytest.mark.parametrize("uses", [1, 2, 50])
def test_a_value_used_many_times_receives_every_gradient(uses, array, numpy):
    x = Tensor(array([0.5, -2.0]), requires_grad=True)
    h = x * 3
    y = sum(h * h[i % 2] for i in range(uses))
    even, odd = (uses + 1) // 2, uses // 2
    (a, b), s = (1.5, -6.0), 1.5 - 6.0  # sum(y) = s * (even * a + odd * b) with s = a + b
    total = even * a + odd * b
    wanted = np.array([total + s * even, total + s * odd])
    gradients = minae.grad(y, [h, x], array([1.0, 1.0]), retain_graph=True)
    assert_close(numpy(gradients[0]), wanted)
    assert_close(numpy(gradients[1]), 3 * wanted)
    y.backward(array([1.0, 1.0]))
    assert_close(numpy(x.grad), 3 * wanted)
