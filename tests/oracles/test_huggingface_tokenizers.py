"""Tokenizers against Hugging Face's, trained and used on 10,000 real lines of eight sources."""

import gzip
import json
import os
import sys
import unicodedata
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from minae.seq import BPETokenizer, WordPieceTokenizer, WordTokenizer, load_tokenizer
from minae.seq.tokenizers.bpe import pattern
from minae.seq.tokenizers.wordpiece import PREFIX, basic_words, merge

hf = pytest.importorskip("tokenizers", reason="Hugging Face's tokenizers are not installed")
from tokenizers import models, normalizers, pre_tokenizers, trainers  # noqa: E402

SOURCES = {
    "multi30k/train.en.gz": 1000, "multi30k/train.de.gz": 1000, "multi30k/train.fr.gz": 1000,
    "multi30k/train.cs.gz": 1000, "tinyshakespeare/input.txt.gz": 2000,
    "wikitext2/test.txt.gz": 2000, "chinese_reviews/ChnSentiCorp_htl_all.csv.gz": 2000,
}  # fmt: skip
HOSTILE = [
    "", " ", "   a  b\t\tc \n\n d", "I'll we're 'S 's' don''t", "x²½Ⅷ①٣ \u3007",
    "a\x1cb\x1d\x1ec\x1f d", "naïve Ünïcode İI ß ΟΔΟΣ. ΟΔΟΣ", "한국어 텍스트", "東京\u3000タワー",
    "\U0001f469\u200d\U0001f467\U0001f3f3\ufe0f\u200d\U0001f308", "\u200bzero\u200d\ufeffwidth",
    "e\u0301\u0327 नमस्ते", "\x00\x01\x7f\x80\x85\xa0\xad", "\ufffd\uffff\U0010ffff\ue000",
    "_a_b__c", "a" * 101, "ab" * 200, "!" * 200, "\u0300\u0301", "x" * 99 + "\u0301",
    "## ##a < unk >",
]  # fmt: skip
OPTIONS = [(True, None), (False, None), (True, False), (False, True)]


@pytest.fixture(scope="module")
def lines():
    """With their ends, as a whole text would have them."""
    folder, found = Path(os.environ.get("MINAE_DATA", "")), []
    if not (folder / "multi30k").is_dir():
        pytest.skip("MINAE_DATA is not set")
    for name, count in SOURCES.items():
        with gzip.open(folder / name, "rt", encoding="utf-8") as file:
            found += islice(file, count)
    assert len(found) == 10_000
    return found


def characters():
    return [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] != "C"]


def byte_level(specials=()):
    tokenizer = hf.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=list(specials), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    return tokenizer, trainer


def bert(lower=True, strip=None):
    tokenizer = hf.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=strip)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return tokenizer, trainers.WordPieceTrainer(
        vocab_size=4000, special_tokens=specials, show_progress=False
    )


def words(split):
    tokenizer = hf.Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = getattr(pre_tokenizers, split)()
    specials = ["[PAD]", "[UNK]"]
    return tokenizer, trainers.WordLevelTrainer(
        vocab_size=4000, special_tokens=specials, show_progress=False
    )


def symbols(tokenizer):
    """Of Hugging Face's, by id."""
    vocabulary = tokenizer.get_vocab()
    return tuple(sorted(vocabulary, key=vocabulary.__getitem__))


def same_ids(ours, theirs, texts):
    for text, wanted in zip(texts, theirs.encode_batch(texts, add_special_tokens=False)):
        assert ours.encode(text) == wanted.ids, text


def test_byte_pairs_are_trained_saved_and_used_alike(lines, tmp_path):
    theirs, trainer = byte_level(["<|endoftext|>"])
    theirs.train_from_iterator(lines, trainer)
    ours = BPETokenizer.train(lines, 4000, specials=["<|endoftext|>"])
    merges = json.loads(theirs.to_str())["model"]["merges"]
    assert ours.merges == list(map(tuple, merges))
    assert ours.vocabulary.symbols == symbols(theirs)
    theirs.save(str(tmp_path / "tokenizer.json"))
    read = load_tokenizer(tmp_path / "tokenizer.json")
    assert read.vocabulary.symbols == symbols(theirs) and read.merges == ours.merges
    assert read.vocabulary.specials == ("<|endoftext|>",)
    same_ids(ours, theirs, lines + HOSTILE)
    theirs.model.save(str(tmp_path))
    files = BPETokenizer.of_gpt2(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert files.merges == ours.merges
    assert files.vocabulary.symbols == ours.vocabulary.symbols[: len(files.vocabulary)]


def test_two_ways_to_one_symbol_are_trained_alike():
    """Where pairs make a symbol that another pair has made, their rank is that of the last."""
    texts = ["aaaa aaaaa aaaaaaaa aaa bababab abababa aabaabaab"] * 3
    theirs, trainer = byte_level()
    theirs.train_from_iterator(texts, trainer)
    ours = BPETokenizer.train(texts, 4000)
    assert ours.merges == list(map(tuple, json.loads(theirs.to_str())["model"]["merges"]))
    assert ours.vocabulary.symbols == symbols(theirs)
    same_ids(ours, theirs, [*texts, "a" * 50, "ab" * 30, "aab" * 20])


def test_gpt2s_pattern_is_that_of_the_package_regex(lines):
    regex = pytest.importorskip("regex", reason="the package regex is not installed")
    gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    theirs = regex.compile(gpt2)
    known = [*characters(), *map(chr, range(0x250))]
    around = ["".join(f"a{c}1{c}!{c} {c}{c}" for c in known[i : i + 100])
              for i in range(0, len(known), 100)]  # fmt: skip
    for text in [*around, *HOSTILE, "".join(lines)]:
        assert pattern().findall(text) == theirs.findall(text)


@pytest.mark.parametrize("lower, strip", OPTIONS)
def test_wordpiece_is_used_alike(lines, lower, strip, tmp_path):
    theirs, trainer = bert(lower, strip)
    theirs.train_from_iterator(lines[::10], trainer)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path / "tokenizer.json")
    assert isinstance(ours, WordPieceTokenizer) and ours.vocabulary.symbols == symbols(theirs)
    same_ids(ours, theirs, (lines if strip is None else lines[::10]) + HOSTILE)
    theirs.model.save(str(tmp_path))
    assert WordPieceTokenizer.of_bert(tmp_path / "vocab.txt").vocabulary.symbols == symbols(theirs)


