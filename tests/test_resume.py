"""A run stopped anywhere and resumed is the run that was never stopped, to the last bit.

With everything that a resumed run has to find again: moving averages, k-means spread over several
batches, revived codewords, dropout, momentum. What a resumed process starts from is another model
and another seed.
"""

import io
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import python_path

import minae
from minae import nn, optim, train, vq
from minae.run import Run

pytestmark = pytest.mark.usefixtures("ctrl_c")

IMAGES = np.random.default_rng(0).integers(0, 256, size=(22, 4, 4, 1), dtype="uint8")
SETTINGS = {"epochs": 3, "batch_size": 6, "seed": 3}  # 4 steps an epoch, the last of 4 images
STEPS = 12
OPTIMIZERS = {
    "momentum": lambda parameters: optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=0.01),
    "Adam": lambda parameters: optim.Adam(parameters, 1e-2),
}


class Model(nn.Module):
    """``on_step`` is called with the number of the step, in each process from 1, before a loss."""

    def __init__(self, on_step):
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 2, stride=2), minae.relu, nn.BatchNorm2d(8), nn.Dropout(0.2),
        )
        self.quantizer = vq.VectorQuantizerEMA(16, 8, decay=0.7, revive=0.5)
        self.decoder = nn.ConvTranspose2d(8, 1, 2, stride=2)
        self.on_step, self.step = on_step, 0

    def loss(self, batch):
        self.step += 1
        self.on_step(self.step)
        quantized = self.quantizer(self.encoder(batch))
        error = minae.mse_loss(self.decoder(quantized.values), batch)
        loss = error + quantized.loss
        return loss, {"mse": error.item(), "perplexity": float(quantized.perplexity)}


def result(folder, choice, on_step=lambda step: None):
    """All that a run ends with, by name. One that is there is resumed, from another seed."""
    resume = (folder / "config.json").exists()
    minae.seed(99 if resume else 3)
    model = Model(on_step)
    optimizer = OPTIMIZERS[choice](model.parameters())
    run = Run.open(folder) if resume else Run.create(folder, {"choice": choice})
    train.fit(model, optimizer, IMAGES, run, out=io.StringIO(), **SETTINGS)
    arrays = {
        f"{part}.{name}": (x.dtype, x.shape, x.tobytes())
        for part, owner in (("model", model), ("optimizer", optimizer))
        for name, x in owner.state_dict().items()
    }
    return arrays | {
        "generator": minae.random.get_state(), "history": run.history,
        "metrics.csv": (folder / "metrics.csv").read_text(),
        "checkpoint": checkpoint(folder),
    }


def checkpoint(folder):
    """What lies in the file, less the seconds."""
    arrays, position = minae.io.read(folder / "checkpoint.npz")
    arrays = {name: x.tobytes() for name, x in arrays.items()}
    return arrays, {name: position[name] for name in ("step", "order", "rng")}


def differing(a, b):
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


@pytest.fixture(scope="module", params=OPTIMIZERS)
def whole(request, tmp_path_factory):
    """The name of an optimizer, and the result of the run that is never stopped."""
    placed, revived = [], []

    def watch(quantizer, vectors):
        before = quantizer.codebook.numpy().copy()
        revive(quantizer, vectors)
        placed.append(int(quantizer.placed[0]))
        revived.append((quantizer.codebook.numpy() != before).any())

    revive = vq.VectorQuantizer._revive
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vq.VectorQuantizer, "_revive", watch)
        found = result(tmp_path_factory.mktemp("whole") / "run", request.param)
    assert placed[:3] == [6, 12, 16]  # k-means is stopped in its midst, too
    assert sum(revived[:6]) and sum(revived[6:])
    return request.param, found


@pytest.mark.parametrize("stop", range(1, STEPS + 1))
def test_stopped_after_any_step_it_ends_the_same(tmp_path, whole, stop):
    choice, expected = whole
    with pytest.raises(KeyboardInterrupt, match=f"saved at step {stop}"):
        result(tmp_path / "run", choice, press_at(stop))
    assert differing(result(tmp_path / "run", choice), expected) == []


def test_stopped_after_every_step_it_ends_the_same(tmp_path, whole):
    choice, expected = whole
    for _ in range(STEPS):
        with pytest.raises(KeyboardInterrupt, match="saved at step"):
            result(tmp_path / "run", choice, press_at(1))
    assert differing(result(tmp_path / "run", choice), expected) == []


def press_at(step):
    return lambda now: signal.raise_signal(signal.SIGINT) if now == step else None


# --- Killed ---------------------------------------------------------------------------------------


def doomed(folder, choice, where):
    """Train, save after step 5, and be killed: in step 9, or while step 8 is saved, ``where`` a
    function of ``os`` is called."""

    saved = {5} if where == "step" else {5, 8}

    def die(*args):
        os.kill(os.getpid(), signal.SIGKILL)

    def on_step(step):
        train.SAVE_EVERY = -1 if step in saved else math.inf
        if step == 8 and where != "step":
            setattr(os, where, die)
        if step == 9:
            die()

    result(Path(folder), choice, on_step)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("where", ["step", "fsync", "replace"])
def test_killed_after_a_checkpoint_it_takes_the_later_steps_again(tmp_path, whole, where):
    choice, expected = whole
    folder = tmp_path / "run"
    program = f"import test_resume; test_resume.doomed({str(folder)!r}, {choice!r}, {where!r})"
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": python_path(here, here.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoint(folder)[1]["step"] == 5
    rows = (folder / "metrics.csv").read_text().splitlines()[1:]
    assert len(rows) == 8
    assert bool(list(folder.glob(".*.part"))) == (where == "replace")
    again = []
    assert differing(result(folder, choice, again.append), expected) == []
    assert again == list(range(1, STEPS - 5 + 1))  # from step 6 on
    assert not list(folder.glob(".*.part"))
