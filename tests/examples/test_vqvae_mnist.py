"""``python examples/vqvae_mnist.py`` on small data: what it leaves, how it stops, how it fails."""

import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import commands
import numpy as np
import pytest
from processes import python_path

from minae import backend
from minae.data import draw_digits
from minae.models import VQVAE

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "vqvae_mnist.py"
run = partial(commands.run, "vqvae_mnist.py")
PICTURES = {"reconstructions.png", "curves.png", "codebook.png", "codes.png"}
FILES = {"config.json", "metrics.json", "metrics.csv", "checkpoint.npz", "weights.npz"}
FAST = ["--batch-size", "32", "--codebook-size", "16", "--seed", "5"]


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder with 320 and 40 digits in the form of MNIST."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part, count in (("train", 320), ("t10k", 40)):
        labels = rng.integers(0, 10, count, "uint8")
        for kind, array in (("labels", labels), ("images", draw_digits(labels, rng)[..., 0])):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            path = folder / f"{part}-{kind}-idx{array.ndim}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes()))
    return folder


def weights(folder):
    return (Path(folder) / "weights.npz").read_bytes()


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(*FAST, "--data-dir", data, "--out", folder, "--json")


def test_it_leaves_a_run_folder(finished, data):
    folder, done = finished
    assert done.code == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics == json.loads((folder / "metrics.json").read_text())
    assert metrics["dataset"] == "mnist" and metrics["epochs"] == 2 and metrics["seed"] == 5
    assert 0 < metrics["test_mse"] < 0.2
    assert 1 <= metrics["perplexity"] <= metrics["active_codes"] <= 16
    assert metrics["seconds"] > 0 and metrics["step_ms"] > 0
    assert {"python", "minae", backend.name} <= metrics["versions"].keys()
    assert len((folder / "metrics.csv").read_text().splitlines()) == 21
    found = set(os.listdir(folder))
    assert found - PICTURES == FILES
    if "no pictures" not in done.stderr:
        assert found >= PICTURES
        for name in PICTURES:
            assert (folder / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert done.stderr.startswith("VQ-VAE, 16 codes, minae ")
    assert f"run folder: {folder}" in done.stderr
    assert "step 20/20" in done.stderr


def test_the_folder_gives_the_model_back(finished):
    folder, _ = finished
    images = draw_digits([3, 7], np.random.default_rng(1))
    model = VQVAE.load(folder)
    assert model.decode(model.encode(images)).shape == (2, 28, 28, 1)


def ctrl_c_works():
    """Also where these tests run in the background of a script, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_stopped_run_resumes_to_the_same_weights(finished, data, tmp_path):
    folder = tmp_path / "cut"
    command = [sys.executable, EXAMPLE, *FAST, "--data-dir", data, "--out", folder]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": python_path(ROOT)}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=ctrl_c_works) as process:
        for line in process.stdout:
            if line.startswith("step "):  # the first is shown at once
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    step = int(re.search(rf"stopped: saved at step (\d+); go on with --resume {folder}",
                         errors).group(1))
    assert step < 20
    resumed = run("--resume", folder)  # which remembers where the data is
    assert resumed.code == 0, resumed.stderr
    assert weights(folder) == weights(finished[0])


@contextmanager
def stopped_at_once():
    """As if Ctrl-C came in the first step."""
    yield lambda: True


@pytest.mark.parametrize("options", [{"epochs": -1}, {"lr": [1]}, {"seed": 0.5}])
def test_a_hostile_config_is_a_usage_error(tmp_path, options):
    (tmp_path / "config.json").write_text(json.dumps({"options": {"batch_size": 8} | options}))
    done = run("--resume", tmp_path, "--dataset", "digits")
    assert done.code == 2 and "Traceback" not in done.stderr


def test_a_resumed_run_never_takes_other_data(data, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.setenv("MINAE_DATA", str(tmp_path))
    (tmp_path / "mnist").symlink_to(data)
    assert run(*FAST, "--out", folder, "--dry-run").code == 0
    before = (folder / "config.json").read_bytes()
    monkeypatch.setenv("MINAE_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("MINAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("minae.data.mnist.MIRRORS", {"mnist": [], "fashion": []})
    done = run("--resume", folder, "--epochs", 5)
    assert done.code == 2
    assert "was trained on mnist, which is not at hand: give its folder" in done.stderr
    assert (folder / "config.json").read_bytes() == before


def test_more_epochs_are_remembered(data, tmp_path):
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minae.train.interrupts", stopped_at_once)
        assert run(*FAST, "--data-dir", data, "--out", folder).code == 130
    before = json.loads((folder / "config.json").read_text())
    assert run("--resume", folder, "--data-dir", data, "--epochs", 3).code == 0
    after = json.loads((folder / "config.json").read_text())
    assert before["options"]["epochs"] == 2 and after["options"]["epochs"] == 3
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == 3
    assert run("--resume", folder, "--data-dir", data, "--epochs", 2).code == 2


def test_a_dry_run_takes_seconds_and_leaves_all_files(data, tmp_path):
    done = run(*FAST, "--data-dir", data, "--dry-run", cwd=tmp_path)
    assert done.code == 0, done.stderr
    folder = tmp_path / "runs" / "vqvae_mnist_dry"
    assert set(os.listdir(folder)) >= FILES
    assert "step 4/4" in done.stdout


def test_debug_runs_too(data, tmp_path):
    done = run(*FAST, "--data-dir", data, "--dry-run", "--debug", "--out", tmp_path / "run")
    assert done.code == 0, done.stderr


@pytest.mark.parametrize("options, message", [
    (["--data-dir", "{tmp}/none"], "not a folder"),
    (["--data-dir", "{tmp}"], "lacks train-images"),
    (["--data-dir", "{data}", "--out", "{finished}"], "holds a run already"),
    (["--data-dir", "{data}", "--out", "{finished}/weights.npz/run"], "weights.npz"),
    (["--resume", "{tmp}"], "holds no run"),
    (["--resume", "{finished}", "--data-dir", "{data}", "--epochs", "1"], "--epochs 2: leave it"),
    (["--resume", "{finished}", "--data-dir", "{data}", "--seed", "6"], "--seed 5: leave it out"),
    (["--resume", "{foreign}"], "was not written by this command"),
    (["--resume", "{garbage}"], "is damaged"),
    (["--resume", "{finished}", "--dataset", "digits"], "--dataset mnist: leave it out"),
    (["--resume", "{finished}", "--out", "{tmp}/new"], "leave out --out"),
    (["--resume", "{damaged}", "--data-dir", "{data}"], "checkpoint.npz cannot be read"),
    (["--resume", "{finished}", "--data-dir", "{data}", "--lr", "0.5"], "has --lr 0.001: leave"),
    (["--data-dir", "{data}", "--lr", "1e6", "--out", "{tmp}/high"], "lower the learning rate"),
])
def test_errors_are_one_line_with_a_cure(finished, data, tmp_path, options, message):
    folder, _ = finished
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for name in ("config.json", "metrics.csv"):
        (damaged / name).write_bytes((folder / name).read_bytes())
    checkpoint = (folder / "checkpoint.npz").read_bytes()
    (damaged / "checkpoint.npz").write_bytes(checkpoint[: len(checkpoint) // 2])
    for name, text in (("foreign", '{"seed": 3}'), ("garbage", "[1, 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    names = {"tmp": tmp_path, "data": data, "finished": folder, "damaged": damaged,
             "foreign": tmp_path / "foreign", "garbage": tmp_path / "garbage"}
    before = weights(folder)
    done = run(*(option.format(**names) for option in options), "--json")
    assert done.code == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and message in last and "Traceback" not in done.stderr
    assert done.stdout == ""
    assert weights(folder) == before


def test_a_full_disk_names_the_file_and_the_cure(data, tmp_path, monkeypatch):
    fsync = os.fsync

    def full(descriptor):
        if (tmp_path / "run" / "metrics.csv").exists():
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    done = run(*FAST, "--data-dir", data, "--dry-run", "--out", tmp_path / "run")
    assert done.code == 2
    assert done.stderr.startswith("error: [Errno 28] No space left on device")
    assert done.stderr.endswith("; free some space, then go on with --resume\n")
    monkeypatch.setattr(os, "fsync", fsync)
    assert run("--resume", tmp_path / "run").code == 0


@pytest.mark.parametrize("options", [
    ["--epochs", "0"], ["--batch-size", "-1"], ["--lr", "nan"], ["--lr", "0"], ["--seed", "-1"],
    ["--codebook-size", "0"], ["--dataset", "cifar"], ["--seed", "x"],
])
def test_impossible_options_are_usage_errors(options):
    done = run(*options)
    assert done.code == 2
    assert "error: argument" in done.stderr


def test_debug_shows_where(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        run("--resume", tmp_path, "--debug")
