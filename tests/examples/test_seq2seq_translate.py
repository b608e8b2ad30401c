"""``python examples/seq2seq_translate.py`` on few pairs: what it leaves, how it stops and fails."""

import json
import os
from contextlib import contextmanager
from functools import partial

import commands
import pytest

from minae.data import generated_numbers
from minae.models import Seq2Seq, Transformer
from minae.seq import load_tokenizer

run = partial(commands.run, "seq2seq_translate.py", MINAE_DATA=None)
FILES = {"config.json", "metrics.json", "metrics.csv", "checkpoint.npz", "weights.npz",
         "source.json", "target.json", "translations.txt"}  # fmt: skip
PICTURES = {"attention.png", "curves.png"}
FAST = ["--batch-size", "8", "--width", "16", "--beam", "2", "--json"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two files: names of 40 numbers, each with a name that no training sentence has."""
    folder, data = tmp_path_factory.mktemp("text"), generated_numbers(train=40, test=0)
    for number, name in enumerate(("en.txt", "de.txt")):
        lines = (f"{pair[number]} x{i}\n" for i, pair in enumerate(data.train))
        (folder / name).write_text("".join(lines), "utf-8")
    return ["--source-file", folder / "en.txt", "--target-file", folder / "de.txt"]


def test_a_dry_run_leaves_a_run_folder(tmp_path):
    code, out, err = run(*FAST, "--dry-run", "--out", tmp_path / "run")
    assert code == 0, err
    metrics = json.loads(out)
    assert metrics == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["dataset"] == "numbers" and metrics["beam"] == 2
    assert metrics["test_bleu_word_by_word"] > 20 and metrics["test_perplexity"] > 1
    found = set(os.listdir(tmp_path / "run"))
    assert found - PICTURES == FILES and (found >= PICTURES or "no pictures" in err)
    blocks = (tmp_path / "run" / "translations.txt").read_text("utf-8").split("\n\n")
    source, reference = generated_numbers().test[0]
    assert len(blocks) == 8
    assert blocks[0].startswith(f"source    {source}\nreference {reference}\n")
    assert "Multi30k is not at hand" in err and "13a tokens" in err
    target = load_tokenizer(tmp_path / "run" / "target.json")
    assert Seq2Seq.load(tmp_path / "run").targets == len(target.vocabulary)


@contextmanager
def stopped_at_once():
    """As if Ctrl-C came in the first step."""
    yield lambda: True


def test_a_stopped_run_with_copies_resumes_to_the_same_weights(tmp_path, files):
    options = [*FAST, *files, "--copy", "--epochs", "1"]
    code, _, err = run(*options, "--out", tmp_path / "whole")
    assert code == 0, err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minae.train.interrupts", stopped_at_once)
        assert run(*options, "--out", tmp_path / "cut")[0] == 130
    assert run("--resume", tmp_path / "cut", "--json")[0] == 0
    whole, cut = ((tmp_path / name / "weights.npz").read_bytes() for name in ("whole", "cut"))
    assert whole == cut
    assert json.loads((tmp_path / "cut" / "metrics.json").read_text())["source"] == "en.txt"


def test_the_transformer_and_bpe(tmp_path, files):
    code, _, err = run(*FAST, *files, "--model", "transformer", "--vocabulary", "270", "--dry-run",
                       "--out", tmp_path / "run")
    assert code == 0, err
    assert Transformer.load(tmp_path / "run").targets == 270


@pytest.mark.parametrize("options, message", [
    (["--source-file", "a.txt"], "give --source-file and --target-file"),
    (["--source-file", "none.txt", "--target-file", "none.txt"], "none.txt"),
    (["--source", "fr"], "numbers are named in en and de"),
    (["--data-dir", "none"], "none is not at hand: give by --data-dir"),
    (["--copy", "--model", "transformer"], "only the recurrent model copies"),
    (["--copy", "--tokenizer", "bpe"], "--tokenizer words beside --copy"),
    (["--tokenizer", "bpe", "--vocabulary", "100"], "--vocabulary must be at least 260"),
    (["--width", "30", "--model", "transformer"], "--width"),
    (["--width", "15"], "--width"),
])
def test_errors_are_one_line_with_a_cure(tmp_path, options, message):
    code, out, err = run("--dry-run", "--out", tmp_path / "run", "--json", *options)
    last = err.splitlines()[-1]
    assert code == 2 and out == "" and last.startswith("error: ") and message in last, err
    assert not (tmp_path / "run").exists()
