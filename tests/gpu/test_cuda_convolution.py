"""CUDA's convolutions equal their definitions, whatever the grid, the channels and the tile."""

import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from convolutions import Case, cases, plain, wrong
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from standin import emulator

from minae.kernels import cuda as package
from minae.kernels import reference
from minae.kernels.cuda import convolution

ROUNDING = {"f4": 1e-6, "f8": 1e-14}  # to that of the sum of all terms' sizes
CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 8, 12, 16, 17, 33, 40])
TILE = (32, 32, 16, 16)


@pytest.fixture
def on_device(array, numpy):
    """A form whose arrays are NumPy's."""

    def wrap(form):
        def call(name):
            def calls(*args, **options):
                args = (a if a is None else array(a) for a in args)
                return numpy(getattr(form, name)(*args, **options))

            return calls

        names = "conv2d", "conv2d_input", "conv2d_weight"
        return SimpleNamespace(**{name: call(name) for name in names})

    return wrap


@pytest.fixture
def ours(cuda, on_device, tile):
    tile(TILE)  # the choice among them has a test of its own: each takes a second to compile
    return on_device(cuda("convolution"))


@pytest.fixture
def tile(monkeypatch):
    """``tile(TILE)``: the only one that there is."""

    def choose(tile):
        monkeypatch.setattr(convolution, "TILES", [tile])
        convolution._plan.cache_clear()

    yield choose
    convolution._plan.cache_clear()


@pytest.fixture
def definition(on_device):
    return on_device(reference)


def check(case, found, definition, rounding=None):
    """Equal to the definition in float64, entry by entry."""
    exact, sizes = case.exact()
    sizes.relu = {"relu": False}
    rounding = rounding or ROUNDING[case.x.dtype.str[1:]]
    trios = found, exact.trio(definition), sizes.trio(definition)
    for ours, theirs, scale in zip(*trios, strict=True):
        assert (ours.dtype, ours.shape) == (case.x.dtype, theirs.shape)
        assert (abs(ours - theirs) <= rounding * scale).all()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases(CHANNELS, st.integers(1, 3)))
@example(plain("f4", 70, 33, relu=True))
@example(plain("f8", 33, 70, relu=True, stride=(2, 3)))
@example(plain("f4", 64, 64, stride=(2, 2)))
@example(plain("f4", 4, 8, stride=(4, 6), dilation=(2, 3)))  # some phases meet no tap
def test_the_trio_equals_the_reference(ours, definition, case):
    check(case, case.trio(ours), definition)


@pytest.mark.parametrize("only", convolution.TILES)
def test_every_tile(ours, definition, tile, only):
    tile(only)
    case = Case("f4", 3, (9, 8), (2, 3), 36, 80, True, True, 0,
                stride=(1, 1), padding=(1, 1), dilation=(1, 1))  # fmt: skip
    check(case, case.trio(ours), definition)


def test_the_tile_suits_the_shape():
    def chosen(kind, *sizes):
        plan = convolution._plan(kind, convolution.Sizes(*sizes), "f", True, 3)
        return int(plan.options[4][5:]), int(plan.options[5][5:]), plan.splits

    ones = (1, 1, 1, 1, 1, 1, 1)
    body = (7, 7, 64, 7, 7, 64, 3, 3, *ones)  # of the VQ-VAE
    assert chosen(convolution.FORWARD, 128, *body) == (32, 32, 1)
    assert chosen(convolution.FORWARD, 8192, *body) == (128, 64, 1)
    assert chosen(convolution.FORWARD, 4, *body) == (32, 32, 4)  # 14 blocks alone
    last = (28, 28, 1, 14, 14, 32, 4, 4, 2, 2, *ones[:5])
    assert chosen(convolution.INPUT, 1024, *last) == (128, 16, 1)
    assert chosen(convolution.WEIGHT, 1024, *body)[2] > 8


def test_what_32_bits_cannot_count_is_not_the_kernels():
    """A tile's last rows, which lie past the end, are counted too."""
    for pixels in (2**31 - 300, 2**31 - 100):
        sizes = convolution.Sizes(pixels, 1, 1, 1, 1, 1, 1, *[1] * 4, 0, 0, 1, 1, 1)
        for kind in range(3):
            plan = convolution._plan(kind, sizes, "f", True, 3)
            assert (plan is None) == (pixels == 2**31 - 100)


def test_sums_over_many_pixels_keep_their_accuracy(ours):
    x, g = abs(np.random.default_rng(0).standard_normal((2, 32, 28, 28, 8))).astype("f4")
    exact = np.einsum("nijc,nijd->cd", x.astype("f8"), g.astype("f8"))
    found = ours.conv2d_weight(x, g, size=(1, 1))[0, 0]
    assert abs(found / exact - 1).max() < 1e-6


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_bits_are_the_same_each_time(ours, definition, monkeypatch, dtype):
    case = Case(dtype, 3, (12, 12), (3, 3), 8, 12, True, False, 0,
                stride=(1, 2), padding=(1, 1), dilation=(1, 1))  # fmt: skip
    want = [a.tobytes() for a in case.trio(ours)]
    monkeypatch.setattr(emulator, "backwards", not emulator.backwards)
    assert [a.tobytes() for a in case.trio(ours)] == want


