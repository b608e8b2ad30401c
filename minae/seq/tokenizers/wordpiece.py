"""WordPiece as BERT has it: words without case and accents, in the longest pieces known."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from ...backend import numpy
from ..text import lines
from . import saved
from .bpe import Cache, learned
from .vocabulary import CONTENT, Vocabulary, each

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PREFIX = "##"  # of a piece that does not begin a word
LONGEST = 100  # characters of a word; a longer one is unknown
_IDEOGRAPHS = [  # those of BERT; where a range began at 2B820, Hugging Face's begins at 2B920
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B81F),
    (0x2B920, 0x2CEAF), (0x2F800, 0x2FA1F),
]  # fmt: skip


class _Table(dict):
    """For ``str.translate``: what becomes of a character, worked out when it is first met."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule

    def __missing__(self, code: int) -> str | None:
        self[code] = found = self.rule(chr(code))
        return found


def _cleaned(sign: str) -> str | None:
    """Control characters go, white space becomes a space, ideographs become words."""
    kind = unicodedata.category(sign)
    if sign in "\t\n\r" or kind[0] == "Z":
        return " "
    if kind in ("Cc", "Cf", "Co", "Cs") or sign == "\ufffd":
        return None
    return f" {sign} " if any(a <= ord(sign) <= b for a, b in _IDEOGRAPHS) else sign


def _parted(sign: str) -> str:
    """Punctuation becomes words; so does every sign of ASCII that is no letter or digit."""
    kind = unicodedata.category(sign)
    alone = kind[0] == "P" or (sign in "$+<=>^`|~")
    return f" {sign} " if alone else sign


def _plain(sign: str) -> str | None:
    return None if unicodedata.category(sign) == "Mn" else _parted(sign)


_CLEANED, _PARTED, _PLAIN = _Table(_cleaned), _Table(_parted), _Table(_plain)


def basic_words(text: str, lower: bool = True, accents: bool = False) -> list[str]:
    """The words of ``text`` as BERT's BasicTokenizer parts them.

    Control characters are dropped; ideographs and punctuation are words of their own; ``lower``:
    without case; without accents, unless ``accents``.
    """
    text = text.translate(_CLEANED)
    if accents:
        text = text.translate(_PARTED)
    else:
        text = unicodedata.normalize("NFD", text).translate(_PLAIN)
    if lower:  # a sigma at a word's end has another small letter, but not in BERT
        text = "".join(map(str.lower, text)) if "Σ" in text else text.lower()
    return text.split()


class WordPieceTokenizer:
    """BERT's tokenizer: ``basic_words``, each in the longest pieces that the ``vocabulary`` has.

    Pieces that do not begin a word have ``##`` before them. A word of more than 100 characters, or
    with a part that is in no piece, is the unknown symbol. ``lower`` and ``accents`` (None: kept
    just if not ``lower``) are those of ``basic_words``. A special in a text is text; its id is
    ``vocabulary[special]``. Raises ValueError for a vocabulary without an unknown symbol.
    """

    def __init__(
        self, vocabulary: Vocabulary, lower: bool = True, accents: bool | None = None
    ) -> None:
        if vocabulary.unknown is None:
            raise ValueError("WordPiece needs a vocabulary with an unknown=, such as '[UNK]'")
        self.vocabulary, self.lower, self.accents = vocabulary, lower, accents
        self._unknown = vocabulary[vocabulary.unknown]
        silent = {*vocabulary.specials}
        self._known = {piece: i for piece, i in vocabulary.ids.items() if piece not in silent}
        self._longest = max(map(len, vocabulary))
        self._cache = Cache(self._pieces)

    @classmethod
    def train(
        cls, texts: Iterable[str], size: int, *, lower: bool = True, accents: bool | None = None,
        least: int = 1, specials: Sequence[str] = SPECIALS, unknown: str = "[UNK]",
    ) -> WordPieceTokenizer:  # fmt: skip
        """The tokenizer that makes ``texts``, several str, short, with ``size`` symbols.

        First come the ``specials``, one of which is ``unknown``, then the characters, then those
        within words, then what is merged, as long as a pair occurs ``least`` times: byte-pair
        merges, as Hugging Face's trainer does. ``lower`` and ``accents`` are those of the class.
        There are more than ``size`` if there are more characters.
        """
        counts: Counter[str] = Counter()
        for text in each(texts):
            counts.update(basic_words(text, lower, _kept(lower, accents)))
        begin = sorted(set().union(*counts))
        within = sorted({PREFIX + sign for word in counts for sign in word[1:]})
        symbols = [*specials, *begin, *within]
        merge(counts, symbols, size, least)
        return cls(Vocabulary(symbols, specials=specials, unknown=unknown), lower, accents)

    @classmethod
    def of_bert(cls, path: Any, lower: bool = True) -> WordPieceTokenizer:
        """The tokenizer of BERT's ``vocab.txt``, a symbol in each line of the file ``path``.

        ``lower`` is that of the class. Raises FormatError for what is no such file.
        """
        symbols = list(lines(path))
        specials = [symbol for symbol in symbols if symbol in SPECIALS]
        with saved.refusing(path):
            return cls(Vocabulary(symbols, specials=specials, unknown="[UNK]"), lower)

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``, without ``[CLS]`` and ``[SEP]``."""
        words = basic_words(text, self.lower, _kept(self.lower, self.accents))
        return list(chain.from_iterable(map(self._cache.__getitem__, words)))

    def decode(self, ids: Any) -> str:
        """The words of ``ids`` with a space between any two, without specials other than the
        unknown symbol."""
        text = " ".join(self.vocabulary.spell(ids))
        return text.replace(f" {PREFIX}", "")

    def save(self, path: Any) -> None:
        """Write it as JSON to the file ``path``, whole or not at all."""
        options = {"lower": self.lower, "accents": self.accents}
        saved.write(path, "wordpiece", options | self.vocabulary.content())

    @classmethod
    def of_saved(cls, found: Any) -> WordPieceTokenizer:
        """The tokenizer of what was saved: ``found``, the content of the file."""
        types = {"lower": bool, "accents": (bool, type(None)), **CONTENT}
        lower, accents, *vocabulary = saved.content(found, "wordpiece", **types)
        return cls(Vocabulary.of_content(*vocabulary), lower, accents)

    def _pieces(self, word: str) -> list[int]:
        """The ids of one word: each time, the longest piece that it goes on with."""
        ids, found, start = self._known, [], 0
        while start < len(word) <= LONGEST:
            prefix = PREFIX if start else ""
            for end in range(min(len(word), start + self._longest), start, -1):
                if (piece := prefix + word[start:end]) in ids:
                    found.append(ids[piece])
                    start = end
                    break
            else:
                break
        return found if start == len(word) else [self._unknown]


def merge(counts: Counter[str], symbols: list[str], size: int, least: int) -> None:
    """Add to ``symbols``, which have every character of the words in ``counts``, what is merged."""
    ids = {symbol: i for i, symbol in enumerate(symbols)}
    words = list(counts)
    pieces = [ids[sign] for word in words for sign in (word[0], *(PREFIX + s for s in word[1:]))]
    learned(numpy.array(pieces, numpy.int64), words, counts, symbols, size, least, PREFIX)


def _kept(lower: bool, accents: bool | None) -> bool:
    return not lower if accents is None else accents
