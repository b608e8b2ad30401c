"""The composites: values and edges that are ours to define, and every refusal."""

import math

import numpy as np
import pytest

import minae
from minae import Tensor, grad
from minae.testing import check_grads


@pytest.fixture
def leaf(array):
    """``leaf(values)``: a Tensor that wants a gradient."""
    return lambda values, dtype="float64": Tensor(array(values, dtype), requires_grad=True)


# --- Defined gradients at the edges ------------------------------------------------------------


def test_sqrt_and_norm_at_zero_have_gradient_zero(leaf, numpy):
    for function in (minae.sqrt, minae.norm, minae.std, lambda x: minae.norm(x, axis=0)):
        x = leaf([0.0, 0.0])
        (gradient,) = grad(function(x).sum(), [x], create_graph=True)
        np.testing.assert_array_equal(numpy(gradient), [0, 0])
        assert np.isfinite(numpy(grad(gradient.sum(), x))).all()


def test_power_at_zero(leaf, numpy):
    for exponent, first, second in [(0, 0, 0), (1, 1, 0), (2, 0, 2), (3, 0, 0)]:
        for e in (exponent, np.array(float(exponent))):
            x = leaf(0.0)
            slope = grad(x ** (minae.tensor(e) if e is not exponent else e), x, create_graph=True)
            assert (float(slope), float(grad(slope, x))) == (first, second)
    for exponent in (0.0, 2.0):  # 0 ** y does not vary with y
        for base in (0.0, leaf(0.0)):
            y = leaf(exponent)
            assert float(grad(minae.pow(base, y), y)) == 0


def test_a_negative_base_has_no_gradient_for_the_exponent(leaf):
    y = leaf(2.0)
    assert math.isnan(grad(minae.pow(-3.0, y), y))


def test_mixed_derivative_of_a_power_at_exponent_zero(leaf):
    """d2 (x ** y) / dx dy at y = 0 is 1 / x, in both orders."""
    x, y = leaf(3.0), leaf(0.0)
    gx, gy = grad(x**y, [x, y], create_graph=True)
    assert float(grad(gx, y, retain_graph=True)) == pytest.approx(1 / 3)
    assert float(grad(gy, x)) == pytest.approx(1 / 3)


def test_logsumexp_with_an_infinite_entry(leaf, numpy):
    x = leaf([1.0, math.inf])
    y = minae.logsumexp(x)
    assert float(y) == math.inf
    with np.errstate(invalid="ignore"):
        assert numpy(grad(y, x))[0] == 0


@pytest.mark.parametrize("call", [
    lambda x: minae.concatenate([x, x], axis=None), lambda x: minae.cumsum(x, axis=None),
    lambda x: minae.sort(x, axis=None),
])  # fmt: skip
def test_an_axis_is_needed(call, leaf):
    with pytest.raises(TypeError, match="integer"):
        call(leaf([[1.0, 2.0]]))


@pytest.mark.parametrize("function", [minae.logsumexp, minae.softmax, minae.log_softmax])
def test_a_row_of_minus_infinity(function, leaf, array, numpy):
    """What a mask has emptied: values without NaN, gradients of 0 or finite ones."""
    x = leaf([[-math.inf, -math.inf], [0.0, -math.inf]])
    y = function(x) if function is not minae.logsumexp else function(x, axis=1)
    assert not np.isnan(numpy(y)).any()
    gradient = numpy(grad(y, x, array(np.ones(y.shape))))
    assert np.isfinite(gradient).all()
    if function is not minae.log_softmax:
        np.testing.assert_array_equal(gradient[0], [0, 0])


def test_softmax_of_a_row_of_minus_infinity_is_zero(leaf, numpy):
    np.testing.assert_array_equal(numpy(minae.softmax(leaf([[-math.inf] * 3]))), [[0, 0, 0]])
    assert float(minae.logsumexp(leaf([-math.inf] * 3))) == -math.inf


@pytest.mark.parametrize("scale", [1e4, -1e4, 1e300])
def test_exponentials_do_not_overflow(leaf, array, numpy, scale):
    x = leaf(np.array([[1.0, 0.0, -1.0]]) * scale)
    for y in (minae.softmax(x), minae.logsumexp(x), minae.sigmoid(x), minae.softplus(x)):
        assert np.isfinite(numpy(y)).all()
        assert np.isfinite(numpy(grad(y, x, array(np.ones(y.shape))))).all()
    assert np.isfinite(float(minae.binary_cross_entropy_with_logits(x, leaf(np.zeros(x.shape)))))


