"""A text to model: a file, tiny Shakespeare where it is at hand, or what Python says of itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..io import FormatError

SHAKESPEARE = "tinyshakespeare"


class Text(NamedTuple):
    """A text, what it is called, and where it is from."""

    name: str
    content: str
    source: str


def load_text(
    path: Any = None, data_dir: Any = None, report: Callable[[str], Any] = print
) -> Text:
    """The text of the file ``path``, which may be packed by gzip; ``report`` gets a line on it.

    Without a path, tiny Shakespeare (``input.txt``, A. Karpathy, char-rnn) is looked for in
    ``data_dir``, or else in ``$MINAE_DATA/tinyshakespeare``. Where it is not, the built-in text
    takes its place, and the line says so: the pages of Python's own ``help``, half a million
    characters of English in every installation. Raises FileNotFoundError for a path or a
    ``data_dir`` without the file, TextError for what is no text, FormatError for an empty one.
    """
    from ..seq.text import lines

    found = _found(data_dir) if path is None else Path(path)
    if found is None:
        text = Text("python", _help(), "the pages of Python's help, built in")
    else:
        content = "".join(f"{line}\n" for line in lines(found))
        text = Text(SHAKESPEARE if path is None else found.name, content, str(found))
    if not text.content.strip():
        raise FormatError(f"{text.source} holds no text")
    report(f"text: {text.source}, {len(text.content):,} characters")
    return text


def _found(data_dir: Any) -> Path | None:
    folders = []
    if data_dir is not None:
        folders = [Path(data_dir), Path(data_dir) / SHAKESPEARE]
    elif os.environ.get("MINAE_DATA"):
        folders = [Path(os.environ["MINAE_DATA"]) / SHAKESPEARE]
    for folder in folders:
        for name in ("input.txt", "input.txt.gz"):
            if (folder / name).is_file():
                return folder / name
    if data_dir is not None:
        raise FileNotFoundError(f"{data_dir} holds no input.txt; name another file by its path")
    return None


def _help() -> str:
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))
