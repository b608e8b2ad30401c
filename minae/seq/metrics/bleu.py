"""BLEU: how many n-grams of translations stand in reference translations (Papineni et al. 2002).

The figures are those of sacrebleu (Post 2018), in percent, for the same options: compare none that
come from others.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from .references import References, Text, Tokenize, paired

LONGEST = 4  # tokens of an n-gram
FLOOR = 0.1  # what "floor" puts in place of no match


class BLEU(NamedTuple):
    """A score and what it is made of."""

    score: float  # in percent: the brevity penalty times the geometric mean of the precisions
    precisions: list[float]  # in percent, smoothed: of n-grams of 1 to 4 tokens
    brevity_penalty: float  # 1 where the hypotheses are as long as the references, or longer
    hypothesis_length: int  # in tokens
    reference_length: int  # of the reference that is nearest in length, the shorter of two


def bleu(
    hypotheses: Iterable[Text], references: Iterable[References], *, tokenize: str = "13a",
    smooth: str = "exp",
) -> BLEU:
    """The score of a corpus: n-grams of 1 to 4 tokens are counted over all sentences.

    ``hypotheses`` are sentences, and ``references`` has for each of them a sentence, or a list of
    several, of which an n-gram counts as often as it is in any one of them. Case matters.
    ``tokenize`` is "13a", the rules of mteval-v13a (WMT's), or "none" for tokens between blanks. A
    hypothesis may also be a list of tokens, which can be anything that is hashable; then its
    references are a list of such lists.

    ``smooth`` says what stands for a count of 0, where any 1-gram matches: "none" leaves it, and
    the score is 0; "floor" counts 0.1; "exp" counts 1/2 for the first order that has none, 1/4 for
    the next and so on (as mteval-v13a). Raises ValueError for other options, for more hypotheses
    than references or fewer, for none at all, and for a hypothesis that has no reference;
    TypeError for tokens beside text.
    """
    counts = [_counts(*pair) for pair in paired(hypotheses, references, tokenize, TOKENIZERS)]
    return _score([sum(column) for column in zip(*counts)], smooth, LONGEST)


def sentence_bleu(
    hypothesis: Text, reference: References, *, tokenize: str = "13a", smooth: str = "exp"
) -> BLEU:
    """The score of one ``hypothesis`` against one ``reference``, or a list of several.

    ``tokenize``, ``smooth`` and errors are those of ``bleu``; but n-grams that are longer than the
    hypothesis are left out of the mean (sacrebleu's effective order).
    """
    (pair,) = paired([hypothesis], [reference], tokenize, TOKENIZERS)
    counts = _counts(*pair)
    return _score(counts, smooth, max(1, min(LONGEST, counts[0])))


# --- Tokens --------------------------------------------------------------------------------------


def _13a(text: str) -> list[str]:
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text.split()


PATTERNS = [
    (re.compile(r"([ -&(-+/:-@[-`{-~])"), r" \1 "),  # ASCII without letters, digits and ' , - .
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
]
TOKENIZERS: dict[str, Tokenize] = {"13a": _13a, "none": str.split}


# --- Counts --------------------------------------------------------------------------------------


def _counts(found: list, wanted: list[list]) -> list[int]:
    """The lengths of a hypothesis and of its reference; of each order, the matches and n-grams."""
    nearest = min((abs(len(tokens) - len(found)), len(tokens)) for tokens in wanted)[1]
    matches, totals = [], []
    for order in range(1, LONGEST + 1):
        most: Counter = Counter()
        for tokens in wanted:
            most |= ngrams(tokens, order)
        matches.append((ngrams(found, order) & most).total())
        totals.append(max(0, len(found) - order + 1))
    return [len(found), nearest, *matches, *totals]


def ngrams(tokens: list, order: int) -> Counter:
    """How often each n-gram of this order is in ``tokens``."""
    return Counter(zip(*(tokens[i:] for i in range(order))))


def _score(counts: list[int], smooth: str, orders: int) -> BLEU:
    """What the counts amount to, with the mean over the first ``orders`` precisions."""
    if smooth not in ("exp", "floor", "none"):
        raise ValueError(f"smooth is {smooth!r}; choose exp, floor or none")
    length, wanted, *both = counts
    matches, totals = both[:LONGEST], both[LONGEST:]
    brevity = 1.0 if length >= wanted else math.exp(1 - wanted / length) if length else 0.0
    precisions, share = [0.0] * LONGEST, 1.0
    for i, (match, total) in enumerate(zip(matches, totals)):
        if not any(matches) or not total:
            break
        if not match and smooth == "exp":
            share /= 2
        instead = {"exp": share, "floor": FLOOR, "none": 0.0}[smooth]
        precisions[i] = 100 * (match or instead) / total
    used = precisions[:orders]
    mean = math.exp(sum(math.log(p / 100) for p in used) / orders) if all(used) else 0.0
    return BLEU(100 * brevity * mean, precisions, brevity, length, wanted)
