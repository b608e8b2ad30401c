"""BERT's words and their pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.seq import Vocabulary, WordPieceTokenizer
from minae.seq.tokenizers.wordpiece import basic_words

SYMBOLS = ["[UNK]", "un", "##aff", "##able", "##a", "a", "中", "!", "u", "##n"]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(Vocabulary(SYMBOLS, specials=["[UNK]"], unknown="[UNK]"))


def test_the_longest_piece_is_taken_each_time(tokenizer):
    symbols = [tokenizer.vocabulary.symbols[i] for i in tokenizer.encode("Unaffable únaffx中a!")]
    assert symbols == ["un", "##aff", "##able", "[UNK]", "中", "a", "!"]
    assert tokenizer.decode([1, 2, 3, 0, 6]) == "unaffable [UNK] 中"
    assert tokenizer.encode("u" + "a" * 99) == [8, *[4] * 99]
    assert tokenizer.encode("u" + "a" * 100) == [0]


def test_a_special_in_a_text_is_text():
    symbols = ["UNK", "PAD", "PA", "##D", "a"]
    known = Vocabulary(symbols, specials=["UNK", "PAD"], unknown="UNK")
    assert WordPieceTokenizer(known, lower=False).encode("PAD a UNK") == [2, 3, 4, 0]


def test_words_without_case_and_accents():
    text = "Ünï\u0301 \x00中文\ufffd\x85x, ΣΦΣ\u2028İ"
    assert basic_words(text) == ["uni", "中", "文", "x", ",", "\u03c3φ\u03c3", "i"]
    assert basic_words(text, accents=True)[0] == "üní".replace("í", "ï\u0301")
    assert basic_words(text, lower=False)[0] == "Uni"


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_has_ids_and_known_ones_a_text(tokenizer, text):
    ids = tokenizer.encode(text)
    assert all(0 <= i < len(SYMBOLS) for i in ids)
    trained = WordPieceTokenizer.train([text], 60)
    known = trained.decode(trained.encode(text))
    assert known.split() == [w if len(w) <= 100 else "[UNK]" for w in basic_words(text)]


def test_training_gives_specials_characters_and_merges():
    found = WordPieceTokenizer.train(["ab ab abc"], 100, specials=["[UNK]"]).vocabulary
    assert found.symbols == ("[UNK]", "a", "b", "c", "##b", "##c", "ab", "abc")


def test_a_vocabulary_without_an_unknown_is_refused():
    with pytest.raises(ValueError, match="needs a vocabulary with an unknown"):
        WordPieceTokenizer(Vocabulary(["a"]))
