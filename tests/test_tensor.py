"""Tensor as an array: its methods against NumPy's, the ways in and out, and what it refuses."""

import copy
import pickle

import numpy as np
import pytest

import minae
from minae import Tensor


class Foreign:
    """An array of another library."""

    shape, dtype = (3, 4), "float32"

    def __array__(self, *args, **kwargs):
        raise AssertionError("converted in silence")


@pytest.fixture
def x(array):
    values = np.random.default_rng(0).standard_normal((3, 4))
    return Tensor(array(values, "float32"), requires_grad=True)


METHODS = {
    "sum": lambda x: x.sum(axis=1, keepdims=True),
    "mean": lambda x: x.mean(axis=(0, 1)),
    "var": lambda x: x.var(axis=0),
    "std": lambda x: x.std(),
    "max": lambda x: x.max(axis=-1),
    "min": lambda x: x.min(),
    "argmax": lambda x: x.argmax(axis=1),
    "argmin": lambda x: x.argmin(),
    "cumsum": lambda x: x.cumsum(axis=1),
    "reshape": lambda x: x.reshape(2, -1),
    "reshape of a tuple": lambda x: x.reshape((4, 3)),
    "transpose": lambda x: x.transpose(),
    "transpose of axes": lambda x: x.transpose(1, 0),
    "T": lambda x: x.T,
    "swapaxes": lambda x: x.swapaxes(0, -1),
    "squeeze": lambda x: x[:, None].squeeze(1),
    "flatten": lambda x: x.flatten(),
    "getitem": lambda x: x[1:, [0, 2]],
    "mask": lambda x: x[x > 0],
    "astype": lambda x: x.astype("float64"),
    "+": lambda x: 1 + x + x,
    "-": lambda x: 1 - x - x,
    "*": lambda x: 2 * x * x,
    "/": lambda x: 1 / x / 2,
    "**": lambda x: x**2,
    "r**": lambda x: 2**x,
    "@": lambda x: x @ x.T,
    "unary -": lambda x: -x,
    "abs": abs,
    "==": lambda x: x == x,
    "!=": lambda x: x != 0,
    "<": lambda x: x < 0.5,
    "<=": lambda x: x <= x,
    ">": lambda x: x > 0.5,
    ">=": lambda x: x >= 0.5,
    "clip": lambda x: x.clip(-0.5, 0.5),
    "shape": lambda x: np.array(x.shape),
    "ndim": lambda x: np.array(x.ndim),
    "size": lambda x: np.array(x.size),
    "len": lambda x: np.array(len(x)),
    "tolist": lambda x: np.array(x.tolist()),
    "iteration": lambda x: [row * 2 for row in x][2],
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_numpys(name, x, numpy):
    got, want = numpy(METHODS[name](x)), METHODS[name](numpy(x))
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-6)


MORE = {
    "norm": (lambda x: x.norm(axis=1), lambda x: np.linalg.norm(x, axis=1)),
    "flip": (lambda x: x.flip(1), lambda x: np.flip(x, 1)),
    "split": (lambda x: x.split(2, axis=1)[1], lambda x: np.split(x, 2, axis=1)[1]),
    "split at": (lambda x: x.split([1, 3], axis=1)[1], lambda x: x[:, 1:3]),
    "exp": (lambda x: x.exp(), np.exp),
    "log": (lambda x: (x * x).log(), lambda x: np.log(x * x)),
    "sqrt": (lambda x: (x * x).sqrt(), np.abs),
    "sin": (lambda x: x.sin(), np.sin),
    "cos": (lambda x: x.cos(), np.cos),
    "tanh": (lambda x: x.tanh(), np.tanh),
    "abs": (lambda x: x.abs(), np.abs),
    "relu": (lambda x: x.relu(), lambda x: np.maximum(x, 0)),
    "sigmoid": (lambda x: x.sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    "logsumexp": (lambda x: x.logsumexp(1), lambda x: np.log(np.exp(x).sum(1))),
    "softmax": (lambda x: x.softmax(), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    "log_softmax": (
        lambda x: x.log_softmax(0),
        lambda x: x - np.log(np.exp(x).sum(0, keepdims=True)),
    ),
}


@pytest.mark.parametrize("name", MORE)
def test_other_methods(name, x, numpy):
    ours, theirs = MORE[name]
    np.testing.assert_allclose(numpy(ours(x)), theirs(numpy(x)), rtol=1e-5, atol=1e-6)


def test_every_method_has_a_test():
    public = {name for name in vars(Tensor) if not name.startswith("_")}
    elsewhere = {
        "array", "grad", "node", "requires_grad", "written", "data", "dtype", "backward", "detach",
        "item", "numpy",
    }  # fmt: skip
    assert public - elsewhere <= METHODS.keys() | MORE.keys()


# --- Ways in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, "float32"),
        (2.5, "float32"),
        ([[1, 2], [3, 4]], "float32"),
        ([], "float32"),
        (True, "bool"),
        ([True, False], "bool"),
        (np.float64(1.5), "float32"),
    ],
)
def test_numbers_and_lists_become_float32(data, dtype, numpy):
    for make in (Tensor, minae.tensor):
        t = make(data)
        array_like = make is minae.tensor and isinstance(data, np.generic)
        assert t.dtype == ("float64" if array_like else dtype)
        np.testing.assert_array_equal(numpy(t), np.array(data))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_arrays_keep_their_dtype(dtype, array):
    values = array([0, 1], dtype)
    assert Tensor(values).dtype == minae.tensor(values).dtype == dtype


