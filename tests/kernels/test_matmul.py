"""Products of matrices in parts, while NumPy's OpenBLAS keeps to one thread."""

import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import minae

pytestmark = pytest.mark.kernels

LARGE = 1024  # rows and columns that are worth several threads


@pytest.fixture
def fast(compiled):
    return compiled("products")


@pytest.fixture
def blas(fast, monkeypatch):
    """How many threads OpenBLAS has, which has four here, and takes none of them."""
    if fast._openblas() is None:
        pytest.skip("NumPy has another BLAS")
    has = [4]
    counted = fast._OpenBLAS(lambda: has[-1], has.append)
    monkeypatch.setattr(fast, "_openblas", lambda: counted)
    return has


def drawn(*shape, dtype="float32"):
    return np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)


@pytest.mark.parametrize("shapes", [
    ((LARGE, 50), (50, 90)), ((90, 50), (50, LARGE)), ((1, LARGE), (LARGE, LARGE + 1)),
    ((LARGE, LARGE), (LARGE, 1)), ((5, 90, 128), (5, 128, 80)), ((2, 3, 90, 128), (2, 3, 128, 80)),
    ((1, LARGE, 40), (1, 40, 90)), ((1, 1, 90, 40), (1, 1, 40, LARGE)),
    ((2, 1, 90, 64), (3, 64, 80)), ((7, 5, 64), (64, 5000)), ((LARGE * 2, LARGE), (LARGE,)),
    ((0, 40), (40, 90)), ((40, 0), (0, 90)), ((3, 4), (4, 5)), ((4,), (4,)),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64", ">f8", "int64", "complex64"])
def test_what_numpy_makes_of_them(fast, blas, threads, shapes, dtype):
    threads(3)
    x, y = (drawn(*shape, dtype=dtype) for shape in shapes)
    wanted = x @ y
    turned = np.ascontiguousarray(y.T).T
    for other in (y, turned):
        found = fast.matmul(x, other)
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        np.testing.assert_array_equal(found, wanted)
    assert blas[-1] == 4


def test_the_parts_are_computed_by_one_thread_of_blas(fast, blas, threads, monkeypatch):
    threads(3)
    matmul, seen = np.matmul, []

    def watched(x, y, out):
        seen.append((blas[-1], out.shape))
        return matmul(x, y, out=out)

    monkeypatch.setattr(fast.np, "matmul", watched)
    fast.matmul(drawn(LARGE, 50), drawn(50, 90))
    assert seen == [(1, (256, 90))] * 4
    seen.clear()
    fast.matmul(drawn(90, 50), drawn(50, LARGE - 1))
    assert sorted(seen) == [(1, (90, 511)), (1, (90, 512))]
    seen.clear()
    fast.matmul(drawn(1, 8, 90, 80), drawn(1, 8, 80, 80))
    assert seen == [(1, (1, 1, 90, 80))] * 8
    seen.clear()
    fast.matmul(drawn(1, 1, LARGE, 50), drawn(1, 1, 50, 90))
    assert seen == [(1, (1, 1, 256, 90))] * 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_number_of_threads_changes_a_bit(fast, threads, dtype):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(dtype) for shape in ((1001, 203), (203, 107)))
    found = set()
    for count in (1, 2, 3):
        threads(count)
        found |= {fast.matmul(x, y).tobytes(), fast.matmul(y.T, x.T).T.tobytes()}
    assert len(found) == 2


def test_blas_has_its_threads_again_after_an_error_and_after_the_last_of_many(fast, blas, threads):
    threads(1)
    with pytest.raises(ValueError, match="mismatch"):
        fast.matmul(drawn(3, 4), drawn(5, 6))
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with fast._one_thread(fast._openblas()):
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=stay)
    other.start()
    inside.wait(10)
    fast.matmul(drawn(3, 4), drawn(4, 6))
    assert blas[-1] == 1
    leave.set()
    other.join()
    assert blas[-1] == 4
    with pytest.raises(RuntimeError), fast._one_thread(fast._openblas()):
        raise RuntimeError
    assert blas[-1] == 4


@pytest.mark.parametrize("interrupted", [1, 4])
def test_blas_has_its_threads_again_after_ctrl_c(fast, blas, monkeypatch, interrupted):
    """As they are taken from it; or as it gets them back, and then after the next product."""
    signals = [KeyboardInterrupt]

    def set_threads(count):
        due = count == interrupted and signals
        if count == 1 or not due:
            blas.append(count)
        if due:
            raise signals.pop()

    counted = fast._OpenBLAS(lambda: blas[-1], set_threads)
    monkeypatch.setattr(fast, "_openblas", lambda: counted)
    with pytest.raises(KeyboardInterrupt):
        fast.matmul(drawn(3, 4), drawn(4, 6))
    fast.matmul(drawn(3, 4), drawn(4, 6))
    assert blas[-1] == 4 and not fast._inside


def test_what_numpy_says_of_errors_is_what_the_caller_has_chosen(fast, threads):
    threads(2)
    x = np.full((LARGE, 4), 1e30, "float32")
    y = np.full((4, LARGE), 1e30, "float32")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        assert np.isinf(fast.matmul(x, y)).all()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        fast.matmul(x, y)


def test_who_is_called_upon_an_error_is_called_from_any_thread(fast, monkeypatch):
    def elsewhere(work, parts):
        with ThreadPoolExecutor(1) as pool:
            list(pool.map(work, range(parts)))

    monkeypatch.setattr(fast, "share", elsewhere)
    x, y = np.full((LARGE, 4), 1e30, "float32"), np.full((4, LARGE), 1e30, "float32")
    seen = []
    with np.errstate(over="call", call=lambda kind, flag: seen.append(kind)):
        fast.matmul(x, y)
    assert set(seen) == {"overflow"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_that_is_forked_meanwhile_has_all_threads_of_blas(fast, blas):
    with fast._one_thread(fast._openblas()):
        child = os.fork()
        if child == 0:
            os._exit(0 if blas[-1] == 4 and not fast._inside else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert blas[-1] == 4


def test_the_blas_of_numpy_is_found(fast):
    config = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    if "openblas" not in config["name"]:
        pytest.skip("NumPy has another BLAS")
    blas = fast._openblas()
    before = blas.threads()
    with fast._one_thread(blas):
        assert blas.threads() == 1
    assert blas.threads() == before


@pytest.mark.parametrize("name", ["scipy_openblas_{}64_", "openblas_{}"])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_openblas_on_the_threads_of_openmp_is_left_alone(fast, monkeypatch, name, kind):
    """Whoever sets their number there sets it for the calling thread."""
    functions = {
        "get_parallel": lambda: kind, "get_num_threads": lambda: 4, "set_num_threads": [].append
    }
    library = SimpleNamespace(**{name.format(verb): f for verb, f in functions.items()})
    monkeypatch.setattr(fast.ctypes, "PyDLL", lambda path: library)
    found = fast._openblas.__wrapped__()
    assert found is None if kind == fast.OPENMP else found.threads() == 4


def test_the_engine_takes_large_products_here_and_small_ones_not(fast, monkeypatch):
    taken = []

    def watched(x, y):
        taken.append((x.shape, y.shape))
        return x @ y

    monkeypatch.setattr(minae.kernels, "matmul", watched)
    x, w = minae.Tensor(drawn(LARGE, 300)), minae.Tensor(drawn(300, 300), requires_grad=True)
    (x @ w).sum().backward()
    assert taken == [((LARGE, 300), (300, 300)), ((300, LARGE), (LARGE, 300))]
    minae.Tensor(drawn(4, 5)) @ minae.Tensor(drawn(5, 6))
    assert len(taken) == 2