def test_wordpiece_is_trained_alike(lines):
    """Theirs numbers the characters within words anew in each process, and among equally frequent
    pairs takes the one of lower numbers: from the same characters, all merges are the same."""
    theirs, trainer = bert()
    theirs.train_from_iterator(lines, trainer)
    ours = WordPieceTokenizer.train(lines, 4000)
    wanted, found = symbols(theirs), ours.vocabulary.symbols
    start = next(i for i, s in enumerate(wanted) if len(s.removeprefix(PREFIX)) > 1 and i > 5)
    assert set(wanted[:start]) == set(found[:start]) and wanted[:5] == found[:5]
    counts = Counter(word for line in lines for word in basic_words(line))
    made = list(wanted[:start])
    merge(counts, made, 4000, 1)
    assert tuple(made) == wanted
    assert len(set(wanted) & set(found)) > 0.99 * 4000


def test_the_basic_words_of_every_character():
    """Less punctuation and marks that are newer than the tables of Hugging Face's."""
    known = [c for c in characters() if unicodedata.category(c)[0] not in "MP" and c != "\u166d"]
    known += map(chr, range(0x370))
    theirs, _ = bert()
    for i in range(0, len(known), 100):
        text = "".join(f"a{c}B " for c in known[i : i + 100])
        normal = theirs.normalizer.normalize_str(text)
        wanted = [word for word, _ in theirs.pre_tokenizer.pre_tokenize_str(normal)]
        assert basic_words(text) == wanted


@pytest.mark.parametrize("split, name", [("words", "Whitespace"), ("spaces", "WhitespaceSplit")])
def test_words_are_trained_saved_and_used_alike(lines, split, name, tmp_path):
    theirs, trainer = words(name)
    theirs.train_from_iterator(lines, trainer)
    ours = WordTokenizer.train(
        lines, 4000, split=split, specials=["[PAD]", "[UNK]"], unknown="[UNK]"
    )
    assert ours.vocabulary.symbols == symbols(theirs)
    theirs.save(str(tmp_path / "tokenizer.json"))
    read = load_tokenizer(tmp_path / "tokenizer.json")
    assert (read.split, read.vocabulary.symbols) == (split, symbols(theirs))
    assert read.vocabulary.unknown == "[UNK]"
    same_ids(ours, theirs, lines + HOSTILE)


def test_the_words_of_every_character():
    known = [*characters(), *map(chr, range(0x250))]
    theirs, _ = words("Whitespace")
    ours = WordTokenizer.train([], unknown="<unk>")
    for i in range(0, len(known), 100):
        text = "".join(f"a{c}! {c}" for c in known[i : i + 100])
        wanted = [word for word, _ in theirs.pre_tokenizer.pre_tokenize_str(text)]
        assert ours.words(text) == wanted


REFUSED = {
    "truncation": lambda t: t.enable_truncation(10),
    "padding": lambda t: t.enable_padding(),
    "normalizer": lambda t: setattr(t, "normalizer", normalizers.NFKC()),
    "add_prefix_space": lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel()),
    "pre_tokenizer": lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.Metaspace()),
    "'new' was added and is not special": lambda t: t.add_tokens(["new"]),
    "dropout": lambda t: setattr(t.model, "dropout", 0.1),
    "'Unigram'": lambda t: setattr(t, "model", models.Unigram()),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_equal_is_refused(what, tmp_path):
    theirs, trainer = byte_level()
    theirs.train_from_iterator(["some text"], trainer)
    REFUSED[what](theirs)
    theirs.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=f"tokenizer.json cannot be read .*{what}"):
        load_tokenizer(tmp_path / "tokenizer.json")
