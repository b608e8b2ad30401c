"""The layers: shapes, refusals, how parameters start, what training alone does.

What they compute is held against PyTorch in oracles/test_torch_nn.py.
"""

import math

import numpy as np
import pytest

import minae
from minae import Tensor, nn


@pytest.fixture
def ones(array):
    """``ones(2, 3)``: a float32 array of ones."""
    return lambda *shape: array(np.ones(shape, "float32"))


def rng(number=0):
    return np.random.default_rng(number)


# --- Shapes --------------------------------------------------------------------------------------

SHAPES = {
    "linear": (nn.Linear(3, 4), (2, 5, 3), (2, 5, 4)),
    "linear, one": (nn.Linear(3, 4, bias=False), (3,), (4,)),
    "conv": (nn.Conv2d(3, 4, 3), (2, 5, 6, 3), (2, 3, 4, 4)),
    "conv, halving": (nn.Conv2d(3, 4, 4, 2, 1), (2, 8, 6, 3), (2, 4, 3, 4)),
    "conv, pairs": (
        nn.Conv2d(3, 4, (1, 3), (2, 1), (0, 2), (1, 2)), (1, 5, 6, 3), (1, 3, 6, 4)
    ),
    "conv, no images": (nn.Conv2d(3, 4, 3), (0, 5, 6, 3), (0, 3, 4, 4)),
    "transposed, doubling": (nn.ConvTranspose2d(3, 4, 4, 2, 1), (2, 4, 3, 3), (2, 8, 6, 4)),
    "transposed, odd": (
        nn.ConvTranspose2d(2, 6, 3, 2, 1, (1, 0), groups=2), (2, 4, 3, 2), (2, 8, 5, 6)
    ),
    "layer norm": (nn.LayerNorm(3), (2, 5, 3), (2, 5, 3)),
    "group norm": (nn.GroupNorm(2, 4), (2, 5, 3, 4), (2, 5, 3, 4)),
    "group norm, sequence": (nn.GroupNorm(2, 4), (2, 5, 4), (2, 5, 4)),
    "batch norm": (nn.BatchNorm2d(3), (2, 1, 1, 3), (2, 1, 1, 3)),
    "dropout": (nn.Dropout(), (2, 3), (2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("layer, shape, result", SHAPES.values(), ids=SHAPES)
def test_shapes_and_dtypes(layer, shape, result, array):
    y = layer(Tensor(array(rng().standard_normal(shape), "float32"), requires_grad=True))
    assert (y.shape, y.dtype, y.requires_grad) == (result, "float32", True)


WEIGHTS = {
    "linear": (nn.Linear(3, 4), (3, 4), (4,)),
    "conv": (nn.Conv2d(6, 4, (2, 3), groups=2), (2, 3, 3, 4), (4,)),
    "transposed conv": (nn.ConvTranspose2d(6, 4, (2, 3), groups=2), (2, 3, 2, 6), (4,)),
    "layer norm": (nn.LayerNorm(3), (3,), (3,)),
    "group norm": (nn.GroupNorm(2, 4), (4,), (4,)),
    "batch norm": (nn.BatchNorm2d(3), (3,), (3,)),
}


@pytest.mark.parametrize("layer, weight, bias", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_have_the_layout_of_the_conventions(layer, weight, bias):
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert (layer.weight.shape, layer.bias.shape) == (weight, bias)
    assert layer.weight.dtype == layer.bias.dtype == "float32"


@pytest.mark.parametrize("layer", [nn.Linear, lambda *a, **k: nn.Conv2d(*a, 3, **k),
                                   lambda *a, **k: nn.ConvTranspose2d(*a, 3, **k)])
def test_a_layer_without_bias_has_one_parameter(layer):
    assert [name for name, _ in layer(2, 2, bias=False).named_state()] == ["weight"]


def test_an_embedding_takes_codes_of_any_shape(array, numpy):
    layer = nn.Embedding(5, 2)
    codes = np.array([[0, 4], [4, 1], [2, 2]])
    np.testing.assert_array_equal(numpy(layer(array(codes))), numpy(layer.weight)[codes])
    assert layer(3).shape == (2,)


@pytest.mark.parametrize("bad", [[5], [-1]])
def test_an_embedding_refuses_codes_outside(bad):
    with pytest.raises(ValueError, match=r"codes must be in \[0, 5\)"):
        nn.Embedding(5, 2)(bad)


# --- Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("inputs, outputs, groups", [(4, 6, 4), (3, 4, 2), (4, 4, 0), (4, 4, -2)])
def test_groups_must_divide_the_channels(layer, inputs, outputs, groups):
    with pytest.raises(ValueError, match=rf"{groups} groups do not divide \d and \d channels"):
        layer(inputs, outputs, 3, groups=groups)


@pytest.mark.parametrize("groups", [3, 0, -1])
def test_group_norm_needs_equal_groups(groups):
    with pytest.raises(ValueError, match=f"4 channels do not form {groups} equal groups"):
        nn.GroupNorm(groups, 4)


@pytest.mark.parametrize("p", [1, 1.5, -0.1, math.nan])
def test_dropout_needs_a_probability_below_1(p):
    with pytest.raises(ValueError, match="dropout needs 0 <= p < 1"):
        nn.Dropout(p)


@pytest.mark.parametrize(
    "layer", [nn.Linear(3, 4), nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(3, 4, 1), nn.BatchNorm2d(3)],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_wrong_channels_are_refused(layer, channels, ones):
    with pytest.raises(ValueError):
        layer(ones(2, 4, 4, channels))


@pytest.mark.parametrize(
    "layer, channels", [(nn.LayerNorm(4), 1), (nn.LayerNorm(1), 4), (nn.LayerNorm(4), 3),
                        (nn.GroupNorm(1, 4), 1), (nn.GroupNorm(1, 1), 4), (nn.GroupNorm(2, 4), 6)],
)  # fmt: skip
def test_norms_do_not_broadcast_over_channels(layer, channels, ones):
    with pytest.raises(ValueError, match=rf"Expect: \(..., .\)\s+Actual: .*2, 3, {channels}\]"):
        layer(ones(2, 3, channels))


def test_batch_norm_takes_images_alone(ones):
    with pytest.raises(ValueError, match=r"Expect: \(batch, height, width, 3\)\s+Actual: .*2, 3\]"):
        nn.BatchNorm2d(3)(ones(2, 3))


@pytest.mark.parametrize("batch", [0, 1])
def test_batch_norm_refuses_the_variance_of_one_entry(batch, ones):
    layer = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="the variance of one entry says nothing"):
        layer(ones(batch, 1, 1, 3))
    assert layer.running_mean.tolist() == [0, 0, 0] and layer.running_var.tolist() == [1, 1, 1]
    assert layer.eval()(ones(batch, 1, 1, 3)).shape == (batch, 1, 1, 3)


# --- What training alone does --------------------------------------------------------------------


def test_batch_norm_standardizes_in_training(array, numpy):
    x = rng().standard_normal((4, 3, 3, 2)).astype("float32") * 3 + 5
    y = numpy(nn.BatchNorm2d(2)(array(x)))
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=1e-5)


def test_batch_norm_averages_what_it_sees(array, numpy):
    layer = nn.BatchNorm2d(1, momentum=0.25)
    layer(array([1.0, 2.0, 3.0], "float32").reshape(3, 1, 1, 1))
    np.testing.assert_allclose(numpy(layer.running_mean), [0.25 * 2])
    np.testing.assert_allclose(numpy(layer.running_var), [0.75 + 0.25 * 1])  # 1 is the unbiased
    layer(array([7.0, 7.0], "float32").reshape(2, 1, 1, 1))
    np.testing.assert_allclose(numpy(layer.running_mean), [0.75 * 0.5 + 0.25 * 7])
    np.testing.assert_allclose(numpy(layer.running_var), [0.75 * 1])


def test_evaluation_changes_no_state(array):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), minae.relu, nn.Dropout())
    x = array(rng().standard_normal((4, 5, 5, 2)), "float32")
    model(x)
    before, generator = model.eval().state_dict(), minae.random.get_state()
    model(x)
    assert minae.random.get_state() == generator
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    model.train()(x)
    assert (model.state_dict()["1.running_mean"] != before["1.running_mean"]).all()


def test_batch_norm_in_evaluation_is_the_same_for_each_image_alone(array, numpy):
    layer = nn.BatchNorm2d(2)
    x = rng().standard_normal((4, 3, 3, 2)).astype("float32")
    layer(array(x))
    together = numpy(layer.eval()(array(x)))
    np.testing.assert_allclose(numpy(layer(array(x[:1]))), together[:1], rtol=1e-6)


def test_a_later_batch_leaves_an_evaluated_graph_alone(array, numpy):
    layer = nn.BatchNorm2d(2).astype("float64").eval()
    x = Tensor(array(rng().standard_normal((2, 1, 1, 2))), requires_grad=True)
    y = layer(x)
    layer.train()(array(rng().standard_normal((2, 1, 1, 2)) + 9))
    y.sum().backward()
    np.testing.assert_allclose(numpy(x.grad), 1 / math.sqrt(1 + 1e-5))


def test_dropout_in_evaluation_is_the_identity(array):
    x = Tensor(array([1.0, 2.0]))
    assert nn.Dropout(0.9).eval()(x) is x


def test_dropout_in_training_keeps_the_mean(array, numpy):
    minae.seed(0)
    y = numpy(nn.Dropout(0.2)(array(np.ones(100_000), "float32")))
    assert set(np.unique(y)) == {0, np.float32(1.25)}
    assert abs(y.mean() - 1) < 0.01


# --- Sequential ----------------------------------------------------------------------------------


def test_sequential_applies_one_after_the_other(array, numpy):
    model = nn.Sequential(lambda x: x + 1, lambda x: x * 10, minae.relu)
    assert numpy(model(array([1.0, -3.0]))).tolist() == [20, 0]


FUSED = {
    "conv": nn.Conv2d(2, 3, 3, 2, 1, rng=rng()),
    "conv, groups": nn.Conv2d(2, 4, 3, groups=2, bias=False, rng=rng()),
    "transposed conv": nn.ConvTranspose2d(2, 3, 3, 2, 1, 1, rng=rng()),
}


@pytest.mark.parametrize("layer", FUSED.values(), ids=FUSED)
def test_sequential_computes_a_convolution_and_its_relu_in_one(layer, array, numpy):
    x = Tensor(array(rng().standard_normal((2, 5, 6, 2)), "float32"), requires_grad=True)
    inputs = [x, *layer.parameters()]
    ys = nn.Sequential(layer, minae.relu)(x), minae.relu(layer(x))
    assert ys[0].node.op.name in ("conv2d_relu", "conv2d_input_relu")
    seed = array(rng(1).standard_normal(ys[0].shape), "float32")
    fused, plain = ([y, *minae.grad(y, inputs, seed)] for y in ys)
    for a, b in zip(fused, plain, strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))


