"""Pooling, upsampling, pixel shuffle, padding by reflection and convolution along time, over drawn
shapes and options, against PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_torch_ops import Row, check

import minae

torch = pytest.importorskip("torch", reason="PyTorch is an oracle: pip install minae[oracles]")

tf = torch.nn.functional
NAMES = {
    "avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "upsample_nearest",
    "pixel_shuffle", "reflect_pad", "conv1d", "conv_transpose1d",
}  # fmt: skip


def features_first(function: Callable) -> Callable:
    """A function of PyTorch's that takes and gives our layout."""
    return lambda x, *args: function(x.movedim(-1, 1), *args).movedim(1, -1)


@st.composite
def pools(draw: Any) -> tuple:
    """The number of axes, a shape, and kernel, stride and padding that fit it."""
    axes = draw(st.integers(1, 2))
    each = [draw(st.integers(1, 4)) for _ in range(axes)]
    kernel = tuple(each)
    stride = draw(st.none() | st.tuples(*[st.integers(1, 3)] * axes))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    space = [draw(st.integers(max(k - 2 * p, 1), 8)) for k, p in zip(kernel, padding)]
    return axes, (draw(st.integers(1, 2)), *space, draw(st.integers(1, 3))), kernel, stride, padding


def turned(weight: Any) -> Any:
    return weight.permute(2, 1, 0).contiguous()


def plain(steps: Any, axes: int) -> Any:
    """A tuple of one as the integer that it holds."""
    return steps[0] if axes == 1 and steps is not None else steps


@settings(max_examples=80)
@given(pools(), st.booleans(), st.booleans(), st.sampled_from(["float32", "float64"]))
def test_pooling(array, numpy, pool, ceil, include, dtype):
    axes, shape, kernel, stride, padding = pool
    given = [plain(each, axes) for each in (kernel, stride, padding)]
    average = getattr(minae, f"avg_pool{axes}d"), getattr(tf, f"avg_pool{axes}d")
    largest = getattr(minae, f"max_pool{axes}d"), getattr(tf, f"max_pool{axes}d")
    options = {"ceil_mode": ceil, "count_include_pad": include}
    check(Row(
        "avg_pool", "drawn", lambda x: average[0](x, *given, **options),
        features_first(lambda x: average[1](x, *given, **options)), (shape,),
    ), dtype, array, numpy)  # fmt: skip
    check(Row(
        "max_pool", "drawn", lambda x: largest[0](x, *given, ceil_mode=ceil),
        features_first(lambda x: largest[1](x, *given, ceil_mode=ceil)), (shape,),
    ), dtype, array, numpy)  # fmt: skip


@pytest.mark.parametrize("axes", [1, 2])
def test_the_gradient_of_a_maximum_goes_to_the_first_of_equals(axes, array, numpy):
    x = np.maximum(np.random.default_rng(0).integers(-3, 3, (2, *(6,) * axes, 2)), 0).astype("f8")
    ours, theirs = getattr(minae, f"max_pool{axes}d"), getattr(tf, f"max_pool{axes}d")
    check(Row(
        "max_pool", "ties", lambda x: ours(x, 3, 2, 1),
        features_first(lambda x: theirs(x, 3, 2, 1)), (x.tolist(),),
    ), "float64", array, numpy)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=2))
def test_adaptive_pooling(array, numpy, axes):
    space, size = [n for n, _ in axes], plain([m for _, m in axes], len(axes))
    for kind in ("avg", "max"):
        name = f"adaptive_{kind}_pool{len(axes)}d"
        ours, theirs = getattr(minae, name), getattr(tf, name)
        check(Row(
            name, "drawn", lambda x, ours=ours: ours(x, size),
            features_first(lambda x, theirs=theirs: theirs(x, size)), ((2, *space, 3),),
        ), "float64", array, numpy)  # fmt: skip


@settings(max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=2), st.integers(1, 3), st.integers(1, 3))
def test_larger_sequences_and_images(array, numpy, space, factor, channels):
    check(Row(
        "upsample_nearest", "drawn", lambda x: minae.upsample_nearest(x, factor),
        features_first(lambda x: tf.interpolate(x, scale_factor=factor)), ((2, *space, channels),),
    ), "float64", array, numpy)  # fmt: skip

    def shuffled(x):
        if len(space) == 2:
            return tf.pixel_shuffle(x, factor)
        batch, _, time = x.shape
        return x.reshape(batch, channels, factor, time).mT.reshape(batch, channels, -1)

    check(Row(
        "pixel_shuffle", "drawn", lambda x: minae.pixel_shuffle(x, factor),
        features_first(shuffled), ((2, *space, channels * factor ** len(space)),),
    ), "float64", array, numpy)  # fmt: skip


def test_factors_may_differ(numpy, array):
    x = array(np.arange(6.0).reshape(1, 2, 3, 1))
    tall = numpy(minae.upsample_nearest(x, (2, 1)))
    assert tall[0, :, :, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]


@settings(max_examples=40)
@given(st.data(), st.lists(st.integers(1, 6), min_size=1, max_size=2))
def test_reflection(array, numpy, data, space):
    width = [tuple(data.draw(st.integers(0, n - 1)) for _ in range(2)) for n in space]
    theirs = [n for pair in reversed(width) for n in pair]
    check(Row(
        "reflect_pad", "drawn", lambda x: minae.reflect_pad(x, [(0, 0), *width, (0, 0)]),
        features_first(lambda x: tf.pad(x, theirs, mode="reflect")), ((2, *space, 3),),
    ), "float64", array, numpy)  # fmt: skip


@settings(max_examples=60)
@given(st.data(), st.sampled_from(["float32", "float64"]))
def test_convolution_along_time(array, numpy, data, dtype):
    pick = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    kernel, groups = pick(1, 4), pick(1, 3)
    steps = {"stride": pick(1, 3), "padding": pick(0, 2), "dilation": pick(1, 2)}
    reach = steps["dilation"] * (kernel - 1) + 1 - 2 * steps["padding"]
    time = pick(max(reach, 1), 10)
    within, across = pick(1, 2), groups * pick(1, 2)
    weight = (kernel, within, across)
    check(Row(
        "conv1d", "drawn",
        lambda x, w, b: minae.conv1d(x, w, b, **steps, groups=groups),
        lambda x, w, b: tf.conv1d(x.mT, turned(w), b, **steps, groups=groups).mT,
        ((2, time, within * groups), weight, (across,)),
    ), dtype, array, numpy)  # fmt: skip
    extra = pick(0, steps["stride"] - 1)
    shortest = (2 * steps["padding"] - steps["dilation"] * (kernel - 1) - extra) // steps["stride"]
    time = pick(max(shortest + 2, 1), 8)
    more = steps | {"output_padding": extra, "groups": groups}
    check(Row(
        "conv_transpose1d", "drawn",
        lambda x, w, b: minae.conv_transpose1d(x, w, b, **more),
        lambda x, w, b: tf.conv_transpose1d(x.mT, turned(w), b, **more).mT,
        ((2, time, across), weight, (within * groups,)),
    ), dtype, array, numpy)  # fmt: skip
