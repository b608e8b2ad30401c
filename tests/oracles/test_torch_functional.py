"""Every function of minae.functional against PyTorch, as test_torch_ops.py does for the ops."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import test_torch_losses
import test_torch_pooling
from test_torch_ops import (
    INF,
    MASK,
    MASKED,
    TIED,
    TOLERANCES,
    Row,
    agree,
    check,
    label,
    positive,
    reductions,
)

import minae
from minae import Tensor, functional

torch = pytest.importorskip("torch", reason="PyTorch is an oracle: pip install minae[oracles]")

tf = torch.nn.functional


def row(name: str, case: str, theirs: Callable, *inputs: Any, **options: Any) -> Row:
    """A row whose two functions differ in their options alone, which ``theirs`` has bound."""
    function = getattr(functional, name)
    return Row(name, case, lambda *xs: function(*xs, **options), theirs, inputs)


def images(x: Any) -> Any:
    """Features first, as PyTorch wants them."""
    return x.movedim(-1, 1)


def features_last(x: Any) -> Any:
    return x.movedim(1, -1)


# --- Statistics and rearranging --------------------------------------------------------------


def spread(function: Callable, correction: float) -> Callable:
    return lambda x, dim, keepdim: function(x, dim=dim, keepdim=keepdim, correction=correction)


def unbiased(x: Any, axis: Any, keepdims: bool) -> Any:
    return minae.var(x, axis, keepdims, correction=1)


def unbiased_std(x: Any, axis: Any, keepdims: bool) -> Any:
    return minae.std(x, axis, keepdims, correction=1.5)


def pieces(sections: int | list, axis: int, number: int) -> Row:
    return Row(
        "split", f"{sections} along {axis}, piece {number}",
        lambda x: minae.split(x, sections, axis)[number],
        lambda x: torch.tensor_split(x, sections, axis)[number], ((4, 6),),
    )


def taken(case: str, indices: Any, axis: int, x: Any = (3, 4)) -> Row:
    return Row(
        "take_along_axis", case, lambda x, i: minae.take_along_axis(x, i, axis),
        lambda x, i: torch.take_along_dim(x, i, axis), (x, indices),
    )


def put(x: Any, values: Any, index: Any) -> Any:
    """A copy of ``x`` with ``values`` at ``index``."""
    x = x.clone()
    x[index] = values
    return x


def changed(name: str, case: str, values: Any, index: Any = None, *arrays: list) -> Row:
    """index_add or index_update of a (4, 3) array, at ``index`` or else at ``arrays``."""
    function = getattr(functional, name)

    def at(arrays):
        return index if index is not None else arrays if len(arrays) > 1 else arrays[0]

    def theirs(x, values, *arrays):
        if name == "index_update":
            return put(x, values, at(arrays))
        if not arrays:
            return x + put(torch.zeros_like(x), values, index)
        return torch.index_put(x, arrays, values, accumulate=True)

    return Row(
        name, case, lambda x, v, *arrays: function(x, at(arrays), v), theirs,
        ((4, 3), values, *arrays),
    )


SEGMENTS = {
    "segment_sum": lambda x, i: total(x, i),
    "segment_mean": lambda x, i: total(x, i) / sizes(x, i).clamp(min=1),
    "segment_max": lambda x, i: torch.full((4, *x.shape[1:]), -INF, dtype=x.dtype).scatter_reduce(
        0, i.reshape(-1, *(1,) * (x.ndim - 1)).expand_as(x), x, "amax", include_self=False
    ),
    "segment_softmax": lambda x, i: torch.exp(x) / total(torch.exp(x), i)[i],
}


def total(x: Any, segments: Any) -> Any:
    return torch.zeros(4, *x.shape[1:], dtype=x.dtype).index_add(0, segments, x)


def sizes(x: Any, segments: Any) -> Any:
    return segments.bincount(minlength=4).to(x.dtype).reshape(4, *(1,) * (x.ndim - 1))


def segments(name: str, shape: tuple) -> Row:
    """Segment 1 is empty."""
    where = np.reshape([2, 0, 3, 2, 2, 0], shape[: 1 + (shape[0] == 2)])

    def theirs(x, i):
        y = SEGMENTS[name](x.reshape(6, *x.shape[i.ndim:]), i.reshape(-1))
        return y.reshape(x.shape) if name == "segment_softmax" else y

    return Row(
        name, f"{shape}", lambda x, i: getattr(minae, name)(x, i, 4), theirs,
        (shape, where.tolist()),
    )


def curve(x: Any, w: Any) -> Any:
    return minae.tanh(x @ w)


def reversed_by_a_quarter(x: Any) -> Any:
    """The values of x, of which -x / 4 alone is not constant."""
    return x.detach() * 1.25 - 0.25 * x


REARRANGING = [
    *reductions("mean", minae.mean, torch.mean),
    *reductions("var", minae.var, spread(torch.var, 0)),
    *reductions("var", unbiased, spread(torch.var, 1)),
    *reductions("std", minae.std, spread(torch.std, 0)),
    *reductions("std", unbiased_std, spread(torch.std, 1.5)),
    *reductions("norm", minae.norm, torch.linalg.vector_norm),
    *(pieces(3, 1, number) for number in range(3)),
    *(pieces(2, -2, number) for number in range(2)),
    *(pieces([1, 4], -1, number) for number in range(3)),
    pieces(1, 0, 0),
    taken("last axis", [[0, 3, 3], [1, 1, 1], [2, 0, 1]], -1),
    taken("first axis", [[0, 2, 2, 1], [1, 1, 2, 0]], 0),
    taken("one each", [[[1], [0]], [[2], [2]]], 2, (2, 2, 3)),
    row("sort", "last axis", lambda x: x.sort(-1).values, (3, 5)),
    row("sort", "first axis", lambda x: x.sort(0).values, (5, 3), axis=0),
    row("sort", "ties", lambda x: x.sort(dim=-1, stable=True).values, TIED),
    row("sort", "middle axis, ties", lambda x: x.sort(dim=-2, stable=True).values, TIED, axis=-2),
    *(
        each
        for name in ("index_add", "index_update")
        for each in (
            changed(name, "an integer", (3,), -1),
            changed(name, "a slice", (2, 3), slice(1, 3)),
            changed(name, "slices", (2, 1), (slice(0, 4, 2), slice(1, 3))),
            changed(name, "broadcast", (), slice(1, 3)),
            changed(name, "rows", (3, 3), None, [2, 0, -1]),
            changed(name, "rows, broadcast", (3,), None, [2, 0]),
            changed(name, "pairs", (3,), None, [2, 0, 1], [1, 1, -3]),
            changed(name, "a mask", (7,), None, MASK),
        )
    ),
    changed("index_add", "rows, some twice", (4, 3), None, [2, 0, 2, -2]),
    changed("index_add", "pairs, some twice", (4,), None, [2, 0, 2, 0], [1, 1, 1, -2]),
    Row(
        "index_update", "the last of two stays", lambda x, v, i: minae.index_update(x, i, v),
        lambda x, v, i: torch.stack([v[2], x[1], v[3], x[3]]), ((4, 3), (4, 3), [0, 2, 0, -2]),
    ),
    Row(
        "index_update", "a number", lambda x, i: minae.index_update(x, i, -1.5),
        lambda x, i: x.index_fill(0, i, -1.5), ((4, 3), [0, 2]),
    ),
    Row(
        "index_add", "a number", lambda x: minae.index_add(x, (slice(None), 1), 2.0),
        lambda x: x + torch.tensor([0.0, 2.0, 0.0]), ((4, 3),),
    ),
    *(
        Row(
            "one_hot", dtype, lambda codes, dtype=dtype: minae.one_hot(codes, 5, dtype),
            lambda codes: tf.one_hot(codes, 5), ([[0, 4, 4], [2, 1, 0]],), dtype,
        )
        for dtype in ("float32", "float64")
    ),
    *(
        Row(
            "top_k", f"{k} along {axis}", lambda x, k=k, axis=axis: minae.top_k(x, k, axis)[0],
            lambda x, k=k, axis=axis: torch.topk(x, k, axis)[0], ((3, 4, 5),),
        )
        for k, axis in ((0, 0), (1, -1), (3, 1), (5, 2))
    ),
    Row(
        "masked_fill", "broadcast", lambda x, m: minae.masked_fill(x, m, 3.0),
        lambda x, m: x.masked_fill(m, 3.0), ((2, 3, 4), [[True], [False], [True]]),
    ),
    *(segments(name, shape) for name in SEGMENTS for shape in ((6,), (6, 3), (2, 3, 2))),
    Row(
        "stop_gradient", "a product", lambda x: x * minae.stop_gradient(x * x),
        lambda x: x * (x * x).detach(), ((3,),),
    ),
    Row(
        "reverse_gradient", "a product", lambda x: minae.reverse_gradient(x * x, 0.25) * x,
        lambda x: reversed_by_a_quarter(x * x) * x, ((3,),),
    ),
    Row(
        "checkpoint", "one in another, sharing what they read",
        lambda x, w: minae.checkpoint(lambda x: minae.checkpoint(curve, x, w) * curve(x, w), x * x),
        lambda x, w: torch.tanh(x * x @ w) ** 2, ((2, 3), (3, 3)),
    ),
]

# --- Linear maps and activations -------------------------------------------------------------


def conv(case: str, x: tuple, weight: tuple, **options: Any) -> list[Row]:
    def theirs(x, weight, bias=None):
        return features_last(tf.conv2d(images(x), weight.permute(3, 2, 0, 1), bias, **options))

    return [
        row("conv2d", case, theirs, x, weight, weight[3:], **options),
        row("conv2d", f"{case}, no bias", theirs, x, weight, **options),
    ]


def conv_transpose(case: str, x: tuple, weight: tuple, **options: Any) -> list[Row]:
    def theirs(x, weight, bias=None):
        weight = weight.permute(3, 2, 0, 1)
        return features_last(tf.conv_transpose2d(images(x), weight, bias, **options))

    bias = (weight[2] * options.get("groups", 1),)
    return [
        row("conv_transpose2d", case, theirs, x, weight, bias, **options),
        row("conv_transpose2d", f"{case}, no bias", theirs, x, weight, **options),
    ]


LINEAR = [
    *(
        row("linear", f"{x}", lambda x, w, b=None: tf.linear(x, w.T, b), x, (3, 4), *bias)
        for x in ((3,), (2, 3), (2, 5, 3))
        for bias in ((), ((4,),))
    ),
    row("embedding", "one code", lambda w, i: tf.embedding(i, w), (5, 3), 2),
    row("embedding", "some twice", lambda w, i: tf.embedding(i, w), (5, 3), [[0, 4, 4], [4, 1, 0]]),
    *conv("defaults", (2, 5, 6, 3), (3, 2, 3, 4)),
    *conv("integers", (1, 8, 8, 2), (3, 3, 2, 3), stride=2, padding=1, dilation=2),
    *conv("pairs", (1, 7, 8, 2), (2, 3, 2, 3), stride=(2, 1), padding=(0, 2), dilation=(1, 2)),
    *conv("groups", (2, 4, 4, 6), (2, 2, 2, 3), groups=3, padding=1),
    *conv_transpose("defaults", (2, 3, 4, 3), (3, 2, 4, 3)),
    *conv_transpose("integers", (1, 3, 4, 2), (3, 3, 2, 2), stride=2, padding=1, dilation=2),
    *conv_transpose("output_padding", (1, 3, 4, 2), (3, 4, 2, 2), stride=2, output_padding=1),
    *conv_transpose(
        "pairs", (1, 3, 4, 2), (2, 3, 2, 2),
        stride=(3, 1), padding=(1, 2), output_padding=(2, 0), dilation=(1, 2),
    ),
    *conv_transpose("groups", (2, 3, 3, 6), (2, 2, 1, 6), stride=2, groups=3),
    *(row("selu", f"{x}", tf.selu, x) for x in ((3, 4), [-30.0, -5.0, 0.5, 30.0])),
    *(row("log_sigmoid", f"{x}", tf.logsigmoid, x) for x in ((3, 4), [-300.0, 0.0, 300.0])),
    *(row("glu", f"{axis=}", lambda x, axis=axis: tf.glu(x, axis), (2, 4, 6), axis=axis)
      for axis in (-1, 1)),
]

# --- Losses ----------------------------------------------------------------------------------


def cross_entropy(case: str, logits: Any, labels: list) -> Row:
    return row(
        "cross_entropy", case,
        lambda x, i: tf.cross_entropy(x.reshape(-1, x.shape[-1]), i.reshape(-1)), logits, labels,
    )


LOSSES = [
    *(
        row(name, f"{shape}", getattr(tf, name), shape, shape)
        for name in ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits")
        for shape in ((), (5,), (2, 3, 4))
    ),
    row("l1_loss", "equal entries", tf.l1_loss, [1.0, 2.0, 3.0], [1.0, 4.0, -3.0]),
    row(
        "binary_cross_entropy_with_logits", "certain", tf.binary_cross_entropy_with_logits,
        [-300.0, 300.0, 300.0, 0.0], [0.0, 0.0, 1.0, 0.5],
    ),
    cross_entropy("one", (5,), 3),
    cross_entropy("rows", (4, 5), [0, 4, 4, 2]),
    cross_entropy("batches of rows", (2, 3, 5), [[0, 4, 4], [2, 3, 0]]),
    cross_entropy("certain", [[300.0, -300.0], [-300.0, 300.0], [0.5, 0.1]], [1, 1, 0]),
    cross_entropy("masked classes", MASKED, [0, 2, 1]),
]

# --- Normalisation and attention -------------------------------------------------------------


def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return tf.layer_norm(x, x.shape[-1:], weight, bias, eps)


def group_norm(case: str, x: tuple, groups: int, *affine: tuple, eps: float = 1e-5) -> Row:
    return Row(
        "group_norm", f"{case}, {groups} groups",
        lambda x, *affine: minae.group_norm(x, groups, *affine, eps=eps),
        lambda x, *affine: features_last(tf.group_norm(images(x), groups, *affine, eps=eps)),
        (x, *affine),
    )


def batch_norm(x: Any, mean: Any, var: Any, weight: Any = 1, bias: Any = 0) -> Any:
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias  # tf.batch_norm holds var constant


def in_training(x: Any, weight: Any, bias: Any) -> Any:
    axes = tuple(range(x.ndim - 1))
    return minae.batch_norm(x, minae.mean(x, axes), minae.var(x, axes), weight, bias, eps=1e-3)


def in_evaluation(x: Any, weight: Any, bias: Any, mean: Any, var: Any) -> Any:
    return minae.batch_norm(x, mean.astype(x.dtype), var.astype(x.dtype), weight, bias)


def attention(query: Any, key: Any, value: Any, mask: Any = None) -> Any:
    # The other backends have gradients of first order only.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return tf.scaled_dot_product_attention(query, key, value, mask)


def biased(query: Any, key: Any, value: Any, mask: Any, bias: Any) -> Any:
    return attention(query, key, value, torch.where(mask, bias, -INF))


def dropped(p: float, seed: int) -> Row:
    """Which entries go is the generator's to say; NumPy's is asked for the same numbers."""

    def theirs(x):
        kept = np.random.default_rng(seed).random(tuple(x.shape), dtype="float32") >= p
        return torch.where(torch.tensor(kept), x / (1 - p), 0.0)

    return Row(
        "dropout", f"{p=}", lambda x: minae.dropout(x, p, np.random.default_rng(seed)), theirs,
        ((20, 30),),
    )


LOOK = [[True, False, True, True, False], [False, True, False, False, False], [True] * 5]

NORMALISATION = [
    row("layer_norm", "no affine map", layer_norm, (2, 3, 4)),
    row("layer_norm", "weight", layer_norm, (3, 4), (4,)),
    row("layer_norm", "weight and bias", layer_norm, (2, 3, 4), (4,), (4,)),
    row("layer_norm", "eps", lambda x: layer_norm(x, eps=0.1), (3, 4), eps=0.1),
    row("rms_norm", "no weight", lambda x: tf.rms_norm(x, (4,), eps=1e-6), (2, 3, 4)),
    row("rms_norm", "weight", lambda x, w: tf.rms_norm(x, (4,), w, 0.1), (3, 4), (4,), eps=0.1),
    *(
        row(
            "instance_norm", f"{shape}",
            lambda x, w, b: features_last(tf.instance_norm(images(x), weight=w, bias=b)),
            shape, (4,), (4,),
        )
        for shape in ((2, 5, 4), (2, 3, 2, 4))
    ),
    *(group_norm("images", (2, 3, 2, 6), groups, (6,), (6,)) for groups in (1, 2, 6)),
    group_norm("sequences", (2, 5, 4), 2, (4,)),
    group_norm("features", (3, 6), 2, eps=0.1),
    row("batch_norm", "no affine map", batch_norm, (2, 3, 4), (4,), positive(4)),
    row("batch_norm", "affine map", batch_norm, (2, 3, 4), (4,), positive(4), (4,), (4,)),
    Row(
        "batch_norm", "in training", in_training,
        lambda x, weight, bias: features_last(
            tf.batch_norm(images(x), None, None, weight, bias, training=True, eps=1e-3)
        ),
        ((3, 2, 4, 5), (5,), (5,)),
    ),
    Row(
        "batch_norm", "in evaluation", in_evaluation,
        lambda x, weight, bias, mean, var: features_last(
            tf.batch_norm(images(x), mean.to(x.dtype), var.to(x.dtype), weight, bias)
        ),
        ((3, 2, 4), (4,), (4,), [0, 1, -2, 3], [1, 2, 3, 4]),
    ),
    row("attention", "one head", attention, (3, 4), (5, 4), (5, 2)),
    row("attention", "heads", attention, (2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4)),
    row("attention", "a mask", attention, (2, 3, 4), (2, 5, 4), (2, 5, 2), LOOK),
    row("attention", "a mask each", attention, (2, 3, 4), (2, 5, 4), (2, 5, 2), [LOOK, LOOK[::-1]]),
    row(
        "attention", "broadcast",
        lambda q, k, v: torch.softmax(q @ k.mT / 2, -1) @ v,
        (2, 3, 4), (5, 4), (3, 1, 5, 2),
    ),
    row("attention", "a bias", biased, (2, 3, 4), (2, 5, 4), (2, 5, 2), LOOK, (3, 5)),
    *(
        Row(
            "attention", f"causal, {case}", lambda *qkv, how=how: minae.attention(*qkv, **how),
            lambda *qkv: attention(*qkv, torch.ones(4, 4, dtype=torch.bool).tril()), (shape,) * 3,
        )
        for case, how, shape in (
            ("by a mask", {"mask": minae.causal_mask(4)}, (2, 4, 3)),
            ("of sequences", {"causal": True}, (2, 4, 3)),
            ("of heads", {"causal": True}, (2, 3, 4, 3)),
        )
    ),
    Row(
        "causal_mask", "4", lambda: minae.causal_mask(4),
        lambda: torch.ones(4, 4, dtype=torch.bool).tril(), (), "bool",
    ),
    dropped(0.0, 1),
    dropped(0.5, 2),
    dropped(0.9, 3),
]

ROWS = REARRANGING + LINEAR + LOSSES + NORMALISATION


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("row", ROWS, ids=label)
def test_function_agrees_with_torch(row, dtype, array, numpy):
    check(row, dtype, array, numpy)


def test_every_function_has_a_row():
    public = {name for name, _ in inspect.getmembers(functional, inspect.isfunction)}
    rows = {row.name for row in ROWS + test_torch_losses.ROWS} | test_torch_pooling.NAMES
    assert public == rows | {"nll_loss"}  # of which test_torch_losses.py has more


# --- Where minae differs on purpose ----------------------------------------------------------


def test_elu_at_0(array, numpy):
    """The second derivative is that of the branch, alpha; PyTorch's is 0 though x <= 0 takes it."""
    x = Tensor(array([-1.0, 0.0, -0.0]), requires_grad=True)
    z = torch.tensor([-1.0, 0.0, -0.0], dtype=torch.float64, requires_grad=True)
    ones = array([1.0, 1.0, 1.0])
    y = minae.elu(x, 0.7)
    agree(numpy(y), tf.elu(z, 0.7), 1e-10, "values")
    gradient = minae.grad(y, x, ones, create_graph=True)
    agree(numpy(gradient), *torch.autograd.grad(tf.elu(z, 0.7).sum(), z), 1e-10, "gradient")
    second = minae.grad(gradient, x, ones)
    agree(numpy(second), 0.7 * torch.exp(z), 1e-10, "second-order gradient")


