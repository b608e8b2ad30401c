"""Named arrays in files: ``.npz``, and ``.safetensors``, which the library of that name reads.

Whatever happens during a write, the file holds the old bytes or the new ones. A load runs nothing
from the file and trusts none of its lengths: what is damaged or lies raises FormatError.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .backend import asnumpy, numbers, numpy
from .engine import entries
from .faults import settle

FORMAT = 1  # the version of what is written here; files of an older one stay readable
_HEADER = "minae.json"  # the member, or the metadata entry, that holds it
_CHECKSUM = "minae.crc32"  # the metadata entry that guards the rest of a .safetensors
_FOREIGN = '{"format": 0, "metadata": {}}'  # of a file from elsewhere
_DTYPES = {  # of NumPy, and their names in a .safetensors
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "uint8": "U8",
    "uint16": "U16", "uint32": "U32", "uint64": "U64", "float16": "F16", "float32": "F32",
    "float64": "F64",
}  # fmt: skip
_LINE = 1000  # bytes of a .npy header, more than any array of numbers needs
_CHUNK = 1 << 18  # bytes read at a time


class FormatError(ValueError):
    """A file is not what its name, or its own header, says."""


def save(path: Any, arrays: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Write arrays or Tensors by name to ``path``, which ends in ``.npz`` or ``.safetensors``.

    ``metadata`` is whatever JSON can hold. ``np.load`` reads the ``.npz`` too; to read a
    ``.safetensors``, the library of that name is needed, by minae as well. Raises ValueError
    for another ending, TypeError for what is no array of numbers or no JSON.
    """
    write, _ = _form(path)
    settle()
    plain = {name: _plain(name, value) for name, value in arrays.items()}
    header = json.dumps({"format": FORMAT, "metadata": dict(metadata or {})})
    with replacing(path) as file:
        write(file, plain, header)


def load(path: Any) -> dict[str, Any]:
    """The arrays in the file ``path``, by name, as NumPy arrays; bfloat16 becomes float32, exactly.

    Raises FormatError if the file is damaged, or holds what is no array of numbers.
    """
    return read(path)[0]


def load_metadata(path: Any) -> dict[str, Any]:
    """The metadata that the file ``path`` was saved with; of one from elsewhere, nothing.

    A .npz is not read further; a .safetensors is read whole, for its checksum.
    """
    with _opened(path) as (metadata, _):
        return metadata


def read(path: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``load`` and ``load_metadata`` give, of the file ``path`` at one time."""
    with _opened(path) as (metadata, arrays):
        return dict(arrays), metadata


def write_file(path: Any, data: bytes) -> None:
    """Put ``data`` into the file ``path``, whole or not at all."""
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Any) -> Iterator[BinaryIO]:
    """A file to write beside ``path``, which takes its place once it is whole and on the disk."""
    path = Path(path)
    if not path.parent.is_dir():
        what = f"{path} cannot be written: {path.parent} is no folder; make it first"
        raise FileNotFoundError(what)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # of this writer alone
    with naming(path):
        try:
            with open(beside, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            with suppress(OSError):
                beside.unlink()  # if it is still there
        if os.name == "posix":  # the new name itself lasts once its folder is on the disk
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


@contextmanager
def naming(path: Any) -> Iterator[None]:
    """Have an OSError name this file, not a temporary one or none."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        del error.filename2
        raise


def _form(path: Any) -> tuple[Any, Any]:
    """How to write and how to read a file of this name."""
    forms = {".npz": (_npz, _read_npz), ".safetensors": (_safetensors, _read_safetensors)}
    if (suffix := Path(path).suffix) not in forms:
        raise ValueError(f"{path} must end in .npz or .safetensors")
    return forms[suffix]


def _plain(name: str, value: Any) -> Any:
    array = numpy.asarray(asnumpy(numbers(entries(value))))
    if not isinstance(name, str) or name in ("", _HEADER, "__metadata__") or "\0" in name:
        raise TypeError(f"{name!r} cannot name an array in a file")
    return numpy.ascontiguousarray(array).reshape(array.shape)


@contextmanager
def _opened(path: Any) -> Iterator[tuple[dict[str, Any], Iterator[tuple[str, Any]]]]:
    """The metadata of a file and its arrays, one by one; any failure to read is a FormatError."""
    _, read = _form(path)
    with open(path, "rb") as file:
        try:
            header, arrays = read(file)
            found: Any = json.loads(header or _FOREIGN)
            if found["format"] > FORMAT:
                raise FormatError("a newer version of minae wrote it; update minae")
            yield dict(found["metadata"]), arrays
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # hostile bytes fail in every way that the parsers know
            reason = str(error) or type(error).__name__
            guess = "" if isinstance(error, FormatError) else ": is it truncated?"
            raise FormatError(f"{path} cannot be read ({reason}){guess}") from error


# --- .npz: a zip archive of .npy members, not compressed ------------------------------------------


def _npz(file: BinaryIO, arrays: dict[str, Any], header: str) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_HEADER), header)  # ZipInfo: no clock, the same bytes
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                description = numpy.lib.format.header_data_from_array_1_0(array)
                numpy.lib.format.write_array_header_1_0(member, description)
                member.write(array)


