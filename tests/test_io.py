"""Files hold the old bytes or the new ones, and a damaged one raises FormatError."""

import importlib.util
import json
import os
import random
import threading

import fuzz_saving
import numpy as np
import pytest
from fuzz_saving import npz, safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minae
from minae import io

DTYPES = ["bool", "int8", "uint8", "int64", "float16", "float32", "float64"]
ARRAYS = {
    "layer.0.weight": np.arange(6.0).reshape(2, 3).T,
    "counts": np.array([3, 0, 7]),
    "scalar": np.float32(2.5),
    "empty": np.zeros((0, 4), "float32"),
    "flags": np.array([True, False]),
    "nan": np.array([np.nan, -0.0, np.inf], "float32"),
}


@pytest.fixture(params=[".npz", ".safetensors"])
def suffix(request):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors", reason="the safetensors library is not installed")
    return request.param


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_what_is_saved_comes_back(tmp_path, suffix, array):
    path = tmp_path / f"state{suffix}"
    given = ARRAYS | {"tensor": minae.Tensor(array([1.0, 2.0]), requires_grad=True)}
    io.save(path, given, {"epoch": 3, "names": ["a"]})
    found = io.load(path)
    assert list(found) == list(given) or suffix == ".safetensors"
    assert found.keys() == given.keys()
    assert same(found.pop("tensor"), np.array([1.0, 2.0]))
    assert all(same(found[name], ARRAYS[name]) for name in found)
    assert io.load_metadata(path) == {"epoch": 3, "names": ["a"]}
    assert os.listdir(tmp_path) == [path.name]


@given(hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0, max_side=3)))
def test_any_array_survives_in_npz(tmp_path_factory, x):
    path = tmp_path_factory.getbasetemp() / "drawn.npz"
    io.save(path, {"x": x})
    assert same(io.load(path)["x"], x)


def test_the_same_arrays_give_the_same_bytes(tmp_path, suffix):
    for name in "ab":
        io.save(tmp_path / f"{name}{suffix}", ARRAYS, {"epoch": 1})
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_numpy_reads_the_npz_and_upstream_the_safetensors(tmp_path):
    io.save(tmp_path / "a.npz", ARRAYS)
    with np.load(tmp_path / "a.npz") as found:
        assert all(same(found[name], value) for name, value in ARRAYS.items())
    np.savez(tmp_path / "b.npz", **ARRAYS)
    assert all(same(io.load(tmp_path / "b.npz")[name], value) for name, value in ARRAYS.items())
    upstream = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    io.save(tmp_path / "a.safetensors", ARRAYS)
    found = upstream.load_file(tmp_path / "a.safetensors")
    assert all(same(found[name], value) for name, value in ARRAYS.items())
    upstream.save_file({"x": ARRAYS["counts"]}, tmp_path / "b.safetensors")
    assert same(io.load(tmp_path / "b.safetensors")["x"], ARRAYS["counts"])
    assert io.load_metadata(tmp_path / "b.safetensors") == {}


LETTERS = "aZ09._-/ \\\"'{}[]:,\x01\n\x7f\u00e9\u03b2\u4e2d\U0001f600"
WIDTHS = ["bool", *(f"{kind}{n}" for kind in ("i", "u") for n in (1, 2, 4, 8)), "f2", "f4", "f8"]


def draw(rng):
    """A few arrays of any name, shape and dtype."""
    arrays = {}
    for _ in range(rng.randrange(5)):
        name = "".join(rng.choices(LETTERS, k=rng.randint(1, 8)))
        shape = rng.choices([0, 1, 2, 3, 5], k=rng.randrange(4))
        dtype = np.dtype(rng.choice(WIDTHS))
        content = rng.randbytes(int(np.prod(shape)) * dtype.itemsize)  # of floats, any NaN, too
        if dtype.kind == "b":
            content = bytes(x % 2 for x in content)
        arrays[name] = np.frombuffer(content, dtype).reshape(shape)
    return arrays