def test_sequential_leaves_alone_what_is_no_plain_convolution(array, numpy):
    class Twice(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2

    model = nn.Sequential(Twice(1, 1, 1, bias=False), minae.relu, minae.relu)
    model.load_state_dict({"0.weight": [[[[3.0]]]]})
    x = array([[[[-1.0], [1.0]]]], "float32")
    assert numpy(model(x)).ravel().tolist() == [0, 6]
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), lambda x: x + 1, minae.relu)
    model.load_state_dict({"0.weight": [[[[3.0]]]]})
    assert numpy(model(x)).ravel().tolist() == [0, 4]


def test_sequential_asks_a_convolution_whose_forward_was_replaced(array, numpy):
    layer = nn.Conv2d(1, 1, 1)
    layer.forward = lambda x: x - 1
    x = array(np.full((1, 1, 1, 1), 3.0), "f4")
    assert numpy(nn.Sequential(layer, minae.relu)(x)).item() == 2


def test_sequential_names_by_position():
    model = nn.Sequential(nn.Linear(2, 3), minae.relu, nn.Sequential(nn.Linear(3, 1, bias=False)))
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.0.weight"]


def test_sequential_is_a_sequence():
    layers = [nn.Linear(1, 1), minae.relu, *(nn.Dropout() for _ in range(10))]
    model = nn.Sequential(*layers)
    assert len(model) == 12 and list(model) == layers
    assert model[0] is layers[0] and model[11] is layers[11] and model[-1] is layers[-1]
    with pytest.raises(IndexError):
        model[12]


