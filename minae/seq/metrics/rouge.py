"""ROUGE: what summaries share with reference summaries (Lin 2004).

There are many scripts of that name, and their figures differ: compare none that come from others.
Here, recall is the share of the reference that is found, precision the share of the hypothesis
that is in the reference, F1 their harmonic mean; a corpus has the mean of each over its pairs.
Words are not stemmed, and none is left out; ROUGE-L takes a text as one sequence. These are the
figures of the package rouge-score, without its stemmer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from .agreement import Scores, scores_of
from .bleu import ngrams
from .references import References, Text, Tokenize, paired


class ROUGE(NamedTuple):
    """Scores between 0 and 1."""

    rouge1: Scores  # of words, each as often as it is there
    rouge2: Scores  # of pairs of words, one after the other
    rougeL: Scores  # of the longest common subsequence


def rouge(
    hypotheses: Iterable[Text], references: Iterable[References], *, tokenize: str = "english"
) -> ROUGE:
    """ROUGE-1, ROUGE-2 and ROUGE-L, each the mean over all pairs.

    ``hypotheses`` are texts, and ``references`` has for each of them a text, or a list of several,
    of which that with the best F1 counts, for each of the three. ``tokenize`` is "english", runs of
    the letters a to z and of digits, in lower case, to which all else is a blank; or "none" for
    tokens between blanks. A hypothesis may also be a list of tokens, which can be anything that is
    hashable; then its references are a list of such lists. A pair of which one is empty has the
    scores 0. Raises ValueError for another ``tokenize``, for more hypotheses than references or
    fewer, for none at all, and for a hypothesis that has no reference; TypeError for tokens beside
    text.
    """
    best = [
        [max((score(found, each) for each in several), key=lambda s: s.f1) for score in KINDS]
        for found, several in paired(hypotheses, references, tokenize, TOKENIZERS)
    ]
    return ROUGE(*(Scores(*map(_mean, zip(*column))) for column in zip(*best)))


def _english(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())


TOKENIZERS: dict[str, Tokenize] = {"english": _english, "none": str.split}


def _of_ngrams(found: list, wanted: list, order: int) -> Scores:
    a, b = ngrams(found, order), ngrams(wanted, order)
    return scores_of((a & b).total(), a.total(), b.total())


def _of_subsequence(found: list, wanted: list) -> Scores:
    return scores_of(_longest_common(found, wanted), len(found), len(wanted))


KINDS = (
    lambda found, wanted: _of_ngrams(found, wanted, 1),
    lambda found, wanted: _of_ngrams(found, wanted, 2),
    _of_subsequence,
)


def _longest_common(x: list, y: list) -> int:
    """The length of the longest common subsequence, a row of the table in one integer.

    A bit of ``row`` is 0 where the length grows by 1 from one prefix of x to the next (Hyyrö 2004).
    """
    places: defaultdict = defaultdict(int)
    for i, token in enumerate(x):
        places[token] |= 1 << i
    full = row = (1 << len(x)) - 1
    for token in y:
        met = row & places[token]
        row = (row + met | row - met) & full
    return len(x) - row.bit_count()


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
