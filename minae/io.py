"""Named arrays in files: ``.npz``, and ``.safetensors`` through the library of that name.

Whatever happens during a write, the file holds the old bytes or the new ones. A load runs nothing
from the file and trusts none of its lengths: what is damaged or lies raises FormatError.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .backend import asarray, asnumpy, numpy
from .engine import entries

FORMAT = 1  # the version of what is written here; files of an older one stay readable
_HEADER = "minae.json"  # the member, or the metadata entry, that holds it
_FOREIGN = '{"format": 0, "metadata": {}}'  # of a file from elsewhere
_CHUNK = 1 << 20  # bytes read at a time


class FormatError(ValueError):
    """A file is not what its name, or its own header, says."""


def save(path: Any, arrays: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Write arrays or Tensors by name to ``path``, which ends in ``.npz`` or ``.safetensors``.

    ``metadata`` is whatever JSON can hold. ``np.load`` reads the ``.npz`` too. Raises ValueError
    for another ending, TypeError for what is no array of numbers or no JSON.
    """
    write, _ = _form(path)
    plain = {name: _plain(name, value) for name, value in arrays.items()}
    header = json.dumps({"format": FORMAT, "metadata": dict(metadata or {})})
    write_file(path, write(plain, header))


def load(path: Any) -> dict[str, Any]:
    """NumPy arrays by name, from the file ``path``. Raises FormatError if it is damaged."""
    return read(path)[0]


def load_metadata(path: Any) -> dict[str, Any]:
    """The metadata that the file ``path`` was saved with; of one from elsewhere, nothing."""
    with _opened(path) as (metadata, _):
        return metadata


def read(path: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``load`` and ``load_metadata`` give, of the file ``path`` at one time."""
    with _opened(path) as (metadata, arrays):
        return dict(arrays), metadata


def write_file(path: Any, data: bytes) -> None:
    """Put ``data`` into the file ``path``, whole or not at all: written beside it and renamed."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: {path.parent} is no folder")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # of this writer alone
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # not the temporary one, or none
        raise
    if os.name == "posix":  # the new name itself lasts once its folder is on the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _form(path: Any) -> tuple[Any, Any]:
    """How to write and how to read a file of this name."""
    forms = {".npz": (_npz, _read_npz), ".safetensors": (_safetensors, _read_safetensors)}
    if (suffix := Path(path).suffix) not in forms:
        raise ValueError(f"{path} must end in .npz or .safetensors")
    return forms[suffix]


def _plain(name: str, value: Any) -> Any:
    array = asnumpy(asarray(entries(value)))
    if not isinstance(name, str) or not name or name == _HEADER or "\0" in name:
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
            raise FormatError(f"{path} cannot be read ({reason}): is it truncated?") from error


# --- .npz: a zip archive of .npy members, not compressed ------------------------------------------


def _npz(arrays: dict[str, Any], header: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_HEADER), header)  # ZipInfo: no clock, the same bytes
        for name, array in arrays.items():
            member = io.BytesIO()
            numpy.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()


def _read_npz(file: Any) -> tuple[str | None, Iterator[tuple[str, Any]]]:
    archive = zipfile.ZipFile(file)
    members = archive.infolist()
    names = {member.filename for member in members}
    if len(names) < len(members):
        raise FormatError("two members have the same name")
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
        shape, fortran, dtype = numpy.lib.format.read_array_header_1_0(stream)
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


def _safetensors(arrays: dict[str, Any], header: str) -> bytes:
    return _library().save(arrays, {_HEADER: header})


def _read_safetensors(file: Any) -> tuple[str | None, Iterator[tuple[str, Any]]]:
    _library()
    import safetensors

    content = safetensors.safe_open(file.name, framework="numpy")
    header = (content.metadata() or {}).get(_HEADER)
    return header, ((name, content.get_tensor(name)) for name in list(content.keys()))


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        cure = 'pip install safetensors, or use a name that ends in .npz'
        raise ImportError(f".safetensors files need the library of that name: {cure}") from None
    return safetensors.numpy
