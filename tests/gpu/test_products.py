"""Products of matrices in a captured step, which may not call cuBLAS, are CuPy's outside of one."""

import numpy as np
import pytest

import minae
from minae import nn, optim
from minae.backend import CaptureError

SHAPES = [
    ((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 6)), ((3, 4), (2, 4, 5)), ((4,), (2, 4, 5)),
    ((2, 3, 4), (4,)), ((2, 3, 4), (2, 4, 1)), ((0, 4), (4, 5)), ((3, 0), (0, 5)),
    ((17, 33), (33, 40)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("left, right", SHAPES)
def test_a_captured_product_is_the_product(cuda, array, numpy, left, right, dtype):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(dtype) for shape in (left, right))
    found = cuda("products").captured(array(x), array(y))
    assert found.shape == (x @ y).shape and found.dtype == dtype
    limit = {"float32": 1e-6, "float64": 1e-14}[dtype] * (abs(x) @ abs(y))
    assert (abs(numpy(found) - x @ y) <= limit + 1e-30).all()


def test_what_does_not_fit_is_refused(cuda, array):
    with pytest.raises(ValueError, match="4 columns, but 3 rows"):
        cuda("products").captured(array(np.ones((2, 4))), array(np.ones((3, 5))))
    with pytest.raises(CaptureError, match="int64"):
        cuda("products").captured(array([[1]]), array([[1]]))


def models(rng):
    return {
        "linear": nn.Sequential(nn.Linear(6, 4, rng=rng), minae.tanh, nn.Linear(4, 6, rng=rng)),
        "LSTM": nn.LSTM(6, 6, rng=rng),
        "GRU": nn.GRU(6, 6, rng=rng),
        "attention": nn.MultiheadAttention(6, 2, rng=rng),
    }


@pytest.mark.parametrize("name", ["linear", "LSTM", "GRU", "attention"])
def test_a_captured_step_with_products_learns_as_without(emulated, array, name):
    def losses(wrap):
        rng = np.random.default_rng(0)
        model = models(rng)[name]
        optimizer = optim.SGD(model.parameters(), 0.1)

        @wrap
        def step(x):
            y = model(x)
            loss = minae.mse_loss(y[0] if type(y) is tuple else y, x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return [step(array(rng.standard_normal((2, 3, 6)), "float32")).item() for _ in range(6)]

    np.testing.assert_allclose(losses(minae.capture), losses(lambda step: step), rtol=1e-5)
