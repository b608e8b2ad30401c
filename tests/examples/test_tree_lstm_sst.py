"""``python examples/tree_lstm_sst.py`` on a few opinions: what it leaves, resuming, errors."""

import json
import os
import re
from collections import Counter
from contextlib import contextmanager
from functools import partial

import commands
import numpy as np
import pytest

from minae import backend
from minae.data import draw_opinions
from minae.models import TreeClassifier
from minae.seq import Forest, Vocabulary, read_brackets, spelling_ids, write_brackets

run = partial(commands.run, "tree_lstm_sst.py", MINAE_DATA=None)
FILES = {"config.json", "metrics.json", "metrics.csv", "checkpoint.npz", "weights.npz",
         "vocabulary.json", "predicted.trees"}  # fmt: skip
FAST = ["--batch-size", "8", "--hidden", "8", "--epochs", "1", "--seed", "5"]


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "few.trees"
    write_brackets(path, draw_opinions(60, np.random.default_rng(0), 9))
    return path


@pytest.fixture(scope="module")
def finished(trees, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(*FAST, "--trees", trees, "--out", folder, "--json")


def test_it_leaves_a_run_folder(finished, trees):
    folder, (code, out, errors) = finished
    assert code == 0, errors
    metrics = json.loads(out)
    assert metrics == json.loads((folder / "metrics.json").read_text())
    assert metrics["dataset"] == "file" and metrics["epochs"] == 1
    kinds = ("treelstm", "bag_of_words", "majority_class")
    shares = [metrics[f"test_{of}_{kind}"] for kind in kinds for of in ("fine", "binary")]
    assert 0 <= min(shares) <= max(shares) <= 1
    grades = [tree.labels[0] for tree in read_brackets(trees)]
    most, _ = Counter(grades[:48]).most_common(1)[0]
    assert metrics["test_fine_majority_class"] == grades[54:].count(most) / 6
    found = {*os.listdir(folder)}
    assert found - {"trees.png", "curves.png"} == FILES
    if "no pictures" not in errors:
        assert (folder / "trees.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "bag of words" in errors and "5 classes" in errors


def test_the_folder_gives_the_model_back(finished, numpy):
    folder, _ = finished
    marked = list(read_brackets(folder / "predicted.trees"))
    model, vocabulary = TreeClassifier.load(folder), Vocabulary.load(folder / "vocabulary.json")
    forest = Forest(marked)
    texts = [forest.words[leaf] for leaf in forest.leaves]
    p = numpy(model.predict(forest, backend.asarray(np.array(spelling_ids(texts, vocabulary)))))
    assert [str(label) for label in p.argmax(axis=1)] == forest.labels


@contextmanager
def stopped_at_once():
    """As if Ctrl-C came in the first step."""
    yield lambda: True


def test_a_stopped_run_resumes_to_the_same_weights(finished, trees, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minae.train.interrupts", stopped_at_once)
        assert run(*FAST, "--trees", trees, "--out", tmp_path / "cut")[0] == 130
    code, _, errors = run("--resume", tmp_path / "cut")  # which remembers the file
    assert code == 0, errors
    first, second = ((folder / "weights.npz").read_bytes()
                     for folder in (finished[0], tmp_path / "cut"))
    assert first == second


def test_neutral_sentences_alone_have_no_binary_accuracy(tmp_path):
    (tmp_path / "neutral").write_text("(2 (2 so) (1 what))\n" * 20)
    code, out, errors = run(*FAST, "--trees", tmp_path / "neutral", "--out", tmp_path / "run",
                            "--json")
    assert code == 0, errors
    assert json.loads(out)["test_binary_bag_of_words"] is None
    assert re.search("bag of words +100.0% +none", errors)


@pytest.mark.parametrize("options, message", [
    (["--trees", "{tmp}/none"], "No such file"),
    (["--trees", "{trees}", "--data-dir", "{tmp}"], "leave it out beside --trees"),
    (["--data-dir", "{tmp}"], "lacks train.txt"),
    (["--trees", "{words}"], "tree 1 has the label 'S' where a sentiment"),
    (["--trees", "{wide}"], "give --cell child-sum"),
    (["--resume", "{finished}", "--hidden", "9"], "--hidden 8: leave it out"),
])
def test_errors_are_one_line_with_a_cure(finished, trees, tmp_path, options, message):
    names = {"tmp": tmp_path, "trees": trees, "finished": finished[0],
             "words": tmp_path / "words", "wide": tmp_path / "wide"}
    names["words"].write_text("(S (X a) (Y b))\n" * 10)
    names["wide"].write_text(f"(3 {'(2 a) ' * 5})\n" * 10)
    code, _, errors = run(*(option.format(**names) for option in options))
    assert code == 2 and message in errors and "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: ")
