"""CUDA's exact nearest codeword: codes and distances of the reference, whichever screen looks."""

from types import SimpleNamespace

import numpy as np
import pytest

from minae.kernels import reference


@pytest.fixture(params=["tensor cores", "own"])
def search(request, cuda, monkeypatch):
    """The module, whose searches in float32 take this screen."""
    module = cuda("search")
    dims = range(1, 257) if request.param == "tensor cores" else range(0)
    monkeypatch.setattr(module, "TENSOR", dims)
    return module


def definition(z, e):
    """By NumPy, whatever the library: to CuPy's own kernels denormal floats are 0."""
    total, dtype = np.zeros((*z.shape[:-1], len(e))), np.result_type(z, e)
    with np.errstate(over="ignore"):
        for d in range(e.shape[1]):
            total += (z[..., d, None].astype("f8") - e[:, d].astype("f8")) ** 2
        return total.argmin(axis=-1), total.min(axis=-1).astype(dtype)


@pytest.fixture
def check(search, array, numpy):
    """``check(vectors, codebook)``: the search finds what the definition does, to the bit."""

    def compare(vectors, codebook):
        if search.TENSOR and np.result_type(vectors, codebook) == np.float64:
            return  # which the tensor cores leave to the other screen
        found = search.nearest(array(vectors), array(codebook))
        for ours, theirs in zip(found, definition(vectors, codebook), strict=True):
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
            np.testing.assert_array_equal(numpy(ours), theirs)

    return compare


