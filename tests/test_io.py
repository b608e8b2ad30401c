"""Files hold the old bytes or the new ones, and a damaged one raises FormatError."""

import io as bytes_io
import os
import threading
import zipfile

import numpy as np
import pytest
from hypothesis import given
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


def test_every_truncation_is_one_error(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    io.save(path, {"x": np.arange(5.0), "y": np.ones((2, 2), "float32")})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(io.FormatError, match=path.name):
            io.load(path)


@pytest.mark.filterwarnings("ignore")  # the parsers of the standard library may warn about flips
def test_every_flipped_bit_is_found_or_changes_a_name(tmp_path):
    path = tmp_path / "state.npz"
    arrays = {"weight": np.arange(4.0), "bias": np.ones(2, "float32")}
    io.save(path, arrays)
    whole = path.read_bytes()
    loaded = 0
    for position in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            found = io.load(path)
        except io.FormatError:
            continue
        loaded += 1
        assert all(same(found[name], arrays[name]) for name in found.keys() & arrays.keys())
        assert len(found) <= len(arrays) + 1
    assert loaded < len(whole) * 8 / 3  # what is left are dates, names and flags of the zip


def npz(header: bytes, body: bytes = b"", method=zipfile.ZIP_STORED) -> bytes:
    buffer = bytes_io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        text = header + b" " * (63 - (10 + len(header)) % 64) + b"\n"
        length = len(text).to_bytes(2, "little")
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + length + text + body)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [
    npz(b"{'descr': '<f8', 'fortran_order': False, 'shape': (65536, 65536)}"),
    npz(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}", bytes(8)),
    npz(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
    npz(b"{'descr': '<U2', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
    npz(b"[" * 5000),
    npz(b"{'descr': '<f8', 'fortran_order': False, 'shape': (4096,)}", bytes(32768),
        zipfile.ZIP_DEFLATED),
    b"", b"PK", b"<html>not found</html>",
], ids=["huge", "negative", "object", "text", "nested", "compressed", "empty", "short", "html"])
def test_a_file_that_lies_is_refused(tmp_path, content):
    path = tmp_path / "state.npz"
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
    with pytest.raises(TypeError):
        io.save(tmp_path / "state.npz", {}, {"run": object()})
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