def _read_npz(file: Any) -> tuple[str | None, Iterator[tuple[str, Any]]]:
    archive = zipfile.ZipFile(file)
    members = archive.infolist()
    names = {member.filename for member in members}
    if len(names) < len(members):
        raise FormatError("two members have the same name")
    if any(member.comment for member in members):  # of a damaged length, it hides those behind it
        raise FormatError("a member has a comment")
    if sum(member.file_size for member in members) > os.fstat(file.fileno()).st_size:
        raise FormatError("it is compressed, or claims more than it holds")
    header = archive.read(_HEADER).decode() if _HEADER in names else None
    return header, (
        (member.filename.removesuffix(".npy"), _read_npy(archive, member))
        for member in members
        if member.filename != _HEADER
    )


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    with archive.open(member) as stream:
        version = numpy.lib.format.read_magic(stream)
        if version != (1, 0):
            raise FormatError(f"the .npy version of {member.filename} is {version}")
        try:
            shape, fortran, dtype = numpy.lib.format.read_array_header_1_0(stream, _LINE)
        except MemoryError:  # what Python's parser says of too many signs in a row
            raise FormatError(f"the header of {member.filename} is no dictionary") from None
        size = member.file_size - stream.tell()
        claimed = dtype.itemsize
        for length in shape:  # in Python's integers, which do not overflow
            claimed *= length
        if claimed != size or min(shape, default=0) < 0 or dtype.kind not in "biuf":
            raise FormatError(f"{member.filename} claims {dtype}{list(shape)} in {size} bytes")
        data = numpy.empty(size, numpy.uint8)
        for start in range(0, size, _CHUNK):  # the last read compares the checksum
            part = stream.read(min(_CHUNK, size - start))
            if len(part) < min(_CHUNK, size - start):
                raise FormatError(f"{member.filename} is cut short")
            data[start : start + len(part)] = numpy.frombuffer(part, numpy.uint8)
    array = data.view(dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


# --- .safetensors ---------------------------------------------------------------------------------


def _safetensors(file: BinaryIO, arrays: dict[str, Any], header: str) -> None:
    """As the library would, which has no way to write into an open file."""
    table: dict[str, Any] = {"__metadata__": {_HEADER: header, _CHECKSUM: _crc32(header, arrays)}}
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # each one aligned
    end = 0
    for name in names:
        array, start = arrays[name], end
        if array.dtype.name not in _DTYPES:
            raise TypeError(f"{name} is {array.dtype}, which .safetensors files cannot hold")
        end += array.nbytes
        dtype = _DTYPES[array.dtype.name]
        table[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": (start, end)}
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        file.write(_little(arrays[name]))


def _read_safetensors(file: Any) -> tuple[str | None, Iterator[tuple[str, Any]]]:
    content = _library().safe_open(file.name, framework="numpy")
    names, metadata = content.keys(), content.metadata() or {}
    arrays = {name: _read_tensor(content, name, file) for name in names}
    header, checksum = metadata.get(_HEADER), metadata.get(_CHECKSUM)
    if (header or checksum) and checksum != _crc32(header or "", arrays):
        raise FormatError("its checksum says that it was damaged")
    return header, iter(arrays.items())


def _read_tensor(content: Any, name: str, file: BinaryIO) -> Any:
    dtype = content.get_slice(name).get_dtype()
    if dtype == "BF16":
        return _read_bfloat16(file, name)
    if dtype not in _DTYPES.values():
        raise FormatError(f"{name} is {dtype}, which is not read here: convert it to F32 before")
    return content.get_tensor(name)


def _read_bfloat16(file: BinaryIO, name: str) -> Any:
    """As float32, of which bfloat16 is the upper half. The library has checked the header."""
    file.seek(0)
    header = file.read(int.from_bytes(file.read(8), "little"))
    entry = json.loads(header)[name]
    start, end = entry["data_offsets"]
    file.seek(8 + len(header) + start)
    halves = numpy.frombuffer(file.read(end - start), "<u2")
    return (halves.astype("<u4") << 16).view("<f4").reshape(entry["shape"])


def _crc32(header: str, arrays: dict[str, Any]) -> str:
    """Of header, names, dtypes, shapes and entries."""
    crc = zlib.crc32(header.encode())
    for name in sorted(arrays):
        array = arrays[name]
        crc = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), crc)
        crc = zlib.crc32(_little(array), crc)
    return f"{crc:08x}"


def _little(array: Any) -> Any:
    """The array with the lower bytes first, as all but a few machines have it."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _library() -> Any:
    try:
        import safetensors
    except ImportError:
        cure = "pip install safetensors, or use a name that ends in .npz"
        raise ImportError(f".safetensors files need the library of that name: {cure}") from None
    return safetensors
