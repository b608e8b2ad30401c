"""Training: what a run leaves, and that stopping it anywhere costs nothing."""

import io
import json
import math
import os
import signal
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minae
from minae import nn
from minae.io import FormatError
from minae.optim import Adam
from minae.run import Run
from minae.train import fit, interrupts, progress

pytestmark = pytest.mark.usefixtures("ctrl_c")

IMAGES = np.random.default_rng(0).integers(0, 256, size=(50, 4, 4, 1), dtype="uint8")
SETTINGS = {"epochs": 2, "batch_size": 16, "seed": 3}  # 4 steps an epoch, the last of 2 images
ORDER = {"examples": 50, "batch_size": 16, "seed": 3}


class AutoEncoder(nn.Module):
    """Linear, with dropout to need the generator. ``on_step`` is called before each loss."""

    def __init__(self, on_step=lambda step: None):
        self.dropout = nn.Dropout(0.2)
        self.layer = nn.Linear(16, 16)
        self.on_step, self.step = on_step, 0

    def loss(self, batch):
        self.step += 1
        self.on_step(self.step)
        x = batch.reshape(len(batch), -1)
        error = minae.mse_loss(self.layer(self.dropout(x)), x)
        return error, {"mse": error.item(), "perplexity": 1.5, "active_codes": 2}


def train(folder, on_step=lambda step: None, resume=False, out=None, **changes):
    minae.seed(3)
    model = AutoEncoder(on_step)
    run = Run.open(folder) if resume else Run.create(folder, {"seed": 3})
    fit(model, Adam(model.parameters(), 1e-2), IMAGES, run, out=out or io.StringIO(),
        **SETTINGS | changes)
    return model, run


def press_at(step):
    return lambda now: signal.raise_signal(signal.SIGINT) if now == step else None


def same(a, b):
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_a_run_trains_and_says_what_it_did(tmp_path):
    model, run = train(tmp_path / "run")
    assert [row["step"] for row in run.history] == list(range(1, 9))
    assert [row["epoch"] for row in run.history] == [1] * 4 + [2] * 4
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert lines[0] == "step,epoch,loss,mse,perplexity,active_codes"
    assert len(lines) == 9
    assert float(lines[3].split(",")[2]) == run.history[2]["loss"]
    summary = run.summary()
    assert summary["seconds"] >= 0 and summary["step_ms"] > 0
    assert summary["versions"]["minae"] == minae.__version__
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == {"seed": 3}
    assert model.training


@pytest.mark.parametrize("stop", range(1, 9))
def test_ctrl_c_saves_and_the_resumed_run_ends_the_same_bit_for_bit(tmp_path, stop):
    whole, run = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match=rf"saved at step {stop}; go on with --resume"):
        train(tmp_path / "cut", press_at(stop))
    resumed, again = train(tmp_path / "cut", resume=True)
    assert same(whole.state_dict(), resumed.state_dict())
    assert run.history == again.history
    for name in ("metrics.csv", "config.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path):
    """Rows of the csv behind the checkpoint, the last cut off, are forgotten."""
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", press_at(3))
    with open(tmp_path / "cut" / "metrics.csv", "a") as file:
        file.write("4,1,0.5,0.5,1.5,2\n5,2,0.4")
    resumed, _ = train(tmp_path / "cut", resume=True)
    assert same(whole.state_dict(), resumed.state_dict())
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (
        tmp_path / "cut" / "metrics.csv").read_bytes()


def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path):
    def crash(step):
        if step == 3:
            raise SystemError("killed")

    with pytest.raises(SystemError):
        train(tmp_path / "cut", crash)
    resumed, run = train(tmp_path / "cut", resume=True)
    assert same(train(tmp_path / "whole")[0].state_dict(), resumed.state_dict())
    assert [row["step"] for row in run.history] == list(range(1, 9))


