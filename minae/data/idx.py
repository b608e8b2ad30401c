"""IDX, the format of MNIST's files: a shape, then bytes, often in gzip.

A file comes from anywhere, so nothing that it says is believed: its shape is checked before a byte
is kept, and no more memory is taken than what has really been read.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..backend import numpy
from ..io import FormatError

_PIECE = 1 << 16  # bytes read, and bytes decompressed, at a time
_DIMENSIONS = 4  # at most: (number, height, width, channels)


def read_idx(path: Any, limit: int = 1 << 30) -> numpy.ndarray:
    """The uint8 array in an IDX file, plain or in gzip (told by its first bytes, not its name).

    ``limit`` is the most bytes the array may have. Raises FormatError if the file is truncated,
    damaged, longer than its shape says, empty, or of another type; OSError if it cannot be opened.
    The format: http://yann.lecun.com/exdb/mnist/, at the end of the page.
    """
    path = Path(path)
    with open(path, "rb") as file:
        try:
            is_gzip = file.peek(2)[:2] == b"\x1f\x8b"
            return _parse(_decompressed(file) if is_gzip else _pieces(file), limit)
        except (FormatError, zlib.error) as error:
            cure = "put a good copy in its place"
            raise FormatError(f"{path} is no sound IDX file: {error}; {cure}") from None


def _parse(pieces: Iterable[bytes], limit: int) -> numpy.ndarray:
    data = bytearray()
    shape, end = None, 0
    for piece in pieces:
        data += piece
        shape = shape or _shape(data, limit)
        end = 4 + 4 * len(shape) + math.prod(shape) if shape else 0
        if shape and len(data) > end:
            raise FormatError(f"bytes follow the {end} that its shape {shape} asks for")
    if not shape:
        raise FormatError(f"it ends within its header, after {len(data)} bytes")
    if len(data) < end:
        raise FormatError(f"it ends after {len(data)} of the {end} bytes of its shape {shape}")
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _shape(data: bytearray, limit: int) -> tuple[int, ...] | None:
    """The shape that the header gives, checked; None if there is too little of it to tell."""
    if len(data) < 4:
        return None
    zeros, kind, dimensions = data[:2], data[2], data[3]
    if zeros != b"\0\0":
        raise FormatError(f"it begins with {bytes(data[:4])!r}, not with two zeros")
    if kind != 8:
        raise FormatError(f"its type is 0x{kind:02x}, not 0x08 for unsigned bytes")
    if not 1 <= dimensions <= _DIMENSIONS:
        raise FormatError(f"it has {dimensions} dimensions, not 1 to {_DIMENSIONS}")
    if len(data) < 4 + 4 * dimensions:
        return None
    shape = tuple(numpy.frombuffer(data[4 : 4 + 4 * dimensions], ">u4").tolist())
    if not 1 <= math.prod(shape) <= limit:  # Python's integers do not overflow
        raise FormatError(f"its shape {shape} holds nothing, or more than {limit} bytes")
    return shape


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(_PIECE), b"")


def _decompressed(file: BinaryIO) -> Iterator[bytes]:
    gunzip = zlib.decompressobj(wbits=31)  # a gzip header and checksum
    while not gunzip.eof:
        compressed = gunzip.unconsumed_tail or file.read(_PIECE)
        if not compressed:
            raise FormatError("its gzip stream is cut short")
        yield gunzip.decompress(compressed, _PIECE)
    if gunzip.unused_data or file.read(1):
        raise FormatError("bytes follow the end of its gzip stream")