def test_constructor_shares_and_tensor_copies(array):
    values = array([1.0, 2.0])
    shared, copied = Tensor(values), minae.tensor(values)
    values[0] = 9
    assert (shared.tolist(), copied.tolist()) == ([9, 2], [1, 2])
    assert minae.tensor(shared, "float64", requires_grad=True).dtype == "float64"


@pytest.mark.parametrize("values", [[1, 2], [True, False]])
def test_integers_want_no_gradient(values, array):
    with pytest.raises(TypeError, match=r"only real floats have gradients; this is (int|bool)"):
        Tensor(array(values), requires_grad=True)


@pytest.mark.parametrize("values", [["a"], [1j], [None], object()])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(TypeError):
        minae.tensor(values)
    with pytest.raises(TypeError):
        Tensor(values)


def test_ragged_lists_and_masked_arrays_are_refused():
    with pytest.raises(ValueError, match="inhomogeneous"):
        Tensor([[1, 2], [3]])
    with pytest.raises(TypeError, match="masked array would lose its mask"):
        minae.tensor(np.ma.masked_array([1.0, 2.0], [True, False]))


def test_a_foreign_array_is_refused_with_the_cure(x):
    for call in (
        lambda f: x * f,
        lambda f: f + x,
        lambda f: minae.concatenate([x, f]),
        Tensor,
        lambda f: minae.mse_loss(x, f),
    ):
        with pytest.raises(TypeError, match=r"Foreign on the \w+ backend.*minae.tensor\(x\)"):
            call(Foreign())


def test_dlpack_both_ways(array, numpy):
    t = Tensor(array([1.0, 2.0]))
    shared = minae.xp.from_dlpack(t)
    t[0] = 7.0
    assert shared.tolist() == [7, 2]
    assert t.__dlpack_device__() == t.array.__dlpack_device__()
    assert minae.from_dlpack(t.array).tolist() == [7, 2]
    t.requires_grad = True
    with pytest.raises(BufferError, match="detach"):
        minae.xp.from_dlpack(t)


# --- Ways out --------------------------------------------------------------------------------


def test_numpy_functions_do_not_lose_the_gradient_in_silence(x, numpy):
    with pytest.raises(TypeError):
        np.exp(x)
    with pytest.raises(TypeError, match=r"x.numpy\(\) or x.detach\(\)"):
        np.asarray(x)
    np.testing.assert_array_equal(np.asarray(x.detach()), numpy(x))
    np.testing.assert_array_equal(x.numpy(), numpy(x))


def test_arrays_on_the_left_reach_the_tensor(x, array, numpy):
    other = array(np.ones((3, 4)), "float32")
    for y in (other * x, other - x, other / x, other @ x.T, np.float64(2) * x, np.sqrt(2) + x):
        assert type(y) is Tensor and y.dtype == "float32" and y.requires_grad


def test_scalars(numpy):
    t = Tensor(2.5)
    assert (float(t), int(t), bool(t), t.item()) == (2.5, 2, True, 2.5)
    assert f"{t:.2f}" == "2.50"
    with pytest.raises(ValueError):
        Tensor([1.0, 2.0]).item()
    with pytest.raises(ValueError):
        bool(Tensor([1.0, 2.0]))
    with pytest.raises(TypeError):
        len(t)
    with pytest.raises(TypeError, match="use item"):
        iter(t)