def test_a_finished_run_may_be_given_more_epochs(tmp_path):
    longer, _ = train(tmp_path / "whole", epochs=3)
    train(tmp_path / "two")
    resumed, run = train(tmp_path / "two", resume=True, epochs=3)
    assert same(longer.state_dict(), resumed.state_dict())
    assert len(run.history) == 12
    before = (tmp_path / "two" / "checkpoint.npz").read_bytes()
    train(tmp_path / "two", resume=True, epochs=3)  # nothing left to do
    assert (tmp_path / "two" / "checkpoint.npz").read_bytes() == before


def test_ctrl_c_twice_stops_at_once(tmp_path):
    def press(step):
        if step == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("still here")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", press)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_between_the_last_step_and_the_end_is_not_lost():
    with pytest.raises(KeyboardInterrupt), interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_that_ignores_ctrl_c_goes_on_doing_so(tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, run = train(tmp_path / "run", press_at(3))
    assert len(run.history) == 8


def test_a_thread_may_train(tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.append(train(tmp_path / "run")[1]))
    thread.start()
    thread.join()
    assert len(done[0].history) == 8


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("minae.train.SAVE_EVERY", 0)

    def loss(self, batch):
        self.step += 1
        one = minae.Tensor(np.float32(1), requires_grad=True)
        return one * (np.inf if self.step == 4 else 1), {}

    monkeypatch.setattr(AutoEncoder, "loss", loss)
    with pytest.raises(FloatingPointError, match="the loss is inf, at step 4: lower the learning"):
        train(tmp_path / "run")
    resumed = Run.open(tmp_path / "run")
    model = AutoEncoder()
    assert resumed.restore(model, Adam(model.parameters()), ORDER) == 3


def test_parameters_that_are_no_numbers_are_not_saved(tmp_path):
    model, run = train(tmp_path / "run")
    model.layer.weight.data = np.full((16, 16), np.nan)
    with pytest.raises(FloatingPointError, match=r"layer\.weight is not finite"):
        run.save(model, Adam(model.parameters()), ORDER)
    assert same(train(tmp_path / "run", resume=True)[0].state_dict(),
                train(tmp_path / "other")[0].state_dict())


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", press_at(3))
    fsync = os.fsync

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        train(tmp_path / "run", resume=True)
    monkeypatch.setattr(os, "fsync", fsync)
    assert sorted(os.listdir(tmp_path / "run")) == ["checkpoint.npz", "config.json", "metrics.csv"]
    resumed, _ = train(tmp_path / "run", resume=True)
    assert same(resumed.state_dict(), train(tmp_path / "other")[0].state_dict())


def test_a_schedule_sets_the_learning_rate(tmp_path):
    rates = []
    model = AutoEncoder(lambda step: rates.append(optimizer.lr))
    optimizer = Adam(model.parameters(), 1.0)
    fit(model, optimizer, IMAGES, Run.create(tmp_path / "run", {}), out=io.StringIO(),
        schedule=lambda step: 0.1 / (1 + step), **SETTINGS)
    assert rates == [0.1 / n for n in range(1, 9)]


@pytest.mark.parametrize("changed", [{"epochs": -1}, {"steps": -1}])
def test_steps_do_not_count_down(tmp_path, changed):
    with pytest.raises(ValueError, match="impossible"):
        train(tmp_path / "run", **changed)


@pytest.mark.parametrize("steps, taken", [(0, 0), (3, 3), (99, 8)])
def test_steps_limit_a_run(tmp_path, steps, taken):
    assert len(train(tmp_path / "run", steps=steps)[1].history) == taken


@pytest.mark.parametrize("changed", [{"batch_size": 8}, {"seed": 4}])
def test_a_run_goes_on_with_its_own_batches(tmp_path, changed):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", press_at(3))
    with pytest.raises(ValueError, match=r"is of a run with \{'examples': 50"):
        train(tmp_path / "run", resume=True, **changed)


@pytest.mark.parametrize("figures, error, message", [
    ({"x": math.nan}, ValueError, "x is nan at step 2"),
    ({"x": True}, TypeError, "x is True: steps report numbers"),
    ({"x": "high"}, TypeError, "x is 'high'"),
    ({"y": 1.0}, ValueError, "the step reports"),
])
def test_figures_that_could_not_be_read_again(tmp_path, figures, error, message):
    run = Run.create(tmp_path / "run", {})
    run.log({"x": np.float32(0.5)}, 0.1)
    with pytest.raises(error, match=message):
        run.log(figures, 0.1)
    assert (tmp_path / "run" / "metrics.csv").read_text() == "x\n0.5\n"


def test_a_model_may_report_anything(tmp_path, monkeypatch):
    loss = AutoEncoder.loss
    monkeypatch.setattr(AutoEncoder, "loss", lambda *a: (loss(*a)[0], {"step": 30.0}))
    with pytest.raises(ValueError, match="reports step, which the loop does itself"):
        train(tmp_path / "other")
    monkeypatch.setattr(AutoEncoder, "loss", lambda *a: (loss(*a)[0], {"perplexity": 30.0}))
    out = io.StringIO()
    train(tmp_path / "run", out=out)
    assert "perplexity 30  " in out.getvalue() and "codes" not in out.getvalue()


@pytest.mark.parametrize("images, error, message", [
    (IMAGES[:0], ValueError, "nothing to train on: 0 examples"),
    (np.full((4, 4, 4, 1), np.nan), ValueError, "NaN"),
    (IMAGES * 2.0, ValueError, "divide by 255"),
    (IMAGES.astype("int64"), TypeError, "uint8"),
])
def test_data_that_cannot_be_trained_on(tmp_path, images, error, message):
    model = AutoEncoder()
    run = Run.create(tmp_path / "run", {})
    with pytest.raises(error, match=message):
        fit(model, Adam(model.parameters()), images, run, **SETTINGS, out=io.StringIO())


def test_data_of_fewer_batches_than_its_length_promises(tmp_path):
    class Short:
        def __len__(self):
            return 50

        def batches(self, size, *, seed, epoch, start):
            return iter([minae.xp.zeros((2, 16))][start:])

    model = AutoEncoder()
    with pytest.raises(ValueError, match="50 examples gave 3 batches of 16 too few"):
        fit(model, Adam(model.parameters()), Short(), Run.create(tmp_path / "run", {}), **SETTINGS,
            out=io.StringIO())


# --- The folder ----------------------------------------------------------------------------------


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    train(tmp_path / "run")
    with pytest.raises(FileExistsError, match="a run already: go on with --resume"):
        Run.create(tmp_path / "run", {})


@pytest.mark.parametrize("name", ["metrics.csv", "checkpoint.npz", "curves.png", "notes.txt"])
def test_no_file_of_somebody_is_touched(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(OSError, match="cannot be a run folder: it is not empty"):
        Run.create(tmp_path, {})
    assert (tmp_path / name).read_text() == "precious" and os.listdir(tmp_path) == [name]


def test_one_process_at_a_time(tmp_path):
    pytest.importorskip("fcntl", reason="this system has no such locks")
    refused = []

    def try_too(step):
        if step == 2:
            with pytest.raises(BlockingIOError, match="another process trains in"):
                train(tmp_path / "run", resume=True)
            refused.append(step)

    _, run = train(tmp_path / "run", try_too)
    assert refused and len(run.history) == 8
    train(tmp_path / "run", resume=True)  # afterwards it may


def test_opening_a_run_takes_nothing_from_the_process_that_trains_in_it(tmp_path):
    train(tmp_path / "run")
    writing = tmp_path / "run" / ".checkpoint.npz.0a1b2c3d.part"
    writing.write_text("half")
    Run.open(tmp_path / "run")
    assert writing.exists()


def test_what_a_killed_writer_left_is_cleared(tmp_path):
    train(tmp_path / "run")
    (tmp_path / "run" / ".checkpoint.npz.0a1b2c3d.part").write_text("half")
    train(tmp_path / "run", resume=True)
    assert sorted(os.listdir(tmp_path / "run")) == ["checkpoint.npz", "config.json", "metrics.csv"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        Run.create(tmp_path / "file" / "run", {})
    with pytest.raises(OSError, match="file"):
        Run.create(tmp_path / "file", {})


def test_damaged_runs_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        Run.open(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", press_at(3))
    checkpoint = tmp_path / "run" / "checkpoint.npz"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match=r"checkpoint\.npz cannot be read"):
        train(tmp_path / "run", resume=True)
    checkpoint.write_bytes(whole)
    minae.io.save(checkpoint, minae.io.load(checkpoint), {"order": ORDER})
    with pytest.raises(FormatError, match="is not of this run: 'rng'"):
        train(tmp_path / "run", resume=True)
    checkpoint.write_bytes(whole)
    (tmp_path / "run" / "metrics.csv").write_text("step\nNaN,2,3\nx\n")
    with pytest.raises(FormatError, match=r"metrics\.csv is damaged"):
        train(tmp_path / "run", resume=True)
    for content in (b"step,loss\n", b"step,loss\n1,1\n1,1\n2,2\n", b"step,loss\n1,1\n2,1\n3,NaN\n"):
        (tmp_path / "run" / "metrics.csv").write_bytes(content)
        with pytest.raises(FormatError, match=r"metrics\.csv has not the steps 1 to 3"):
            train(tmp_path / "run", resume=True)
    for content in (b"\xff\xfe", b"a,b\n1,2\n1,2\n1,2\n", b'step,x\n1,"""t"""\n2,1\n3,1\n'):
        (tmp_path / "run" / "metrics.csv").write_bytes(content)
        with pytest.raises(FormatError, match=r"metrics\.csv"):
            train(tmp_path / "run", resume=True)
    (tmp_path / "run" / "config.json").write_text("[" * 100_000)
    with pytest.raises(FormatError, match="damaged"):
        Run.open(tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(FormatError, match="damaged"):
        Run.open(tmp_path / "run")


def restored(folder):
    """The history that a run goes on from."""
    run, model = Run.open(folder), AutoEncoder()
    run.restore(model, Adam(model.parameters(), 1e-2), ORDER)
    return run.config, run.history


@pytest.mark.parametrize("name", ["config.json", "metrics.csv"])
def test_every_truncation_of_a_file_is_noticed_or_means_nothing(tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", press_at(2))
    whole, path = restored(tmp_path / "run"), tmp_path / "run" / name
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            assert restored(tmp_path / "run") == whole
        except FormatError as error:
            assert name in str(error)
        else:
            assert name == "config.json" and content[length:] == b"\n"


@settings(max_examples=200)
@given(content=st.binary() | st.text().map(str.encode) | st.from_regex(
    r"step(,\w)*\n([0-9.e-]*(,[0-9.e-]*)*\n)*", fullmatch=True).map(str.encode))
def test_whatever_stands_in_a_file_is_read_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "any run"
    if not folder.exists():
        with pytest.raises(KeyboardInterrupt):
            train(folder, press_at(1))
    for name in ("config.json", "metrics.csv"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        try:
            config, history = restored(folder)
        except FormatError:
            pass
        else:
            assert isinstance(config, dict) and [row["step"] for row in history] == [1]
        (folder / name).write_bytes(before)


# --- Progress ------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_where_the_output_is_no_terminal(tmp_path):
    out = io.StringIO()
    train(tmp_path / "run", out=out)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("step 1/8  epoch 1  loss 0.")
    assert lines[-1].startswith("step 8/8  epoch 2  loss 0.")
    assert "perplexity 1.5  codes 2" in lines[-1] and lines[-1].endswith("images/s")


def test_a_bar_on_a_terminal(tmp_path):
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    out = Terminal()
    train(tmp_path / "run", out=out)
    last = out.getvalue().split("\r")[-1]
    assert "8/8" in last and "perplexity 1.5  codes 2" in last and "images/s" in last


def test_images_per_second_count_the_newest_steps():
    out = io.StringIO()
    with progress(0, 100, out) as show:
        show({"step": 100, "epoch": 1, "loss": 1.0}, 32, 0.5)
    assert out.getvalue() == "step 100/100  epoch 1  loss 1.00000  64 images/s\n"
