"""F1 of constituents: every convention by a definition with sets, and the figures of a treebank."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minae.seq import (
    Forest,
    balanced,
    baselines,
    best_binary,
    left_branching,
    random_tree,
    read_brackets,
    right_branching,
    tree_f1,
    tree_over,
    without_punctuation,
    without_traces,
    without_unaries,
)

GOLD = "(S (NP (D the) (N dog) (, ,)) (VP (V ate) (NP (NP (D a) (N bone)))) (. .))"


def tree_of(text):
    (tree,) = read_brackets([text])
    return tree


def test_each_convention_counts_its_spans():
    gold = [tree_of(GOLD)]
    # without punctuation: 02 the subject, 25, and 35 twice; 05 is the whole
    guess = [tree_of("(X (X (X the dog) ate) (X a bone))")]  # 03 02 35
    score = tree_f1(gold, guess)
    assert score == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert tree_f1(gold, guess, whole=True) == pytest.approx((3 / 4, 3 / 4, 3 / 4))
    assert tree_f1(gold, guess, duplicates=True) == pytest.approx((2 / 3, 2 / 4, 4 / 7))
    assert tree_f1(gold, guess, labeled=True)[:2] == (0, 0)
    full = [tree_of("(X (NP (X the dog) ,) (VP ate a bone) .)")]
    assert tree_f1(gold, full, without=(), labeled=True) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert tree_f1(gold, full, without=()) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert tree_f1(gold, full) == pytest.approx((1, 2 / 3, 4 / 5))  # the comma goes, 02 is twice
    single = [tree_of("(X (X (X (X the)) dog) (X ate (X a bone)))")]
    assert tree_f1(gold, single, words=True) == pytest.approx((3 / 4, 1, 6 / 7))


def test_the_mean_over_sentences_is_another():
    gold = [tree_of("(X (X a b) c)"), tree_of("(X (X a b) (X c (X d e)))")]
    guess = [right_branching(3), right_branching(5)]
    assert tree_f1(gold, guess) == pytest.approx((2 / 4, 2 / 4, 2 / 4))
    assert tree_f1(gold, guess, mean="sentence") == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    flat = [tree_of("(X a b c)"), tree_of("(X a b)")]  # nothing but the whole sentence
    assert tree_f1(flat, flat) == (1, 1, 1)
    score = tree_f1(flat, [right_branching(3), right_branching(2)], mean="sentence")
    assert score == pytest.approx((1 / 2, 1, 1 / 2))


@st.composite
def pairs(draw):
    """A gold tree with some punctuation, and another tree over the same words."""
    words = draw(st.integers(1, 6))
    tags = draw(st.lists(st.sampled_from(["N", ","]), min_size=words, max_size=words))

    def grow(start, end):
        if end - start == 1:
            leaf = f"({tags[start]} w)"
            return f"(P {leaf})" if draw(st.booleans()) else leaf
        cuts = sorted(draw(st.sets(st.integers(start + 1, end - 1), min_size=1)))
        parts = [grow(a, b) for a, b in zip([start, *cuts], [*cuts, end])]
        whole = f"({draw(st.sampled_from('PQ'))} {' '.join(parts)})"
        return f"(P {whole})" if draw(st.booleans()) else whole

    return tree_of(grow(0, words)), tree_of(grow(0, words))


@settings(max_examples=50)
@given(
    st.lists(pairs(), min_size=1, max_size=3), st.booleans(), st.booleans(), st.booleans(),
    st.booleans(), st.sampled_from([(), {","}]), st.sampled_from(["corpus", "sentence"]),
)  # fmt: skip
def test_any_trees_score_as_sets_of_spans_do(
    pairs, labeled, duplicates, whole, words, without, mean
):
    def spans(tree, kept):
        before = np.cumsum([0, *kept])
        found = Counter()
        for node, (start, end) in enumerate(before[tree.spans].tolist()):
            trivial = (end - start == before[-1] and not whole) or (end - start == 1 and not words)
            if tree.degree[node] and start < end and not trivial:
                found[(start, end, tree.labels[node] if labeled else "")] += 1
        return found if duplicates else Counter(set(found))

    rows = []
    for gold, guess in pairs:
        kept = [gold.labels[i] not in without for i in gold.leaves]
        right, theirs = spans(gold, kept), spans(guess, kept)
        rows.append([(right & theirs).total(), theirs.total(), right.total()])
    rows = np.sum(rows, 0, keepdims=True) if mean == "corpus" else rows
    wanted = []
    for common, predicted, gold in np.array(rows).tolist():
        p, r = common / predicted if predicted else 1, common / gold if gold else 1
        wanted.append((p, r, 2 * p * r / (p + r) if p + r else 0))
    score = tree_f1(
        *zip(*pairs), labeled=labeled, duplicates=duplicates, whole=whole, words=words,
        without=without, mean=mean,
    )  # fmt: skip
    assert score == pytest.approx(np.mean(wanted, 0))


def test_what_cannot_be_compared_is_refused():
    gold = [tree_of(GOLD)]
    with pytest.raises(ValueError, match="7 leaves, or with the 5 that are kept; got 3"):
        tree_f1(gold, [right_branching(3)])
    for trees, what in ((gold, "got 1 and 0"), ([], "got 0 and 0")):
        with pytest.raises(ValueError, match=what):
            tree_f1(trees, [])
    with pytest.raises(ValueError, match="mean must be 'corpus' or 'sentence', got 'micro'"):
        tree_f1(gold, gold, mean="micro")
    with pytest.raises(ValueError, match="over 1 word or more, got 0"):
        balanced(0)


def test_trees_that_know_nothing():
    shapes = {
        left_branching: [[0, 4], [0, 3], [0, 2]],
        right_branching: [[0, 4], [1, 4], [2, 4]],
        balanced: [[0, 4], [0, 2], [2, 4]],
    }
    for kind, spans in shapes.items():
        tree = kind(4)
        assert tree.spans[tree.degree > 0].tolist() == spans
        assert len(kind(1)) == 1
    assert balanced(3).spans[1].tolist() == [0, 2]
    rng = np.random.default_rng(0)
    drawn = Counter(str(random_tree(4, rng=rng).parent.tolist()) for _ in range(600))
    # ((a b) (c d)) by one split of three, each other tree by one of three and then one of two
    assert sorted(drawn.values()) == pytest.approx([100] * 4 + [200], abs=40)
    gold = tree_of("(S (NP (D the) (N dog)) (VP (V ate) (NP (N bone)) (ADV now)))")
    best = best_binary(gold)
    assert (best.degree[best.degree > 0] == 2).all()
    assert tree_f1([gold], [best]).recall == 1


def test_deep_trees_survive():
    deep = 100_000
    score = tree_f1([left_branching(deep)], [right_branching(deep)])
    assert score == (0, 0, 0)
    assert tree_f1([left_branching(deep)], [left_branching(deep)], whole=True) == (1, 1, 1)


@pytest.fixture(scope="module")
def sample():
    """The trees of the WSJ sample without traces and punctuation, of two words or more."""
    path = Path(os.environ.get("MINAE_DATA", ""), "treebank_sample", "wsj_sample.trees.gz")
    if not path.exists():
        pytest.skip("the sample of the Penn Treebank is not in $MINAE_DATA")
    trees = list(read_brackets(path, encoding="latin-1"))
    assert len(trees) == 3914 and sum(len(tree.leaves) for tree in trees) == 100_676
    spoken = [without_punctuation(without_traces(tree)) for tree in trees]
    assert sum(len(tree.leaves) for tree in spoken) == 83_109
    return [tree for tree in spoken if len(tree.leaves) > 1]


@pytest.mark.parametrize(
    "longest, count, kind, corpus, sentence",
    [
        (10, 524, "right", 55.4, 58.0), (10, 524, "left", 13.5, 17.4),
        (10, 524, "balanced", 31.4, 33.2), (10, 524, "best binary", 85.3, 84.2),
        (20, 1997, "right", 42.6, 45.6), (20, 1997, "left", 9.0, 11.0),
        (999, 3901, "right", 35.5, 39.6),
    ],
)  # fmt: skip
def test_the_figures_of_the_treebank(sample, longest, count, kind, corpus, sentence):
    gold = [tree for tree in sample if len(tree.leaves) <= longest]
    assert len(gold) == count
    make = {"right": right_branching, "left": left_branching, "balanced": balanced}
    trees = [make[kind](len(t.leaves)) if kind in make else best_binary(t) for t in gold]
    gold, trees = Forest(gold).trees, Forest(trees).trees
    assert round(100 * tree_f1(gold, trees).f1, 1) == corpus
    assert round(100 * tree_f1(gold, trees, mean="sentence").f1, 1) == sentence


def test_baselines_are_those_trees_and_leave_out_what_f1_does(sample):
    short = [tree for tree in sample if len(tree.leaves) <= 10]
    found = baselines(short, rng=np.random.default_rng(0))
    figures = {kind: round(100 * score.f1, 1) for kind, score in found.items()}
    assert 22 < figures.pop("random") < 28
    assert figures == {"left": 13.5, "right": 55.4, "balanced": 31.4, "best binary": 85.3}
    gold = [tree_of(GOLD)]
    assert baselines(gold)["right"] == tree_f1(gold, [right_branching(5)])
    assert baselines(gold, without=())["right"] == tree_f1(gold, [right_branching(7)], without=())
    assert without_unaries(gold[0], None) != gold[0]


def test_baselines_are_over_the_words_that_are_kept():
    """The limit is that of (X a b): no node is left of one that held a comma beside a word."""
    (gold,) = read_brackets(["(S (X (, ,) (N a) (N b)) (Y (N c) (N d)))"])
    assert baselines([gold], duplicates=True)["best binary"] == (1, 1, 1)
    (silent,) = read_brackets(["(S (. .) (. .))"])
    with_it, alone = (baselines(trees, rng=np.random.default_rng(0))
                      for trees in ([silent, gold], [gold]))
    assert with_it == alone


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_a_tree_is_made_again_of_its_spans(words, seed):
    rng = np.random.default_rng(seed)
    tree = random_tree(words, rng=rng)
    spans = rng.permutation(np.concatenate([tree.spans, tree.spans[:2]]))
    again = tree_over(spans, list("abcdefghijkl"[:words]))
    assert np.array_equal(again.parent, tree.parent) and again.labels == tree.labels
    assert "".join(again.words[i] for i in again.leaves) == "abcdefghijkl"[:words]
    assert tree_over(spans) == tree


def test_nodes_of_many_children_and_several_roots():
    assert tree_over([[0, 3], [1, 2], [2, 3], [0, 1]]).parent.tolist() == [-1, 0, 0, 0]
    assert tree_over([[1, 2], [0, 1]]).parent.tolist() == [-1, -1]
    assert len(tree_over([])) == 0


@pytest.mark.parametrize("spans, words, what", [
    ([[0, 2], [1, 3], [0, 1], [1, 2], [2, 3]], None, "from 1 to 3 is empty, or crosses"),
    ([[0, 1], [1, 1]], None, "from 1 to 1 is empty"),
    ([[0, 2], [0, 1]], None, "each word needs a span of its own; of 2, 1 have one$"),
    ([[0, 1], [1, 2]], ["a"], "each word needs a span of its own"),
    ([[0, 2]], None, "each word needs a span of its own"),
])
def test_spans_that_make_no_tree(spans, words, what):
    with pytest.raises(ValueError, match=what):
        tree_over(spans, words)


def test_the_limit_is_found_for_any_labels():
    gold = tree_of("(@S (@@ a) (@@ b) (X c))")
    assert tree_f1([gold], [best_binary(gold)], without=()).recall == 1
