"""The stand-in for CuPy has CuPy's manners: what it refuses, counts, captures and runs out of."""

import copy
import importlib.util
import inspect
import pickle
import re
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "standin" / "cupy"


def load():
    """The stand-in, under another name where it is not the ``cupy`` of this process."""
    found = sys.modules.get("cupy")
    if hasattr(found, "standin"):
        return found
    spec = importlib.util.spec_from_file_location("standin_cupy", FOLDER / "__init__.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cupy = load()
cuda = cupy.cuda
HOST = np.arange(6, dtype="f4").reshape(2, 3)


@pytest.fixture
def x():
    return cupy.asarray(HOST)


# --- What it refuses, and what it takes -----------------------------------------------------------


def host_added(x):
    host = HOST.copy()
    host += x


@pytest.mark.parametrize("mixed", [
    np.asarray, np.exp, np.sum, np.shape, host_added, np.from_dlpack,
    lambda x: np.add(x, 1), lambda x: np.where(HOST > 0, x, x), lambda x: np.stack([x, x]),
    lambda x: x + HOST, lambda x: HOST + x, lambda x: x @ HOST.T, lambda x: x == HOST,
    lambda x: x * [1, 2, 3], lambda x: x == None,  # noqa: E711
    lambda x: cupy.exp(HOST), lambda x: cupy.add(x, HOST), lambda x: cupy.add(x, x, out=HOST),
    lambda x: cupy.where(x > 0, x, HOST), lambda x: cupy.concatenate([x, HOST]),
    lambda x: cupy.concatenate([HOST, x]), lambda x: cupy.sum([1.0, 2.0]), lambda x: cupy.exp([1]),
    lambda x: x.__setitem__(..., HOST), lambda x: x.__setitem__(0, [1, 2, 3]),
    lambda x: x.__iadd__(HOST), lambda x: x[HOST.astype(int)], lambda x: x[HOST > 1],
    lambda x: x[cupy.asarray(1) :],
])  # fmt: skip
def test_nothing_is_converted_in_silence(mixed, x):
    with pytest.raises((TypeError, ValueError, BufferError, RuntimeError)) as caught:
        mixed(x)
    assert isinstance(caught.value, TypeError) or mixed is np.from_dlpack


@pytest.mark.parametrize("wrong", [
    lambda x: x.sum(where=x > 0), lambda x: x.max(initial=0), lambda x: x.item(0),
    lambda x: x.argsort(order="a"), lambda x: cupy.sum(x, where=x > 0),
    lambda x: cupy.round(x, n=1),
    lambda x: cupy.zeros(3, like=x), lambda x: cupy.bincount(x[0]), lambda x: list(range(x[0, 0])),
    lambda x: cupy.add.at(cupy.zeros(3, "int64"), cupy.asarray([0]), 1),
    lambda x: cupy.maximum.at(cupy.zeros(3, "float16"), cupy.asarray([0]), 1),
])  # fmt: skip
def test_options_and_dtypes_that_cupy_has_not(wrong, x):
    with pytest.raises(TypeError):
        wrong(x)


def test_sorts_are_stable_or_nothing(x):
    for sort in (x.argsort, x.sort, lambda **o: cupy.argsort(x, **o)):
        with pytest.raises(ValueError, match="stable"):
            sort(kind="quicksort")
    keys = cupy.asarray([1, 0, 1, 0] * 20)
    assert keys.argsort().tolist() == np.argsort(keys.get(), kind="stable").tolist()


def test_there_is_no_more_than_in_cupy(x):
    for name in ("errstate", "vectorize_", "RawKernel", "RawModule", "add_reduceat", "ndenumerate"):
        assert not hasattr(cupy, name)
    for name in ("__index__", "__array_interface__", "__imatmul__", "ctypes", "itemset"):
        assert not hasattr(x, name)
    for name in ("writeable", "aligned"):
        assert not hasattr(x.flags, name)
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


def test_numbers_mix_and_promote_as_in_numpy_2(x):
    assert (x + 1).dtype == (2.5 * x).dtype == (x * np.float32(2)).dtype == "f4"
    scaled = np.float64(2) * x
    assert type(scaled) is cupy.ndarray and scaled.dtype == "f8"
    assert scaled.tolist() == (2 * HOST).tolist()
    assert (x > 1).dtype == bool and (x.astype("i4") / 2).dtype == "f8"
    assert cupy.result_type(x, 1.0) == "f4"


def test_nothing_warns():
    assert np.isnan((cupy.zeros(2) / 0).get()).all()
    assert cupy.log(cupy.zeros(1)).item() == -np.inf


def test_another_librarys_operator_comes_after(x):
    class Other:
        __array_ufunc__ = None

        def __radd__(self, other):
            return "theirs"

    assert x + Other() == "theirs"


# --- What it is -----------------------------------------------------------------------------------


def test_all_results_are_arrays(x):
    assert all(type(y) is cupy.ndarray for y in (x.sum(), x[0, 1], cupy.sqrt(4.0), *x, *x[0]))
    assert x.sum().shape == () and x.sum().item() == 15
    with pytest.raises(TypeError, match="0-d"):
        iter(x.sum())
    with pytest.raises(TypeError):
        len(x.sum())
    corner = x[0, 1]
    x[0, 1] = 9
    assert corner.item() == 9  # a view


def test_views_know_their_base(x):
    for view in (x[0], x[0][1:], x.T, x.reshape(3, 2), x[:, None], x.ravel(), x[0, 0]):
        assert view.base is x and not view.flags.owndata and cupy.may_share_memory(view, x)
    for copied in (x + 0, x[cupy.asarray([0])], x.T.ravel(), x.copy(), x[cupy.asarray(0)]):
        assert copied.base is None and copied.flags.owndata
        assert not cupy.may_share_memory(copied, x)
    windows = cupy.lib.stride_tricks.as_strided(x, (2, 2), (4, 4))
    assert windows.base is None and windows.tolist() == [[0, 1], [1, 2]]
    row = x[0]
    assert row.T is row and row.squeeze() is row and cupy.asarray(row) is row
    assert x.data.ptr + 12 == x[1].data.ptr and x.data.mem is x[1].data.mem


def test_new_memory_holds_something():
    assert np.isnan(cupy.empty((2, 3), "f4").get()).all()
    assert (cupy.empty(3, "i8").get() == -1).all()


def test_it_is_copied_and_pickled(x):
    for again in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert type(again) is cupy.ndarray and again.tolist() == x.tolist()
        assert not cupy.may_share_memory(again, x)


def test_dlpack_is_for_the_device_alone(x):
    assert x.__dlpack_device__() == (2, 0)
    again = cupy.from_dlpack(x)
    again[0, 0] = 7
    assert x[0, 0].item() == 7
    with pytest.raises(TypeError, match="device"):
        cupy.from_dlpack(HOST)
    assert np.from_dlpack(x, device="cpu").tolist() == x.tolist()


# --- Indices --------------------------------------------------------------------------------------


def test_indices_in_arrays_wrap_and_others_do_not(x):
    assert x[cupy.asarray([2, -3])].tolist() == x[cupy.asarray([0, 1])].tolist()
    assert x[:, cupy.asarray(4)].tolist() == [1, 4]
    assert x[cupy.asarray([0, 3]), cupy.asarray([5, 3])].tolist() == [2, 3]
    assert x[None, ..., [4]].tolist() == [[[1], [4]]]
    assert x.take(cupy.asarray([7])).tolist() == [1]
    assert cupy.take_along_axis(x, cupy.asarray([[3], [4]]), 1).tolist() == [[0], [4]]
    x[cupy.asarray([3]), 0] = 8
    cupy.add.at(x, cupy.asarray([2]), 1)
    assert x.tolist() == [[1, 2, 3], [8, 4, 5]]
    with pytest.raises(IndexError):
        x[2]


def test_assignments_to_one_place_come_in_another_order_than_numpys():
    out = cupy.zeros(3)
    out[cupy.asarray([1, 1, 0])] = cupy.asarray([5.0, 6.0, 7.0])
    assert out.tolist() == [7, 5, 0]
    cupy.add.at(out, cupy.asarray([1, 1]), cupy.asarray([1.0, 2.0]))
    cupy.maximum.at(out, cupy.asarray([2, 2]), cupy.asarray([4.0, 3.0]))
    assert out.tolist() == [7, 8, 4]


@pytest.mark.parametrize("index", [
    ([0, 1], [2, 0]), (slice(None), [2, 0]), ([1], slice(1, None)), [[0], [1]],
    ([[0], [1]], [1, 2]), (0, [1, 1]), (None, [0, 1], None), (..., [1]), [], (1, ..., 2),
])  # fmt: skip
def test_indices_mean_what_they_mean_to_numpy(index, x):
    assert x[index].tolist() == HOST[index].tolist() and x[index].shape == HOST[index].shape
    host = HOST.copy()
    x[index] = host[index] = 9
    assert x.tolist() == host.tolist()


def test_masks_mean_what_they_mean_to_numpy(x):
    mask = HOST > 2
    assert x[cupy.asarray(mask)].tolist() == HOST[mask].tolist()
    assert x[cupy.asarray([True, False])].tolist() == HOST[[True, False]].tolist()
    host = HOST.copy()
    host[mask] = [1, 2, 3]
    x[cupy.asarray(mask)] = cupy.asarray([1.0, 2.0, 3.0])
    assert x.tolist() == host.tolist()


# --- What the host waits for ----------------------------------------------------------------------

WAITS = {
    "get": lambda x: x.get(), "asnumpy": lambda x: cupy.asnumpy(x),
    "item": lambda x: x[0, 0].item(), "bool": lambda x: bool(x[0, 0]),
    "int": lambda x: int(x[0, 0]), "float": lambda x: float(x.sum()),
    "tolist": lambda x: x.tolist(), "repr": repr, "str": str, "format": lambda x: f"{x}",
    "tobytes": lambda x: x.tobytes(), "pickle": pickle.dumps,
    "nonzero": lambda x: x.nonzero(), "where": lambda x: cupy.where(x), "if": lambda x: not x.any(),
    "flatnonzero": lambda x: cupy.flatnonzero(x), "argwhere": lambda x: cupy.argwhere(x),
    "unique": lambda x: cupy.unique(x), "a mask": lambda x: x[x > 1],
    "to a mask": lambda x: x.__setitem__(x > 1, 0), "repeat": lambda x: x[0].repeat(ONCE, 0),
    "synchronize": lambda x: cuda.get_current_stream().synchronize(),
    "device": lambda x: cuda.Device().synchronize(), "event": lambda x: cuda.Event().synchronize(),
}  # fmt: skip
ONCE = cupy.asarray([1, 1, 1])
NEVER = {
    "asarray": lambda x: cupy.asarray(HOST), "sum": lambda x: x.sum(), "copy": copy.deepcopy,
    "index": lambda x: x[cupy.asarray([0, 1])], "put": lambda x: x.__setitem__(ONCE, x[0]),
    "where": lambda x: cupy.where(x > 0, x, 0), "array_equal": lambda x: cupy.array_equal(x, x),
    "count_nonzero": lambda x: cupy.count_nonzero(x), "repeat": lambda x: x.repeat(2),
    "shape": lambda x: (len(x), x.shape, x.dtype, x.size, list(x)), "set": lambda x: x.set(HOST),
    "pinned": lambda x: x.get(out=pinned(), blocking=False),
}  # fmt: skip


def pinned():
    memory = cuda.alloc_pinned_memory(24)
    return np.frombuffer(memory, "f4", 6).reshape(2, 3)


@pytest.mark.parametrize("action", WAITS.values(), ids=WAITS)
def test_a_wait_is_counted_and_refused_in_a_capture(action, x):
    with cupy.standin.count() as count:
        action(x)
    assert count.waits == 1
    [place] = count.places
    assert Path(place.rpartition(":")[0]) in (Path(__file__), Path(copy.__file__))
    with cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureUnsupported"):
            action(x)
        with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()


@pytest.mark.parametrize("action", NEVER.values(), ids=NEVER)
def test_what_needs_no_wait(action, x):
    with cupy.standin.count() as count:
        action(x)
    assert count.waits == 0


def test_bincount_looks_twice():
    with cupy.standin.count() as count:
        counts = cupy.bincount(cupy.asarray([0, 2, 2]), minlength=4)
    assert counts.tolist() == [1, 0, 2, 0] and count.waits == 2


# --- Capture --------------------------------------------------------------------------------------


def captured(function, *args):
    with cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        assert stream.is_capturing()
        out = function(*args)
        graph = stream.end_capture()
    assert not stream.is_capturing()
    return out, graph


def test_a_graph_computes_anew_into_the_same_arrays(x):
    state, index = cupy.zeros(3, "f4"), cupy.asarray([0, 1])

    def step():
        rows = x[index] * 2 - cupy.ones(3, "f4")
        state[:] = state + rows.sum(axis=0)  # what it read is what the last launch left
        view = rows.T[1:]  # (2, 2)
        view += 1
        rows[index, index] = 0.5
        products = cupy.empty((2, 4), "f4")
        cupy.add(rows, rows[::-1], out=products[:, 1:])
        top = rows.max(axis=1)
        return rows, view, products[:, 1:], cupy.tile(top, 2)

    def plain(host, index, state):
        rows = host[index] * 2 - 1
        state = state + rows.sum(axis=0)
        rows[:, 1:] += 1
        rows[index, index] = 0.5
        return state, rows

    (rows, view, products, joined), graph = captured(step)
    at = rows.data.ptr
    for seed in range(3):
        values = np.random.default_rng(seed).random((2, 3), dtype="f4")
        before = state.get()
        x.set(values)
        index[...] = cupy.asarray([seed % 2, 1 - seed % 2])
        graph.launch()
        want, wanted_rows = plain(values, index.get(), before)
        np.testing.assert_allclose(state.get(), want, rtol=1e-6)
        np.testing.assert_allclose(rows.get(), wanted_rows, rtol=1e-6)
        assert view.tolist() == rows.T[1:].tolist() and rows.data.ptr == at
        assert products.tolist() == (rows + rows[::-1]).tolist()
        assert joined.tolist() == 2 * rows.max(axis=1).tolist()


@pytest.mark.parametrize("action", [
    lambda x: x @ x.T, lambda x: cupy.dot(x, x.T), lambda x: cupy.einsum("ij,ij->i", x, x),
    lambda x: cupy.concatenate([x, x]), lambda x: cupy.stack([x, x]),
])  # fmt: skip
def test_a_capture_calls_no_cublas_and_brings_no_table(x, action):
    with pytest.raises((NotImplementedError, cuda.CUDARuntimeError)):
        captured(action, x)
    assert cupy.einsum("ij->i", x).tolist() == x.sum(axis=1).tolist()


def test_a_graph_reads_and_writes_pinned_memory(x):
    source, target = pinned(), pinned()

    def step():
        x.set(source)
        (x * 2).get(out=target, blocking=False)

    source[...] = 1
    _, graph = captured(step)
    source[...] = 4
    graph.launch(cuda.Stream())
    assert (target == 8).all()


@pytest.mark.parametrize("action", [
    lambda x: cupy.asarray(HOST), lambda x: x.set(HOST), lambda x: x[[0, 1]],
    lambda x: x.get(out=HOST.copy(), blocking=False), lambda x: EMPTY.launch(),
])  # fmt: skip
def test_a_capture_takes_nothing_from_other_memory_of_the_host(action, x):
    with cuda.Stream() as stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="Unsupported"):
            action(x)
        with pytest.raises(RuntimeError, match="Invalidated"):
            stream.end_capture()
    assert x.tolist() == HOST.tolist()


