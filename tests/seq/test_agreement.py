"""Precision, recall and F1 of sets, of labels and of spans."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.seq import label_scores, set_f1, span_f1, spans

# --- Sets and labels -----------------------------------------------------------------------------


def test_sets_are_counted_over_all_and_then_divided():
    found = set_f1([{1, 2, 3}, {1}, set()], [[2, 3, 3, 9], [], [5]])
    assert found == pytest.approx((2 / 4, 2 / 4, 0.5))
    assert set_f1([{1, 2}], [{1}]) == pytest.approx((1, 0.5, 2 / 3))


def test_what_would_be_divided_by_0_is_0():
    assert set_f1([], []) == set_f1([()], [()]) == set_f1([{1}], [()]) == (0, 0, 0)
    with pytest.raises(ValueError, match="1 predictions do not go with 2 gold sets"):
        set_f1([{1}, {2}], [{1}])


def test_labels_by_hand(array):
    """Also of arrays; a label that is never right counts in the mean."""
    gold, predicted = [1, 1, 1, 2, 2, 3], [1, 1, 2, 2, 4, 2]
    found = label_scores(gold, predicted)
    assert found.accuracy == 0.5
    assert found.labels[1] == pytest.approx((1, 2 / 3, 0.8))
    assert found.labels[2] == pytest.approx((1 / 3, 1 / 2, 0.4))
    assert found.labels[3] == found.labels[4] == (0, 0, 0)
    assert found.macro == pytest.approx((1 / 3, (2 / 3 + 1 / 2) / 4, 0.3))
    assert found.weighted == pytest.approx((4 / 6 - 1 / 18, 0.5, (3 * 0.8 + 2 * 0.4) / 6))
    assert label_scores(array(gold, "int64"), array(predicted, "int64")) == found


@pytest.mark.parametrize(
    "gold, predicted, message",
    [
        ([], [], "0 predictions do not go with 0 labels"),
        ([1], [1, 2], "2 predictions do not go with 1 labels"),
        (np.ones((2, 2)), np.ones((2, 2)), r"flatten them, with x.ravel\(\)"),
        (np.array(1), np.array(1), r"labels are \(N,\)"),
    ],
)
def test_labels_that_do_not_go_together_are_refused(gold, predicted, message):
    with pytest.raises(ValueError, match=message):
        label_scores(gold, predicted)


# --- Spans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags, wanted",
    [
        ("", ""),
        ("O O", ""),
        ("B-X I-X O B-Y", "X02 Y34"),  # IOB2
        ("I-X I-X B-X O I-Y", "X02 X23 Y45"),  # IOB
        ("B-X I-X E-X S-Y S-Y O", "X03 Y34 Y45"),  # IOBES
        ("B-X I-Y I-Y", "X01 Y13"),  # another label begins another chunk
        ("O I-X O E-X", "X12 X34"),
        ("B-X B-X I-X", "X01 X13"),
        ("E-X E-X I-X S-X I-X", "X01 X12 X23 X34 X45"),
        ("B-X S-X I-X E-X", "X01 X12 X24"),
        ("B I O S", "02 34"),  # without labels
        ("B-a-b I-a-b I-a", "a-b02 a23"),
    ],
)
def test_spans_are_read_as_conlleval_does(tags, wanted):
    assert [f"{label}{start}{end}" for label, start, end in spans(tags.split())] == wanted.split()


CHUNKS = st.lists(st.tuples(st.sampled_from(["X", "Y", None]), st.integers(1, 3)), max_size=6)


@given(CHUNKS)
def test_what_is_written_is_read(chunks):
    place, wanted, ways = 0, [], {"IOB2": [], "IOBES": []}
    for label, size in chunks:
        if label:
            wanted.append((label, place, place + size))
            inside = [f"I-{label}"] * size
            ways["IOB2"] += [f"B-{label}", *inside[1:]]
            ends = [f"B-{label}", *inside[2:], f"E-{label}"]
            ways["IOBES"] += ends if size > 1 else [f"S-{label}"]
        else:
            ways["IOB2"] += ["O"] * size
            ways["IOBES"] += ["O"] * size
        place += size
    for tags in ways.values():
        assert spans(tags) == wanted


def test_only_whole_spans_with_their_label_are_right():
    gold = [["B-X", "I-X", "O", "B-Y"], ["B-X"]]
    predicted = [["B-X", "I-X", "O", "B-X"], ["O"]]
    found = span_f1(gold, predicted)
    assert found.overall == pytest.approx((1 / 2, 1 / 3, 0.4))
    assert found.labels["X"] == pytest.approx((1 / 2, 1 / 2, 1 / 2))
    assert found.labels["Y"] == (0, 0, 0)
    assert span_f1(gold, gold).overall == (1, 1, 1)
    assert span_f1([[]], [[]]) == ((0, 0, 0), {})


@pytest.mark.parametrize("tag", ["", "NP", "X-NP", "BI-NP", "O-NP", "b-NP", "-NP"])
def test_other_tags_are_refused_with_their_place(tag):
    with pytest.raises(ValueError, match=f"tag 1 is '{tag}': O, or B, I, E or S with a label"):
        spans(["O", tag])


def test_predictions_are_of_the_same_tokens():
    for predicted in ([["O"]], [["O", "O"], ["O"]], []):
        with pytest.raises(ValueError, match="not as many tags"):
            span_f1([["O", "O"]], predicted)
