"""What the spelling of a word tells, for models that must read words seen rarely or never."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

LETTERS = re.compile(r"[^\W\d_]+")
DIGITS = re.compile(r"\d+")
LONGEST = 8  # characters of a shape


def spelled(word: str) -> list[str]:
    """Five symbols of ``word``: itself in lower case; its last letter, two, three; its shape.

    ``Don't`` is ``=don't``, ``~t``, ``~'t``, ``~n't`` and ``#Xx'x``. In a shape, a run of letters
    is x, X where all are capitals, Xx where some are or it is a single one; a run of digits is 0.
    """
    lower = word.lower()
    shape = DIGITS.sub("0", LETTERS.sub(_case, word))[:LONGEST]
    return [f"={lower}", *(f"~{lower[-n:]}" for n in (1, 2, 3)), f"#{shape}"]


def _case(letters: re.Match[str]) -> str:
    if letters[0] == letters[0].lower():  # nor are letters without case capitals
        return "x"
    return "X" if len(letters[0]) > 1 and letters[0].isupper() else "Xx"


def spellings(sentences: Iterable[Iterable[str]]) -> Iterator[str]:
    """The symbols of all words of ``sentences``, for a Vocabulary to count."""
    return (symbol for sentence in sentences for word in sentence for symbol in spelled(word))


def spelling_ids(words: Iterable[str], vocabulary: Mapping[str, int]) -> list[list[int]]:
    """The ids of the symbols of each of the ``words``, from a ``vocabulary`` or a dict."""
    return [[vocabulary[symbol] for symbol in spelled(word)] for word in words]