_, EMPTY = captured(lambda: None)


def test_numbers_and_other_streams_are_no_hindrance_to_a_capture(x):
    def step():
        with cuda.Stream.null:
            float(x.sum())
        return x * cupy.asarray(2.0, "f4") * cupy.asarray(np.array(1.0, "f4"))

    out, _ = captured(step)
    assert out.tolist() == (2 * HOST).tolist()


def test_the_null_stream_cannot_capture_nor_any_stream_twice():
    with pytest.raises(RuntimeError):
        cuda.Stream.null.begin_capture()
    stream = cuda.Stream()
    with pytest.raises(RuntimeError):
        stream.end_capture()
    stream.begin_capture()
    with pytest.raises(RuntimeError):
        stream.begin_capture()
    stream.end_capture()


def test_each_thread_has_its_own_stream():
    found = []
    with cuda.Stream() as stream:
        thread = threading.Thread(target=lambda: found.append(cuda.get_current_stream()))
        thread.start(), thread.join()
        assert cuda.get_current_stream() is stream and found == [cuda.Stream.null]
    assert cuda.get_current_stream() is cuda.Stream.null


# --- Memory and devices ---------------------------------------------------------------------------


@pytest.fixture
def pool():
    """The pool of this test."""
    pool = cuda.MemoryPool()
    with cuda.using_allocator(pool.malloc):
        yield pool


