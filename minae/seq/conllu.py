"""Sentences and their dependency trees as CoNLL-U, the format of Universal Dependencies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..backend import numpy
from ..io import replacing
from .text import TextError, lines
from .trees import Tree

FIELDS = (
    "id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc",
)  # fmt: skip
"""The names of the ten fields of a row."""
LARGEST = 1 << 20  # rows of a sentence; with more, the blank lines are missing


class Sentence(NamedTuple):
    """What stands between two blank lines: ``comments``, whole, and ``rows`` of ten fields each.

    Rows are words, but also tokens of several words (id ``3-4``) and words that are not there
    (``5.1``), in the order of the file: ``str(sentence)`` is what was read.
    """

    comments: list[str]
    rows: list[list[str]]

    @property
    def words(self) -> list[list[str]]:
        """The rows that are words of the tree."""
        return [row for row in self.rows if row[0].isdecimal()]

    def column(self, field: str) -> list[str]:
        """One ``field`` of each word, by its name in ``FIELDS``: ``column("upos")``."""
        place = FIELDS.index(field)
        return [row[place] for row in self.words]

    @property
    def tree(self) -> Tree:
        """The dependency tree: a node for each word, below its head, labelled by their relation."""
        heads = numpy.array([int(head) for head in self.column("head")], "int64")
        return Tree(heads - 1, self.column("deprel"), self.column("form"))

    def __str__(self) -> str:
        return "\n".join([*self.comments, *map("\t".join, self.rows)])


def read_conllu(
    source: Any, *, encoding: str = "utf-8", largest: int = LARGEST
) -> Iterator[Sentence]:
    """The sentences of ``source``, one by one; ``source`` and ``encoding`` are those of ``lines``.

    Raises TextError for a row without ten fields, none of them empty; for ids that are not in
    order; for a head that is no word of the sentence, and for words that hang in a cycle; for
    comments without a row, for a sentence of more than ``largest`` rows, and as ``lines`` does.
    """
    comments: list[str] = []
    rows: list[list[str]] = []
    number = 0
    for number, line in enumerate(lines(source, encoding=encoding), 1):
        if not line:
            if comments or rows:
                yield _checked(comments, rows, source, number)
                comments, rows = [], []
        elif line[0] == "#" and not rows:
            comments.append(line)
        else:
            fields = line.split("\t")
            if len(fields) != len(FIELDS) or "" in fields:
                found, column = len(fields), len(line) + 1
                if "" in fields[: len(FIELDS)]:
                    found = fields.index("")
                    what = f"the field {FIELDS[found].upper()} is empty: _ stands for nothing"
                    column = _column(fields, found)
                else:
                    what = f"a row has {len(FIELDS)} fields with tabs between, this has {found}"
                    column = _column(fields, len(FIELDS)) if found > len(FIELDS) else column
                raise TextError(what, source, number, column)
            rows.append(fields)
        if len(comments) + len(rows) > largest:
            what = f"a sentence of more than {largest} lines; allow it by largest="
            raise TextError(what, source, number, 1)
    if comments or rows:
        yield _checked(comments, rows, source, number + 1)


def _column(fields: list[str], place: int) -> int:
    """Where a field begins."""
    return sum(len(field) + 1 for field in fields[:place]) + 1


def _checked(comments: list[str], rows: list[list[str]], source: Any, end: int) -> Sentence:
    """The sentence that ends before line ``end``."""

    def wrong(what: str, row: int, place: int = 0) -> TextError:
        return TextError(what, source, end - len(rows) + row, _column(rows[row], place))

    if not rows:
        raise TextError("comments, but no row to which they belong", source, end - 1, 1)
    word = empty = covered = token = 0  # the ids read; to where a token of several words reaches
    for row, (name, *_) in enumerate(rows):
        before = word
        start, dash, last = name.partition("-")
        whole, dot, part = name.partition(".")
        if name.isdecimal():
            good, word, empty = name == str(word + 1), word + 1, 0
        elif dash:
            good = start == str(word + 1) and word >= covered and _number(last) > word
            covered, token = _number(last), row
        else:
            good = dot == "." and whole == str(word) and part == str(empty + 1)
            empty += 1
        if not good:
            raise wrong(f"the id {name[:40]!r} is out of order: behind word {before}", row)
    if covered > word:
        raise wrong(f"the token {rows[token][0]} reaches beyond the last word, {word}", token)
    head = FIELDS.index("head")
    heads, places = [], []
    for row, fields in enumerate(rows):
        if fields[0].isdecimal():
            number = _number(fields[head])
            if not 0 <= number <= word:
                what = f"the head {fields[head][:40]!r} is no word: 1 to {word}, or 0 for a root"
                raise wrong(what, row, head)
            heads.append(number - 1)
            places.append(row)
    if (node := _in_a_cycle(heads)) is not None:
        raise wrong(f"the heads from word {node + 1} on lead back to it", places[node], head)
    return Sentence(comments, rows)


def _number(text: str) -> int:
    """The number that a text of digits is, -1 if it is none or too large for any sentence."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 9 else -1


def _in_a_cycle(heads: list[int]) -> int | None:
    """The first node from which the heads lead back to it, if there is one."""
    state = [0] * len(heads)  # the walk that came by, or 0
    for start in range(len(heads)):
        node = start
        while node >= 0 and not state[node]:
            state[node] = start + 1
            node = heads[node]
        if node >= 0 and state[node] == start + 1:
            members = [node]
            while heads[members[-1]] != node:
                members.append(heads[members[-1]])
            return min(members)
    return None


def write_conllu(path: Any, sentences: Iterable[Sentence], *, encoding: str = "utf-8") -> None:
    """Put ``sentences`` into the file ``path`` in ``encoding``, whole or not at all.

    Raises ValueError for no row, and for a row or comment that the format cannot hold.
    """
    with replacing(path) as file:
        for sentence in sentences:
            if not sentence.rows:
                raise ValueError("a sentence has at least one row")
            for comment in sentence.comments:
                if not comment.startswith("#") or set("\r\n\0") & {*comment}:
                    raise ValueError(f"a comment is a line that begins with #: {comment!r}")
            for row in sentence.rows:
                if len(row) != len(FIELDS) or not all(row) or set("\t\r\n\0") & {*"".join(row)}:
                    raise ValueError(f"a row has ten fields without tabs, none empty: {row}")
            file.write(f"{sentence}\n\n".encode(encoding))
