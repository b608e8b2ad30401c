"""Convolutions to try, and how close to the exact results theirs must be."""

import numpy as np
from hypothesis import strategies as st

from minae.kernels import patches, reference

CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64, 70]) | st.integers(1, 70)


class Case:
    """A convolution: its images, weights and results, of random numbers of one dtype."""

    def __init__(
        self, dtype, batch, size, kernel, inputs, outputs, bias, relu, seed, groups=1, **grid
    ):
        rng = np.random.default_rng(seed)
        self.grid, self.size, self.taps = {**grid, "groups": groups}, size, kernel
        self.relu = {"relu": relu}
        shapes = (batch, *size, inputs), (*kernel, inputs // groups, outputs)
        ends = patches.output_size(*shapes, *self.grid.values())
        shapes += (batch, *ends, outputs), (outputs,), (inputs,)
        self.x, self.weight, self.y, *biases = (
            rng.standard_normal(shape).astype(dtype) for shape in shapes
        )
        self.bias, self.bias_in = biases if bias else (None, None)

    def trio(self, form):
        """Forward, gradient of the images, gradient of the weights."""
        return (
            form.conv2d(self.x, self.weight, self.bias, **self.grid, **self.relu),
            form.conv2d_input(
                self.y, self.weight, self.bias_in, size=self.size, **self.grid, **self.relu
            ),
            form.conv2d_weight(self.x, self.y, size=self.taps, **self.grid),
        )

    def exact(self):
        """A copy in float64; and one of sizes alone, whose sums are what rounding scales with."""
        copies = []
        for change in (lambda a: a.astype("f8"), lambda a: abs(a.astype("f8"))):
            copy = object.__new__(Case)
            vars(copy).update(vars(self))
            for name in ("x", "weight", "y", "bias", "bias_in"):
                if getattr(self, name) is not None:
                    setattr(copy, name, change(getattr(self, name)))
            copies.append(copy)
        return copies


@st.composite
def cases(draw, channels=CHANNELS, groups=st.just(1)):
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    grid = {
        "stride": draw(pair), "padding": draw(st.tuples(st.integers(0, 3), st.integers(0, 3))),
        "dilation": draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2), (3, 2)])),
    }  # fmt: skip
    if draw(st.booleans()):  # a sequence: a line of pixels
        kernel = (1, kernel[1])
        grid = {name: (int(name != "padding"), across) for name, (_, across) in grid.items()}
    least = [
        max(1, d * (k - 1) + 1 - 2 * p)
        for k, d, p in zip(kernel, grid["dilation"], grid["padding"], strict=True)
    ]
    more = draw(st.integers(0, 5)) * (kernel[0] > 1), draw(st.integers(0, 6))
    size = (least[0] + more[0], least[1] + more[1])
    groups = draw(groups)
    return Case(
        draw(st.sampled_from(["f4", "f8"])), draw(st.integers(0, 3)), size, kernel,
        groups * draw(channels), groups * draw(channels), draw(st.booleans()), draw(st.booleans()),
        draw(st.integers(0, 2**32 - 1)), groups, **grid,
    )


def plain(dtype, inputs, outputs, relu=False, bias=True, **grid):
    grid = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), **grid}
    return Case(dtype, 2, (6, 7), (3, 3), inputs, outputs, bias, relu, 0, **grid)


def agree(found, want, scale, terms):
    """Equal, up to the rounding of a sum of so many terms whose sizes add up to ``scale``."""
    assert found.shape == want.shape
    slack = (terms + 3) * np.finfo(found.dtype).eps * scale
    np.testing.assert_array_less(abs(found - want), slack + np.finfo(found.dtype).tiny)


def check(case, found, want):
    """Each of the trio agrees with a result in float64."""
    _, sizes = case.exact()
    sizes.relu = {"relu": False}
    kh, kw, inputs, outputs = case.weight.shape
    terms = kh * kw * inputs, kh * kw * outputs, case.y.size // outputs
    for ours, theirs, scale, count in zip(found, want, sizes.trio(reference), terms, strict=True):
        assert ours.dtype == case.x.dtype
        agree(ours, theirs, scale, count)


def wrong():
    """Calls of a form, each of which raises ValueError."""
    ones = np.ones
    x, weight, y = ones((2, 5, 5, 4)), ones((3, 3, 4, 6)), ones((2, 3, 3, 6))
    return [
        lambda form: form.conv2d(x, ones((3, 3, 3, 6))),
        lambda form: form.conv2d(x, weight, groups=0),
        lambda form: form.conv2d(x, weight, groups=3),
        lambda form: form.conv2d(x, ones((6, 3, 4, 6))),
        lambda form: form.conv2d(x, weight, ones(5)),
        lambda form: form.conv2d(x, weight, ones((1, 6))),
        lambda form: form.conv2d(x, weight, stride=(0, 1)),
        lambda form: form.conv2d(x, weight, padding=(0, -1)),
        lambda form: form.conv2d(ones((5, 5, 4)), weight),
        lambda form: form.conv2d(ones((2, 5, 5, 0)), ones((3, 3, 0, 6))),
        lambda form: form.conv2d(x, ones((3, 3, 4, 0))),
        lambda form: form.conv2d_input(y, weight, size=(6, 5)),
        lambda form: form.conv2d_input(y, weight, ones(6), size=(5, 5)),
        lambda form: form.conv2d_input(ones((2, 3, 3, 5)), weight, size=(5, 5)),
        lambda form: form.conv2d_weight(x, y, size=(2, 3)),
        lambda form: form.conv2d_weight(x, ones((3, 3, 3, 6)), size=(3, 3)),
    ]
