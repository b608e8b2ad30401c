"""Tokenizers in files: theirs are the same ids, and whatever is wrong with a file is one error."""

import functools
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minae.io import FormatError
from minae.seq import (
    BPETokenizer,
    CharacterTokenizer,
    Vocabulary,
    WordPieceTokenizer,
    WordTokenizer,
    load_tokenizer,
)

TEXT = 'One text, "zwei" 三 \U0001f600\ud800 \\ and one text.'
KINDS = {
    "characters": lambda: CharacterTokenizer.train([TEXT], specials=["<pad>"]),
    "words": lambda: WordTokenizer.train([TEXT], split="spaces"),
    "wordpiece": lambda: WordPieceTokenizer.train([TEXT], 60, lower=False, accents=False),
    "bpe": lambda: BPETokenizer.train([TEXT] * 2, 270, specials=["<eos>"]),
}
HUGGING_FACE = {
    "added_tokens": [{"id": 0, "content": "[UNK]", "special": True}],
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                   "strip_accents": None, "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "##b": 2, "a": 1}},
}  # fmt: skip


@functools.cache
def trained(kind):
    return KINDS[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_the_same_tokenizer(kind, tmp_path):
    before = trained(kind)
    before.save(tmp_path / "t.json")
    after = load_tokenizer(tmp_path / "t.json")
    assert type(after) is type(before)
    assert after.vocabulary.content() == before.vocabulary.content()
    assert after.encode(TEXT) == before.encode(TEXT)
    after.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "t.json").read_bytes()


def test_a_vocabulary_has_a_file_too(tmp_path):
    trained("words").vocabulary.save(tmp_path / "v.json")
    found = Vocabulary.load(tmp_path / "v.json")
    assert found.content() == trained("words").vocabulary.content()
    with pytest.raises(FormatError, match=r"v\.json cannot be read \(it holds no tokenizer"):
        load_tokenizer(tmp_path / "v.json")
    trained("words").save(tmp_path / "t.json")
    with pytest.raises(FormatError, match="it holds 'words', not 'vocabulary'"):
        Vocabulary.load(tmp_path / "t.json")


def saved(name, path):
    if name == "Hugging Face":
        path.write_text(json.dumps(HUGGING_FACE), encoding="utf-8")
    else:
        trained(name).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("name", [*KINDS, "Hugging Face"])
def test_every_truncation_is_one_error(name, tmp_path):
    path = tmp_path / "t.json"
    whole = saved(name, path)
    for size in reversed(range(len(whole))):
        os.truncate(path, size)
        with pytest.raises(FormatError, match=r"t\.json cannot be read \(.*is it truncated"):
            load_tokenizer(path)


@pytest.mark.parametrize("name", [*KINDS, "Hugging Face"])
def test_a_part_that_is_something_else_is_one_error(name, tmp_path):
    """Each entry, and the first of each list, in turn: gone, or of another type."""
    path = tmp_path / "t.json"
    whole = json.loads(saved(name, path))
    for place in places(whole):
        for change in (None, True, 7, -1, 1.5, "x", [], {}, [[]], "gone"):
            changed = json.loads(json.dumps(whole))
            *way, last = place
            inner = changed
            for step in way:
                inner = inner[step]
            if change == "gone":
                del inner[last]
            else:
                inner[last] = change
            path.write_text(json.dumps(changed), encoding="utf-8")
            try:
                load_tokenizer(path).encode(TEXT)
            except (FormatError, KeyError) as error:
                assert isinstance(error, FormatError) or "not in the vocabulary" in str(error)


def places(value, way=()):
    keys = value if isinstance(value, dict) else range(min(1, len(value)))
    for key in list(keys):
        yield (*way, key)
        if isinstance(value[key], (dict, list)):
            yield from places(value[key], (*way, key))


@pytest.mark.parametrize(
    "data, what",
    [
        (b"[" * 1_000_000, "recursion"),
        (b'{"a":' * 1_000_000, "recursion"),
        (b"\xff\xfe{}", "codec can't decode"),
        (b"\0" * 10, "Expecting value"),
        (b"9" * 5000, "digit"),
        (b'{"kind": "bpe", "kind": "bpe"}', "'kind' stands twice"),
        (b"{}", "no tokenizer"),
        (b"[1]", "no tokenizer"),
        (b'{"minae": 2, "kind": "words"}', "a newer version of minae wrote it"),
        (b'{"minae": 1, "kind": "words", "more": 0}', "it must hold .*; it holds .*more"),
        (b'{"kind": "words"}', "minae has not written it"),
        (b'{"model": 3}', "the model is 3"),
        (b'{"model": {"type": "Unigram"}}', "'Unigram'"),
    ],
)
def test_hostile_files_are_one_error(data, what, tmp_path):
    path = tmp_path / "t.json"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=rf"t\.json cannot be read \(.*{what}"):
        load_tokenizer(path)


def test_files_of_gpt2_and_bert(tmp_path):
    pairs, pieces = trained("bpe"), trained("wordpiece")
    table, merges, vocabulary = (tmp_path / name for name in ("v.json", "m.txt", "v.txt"))
    table.write_text(json.dumps(pairs.vocabulary.ids), encoding="utf-8")
    rows = "".join(f"{a} {b}\n" for a, b in pairs.merges)
    merges.write_text(f"#version: 0.2\n{rows}", encoding="utf-8")
    vocabulary.write_text("\n".join(pieces.vocabulary) + "\n", encoding="utf-8", newline="\n")
    assert BPETokenizer.of_gpt2(table, merges).encode(TEXT) == pairs.encode(TEXT)
    found = WordPieceTokenizer.of_bert(vocabulary).vocabulary
    assert found.content() == pieces.vocabulary.content()
    merges.write_text("a b c\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"m\.txt cannot be read"):
        BPETokenizer.of_gpt2(table, merges)
    merges.write_text("a \u4e2d\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"m\.txt cannot be read .*lacks"):
        BPETokenizer.of_gpt2(table, merges)
    table.write_text('{"a": 0, "b": 2}', encoding="utf-8")
    with pytest.raises(FormatError, match="not 0 to 1"):
        BPETokenizer.of_gpt2(table, merges)
    vocabulary.write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"v\.txt cannot be read .*'\[UNK\]'"):
        WordPieceTokenizer.of_bert(vocabulary)


@settings(max_examples=50)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["model", "kind", "vocab", "type", "merges"]),
                                      inner, max_size=3)))  # fmt: skip
def test_any_json_is_one_error(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(FormatError, match=r"any\.json cannot be read"):
        load_tokenizer(path)