def test_where_with_an_infinity_in_the_branch_not_taken(leaf, numpy):
    x = leaf([2.0, 0.0])
    y = minae.where(x > 0, x, math.inf)
    gx = grad(1 / y, x, [1.0, 1.0])
    np.testing.assert_array_equal(numpy(gx), [-0.25, 0])
    gx = grad(minae.where(x > 0, x, math.inf), x, [1.0, math.nan])
    np.testing.assert_array_equal(numpy(gx), [1, 0])


def test_at_0_a_slope_is_that_of_the_left(leaf, numpy):
    x = leaf([0.0, -0.0, -1.0, 1.0])
    slope = numpy(grad(minae.leaky_relu(x, -0.5).sum(), x))
    assert slope.tolist() == [-0.5, -0.5, -0.5, 1]
    slope = numpy(grad(minae.elu(x, -0.75).sum(), x))
    assert slope.tolist() == pytest.approx([-0.75, -0.75, -0.75 * math.exp(-1), 1])
    slope = grad(minae.elu(x, 0.75).sum(), x, create_graph=True)
    left = 0.75 * math.exp(-1)
    assert numpy(slope).tolist() == pytest.approx([0.75, 0.75, left, 1])
    assert numpy(grad(slope.sum(), x)).tolist() == pytest.approx([0.75, 0.75, left, 0])


def test_numpy_s_numbers_are_weak_as_options_too(leaf):
    x = leaf([1.0, -2.0], "float32")
    for call in (lambda n: minae.leaky_relu(x, n), lambda n: minae.elu(x, n),
                 lambda n: minae.clip(x, -n, n), lambda n: minae.huber_loss(x, 2 * x, n)):
        y = call(np.float64(0.5))
        assert y.dtype == "float32" and grad(y.sum(), x).dtype == "float32"


def test_standardizing_nothing(leaf):
    for shape, axis in (((2, 0), -1), ((0, 3), 0), ((0, 3), 1)):
        x = leaf(np.zeros(shape))
        y = minae.standardize(x, axis)
        assert y.shape == shape and grad(y.sum(), x).shape == shape


def test_activations_far_out(leaf, numpy):
    x = leaf([-1e3, -30.0, 30.0, 200.0, 1e3])
    for function in (minae.elu, minae.silu, minae.gelu, minae.gelu_tanh, minae.leaky_relu):
        y = function(x)
        assert np.isfinite(numpy(y)).all() and np.isfinite(numpy(grad(y.sum(), x))).all()


@pytest.mark.parametrize("function", [minae.maximum, minae.minimum])
def test_ties_share_the_gradient(function, leaf, numpy):
    x, y = leaf([1.0, 2.0]), leaf([1.0, 3.0])
    gx, gy = grad(function(x, y).sum(), [x, y])
    np.testing.assert_array_equal(numpy(gx + gy), [1, 1])
    assert numpy(gx)[0] == numpy(gy)[0] == 0.5
    z = leaf([[3.0, 3.0, 1.0]])
    np.testing.assert_array_equal(numpy(grad(z.max(axis=1).sum(), z)), [[0.5, 0.5, 0]])


@pytest.mark.parametrize("function, slopes", [
    (minae.relu, [0, 0, 0, 1, 1]), (minae.abs, [-1, -1, 0, 1, 1]), (minae.sign, [0, 0, 0, 0, 0]),
    (lambda x: minae.clip(x, -1, 1), [0, 1, 1, 1, 0]),
    (lambda x: minae.clip(x, None, 1), [1, 1, 1, 1, 0]),
    (lambda x: minae.clip(x, -1), [0, 1, 1, 1, 1]),
])  # fmt: skip
def test_slopes_at_a_kink_and_between(function, slopes, leaf, numpy):
    x = leaf([-2.0, -1.0, 0.0, 1.0, 2.0])
    np.testing.assert_array_equal(numpy(grad(function(x).sum(), x)), slopes)


# --- Nothing broadcasts in a loss ----------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [minae.mse_loss, minae.l1_loss, minae.binary_cross_entropy_with_logits]
)
@pytest.mark.parametrize("shapes", [((4, 1), (4,)), ((4,), ()), ((2, 3), (1, 3)), ((3,), (4,))])
def test_losses_refuse_to_broadcast(loss, shapes, leaf):
    wanted = r"would broadcast.*\s+Expect: .* one shape\s+Actual: \w+\[.*, \w+\["
    with pytest.raises(ValueError, match=wanted):
        loss(leaf(np.zeros(shapes[0])), leaf(np.zeros(shapes[1])))


