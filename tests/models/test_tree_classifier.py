"""Labels of nodes: by a TreeLSTM, and by a bag of words."""

import numpy as np
import pytest

import minae
from minae.models import BagOfWords, TreeClassifier
from minae.seq import Forest, read_brackets

ROWS = ["(S (NP (D a) (N b)) (V c))", "(S (V c) (NP (N b) (D a)))", "(S x)"]
IDS = [[2, 5], [3, 5], [4, 6], [4, 6], [3, 5], [2, 5], [7, 7]]
FORMS = ({}, {"arity": 0}, {"arity": 3})


@pytest.fixture
def forest():
    return Forest(read_brackets(ROWS))


@pytest.fixture(params=FORMS, ids=str)
def model(request):
    minae.seed(0)
    return TreeClassifier(9, 5, 4, 6, **request.param).astype("float64").eval()


def test_a_node_is_what_stands_below_it(model, forest, array, numpy):
    together = numpy(model(forest, array(IDS)))
    assert together.shape == (11, 5)
    (alone,) = read_brackets(["(NP (D a) (N b))"])
    np.testing.assert_allclose(numpy(model(Forest([alone]), array(IDS[:2]))), together[1:4])
    order_counts = bool(model.config["arity"])
    assert (abs(together[0] - together[5]).max() > 1e-6) == order_counts


def test_the_words_are_sums_of_their_symbols(model, forest, array, numpy):
    table, rows = numpy(model.table.weight), np.array(IDS)
    x = array(table[rows].sum(axis=1))
    hidden, _ = model.climb(forest, x, forest.leaves)
    np.testing.assert_allclose(numpy(model(forest, array(IDS))), numpy(model.output(hidden)))


def test_a_bag_counts_words(forest, array, numpy):
    bag = BagOfWords(9, 2)
    bag.weight.data[:] = array(np.arange(18.0).reshape(9, 2))
    bag.bias.data[:] = array([100.0, -100.0])
    logits = numpy(bag(forest, array(IDS)))
    for node, span in enumerate(forest.spans.tolist()):
        counted = numpy(bag.weight)[np.array(IDS)[slice(*span)].ravel()].sum(axis=0)
        np.testing.assert_allclose(logits[node], counted + np.array([100, -100]))


def test_the_loss_is_of_all_nodes_and_the_accuracy_of_roots(model, forest, array, numpy):
    labels = np.arange(11) % 5
    p = numpy(model.predict(forest, array(IDS)))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    loss, figures = model.loss(forest, array(IDS), array(labels))
    assert loss.item() == pytest.approx(-np.log(p[np.arange(11), labels]).mean(), rel=1e-9)
    right = p.argmax(axis=1)
    for wrong in range(4):
        given = right.copy()
        given[[0, 5, 10][:wrong]] = (given[[0, 5, 10][:wrong]] + 1) % 5
        _, figures = model.loss(forest, array(IDS), array(given))
        assert float(figures["accuracy"]) == pytest.approx(1 - wrong / 3)
    some = np.where(np.arange(11) == 3, labels, -100)
    loss, _ = model.loss(forest, array(IDS), array(some))
    assert loss.item() == pytest.approx(-np.log(p[3, labels[3]]), rel=1e-9)


def test_a_tree_tells_what_a_bag_cannot(array, learn):
    trees = list(read_brackets(["(1 (0 a) (1 b))", "(0 (1 b) (0 a))"] * 2))
    forest, ids = Forest(trees), array([2, 3, 3, 2] * 2)
    labels = array([int(label) for label in forest.labels])
    minae.seed(0)
    tree = TreeClassifier(4, 2, 8, 8, dropout=0.0, forgotten=0.0)
    bag = BagOfWords(4, 2)
    assert learn(tree, lambda: tree.loss(forest, ids, labels), 60)[1] < 0.05
    roots = array([label if i % 3 == 0 else -100 for i, label in enumerate(labels.tolist())])
    assert learn(bag, lambda: bag.loss(forest, ids, roots), 60)[1] > 0.69


def test_what_does_not_fit_is_refused(model, forest, array):
    for made in (model, BagOfWords(9, 5)):
        with pytest.raises(ValueError, match="the ids of 7 leaves"):
            made(forest, array(IDS[:-1]))
        with pytest.raises(ValueError, match="symbols"):
            made(forest, array([9] * 7))
