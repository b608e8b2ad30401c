"""The parser: its probabilities by enumeration, padding, learning."""

import itertools

import numpy as np
import pytest

import minae
from minae.models import TreeCRF
from minae.models.tree_crf import crossing
from minae.seq import right_branching, tree_over

RNG = np.random.default_rng(0)


@pytest.fixture
def model():
    minae.seed(0)
    return TreeCRF(13, 5, 6, 2, 7).astype("float64").eval()


def sentences(pad, *lengths, rng=RNG):
    return pad([rng.integers(0, 13, (n, 3)) for n in lengths])


@pytest.fixture
def pad(array):
    from minae import seq

    return seq.pad


def binary(start, end):
    """All binary trees over the words from start to before end, as sets of spans."""
    if end - start == 1:
        return [{(start, end)}]
    return [{(start, end)} | a | b for cut in range(start + 1, end)
            for a, b in itertools.product(binary(start, cut), binary(cut, end))]


def test_the_loss_is_that_of_all_binary_trees_with_the_spans(model, pad, numpy):
    texts, gold = sentences(pad, 5, 3), [[(0, 5), (1, 4)], [(1, 3)]]
    scores = numpy(model.scores(texts))
    expected = []
    for row, length, spans in zip(scores, (5, 3), gold):
        trees = binary(0, length)
        powers = np.array([np.exp(sum(row[i, j - 1] for i, j in tree)) for tree in trees])
        held = [{*spans} <= tree for tree in trees]
        assert 0 < sum(held) < len(trees)
        expected.append(-np.log(powers[held].sum() / powers.sum()))
    loss, figures = model.loss(texts, pad([np.array(spans) for spans in gold]))
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-9) and figures == {}


def test_crossing_spans_share_words_and_neither_holds_the_other(array, numpy):
    given = np.array([[[1, 4], [0, 0]], [[0, 0], [0, 0]], [[2, 3], [3, 6]]])
    found = numpy(crossing(array(given), 6))
    for row, spans in zip(found, given.tolist()):
        for i, j in itertools.product(range(6), repeat=2):
            if i <= j:
                a = {*range(i, j + 1)}
                others = [{*range(*span)} for span in spans]
                assert row[i, j] == any(a & b and a - b and b - a for b in others)


def test_a_span_is_a_difference_of_what_was_read(model, pad, array, numpy):
    texts = sentences(pad, 4)
    states, _ = model.reader(minae.embedding(model.table.weight, texts.values).sum(axis=2))
    ahead, back = np.split(numpy(states)[0], 2, axis=1)
    zero = np.zeros((1, ahead.shape[1]))
    gaps = np.concatenate([np.vstack([zero, ahead]), np.vstack([back, zero])], axis=1)
    scores = numpy(model.scores(texts))[0]
    for i, j in ((0, 0), (1, 2), (0, 3)):
        projected = model.project(array(gaps[None, j + 1] - gaps[None, i]))
        np.testing.assert_allclose(scores[i, j], numpy(model.score(projected))[0, 0], rtol=1e-9)


def test_padding_does_not_count(model, pad, numpy):
    parts = [RNG.integers(0, 13, (n, 3)) for n in (4, 1, 6)]
    together = numpy(model(pad(parts)).log_partition())
    alone = [numpy(model(pad([part])).log_partition())[0] for part in parts]
    np.testing.assert_allclose(together, alone, rtol=1e-9)


def test_the_parse_is_the_likeliest_tree(model, pad, numpy):
    texts = sentences(pad, 5, 2)
    first, second = model.parse(texts)
    scores = numpy(model.scores(texts))[0]
    best = max(binary(0, 5), key=lambda tree: sum(scores[i, j - 1] for i, j in tree))
    assert first == tree_over(sorted(best)) and second == right_branching(2)


def test_it_learns_what_words_decide(pad, learn):
    minae.seed(0)
    model = TreeCRF(6, 8, 8, 1, 8, dropout=0.0, forgotten=0.0)
    rng = np.random.default_rng(0)
    texts = rng.integers(2, 6, (40, 4, 1))
    spans = [[(0, 2), (0, 3)] if text[0, 0] > 3 else [(1, 4), (2, 4)] for text in texts]
    first, last = learn(model, lambda: model.loss(pad(texts), pad(map(np.array, spans))), 60)
    assert first == pytest.approx(np.log(5), rel=0.2) and last < 0.05
    for tree, held in zip(model.eval().parse(pad(texts)), spans):
        assert {*held} <= {*map(tuple, tree.spans.tolist())}


def test_training_forgets_symbols(pad):
    minae.seed(0)
    model = TreeCRF(13, dropout=0.0, forgotten=0.5)
    texts = sentences(pad, 6, 6)
    a, b = (model.scores(texts).tolist() for _ in range(2))
    assert a != b
    assert model.eval().scores(texts).tolist() == model.scores(texts).tolist()


@pytest.mark.parametrize("shape, what", [((2, 3), "sentences"), ((2, 3, 1, 1), "sentences")])
def test_other_sentences_are_refused(model, pad, shape, what):
    with pytest.raises(ValueError, match=what):
        model(pad(np.zeros(shape, int)))
    with pytest.raises(ValueError, match="symbols"):
        model(pad([np.full((3, 2), 13)]))
    with pytest.raises(ValueError, match="0 <= p < 1"):
        TreeCRF(13, forgotten=1.0)
