"""The compiled nearest codeword, bit for bit: the definition, the reference, each screen, any split
of the work."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import python_path
from test_reference import definition

import minae
from minae.kernels import reference

pytestmark = pytest.mark.kernels


@pytest.fixture(scope="session")
def fast(compiled):
    return compiled("codebook")


def check(fast, vectors, codebook):
    """All forms and both screens give the codes and distances of the definition."""
    dtype = np.result_type(vectors, codebook)
    codes, total = definition(vectors, codebook)
    with np.errstate(over="ignore"):
        total = total.astype(dtype)
    prepared, without = (fast.prepare(codebook.astype(dtype)) for _ in range(2))
    without.grid = None
    for name, found in {
        "int16": fast.nearest(vectors, codebook),
        "prepared": fast.nearest(vectors, prepared),
        "float": fast.nearest(vectors, without),
        "reference": reference.nearest(vectors, codebook),
        "reference, prepared": reference.nearest(vectors, prepared),
        "prepared by the reference": fast.nearest(vectors, reference.prepare(codebook)),
    }.items():
        assert found[0].dtype == np.int64 and found[1].dtype == dtype, name
        assert found[0].shape == found[1].shape == vectors.shape[:-1], name
        np.testing.assert_array_equal(found[0].ravel(), codes, name)
        np.testing.assert_array_equal(found[1].ravel(), total, name)


class Counting:
    """A kernel that counts the rows that it settles."""

    def __init__(self, kernel):
        self.kernel, self.rows = kernel, 0

    def __getitem__(self, dtype):
        def call(*args):
            last = self.kernel[dtype](*args)
            self.rows += last - args[-4]
            return last

        return call


@pytest.fixture
def screens(fast, monkeypatch):
    """How many rows each screen settles: ``screens["int16"].rows``."""
    found = {"int16": Counting(fast._search_grid), "float": Counting(fast._search)}
    monkeypatch.setattr(fast, "_search_grid", found["int16"])
    monkeypatch.setattr(fast, "_search", found["float"])
    return found


def normal(seed, *shape, dtype="f4"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# --- Any shape -----------------------------------------------------------------------------------


def check_integers(fast, n, d, k, top, dtype, seed):
    rng = np.random.default_rng(seed)
    vectors, codebook = rng.integers(-top, top + 1, (n, d)), rng.integers(-top, top + 1, (k, d))
    squared = ((vectors[:, None] - codebook) ** 2).sum(axis=2)
    prepared = fast.prepare(codebook.astype(dtype))
    for _ in range(2):
        codes, distances = fast.nearest(vectors.astype(dtype), prepared)
        np.testing.assert_array_equal(codes, squared.argmin(axis=1))
        np.testing.assert_array_equal(distances, squared.min(axis=1))
        prepared.grid = None


@settings(max_examples=200)
@given(
    n=st.integers(0, 110), d=st.integers(1, 40), k=st.integers(1, 150),
    top=st.sampled_from([0, 1, 3, 64]),  # all are equal; ties and duplicates abound; few do
    dtype=st.sampled_from(["f4", "f8"]), seed=st.integers(0, 2**32 - 1),
)
def test_integers(fast, n, d, k, top, dtype, seed):
    check_integers(fast, n, d, k, top, dtype, seed)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_remainder(fast, dtype):
    for n in range(2 * fast.PANEL + 2):
        check_integers(fast, n, 3, 5, 64, dtype, n)
    for d in range(1, 35):
        check_integers(fast, 9, d, 21, 64, dtype, d)
    for k in range(1, 2 * fast.VECTORS * fast.lanes(np.dtype(dtype)) + 2):
        check_integers(fast, 7, 4, k, 64, dtype, k)


def test_shapes(fast):
    codebook = np.eye(3)
    assert [a.shape for a in fast.nearest(np.zeros((2, 0, 3)), codebook)] == [(2, 0)] * 2
    code, distance = fast.nearest(np.array([0.0, 1.0, 0.0]), codebook)
    assert code.shape == () and code == 1 and distance == 0


# --- Any numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtypes", [("f4", "f4"), ("f8", "f8"), ("f4", "f8"), ("f8", "f4")])
@pytest.mark.parametrize("offset", [0, 1e3, 1e4])
def test_far_from_the_origin(fast, dtypes, offset):
    vectors = (normal(0, 3, 100, 24, dtype="f8") + offset).astype(dtypes[0])
    codebook = (normal(1, 130, 24, dtype="f8") + offset).astype(dtypes[1])
    check(fast, vectors, codebook)
    check(fast, codebook[:40].astype(dtypes[0]), codebook[::-1])


@pytest.mark.parametrize(
    "dtype, scale",
    [("f4", s) for s in (1e-45, 1e-40, 1e-30, 3e-23, 1e-20, 1e-19, 1e-18, 1e-13, 1e-12, 1e-10)]
    + [("f4", s) for s in (1e10, 1e12, 1e13, 1e18, 1e19, 1e20, 1e30, 1e37)]
    + [("f8", s) for s in (5e-324, 1e-310, 1e-200, 1e-162, 1e-161, 1e-154, 1e-103, 1e-30)]
    + [("f8", s) for s in (1e30, 1e102, 1e103, 1e153, 1e154, 1e200, 3e307)],
)
def test_any_scale(fast, dtype, scale):
    rng = np.random.default_rng(1)
    vectors = (rng.standard_normal((60, 5)) * scale).astype(dtype)
    codebook = (rng.standard_normal((33, 5)) * scale).astype(dtype)
    check(fast, vectors, codebook)
    check(fast, np.concatenate([vectors, np.ones((4, 5), dtype)]), codebook)
    codebook[7] = np.finfo(dtype).max  # a stray codeword
    check(fast, vectors, codebook)
    vectors[3] = -np.finfo(dtype).max
    check(fast, vectors, codebook)


def test_squares_that_underflow_mislead_no_screen(fast):
    """In float32 the squares of ``near`` round up and those of ``far`` to 0: their order turns."""
    near, far, large = np.zeros((3, 300), "f4")
    near[:20], far[:], large[0] = 1.01 * 2.0**-75, 0.995 * 2.0**-75, 0.99 * 2.0**-60
    codebook = np.array([far, near, -far, -near, large, -large])
    check(fast, np.zeros((9, 300), "f4"), codebook)


SPECIAL = {
    dtype: [0.0, -0.0, 1.0, -1.0, info.smallest_subnormal, -info.tiny, 3 * info.tiny, info.max]
    for dtype, info in (("f4", np.finfo("f4")), ("f8", np.finfo("f8")))
}


@settings(max_examples=100)
@given(
    d=st.integers(1, 9), k=st.integers(1, 40), few=st.integers(1, 8),
    dtype=st.sampled_from(["f4", "f8"]), seed=st.integers(0, 2**32 - 1),
)
def test_denormals_signed_zeros_and_the_largest_numbers(fast, d, k, few, dtype, seed):
    rng = np.random.default_rng(seed)
    vectors, codebook = (
        rng.choice(SPECIAL[dtype][:few], (n, d)).astype(dtype) for n in (20, k)
    )
    check(fast, vectors, codebook)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("nudge", [0, 1e-7, 1e-15])
@pytest.mark.parametrize("offset", [0, 1e3])
def test_midpoints(fast, dtype, nudge, offset):
    codebook = (normal(2, 64, 16, dtype="f8") + offset).astype(dtype)
    codebook = np.concatenate([codebook, codebook[::-1]])  # each twice: the first wins
    pairs = np.random.default_rng(3).integers(0, 128, (2, 500))
    middle = (codebook[pairs[0]] / 2 + codebook[pairs[1]] / 2).astype(dtype)
    check(fast, (middle * (1 + nudge)).astype(dtype), codebook)
    two = np.tile(codebook[:2], (40, 1))
    check(fast, ((two[:1] + two[1:2]) / 2).repeat(9, axis=0), two)


# --- The screens ---------------------------------------------------------------------------------


def test_the_int16_screen_suffices_where_rows_lie_among_codewords(fast, screens):
    codebook = normal(4, 512, 32)
    codes = np.random.default_rng(5).integers(0, 512, 2000)
    found = fast.nearest(codebook[codes] + 0.1 * normal(6, 2000, 32), codebook)[0]
    np.testing.assert_array_equal(found, codes)
    assert (screens["int16"].rows, screens["float"].rows) == (2000, 0)


CLOSE = 1 + 1e-4 * normal(7, 300, 8)  # an unit step of its grid is as wide as its gaps ...
STRAY = np.concatenate([np.full((1, 8), 1e6, "f4"), CLOSE])  # ... beside a codeword like this one


@pytest.mark.parametrize("vectors, codebook", [
    (1000 * normal(8, 500, 8), normal(9, 300, 8)), (1 + normal(8, 500, 8), CLOSE),
    (CLOSE[:200], STRAY), (normal(8, 500, 8), np.ones((70, 8), "f4")),
], ids=["far outside", "a tiny codebook", "a stray codeword", "all equal"])  # fmt: skip
def test_the_float_screen_goes_on_where_int16_is_of_no_use(fast, screens, vectors, codebook):
    fast.nearest(vectors, codebook)
    assert screens["int16"].rows == 0 and screens["float"].rows == len(vectors)
    check(fast, vectors, codebook)


def test_the_int16_screen_may_give_up_half_way(fast, screens, monkeypatch):
    monkeypatch.setattr(fast, "SMALL", 1 << 60)
    codebook = normal(11, 480, 8)
    vectors = codebook + 0.01 * normal(10, 480, 8)
    vectors[240:] *= 1000
    fast.nearest(vectors, codebook)
    assert (screens["int16"].rows, screens["float"].rows) == (240, 240)
    check(fast, vectors, codebook)


def test_a_few_rows_far_outside_are_left_to_the_float_screen(fast, screens, monkeypatch):
    monkeypatch.setattr(fast, "SMALL", 1 << 60)
    codebook = normal(13, 480, 8)
    vectors = codebook + 0.01 * normal(12, 480, 8)
    vectors[::48] *= 1e6
    fast.nearest(vectors, codebook)
    assert (screens["int16"].rows, screens["float"].rows) == (480, 10)
    check(fast, vectors, codebook)


# --- Rows and codewords that are not finite ------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("step", [1, 2, 48], ids=["all rows", "half of them", "few"])
def test_rows_that_are_not_finite(fast, value, dtype, step):
    vectors, codebook = normal(14, 4, 48, 5, dtype=dtype), normal(15, 70, 5, dtype=dtype)
    rows = vectors.reshape(-1, 5)
    want, total = definition(rows, codebook)
    rows[::step, 3], want[::step], total[::step] = value, -1, np.nan
    prepared = fast.prepare(codebook)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"the vector at \[0, 0\] of \(4, 48\) is not finite"):
            fast.nearest(vectors, prepared)
        codes, distances = fast.nearest(vectors, prepared, nonfinite="mask")
        np.testing.assert_array_equal(codes.ravel(), want)
        np.testing.assert_array_equal(distances.ravel(), total.astype(dtype))
        prepared.grid = None
    codebook[3, 1] = value
    for call in (lambda: fast.prepare(codebook), lambda: fast.nearest(rows[1:2], codebook)):
        with pytest.raises(ValueError, match="codeword 3 is not finite"):
            call()


def test_errors_are_those_of_the_reference(fast):
    def ones(*shape, dtype="f4"):
        return np.ones(shape, dtype)

    for vectors, codebook, options in [
        (ones(5, 3), ones(2, 4), {}), (ones(5, 3), ones(3), {}), (ones(), ones(2, 3), {}),
        (ones(5, 3), ones(0, 3), {}), (ones(5, 0), ones(4, 0), {}),
        (ones(5, 3, dtype="i8"), ones(2, 3), {}), (ones(5, 3), ones(2, 3, dtype="f2"), {}),
        (ones(5, 3, dtype=">f4"), ones(2, 3), {}), (ones(5, 3), ones(2, 3), {"nonfinite": "no"}),
        (np.array(np.inf, "f4").reshape(1), ones(2, 1), {}),
        ([[1.0, 2.0, 3.0]], ones(2, 3), {}), (ones(5, 3), [[1.0, 2.0, 3.0]], {}),
        (minae.tensor(ones(5, 3)), ones(2, 3), {}),
    ]:  # fmt: skip
        with pytest.raises((TypeError, ValueError)) as expected:
            reference.nearest(vectors, codebook, **options)
        with pytest.raises(expected.type) as error:
            fast.nearest(vectors, codebook, **options)
        assert str(error.value) == str(expected.value)


# --- Any layout, any split -----------------------------------------------------------------------


def views(x):
    """Arrays of the same entries that lie differently in memory, or may not be written."""
    wide = np.zeros((len(x), 3 * x.shape[1]), x.dtype)
    wide[:, ::3] = x
    still = x.copy()
    still.setflags(write=False)
    memory = np.empty(x.nbytes + 1, np.uint8)
    misaligned = memory[1:].view(x.dtype).reshape(x.shape)
    misaligned[:] = x
    assert not misaligned.flags.aligned
    return wide[:, ::3], np.asfortranarray(x), x[::-1].copy()[::-1], still, misaligned


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_any_view_is_read_and_none_written(fast, dtype):
    vectors, codebook = normal(16, 60, 8, dtype=dtype), normal(17, 30, 8, dtype=dtype)
    want = definition(vectors, codebook)[0]
    for z in views(vectors):
        for e in views(codebook):
            np.testing.assert_array_equal(fast.nearest(z, e)[0], want)
            np.testing.assert_array_equal(e, codebook)
        np.testing.assert_array_equal(z, vectors)


@pytest.mark.parametrize("grid", [True, False], ids=["int16", "float"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_no_split_changes_a_bit(fast, threads, monkeypatch, grid, dtype):
    vectors = (normal(18, 1000, 8, dtype="f8") + 1000).astype(dtype)
    codebook = fast.prepare((normal(19, 300, 8, dtype="f8") * 0.1 + 1000).astype(dtype))
    if not grid:
        codebook.grid = None
    want = [a.tobytes() for a in fast.nearest(vectors, codebook)]

    def of(parts):
        found = [fast.nearest(part, codebook) for part in parts]
        return [np.concatenate(each).tobytes() for each in zip(*found, strict=True)]

    for size in (7, 48, 49, 999):
        assert of([vectors[i : i + size] for i in range(0, 1000, size)]) == want
    monkeypatch.setattr(fast, "SMALL", 0)
    for count in (1, 2, 3, 4):
        threads(count)
        assert of([vectors]) == want


# --- Prepared codebooks --------------------------------------------------------------------------


def test_a_prepared_codebook_is_a_copy_that_serves_many_calls(fast):
    codebook, before = normal(20, 50, 6), normal(20, 50, 6)
    prepared = fast.prepare(codebook)
    codebook[:] = 0
    for seed, scale in enumerate((1, 1e6, 1)):  # the screen gives up for the second call alone
        vectors = scale * normal(seed, 100, 6)
        np.testing.assert_array_equal(
            fast.nearest(vectors, prepared)[0], definition(vectors, before)[0]
        )
    assert prepared.grid is not None


def test_a_prepared_codebook_of_another_dtype(fast):
    codebook = normal(21, 50, 6, dtype="f8") / 3
    for dtypes in (("f4", "f8"), ("f8", "f4")):
        vectors, book = normal(22, 90, 6, dtype=dtypes[0]), codebook.astype(dtypes[1])
        for prepared in (fast.prepare(book), reference.prepare(book)):
            for module in (fast, reference):
                codes, distances = module.nearest(vectors, prepared)
                want, total = definition(vectors, book)
                np.testing.assert_array_equal(codes, want)
                np.testing.assert_array_equal(distances, total)


def test_the_fuzzer_finds_nothing(fast):
    program = Path(__file__).with_name("fuzz_nearest.py")
    done = subprocess.run([sys.executable, program, "--cases", "300", "--no-large"],
                          capture_output=True, text=True, cwd=program.parents[2],
                          env={**os.environ, "PYTHONPATH": python_path(program.parents[2])})
    assert done.returncode == 0, done.stdout + done.stderr
