"""What is removed from the trees of a treebank, and what can be undone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.seq import (
    Tree,
    binarize,
    bracketed,
    read_brackets,
    select,
    unbinarize,
    with_unaries,
    without_functions,
    without_punctuation,
    without_traces,
    without_unaries,
)

DEEP = 100_000


def tree_of(text):
    (tree,) = read_brackets([text])
    return tree


@st.composite
def trees(draw):
    count = draw(st.integers(1, 14))
    parent = [-1] + [draw(st.integers(0, i - 1)) for i in range(1, count)]
    return select(Tree(parent, [f"n{i}" for i in range(count)]), [True] * count)


@pytest.mark.parametrize(
    "function, before, after",
    [
        (without_traces, "(S (NP (-NONE- *)) (VP (TO to) (VP (VB go))))",
         "(S (VP (TO to) (VP (VB go))))"),
        (without_punctuation, "(S (PRN (-LRB- -LRB-) (NP (NN x)) (. ?)) (: --))",
         "(S (PRN (NP (NN x))))"),
        (without_functions, "(S-TPC-1 (NP=2 (-NONE- *-1)) (ADVP|PRT-CLR (-LRB- x)) (X a b))",
         "(S (NP (-NONE- *-1)) (ADVP|PRT (-LRB- x)) (X a b))"),
        (without_unaries, "(S (VP (VB go) (NP (NN (X home)))))", "(S+VP (VB go) (NP+NN+X home))"),
        (lambda tree: without_unaries(tree, None), "(S (VP (VB go) (NP (NN home))))",
         "(S (VB go) (NN home))"),
        (binarize, "(A b c d e)", "(A b (@A c (@A d e)))"),
        (lambda tree: binarize(tree, "left"), "(A b c d e)", "(A (@A (@A b c) d) e)"),
        (binarize, "(A (B c d e) (F g) h)", "(A (B c (@B d e)) (@A (F g) h))"),
        (lambda tree: binarize(tree, "left", "-"), "(A (B c d) (E f) (G h))",
         "(A (-A (B c d) (E f)) (G h))"),
        (unbinarize, "(A (@A (@A b c) d) (E @f))", "(A b c d (E @f))"),
    ],
)  # fmt: skip
def test_before_and_after(function, before, after):
    assert bracketed(function(tree_of(before))) == after


def test_nothing_may_be_left():
    assert not without_punctuation(tree_of("(S (NP (. .)) (, ,))"))


@given(trees(), st.sampled_from(["left", "right"]))
def test_binary_and_back(tree, side):
    binary = binarize(tree, side)
    assert (binary.degree <= 2).all() and unbinarize(binary) == tree
    assert binary.preorder.tolist() == Tree(binary.parent).preorder.tolist()
    added = [i for i, label in enumerate(binary.labels) if label.startswith("@")]
    assert len(added) == np.maximum(tree.degree - 2, 0).sum()
    for node in added:
        below = (binary.left if side == "left" else binary.right)[binary.parent[node]]
        assert below == node
        assert binary.labels[node].lstrip("@") == binary.labels[binary.parent[node]].lstrip("@")


@given(trees())
def test_chains_and_back(tree):
    short = without_unaries(tree)
    assert not (short.degree == 1).any() and with_unaries(short) == tree
    assert (np.unique(short.spans, axis=0) == np.unique(tree.spans, axis=0)).all()


def test_marks_that_would_not_be_undone_are_refused():
    for mark, what in (("@", "label '@x' begins with it"), ("", "it is empty")):
        with pytest.raises(ValueError, match=what):
            binarize(tree_of("(A (@x b))"), mark=mark)
    with pytest.raises(ValueError, match="side must be 'left' or 'right', got 'up'"):
        binarize(tree_of("(A b)"), "up")
    with pytest.raises(ValueError, match=r"the label 'A\+B' has the joint in it"):
        without_unaries(tree_of("(A+B (C d))"))


def test_a_deep_tree_survives():
    chain = Tree(np.arange(DEEP) - 1, ["X"] * DEEP)
    assert len(without_unaries(chain)) == 1 and with_unaries(without_unaries(chain)) == chain
    star = Tree(np.append(-1, np.zeros(DEEP - 1)), ["A"] + ["b"] * (DEEP - 1))
    for side in ("left", "right"):
        binary = binarize(star, side)
        assert binary.level[0] == DEEP - 2 and unbinarize(binary) == star