def test_repr(x, array):
    assert repr(Tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    assert repr(Tensor(array([1, 2], "int64"))) == "Tensor([1, 2], dtype=int64)"
    assert repr(Tensor(2.0, requires_grad=True)) == "Tensor(2., requires_grad=True)"
    assert repr(Tensor(2.0, requires_grad=True) * 2) == "Tensor(4., op=mul)"
    assert f"{Tensor([1.0])}" == "Tensor([1.])"
    assert len(repr(Tensor(array(np.zeros((1000, 1000)))))) < 1000


def test_identity_is_the_hash(x):
    other = Tensor(x.array)
    assert len({x, other, x}) == 2
    assert x in [other, x][1:]


def test_detach_shares_and_cuts(x):
    y = x.detach()
    assert y.array is x.array and not y.requires_grad
    assert not x.astype("int32").requires_grad


def test_setting_entries(x, array):
    constant = Tensor([1.0, 2.0, 3.0])
    constant[array([0, 2])] = Tensor([7.0, 8.0])
    assert constant.tolist() == [7, 2, 8]
    with minae.no_grad():
        x[0] = 0.0
    assert x[0].tolist() == [0] * 4


def test_writing_a_result_into_a_constant_would_lose_its_gradient(x):
    constant = Tensor([0.0, 0.0])
    with pytest.raises(RuntimeError, match=r"lose a gradient: minae.index_update"):
        constant[0] = x.sum()
    constant[0] = x.sum().detach()


def test_augmented_assignment_to_a_parameter_is_refused(x):
    for change in ("p += 1", "p -= 1", "p *= 2", "p /= 2"):
        for block in (minae.no_grad, minae.debug):
            with block(), pytest.raises(RuntimeError, match=r"write p.data -= step"):
                exec(change, {"p": x})
    y = x * 1
    y -= 1  # of a result it is a new name


def test_positions_that_would_be_mistaken():
    with pytest.raises(TypeError):
        Tensor([1.0], "float64")
    with pytest.raises(TypeError):
        minae.tensor([1.0], "float64", True)
    with pytest.raises(TypeError, match="the seed is a gradient, no switch"):
        (Tensor(1.0, requires_grad=True) * 2).backward(True)


def test_copies_and_pickles(x, numpy):
    x.grad = x.array * 2
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.requires_grad and y.array is not x.array
        np.testing.assert_array_equal(numpy(y), numpy(x))
        np.testing.assert_array_equal(numpy(y.grad), numpy(x.grad))
    for broken in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="detach"):
            broken(x * 2)


def test_comparing_with_and_writing_lists_and_others(x, array):
    assert (Tensor([1.0, 2.0]) == [1, 3]).tolist() == [True, False]
    assert (Tensor([1.0, 2.0]) > Tensor([0.0, 5.0])).tolist() == [True, False]
    with pytest.raises(TypeError, match=r"minae.tensor\(x\)"):
        x == Foreign()  # noqa: B015
    constant = Tensor([1.0, 2.0])
    constant[:] = [5, 6]
    assert constant.tolist() == [5, 6]


def test_a_foreign_index_is_refused(x):
    """NumPy would take it, and its gradient would not be summed where places coincide."""
    for index in (Foreign(), (slice(None), Foreign())):
        with pytest.raises(TypeError, match=r"minae.tensor\(x\)"):
            x[index]


@pytest.mark.parametrize("make", [list, np.float32, np.float64], ids=["list", "float32", "float64"])
def test_lists_and_numpy_scalars_reach_the_rules_converted(make, x):
    other = [1.0, 2.0, 3.0, 4.0] if make is list else make(2)
    for function in (minae.mul, minae.div, minae.maximum, minae.add):
        y = function(x, other)
        assert y.dtype == "float32" and minae.grad(y.sum(), x).dtype == "float32"
    if make is list:
        assert (x @ other).shape == (3,)
        assert minae.grad((x @ other).sum(), x).tolist() == [other] * 3


def test_index_with_tensors(x, array, numpy):
    codes = Tensor(array([2, 0]))
    np.testing.assert_array_equal(numpy(x[codes, codes]), numpy(x)[[2, 0], [2, 0]])
    assert x[[]].shape == (0, 4)


def test_matmul_of_a_batch_makes_one_product(array, monkeypatch):
    """A batch times a matrix: the gradient of the matrix is never one matrix for each sample."""
    w = Tensor(array(np.ones((4, 5))), requires_grad=True)
    y = Tensor(array(np.ones((2, 3, 4)))) @ w
    assert y.shape == (2, 3, 5)
    (edge,) = y.node.edges
    _, rule, (x, weight) = edge
    assert rule.pull(array(np.ones((2, 3, 5))), x.array, weight.array).shape == (4, 5)