@pytest.fixture
def products(monkeypatch):
    """``products(0)``: how the tensor cores multiply from now on."""
    yield lambda count: monkeypatch.setattr(convolution, "_products", lambda dtype: count)


def test_without_tensor_cores(ours, definition, products):
    products(0)
    case = plain("f4", 12, 20, relu=True, stride=(2, 1))
    check(case, case.trio(ours), definition)


def test_tf32_is_less_exact_and_for_those_who_ask(ours, definition, monkeypatch):
    def trio():
        convolution._products.cache_clear()
        return case.trio(ours)

    case = plain("f4", 12, 20, relu=True, stride=(2, 1))
    check(case, trio(), definition)
    with monkeypatch.context() as changed:
        changed.setenv("MINAE_TF32", "1")
        found = trio()
    convolution._products.cache_clear()
    check(case, found, definition, 1e-3)
    for k in range(3):
        mixed = case.trio(ours)
        with pytest.raises(AssertionError):
            check(case, (*mixed[:k], found[k], *mixed[k + 1 :]), definition, 1e-5)


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FFFFFFF])  # the latter is CUDA's own
def test_relu_lets_nan_through(ours, definition, bits):
    case = plain("f4", 4, 36, relu=True, bias=False)
    case.x[1, 2, 3, 1] = case.y[1, 2, 3, 1] = np.array(bits, "u4").view("f4")
    for found, want in zip(case.trio(ours), case.trio(definition)):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(want))
        assert np.isnan(found).any()


def test_mixed_dtypes_are_computed_in_their_common_one(ours, definition):
    mixed = plain("f4", 4, 6)
    mixed.weight, mixed.y = mixed.weight.astype("f8"), mixed.y.astype("f8")
    for found, want in zip(mixed.trio(ours), mixed.trio(definition)):
        assert found.dtype == want.dtype == "f8"
        np.testing.assert_allclose(found, want, 1e-12, 1e-12)
    half = plain("f2", 4, 6)
    for found, want in zip(half.trio(ours), half.trio(definition)):
        assert found.dtype == "f2"
        np.testing.assert_array_equal(found, want)


def test_views_are_read_as_their_copies_are(ours, cuda, array, numpy):
    case = plain("f4", 8, 12)
    want = [a.tobytes() for a in case.trio(ours)]

    def strided(a):
        return array(np.repeat(a, 2, axis=-1))[..., ::2]

    def odd(a):  # no 16 bytes of it can be copied at once
        memory = array(np.append(a.dtype.type(0), a))
        return memory[1:].reshape(a.shape)

    for view in (strided, odd):
        form = cuda("convolution")
        x, weight, y = view(case.x), view(case.weight), view(case.y)
        found = (
            form.conv2d(x, weight, view(case.bias), **case.grid),
            form.conv2d_input(y, weight, view(case.bias_in), size=case.size, **case.grid),
            form.conv2d_weight(x, y, size=case.taps, **case.grid),
        )
        assert [numpy(a).tobytes() for a in found] == want


def test_pairs_may_come_as_lists(ours):
    x, weight = np.ones((1, 5, 5, 2), "f4"), np.ones((2, 2, 2, 3), "f4")
    y = ours.conv2d(x, weight, stride=[1, 2])
    assert y.shape == (1, 4, 2, 3)
    assert ours.conv2d_input(y, weight, size=[5, 5], stride=[1, 2]).shape == x.shape
    assert ours.conv2d_weight(x, y, size=[2, 2], stride=[1, 2]).shape == weight.shape


def test_errors_are_those_of_the_reference(ours, definition):
    for call in wrong():
        with pytest.raises(ValueError) as expected:
            call(definition)
        with pytest.raises(ValueError) as error:
            call(ours)
        assert str(error.value) == str(expected.value)


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize(
    ("dtype", "card", "products"), [("f", "sm_75", 0), ("f", "sm_80", 3), ("f", "sm_90", 3),
                                    ("d", "sm_90", 0)],
)  # fmt: skip
def test_all_sums_stay_in_registers(dtype, card, products, kind, tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("there is no nvcc")
    file = tmp_path / "convolution.cu"
    file.write_text(package.source("convolution"))
    sizes = convolution.Sizes(512, 16, 16, 64, 16, 16, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1)
    options = convolution._plan(kind, sizes, dtype, True, products).options
    command = ["nvcc", "-std=c++17", f"-arch={card}", "-cubin", "-Xptxas", "-v", *options]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out"), file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(" 0 bytes spill stores") == 2, done.stderr