def test_losses_take_lists_and_arrays(leaf, array):
    x = leaf([1.0, 2.0], "float32")
    assert float(minae.mse_loss(x, [0.0, 0.0])) == 2.5
    assert float(minae.l1_loss(x, array([0.0, 0.0]))) == 1.5


def test_cross_entropy_checks_its_labels(leaf, array):
    logits = leaf(np.zeros((2, 3)))
    assert float(minae.cross_entropy(logits, [0, 2])) == pytest.approx(math.log(3))
    assert float(minae.cross_entropy(logits, Tensor(array([1, 1])))) == pytest.approx(math.log(3))
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\), got 3"):
        minae.cross_entropy(logits, [0, 3])
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\), got -1"):
        minae.cross_entropy(logits, [0, -1])
    for floats in (array([0.0, 1.0], "float32"), [0.7, 1.9]):
        with pytest.raises(TypeError, match=r"labels must be integers, got float.*astype\(int\)"):
            minae.cross_entropy(logits, floats)
    with pytest.raises(ValueError, match=r"(?s)Expect: labels \[2\].*Actual: int\d+\[2, 1\]"):
        minae.cross_entropy(logits, array([[0], [1]]))


# --- Rearranging -----------------------------------------------------------------------------


def test_split_refuses_unequal_sections(leaf):
    with pytest.raises(ValueError, match="an axis of 5 does not split into 2 equal sections"):
        minae.split(leaf(np.zeros(5)), 2)
    with pytest.raises(ValueError):
        minae.split(leaf(np.zeros(5)), 0)
    assert [p.shape for p in minae.split(leaf(np.zeros((0, 2))), 3)] == [(0, 2)] * 3


@pytest.mark.parametrize(
    "index",
    [1, slice(1, None), [2, 0], [0, 0, 2], (slice(None), [1, 1]), ([0, 0, 2],), ((0, 0, 2),),
     np.array([True, False, True])],
    ids=str,
)
def test_index_update_is_what_assignment_would_do(index, leaf, array, numpy):
    start = np.arange(6.0).reshape(3, 2)
    place = index if not isinstance(index, np.ndarray) else array(index)
    region = start[index].shape
    values = 10.0 + np.arange(np.prod(region)).reshape(region)
    want = start.copy()
    want[index] = values
    np.testing.assert_array_equal(numpy(minae.index_update(leaf(start), place, leaf(values))), want)
    want[index] = 7.0
    np.testing.assert_array_equal(numpy(minae.index_update(leaf(start), place, 7.0)), want)
    check_grads(lambda x, v: minae.index_update(x, place, v), [start, values])
    added = start.copy()
    np.add.at(added, index, values)
    np.testing.assert_array_equal(numpy(minae.index_add(leaf(start), place, leaf(values))), added)
    check_grads(lambda x, v: minae.index_add(x, place, v), [start, values])


def test_index_update_of_nothing(leaf):
    x = leaf([1.0, 2.0])
    assert minae.index_update(x, slice(0, 0), 5.0).tolist() == [1, 2]


def test_sort_and_take_along_axis(leaf, array, numpy):
    values = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 0.0]])
    for axis in (0, 1, -1):
        got = minae.sort(leaf(values), axis)
        np.testing.assert_array_equal(numpy(got), np.sort(values, axis))
    indices = np.array([[2], [0]])
    got = minae.take_along_axis(leaf(values), array(indices), 1)
    np.testing.assert_array_equal(numpy(got), np.take_along_axis(values, indices, 1))


def test_codes_are_checked(leaf, array, numpy):
    np.testing.assert_array_equal(numpy(minae.one_hot([2, 0], 3)), [[0, 0, 1], [1, 0, 0]])
    assert minae.one_hot(array(np.zeros((2, 0), int)), 3).shape == (2, 0, 3)
    table = leaf(np.eye(3))
    assert minae.embedding(table, [[0, 1]]).shape == (1, 2, 3)
    for call in (lambda c: minae.one_hot(c, 3), lambda c: minae.embedding(table, c)):
        for bad in ([3], [-1]):
            with pytest.raises(ValueError, match=r"codes must be in \[0, 3\)"):
                call(bad)
        with pytest.raises(TypeError, match="codes must be integers"):
            call(array([0.5]))


