"""``python examples/tree_text_autoencoder.py``: what it leaves, going on, its errors."""

import json
import os
from contextlib import contextmanager
from functools import partial

import commands
import pytest

from minae.models import TreeAutoencoder
from minae.seq import load_tokenizer, pad

run = partial(commands.run, "tree_text_autoencoder.py")
SMALL = ["--hidden", 8, "--cell", 3, "--samples", 2, "--batch-size", 16, "--epochs", 2,
         "--warm-up", 3, "--seed", 5]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "few.trees"
    path.write_text("(S (N dogs) (V bark))\n(S (NP (D the) (N dog)) (V barks))\n" * 40)
    return path


@contextmanager
def stopped_at_once():
    """As if Ctrl-C came in the first step."""
    yield lambda: True


def test_a_stopped_run_goes_on_to_the_same_weights(text, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    code, out, err = run("--text", text, *SMALL, "--out", whole, "--json")
    assert code == 0, err
    metrics = json.loads(out)
    assert metrics == json.loads((whole / "metrics.json").read_text())
    assert 0 < metrics["nats_of_words"] <= metrics["negative_elbo"]
    assert 1 < metrics["perplexity_importance"] < 1.02 * metrics["perplexity_bound"]
    assert {"left", "right", "balanced", "random", "induced"} <= metrics["f1"].keys()
    assert 0 <= metrics["recovered"] <= 1 and metrics["held_out_seen"] == 1
    files = {"config.json", "metrics.json", "metrics.csv", "checkpoint.npz", "weights.npz",
             "tokenizer.json", "written.txt"}  # fmt: skip
    assert {*os.listdir(whole)} - {"curves.png", "trees.png"} == files
    model, tokenizer = TreeAutoencoder.load(whole), load_tokenizer(whole / "tokenizer.json")
    assert model.parse(pad([tokenizer.encode("the dog barks")])).sum() == 5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minae.train.interrupts", stopped_at_once)
        assert run("--text", text, *SMALL, "--out", cut)[0] == 130
    code, _, err = run("--resume", cut)
    assert code == 0, err
    assert (cut / "weights.npz").read_bytes() == (whole / "weights.npz").read_bytes()


def test_a_dry_run_of_the_grammar_tells_what_is_grammatical(tmp_path):
    code, out, err = run(*SMALL, "--longest", 6, "--dry-run", "--out", tmp_path / "run", "--json")
    assert code == 0, err
    metrics = json.loads(out)
    assert metrics["grammatical"].keys() == {"written_to_trees", "drawn", "drawn_by_lstm"}
    assert "drawn from the built-in grammar" in err


@pytest.mark.parametrize(
    "options, message",
    [
        (["--text", "nowhere.txt"], "No such file"),
        (["--text", "{text}", "--longest", 1], "0 sentences of 2 to 1 words"),
        (["--text", "{text}", "--samples", 1], "samples=1 (2 or more)"),
        (["--sentences", "atis", "--data-dir", "{folder}"], "holds no train.txt of ATIS"),
    ],
)
def test_errors_are_one_line(text, tmp_path, options, message):
    options = [str(option).format(text=text, folder=tmp_path) for option in options]
    code, _, err = run(*SMALL, "--out", tmp_path / "run", *options)
    assert code == 2 and message in err and err.splitlines()[-1].startswith("error: ")
