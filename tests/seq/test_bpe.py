"""Byte-pair encoding: its definition, and any text there and back."""

import random
import re
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minae.seq import BPETokenizer, Vocabulary
from minae.seq.tokenizers.bpe import SIGNS, Cache, pattern

TEXTS = ["low lower lowest slow", "newer newest new", "wide wider widest 12 112", "naïve 中文"]


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train(TEXTS, 280, specials=["<pad>", "<eos>"])


@example("a\ud800 \udfff\ud83d\ude00")
@given(st.text(st.characters(exclude_categories=[])))  # lone surrogates, too
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert "".join(pattern().findall(text)) == text


def test_merges_make_symbols_in_their_order():
    symbols = [*SIGNS.values(), "lo", "low", "we", "Ġl"]
    merges = [("l", "o"), ("w", "e"), ("lo", "w"), ("Ġ", "l")]
    found = BPETokenizer(Vocabulary(symbols), merges)
    assert found.vocabulary.spell(found.encode("low lower\n")) == [
        "low", "Ġ", "lo", "we", "r", "Ċ"
    ]  # fmt: skip


def test_the_vocabulary_is_specials_bytes_and_merges(tokenizer):
    assert tokenizer.encode("low") == [tokenizer.vocabulary["low"]]
    assert len(tokenizer.vocabulary) == 280 and len(tokenizer.merges) == 280 - 258
    assert tokenizer.vocabulary.symbols[:3] == ("<pad>", "<eos>", "!")


def test_a_special_in_a_text_is_text(tokenizer):
    assert tokenizer.vocabulary["<eos>"] not in tokenizer.encode("<eos>")
    assert tokenizer.decode([1, *tokenizer.encode("<eos>"), 0, 0]) == "<eos>"


def test_bytes_that_are_no_text_are_shown(tokenizer):
    assert tokenizer.decode(tokenizer.encode("東")[:2]) == "\ufffd"


def test_a_word_of_half_a_million_signs_is_no_trouble(tokenizer):
    chance = random.Random(0)
    for text in ("a" * 500_000, "".join(chance.choices("lowers", k=100_000))):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and len(tokenizer._cache) < 1000


def test_pieces_are_found_without_memory_for_each_sign():
    text = "!" * 100_000
    tracemalloc.start()
    try:
        assert pattern().findall(text) == [text]
        assert tracemalloc.get_traced_memory()[1] < 3 * len(text)
    finally:
        tracemalloc.stop()


def test_the_cache_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(Cache, "MOST", 3)
    kept = Cache(len)
    assert [kept[w] for w in ("a", "bb", "ccc", "dddd", "a", "x" * 1000)] == [1, 2, 3, 4, 1, 1000]
    assert set(kept) == {"dddd", "a"}


def test_least_and_size():
    assert BPETokenizer.train(["ab\nab\nab\ncd\ncd"], 999, least=3).merges == [("a", "b")]
    assert BPETokenizer.train([], 999).merges == BPETokenizer.train(["ab"], 256).merges == []
    with pytest.raises(ValueError, match="size must be at least 258"):
        BPETokenizer.train(TEXTS, 257, specials=["<pad>", "<eos>"])
    with pytest.raises(TypeError, match="texts must be several"):
        BPETokenizer.train("one text", 300)


@pytest.mark.parametrize(
    "change, merges, what",
    [
        (lambda s: s[1:], [], "no symbol for the byte 0"),
        (lambda s: s, [("a", "b")], "lacks 'ab' of the merge 'a', 'b'"),
        (lambda s: [*s, "ab"], [("a", "中")], "lacks '中'"),
        (lambda s: [*s, "a b"], [], "'a b' stands for no bytes"),
    ],
)
def test_what_is_no_tokenizer_is_refused(change, merges, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        BPETokenizer(Vocabulary(change([SIGNS[b] for b in range(256)])), merges)
    for text in ("a", "ab"):
        with pytest.raises(ValueError, match=f"the special '{text}' is text, too"):
            BPETokenizer(Vocabulary([*SIGNS.values(), "ab"], specials=[text]), [("a", "b")])
    with pytest.raises(ValueError, match="knows every text"):
        BPETokenizer(Vocabulary([*SIGNS.values(), "?!"], specials=["?!"], unknown="?!"), [])
