"""How well predictions agree with what is right: precision, recall and F1, of sets and of labels.

Each is between 0 and 1, and 0 where it would divide by 0: the precision of no predictions, the
recall where nothing was to be found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from typing import Any, NamedTuple


class Scores(NamedTuple):
    """The share of the predictions that is right, that of what is right that was predicted, and
    their harmonic mean."""

    precision: float
    recall: float
    f1: float


class LabelScores(NamedTuple):
    """Scores of one label for each item, as scikit-learn has them."""

    accuracy: float  # which is also the micro average of precision, recall and F1
    macro: Scores  # the mean over all labels, of the gold ones and of the predictions
    weighted: Scores  # that mean weighted by how often each is gold
    labels: dict[Any, Scores]  # of each label


def scores_of(right: int, predicted: int, gold: int) -> Scores:
    """Scores from counts: ``right`` ones among those ``predicted``, and those in the ``gold``."""
    return Scores(
        right / predicted if predicted else 0.0, right / gold if gold else 0.0,
        2 * right / (predicted + gold) if right else 0.0,
    )  # fmt: skip


def set_f1(
    gold: Iterable[Collection[Hashable]], predicted: Iterable[Collection[Hashable]]
) -> Scores:
    """Scores of sets, one for each sentence, say: counted over all, then divided (micro average).

    What comes twice in a set of ``gold`` or ``predicted`` things counts once. Raises ValueError for
    more sets of the one than of the other.
    """
    wanted, found = [set(each) for each in gold], [set(each) for each in predicted]
    if len(wanted) != len(found):
        raise ValueError(f"{len(found)} predictions do not go with {len(wanted)} gold sets")
    right = sum(len(a & b) for a, b in zip(wanted, found))
    return scores_of(right, sum(map(len, found)), sum(map(len, wanted)))


def label_scores(gold: Any, predicted: Any) -> LabelScores:
    """Scores of ``predicted`` labels, one for each of the ``gold`` ones: lists or arrays (N,).

    Positions that are not to be counted, such as padding, are left out before:
    ``label_scores(gold[mask], predicted[mask])``. Raises ValueError for more labels of the one than
    of the other, for none, and for arrays of other shapes.
    """
    wanted, found = _listed(gold), _listed(predicted)
    if not wanted or len(wanted) != len(found):
        raise ValueError(f"{len(found)} predictions do not go with {len(wanted)} labels")
    right = Counter(a for a, b in zip(wanted, found) if a == b)
    of_gold, of_found = Counter(wanted), Counter(found)
    labels = {
        label: scores_of(right[label], of_found[label], of_gold[label])
        for label in of_gold | of_found
    }
    return LabelScores(
        right.total() / len(wanted),
        _mean(labels, dict.fromkeys(labels, 1)), _mean(labels, of_gold), labels,
    )  # fmt: skip


def _mean(labels: dict[Any, Scores], weights: Any) -> Scores:
    total = sum(weights.values())
    columns = ([getattr(s, name) * weights[label] for label, s in labels.items()]
               for name in Scores._fields)
    return Scores(*(sum(column) / total for column in columns))


def _listed(labels: Any) -> list:
    listed = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if not isinstance(listed, list) or any(isinstance(label, list) for label in listed):
        raise ValueError("labels are (N,), one for each item: flatten them, with x.ravel()")
    return listed
