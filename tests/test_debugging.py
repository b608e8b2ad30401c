"""debug(): the op, the user's line, the first NaN; and rules held to their word."""

import numpy as np
import pytest

import minae
from minae import Tensor, debug
from minae.engine import elementwise, primitive


def test_the_first_nan_forward(array):
    x = Tensor(array([[4.0, -1.0]]), requires_grad=True)
    with debug(), pytest.raises(FloatingPointError) as error:
        minae.exp(x).log()  # nothing wrong yet
        y = x.sqrt()  # here
        y.sum()
    text = str(error.value)
    assert "sqrt(float64[1, 2]) made the first NaN, at (0, 1)" in text
    assert "test_debugging.py" in text and "y = x.sqrt()  # here" in text


def test_a_nan_that_came_in_from_outside(array):
    data = array([1.0, np.nan])
    message = r"argument 1 of mul holds a NaN at \(1,\)"
    with debug(), pytest.raises(FloatingPointError, match=message):
        Tensor([1.0, 2.0]) * data


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_first_nan_backward(array):
    """sqrt of 0 has gradient 0, but 0 ** 0.5 has an infinite one: times 0 it is NaN."""
    x = Tensor(array([0.0, 1.0]), requires_grad=True)
    with debug():
        y = x**0.5  # the power
        loss = (y * 0).sum()
        with pytest.raises(FloatingPointError) as error:
            loss.backward()
    text = str(error.value)
    assert "the rule of pow for x made the first NaN gradient, at (0,)" in text
    assert "y = x**0.5  # the power" in text


def test_errors_in_backward_name_the_line_too(array):
    x = Tensor(array([1.0]), requires_grad=True)
    with debug():
        y = (x * 3).sum()  # recorded in debug mode
        y.backward()
        with pytest.raises(RuntimeError) as error:
            y.backward()
    assert "y = (x * 3).sum()  # recorded in debug mode" in error.value.__notes__[0]


def test_infinities_pass(array):
    with debug():
        scores = minae.where(array([True, False]), Tensor([1.0, 2.0], requires_grad=True), -np.inf)
        scores.softmax().sum().backward()


def test_a_rule_of_the_wrong_dtype(array, scratch_ops):
    @elementwise(x=lambda g: g.astype("float64"))
    def widens(x):
        return x + 0

    x = Tensor(array([1.0], "float32"), requires_grad=True)
    y = widens(x).sum()
    y.backward()  # mended in silence
    assert x.grad.dtype == "float32"
    with debug(), pytest.raises(TypeError, match="widens for x returned float64 for float32 in"):
        widens(x).sum().backward()


def test_a_rule_that_returns_no_array(array, scratch_ops):
    @elementwise(x=lambda g: 0.0)
    def stops(x):
        return x + 0

    @primitive(joint=lambda g, shapes: (g,))
    def forgets(*arrays):
        return sum(arrays)

    x = Tensor(array([1.0]), requires_grad=True)
    with debug(), pytest.raises(TypeError, match=r"stops for x returned 0.0, not an array"):
        stops(x).sum().backward()
    with debug(), pytest.raises(TypeError, match="2 arguments, but the rule made 1 grad") as error:
        forgets([x, x]).sum().backward()
    assert "in the gradient of forgets, recorded at" in error.value.__notes__[0]


def test_off_again_after_the_block(array):
    with pytest.raises(ZeroDivisionError), debug():
        raise ZeroDivisionError
    y = Tensor(array([np.nan]), requires_grad=True) * 1
    assert not hasattr(y.node, "line")
