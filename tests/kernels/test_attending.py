"""Attention in panels on the register tile: its definition, but for rounding."""

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
    return compiled("attending")


def draw(seed, batch, heads, queries, keys, part, width, dtype):
    """The gradient of the result, queries, keys and values."""
    rng = np.random.default_rng(seed)
    shapes = (queries, width), (queries, part), (keys, part), (keys, width)
    return [rng.standard_normal((batch, heads, *shape)).astype(dtype) for shape in shapes]


def every(form, g, query, key, value, mask=None, causal=False):
    return [
        form.attention(query, key, value, mask, causal),
        *form.attention_gradient(g, query, key, value, mask, causal),
    ]


def close(found, want, dtype, units=100):
    """Equal up to so many roundings of a number of the size of the largest."""
    for a, b in zip(found, want, strict=True):
        assert (a.dtype, a.shape) == (np.dtype(dtype), b.shape)
        scale = 1 + abs(b).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=0, atol=units * np.finfo(dtype).eps * scale)


def wide(arrays):
    return [a.astype("f8") for a in arrays]


SIZES = st.sampled_from([1, 2, 3, 5, 8, 17, 33])
POSITIONS = st.sampled_from([1, 2, 5, 16, 31, 33, 70, 131])  # up to several panels


@settings(max_examples=120)
@given(
    batch=st.integers(1, 3), heads=st.integers(1, 3), queries=POSITIONS, keys=POSITIONS,
    part=SIZES, width=SIZES, causal=st.booleans(), dtype=st.sampled_from(["f4", "f8"]),
    broadcast=st.none() | st.tuples(*[st.booleans()] * 4), layout=st.sampled_from(sorted(FORMS)),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_equals_the_reference(
    fast, batch, heads, queries, keys, part, width, causal, dtype, broadcast, layout, seed
):
    arrays = draw(seed, batch, heads, queries, keys, part, width, dtype)
    mask = None
    if broadcast is not None:
        shape = [1 if once else n for once, n in zip(broadcast, (batch, heads, queries, keys))]
        mask = np.random.default_rng(seed).random(shape) < 0.4  # some rows are hidden altogether
    found = every(fast, *(laid(a, layout) for a in arrays), mask, causal)
    close(found, every(reference, *wide(arrays), mask, causal), dtype)


@settings(max_examples=60)
@given(
    batch=st.integers(0, 3), heads=st.integers(1, 4), time=POSITIONS, part=SIZES,
    causal=st.booleans(), dtype=st.sampled_from(["f4", "f8"]), masked=st.booleans(),
    layout=st.sampled_from(sorted(FORMS)), seed=st.integers(0, 2**32 - 1),
)
def test_self_attention_equals_the_reference(
    fast, batch, heads, time, part, causal, dtype, masked, layout, seed
):
    rng = np.random.default_rng(seed)
    g, x = (rng.standard_normal((batch, time, n * heads * part)).astype(dtype) for n in (1, 3))
    mask = rng.random((batch, 1, 1, time)) < 0.7 if masked else None
    found, want = (
        [form.self_attention(u, heads, mask, causal),
         form.self_attention_gradient(v, u, heads, mask, causal)]
        for form, u, v in ((fast, laid(x, layout), laid(g, layout)), (reference, *wide([x, g])))
    )  # fmt: skip
    close(found, want, dtype)
    assert not np.shares_memory(found[1], x)


@DTYPES
@pytest.mark.parametrize("queries, keys", [(70, 70), (70, 9), (9, 70)])
def test_a_query_that_may_look_nowhere_gets_0(fast, dtype, queries, keys):
    """By the mask, or as a position before the first key; to it and from it goes no gradient."""
    g, query, key, value = draw(0, 2, 2, queries, keys, 12, 7, dtype)
    mask = np.ones((2, 1, queries, keys), bool)
    mask[0, 0, ::3] = mask[1] = False
    seen = np.broadcast_to(mask & np.tri(queries, keys, keys - queries, dtype=bool),
                           (2, 2, queries, keys))
    out, to_query, to_key, to_value = every(fast, g, query, key, value, mask, True)
    blind = ~seen.any(axis=-1)
    assert blind.any() and not out[blind].any() and not to_query[blind].any()
    unseen = ~seen.any(axis=-2)
    assert unseen.any() and not to_key[unseen].any() and not to_value[unseen].any()
    if not blind[0].all():
        assert out[0].any() and to_key[0].any()


@DTYPES
def test_scores_of_any_size_and_entries_that_are_no_numbers(fast, dtype):
    """1e4 overflows no power; what is infinite or NaN stays with its query and its head."""
    arrays = draw(1, 2, 2, 40, 40, 4, 4, dtype)
    _, query, key, value = arrays
    query *= 100
    key *= 100
    close(every(fast, *arrays), every(reference, *wide(arrays)), dtype, 1e4)
    query[0, 0, 3, 1], query[0, 1, 5, 2], value[1, 0, 7, 3] = np.nan, np.inf, np.nan
    with np.errstate(all="ignore"):
        found, want = every(fast, *arrays), every(reference, *arrays)
    for a, b in zip(found, want):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    bad = np.isnan(found[0])
    assert bad[0, 0, 3].all() and bad[0, 1, 5].all() and bad[1, 0, :, 3].all()
    assert bad.sum() == 4 + 4 + 40


@DTYPES
def test_no_number_of_threads_changes_a_bit(fast, threads, dtype):
    arrays = draw(2, 3, 2, 100, 90, 20, 12, dtype)
    assert fast.SMALL < 100 * 90 * 20  # so that they are shared
    found = set()
    for count in (1, 2, 3):
        threads(count)
        results = every(fast, *arrays, None, True)
        found.add(b"".join(np.ascontiguousarray(a).tobytes() for a in results))
    assert len(found) == 1


def test_a_head_is_the_same_alone(fast):
    """Whichever others are beside it; its neighbours in memory are read no more than written."""
    arrays = draw(3, 3, 4, 37, 50, 6, 9, "f4")
    views = [a.swapaxes(1, 2).copy().swapaxes(1, 2) for a in arrays]  # as split heads lie
    alone = [a[1:2, 2:3] for a in views]
    for a, b in zip(every(fast, *alone, None, True), every(fast, *views, None, True)):
        np.testing.assert_array_equal(a, b[1:2, 2:3])


def test_one_array_may_be_all_three(fast):
    x = draw(4, 2, 2, 33, 33, 8, 8, "f8")[0]
    x.setflags(write=False)
    close(every(fast, x, x, x, x), every(reference, x, x, x, x), "f8")
    stretched = np.broadcast_to(x[:1, :1], x.shape)
    close(every(fast, x, x, stretched, stretched), every(reference, x, x, stretched, stretched),
          "f8")  # fmt: skip


def test_what_no_kernel_is_compiled_for_goes_to_the_reference(fast):
    g, query, key, value = draw(5, 2, 2, 5, 6, 4, 3, "f4")
    half = [a.astype("f2") for a in (g, query, key, value)]
    mixed = [g, query, key.astype("f8"), value]
    flat = [a[0] for a in (g, query, key, value)]
    few = [g, query, key[:1], value[:1]]
    none = [g, query, key[:, :, :0], value[:, :, :0]]
    for arrays in (half, mixed, flat, few, none):
        for a, b in zip(every(fast, *arrays), every(reference, *arrays), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_what_does_not_fit_is_an_error_as_in_the_reference(fast):
    g, query, key, value = draw(6, 2, 2, 5, 6, 4, 3, "f4")
    for arrays in [
        (g, query, key[..., :3], value), (g, query, key, value[:, :, :5]),
        (g[..., :2], query, key, value), (g[:, :, :4], query, key, value),
        (g, query, key, value, np.ones((2, 2, 5, 5), bool)),
    ]:  # fmt: skip
        for form in (fast, reference):
            with pytest.raises(ValueError):
                every(form, *arrays)