def test_what_is_attached_to_a_sequential_is_state_but_no_layer(array, numpy):
    model = nn.Sequential(minae.relu)
    model.head = nn.Linear(1, 1)
    assert len(model) == 1 and list(model.state_dict()) == ["head.weight", "head.bias"]
    assert numpy(model(array([-1.0, 1.0]))).tolist() == [0, 1]


def test_a_layer_may_come_twice(array, numpy):
    layer = nn.Linear(1, 1)
    layer.load_state_dict({"weight": [[2.0]], "bias": [1.0]})
    model = nn.Sequential(layer, layer)
    assert numpy(model(array([[1.0]], "float32"))).tolist() == [[7]]
    assert list(model.state_dict()) == ["0.weight", "0.bias"]


def test_an_empty_sequential_is_the_identity(array):
    x = array([1.0])
    assert nn.Sequential()(x) is x and list(nn.Sequential()) == []


def test_sequential_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match=r"layer 1 is no Module and no function: \[\]"):
        nn.Sequential(minae.relu, [])


# --- How parameters start ------------------------------------------------------------------------

STARTS = {
    "linear": (lambda: nn.Linear(25, 4000, rng=rng()), 25),
    "conv": (lambda: nn.Conv2d(8, 2000, (3, 1), groups=2, rng=rng()), 12),
    "transposed conv": (lambda: nn.ConvTranspose2d(2000, 8, (3, 1), groups=2, rng=rng()), 12),
}


