"""The gradient check is itself checked: it must reject what is wrong, at each order."""

import numpy as np
import pytest

import minae
from minae.engine import elementwise
from minae.testing import check_grads

pytestmark = pytest.mark.usefixtures("scratch_ops")
POINTS = [np.array([[0.3, -1.2], [2.0, 0.7]]), np.array([1.5, -0.5])]


def test_it_accepts_what_is_right():
    check_grads(lambda x, y: minae.tanh(x @ y) * x[0], POINTS, order=3)
    check_grads(lambda x, y: x.sum(), POINTS)  # linear: its second derivative is 0
    check_grads(lambda x, y: minae.Tensor([1.0, 2.0]), POINTS)  # constant
    check_grads(lambda x: x * x, [np.zeros((0, 3))])
    check_grads(lambda x: x * x, [2])


def test_it_rejects_a_wrong_first_order_rule():
    @elementwise(x=lambda g, y: g * y, y=lambda g, x: g * x * 1.0001)
    def mul(x, y):
        return x * y

    with pytest.raises(AssertionError) as error:
        check_grads(mul, POINTS)
    text = str(error.value)
    assert "the gradient is wrong at order 1 of mul" in text
    first, second = text.splitlines()[1:]
    assert "input 0, float64[2, 2]: ok" in first and "input 1, float64[2]: WRONG" in second
    sound, wrong = (
        [float(part.split()[-1]) for part in line.split(", differences ")]
        for line in (first, second)
    )
    assert sound[0] == pytest.approx(sound[1], rel=1e-8)
    assert wrong[0] == pytest.approx(wrong[1] * 1.0001, rel=1e-8)


def test_it_rejects_a_rule_that_is_right_once_but_not_twice():
    """The rule reads plain numbers, so its own gradient is lost."""

    @elementwise(x=lambda g, x: g * 2 * getattr(x, "array", x))
    def square(x):
        return x * x

    check_grads(square, [POINTS[0]], order=1)
    with pytest.raises(AssertionError, match="wrong at order 2 of square"):
        check_grads(square, [POINTS[0]])


def test_it_rejects_a_second_order_rule_that_is_wrong_in_one_input():
    for lost in ("x", "y"):

        def tricky(x, y, lost=lost):
            rules = {"x": lambda g, x, y: g * 2 * x * y * y, "y": lambda g, x, y: g * 2 * y * x * x}
            right = rules[lost]
            rules[lost] = lambda g, x, y: right(g, *(getattr(v, "array", v) for v in (x, y)))
            return elementwise(**rules)(lambda x, y: x * x * y * y)(x, y)

        check_grads(tricky, [POINTS[1], POINTS[1] + 1], order=1)
        with pytest.raises(AssertionError, match="order 2 of tricky"):
            check_grads(tricky, [POINTS[1], POINTS[1] + 1])


def test_it_rejects_a_missing_rule():
    @elementwise(x=lambda g, y: g * y)
    def mul(x, y):
        return x * y

    with pytest.raises(AssertionError, match=r"input 1.* WRONG"):
        check_grads(mul, POINTS)


def test_it_rejects_a_scaled_gradient_of_each_input():
    for first, second in [(999, 1), (1, 999)]:

        def scaled(x, y, first=first, second=second):
            mul = elementwise(x=lambda g, y: g * y * first, y=lambda g, x: g * x * second)
            return mul(lambda x, y: x * y)(x, y)

        with pytest.raises(AssertionError, match="order 1 of scaled"):
            check_grads(scaled, POINTS)


def test_it_rejects_a_gradient_that_is_wrong_in_one_entry():
    @elementwise(x=lambda g, x: g * minae.where(x == 0.7, 2.001 * x, 2 * x))
    def square(x):
        return x * x

    with pytest.raises(AssertionError, match="order 1"):
        check_grads(square, [POINTS[0]])


def test_it_refuses_what_is_no_tensor():
    with pytest.raises(TypeError, match=r"it returned .*, not a Tensor"):
        check_grads(lambda x: x.numpy(), [POINTS[0]])
