"""Characters as symbols."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.seq import CharacterTokenizer, Vocabulary


@given(st.lists(st.text(st.characters(exclude_categories=[]))))
def test_what_it_was_trained_on_comes_back(texts):
    tokenizer = CharacterTokenizer.train(texts, specials=["<pad>"])
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert len(tokenizer.encode(text)) == len(text)


def test_unknown_characters():
    tokenizer = CharacterTokenizer.train(["aab"], specials=["<pad>", "?"], unknown="?")
    assert tokenizer.encode("abc") == [2, 3, 1] and tokenizer.decode([0, 2, 3, 1, 0]) == "ab?"
    assert CharacterTokenizer.train(["aab"]).encode("ab") == [0, 1]
    with pytest.raises(KeyError, match="'c' is not in the vocabulary"):
        CharacterTokenizer.train(["aab"]).encode("abc")


def test_one_text_in_place_of_several_is_refused():
    with pytest.raises(TypeError, match=r"put the one into \[...\]"):
        CharacterTokenizer.train("aab")


def test_a_symbol_that_is_no_character_is_refused():
    with pytest.raises(ValueError, match="'ab' is no character"):
        CharacterTokenizer(Vocabulary(["a", "ab"]))
