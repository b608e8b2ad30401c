"""Text as words, by one of two plain conventions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from . import saved
from .unicode import NO_SPACE, ranges
from .vocabulary import CONTENT, Vocabulary, each

SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")


@cache
def pattern(split: str) -> re.Pattern[str]:
    """The regular expression of the words that ``split`` names."""
    if split == "spaces":
        return re.compile(f"{NO_SPACE}+")
    if split != "words":
        raise ValueError(f"split must be 'spaces' or 'words'; got {split!r}")
    # Unicode's definition of \w (UTS #18, annex C) has marks, connectors, letters in circles and
    # joiners, which Python's lacks, and lacks the numbers of the category No.
    more = ranges("Mn", "Mc", "Me", "Pc") + r"\u24b6-\u24e9\U0001f130-\U0001f149\u200c\u200d"
    more += r"\U0001f150-\U0001f169\U0001f170-\U0001f189"
    less = ranges("No")
    word = rf"(?:[^\W{less}]|[{more}])++"  # with + alone, a character would take 100 bytes
    other = rf"(?:[^\w\s{more}]|[{less}\x1c-\x1f])++"
    return re.compile(rf"[A-Za-z0-9_]++(?![^\x00-\x7f])|{word}|{other}")  # the first: fast


class WordTokenizer:
    """One id for each word of a text, from a ``vocabulary`` with an unknown word.

    What a word is, ``split`` says: ``"spaces"``, whatever stands between white space, for text that
    was tokenized before; or ``"words"``, a run of letters, marks, digits and ``_``, or a run of
    other signs (``\\w+|[^\\w\\s]+`` as Unicode defines it). Hugging Face calls them WhitespaceSplit
    and Whitespace. A special that stands in a text as a word, as ``<unk>`` between spaces, is read
    as that special. Raises ValueError for another ``split``.
    """

    def __init__(self, vocabulary: Vocabulary, split: str = "words") -> None:
        self.vocabulary, self.split = vocabulary, split
        self._find = pattern(split).findall

    @classmethod
    def train(
        cls, texts: Iterable[str], size: int | None = None, *, split: str = "words",
        least: int = 1, specials: Sequence[str] = SPECIALS, unknown: str | None = "<unk>",
    ) -> WordTokenizer:  # fmt: skip
        """The tokenizer whose vocabulary are the words of ``texts``, several str.

        ``split`` is that of ``WordTokenizer``; ``size``, ``least``, ``specials`` and ``unknown``
        are those of ``Vocabulary.count``.
        """
        counts: Counter[str] = Counter()
        words = pattern(split).findall
        for text in each(texts):
            counts.update(words(text))
        return cls(
            Vocabulary.of_counts(counts, size, least=least, specials=specials, unknown=unknown),
            split,
        )

    def encode(self, text: str) -> list[int]:
        """The ids of the words of ``text``. Raises KeyError for one that the vocabulary lacks, if
        it has no unknown word."""
        return list(map(self.vocabulary.ids.__getitem__, self._find(text)))

    def words(self, text: str) -> list[str]:
        """The words of ``text``, whether the vocabulary has them or not."""
        return self._find(text)

    def decode(self, ids: Any) -> str:
        """The words of ``ids`` with a space between any two, without specials; an unknown word is
        the unknown symbol."""
        return " ".join(self.vocabulary.spell(ids))

    def save(self, path: Any) -> None:
        """Write it as JSON to the file ``path``, whole or not at all."""
        saved.write(path, "words", {"split": self.split, **self.vocabulary.content()})

    @classmethod
    def of_saved(cls, found: Any) -> WordTokenizer:
        """The tokenizer of what was saved: ``found``, the content of the file."""
        split, *vocabulary = saved.content(found, "words", split=str, **CONTENT)
        return cls(Vocabulary.of_content(*vocabulary), split)