def test_every_array_is_allocated_and_given_back(pool):
    x = cupy.zeros((10, 100))
    assert pool.used_bytes() == 8192  # in blocks of 512
    y = x[2:].T.ravel()
    assert pool.used_bytes() == 8192 + 6656
    view = y[3:]
    del x, y
    assert view.shape == (797,) and pool.used_bytes() == 6656
    del view
    assert pool.used_bytes() == 0 and pool.total_bytes() == pool.free_bytes() == 14848
    pool.free_all_blocks()
    assert pool.total_bytes() == 0


def test_memory_runs_out(pool):
    pool.set_limit(size=10_000)
    x = cupy.zeros(1000)
    with pytest.raises(MemoryError, match="Out of memory allocating 8,192 bytes") as caught:
        x + 1
    assert isinstance(caught.value, cuda.memory.OutOfMemoryError)
    x += 1
    del x, caught
    assert cupy.ones(1000).sum().item() == 1000


def test_an_allocator_learns_the_size_of_each_array():
    sizes = []

    def allocator(size):
        sizes.append(size)
        return cupy.get_default_memory_pool().malloc(size)

    with cuda.using_allocator(allocator):
        x = cupy.asarray(HOST)
        x[:, 1:].sum()
    cupy.zeros(3)
    assert sizes == [24, 4]


