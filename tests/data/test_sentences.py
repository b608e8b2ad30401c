"""Sentences that are drawn, read from files, or found."""

import gzip

import numpy as np
import pytest

from minae import seq
from minae.data import draw_sentences, is_sentence, load_sentences
from minae.io import FormatError


def words_of(tree):
    return [tree.words[i] for i in tree.leaves]


def test_what_the_grammar_draws_is_of_the_grammar():
    trees = draw_sentences(200, np.random.default_rng(0), longest=12)
    lengths = [len(tree.leaves) for tree in trees]
    assert len(trees) == 200 and min(lengths) == 2 and 9 < max(lengths) <= 12
    assert {label for tree in trees for label in tree.labels} == {
        "S", "NP", "VP", "PP", "RC", "AP", "N", "V", "P", "C", "A"
    }  # fmt: skip
    assert all(is_sentence(words_of(tree)) for tree in trees)
    assert trees == draw_sentences(200, np.random.default_rng(0), longest=12)


@pytest.mark.parametrize("text, right", [
    ("dog growls", True), ("dogs growls", False), ("dog sings", False), ("growls", False), ("", 0),
    ("dogs near cat growl", True), ("dogs near cat growls", False), ("dog unheard", False),
    ("dog that kings call growls", True), ("dog that kings calls growls", False),
    ("dogs near king that sings growl", True), ("dogs near king that growl pray", False),
    ("dogs near king that growl growl", True), ("dog bites", False), ("dog bites kings", True),
    ("dog bites kings and growls", True), ("dog bites kings and pray", False),
])  # fmt: skip
def test_agreement_decides_what_is_a_sentence(text, right):
    assert is_sentence(text.split()) == right


def test_the_built_in_sentences_are_the_same_each_time():
    said = []
    data = load_sentences(longest=6, count=40, report=said.append)
    assert len(data.words) == len(data.trees) == 40 and data.name == "agreement"
    assert data.words == load_sentences(longest=6, count=40, report=len).words
    assert said == [
        "sentences: drawn from the built-in grammar, 40 of up to 6 words, with their trees"
    ]
    with pytest.raises(ValueError, match="--sentences atis: leave it out"):
        load_sentences(data_dir="somewhere")
    with pytest.raises(ValueError, match="allow 2 or more"):
        load_sentences(longest=1)
    with pytest.raises(ValueError, match="name is 'atlas'; choose agreement or atis"):
        load_sentences("atlas")


def test_files_hold_text_or_trees(tmp_path):
    path = tmp_path / "my.txt"
    path.write_text("a b c\n\none\n" * 20 + "a b c d e\n", encoding="utf-8")
    data = load_sentences(path=path, longest=4, report=len)
    assert data.words == [["a", "b", "c"]] * 20 and data.trees is None and data.name == "my.txt"
    path = tmp_path / "my.trees.gz"
    tree = "(S (NP (D the) (-NONE- *) (N dog)) (V barks) (. .))\n"
    path.write_bytes(gzip.compress(("\n" + tree * 20).encode()))
    data = load_sentences(path=path, report=len)
    assert data.words == [["the", "dog", "barks"]] * 20
    assert seq.bracketed(data.trees[0]) == "(S (NP (D the) (N dog)) (V barks))"


def test_forms_of_atis_are_trees(tmp_path, monkeypatch):
    lines = [f"w\t( lambda $0 e (airport $0 c{i}))\n" for i in range(20)]
    (tmp_path / "train.txt").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "dev.txt.gz").write_bytes(gzip.compress((lines[0] + "x\tci0\n").encode()))
    for folder in (tmp_path, None):
        monkeypatch.setenv("MINAE_DATA", str(tmp_path.parent))
        if folder is None:
            (tmp_path.parent / "atis").symlink_to(tmp_path)
        data = load_sentences("atis", data_dir=folder, report=len)
        assert len(data.words) == 20
        assert data.words[3] == ["lambda", "$0", "e", "airport", "$0", "c3"]
        assert data.trees[3].spans.tolist()[0] == [0, 6] and [3, 6] in data.trees[3].spans.tolist()


def test_what_is_missing_is_said_with_a_cure(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no train\.txt of ATIS: give its folder"):
        load_sentences("atis", data_dir=tmp_path)
    monkeypatch.delenv("MINAE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"\$MINAE_DATA, which is not set"):
        load_sentences("atis")
    (tmp_path / "short.txt").write_text("a b\n" * 19, encoding="utf-8")
    with pytest.raises(FormatError, match="has 19 sentences of 2 to 14 words: 20 or more"):
        load_sentences(path=tmp_path / "short.txt")
    (tmp_path / "broken.txt").write_text("(S (N a)\n", encoding="utf-8")
    (tmp_path / "silent.txt").write_text("(S (N) (V barks))\n" * 20, encoding="utf-8")
    with pytest.raises(FormatError, match=r"a leaf has no word in the tree \(S \(N\)"):
        load_sentences(path=tmp_path / "silent.txt")
    with pytest.raises(seq.TextError, match="line 1"):
        load_sentences(path=tmp_path / "broken.txt")
