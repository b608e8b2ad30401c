"""Weights that Hugging Face's ``transformers`` saved: read, and called by other names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..backend import numpy
from ..interop import _array
from ..io import FormatError, load


def read_weights(source: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays by name, and the configuration.

    ``source`` is a folder that ``save_pretrained`` wrote, or a ``state_dict``, whose configuration
    is not known. Raises FileNotFoundError where a file is missing, FormatError for a damaged one.
    """
    if isinstance(source, Mapping):
        return {name: _array(name, value) for name, value in source.items()}, {}
    folder = Path(source)
    text = (folder / "config.json").read_bytes()
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{folder / 'config.json'} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise FormatError(f"{folder / 'config.json'} holds no configuration")
    return load(folder / "model.safetensors"), config


def expect_config(config: dict[str, Any], wanted: Mapping[str, tuple]) -> None:
    """Raise ValueError where a configuration asks for another computation than ours."""
    for name, values in wanted.items():
        if config.get(name, values[0]) not in values:
            allowed = " or ".join(map(repr, values))
            raise ValueError(f"{name} is {config[name]!r}; what is computed here is {allowed}")


def without_copies(arrays: dict[str, Any], copies: Mapping[str, str]) -> dict[str, Any]:
    """All but those that are ``copies`` of another; ValueError where one differs from it."""
    for name, original in copies.items():
        same = original in arrays and numpy.array_equal(arrays[original], arrays.get(name, 0))
        if name in arrays and not same:
            raise ValueError(f"{name} is not {original}: here the two are one array")
    return {name: value for name, value in arrays.items() if name not in copies}


def heads_of(config: dict[str, Any], name: str, heads: int | None) -> int:
    """How many there are: the one thing that no array tells."""
    heads = config.get(name) if heads is None else heads
    if not isinstance(heads, int):
        raise ValueError("weights do not tell the number of heads: give heads=")
    return heads


def renamed(name: str, table: Iterable[tuple[str, str]]) -> str:
    """What we call the array ``name``: each pattern of the ``table`` replaced, in order."""
    for theirs, ours in table:
        name = re.sub(theirs, ours, name)
    return name