def normal(seed, *shape, dtype="f4"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def integers(seed, top, n, d, k, dtype="f4"):
    """Whole numbers: where ``top`` is small, ties and duplicates abound."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-top, top + 1, (size, d)).astype(dtype) for size in (n, k))


# --- Any shape -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("top", [1, 64])
def test_every_remainder(check, dtype, top):
    for n in (1, 7, 8, 9, 65, 129, 530):
        check(*integers(n, top, n, 5, 10, dtype))
    for d in (1, 2, 3, 4, 5, 7, 8, 15, 17, 31, 32):
        check(*integers(d, top, 9, d, 140, dtype))
    for k in (1, 2, 31, 32, 33, 127, 128, 129, 300):
        check(*integers(k, top, 9, 6, k, dtype))


@pytest.mark.parametrize("dims", [33, 64, 250, 256, 257, 300])
def test_many_dimensions(check, dims):
    check(*integers(dims, 2, 70, dims, 140))
    check(normal(dims, 70, dims), normal(1, 140, dims))


def test_shapes(check):
    check(normal(0, 2, 0, 3), normal(1, 4, 3))
    check(normal(0, 3), normal(1, 4, 3))
    check(normal(0, 4, 5, 2, 3), normal(1, 4, 3))
    check(normal(0, 40, 6)[::2, ::2], normal(1, 3, 70).T)


@pytest.mark.parametrize("cells, shared", [(1, 512), (1 << 14, 512), (1 << 25, 1), (1 << 25, 3)])
def test_neither_chunks_nor_shares_change_a_code(search, check, monkeypatch, cells, shared):
    monkeypatch.setattr(search, "CELLS", cells)
    monkeypatch.setattr(search, "SHARED", shared)
    check(normal(2, 1100, 4), normal(3, 300, 4))


# --- Any numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtypes", [("f4", "f4"), ("f8", "f8"), ("f4", "f8"), ("f8", "f4")])
@pytest.mark.parametrize("offset", [0, 1e3, 1e4])
def test_far_from_the_origin(check, dtypes, offset):
    vectors = (normal(0, 3, 40, 24, dtype="f8") + offset).astype(dtypes[0])
    codebook = (normal(1, 130, 24, dtype="f8") + offset).astype(dtypes[1])
    check(vectors, codebook)
    check(codebook[:40].astype(dtypes[0]), codebook[::-1])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_any_scale(check, dtype):
    powers = (-45, -40, -30, -23, -21, -20, -19, -18, -10, 10, 18, 19, 20, 30, 37)
    if dtype == "f8":
        powers = (-323, -310, -200, -162, -161, -154, -30, 30, 102, 153, 154, 200, 307)
    for power in powers:
        vectors = (normal(2, 20, 5, dtype="f8") * 10.0**power).astype(dtype)
        codebook = (normal(3, 60, 5, dtype="f8") * 10.0**power).astype(dtype)
        check(np.concatenate([vectors, np.ones((4, 5), dtype)]), codebook)
        codebook[7] = np.finfo(dtype).max  # a stray codeword
        vectors[3] = -np.finfo(dtype).max
        check(vectors, codebook)


def test_squares_that_underflow_mislead_no_screen(check):
    """In float32 the squares of ``near`` round up and those of ``far`` to 0: their order turns."""
    near, far, large = np.zeros((3, 300), "f4")
    near[:20], far[:], large[0] = 1.01 * 2.0**-75, 0.995 * 2.0**-75, 0.99 * 2.0**-60
    codebook = np.array([far, near, -far, -near, large, -large])
    for dims in (200, 300):
        check(np.zeros((9, dims), "f4"), codebook[:, :dims])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_denormals_signed_zeros_and_the_largest_numbers(check, dtype):
    rng, info = np.random.default_rng(4), np.finfo(dtype)
    least, tiny = info.smallest_subnormal, info.tiny
    special = [0.0, -0.0, 1.0, -1.0, least, -tiny, 3 * tiny, info.max]
    for few in (2, 4, 6, 7, 8):
        for d in (1, 4, 9):
            check(*(rng.choice(special[:few], (n, d)).astype(dtype) for n in (10, 70)))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("nudge", [0, 1e-7, 1e-15, 1e-3])
@pytest.mark.parametrize("offset", [0, 1e3])
def test_midpoints(check, dtype, nudge, offset):
    codebook = (normal(5, 64, 16, dtype="f8") + offset).astype(dtype)
    codebook = np.concatenate([codebook, codebook[::-1]])  # each twice: the first wins
    pairs = np.random.default_rng(6).integers(0, 128, (2, 200))
    middle = (codebook[pairs[0]] / 2 + codebook[pairs[1]] / 2).astype(dtype)
    check((middle * (1 + nudge)).astype(dtype), codebook)
    two = np.tile(codebook[:2], (70, 1))
    check(((two[:1] + two[1:2]) / 2).repeat(9, axis=0), two)


@pytest.mark.parametrize("spread", [0, 1e-6, 1e-3, 1e-2])
def test_codewords_that_no_screen_tells_apart(check, spread):
    """More survive than a warp has lanes: the lowest of all is found, the first where they tie."""
    codebook = 1 + spread * normal(7, 200, 8)
    check(normal(8, 20, 8), codebook)
    check(codebook[:20] + spread * normal(9, 20, 8), codebook)
    check(normal(8, 20, 8), np.concatenate([np.full((1, 8), 1e6, "f4"), codebook]))


# --- The screens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [1, 2, 3])
def test_a_screen_finds_the_lowest_score_of_each_group(search, array, numpy, shares):
    vectors, codebook = normal(18, 40, 20), normal(19, 300, 20)
    screen = search.prepare(array(codebook)).packed
    found = array(np.zeros((screen.rows // 8, 12, 8)), "f4")
    given = array(vectors), screen.centre, screen.packed, 40, 20, 3
    screen.launch("screen", (1, shares), *given, found)
    a, b = (x - numpy(screen.centre)[:20].astype("f8") for x in (vectors, codebook))
    scores = np.full((40, 12 * 32), np.inf)
    scores[:, :300] = (b**2).sum(axis=1) / 2 - a @ b.T
    size = np.linalg.norm(a, axis=1).max() * np.linalg.norm(b, axis=1).max()
    np.testing.assert_allclose(
        numpy(found).swapaxes(1, 2).reshape(-1, 12)[:40],
        scores.reshape(40, 12, 32).min(axis=2),
        rtol=0, atol=size * (2**-7 if screen.name == "bf16" else 2**-20),
    )  # fmt: skip


@pytest.mark.parametrize("scale, stray", [(1, 0), (1e-4, 0), (1, 1e6)],
                         ids=["alike", "small, as at the start", "a stray codeword"])
def test_only_a_few_codewords_reach_the_decision(search, array, scale, stray):
    vectors, codebook = normal(10, 60, 48), scale * normal(11, 512, 48)
    codebook[511] += stray
    squares = ((vectors[:, None].astype("f8") - codebook) ** 2).sum(axis=2)
    near = np.argsort(squares, axis=1)[:, :32]
    for row in range(0, 60, 12):
        prepared = search.prepare(array(codebook))
        assert prepared.packed
        changed = np.tile(vectors[row], (512, 1))  # as near as can be: would win, if looked at
        changed[near[row]] = codebook[near[row]]
        prepared.codebook[:] = array(changed)
        code, _ = search.nearest(array(vectors[row]), prepared)
        assert int(code) == near[row, 0]


# --- Rows and codewords that are not finite ------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("step", [1, 2, 48], ids=["all rows", "half of them", "few"])
def test_rows_that_are_not_finite(search, array, numpy, value, dtype, step):
    vectors, codebook = normal(14, 4, 48, 5, dtype=dtype), normal(15, 170, 5, dtype=dtype)
    want, total = (numpy(a) for a in reference.nearest(array(vectors), array(codebook)))
    rows = np.arange(4 * 48).reshape(4, 48) % step == 0
    vectors[rows, 3], want[rows], total[rows] = value, -1, np.nan
    with pytest.raises(ValueError, match=r"the vector at \[0, 0\] of \(4, 48\) is not finite"):
        search.nearest(array(vectors), array(codebook))
    codes, distances = search.nearest(array(vectors), array(codebook), nonfinite="mask")
    np.testing.assert_array_equal(numpy(codes), want)
    np.testing.assert_array_equal(numpy(distances), total)
    codebook[3, 1] = value
    for call in (search.prepare, lambda book: search.nearest(array(vectors[0, 1:2]), book)):
        with pytest.raises(ValueError, match="codeword 3 is not finite"):
            call(array(codebook))


def test_a_search_that_masks_asks_the_device_for_nothing(search, array, monkeypatch):
    """Beyond its kernels it makes and lays out arrays alone, which waits for no result."""
    codebook, xp = search.prepare(array(normal(16, 40, 5))), search.xp
    harmless = "ascontiguousarray", "empty", "zeros", "float32", "float64", "int64", "uint32"
    monkeypatch.setattr(search, "xp", SimpleNamespace(**{n: getattr(xp, n) for n in harmless}))
    search.nearest(array(normal(17, 30, 5)), codebook, nonfinite="mask")


def test_errors_are_those_of_the_reference(search, array):
    ones = [array(np.ones(shape, "f4")) for shape in [(5, 3), (2, 4), (3,), (0, 3), (4, 0), (2, 3)]]
    vectors, narrow, flat, empty, thin, book = ones
    for z, e, options in [
        (vectors, narrow, {}), (vectors, flat, {}), (vectors, empty, {}), (thin, thin, {}),
        (vectors.astype("i8"), book, {}), (vectors, book.astype("f2"), {}), ([[1.0] * 3], book, {}),
        (vectors, book, {"nonfinite": "no"}),
    ]:  # fmt: skip
        with pytest.raises((TypeError, ValueError)) as expected:
            reference.nearest(z, e, **options)
        with pytest.raises(expected.type) as error:
            search.nearest(z, e, **options)
        assert str(error.value) == str(expected.value)


# --- Prepared codebooks --------------------------------------------------------------------------


def test_a_prepared_codebook_is_a_copy(search, array, numpy):
    codebook, vectors = array(normal(20, 50, 6)), array(normal(21, 40, 6))
    want = numpy(reference.nearest(vectors, codebook)[0])
    prepared = search.prepare(codebook)
    codebook[:] = 0
    for _ in range(2):
        np.testing.assert_array_equal(numpy(search.nearest(vectors, prepared)[0]), want)


def test_a_prepared_codebook_of_another_dtype_or_form(search, array, numpy):
    codebook = normal(22, 50, 6, dtype="f8") / 3
    for dtypes in (("f4", "f8"), ("f8", "f4")):
        z, e = array(normal(23, 40, 6, dtype=dtypes[0])), array(codebook, dtypes[1])
        want = [numpy(a) for a in reference.nearest(z, e)]
        for form in (search, reference):
            for book in (search.prepare(e), reference.prepare(e)):
                for ours, theirs in zip(form.nearest(z, book), want, strict=True):
                    np.testing.assert_array_equal(numpy(ours), theirs)


def test_a_card_without_such_tensor_cores_screens_by_itself(search, array, numpy, monkeypatch):
    """It does not try to compile for them, either: it would at each search."""
    monkeypatch.setattr(search, "tensor_cores", lambda: False)
    monkeypatch.setattr(search.Prepared, "_bf16", None)
    z, e = array(normal(24, 30, 6)), array(normal(25, 50, 6))
    assert search.prepare(e).packed.name == "float"
    np.testing.assert_array_equal(
        numpy(search.nearest(z, e)[0]), numpy(reference.nearest(z, e)[0])
    )
