"""Convolution by its definition, features last: patches of the images times a matrix of weights.

And its two gradients. Work goes in blocks that stay in cache, and the heavy part is BLAS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from minae.backend import Array, expect, xp

Pair = tuple[int, int]  # (vertical, horizontal)

_COLUMNS = 1 << 19  # elements per block of patches: 2 MB in float32
_LAYOUT = "x (batch, height, width, in), weight (kh, kw, in / groups, out)"


class Grid(NamedTuple):
    """Step, margin and spread of the filter, each as (vertical, horizontal); channel groups."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    relu: bool = False,
) -> Array:
    """Correlate images with a kernel: x (batch, height, width, in) to (batch, oh, ow, out).

    weight (kh, kw, in / groups, out), bias (out,); the result has their common dtype. With stride
    s, padding p (zeros on both sides) and dilation d, each (vertical, horizontal) in pixels::

        y[n, i, j, o] = bias[o] + sum over k, l, c of
            x[n, i s - p + k d, j s - p + l d, c] * weight[k, l, c, o]

    where c runs over the inputs of the group that o is in. The output height is
    (height + 2 p - d (kh - 1) - 1) // s + 1, likewise the width (Dumoulin & Visin 2016,
    relationship 6, for a kernel that is d (kh - 1) + 1 high). With ``relu``, what is below 0
    becomes 0; NaN stays.

    Raises ValueError where the channels, the groups or the sizes do not fit.
    """
    oh, ow = output_size(x.shape, weight.shape, stride, padding, dilation, groups)
    check_bias(bias, weight.shape[3])
    kh, kw, _, channels = weight.shape
    matrix = _split(weight, groups)  # (groups, kh * kw * in / groups, out / groups)
    dtype = xp.result_type(x, weight) if bias is None else xp.result_type(x, weight, bias)
    out = xp.empty((len(x), oh, ow, channels), dtype)
    edges = [(p, p) for p in padding]
    for images, columns in _columns(x, (kh, kw), stride, edges, dilation, groups):
        xp.matmul(columns, matrix, out=_split(out[images], groups))
    return _finished(out, bias, relu)


def _finished(out: Array, bias: Array | None, relu: bool) -> Array:
    if bias is not None:
        out += bias
    return xp.maximum(out, 0, out=out) if relu else out


def check_bias(bias: Array | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"bias {bias.shape} must be {(channels,)}: one for each channel")


