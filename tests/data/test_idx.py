"""IDX files: what is written comes back; whatever else a file holds is a FormatError, soon."""

import gzip
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minae.data import read_idx
from minae.io import FormatError

SMALL = np.arange(24, dtype="uint8").reshape(2, 3, 4)


def idx(array, dims=None, kind=8):
    dims = array.shape if dims is None else dims
    return struct.pack(f">HBB{len(dims)}I", 0, kind, len(dims), *dims) + array.tobytes()


def read(tmp_path, content, **options):
    path = tmp_path / "some-idx3-ubyte"
    path.write_bytes(content)
    return read_idx(path, **options)


def refused(tmp_path, content, reason=None, **options):
    with pytest.raises(FormatError, match=reason) as caught:
        read(tmp_path, content, **options)
    message = str(caught.value)
    assert "some-idx3-ubyte" in message and "good copy" in message and "\n" not in message
    assert caught.value.__suppress_context__


@given(hnp.arrays("uint8", hnp.array_shapes(max_dims=4)), st.sampled_from([bytes, gzip.compress]))
def test_what_is_written_comes_back(tmp_path_factory, array, wrap):
    found = read(tmp_path_factory.getbasetemp(), wrap(idx(array)))
    assert found.dtype == "uint8" and found.shape == array.shape and found.flags.writeable
    np.testing.assert_array_equal(found, array)


def test_an_array_of_many_pieces(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (1000, 300), "uint8")
    for content in (idx(array), gzip.compress(idx(array), 1)):
        np.testing.assert_array_equal(read(tmp_path, content), array)


def test_a_header_name_in_gzip_is_passed_over(tmp_path):
    path = tmp_path / "named.gz"
    with gzip.open(path, "wb") as file:
        file.write(idx(SMALL))
    np.testing.assert_array_equal(read_idx(str(path)), SMALL)


def test_missing_files_are_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nothing")


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_every_truncation_is_refused(tmp_path, wrap):
    content = wrap(idx(SMALL))
    for n in range(len(content)):
        refused(tmp_path, content[:n])


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_every_flipped_bit_is_refused_or_means_nothing(tmp_path, wrap):
    content = wrap(idx(SMALL))
    harmless = 0
    for bit in range(8 * (len(content) if wrap is gzip.compress else 16)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = read(tmp_path, damaged)
        except FormatError:
            continue
        harmless += 1  # as the time and the system in the header of gzip, which nothing checks
        np.testing.assert_array_equal(found, SMALL)
    assert harmless <= (60 if wrap is gzip.compress else 0)


def test_nothing_may_follow(tmp_path):
    refused(tmp_path, idx(SMALL) + b"\0", "bytes follow the 40")
    refused(tmp_path, gzip.compress(idx(SMALL) + b"\0"), "bytes follow the 40")
    refused(tmp_path, gzip.compress(idx(SMALL)) + b"\0", "follow the end of its gzip")


def test_a_second_gzip_member_is_refused(tmp_path):
    whole = idx(SMALL)
    refused(tmp_path, gzip.compress(whole[:20]) + gzip.compress(whole[20:]))
    refused(tmp_path, gzip.compress(whole) + gzip.compress(b""))
    padding = b"".join(gzip.compress(bytes(1)) for _ in range(9000))  # past the first piece
    refused(tmp_path, gzip.compress(whole) + padding, "follow the end of its gzip")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (idx(SMALL, kind=9), "type is 0x09"),
        (idx(SMALL, kind=0x0D), "type is 0x0d"),
        (b"\1" + idx(SMALL)[1:], "two zeros"),
        (b"<!DOCTYPE html>", "begins with b'<!DO'"),
        (b"\x1f\x8b is no gzip", "Error"),
        (b"", "within its header, after 0"),
        (idx(SMALL, ()), "0 dimensions"),
        (struct.pack(">HBB", 0, 8, 5) + bytes(99), "5 dimensions"),
        (struct.pack(">HBB", 0, 8, 255) + bytes(2000), "255 dimensions"),
        (idx(SMALL, [2**32 - 1] * 4), "holds nothing, or more than"),
        (idx(SMALL, [2**31, 2**31, 2**2]), "holds nothing, or more than"),  # 2 ** 64
        (idx(SMALL, [0, 2**32 - 1, 2**32 - 1]), "holds nothing"),
        (idx(SMALL, [2, 3, 5]), "40 of the 46 bytes"),
    ],
)
def test_headers_that_lie(tmp_path, content, reason):
    refused(tmp_path, content, reason)


def test_the_limit_counts_the_bytes_of_the_array(tmp_path):
    assert read(tmp_path, idx(SMALL), limit=24).size == 24
    refused(tmp_path, idx(SMALL), "more than 23 bytes", limit=23)


def bomb(dims, size):
    """A gzip stream of ``size`` bytes behind a header that claims ``dims``."""
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(idx(np.zeros(0, "uint8"), dims))
    return head + packer.compress(bytes(size)) + packer.flush()


@pytest.mark.parametrize(
    ("dims", "size"), [([10], 1 << 27), ([2**32 - 1] * 4, 1 << 27), ([1 << 30], 100)]
)
def test_a_bomb_takes_no_memory(tmp_path, dims, size):
    path = tmp_path / "bomb"
    path.write_bytes(bomb(dims, size))
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(FormatError):
        read_idx(path)
    seconds = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6 and seconds < 0.5


def test_memory_follows_what_was_really_read(tmp_path):
    path = tmp_path / "cut"
    path.write_bytes(idx(np.zeros(0, "uint8"), [1 << 30]) + bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(FormatError, match="it ends after"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


@given(st.binary(max_size=200), st.sampled_from([b"", b"\0\0\x08", b"\0\0\x08\1", b"\x1f\x8b\x08"]))
def test_random_bytes(tmp_path_factory, content, start):
    try:
        array = read(tmp_path_factory.getbasetemp(), start + content)
    except FormatError:
        return
    assert start + content == idx(array)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5), st.binary(max_size=64))
def test_random_shapes(tmp_path_factory, dims, content):
    payload = np.frombuffer(content, "uint8")
    try:
        array = read(tmp_path_factory.getbasetemp(), gzip.compress(idx(payload, dims)))
    except FormatError:
        return
    assert array.tobytes() == content and array.shape == tuple(dims)
