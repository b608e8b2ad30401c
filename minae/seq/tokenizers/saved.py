"""JSON as tokenizers are saved in it: written whole or not at all, and read strictly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...io import FormatError, write_file

FORMAT = 1  # the version of what is written here


def write(path: Any, kind: str, content: dict[str, Any]) -> None:
    """Put ``content`` into the file ``path``, and that it is of this ``kind``."""
    text = json.dumps({"minae": FORMAT, "kind": kind, **content})
    write_file(path, text.encode())


@contextmanager
def reading(path: Any) -> Iterator[Any]:
    """What the JSON file ``path`` holds; whatever is wrong with it is a FormatError."""
    data = Path(path).read_bytes()
    try:
        yield json.loads(data.decode(), object_pairs_hook=_once)
    except MemoryError:
        raise
    except Exception as error:  # hostile bytes fail in every way that the parser knows
        damaged = isinstance(error, (json.JSONDecodeError, UnicodeDecodeError, RecursionError))
        guess = ": is it truncated, or no JSON?" if damaged else ""
        raise FormatError(f"{path} cannot be read ({error}){guess}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise FormatError(f"the name {twice!r:.60} stands twice in one object")
    return found


def content(value: Any, kind: str, **types: Any) -> list[Any]:
    """The entries of what ``write`` has written, in the order of ``types``, and no others."""
    if not isinstance(value, dict) or type(value.get("minae")) is not int:
        raise FormatError("minae has not written it")
    if value["minae"] > FORMAT:
        raise FormatError("a newer version of minae wrote it; update minae")
    if value.get("kind") != kind:
        raise FormatError(f"it holds {value.get('kind')!r}, not {kind!r}")
    names = {"minae", "kind", *types}
    if value.keys() != names:
        raise FormatError(f"it must hold {sorted(names)}; it holds {sorted(value)}")
    return [typed(value[name], name, wanted) for name, wanted in types.items()]


def typed(value: Any, name: str, kind: Any) -> Any:
    """``value``, which must be of the type ``kind``; ``[str]`` is a list of str, and so on."""
    if isinstance(kind, list):
        if type(value) is not list:
            raise FormatError(f"{name} must be a list")
        return [typed(entry, f"an entry of {name}", kind[0]) for entry in value]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) not in kinds:
        wanted = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        raise FormatError(f"{name} must be {wanted}; it is {value!r:.60}")
    return value


def by_id(table: Any) -> list[str]:
    """The symbols of a dict of ids by symbol, which must be 0, 1, 2, ..., in their order."""
    ids = typed(table, "the vocabulary", dict).values()
    if not all(type(i) is int for i in ids) or sorted(ids) != list(range(len(table))):
        raise FormatError(f"the ids of the vocabulary are not 0 to {len(table) - 1}")
    return sorted(table, key=table.__getitem__)


@contextmanager
def refusing(path: Any) -> Iterator[None]:
    """Make a ValueError about the content of the file ``path`` a FormatError that names it."""
    try:
        yield
    except ValueError as error:
        raise error if isinstance(error, FormatError) else FormatError(
            f"{path} cannot be read ({error})"
        ) from error