@pytest.mark.parametrize("make, fan_in", STARTS.values(), ids=STARTS)
def test_weights_start_evenly_within_the_bound_of_pytorch(make, fan_in, numpy):
    weight, bound = numpy(make().weight).ravel(), fan_in**-0.5
    n = weight.size
    assert -bound <= weight.min() < -0.99 * bound and 0.99 * bound < weight.max() <= bound
    assert abs(weight.mean()) < 4 * bound / math.sqrt(3 * n)
    assert abs((weight**2).mean() * 3 / bound**2 - 1) < 4 / math.sqrt(n)


@pytest.mark.parametrize("layer, fan_in", [
    (nn.Linear(25, 4000, rng=rng()), 25), (nn.Conv2d(2, 2000, 3, rng=rng()), 18),
    (nn.ConvTranspose2d(2, 2000, 1, rng=rng()), 2000),
], ids=["linear", "conv", "transposed conv"])  # fmt: skip
def test_biases_start_within_the_same_bound(layer, fan_in, numpy):
    bias, bound = numpy(layer.bias), fan_in**-0.5
    assert 0.98 * bound < np.abs(bias).max() <= bound
    assert len(np.unique(bias)) > 0.99 * bias.size


def test_an_embedding_starts_normal(numpy):
    table = numpy(nn.Embedding(1000, 50, rng=rng()).weight)
    assert abs(table.mean()) < 0.02 and abs(table.std() - 1) < 0.02
    assert 3.5 < np.abs(table).max() < 6


def test_norms_start_as_standardization(numpy):
    for layer in (nn.LayerNorm(3), nn.GroupNorm(1, 3), nn.BatchNorm2d(3)):
        assert numpy(layer.weight).tolist() == [1, 1, 1] and numpy(layer.bias).tolist() == [0, 0, 0]


def test_a_layer_of_no_inputs_can_be_made():
    assert nn.Linear(0, 2).weight.shape == (0, 2)


MADE = {
    "linear": lambda **given: nn.Linear(3, 4, **given),
    "conv": lambda **given: nn.Conv2d(3, 4, 2, **given),
    "transposed conv": lambda **given: nn.ConvTranspose2d(3, 4, 2, **given),
    "embedding": lambda **given: nn.Embedding(3, 4, **given),
}


def same_state(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_the_same_seed_gives_the_same_layer(make):
    assert same_state(make(rng=rng(1)), make(rng=rng(1)))
    assert not same_state(make(rng=rng(1)), make(rng=rng(2)))
    minae.seed(3)
    first, second = make(), make()
    minae.seed(3)
    assert same_state(first, make()) and same_state(second, make())
    assert not same_state(first, second)


def test_two_layers_of_one_generator_differ():
    generator = rng()
    assert not same_state(nn.Linear(3, 4, rng=generator), nn.Linear(3, 4, rng=generator))


def test_a_kernel_is_an_integer_or_two():
    assert nn.Conv2d(1, 1, np.int64(3)).weight.shape == (3, 3, 1, 1)
    assert nn.Conv2d(1, 1, (3, 5)).weight.shape == (3, 5, 1, 1)
    with pytest.raises(TypeError, match="kernel must be an integer or a pair"):
        nn.Conv2d(1, 1, 3.0)


def test_linear_names_the_features_that_it_wants(ones):
    with pytest.raises(ValueError, match=r"Expect: x \(\.\.\., 3\).*\s+Actual: float32\[2, 4\], "):
        nn.Linear(3, 2)(ones(2, 4))
    with pytest.raises(ValueError, match=r"Expect: x \(\.\.\., 3\)"):
        nn.Linear(3, 2)(1.0)
    assert nn.Linear(3, 2)([[1, 2, 3]]).shape == (1, 2)


def test_a_layer_that_returns_a_tuple_ends_a_sequential(ones):
    with pytest.raises(TypeError, match="LSTM returned a tuple: put lambda x: x"):
        nn.Sequential(nn.LSTM(4, 6), nn.Linear(6, 2))(ones(2, 5, 4))
    assert len(nn.Sequential(nn.LSTM(4, 6))(ones(2, 5, 4))) == 2


@pytest.mark.parametrize("options, message", [
    ({"kernel": 0}, "kernel must be at least 1"), ({"stride": 0}, "stride must be at least 1"),
    ({"padding": -1}, "padding must be at least 0"), ({"dilation": 0}, "dilation must be"),
])
def test_convolutions_that_cannot_be_are_not_made(options, message):
    for kind in (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d):
        with pytest.raises(ValueError, match=message):
            kind(2, 3, **{"kernel": 3} | options)
    with pytest.raises(TypeError, match="padding must be an integer or a pair"):
        nn.Conv2d(2, 3, 3, padding="same")
    with pytest.raises(ValueError, match="choose zeros or reflect"):
        nn.Conv2d(2, 3, 3, padding_mode="circular")
