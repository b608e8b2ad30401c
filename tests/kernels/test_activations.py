"""The compiled GELU and error function, with gradients: their definition, but for rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import FORMS, laid

from minae.kernels import reference

pytestmark = pytest.mark.kernels

DTYPES = pytest.mark.parametrize("dtype", ["f4", "f8"])


@pytest.fixture(scope="module")
def fast(compiled):
    module = compiled("activations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TINY", 0)  # or small arrays would never meet a kernel
        yield module


def every(form, g, x):
    """What each of them gives."""
    return [
        form.erf(x), form.gelu(x), form.gelu_tanh(x), form.gelu_gradient(g, x),
        form.gelu_tanh_gradient(g, x),
    ]  # fmt: skip


def draw(seed, shape, dtype, spread=1.0):
    rng = np.random.default_rng(seed)
    return [np.asarray(s * rng.standard_normal(shape), dtype) for s in (1, spread)]


@settings(max_examples=60)
@given(
    shape=st.sampled_from([(), (1,), (0, 3), (7,), (3, 5), (2, 3, 3, 9)]),
    dtype=st.sampled_from(["f4", "f8"]), spread=st.sampled_from([1e-3, 1.0, 9.0, 1e4]),
    seed=st.integers(0, 2**32 - 1),
)
def test_they_equal_the_reference(fast, shape, dtype, spread, seed):
    """In float64; a sum that is near 0 is rounded as its terms are, of the size of x, g or 1.

    (The reference's last takes ``1 - tanh^2``, whose rounding it multiplies by up to 30.)
    """
    g, x = draw(seed, shape, dtype, spread)
    before = g.tobytes(), x.tobytes()
    wanted = every(reference, g.astype("f8"), x.astype("f8"))
    scales = [1, abs(x), abs(x), abs(g), abs(g) * (4 if dtype == "f8" else 1)]
    for found, want, scale in zip(every(fast, g, x), wanted, scales, strict=True):
        assert found.dtype == dtype and found.shape == shape
        assert (abs(found - want) <= 4 * np.finfo(dtype).eps * scale).all()
    assert (g.tobytes(), x.tobytes()) == before


@DTYPES
def test_far_out_they_are_those_of_the_reference(fast, dtype):
    sizes = [0.0, np.finfo(dtype).tiny, 40.0, 1e9, 1e13, np.inf, np.nan]
    x = np.array([sizes, np.negative(sizes)], dtype)
    with np.errstate(all="ignore"):
        for found, want in zip(every(fast, np.ones_like(x), x), every(reference, x * 0 + 1, x)):
            np.testing.assert_allclose(found, want, rtol=1e-6)
            exact = want == 0
            np.testing.assert_array_equal(np.signbit(found[exact]), np.signbit(want[exact]))


@DTYPES
def test_no_number_of_threads_changes_a_bit(fast, threads, dtype):
    from minae.kernels import updates

    found = set()
    for count in (1, 2, 3):
        threads(count)
        results = every(fast, *draw(0, updates.SMALL + 7, dtype))
        found.add(b"".join(a.tobytes() for a in results))
    assert len(found) == 1


@pytest.mark.parametrize("layout", FORMS)
def test_any_layout_gives_the_same(fast, layout):
    g, x = draw(1, (3, 5, 8), "f4")
    for found, want in zip(every(fast, laid(g, layout), laid(x, layout)), every(fast, g, x)):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


def test_what_is_of_no_one_dtype_goes_to_the_reference(fast):
    g, x = draw(2, (4, 5), "f4")
    for pair in [(g.astype("f8"), x), (g, x.astype("f8")), (g[0], x), (g, x[:, :1])]:
        for name in ("gelu_gradient", "gelu_tanh_gradient"):
            found, want = (getattr(form, name)(*pair) for form in (fast, reference))
            assert found.dtype == want.dtype
            np.testing.assert_array_equal(found, want)
    half = fast.gelu_tanh(x.astype("f2"))
    assert half.dtype == "f2"
    np.testing.assert_array_equal(half, reference.gelu_tanh(x.astype("f2")))
    for form in (fast, reference):
        with pytest.raises(TypeError, match="float16"):
            form.gelu(x.astype("f2"))
