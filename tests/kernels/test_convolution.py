"""The compiled convolutions against the reference, as close as rounding lets them, and PyTorch."""

from types import SimpleNamespace

import numpy as np
import pytest
from convolutions import Case, cases, check, plain, wrong
from hypothesis import example, given, settings

from minae.kernels import reference

pytestmark = pytest.mark.kernels


@pytest.fixture(scope="session")
def modules(compiled):
    return compiled("convolution"), compiled("correlation")


@pytest.fixture(scope="session")
def fast(modules):
    convolution, correlation = modules
    return SimpleNamespace(
        conv2d=convolution.conv2d,
        conv2d_input=convolution.conv2d_input,
        conv2d_weight=correlation.conv2d_weight,
    )


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is the oracle of this row")


@settings(max_examples=250)
@given(cases())
@example(plain("f4", 70, 33, relu=True))
@example(plain("f8", 33, 70, relu=True, stride=(2, 3)))
@example(plain("f4", 1, 17, bias=False, padding=(0, 2)))
def test_the_trio_equals_the_reference(fast, case):
    inputs = [a for a in (case.x, case.weight, case.y, case.bias, case.bias_in) if a is not None]
    before = [a.tobytes() for a in inputs]
    check(case, case.trio(fast), case.exact()[0].trio(reference))
    assert [a.tobytes() for a in inputs] == before


def features_first(x):
    return x.transpose(0, 3, 1, 2).copy()


@settings(max_examples=100)
@given(cases())
def test_the_trio_equals_torch(fast, torch, case):
    exact = case.exact()[0]
    x, y = (torch.tensor(features_first(a)).requires_grad_() for a in (exact.x, exact.y))
    weight = torch.tensor(exact.weight.transpose(3, 2, 0, 1).copy()).requires_grad_()
    out = torch.nn.functional.conv2d(x, weight, None, **case.grid)
    gradients = torch.autograd.grad(out, (x, weight), y)
    want = [a.detach().numpy() for a in (out, *gradients)]
    want = [want[0].transpose(0, 2, 3, 1), want[1].transpose(0, 2, 3, 1),
            want[2].transpose(2, 3, 1, 0)]  # fmt: skip
    for result, bias in zip(want, (exact.bias, exact.bias_in)):
        result += 0 if bias is None else bias
        np.maximum(result, 0 if case.relu["relu"] else -np.inf, out=result)
    check(case, case.trio(fast), want)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_remainder_of_the_channels(fast, modules, dtype):
    block = modules[0].VECTORS * modules[0].lanes(np.dtype(dtype))
    for channels in range(1, min(2 * block, 70) + 2):
        for case in (plain(dtype, channels, 3), plain(dtype, 5, channels)):
            check(case, case.trio(fast), case.exact()[0].trio(reference))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_pixels_that_no_tap_reads(fast, dtype):
    """They get the bias alone: gradients where the stride is longer than the kernel."""
    case = Case(dtype, 2, (7, 8), (1, 2), 3, 5, True, False, 0,
                stride=(3, 4), padding=(0, 0), dilation=(1, 1))  # fmt: skip
    out = case.trio(fast)[1]
    np.testing.assert_array_equal(out[:, 1::3], np.broadcast_to(case.bias_in, (2, 2, 8, 3)))
    check(case, case.trio(fast), case.exact()[0].trio(reference))


def test_sums_over_many_pixels_keep_their_accuracy(fast):
    x, g = abs(np.random.default_rng(0).standard_normal((2, 128, 28, 28, 8))).astype("f4")
    exact = np.einsum("nijc,nijd->cd", x.astype("f8"), g.astype("f8"))
    found = fast.conv2d_weight(x, g, size=(1, 1))[0, 0]
    assert abs(found / exact - 1).max() < 2e-6  # one chain of 100,352 float32 is off by 1e-5


def test_pairs_may_come_as_lists(fast):
    x, weight = np.ones((1, 5, 5, 2), "f4"), np.ones((2, 2, 2, 3), "f4")
    y = fast.conv2d(x, weight, stride=[1, 2])
    assert y.shape == (1, 4, 2, 3)
    assert fast.conv2d_input(y, weight, size=[5, 5], stride=[1, 2]).shape == x.shape
    assert fast.conv2d_weight(x, y, size=[2, 2], stride=[1, 2]).shape == weight.shape


@pytest.mark.parametrize("outputs", [3, 64])
def test_relu_lets_nan_through(fast, outputs):
    case = plain("f4", 4, outputs, relu=True, bias=False)
    case.x[1, 2, 3, 1] = case.y[1, 2, 3, 1] = np.nan
    for found, want in zip(case.trio(fast), case.trio(reference)):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(want))
        assert np.isnan(found).any()
    forward, backward, _ = case.trio(fast)
    assert forward[0].min() == backward[0].min() == 0


def test_groups_and_mixed_dtypes_go_to_the_reference(fast, modules, monkeypatch):
    monkeypatch.setattr(modules[0], "_convolve", None)
    monkeypatch.setattr(modules[1], "_correlate", None)
    mixed = plain("f4", 4, 6)
    mixed.weight, mixed.y = mixed.weight.astype("f8"), mixed.y.astype("f8")
    groups = plain("f4", 4, 6, bias=False)
    groups.grid["groups"], groups.weight = 2, groups.weight[:, :, :2]
    half = plain("f2", 4, 6)
    for case, dtype in ((mixed, "f8"), (groups, "f4"), (half, "f2")):
        for found, want in zip(case.trio(fast), case.trio(reference)):
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, want)
    biased = plain("f4", 4, 6)
    biased.bias, biased.bias_in = biased.bias.astype("f8"), biased.bias_in.astype("f8")
    for found, want in zip(biased.trio(reference)[:2], (
        fast.conv2d(biased.x, biased.weight, biased.bias, **biased.grid),
        fast.conv2d_input(biased.y, biased.weight, biased.bias_in, size=(6, 7), **biased.grid),
    )):
        assert found.dtype == want.dtype == "f8"
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("channels", [(1, 33), (17, 5), (64, 64)])
def test_no_number_of_threads_changes_a_bit(fast, modules, threads, monkeypatch, dtype, channels):
    case = plain(dtype, *channels, relu=True, stride=(2, 1))
    want = [a.tobytes() for a in case.trio(fast)]
    for module in modules:
        monkeypatch.setattr(module, "SMALL", 0)
    for count in (1, 2, 3, 4):
        threads(count)
        assert [a.tobytes() for a in case.trio(fast)] == want


def test_views_are_read_as_their_copies_are(fast):
    case = plain("f4", 5, 6)
    want = [a.tobytes() for a in case.trio(fast)]

    def strided(a):
        return np.repeat(a, 2, axis=-1)[..., ::2]

    def misaligned(a):
        memory = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
        memory[:] = a
        return memory

    def still(a):
        a = a.copy()
        a.setflags(write=False)
        return a

    for view in (strided, np.asfortranarray, misaligned, still):
        other = plain("f4", 5, 6)
        for name in ("x", "weight", "y", "bias", "bias_in"):
            setattr(other, name, view(getattr(case, name)))
        assert [a.tobytes() for a in other.trio(fast)] == want


def test_errors_are_those_of_the_reference(fast):
    for call in wrong():
        with pytest.raises(ValueError) as expected:
            call(reference)
        with pytest.raises(ValueError) as error:
            call(fast)
        assert str(error.value) == str(expected.value)
