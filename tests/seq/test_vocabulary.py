"""Symbols and ids: counting, specials, what is unknown."""

import numpy as np
import pytest

from minae.seq import Vocabulary

WORDS = list("bacabade")


def test_the_most_frequent_come_first_and_ties_in_the_order_of_str():
    known = Vocabulary.count(WORDS, specials=["<pad>", "<unk>"], unknown="<unk>")
    assert known.symbols == ("<pad>", "<unk>", "a", "b", "c", "d", "e")
    assert Vocabulary.count(WORDS, least=2).symbols == ("a", "b")
    assert Vocabulary.count(WORDS, 4, specials=["<pad>"]).symbols == ("<pad>", "a", "b", "c")
    assert Vocabulary.count(["x", "y", "y"], specials=["x"]).symbols == ("x", "y")  # not twice
    assert Vocabulary.count([]).symbols == ()


def test_symbols_to_ids_and_back():
    known = Vocabulary(["<pad>", "<unk>", "a", "b"], specials=["<pad>", "<unk>"], unknown="<unk>")
    assert [known[s] for s in ("<pad>", "a", "b", "never seen")] == [0, 2, 3, 1]
    assert "a" in known and "never seen" not in known and len(known) == 4
    assert list(known) == list(known.symbols)
    for ids in ([0, 2, 1, 3], (0, 2, 1, 3), np.array([0, 2, 1, 3]), iter([0, 2, 1, 3])):
        assert known.spell(ids) == ["a", "<unk>", "b"]
    assert known.spell([]) == known.spell(np.zeros(0)) == []
    with pytest.raises(KeyError, match="'c' is not in the vocabulary: train on text that has it"):
        Vocabulary(["a"])["c"]


@pytest.mark.parametrize("wrong", [-1, -100, 4, 10**30])
def test_what_is_no_id_is_named(wrong):
    with pytest.raises(ValueError, match=f"^{wrong} is no id of a vocabulary of 4 symbols"):
        Vocabulary("abcd").spell([1, wrong, 2])


@pytest.mark.parametrize("ids", [np.zeros((2, 3), int), np.array(1)])
def test_ids_are_of_one_text(ids):
    with pytest.raises(ValueError, match=r"Expect: ids \(time,\)"):
        Vocabulary("abcd").spell(ids)


@pytest.mark.parametrize(
    "symbols, options, what",
    [
        ("aba", {}, "'a' stands twice"),
        ("ab", {"specials": ["c"]}, "'c' is not among"),
        ("ab", {"unknown": "a"}, "must be one of specials"),
    ],
)
def test_what_is_no_vocabulary_is_refused(symbols, options, what):
    with pytest.raises(ValueError, match=what):
        Vocabulary(symbols, **options)


def test_a_size_below_the_specials_is_refused():
    with pytest.raises(ValueError, match="size 1 cannot hold 2 specials"):
        Vocabulary.count(WORDS, 1, specials=["<pad>", "<unk>"])
