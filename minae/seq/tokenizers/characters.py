"""Text as characters: one id for each code point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from . import saved
from .vocabulary import CONTENT, Vocabulary, each


class CharacterTokenizer:
    """One id for each character (code point) of a text, from a ``vocabulary`` of characters.

    ``decode(encode(text))`` is ``text``, if the vocabulary has its characters. Raises ValueError
    for a symbol of the vocabulary that is neither one character nor special.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        for symbol in vocabulary:
            if len(symbol) != 1 and symbol not in vocabulary.specials:
                raise ValueError(f"the symbol {symbol!r} is no character; name it in specials=")
        self.vocabulary = vocabulary

    @classmethod
    def train(
        cls, texts: Iterable[str], size: int | None = None, *, least: int = 1,
        specials: Sequence[str] = (), unknown: str | None = None,
    ) -> CharacterTokenizer:  # fmt: skip
        """The tokenizer whose vocabulary are the characters of ``texts``, several str.

        ``size``, ``least``, ``specials`` and ``unknown`` are those of ``Vocabulary.count``.
        """
        counts: Counter[str] = Counter()
        for text in each(texts):
            counts.update(text)
        return cls(
            Vocabulary.of_counts(counts, size, least=least, specials=specials, unknown=unknown)
        )

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``. Raises KeyError for a character that the vocabulary lacks."""
        return list(map(self.vocabulary.ids.__getitem__, text))

    def decode(self, ids: Any) -> str:
        """The text of ``ids``, without specials; an unknown character is the unknown symbol."""
        return "".join(self.vocabulary.spell(ids))

    def save(self, path: Any) -> None:
        """Write it as JSON to the file ``path``, whole or not at all."""
        saved.write(path, "characters", self.vocabulary.content())

    @classmethod
    def of_saved(cls, found: Any) -> CharacterTokenizer:
        """The tokenizer of what was saved: ``found``, the content of the file."""
        return cls(Vocabulary.of_content(*saved.content(found, "characters", **CONTENT)))
