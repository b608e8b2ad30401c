"""A file from the first mirror that gives the right one: length and SHA-256, or it is not kept."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..io import write_file

CURE = (
    "Put the files into a folder and pass it (--data-dir, or data_dir=), or into mnist/ or "
    "fashion_mnist/ in the folder that MINAE_DATA names."
)
_SLOWEST = 1 << 16  # bytes per second: slower than that, a mirror is left for the next
_PIECE = 1 << 16  # bytes


class FetchError(OSError):
    """No mirror gave the file. The message names each one with its reason, and the cure."""


def fetch(
    name: str, urls: Iterable[str], sha256: str, path: Any, size: int, timeout: float = 10.0
) -> str:
    """Write the file of ``size`` bytes and this ``sha256`` to ``path``; return the URL it is from.

    The mirrors ``urls`` are tried in order; one that is silent for ``timeout`` seconds, or too slow
    as a whole, has failed like one that refuses or sends anything else. Raises FetchError if all
    fail, with ``name`` for the file, and the OSError of a ``path`` that cannot be written.
    """
    reasons = []
    for url in urls:
        try:
            data = _download(url, size, timeout)
            _check(data, size, sha256)
        except Exception as error:  # a mirror can fail in every way that the network knows
            reasons.append(f"{url}: {_reason(error)}")
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_file(path, data)
            return url
    raise FetchError(f"{name} could not be fetched ({'; '.join(reasons)}). {CURE}")


def is_intact(path: Any, size: int, sha256: str) -> bool:
    """Whether the file is there, with this length and SHA-256."""
    path = Path(path)
    if not path.is_file() or path.stat().st_size != size:
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _check(data: bytes, size: int, sha256: str) -> None:
    if data[:64].lstrip()[:1] == b"<":
        raise ValueError("it sent a web page, not the file")
    if len(data) != size:
        sent = f"{len(data)} bytes" if len(data) < size else "more"
        raise ValueError(f"it sent {sent} instead of {size} bytes")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError("it sent another file: its SHA-256 is wrong")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}".replace("\n", " ")
    return str(getattr(error, "reason", "") or error or type(error).__name__)


def _download(url: str, size: int, timeout: float) -> bytes:
    """At most ``size + 1`` bytes from ``url``, read in another thread.

    The time-out of a socket is for each read, and does not cover names, redirects or a header that
    comes letter by letter; a thread can be left to itself.
    """
    pieces: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(url, size, timeout, pieces), daemon=True).start()
    data = bytearray()
    while True:
        try:
            piece = pieces.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"timed out after {timeout:g} s of silence") from None
        if isinstance(piece, Exception):
            raise piece
        if not piece:
            return bytes(data)
        data += piece


def _read(url: str, size: int, timeout: float, pieces: queue.SimpleQueue) -> None:
    """Put the bytes at ``url`` into ``pieces`` as they come, then ``b""``, or the error."""
    end = time.monotonic() + timeout + size / _SLOWEST
    left = size + 1
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "minae"})
        with urllib.request.urlopen(request, timeout=timeout) as response:
            while left and (piece := response.read1(min(left, _PIECE))):
                if time.monotonic() > end:
                    raise TimeoutError(f"too slow: {size + 1 - left} of {size} bytes so far")
                pieces.put(piece)
                left -= len(piece)
        pieces.put(b"")
    except Exception as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        pieces.put(error)
