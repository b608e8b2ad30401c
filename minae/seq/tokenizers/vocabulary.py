"""Symbols and their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...backend import expect
from . import saved


class Vocabulary:
    """Symbols, each with an id: its place among ``symbols``.

    ``specials`` are those of the symbols that stand for no text, such as ``"<pad>"``; ``unknown``
    is the one of them that stands for every symbol that is not here. ``vocabulary[symbol]`` is an
    id, ``vocabulary.symbols[id]`` a symbol, ``vocabulary.ids`` the dict from the one to the other.
    Raises ValueError for a symbol that stands twice, and for a special that is no symbol.
    """

    def __init__(
        self, symbols: Iterable[str], *, specials: Iterable[str] = (), unknown: str | None = None
    ) -> None:
        self.symbols = tuple(symbols)
        self.specials = tuple(specials)
        self.unknown = unknown
        self.ids = _Ids(zip(self.symbols, range(len(self.symbols))))
        if len(self.ids) < len(self.symbols):
            twice = next(s for i, s in enumerate(self.symbols) if self.ids[s] != i)
            raise ValueError(f"the symbol {twice!r} stands twice in the vocabulary")
        for special in self.specials:
            if special not in self.ids:
                raise ValueError(f"the special {special!r} is not among the symbols")
        if unknown is not None:
            if unknown not in self.specials:
                raise ValueError(f"unknown={unknown!r} must be one of specials")
            self.ids.unknown = self.ids[unknown]

    @classmethod
    def count(
        cls, symbols: Iterable[str], size: int | None = None, *, least: int = 1,
        specials: Sequence[str] = (), unknown: str | None = None,
    ) -> Vocabulary:  # fmt: skip
        """The ``specials``, then the distinct ``symbols``, the most frequent first.

        Where two are equally frequent, the lesser str comes first. No more than ``size`` in all are
        taken, and none that occurs fewer than ``least`` times. ``unknown`` is as in ``Vocabulary``.
        """
        return cls.of_counts(
            Counter(symbols), size, least=least, specials=specials, unknown=unknown
        )

    @classmethod
    def of_counts(
        cls, counts: Counter[str], size: int | None = None, *, least: int = 1,
        specials: Sequence[str] = (), unknown: str | None = None,
    ) -> Vocabulary:  # fmt: skip
        """As ``count``, of symbols that were counted before: ``counts``, by symbol.

        ``size``, ``least``, ``specials`` and ``unknown`` are those of ``count``.
        """
        if size is not None and size < len(specials):
            raise ValueError(f"a vocabulary of size {size} cannot hold {len(specials)} specials")
        often = sorted((-n, s) for s, n in counts.items() if n >= least and s not in specials)
        symbols = [*specials, *(symbol for _, symbol in often)][:size]
        return cls(symbols, specials=specials, unknown=unknown)

    def __getitem__(self, symbol: str) -> int:
        return self.ids[symbol]

    def __contains__(self, symbol: object) -> bool:
        return symbol in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(self.symbols)

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        return f"Vocabulary of {len(self)} symbols, {len(self.specials)} of them special"

    def spell(self, ids: Any) -> list[str]:
        """The symbols of ``ids``, a list or a host array, without specials other than ``unknown``.

        Raises ValueError for a number that is no id, as -100 at a place to ignore, and for an array
        that is not (time,).
        """
        if getattr(ids, "ndim", 1) != 1:
            raise ValueError(expect("ids (time,), of one text", ids))
        plain = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        if plain and not 0 <= min(plain) <= max(plain) < len(self):
            wrong = next(i for i in plain if not 0 <= i < len(self))
            raise ValueError(f"{wrong} is no id of a vocabulary of {len(self)} symbols")
        silent = {self.ids[special] for special in self.specials if special != self.unknown}
        symbols = self.symbols
        return [symbols[i] for i in plain if i not in silent]

    def save(self, path: Any) -> None:
        """Write it as JSON to the file ``path``, whole or not at all."""
        saved.write(path, "vocabulary", self.content())

    @classmethod
    def load(cls, path: Any) -> Vocabulary:
        """The vocabulary that was saved in the file ``path``. Raises FormatError for another."""
        with saved.reading(path) as found:
            return cls.of_content(*saved.content(found, "vocabulary", **CONTENT))

    def content(self) -> dict[str, Any]:
        """What is saved of it."""
        return {name: getattr(self, name) for name in CONTENT}

    @classmethod
    def of_content(cls, symbols: Any, specials: Any, unknown: Any) -> Vocabulary:
        """The vocabulary of the ``symbols``, ``specials`` and ``unknown`` that were saved."""
        return cls(symbols, specials=specials, unknown=unknown)


CONTENT = {"symbols": [str], "specials": [str], "unknown": (str, type(None))}


class _Ids(dict):
    """Ids by symbol; what is missing has the id of the unknown, or none."""

    unknown: int | None = None

    def __missing__(self, symbol: str) -> int:
        if self.unknown is None:
            cure = "train on text that has it, or with an unknown="
            raise KeyError(f"{symbol!r} is not in the vocabulary: {cure}")
        return self.unknown


def each(texts: Iterable[str]) -> Iterable[str]:
    """``texts``, which must not be one str: its characters would pass for texts."""
    if isinstance(texts, str):
        raise TypeError("texts must be several, as a list or an iterator; put the one into [...]")
    return texts
