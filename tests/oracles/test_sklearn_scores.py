"""Labels and spans against scikit-learn, and against seqeval where it is installed."""

import os
from pathlib import Path

import numpy as np
import pytest

from minae.seq import label_scores, lines, span_f1

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
FILE = Path(os.environ.get("MINAE_DATA", "")) / "ud_english_ewt" / "en_ewt-ud-test.conllu.gz"


def agree(gold, predicted):
    ours = label_scores(gold, predicted)
    assert ours.accuracy == metrics.accuracy_score(gold, predicted)
    names = sorted(ours.labels)
    each = metrics.precision_recall_fscore_support(gold, predicted, labels=names, zero_division=0)
    np.testing.assert_allclose([ours.labels[name] for name in names], np.stack(each[:3], axis=1))
    for average in ("macro", "weighted"):
        theirs = metrics.precision_recall_fscore_support(
            gold, predicted, average=average, zero_division=0
        )
        np.testing.assert_allclose(getattr(ours, average), theirs[:3])


@pytest.mark.parametrize("seed", range(20))
def test_labels_of_numbers(seed):
    rng = np.random.default_rng(seed)
    size, kinds = rng.integers(1, 60), rng.integers(1, 8)
    agree(*rng.integers(kinds, size=(2, size)))


@pytest.fixture(scope="module")
def tagged():
    """The parts of speech of 1,000 sentences."""
    if not FILE.is_file():
        pytest.skip("there is no ud_english_ewt in $MINAE_DATA")
    sentences = [[]]
    for line in lines(FILE):
        fields = line.split("\t")
        if len(fields) > 3 and fields[0].isdigit():
            sentences[-1].append(fields[3])
        elif not line and sentences[-1]:
            sentences.append([])
    return sentences[:1000]


def test_parts_of_speech(tagged):
    rng, gold = np.random.default_rng(0), [tag for sentence in tagged for tag in sentence]
    names = sorted(set(gold))
    wrong = rng.random(len(gold)) < 0.2
    predicted = [rng.choice(names).item() if w else tag for tag, w in zip(gold, wrong)]
    agree(gold, predicted)


def test_spans_of_tags_in_any_order(tagged):
    """Tags as they come, of which most are no proper chunks."""
    seqeval = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    rng = np.random.default_rng(0)

    def tags(sentence):
        positions = rng.choice(list("BIESO"), size=len(sentence), p=[0.25, 0.4, 0.1, 0.05, 0.2])
        return ["O" if p == "O" else f"{p}-{t}" for p, t in zip(positions, sentence)]

    simple = {"NOUN": "N", "PROPN": "N", "DET": "N", "ADJ": "N", "VERB": "V", "AUX": "V"}
    short = [[simple.get(tag, "X") for tag in sentence] for sentence in tagged]
    gold = [tags(sentence) for sentence in short]
    predicted = [
        [tag if rng.random() < 0.6 else new for tag, new in zip(old, tags(sentence))]
        for old, sentence in zip(gold, short)
    ]
    ours = span_f1(gold, predicted)
    theirs = seqeval.classification_report(gold, predicted, output_dict=True, zero_division=0)
    for label, mine in (*ours.labels.items(), ("micro avg", ours.overall)):
        each = [theirs[label][name] for name in ("precision", "recall", "f1-score")]
        np.testing.assert_allclose(mine, each, rtol=1e-12, err_msg=label)
    assert 0.3 < ours.overall.f1 < 0.9