# --- Layers as functions -----------------------------------------------------------------------


def test_convolution_refuses_what_does_not_fit(leaf):
    x, w = leaf(np.zeros((1, 5, 5, 3))), leaf(np.zeros((3, 3, 2, 4)))
    with pytest.raises(ValueError, match=r"Expect: x with 2 channels") as error:
        minae.conv2d(x, w)
    assert "in conv2d(float64[1, 5, 5, 3], float64[3, 3, 2, 4], None)" in error.value.__notes__
    with pytest.raises(ValueError, match="does not fit the image"):
        minae.conv2d(leaf(np.zeros((1, 2, 2, 2))), w)
    with pytest.raises(ValueError, match=r"batch, height, width, in"):
        minae.conv2d(leaf(np.zeros((1, 2, 5, 5))), w)  # channels first
    for bad in (2.0, "same", (1, 2, 3), (1.0, 1)):
        with pytest.raises(TypeError, match=r"stride must be an integer or a pair"):
            minae.conv2d(x, w, stride=bad)
    with pytest.raises(ValueError, match=r"Expect: images .*, in\)\s+Actual: float64"):
        minae.conv_transpose2d(x, w)
    with pytest.raises(ValueError, match=r"bias \(3,\) must be \(4,\)"):
        minae.conv2d(leaf(np.zeros((1, 5, 5, 2))), w, leaf(np.zeros(3)))
    with pytest.raises(ValueError, match="output_padding"):
        minae.conv_transpose2d(leaf(np.zeros((1, 2, 2, 4))), w, stride=2, output_padding=2)


def test_transposed_convolution_is_the_adjoint(leaf, numpy):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 6, 7, 3)), rng.standard_normal((3, 2, 3, 4))
    y = minae.conv2d(leaf(x), leaf(w), stride=2, padding=1)
    z = rng.standard_normal(y.shape)
    back = minae.conv_transpose2d(leaf(z), leaf(w), stride=2, padding=1, output_padding=(1, 1))
    assert back.shape == x.shape
    assert float((y * leaf(z)).sum()) == pytest.approx(float((back * leaf(x)).sum()))


def test_group_norm_refuses_unequal_groups(leaf):
    with pytest.raises(ValueError, match="6 channels do not form 4 equal groups"):
        minae.group_norm(leaf(np.zeros((2, 3, 6))), 4)


def test_attention_mask(leaf, array, numpy):
    rng = np.random.default_rng(0)
    q, k, v = (leaf(rng.standard_normal((2, 3, 4))) for _ in range(3))
    nowhere = np.tri(3, dtype=bool)
    nowhere[1] = False
    out = minae.attention(q, k, v, array(nowhere))
    np.testing.assert_array_equal(numpy(out)[:, 1], np.zeros((2, 4)))
    np.testing.assert_allclose(numpy(out)[:, 0], numpy(v)[:, 0])
    out.sum().backward()
    assert np.isfinite(numpy(q.grad)).all() and (numpy(q.grad)[:, 1] == 0).all()
    with pytest.raises(TypeError, match="mask must be boolean"):
        minae.attention(q, k, v, array(np.zeros((3, 3))))


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 5, 4)])
@pytest.mark.parametrize("way", ["a mask", "an argument"])
def test_causal_attention_does_not_see_the_future(shape, way, leaf, numpy):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    changed = x.copy()
    changed[..., 3:, :] += 1
    how = {"mask": minae.causal_mask(5)} if way == "a mask" else {"causal": True}
    before, after = (
        numpy(minae.attention(leaf(t), leaf(t), leaf(t), **how)) for t in (x, changed)
    )
    np.testing.assert_array_equal(before[..., :3, :], after[..., :3, :])
    assert (before[..., 3:, :] != after[..., 3:, :]).all()


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
@pytest.mark.parametrize("queries, keys", [(4, 4), (2, 5), (5, 2)])
def test_causal_is_the_causal_mask_beside_another(leading, queries, keys, leaf, array, numpy):
    rng = np.random.default_rng(1)
    qkv = [leaf(rng.standard_normal((*leading, n, 3))) for n in (queries, keys, keys)]
    seen, mask = minae.causal_mask(queries, keys), array(rng.random((queries, keys)) < 0.8)
    for first, second in [({"causal": True}, {"mask": seen}),
                          ({"causal": True, "mask": mask}, {"mask": mask & seen})]:
        found, want = (minae.attention(*qkv, **how) for how in (first, second))
        np.testing.assert_allclose(numpy(found), numpy(want), atol=1e-12)
        for g, h in zip(grad(found.sum(), qkv), grad(want.sum(), qkv), strict=True):
            np.testing.assert_allclose(numpy(g), numpy(h), atol=1e-12)


