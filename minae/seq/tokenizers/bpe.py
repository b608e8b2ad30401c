"""Byte-pair encoding of UTF-8, as GPT-2 does it (Radford et al. 2019): any text can be encoded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

from ... import kernels
from ...backend import numpy
from ..text import lines
from . import saved
from .unicode import NO_SPACE, SPACE, ranges
from .vocabulary import CONTENT, Vocabulary, each

# A symbol is a str in which each character stands for a byte: for itself where it can be seen.
_SEEN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_HIDDEN = [byte for byte in range(256) if byte not in _SEEN]
SIGNS = {b: chr(b) for b in _SEEN} | {b: chr(256 + i) for i, b in enumerate(_HIDDEN)}
_BYTES = {ord(sign): byte for byte, sign in SIGNS.items()}


@cache
def pattern() -> re.Pattern[str]:
    r"""GPT-2's pieces of text, which no symbol crosses.

    With \p{L} and \p{N}, which Python's ``re`` lacks: ``'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+|
    ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+``. A group is repeated by ``++``: by ``+``, it would take 100
    bytes for each character.
    """
    numbers = ranges("Nl", "No")
    return re.compile(
        r" ?[A-Za-z]++(?![^\x00-\x7f])"  # most words of English, fast; the next but one has all
        r"|'(?:[stmd]|re|ve|ll)"
        rf"| ?(?:[^\W\d_{numbers}]+|[\d{numbers}]+|(?:[^\w\s]|[_\x1c-\x1f])++)"
        rf"|{SPACE}+(?!{NO_SPACE})|{SPACE}+"
    )


class BPETokenizer:
    """Byte-pair encoding: the bytes of a piece of text, merged in the order of ``merges``.

    The ``vocabulary`` has a symbol for each byte and for what each of the ``merges``, pairs of
    symbols, makes; in them, characters stand for bytes, as in GPT-2's files. ``decode(encode(x))``
    is ``x`` for every str. A special in a text is text; its id is ``vocabulary[special]``. Raises
    ValueError where the vocabulary lacks a byte, or the symbols of a merge.
    """

    def __init__(self, vocabulary: Vocabulary, merges: Iterable[Sequence[str]]) -> None:
        self.vocabulary, self.merges = vocabulary, [(first, second) for first, second in merges]
        ids = vocabulary.ids
        if vocabulary.unknown is not None:
            raise ValueError("byte-pair encoding knows every text: leave out unknown=")
        if lacking := [byte for byte, sign in SIGNS.items() if sign not in ids]:
            raise ValueError(f"the vocabulary has no symbol for the byte {lacking[0]}")
        for symbol in vocabulary:  # specials may look like anything but text
            if not _BYTES.keys() >= set(map(ord, symbol)) and symbol not in vocabulary.specials:
                raise ValueError(f"the symbol {symbol!r} stands for no bytes; is it a special?")
        for first, second in self.merges:
            for symbol in (first, second, first + second):
                if symbol not in ids:
                    raise ValueError(
                        f"the vocabulary lacks {symbol!r} of the merge {first!r}, {second!r}"
                    )
        texts = {*SIGNS.values(), *(first + second for first, second in self.merges)}
        if both := texts.intersection(vocabulary.specials):
            raise ValueError(f"the special {both.pop()!r} is text, too: choose one that is none")
        self._bytes = numpy.array([ids[SIGNS[byte]] for byte in range(256)])
        pairs = [(ids[first], ids[second]) for first, second in self.merges]
        self._ranks = kernels.rank_merges(
            numpy.array(pairs, numpy.int64).reshape(-1, 2),
            numpy.array([ids[first + second] for first, second in self.merges], numpy.int64),
        )
        self._pieces = pattern().findall
        self._cache = Cache(self._merged)

    @classmethod
    def train(
        cls, texts: Iterable[str], size: int, *, least: int = 1, specials: Sequence[str] = ()
    ) -> BPETokenizer:
        """The tokenizer that makes ``texts``, several str, short, with ``size`` symbols.

        First come the ``specials``, then the 256 bytes, then what is merged, as long as a pair
        occurs ``least`` times. Raises ValueError for a smaller ``size`` than that of the first two.
        """
        symbols = [*specials, *sorted(SIGNS.values())]
        if size < len(symbols):
            raise ValueError(f"size must be at least {len(symbols)}: the specials and 256 bytes")
        counts: Counter[str] = Counter()
        for text in each(texts):
            counts.update(pattern().findall(text))
        ids = {symbol: i for i, symbol in enumerate(symbols)}
        place = [ids[SIGNS[byte]] for byte in range(256)]
        pieces = list(map(_utf8, counts))
        words = numpy.array(place)[numpy.frombuffer(b"".join(pieces), numpy.uint8)]
        merges = learned(words, pieces, counts, symbols, size, least)
        return cls(Vocabulary(symbols, specials=specials), merges)

    @classmethod
    def of_gpt2(cls, vocabulary: Any, merges: Any) -> BPETokenizer:
        """The tokenizer of the files that GPT-2 came with: the paths of ``vocab.json``, the
        ``vocabulary``, and of ``merges.txt``. Raises FormatError for what are no such files."""
        with saved.reading(vocabulary) as found:
            symbols = saved.by_id(found)
            specials = [s for s in symbols if s == "<|endoftext|>"]
            known = Vocabulary(symbols, specials=specials)
        rows = (line.split(" ") for line in lines(merges) if not line.startswith("#version"))
        with saved.refusing(merges):
            return cls(known, [row for row in rows if row != [""]])

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``."""
        return list(chain.from_iterable(map(self._cache.__getitem__, self._pieces(text))))

    def decode(self, ids: Any) -> str:
        """The text of ``ids``, without specials; where bytes are no UTF-8, it has U+FFFD."""
        data = "".join(self.vocabulary.spell(ids)).translate(_BYTES).encode("latin-1")
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return data.decode("utf-8", "replace")

    def save(self, path: Any) -> None:
        """Write it as JSON to the file ``path``, whole or not at all."""
        saved.write(path, "bpe", {"merges": self.merges, **self.vocabulary.content()})

    @classmethod
    def of_saved(cls, found: Any) -> BPETokenizer:
        """The tokenizer of what was saved: ``found``, the content of the file."""
        merges, *vocabulary = saved.content(found, "bpe", merges=[[str]], **CONTENT)
        return cls(Vocabulary.of_content(*vocabulary), merges)

    def _merged(self, piece: str) -> list[int]:
        word = self._bytes[numpy.frombuffer(_utf8(piece), numpy.uint8)]
        return kernels.merge(word, self._ranks).tolist()