def test_a_device_is_refused_at_its_use(monkeypatch, x):
    other = cuda.Device(1)
    with pytest.raises(RuntimeError, match="cudaErrorInvalidDevice"):
        other.use()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert cuda.runtime.getDeviceCount() == 2
    with other:
        assert cuda.Device() == other and cupy.zeros(3).device == other
        with pytest.raises(ValueError, match="another device"):
            x + 1
    assert x.device == cuda.Device(0) == cuda.Device() and cuda.Device().compute_capability == "90"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(RuntimeError, match="cudaErrorNoDevice"):
        cuda.runtime.getDeviceCount()


def test_pinned_arrays_of_cupyx():
    if sys.modules.get("cupy") is not cupy:
        pytest.skip("cupyx stands beside cupy")
    import cupyx

    for array in (cupyx.zeros_pinned((2, 3), "f4"), cupyx.empty_pinned((2, 3), "f4")[::-1]):
        assert cuda.is_pinned(array)
    assert (cupyx.zeros_pinned(3) == 0).all() and not cuda.is_pinned(HOST)


# --- The real one ---------------------------------------------------------------------------------


@pytest.fixture
def real():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no GPU
        real = pytest.importorskip("cupy", reason="the real CuPy is not installed")
    if hasattr(real, "standin"):
        pytest.skip("the stand-in takes the place of the real CuPy")
    return real


