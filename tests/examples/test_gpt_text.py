"""``python examples/gpt_text.py`` on a small text: what it leaves, going on, its errors."""

import json
import os
from functools import partial

import commands
import pytest

from minae.models import GPT
from minae.seq import load_tokenizer

run = partial(commands.run, "gpt_text.py")
SMALL = ["--context", 16, "--layers", 1, "--features", 16, "--heads", 2, "--symbols", 270,
         "--epochs", 2, "--seed", 5]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "song.txt"
    path.write_text("la la lu, la la lo.\n" * 60, encoding="utf-8")
    return path


def test_it_leaves_a_run_folder_which_goes_on(text, tmp_path):
    folder, whole = tmp_path / "run", tmp_path / "whole"
    code, out, err = run("--text", text, *SMALL, "--out", folder, "--json")
    assert code == 0, err
    metrics = json.loads(out)
    assert metrics == json.loads((folder / "metrics.json").read_text())
    assert 0 < metrics["bits_per_character"] < 8 and metrics["text"] == "song.txt"
    files = {"config.json", "metrics.json", "metrics.csv", "checkpoint.npz", "weights.npz",
             "tokenizer.json", "samples.txt"}  # fmt: skip
    assert {*os.listdir(folder)} - {"curves.png"} == files
    model, tokenizer = GPT.load(folder), load_tokenizer(folder / "tokenizer.json")
    nats = model.evaluate(tokenizer.encode("la la lu, la la lo.\n" * 6))["nats"]
    assert nats / 120 / 0.6931 == pytest.approx(metrics["bits_per_character"], rel=0.1)

    assert run("--resume", folder, "--epochs", 3)[0] == 0
    assert run("--text", text, *SMALL, "--epochs", 3, "--out", whole)[0] == 0
    # The schedule is of all steps: only the first two epochs differ.
    assert len((folder / "metrics.csv").read_text().splitlines()) == len(
        (whole / "metrics.csv").read_text().splitlines()
    )


@pytest.mark.parametrize(
    "options, message",
    [
        (["--text", "nowhere.txt"], "No such file"),
        (["--heads", 3], "3 heads do not divide"),
        (["--dropout", 2], "dropout"),
        (["--context", 4000], "are no window"),
        (["--prompt", ""], "it has 0"),
        (["--prompt", "x" * 99], "fewer than --context 16"),
        (["--tokenizer", "characters", "--prompt", "?"], "--prompt: '?' is not in the vocabulary"),
    ],
)
def test_errors_are_one_line(text, tmp_path, options, message):
    code, _, err = run("--text", text, *SMALL, "--out", tmp_path / "run", *options)
    assert code == 2 and message in err and err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "run").exists()  # it is told before training


def test_a_text_that_was_changed_is_not_gone_on_with(tmp_path):
    text, folder = tmp_path / "mine.txt", tmp_path / "run"
    text.write_text("To be, or not to be.\n" * 60, encoding="utf-8")
    assert run("--text", text, *SMALL, "--out", folder)[0] == 0
    text.write_text("To be, or not to do.\n" * 60, encoding="utf-8")  # of the same length
    code, _, err = run("--resume", folder, "--epochs", 2)
    assert code == 2 and "was trained on other data" in err and "--resume" in err
    text.write_text("To be, or not to be.\n" * 60, encoding="utf-8")
    assert run("--resume", folder)[0] == 0


def test_what_would_move_the_terminal_is_not_printed(tmp_path):
    text = tmp_path / "escapes.txt"
    text.write_text("\x1b\x1b\x1b\x1b\x1b\x1b\x1bx" * 250, encoding="utf-8")
    code, out, _ = run("--text", text, *SMALL, "--out", tmp_path / "run", "--tokenizer",
                       "characters", "--prompt", "x")  # fmt: skip
    first, *_ = (tmp_path / "run" / "samples.txt").read_text().split("--------")
    assert code == 0 and "\x1b" in first
    assert "\x1b" not in out and "\ufffd" in out


def test_a_resumed_run_never_takes_another_text(tmp_path, monkeypatch):
    monkeypatch.setenv("MINAE_DATA", str(tmp_path))
    shakespeare = tmp_path / "tinyshakespeare" / "input.txt"
    shakespeare.parent.mkdir()
    shakespeare.write_text("To be, or not to be.\n" * 60, encoding="utf-8")
    folder = tmp_path / "run"
    assert run(*SMALL, "--out", folder)[0] == 0
    (folder / "checkpoint.npz").unlink()  # as if it had been stopped before the first one
    shakespeare.unlink()
    code, _, err = run("--resume", folder)
    assert code == 2 and "was trained on tinyshakespeare, which is not at hand" in err
