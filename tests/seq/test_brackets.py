"""Trees in brackets: read, written, and refused with line and column."""

import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.seq import TextError, Tree, bracketed, read_brackets, write_brackets

TEXT = """( (S
    (NP-SBJ (NNP Mr.) (NNP Vinken) )
    (VP (VBZ is)
      (NP (DT the) (X big (ADJ old) one)))
    (. .) ))
(A b) (C (D))
"""


def test_labels_words_and_parents():
    first, second, third = read_brackets(TEXT.splitlines())
    assert " ".join(first.labels) == "S NP-SBJ NNP NNP VP VBZ NP DT X  ADJ  ."
    assert first.words == [None, None, "Mr.", "Vinken", None, "is", None, "the", None, "big", "old",
                           "one", "."]  # fmt: skip
    assert first.parent.tolist() == [-1, 0, 1, 1, 0, 4, 4, 6, 6, 8, 8, 8, 0]
    assert second == Tree([-1], ["A"], ["b"]) and third == Tree([-1, 0], ["C", "D"])


@pytest.mark.parametrize(
    "text, written",
    [
        ("((S (A a)))", "(S (A a))"),
        ("((S (A a)) (. .))", "( (S (A a)) (. .))"),
        (" (S\t(A a )\n\n b)", "(S (A a) b)"),
        ("(NP the dog)", "(NP the dog)"),
        ("(X)", "(X)"),
        ("(N\xa0P \xfc)", "(N\xa0P \xfc)"),  # a no-break space is no space between words
    ],
)
def test_what_is_written_is_read_again(text, written):
    (tree,) = read_brackets(text.splitlines())
    assert bracketed(tree) == written
    assert list(read_brackets([written])) == [tree]


@st.composite
def trees(draw):
    """A tree as brackets can hold it: a bracket with one word and no more is a node with a word."""
    tokens = st.text("ab-*é\u2028\xa0", min_size=1, max_size=3)
    parent, labels, words, inner = [-1], [draw(tokens)], [None], [0]
    for _ in range(draw(st.integers(0, 8))):
        parent.append(draw(st.sampled_from(inner)))
        bare = draw(st.booleans())
        labels.append("" if bare else draw(tokens))
        words.append(draw(tokens) if bare else draw(st.none() | tokens))
        if words[-1] is None:
            inner.append(len(labels) - 1)
    alone = [i for i, p in enumerate(parent) if not labels[i] and parent.count(p) == 1]
    for i in alone:
        labels[i] = "x"
    return Tree(parent, labels, words)


@given(trees())
def test_any_tree_comes_back(tree):
    (again,) = read_brackets([bracketed(tree)])
    order = tree.preorder.tolist()
    assert again.labels == [tree.labels[i] for i in order]
    assert again.words == [tree.words[i] for i in order]
    assert bracketed(again) == bracketed(tree)
    assert [order[p] if p >= 0 else -1 for p in again.parent] == tree.parent[order].tolist()


@pytest.mark.parametrize(
    "text, what, line, column",
    [
        ("(A b)\n (C d", "ends within this tree; brackets open: 1", 2, 2),
        ("(A (B (C", "brackets open: 3", 1, 1),
        ("(A b))", r"'\)' closes no bracket", 1, 6),
        ("(A b)\n  c (D e)", "'c' stands outside of brackets", 2, 3),
        ("word", "'word' stands outside", 1, 1),
        ("(S (A b)\n   ())", "without a label", 2, 4),
        ("(S ((A b)))", "without a label", 1, 4),
        ("(((A b)))", "without a label", 1, 2),
        ("( )", "without a label", 1, 1),
        ("(A \0)", "NUL", 1, 4),
        ("(A (B (C (D (E f)))))", "more than 4 nodes", 1, 1),
        ("(A a b c d)", "more than 4 nodes", 1, 1),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, what, line, column):
    with pytest.raises(TextError, match=f"line {line}, column {column}: .*{what}"):
        list(read_brackets(io.StringIO(text), largest=4))


def test_every_truncation_is_whole_trees_and_at_most_one_error():
    whole = list(read_brackets(io.StringIO(TEXT)))
    for size in range(len(TEXT)):
        found = []
        try:
            found.extend(read_brackets(io.StringIO(TEXT[:size])))
            broken = False
        except TextError as error:
            broken = True
            assert error.line <= TEXT.count("\n", 0, size) + 1
        read = [tree for tree in found if tree in whole]
        assert read == found == whole[: len(found)] or broken
        assert broken == (TEXT[:size].count("(") != TEXT[:size].count(")"))


@given(st.text("(()) ab\n\0é", max_size=30) | st.binary(max_size=30))
def test_any_text_is_trees_or_one_error(text):
    source = io.BytesIO(text) if isinstance(text, bytes) else io.StringIO(text)
    try:
        trees = list(read_brackets(source))
    except TextError as error:
        assert error.line >= 1 and error.column >= 1
    else:
        assert [bracketed(tree) for tree in trees] == [
            bracketed(tree) for tree in read_brackets(map(bracketed, trees))
        ]


@pytest.mark.parametrize(
    "tree, what",
    [
        (Tree([]), "without a node"),
        (Tree([-1], ["A"], ["a b"]), "no label or word 'a b'"),
        (Tree([-1], ["A"], [""]), "no label or word ''"),
        (Tree([-1], ["A"], ["a\0"]), "no label or word 'a"),
        (Tree([-1], ["("], ["a"]), "no label or word '\\('"),
        (Tree([-1], [""], ["a"]), "no label or word ''"),
        (Tree([-1, 0, 1], ["A", "", "B"]), "no label or word ''"),
        (Tree([-1, 0], ["A", "B"], ["a", "b"]), "the word 'a' has nodes below it"),
    ],
)
def test_what_brackets_cannot_hold_is_not_written(tree, what):
    with pytest.raises(ValueError, match=what):
        bracketed(tree)


def test_what_brackets_tell_in_another_way_is_read_so():
    for tree, wanted in [
        (Tree([-1, -1], ["A", "B"], ["a", "b"]), ["(A a)", "(B b)"]),
        (Tree([-1, 0], ["", "A"], [None, "a"]), ["(A a)"]),
        (Tree([-1, 0], ["A", ""], [None, "a"]), ["(A a)"]),
    ]:
        assert [bracketed(found) for found in read_brackets([bracketed(tree)])] == wanted


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "trees.txt"
    trees = [Tree([-1], ["A"], ["\xe9"]), Tree([-1, 0], ["B", "C"], [None, "d"])]
    write_brackets(path, trees, encoding="latin-1")
    assert path.read_bytes() == b"(A \xe9)\n(B (C d))\n"
    assert list(read_brackets(path, encoding="latin-1")) == trees
    with pytest.raises(TextError, match=r"trees.txt, line 1, column 4: the byte 0xe9 is no utf-8"):
        list(read_brackets(path))
    with pytest.raises(ValueError, match="no label or word"):
        write_brackets(path, [trees[0], Tree([-1], ["X"], ["("])])
    assert path.read_bytes() == b"(A \xe9)\n(B (C d))\n"
    packed = tmp_path / "trees.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_brackets(packed, encoding="latin-1")) == trees


def test_a_million_brackets_survive():
    deep = 1_000_000
    with pytest.raises(TextError, match=f"line 1, column 1: .* brackets open: {deep}"):
        list(read_brackets(["(X " * deep]))
    (tree,) = read_brackets(["(X " * deep + "x" + ")" * deep])
    assert len(tree) == deep and tree.words[-1] == "x" and tree.parent[-1] == deep - 2