def public(owner):
    return {name for name in dir(owner) if not name.startswith("_")}


def test_all_names_are_cupys(real):
    assert public(cupy) - {"functions", "standin"} <= public(real)
    own = {"__weakref__", "__module__", "__dict__", "__sizeof__", "_host", "_memory"}
    assert set(dir(cupy.ndarray)) - own <= set(dir(real.ndarray))
    imported = {name for name in public(cuda) if inspect.ismodule(getattr(cuda, name))}
    own = {"BLOCK", "ERRORS", "TOTAL", "SimpleNamespace", "contextmanager", "is_pinned",
           "refuse_in_capture", "wait", "CUDARuntimeError", "OutOfMemoryError",
           "get_default_memory_pool"}  # fmt: skip
    assert public(cuda) - own - imported <= public(real.cuda)
    for name in ("runtime", "memory"):
        assert public(getattr(cuda, name)) <= public(getattr(real.cuda, name))
    for name in ("Stream", "Event", "Device", "MemoryPool", "Graph", "MemoryPointer"):
        own = {"captured", "broken"}
        assert public(getattr(cuda, name)) - own <= public(getattr(real.cuda, name)), name


def test_all_options_are_cupys(real):
    for name, function in vars(cupy).items():
        if not inspect.isfunction(function) or name in ("from_dlpack", "einsum"):
            continue  # written in C, or with options that the signature hides
        allowed = getattr(function, "allowed", None) or inspect.signature(function).parameters
        theirs = inspect.signature(getattr(real, name)).parameters
        assert set(list(allowed)[1:]) <= set(theirs), name  # what is first is given by position
    for name, options in sys.modules[cupy.ndarray.__module__].METHODS.items():
        line = (getattr(real.ndarray, name).__doc__ or "").splitlines()[0]
        assert set(options.split()) <= set(re.findall(r"(\w+)\b", line)), name


def test_all_ufuncs_are_cupys_and_those_that_scatter(real):
    for name in cupy.functions.UFUNCS:
        ufunc = getattr(real, name)
        assert isinstance(ufunc, (real.ufunc, type(real.matmul))), name
        scatters = bool(getattr(ufunc, "_scatter_op", None))
        assert hasattr(getattr(cupy, name), "at") <= scatters, name
