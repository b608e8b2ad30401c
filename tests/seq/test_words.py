"""Words by the two conventions."""

import tracemalloc

import pytest

from minae.seq import WordTokenizer

TEXT = "Don't  panic, e\u0301tude_2 x² \u24b6b 中文。\tनमस्ते!\n"


def test_the_two_conventions():
    words = WordTokenizer.train([TEXT]).words(TEXT)
    assert words[:8] == ["Don", "'", "t", "panic", ",", "e\u0301tude_2", "x", "²"]
    assert words[8:] == ["\u24b6b", "中文", "。", "नमस्ते", "!"]
    assert WordTokenizer.train([TEXT], split="spaces").words(TEXT) == TEXT.split()
    with pytest.raises(ValueError, match="split must be 'spaces' or 'words'; got 'lines'"):
        WordTokenizer.train([TEXT], split="lines")


@pytest.mark.parametrize("sign", ["!", "é"])
def test_words_are_found_without_memory_for_each_sign(sign):
    words, text = WordTokenizer.train([]).words, sign * 100_000
    tracemalloc.start()
    try:
        assert words(text) == [text]
        assert tracemalloc.get_traced_memory()[1] < 3 * len(text)
    finally:
        tracemalloc.stop()


def test_words_and_what_is_unknown():
    tokenizer = WordTokenizer.train(["a b a", "c a"], 6)
    assert tokenizer.vocabulary.symbols == ("<pad>", "<unk>", "<bos>", "<eos>", "a", "b")
    assert tokenizer.encode("a c  b") == [4, 1, 5] and tokenizer.encode(" \n") == []
    assert WordTokenizer(tokenizer.vocabulary, "spaces").encode("a <eos> <unk>") == [4, 3, 1]
    assert tokenizer.decode([2, 4, 1, 5, 3, 0]) == "a <unk> b"
    with pytest.raises(KeyError, match="'z' is not in the vocabulary"):
        WordTokenizer.train(["a"], specials=[], unknown=None).encode("z")