def layout(content):
    """What the header of a .safetensors says of each array, and that all are aligned."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    entries = [x | {"name": name} for name, x in header.items() if name != "__metadata__"]
    entries.sort(key=lambda x: x["data_offsets"])
    widths = [int(x["dtype"].strip("BIFUOL") or 8) // 8 for x in entries]
    assert widths == sorted(widths, reverse=True) and size % 8 == 0
    return {x["name"]: (x["dtype"], x["shape"]) for x in entries}


def test_upstream_and_we_read_each_other_s_safetensors(tmp_path, monkeypatch):
    upstream = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    monkeypatch.setattr(os, "fsync", lambda file: None)  # 1000 times
    ours, theirs, rng = tmp_path / "a.safetensors", tmp_path / "b.safetensors", random.Random(0)
    for _ in range(1000):
        arrays, metadata = draw(rng), {"x": "".join(rng.choices(LETTERS, k=5))}
        io.save(ours, arrays, metadata)
        upstream.save_file(arrays, theirs, metadata)
        assert layout(ours.read_bytes()) == layout(theirs.read_bytes())
        for found in (upstream.load_file(ours), io.load(ours), io.load(theirs)):
            assert found.keys() == arrays.keys()
            assert all(same(found[name], x) for name, x in arrays.items())
        assert io.load_metadata(ours) == metadata and io.load_metadata(theirs) == {}


def test_bytes_in_either_order_are_saved(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    io.save(path, {"x": np.array([1.0, 2.0], ">f8")})
    assert io.load(path)["x"].tolist() == [1.0, 2.0]


def test_bfloat16_is_read_as_float32(tmp_path):
    pytest.importorskip("safetensors", reason="the safetensors library is not installed")
    path = tmp_path / "state.safetensors"
    bits = np.array([[0x3F80, 0xC000, 0x3EAB], [0x0001, 0x7F80, 0x8000]], "<u2")
    entry = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [8, 20]}
    first = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    body = np.ones(2, "<f4").tobytes() + bits.tobytes()
    path.write_bytes(safetensors({"x": entry, "a": first}, body))
    found = io.load(path)
    wanted = np.array([[1, -2, 0.333984375], [2.0**-133, np.inf, -0.0]], "float32")
    assert same(found["x"], wanted) and same(found["a"], np.ones(2, "float32"))


def test_every_bfloat16_of_torch_is_read_exactly(tmp_path):
    pytest.importorskip("safetensors", reason="the safetensors library is not installed")
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from safetensors.torch import save_file

    every = torch.arange(1 << 16).to(torch.int16).view(torch.bfloat16).reshape(256, 256)
    path = tmp_path / "every.safetensors"
    save_file({"x": every, "scalar": torch.tensor(3.0, dtype=torch.bfloat16)}, path)
    found = io.load(path)
    assert same(found["scalar"], np.float32(3))
    assert found["x"].shape == (256, 256)
    numbers = ~np.isnan(found["x"])
    assert same(found["x"][numbers], every.float().numpy()[numbers]) and numbers.sum() == 65282
    assert torch.isnan(every).numpy()[~numbers].all()


@pytest.mark.parametrize("dtype, size", [("F8_E4M3", 1), ("F8_E5M2", 1), ("C64", 8)])
def test_a_dtype_that_is_not_read_is_named_with_the_cure(tmp_path, dtype, size):
    pytest.importorskip("safetensors", reason="the safetensors library is not installed")
    path = tmp_path / "state.safetensors"
    entry = {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]}
    path.write_bytes(safetensors({"x": entry}, bytes(2 * size)))
    with pytest.raises(io.FormatError, match=rf"\(x is {dtype}, .*: convert it to F32 before\)$"):
        io.load(path)


def test_every_truncation_is_one_error(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    io.save(path, {"x": np.arange(5.0), "y": np.ones((2, 2), "float32")})
    for content in fuzz_saving.cuts(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(io.FormatError, match=path.name):
            io.load(path)


@pytest.mark.filterwarnings("ignore")  # the parsers of the standard library may warn about flips
def test_every_flipped_bit_is_found_or_changes_nothing(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    arrays = {"weight": np.arange(6.0).reshape(2, 3), "bias": np.zeros((0, 4), "float32")}
    io.save(path, arrays, {"epoch": 1})
    whole, loaded = path.read_bytes(), 0
    for content in fuzz_saving.flips(whole):
        path.write_bytes(content)
        try:
            found, metadata = io.read(path)
        except io.FormatError:
            continue
        loaded += 1
        assert found.keys() == arrays.keys() and metadata == {"epoch": 1}
        assert all(same(found[name], x) for name, x in arrays.items())
    # In a zip, dates, flags and what concerns other systems stand outside of its checksums.
    assert loaded < len(whole) * 8 / 3 if suffix == ".npz" else loaded == 0


@pytest.mark.parametrize("content", [
    npz(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
    npz(b"{'descr': '<U2', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
    b"", b"PK", b"<html>not found</html>",
], ids=["object", "text", "empty", "short", "html"])
def test_a_file_of_something_else_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"state{suffix}"
    path.write_bytes(content)
    with pytest.raises(io.FormatError):
        io.load(path)


def test_a_file_that_claims_more_than_it_holds_is_refused(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    for content in fuzz_saving.lies(suffix):
        path.write_bytes(content)
        with pytest.raises(io.FormatError):
            io.load(path)


def test_a_newer_format_says_so(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"state{suffix}"
    with monkeypatch.context() as later:
        later.setattr(io, "FORMAT", io.FORMAT + 1)
        io.save(path, ARRAYS)
    with pytest.raises(io.FormatError, match="newer version"):
        io.load(path)


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.npz or \.safetensors"):
        io.save(tmp_path / "state.pt", {})
    with pytest.raises(TypeError, match="no real numbers"):
        io.save(tmp_path / "state.npz", {"x": np.array(["text"])})
    with pytest.raises(TypeError, match="cannot name"):
        io.save(tmp_path / "state.npz", {"a\0b": np.zeros(1)})
    with pytest.raises(FileNotFoundError, match="none is no folder"):
        io.save(tmp_path / "none" / "state.npz", {"x": np.zeros(1)})
    with pytest.raises(TypeError, match="cannot name"):
        io.save(tmp_path / "state.npz", {"": np.zeros(1)})
    with pytest.raises(TypeError, match="cannot name"):
        io.save(tmp_path / "state.npz", {"__metadata__": np.zeros(1)})
    with pytest.raises(TypeError):
        io.save(tmp_path / "state.npz", {}, {"run": object()})
    if np.longdouble != np.float64:
        with pytest.raises(TypeError, match=r"x is .*, which \.safetensors files cannot hold"):
            io.save(tmp_path / "state.safetensors", {"x": np.zeros(1, np.longdouble)})
    for suffix in (".npz", ".safetensors"):
        with pytest.raises(ValueError, match="surrogates"):
            io.save(tmp_path / f"state{suffix}", {"\ud800": np.zeros(1)})
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path / "state.npz")


def test_many_writers_of_one_file_leave_one_of_theirs(tmp_path):
    path = tmp_path / "state.npz"
    io.save(path, {"x": np.zeros(100_000)})
    failures = []

    def write(number):
        try:
            for _ in range(20):
                io.save(path, {"x": np.full(100_000, number)})
                assert len(set(io.load(path)["x"][::9999].tolist())) == 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("broken", ["open", "fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch, broken):
    path = tmp_path / "state.npz"
    io.save(path, {"x": np.zeros(3)})
    old = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        if broken == "open":
            disk.setattr("builtins.open", full)
        else:
            disk.setattr(os, broken, full)
        with pytest.raises(OSError, match=r"No space left on device: .*state\.npz"):
            io.save(path, {"x": np.ones(3)})
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == [path.name]


def test_the_bytes_are_on_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b))[1])
    io.write_file(tmp_path / "note", b"text")
    assert calls[:2] == ["fsync", "replace"]
    assert (tmp_path / "note").read_bytes() == b"text"


STARTS = [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x08\0\0\0\0\0\0\0{}      "]


@settings(max_examples=300)
@given(content=st.binary(max_size=300), start=st.sampled_from(STARTS))
def test_whatever_stands_in_a_file_is_read_or_refused(tmp_path_factory, content, start):
    for suffix in (".npz", ".safetensors"):
        if suffix == ".safetensors" and importlib.util.find_spec("safetensors") is None:
            continue
        path = tmp_path_factory.getbasetemp() / f"any{suffix}"
        path.write_bytes(start + content)
        try:
            found = io.load(path)
        except io.FormatError:
            continue
        assert all(isinstance(x, np.ndarray) for x in found.values())