def conv2d_input(
    g: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    size: Pair,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    relu: bool = False,
) -> Array:
    """The gradient of `conv2d` with respect to x, that is, the transposed convolution.

    g (batch, oh, ow, out), the gradient of the result; weight (kh, kw, in / groups, out); size
    (height, width) in pixels of what comes out, (batch, height, width, in), in their common dtype.
    Stride, padding, dilation and groups are those of the `conv2d`. bias (in,) is added and ``relu``
    applied, for a transposed convolution that is a layer.

    Output pixel Y = y + padding = stride * m + phase only sees the taps that are congruent to its
    phase, on the pixels of g around m: one dense correlation of g gives all phases as channels.

    Raises ValueError where the channels, the groups or the sizes do not fit.
    """
    expected = check_input(g.shape, weight.shape, size, stride, padding, dilation, groups)
    kh, kw, within, channels = weight.shape
    check_bias(bias, within * groups)
    shape = (len(g), *size, within * groups)
    # A dilated kernel with a stride becomes a dense one with zeros in between.
    steps = [d if s == 1 else 1 for s, d in zip(stride, dilation)]
    gaps = [d // e for d, e in zip(dilation, steps)]
    taps = [-(-((k - 1) * gap + 1) // s) for k, gap, s in zip((kh, kw), gaps, stride)]
    (th, tw), (sh, sw) = taps, stride
    dense = xp.zeros((th * sh, tw * sw, *weight.shape[2:]), weight.dtype)
    dense[: (kh - 1) * gaps[0] + 1 : gaps[0], : (kw - 1) * gaps[1] + 1 : gaps[1]] = weight
    matrix = dense.reshape(th, sh, tw, sw, within, groups, channels // groups)[::-1, :, ::-1]
    matrix = matrix.transpose(5, 0, 2, 6, 1, 3, 4).reshape(groups, -1, sh * sw * within)
    begin = [p // s for p, s in zip(padding, stride)]
    end = [-(-(p + n) // s) for p, n, s in zip(padding, size, stride)]
    edges = [
        ((t - 1) * e - b, f - n)
        for t, e, b, f, n in zip(taps, steps, begin, end, expected)
    ]
    high, wide = (f - b for f, b in zip(end, begin))
    top, left = (p % s for p, s in zip(padding, stride))
    dtype = xp.result_type(g, weight) if bias is None else xp.result_type(g, weight, bias)
    out = xp.empty(shape, dtype)
    for images, columns in _columns(g, (th, tw), (1, 1), edges, steps, groups):
        phases = xp.matmul(columns, matrix).reshape(groups, -1, high, wide, sh, sw, within)
        grid = phases.transpose(1, 2, 4, 3, 5, 0, 6).reshape(-1, high * sh, wide * sw, shape[3])
        out[images] = grid[:, top : top + size[0], left : left + size[1]]
    return _finished(out, bias, relu)


def check_input(shape, weight_shape, size, stride, padding, dilation, groups) -> Pair:
    """(oh, ow) of the convolution whose gradient has this shape, if that fits."""
    images = (shape[0], *size, weight_shape[2] * groups)
    expected = output_size(images, weight_shape, stride, padding, dilation, groups)
    if shape[1:] != (*expected, weight_shape[3]):
        wanted = f"g (batch, {expected[0]}, {expected[1]}, {weight_shape[3]})"
        raise ValueError(expect(f"{wanted} of size {size}, weight {weight_shape}", shape))
    return expected


def conv2d_weight(
    x: Array,
    g: Array,
    *,
    size: Pair,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """The gradient of `conv2d` with respect to the weight, (kh, kw, in / groups, out).

    x (batch, height, width, in); g (batch, oh, ow, out), the gradient of the result; size (kh, kw).
    ``stride``, ``padding``, ``dilation`` and ``groups`` are those of `conv2d`. The result has the
    common dtype of x and g.

    Raises ValueError where the channels, the groups or the sizes do not fit.
    """
    shape = check_weight(x.shape, g.shape, size, stride, padding, dilation, groups)
    within, channels = shape[2:]
    dtype = xp.result_type(x, g)
    total = xp.zeros((groups, size[0] * size[1] * within, channels // groups), dtype)
    edges = [(p, p) for p in padding]
    for images, columns in _columns(x, size, stride, edges, dilation, groups):
        total += xp.matmul(columns.swapaxes(1, 2), _split(g[images], groups))
    return total.swapaxes(0, 1).reshape(shape)


def check_weight(shape, g_shape, size, stride, padding, dilation, groups) -> tuple[int, ...]:
    """The shape of the weights that a convolution from x to g has, if there can be one."""
    weight_shape = (*size, shape[3] // max(groups, 1), g_shape[3])
    expected = output_size(shape, weight_shape, stride, padding, dilation, groups)
    if g_shape[:3] != (shape[0], *expected):
        needed = (shape[0], *expected, g_shape[3])
        raise ValueError(expect(f"g {needed} of x {shape}, size {size}", g_shape))
    return weight_shape


def output_size(shape, weight_shape, stride, padding, dilation, groups) -> Pair:
    """(oh, ow) of a convolution, once all that can be wrong with its shapes is not."""
    if len(shape) != 4 or len(weight_shape) != 4:
        raise ValueError(expect(_LAYOUT, shape, weight_shape))
    if 0 in (shape[3], weight_shape[3]):
        raise ValueError(f"there are no channels: x {shape}, weight {weight_shape} ({_LAYOUT})")
    if groups < 1 or shape[3] % groups or weight_shape[3] % groups:
        raise ValueError(f"{groups} groups do not divide channels {shape[3]} and {weight_shape[3]}")
    if shape[3] != weight_shape[2] * groups:
        wanted = f"x with {weight_shape[2] * groups} channels, {groups} groups ({_LAYOUT})"
        raise ValueError(expect(wanted, shape, weight_shape))
    if min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise ValueError(f"impossible {stride=}, {dilation=}, {padding=}")
    spare = [
        n + 2 * p - d * (k - 1) - 1
        for n, k, p, d in zip(shape[1:3], weight_shape[:2], padding, dilation)
    ]
    if min(spare) < 0 or min(weight_shape[:2]) < 1:
        raise ValueError(
            f"kernel {weight_shape[:2]} with {dilation=} does not fit the image {shape[1:3]} with"
            f" {padding=} ({_LAYOUT})"
        )
    return spare[0] // stride[0] + 1, spare[1] // stride[1] + 1


def _split(x: Array, groups: int) -> Array:
    """(..., channels) to (groups, rows, channels / groups); a view where x is contiguous."""
    return x.reshape(-1, groups, x.shape[-1] // groups).swapaxes(0, 1)


def _columns(x, size, stride, edges, dilation, groups) -> Iterator[tuple[slice, Array]]:
    """Per block of images: its slice, and its patches (groups, rows, kh * kw * in / groups).

    `edges` are the (before, after) paddings of height and width; negative ones crop. The patches
    share one buffer: use them before asking for the next.
    """
    batch, height, width, channels = x.shape
    (kh, kw), within = size, channels // groups
    if (kh, kw, *stride) == (1, 1, 1, 1) and not any(map(any, edges)):
        yield slice(batch), _split(x, groups)
        return
    (top, bottom), (left, right) = edges
    full = (height + top + bottom, width + left + right)
    x = x[:, max(-top, 0) : height + min(bottom, 0)]
    x = x[:, :, max(-left, 0) : width + min(right, 0)]
    top, left = max(top, 0), max(left, 0)
    span = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation))
    oh, ow = ((n - k) // s + 1 for n, k, s in zip(full, span, stride))
    per_image = oh * ow * kh * kw * channels
    step = max(1, min(_COLUMNS // per_image, batch))
    padded = xp.zeros((step, *full, groups, within), x.dtype)  # the border stays zero
    inside = padded[:, top : top + x.shape[1], left : left + x.shape[2]]
    image, down, right, group, feature = padded.strides
    windows = xp.lib.stride_tricks.as_strided(
        padded,
        (groups, step, oh, ow, kh, kw, within),
        (group, image, down * stride[0], right * stride[1],
         down * dilation[0], right * dilation[1], feature),
    )
    buffer = xp.empty(step * per_image, x.dtype)
    for start in range(0, batch, step):
        n = min(step, batch - start)
        inside[:n] = x[start : start + n].reshape(n, *x.shape[1:3], groups, within)
        columns = buffer[: n * per_image].reshape(groups, n, oh, ow, kh, kw, within)
        columns[...] = windows[:, :n]
        yield slice(start, start + n), columns.reshape(groups, n * oh * ow, -1)
