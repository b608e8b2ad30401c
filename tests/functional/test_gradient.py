"""Gradients stopped, reversed, and computed once more: what checkpointing keeps and gives."""

import copy
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minae
from minae import Tensor, nn, testing
from minae.engine import FREED


@pytest.fixture
def leaf(array):
    return lambda values, dtype="float64": Tensor(array(values, dtype), requires_grad=True)


def block(x, w):
    return minae.tanh(x @ w) * x


W = np.random.default_rng(0).standard_normal((3, 3)) / 2
X = np.random.default_rng(1).standard_normal((2, 3))


def test_gradients_of_any_order_are_the_same():
    def deep(x, w):
        for _ in range(3):
            x = minae.checkpoint(block, x, w)
        return x

    testing.check_grads(deep, [X, W], order=3)


def test_parameters_that_the_function_reads_get_theirs(array, numpy):
    layer = nn.Sequential(nn.Linear(3, 5), minae.tanh, nn.Linear(5, 3)).astype("float64")
    x = Tensor(array(X), requires_grad=True)
    sources = [x, *layer.parameters()]
    plain = minae.grad((layer(x) ** 2).sum(), sources)
    checked = minae.grad((minae.checkpoint(layer, x) ** 2).sum(), sources)
    for g, h in zip(plain, checked, strict=True):
        np.testing.assert_array_equal(numpy(g), numpy(h))
    (minae.checkpoint(layer, array(X)) ** 2).sum().backward()  # no input needs a gradient
    for p, g in zip(layer.parameters(), plain[1:], strict=True):
        np.testing.assert_array_equal(numpy(p.grad), numpy(g))


def test_what_an_input_was_made_from_is_not_counted_twice(leaf, numpy):
    """One input was made from another, and from a parameter that the function reads as well."""
    x, w = leaf(X), leaf(W)

    def through(checkpoint):
        y = x @ w
        return checkpoint(lambda a, b: block(a, w) * b, x, y).sum()

    plain = minae.grad(through(lambda f, *xs: f(*xs)), [x, w])
    checked = through(minae.checkpoint)
    for g, h in zip(plain, minae.grad(checked, [x, w], retain_graph=True), strict=True):
        np.testing.assert_allclose(numpy(g), numpy(h), rtol=1e-14)
    slope = minae.grad(checked, x, create_graph=True).sum()
    want = minae.grad(through(lambda f, *xs: f(*xs)), x, create_graph=True).sum()
    for g, h in zip(minae.grad(want, [x, w]), minae.grad(slope, [x, w]), strict=True):
        np.testing.assert_allclose(numpy(g), numpy(h), rtol=1e-12)


def test_a_recorded_tensor_that_the_function_reads_gets_its_gradient(leaf, numpy):
    x, w = leaf(X), leaf(W)
    scale = w.sum()
    y = minae.checkpoint(lambda x: x * scale, x).sum()
    np.testing.assert_allclose(numpy(minae.grad(y, w)), X.sum(), rtol=1e-14)


def test_nothing_inside_is_kept(leaf):
    inside = []

    def spy(x):
        y = minae.exp(x)
        inside.append(weakref.ref(y.array))
        return minae.sin(y)

    x = leaf(X)
    y = minae.checkpoint(spy, x)
    gc.disable()
    try:
        assert inside[0]() is None
        y.sum().backward()
        assert len(inside) == 2 and inside[1]() is None
    finally:
        gc.enable()


def test_dropout_drops_the_same_again(leaf, numpy):
    minae.seed(3)
    x = leaf(np.ones((4, 50)))
    y = minae.checkpoint(lambda x: minae.dropout(x, 0.5) * minae.dropout(x, 0.5), x)
    assert 40 < np.count_nonzero(numpy(y)) < 60  # two masks
    minae.random.normal(3)  # what else is drawn meanwhile changes nothing
    after = minae.random.get_state()
    gradient = minae.grad(y.sum(), x)
    np.testing.assert_array_equal(numpy(gradient), 2 * numpy(y))
    assert minae.random.get_state() == after  # the backward pass draws nothing of its own


