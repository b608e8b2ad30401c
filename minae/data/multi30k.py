"""Multi30k (Elliott et al. 2016): captions of photographs in English, German, French and Czech."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .numbers import generated_numbers
from .parallel import ParallelText, read_pairs, read_parallel

LANGUAGES = ("en", "de", "fr", "cs")
TEST = "test_2016_flickr"
CURE = "give by --data-dir the folder data/task1/raw of https://github.com/multi30k/dataset"


def load_multi30k(source: str = "en", target: str = "de", data_dir: Any = None) -> ParallelText:
    """29,000 pairs to train on, and 1,000 of ``test_2016_flickr``.

    ``source`` and ``target`` are two of "en", "de", "fr" and "cs". The files, ``train.en`` and so
    on, plain or ``.gz``, are in the folder ``data_dir``, or in its folder ``multi30k``; by default
    in that of ``$MINAE_DATA``. Raises ValueError for other languages, FileNotFoundError for files
    that are not there, FormatError for damaged ones.
    """
    if source == target or not {source, target} <= {*LANGUAGES}:
        raise ValueError(f"choose two of {', '.join(LANGUAGES)}, not {source} and {target}")
    folder = _folder(data_dir)
    if folder is None or not folder.is_dir():
        raise FileNotFoundError(f"{folder or 'Multi30k'} is not at hand: {CURE}")
    parts = []
    for part in ("train", TEST):
        stems = [folder / f"{part}.{language}" for language in (source, target)]
        paths = [stem if stem.is_file() else stem.with_name(f"{stem.name}.gz") for stem in stems]
        for stem, path in zip(stems, paths):
            if not path.is_file():
                raise FileNotFoundError(f"{folder} lacks {stem.name} (plain or .gz): {CURE}")
        parts.append(read_pairs(*paths))
    return ParallelText("multi30k", f"from {folder}", (source, target), *parts)


def load_parallel(
    dataset: str, source: str = "en", target: str = "de", data_dir: Any = None,
    files: tuple[Any, Any] | None = None, report: Callable[[str], Any] = print,
) -> ParallelText:  # fmt: skip
    """The ``dataset`` "multi30k", "numbers" or "files"; ``report`` gets a line on where it is from.

    ``source``, ``target`` and ``data_dir`` are those of ``load_multi30k``, and ``files`` the two
    of ``read_parallel``. Where Multi30k is not at hand and no folder was named, names of numbers
    take its place, and the line says so. Raises ValueError for another name, and what the loaders
    raise.
    """
    before = after = ""
    if dataset == "files" and files is not None:
        data = read_parallel(*files)
    elif dataset == "multi30k":
        folder = _folder(data_dir)
        if data_dir is None and not (folder and folder.is_dir()):
            before, after = "Multi30k is not at hand. In its place, ", f". For Multi30k, {CURE}"
            data = _numbers(source, target)
        else:
            data = load_multi30k(source, target, data_dir)
    elif dataset == "numbers":
        if data_dir is not None:
            raise ValueError("names of numbers are written, not read: leave out --data-dir")
        data = _numbers(source, target)
    else:
        raise ValueError(f"dataset is {dataset!r}; choose multi30k, numbers or, with two, files")
    titles = {"multi30k": "Multi30k", "numbers": "names of numbers", "files": "two files"}
    report(f"{before}{titles[data.name]}, {' to '.join(data.languages)}: {len(data.train)} pairs to"
           f" train on and {len(data.test)} to test with, {data.origin}{after}")
    return data


def _numbers(source: str, target: str) -> ParallelText:
    if {source, target} != {"en", "de"}:
        raise ValueError(
            f"numbers are named in en and de, not in {source} and {target}; for Multi30k, {CURE}"
        )
    return generated_numbers(source, target)


def _folder(data_dir: Any) -> Path | None:
    """Where the files should be, if anybody has said so."""
    if data_dir is not None:
        inner = Path(data_dir) / "multi30k"
        return inner if inner.is_dir() else Path(data_dir)
    shared = os.environ.get("MINAE_DATA")
    return Path(shared) / "multi30k" if shared else None
