"""Spans written as tags, one for each token (Ramshaw & Marcus 1995), and how many are right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .agreement import Scores, set_f1

POSITIONS = tuple("OBIES")


class Span(NamedTuple):
    """A chunk of tokens."""

    label: str
    start: int  # of its first token
    end: int  # after its last


class SpanScores(NamedTuple):
    """Scores over all labels, and of each."""

    overall: Scores
    labels: dict[str, Scores]


def spans(tags: Iterable[str]) -> list[Span]:
    """The chunks of a sentence, as CoNLL's conlleval reads them (Tjong Kim Sang & Buchholz 2000).

    ``tags`` are "O", or a position and a label, as in "B-NP": B for the first token of a chunk, I
    for one inside, E for its last, S for its only one. One rule reads IOB, IOB2 (BIO) and IOBES,
    and makes something of tags that are none of these: a chunk begins at a B or an S, and wherever
    its label is another than before, or there was none; it ends with an E or an S, and where one
    begins or nothing goes on. Raises ValueError for anything else.
    """
    found: list[Span] = []
    label, start, going = "", 0, False  # the chunk that may go on
    for i, tag in enumerate(tags):
        position, _, now = tag.partition("-")
        if position not in POSITIONS or (position == "O" and now):
            raise ValueError(f"tag {i} is {tag!r}: O, or B, I, E or S with a label, as in B-NP")
        if going and (position in "OBS" or now != label):
            found.append(Span(label, start, i))
            going = False
        if position != "O":
            if not going:
                label, start = now, i
            going = position in "BI"
            if not going:
                found.append(Span(label, start, i + 1))
    return [*found, Span(label, start, i + 1)] if going else found


def span_f1(gold: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> SpanScores:
    """Scores of the spans in tagged sentences: right are those with the same tokens and label.

    ``gold`` and ``predicted`` are the tags of each sentence, read by ``spans``; counted over all
    sentences, then divided, as conlleval does. Raises ValueError where sentences or their lengths
    differ.
    """
    sentences = [list(each) for each in gold], [list(each) for each in predicted]
    if [len(tags) for tags in sentences[0]] != [len(tags) for tags in sentences[1]]:
        raise ValueError("the gold sentences and the predictions have not as many tags")
    wanted, found = ([spans(tags) for tags in each] for each in sentences)
    labels = sorted({span.label for each in (*wanted, *found) for span in each})
    return SpanScores(
        set_f1(wanted, found),
        {label: set_f1(*map(_only(label), (wanted, found))) for label in labels},
    )


def _only(label: str) -> Callable:
    return lambda sentences: [[s for s in each if s.label == label] for each in sentences]
