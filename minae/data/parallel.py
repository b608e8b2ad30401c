"""Sentences beside their translations: what a loader gives, and how two files become that."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ..backend import numpy
from ..io import FormatError
from ..seq import lines


class ParallelText(NamedTuple):
    """Pairs of sentences, to train on and to test with."""

    name: str  # of the data set
    origin: str  # where it is from, in words
    languages: tuple[str, str]  # of the source and of the target
    train: list[tuple[str, str]]  # (source, target)
    test: list[tuple[str, str]]


def read_parallel(source_file: Any, target_file: Any, seed: int = 0) -> ParallelText:
    """Two text files with a sentence a line: a line of ``target_file`` translates that of
    ``source_file``. They may be packed (``.gz``).

    A tenth of the different sources, at most 1000, and their translations are the test; ``seed``
    decides which. No source is in both parts. Raises OSError for what cannot be read, FormatError
    for what is no such text.
    """
    pairs = read_pairs(source_file, target_file)
    sources = list(dict.fromkeys(source for source, _ in pairs))
    if len(sources) < 2:
        raise FormatError(f"{source_file} needs two different sentences: to train on, and to test")
    count = min(1000, -(-len(sources) // 10))
    order = numpy.random.default_rng(seed).permutation(len(sources))
    chosen = {sources[i] for i in order[:count]}
    parts: tuple[list, list] = ([], [])
    for pair in pairs:
        parts[pair[0] in chosen].append(pair)
    names = Path(source_file).name, Path(target_file).name
    return ParallelText("files", f"from {source_file} and {target_file}", names, *parts)


def read_pairs(source_file: Any, target_file: Any) -> list[tuple[str, str]]:
    """The pairs of lines of two files, without those in which one is blank.

    Raises FormatError where ``source_file`` or ``target_file`` is damaged, or has more lines.
    """
    files = source_file, target_file
    sources, targets = ([line.strip() for line in lines(path)] for path in files)
    if len(sources) != len(targets):
        raise FormatError(
            f"{source_file} has {len(sources)} lines and {target_file} {len(targets)}: line by"
            " line, the one must be translated by the other"
        )
    pairs = [(source, target) for source, target in zip(sources, targets) if source and target]
    if not pairs:
        raise FormatError(f"{source_file} and {target_file} hold no pair of sentences")
    return pairs