def learned(
    words: Any, pieces: list[Any], counts: Counter[str], symbols: list[str], size: int, least: int,
    prefix: str = "",
) -> list[tuple[str, str]]:  # fmt: skip
    """The merges that ``kernels.learn_merges`` finds, as symbols; what they make joins ``symbols``.

    ``words`` are the ids of all ``pieces``, one after the other. The second symbol of a pair loses
    ``prefix``.
    """
    starts = numpy.cumsum([0, *map(len, pieces)])
    often = numpy.fromiter(counts.values(), numpy.int64, len(counts))
    pairs, made = kernels.learn_merges(words, starts, often, len(symbols), size, least)
    merges: dict[tuple[str, str], None] = {}
    for (first, second), new in zip(pairs.tolist(), made.tolist()):
        pair = symbols[first], symbols[second]
        if new == len(symbols):
            symbols.append(pair[0] + pair[1].removeprefix(prefix))
        merges.pop(pair, None)  # the same pair may come again, and then has the rank of the last
        merges[pair] = None
    return list(merges)


def _utf8(piece: str) -> bytes:
    return piece.encode("utf-8", "surrogatepass")


class Cache(dict):
    """What ``compute`` gives, by key; kept for short keys, and not for more than ``MOST``."""

    MOST, LONGEST = 1 << 17, 64

    def __init__(self, compute: Any) -> None:
        self.compute = compute

    def __missing__(self, key: str) -> list[int]:
        value = self.compute(key)
        if len(key) <= self.LONGEST:
            if len(self) >= self.MOST:
                self.clear()
            self[key] = value
        return value
