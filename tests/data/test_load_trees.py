"""Trees of files, of folders and of generators."""

import gzip

import numpy as np
import pytest

from minae.data import draw_opinions, draw_parses, load_parses, load_sentiment, read_trees
from minae.io import FormatError
from minae.seq import baselines, bracketed, read_brackets

TREE = "(S (NP-SBJ (DT the) (NN {n})) (VP (VBD saw) (NP (-NONE- *T*)) (NP (PRP it))) (. .))\n"


@pytest.fixture
def told():
    return []


def test_a_file_is_cleaned_and_split_in_its_order(tmp_path, told):
    path = tmp_path / "x.trees"
    long = f"(S {'(X w) ' * 21})\n"
    path.write_text("".join(TREE.format(n=n) for n in range(20)) + long + "(X alone)\n")
    data = load_parses(path, report=told.append)
    assert [len(data.train), len(data.dev), len(data.test)] == [16, 2, 2]
    names = [tree.words[tree.leaves[1]] for part in data[2:] for tree in part]
    assert names == [str(n) for n in range(20)]
    assert bracketed(data.test[1]) == "(S (NP (DT the) (NN 19)) (VP (VBD saw) (NP (PRP it))))"
    assert told == [f"trees, at most 20 words, no punctuation: 16 to train on, 2 and 2 to test"
                    f" with, from {path}"]
    assert len(load_parses(path, longest=30, report=told.append).train) == 16  # of 21
    with pytest.raises(FormatError, match="has 0 trees of 2 to 3 words: at least 10"):
        load_parses(path, longest=3)


def test_the_wsj_sample_is_the_known_one(real, told):
    data = load_parses(data_dir=real("treebank_sample").parent, report=told.append)
    assert data.name == "wsj" and told[0].startswith("WSJ sample")
    trees = [tree for part in data[2:] for tree in part]
    assert len(trees) == 1997 and sum(len(tree.leaves) for tree in trees) == 27016
    assert round(100 * baselines(trees)["right"].f1, 1) == 42.6


def test_sst_is_the_known_one(real, told, monkeypatch):
    monkeypatch.setenv("MINAE_DATA", str(real("sst").parent))
    data = load_sentiment(report=told.append)
    assert [len(part) for part in data[2:]] == [8544, 1101, 2210]
    assert sum(tree.labels[0] != "2" for tree in data.test) == 1821


def test_a_folder_holds_the_files_or_their_folder(tmp_path, told):
    rows = [bracketed(tree) + "\n" for tree in draw_opinions(3, np.random.default_rng(0))]
    inner = tmp_path / "sst"
    inner.mkdir()
    for part, row in zip(("train", "dev", "test"), rows):
        (inner / f"{part}.txt.gz").write_bytes(gzip.compress(row.encode()))
    for folder in (tmp_path, inner):
        data = load_sentiment(data_dir=folder, report=told.append)
        assert [bracketed(part[0]) + "\n" for part in data[2:]] == rows
    (inner / "dev.txt.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks dev.txt \(plain or .gz\): give by"):
        load_sentiment(data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"not a folder: give by --data-dir"):
        load_parses(data_dir=tmp_path / "none")


def test_without_files_trees_are_drawn(told):
    parses, opinions = load_parses(report=told.append), load_sentiment(report=told.append)
    assert parses.name == "grammar" and opinions.name == "opinions"
    assert all("drawn" in line and "give by --data-dir" in line for line in told)
    assert [len(part) for part in parses[2:]] == [1600, 200, 200]


@pytest.mark.parametrize("content, what", [
    (b"(S (NP a)\n", "line 1, column 1: the text ends within this tree"),
    (b"(S (NP \xe9))\n", "byte 0xe9 is no utf-8: convert it, or name its encoding="),
    (b"", "has 0 trees"),
])
def test_other_files_are_refused(tmp_path, content, what):
    path = tmp_path / "x.trees"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=what):
        load_parses(path)


def test_damaged_and_missing_files(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(TREE.encode() * 99)[:-12])
    with pytest.raises(FormatError, match=r"x.gz is damaged"):
        read_trees(path)
    with pytest.raises(ValueError, match="unknown encoding: klingon: choose one"):
        read_trees(tmp_path / "y", "klingon") if path.rename(tmp_path / "y") else None
    with pytest.raises(FileNotFoundError):
        read_trees(tmp_path / "z")


def test_other_labels_are_no_sentiment(tmp_path):
    path = tmp_path / "x.trees"
    path.write_text("(3 (2 a) (4 b))\n" * 11 + "(3 (NN a) (4 b))\n")
    with pytest.raises(FormatError, match="tree 12 has the label 'NN' where a sentiment"):
        load_sentiment(path)


# --- Drawn ---------------------------------------------------------------------------------------


def test_the_grammar_writes_what_a_parser_can_learn():
    trees = draw_parses(300, np.random.default_rng(1), 12)
    assert {len(tree.leaves) for tree in trees} == {*range(3, 13)}
    assert max(int(tree.degree.max()) for tree in trees) == 3
    f1 = {kind: figures.f1 for kind, figures in baselines(trees).items()}
    assert f1["right"] < f1["best binary"] - 0.15  # one must look at the words
    (first,) = draw_parses(1, np.random.default_rng(1), 12)
    assert first == trees[0]
    with pytest.raises(ValueError, match="allow 3 or more"):
        draw_parses(1, longest=2)


OPINIONS = """
(0 (2 not) (4 great)) (4 (2 very) (3 good)) (2 (2 very) (2 plain))
(1 (3 good) (1 (2 but) (1 bad))) (3 (3 good) (1 (2 yet) (1 bad)))
(4 (3 good) (1 (2 beats) (1 bad))) (0 (1 bad) (3 (2 beats) (3 good)))
(2 (3 good) (3 (2 beats) (3 kind))) (3 (2 not) (1 (3 good) (1 (2 but) (1 bad))))
"""


def test_opinions_mean_what_the_rules_say():
    from minae.data.opinions import _graded
    from minae.seq import Tree

    for tree in read_brackets(OPINIONS.splitlines()):
        assert _graded(Tree(tree.parent, None, tree.words)) == tree
    drawn = draw_opinions(200, np.random.default_rng(0), 9)
    assert {len(tree.leaves) for tree in drawn} == {*range(2, 10)}
    assert {tree.labels[0] for tree in drawn} == {*"01234"}
    assert all(set(tree.degree.tolist()) == {0, 2} for tree in drawn)
    with pytest.raises(ValueError, match="allow 2 or more"):
        draw_opinions(1, longest=1)
