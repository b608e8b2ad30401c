"""``python examples/tree_crf.py`` on a few drawn sentences: what it leaves, resuming, errors."""

import json
import os
from contextlib import contextmanager
from functools import partial

import commands
import numpy as np
import pytest

from minae.data import draw_parses
from minae.models import TreeCRF
from minae.seq import Vocabulary, pad, read_brackets, spelling_ids, write_brackets

run = partial(commands.run, "tree_crf.py", MINAE_DATA=None)
FILES = {"config.json", "metrics.json", "metrics.csv", "checkpoint.npz", "weights.npz",
         "vocabulary.json", "parsed.trees"}  # fmt: skip
FAST = ["--batch-size", "8", "--hidden", "8", "--epochs", "1", "--seed", "5"]


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "few.trees"
    write_brackets(path, draw_parses(60, np.random.default_rng(0), 10))
    return path


@pytest.fixture(scope="module")
def finished(trees, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(*FAST, "--trees", trees, "--out", folder, "--json")


def test_it_leaves_a_run_folder(finished):
    folder, (code, out, errors) = finished
    assert code == 0, errors
    metrics = json.loads(out)
    assert metrics == json.loads((folder / "metrics.json").read_text())
    assert metrics["dataset"] == "file" and metrics["epochs"] == 1
    names = ("test_f1", "test_f1_left", "test_f1_right", "test_f1_balanced", "test_f1_random")
    assert all(0 <= metrics[name] <= metrics["test_f1_best_binary"] for name in names)
    found = {*os.listdir(folder)}
    assert found - {"trees.png", "curves.png"} == FILES
    if "no pictures" not in errors:
        assert (folder / "trees.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "right" in errors and "(the limit)" in errors


def test_the_folder_gives_the_parser_back(finished):
    folder, _ = finished
    parsed = list(read_brackets(folder / "parsed.trees"))
    model, vocabulary = TreeCRF.load(folder), Vocabulary.load(folder / "vocabulary.json")
    texts = [[tree.words[leaf] for leaf in tree.leaves] for tree in parsed]
    again = model.parse(pad(spelling_ids(text, vocabulary) for text in texts))
    assert [tree.spans.tolist() for tree in again] == [tree.spans.tolist() for tree in parsed]


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


@pytest.mark.parametrize("options, message", [
    (["--trees", "{tmp}/none"], "No such file"),
    (["--trees", "{trees}", "--data-dir", "{tmp}"], "leave it out beside --trees"),
    (["--data-dir", "{tmp}"], "lacks wsj_sample.trees"),
    (["--trees", "{trees}", "--longest", "2"], "trees of 2 to 2 words: at least 10 are needed"),
    (["--trees", "{trees}", "--encoding", "klingon"], "choose one that Python knows"),
    (["--longest", "1"], "allow 3 or more"),
    (["--resume", "{finished}", "--hidden", "9"], "--hidden 8: leave it out"),
])
def test_errors_are_one_line_with_a_cure(finished, trees, tmp_path, options, message):
    names = {"tmp": tmp_path, "trees": trees, "finished": finished[0]}
    code, _, errors = run(*(option.format(**names) for option in options))
    assert code == 2 and message in errors and "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: ")