def test_dropout_in_threads_drops_the_same_again(leaf, numpy):
    def train(seed):
        x = leaf(np.ones(100))
        for _ in range(50):
            y = minae.checkpoint(lambda x: minae.dropout(x, 0.5), x)
            np.testing.assert_array_equal(numpy(minae.grad(y.sum(), x)), numpy(y))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(train, range(2)))


def test_what_is_older_than_the_call_passes_as_it_is(leaf, numpy):
    x = leaf([1.0, 2.0])
    older = x * 2
    for function in (lambda h: h, lambda h: older):
        y = minae.checkpoint(function, older)
        assert y is older
    y.sum().backward()
    assert numpy(x.grad).tolist() == [2, 2]


def test_a_tuple_is_refused(leaf):
    with pytest.raises(TypeError, match="returns one Tensor, not a tuple"):
        minae.checkpoint(lambda x: (x, x), leaf(X))


def test_a_view_that_was_written_through_another_is_refused(leaf, array):
    w, frozen = leaf([1.0, 2.0]), Tensor(array([3.0, 4.0]))
    h = w.reshape(2, 1)
    y = minae.checkpoint(lambda h: (h * h).sum(), h)
    w.data = array([5.0, 6.0])
    with pytest.raises(RuntimeError, match="was written since"):
        y.backward()
    y = minae.checkpoint(lambda w: (w * frozen).sum(), w)
    frozen.data = array([0.0, 0.0])
    with pytest.raises(RuntimeError, match="was written since"):
        y.backward()


def test_debug_names_the_line_of_a_checkpoint(leaf):
    with minae.debug():
        x = leaf([1.0])
        y = minae.checkpoint(lambda x: x * 2, x)  # this line
    x.data = x.array + 1
    with pytest.raises(RuntimeError) as error:
        y.sum().backward()
    assert "# this line" in error.value.__notes__[0]


def test_what_was_written_meanwhile_is_refused(leaf):
    x, w = leaf(X), leaf(W)
    y = minae.checkpoint(lambda x: x @ w, x).sum()
    w.data = W * 2
    with pytest.raises(RuntimeError, match="was written since"):
        y.backward()


def test_a_pass_frees_it_like_any_other(leaf, array):
    x = leaf(X)
    y = minae.checkpoint(minae.exp, x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()
    assert y.node.edges is FREED


def test_where_nothing_is_recorded_nothing_is_kept(leaf, array, numpy):
    x = leaf(X)
    with minae.no_grad():
        assert minae.checkpoint(minae.exp, x).node is None
    assert isinstance(minae.checkpoint(minae.exp, array(X)), type(array(X)))
    y = minae.checkpoint(lambda x: x.detach() * 2, x)
    assert not y.requires_grad
    assert minae.checkpoint(lambda x: x, x) is x


def test_reversal_meets_the_gradient_alone(leaf, numpy):
    x = leaf([1.0, -2.0])
    y = minae.reverse_gradient(x, 0.5)
    np.testing.assert_array_equal(numpy(y), numpy(x))
    assert numpy(minae.grad((3 * y).sum(), x)).tolist() == [-1.5, -1.5]
    x.data = x.array + 1
    np.testing.assert_array_equal(numpy(y), numpy(x))  # a view, as from reshape


def test_a_stopped_gradient_leaves_a_constant(leaf, array, numpy):
    x = leaf([1.0, -2.0])
    assert not minae.stop_gradient(x).requires_grad
    assert numpy(minae.grad((x * minae.stop_gradient(x)).sum(), x)).tolist() == [1, -2]
    plain = array([1.0])
    assert minae.stop_gradient(plain) is plain


def test_a_copy_of_a_model_learns_nothing_from_the_other(array):
    model = nn.Linear(3, 3)
    teacher = copy.deepcopy(model)
    loss = minae.mse_loss(model(array(X)), minae.stop_gradient(teacher(array(X))))
    loss.backward()
    assert model.weight.grad is not None and teacher.weight.grad is None