def test_output_padding_stays_below_the_stride(array):
    """More rows would be ones that the convolution never read; PyTorch allows a dilation's worth"""
    x, weight = array(np.ones((1, 3, 3, 1))), array(np.ones((2, 2, 1, 1)))
    with pytest.raises(ValueError, match="output_padding"):
        minae.conv_transpose2d(x, weight, output_padding=(0, 1), dilation=(1, 2))


@pytest.mark.parametrize("function", [minae.norm, minae.std, minae.var])
def test_where_nothing_varies_the_gradient_is_0(function, array, numpy):
    """PyTorch's is 0 for the norm and NaN for the standard deviation."""
    x = Tensor(array([[0.0, 0.0, 0.0], [1.0, 2.0, 2.0]]), requires_grad=True)
    y = function(x, axis=1)
    gradient = numpy(minae.grad(y, x, array([1.0, 1.0])))
    assert numpy(y)[0] == 0
    assert gradient[0].tolist() == [0, 0, 0]
    assert gradient[1].all()


def test_a_query_that_may_look_nowhere_gets_0(array, numpy):
    rng = np.random.default_rng(0)
    qkv = [rng.standard_normal(shape) for shape in ((3, 4), (5, 4), (5, 2))]
    mask = np.array([LOOK[0], [False] * 5, LOOK[2]])
    ours = [Tensor(array(x), requires_grad=True) for x in qkv]
    y = minae.attention(*ours, array(mask))
    assert numpy(y)[1].tolist() == [0, 0]
    seed = rng.standard_normal((3, 2))
    gradients = minae.grad(y, ours, array(seed))
    assert numpy(gradients[0])[1].tolist() == [0, 0, 0, 0]
    seen = [0, 2]  # the others' gradients are what they would be without it
    alone = [Tensor(array(x), requires_grad=True) for x in (qkv[0][seen], *qkv[1:])]
    expected = minae.grad(minae.attention(*alone, array(mask[seen])), alone, array(seed[seen]))
    for g, h in zip([gradients[0][array(seen)], *gradients[1:]], expected, strict=True):
        np.testing.assert_allclose(numpy(g), numpy(h), rtol=0, atol=1e-12)


def test_a_masked_class_as_the_label_costs_infinity(numpy):
    assert numpy(minae.cross_entropy(Tensor([[0.5, -INF]]), [1])) == INF