def test_a_mask_that_fits_no_scores_is_refused(leaf, array, numpy):
    """The scores are as wide as query, key and bias together."""
    rng = np.random.default_rng(2)
    x, heads = leaf(rng.standard_normal((4, 3))), leaf(rng.standard_normal((2, 3, 4, 3)))
    for q, shape in [(x, (2, 4, 4)), (x, (4, 3)), (heads, (5, 1, 1, 1)), (heads, (1, 2, 3, 4, 4))]:
        with pytest.raises(ValueError, match="mask that broadcasts to"):
            minae.attention(q, q, q, array(np.ones(shape, bool)))
    mask = rng.random((2, 4, 4)) < 0.7
    out = minae.attention(x, x, x, array(mask), array(np.zeros((2, 1, 4))))
    for i in range(2):
        alone = minae.attention(x, x, x, array(mask[i]))
        np.testing.assert_allclose(numpy(out)[i], numpy(alone), atol=1e-12)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1)])
def test_weights_of_a_norm_and_a_bias_may_broadcast(shape, leaf, numpy):
    rng = np.random.default_rng(3)
    x, w = leaf(rng.standard_normal((3, 4))), leaf(rng.standard_normal((4, 4)))
    weight, bias = (leaf(rng.standard_normal(shape)) for _ in range(2))
    for y, want in [
        (minae.layer_norm(x, weight, bias), minae.standardize(x, axis=-1) * weight + bias),
        (minae.linear(x, w, bias), x @ w + bias),
    ]:
        np.testing.assert_allclose(numpy(y), numpy(want), atol=1e-12)
        for g, h in zip(grad((y * y).sum(), [x, bias]), grad((want * want).sum(), [x, bias])):
            assert g.shape == h.shape
            np.testing.assert_allclose(numpy(g), numpy(h), atol=1e-12)


