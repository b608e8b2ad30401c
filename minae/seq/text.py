"""Lines of text, one by one, from files of any size; what is wrong with one is said with its place.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..backend import describe
from ..io import FormatError

LONGEST = 1 << 24  # bytes of a line; a longer one is no text, but something else


class TextError(FormatError):
    """What is wrong with a text, and where: ``line`` and ``column`` count from 1."""

    def __init__(self, what: str, source: Any, line: int, column: int) -> None:
        super().__init__(f"{name_of(source)}, line {line}, column {column}: {what}")
        self.line, self.column = line, column


def name_of(source: Any) -> str:
    """What to call a source in a message: its path, if it has one."""
    if isinstance(source, (str, Path)):
        return str(source)
    return str(getattr(source, "name", "text"))


def lines(source: Any, *, encoding: str = "utf-8", longest: int = LONGEST) -> Iterator[str]:
    """The lines of ``source``, without their ends; never more than one of them is in memory.

    ``source`` is the path of a file, packed by gzip if it ends in ``.gz``; or an open file, or any
    other iterable, of lines that are str or bytes: a text goes into a list. ``encoding`` is one
    that ASCII is a part of; a mark of byte order at the beginning is passed over. Raises TextError
    for bytes that are not of the encoding, for a NUL, and for a line of more than ``longest`` bytes
    (of a str, characters); what the system says where a file cannot be opened; FormatError where
    its packing is damaged; TypeError for what are no lines.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        with _opened(path) as file:
            yield from _checked(_unpacked(file, path, longest), source, encoding, longest)
    else:
        raw = _bounded(source, longest) if hasattr(source, "readline") else source
        yield from _checked(raw, source, encoding, longest)


def _opened(path: Path) -> Any:
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        error.add_note("A str is the path of a file; put text itself into [...].")
        raise


def _bounded(file: Any, longest: int) -> Iterator[Any]:
    """The lines of an open file, each cut off where it is too long."""
    while line := file.readline(longest + 3):  # with both characters that end it, one too many
        yield line


def _unpacked(file: Any, path: Path, longest: int) -> Iterator[bytes]:
    """The lines of a file that may be packed."""
    try:
        yield from _bounded(file, longest)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{path} is damaged: {error}") from error


def _checked(raw: Iterable[Any], source: Any, encoding: str, longest: int) -> Iterator[str]:
    for number, line in enumerate(raw, 1):
        if not isinstance(line, (bytes, str)):
            raise TypeError(f"a line is str or bytes, got {describe(line)}: are these lines?")
        end: Any = b"\r\n" if isinstance(line, bytes) else "\r\n"
        line = line.removesuffix(end[1:]).removesuffix(end[:1])
        if len(line) > longest:
            what = f"the line is longer than {longest}; break it, or allow it by longest="
            raise TextError(what, source, number, longest + 1)
        if isinstance(line, bytes):
            try:
                line = line.decode(encoding)
            except UnicodeDecodeError as error:
                column = len(line[: error.start].decode(encoding)) + 1
                byte = f"the byte 0x{line[error.start]:02x} is no {encoding}"
                what = f"{byte}: convert it, or name its encoding="
                raise TextError(what, source, number, column) from None
        if number == 1:
            line = line.removeprefix("\ufeff")
        if (place := line.find("\0")) >= 0:
            raise TextError("there is a NUL, which no text holds", source, number, place + 1)
        yield line