def test_dropout(leaf, numpy):
    x = leaf(np.ones((100, 100)), "float32")
    y = minae.dropout(x, 0.25, rng=np.random.default_rng(0))
    kept = numpy(y) != 0
    assert y.dtype == "float32" and abs(kept.mean() - 0.75) < 0.02
    np.testing.assert_allclose(numpy(y)[kept], 1 / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(numpy(grad(y.sum(), x)), numpy(y))
    for p in (1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="0 <= p < 1"):
            minae.dropout(x, p)
    rng = np.random.default_rng(0)
    assert minae.dropout(x, 0.0, rng=rng) is x
    assert rng.random() == np.random.default_rng(0).random()


SHAPES = [(3, 4), (1, 1), (0, 4), (2, 3, 4)]
COMPOSITES = {
    "mean": lambda x: minae.mean(x, -1),
    "var": lambda x: minae.var(x, (0, -1), keepdims=True, correction=1) if x.size > 1 else x,
    "std": lambda x: minae.std(x, -1),
    "norm": lambda x: minae.norm(x, -1),
    "gelu": minae.gelu,
    "gelu_tanh": minae.gelu_tanh,
    "silu": minae.silu,
    "leaky_relu": minae.leaky_relu,
    "elu": lambda x: minae.elu(x, 0.7),
    "standardize": lambda x: minae.standardize(x, -1, 0.1),
    "layer_norm": lambda x: minae.layer_norm(x, x[0] if len(x) else None, eps=0.1),
    "group_norm": lambda x: minae.group_norm(x, 1, eps=0.1),
    "batch_norm": lambda x: minae.batch_norm(x, 0.5 * x, x * x, eps=0.5),
    "linear": lambda x: minae.linear(x, x.reshape(-1, x.shape[-1]).T, 0.5),
    "attention": lambda x: minae.attention(x, x, x),
    "mish": minae.mish,
    "selu": minae.selu,
    "glu": lambda x: minae.glu(x, 0) if x.shape[0] % 2 == 0 else x,
    "log_sigmoid": minae.log_sigmoid,
    "log1mexp": lambda x: minae.log1mexp(-minae.exp(x)),
    "rms_norm": lambda x: minae.rms_norm(x, x[0] if len(x) else None, eps=0.1),
    "instance_norm": lambda x: minae.instance_norm(x[None], eps=0.1) if x.size else x,
    "top_k": lambda x: minae.top_k(x, 1)[0] if x.size else x,
    "masked_fill": lambda x: minae.masked_fill(x, x.array > 0, 2.0),
    "segment_sum": lambda x: minae.segment_sum(x, _halves(x), 3),
    "segment_mean": lambda x: minae.segment_mean(x, _halves(x), 3),
    "segment_softmax": lambda x: minae.segment_softmax(x, _halves(x), 3),
    "segment_max": lambda x: minae.segment_max(x, _halves(x), 2) if len(x) > 1 else x,
    "avg_pool1d": lambda x: minae.avg_pool1d(x[None, ..., None].reshape(1, -1, 1), 3, 1, 1)
    if x.size > 2 else x,
    "max_pool1d": lambda x: minae.max_pool1d(x[None, ..., None].reshape(1, -1, 1), 3, 2, 1)
    if x.size > 2 else x,
    "adaptive_avg_pool1d": lambda x: minae.adaptive_avg_pool1d(x.reshape(1, -1, 1), 3)
    if x.size else x,
    "adaptive_max_pool1d": lambda x: minae.adaptive_max_pool1d(x.reshape(1, -1, 1), 3)
    if x.size else x,
    "upsample_nearest": lambda x: minae.upsample_nearest(x.reshape(1, -1, 1), 2),
    "pixel_shuffle": lambda x: minae.pixel_shuffle(x.reshape(1, -1, 4), 2) if x.size > 1 else x,
    "reflect_pad": lambda x: minae.reflect_pad(x.reshape(-1), [(1, 0)]) if x.size > 1 else x,
    "conv1d": lambda x: minae.conv1d(x.reshape(1, -1, 1), x.reshape(-1, 1, 1)[:3], padding=1)
    if x.size > 2 else x,
    "conv_transpose1d": lambda x: minae.conv_transpose1d(
        x.reshape(1, -1, 1), x.reshape(-1, 1, 1)[:3], stride=2)
    if x.size > 2 else x,
    "attention with a bias": lambda x: minae.attention(x, x, x, bias=x @ x.swapaxes(-1, -2)),
    "huber_loss": lambda x: minae.huber_loss(x, x * x, 0.3, reduction="sum"),
    "l1_loss": lambda x: minae.l1_loss(x, 2 * x * x, reduction="sum"),
    "kl_div": lambda x: minae.kl_div(minae.log_softmax(x), minae.softmax(2 * x), reduction="sum"),
    "cosine_similarity": lambda x: minae.cosine_similarity(x, x * x),
    "binary_cross_entropy": lambda x: minae.binary_cross_entropy(
        minae.sigmoid(x), minae.sigmoid(2 * x), reduction="sum"),
    "binary_cross_entropy_with_logits": lambda x: minae.binary_cross_entropy_with_logits(
        x, minae.sigmoid(2 * x), pos_weight=2.0, reduction="sum"),
    "mse_loss": lambda x: minae.mse_loss(x, x * x) if x.size else x,
    "cross_entropy": lambda x: minae.cross_entropy(x, np.zeros(x.shape[:-1], int)) if x.size else x,
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", COMPOSITES)
def test_second_derivatives(name, shape, array):
    if name == "cross_entropy" and 0 not in shape:
        labels = array(np.zeros(shape[:-1], int))
        check_grads(lambda x: minae.cross_entropy(x, labels), [_values(shape)])
    else:
        check_grads(COMPOSITES[name], [_values(shape)], tolerance=3e-6)


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
@pytest.mark.parametrize("name", COMPOSITES)
def test_float32_stays_float32(name, array):
    if name == "cross_entropy":
        return
    x = Tensor(array(_values((3, 4)), "float32"), requires_grad=True)
    y = COMPOSITES[name](x)
    (gradient,) = grad(y.sum(), [x], create_graph=True)
    assert y.dtype == gradient.dtype == "float32"


def _halves(x):
    return np.arange(len(x)) % 2


def _values(shape):
    """Entries far from the kinks at 0 and from each other."""
    count = int(np.prod(shape))
    spaced = (np.arange(count) - count // 2 + 0.5) / 4
    return np.random.default_rng(0).permutation(spaced).reshape(shape)
