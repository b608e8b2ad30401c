"""Training: the loop, its progress, and the folder that a run leaves behind.

``fit`` is the loop. A ``Run`` is a folder: ``config.json`` says what was asked for, ``metrics.csv``
has a row for each step, ``checkpoint.npz`` is where an interrupted run goes on, bit for bit, and
``metrics.json`` the result. Every file but the csv, which grows, is written whole or not at all.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import platform
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from . import random
from .backend import numpy, quiet, xp
from .data import batches
from .io import FormatError, load, load_metadata, save, write_file
from .nn import Module
from .optim import Optimizer

SAVE_EVERY = 60.0  # seconds: what a power cut costs at most


def fit(
    model: Any, optimizer: Optimizer, images: Any, run: Run, *,
    epochs: int, batch_size: int, seed: int, steps: int | None = None, out: TextIO | None = None,
) -> None:
    """Train a Module that has ``loss(batch) -> (Tensor, {name: number})`` on ``images``.

    Goes on where the run's checkpoint ends, if it has one, and stops after ``epochs`` or, if given,
    ``steps``. Raises KeyboardInterrupt after Ctrl-C, once the step is done and saved, ValueError
    for data that cannot be trained on, FloatingPointError where the loss is no number any more.
    """
    if not len(images):
        raise ValueError("the data set is empty")
    last = min(epochs * math.ceil(len(images) / batch_size), steps or sys.maxsize)
    done = run.restore(model, optimizer)
    stream = itertools.islice(_stream(images, batch_size, seed, done), max(0, last - done))
    model.train()
    bar = progress(done, last, batch_size, out or sys.stdout)
    with bar as show, interrupts() as asked, quiet():  # of overflow the loss will tell
        saved = time.monotonic()
        for step, (epoch, batch) in enumerate(stream, done + 1):
            started = time.perf_counter()
            loss, figures = _loss(model, batch, step, run.saved)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds = time.perf_counter() - started
            run.log({"step": step, "epoch": epoch + 1, "loss": loss.item(), **figures}, seconds)
            show(run.history[-1], seconds)
            if asked() or step == last or time.monotonic() - saved > SAVE_EVERY:
                run.save(model, optimizer)
                saved = time.monotonic()
            if asked():
                raise KeyboardInterrupt(f"saved at step {step}; go on with --resume {run.folder}")


def _stream(images: Any, batch_size: int, seed: int, done: int) -> Iterator[tuple[int, Any]]:
    """The batches after the first ``done``, each with its epoch, without end."""
    while True:
        epoch, start = divmod(done, math.ceil(len(images) / batch_size))
        for batch in batches(images, batch_size, seed=seed, epoch=epoch, start=start):
            yield epoch, batch
            done += 1


def _loss(model: Any, batch: Any, step: int, saved: int) -> tuple[Any, dict[str, Any]]:
    try:
        loss, figures = model.loss(batch)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"the loss is {loss.item()}")
    except FloatingPointError as error:
        raise FloatingPointError(
            f"{error}, at step {step}: lower the learning rate, or find the first NaN with --debug;"
            f" the checkpoint is of step {saved}"
        ) from error
    return loss, figures


# --- The run folder ------------------------------------------------------------------------------


class Run:
    """A folder and what happened so far: ``history``, one dict for each step."""

    def __init__(self, folder: Any, config: Mapping[str, Any]) -> None:
        self.folder, self.config = Path(folder), dict(config)
        self.history: list[dict[str, Any]] = []
        self.durations: list[float] = []  # seconds of each step of this process
        self.seconds = 0.0  # spent in steps, by earlier processes too
        self.step_ms = 0.0  # the median step of the process that saved the checkpoint
        self.saved = 0  # the step of the checkpoint

    @classmethod
    def create(cls, folder: Any, config: Mapping[str, Any]) -> Run:
        """A new run. Raises FileExistsError where there is one already, OSError for a folder that
        cannot be made or written."""
        run = cls(folder, config)
        if (run.folder / "config.json").exists():
            raise FileExistsError(
                f"{folder} holds a run already: go on with --resume {folder}, or choose another"
                " folder with --out"
            )
        run.folder.mkdir(parents=True, exist_ok=True)
        run.write("config.json", run.config)
        return run

    @classmethod
    def open(cls, folder: Any) -> Run:
        """A run to go on with. Raises FileNotFoundError without one, FormatError if damaged."""
        path = Path(folder) / "config.json"
        if not path.exists():
            raise FileNotFoundError(f"{folder} holds no run: there is no {path}")
        try:
            return cls(folder, dict(json.loads(path.read_text(encoding="utf-8"))))
        except (TypeError, ValueError) as error:
            raise FormatError(f"{path} is damaged: {error}") from error

    def write(self, name: str, content: Any) -> None:
        """Put ``content`` as JSON into a file of the folder."""
        write_file(self.folder / name, (json.dumps(content, indent=2) + "\n").encode())

    def log(self, row: dict[str, Any], seconds: float) -> None:
        """Add what a step gave to the history and to ``metrics.csv``."""
        self.history.append(row)
        self.durations.append(seconds)
        self.seconds += seconds
        with open(self.folder / "metrics.csv", "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)

    def save(self, model: Module, optimizer: Optimizer) -> None:
        """Write the checkpoint: state of model, optimizer and random generator.

        Raises FloatingPointError, and keeps the old one, where a parameter is no number.
        """
        arrays = {f"model.{name}": x for name, x in model.state_dict().items()}
        for name, x in arrays.items():
            if x.dtype.kind == "f" and not numpy.isfinite(x).all():
                raise FloatingPointError(
                    f"{name} is not finite after step {len(self.history)}: lower the learning rate"
                )
        arrays |= {f"optimizer.{name}": x for name, x in optimizer.state_dict().items()}
        with open(self.folder / "metrics.csv", "a", encoding="utf-8") as file:
            os.fsync(file.fileno())
        if self.durations:
            self.step_ms = statistics.median(self.durations) * 1000
        position = {"step": len(self.history), "seconds": self.seconds, "step_ms": self.step_ms,
                    "rng": random.get_state()}
        save(self.folder / "checkpoint.npz", arrays, position)
        self.saved = len(self.history)

    def restore(self, model: Module, optimizer: Optimizer) -> int:
        """Take model, optimizer and generator to the checkpoint, if any; the steps done by then.

        Rows of ``metrics.csv`` from later steps are dropped: those steps will be taken again.
        """
        path = self.folder / "checkpoint.npz"
        if not path.exists():
            (self.folder / "metrics.csv").unlink(missing_ok=True)
            return 0
        position, arrays = load_metadata(path), load(path)
        holders: dict[str, Any] = {"model": model, "optimizer": optimizer}
        for part, holder in holders.items():
            own = {k.removeprefix(f"{part}."): x for k, x in arrays.items() if k.startswith(part)}
            holder.load_state_dict(own)
        random.set_state(position["rng"])
        self.saved = position["step"]
        self.seconds, self.step_ms = position["seconds"], position["step_ms"]
        self._read_history()
        return self.saved

    def _read_history(self) -> None:
        path = self.folder / "metrics.csv"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[: self.saved + 1]
        write_file(path, "".join(lines).encode())
        self.history = [
            {name: json.loads(value) for name, value in row.items()}
            for row in csv.DictReader(lines)
        ]
        if len(self.history) < self.saved:
            raise FormatError(f"{path} ends before step {self.saved}, where the checkpoint is")

    def summary(self) -> dict[str, Any]:
        """Seconds in all, the median step in milliseconds, and the versions at work, as of the
        checkpoint."""
        return {"seconds": round(self.seconds, 2), "step_ms": round(self.step_ms, 2),
                "versions": versions()}


def versions() -> dict[str, str]:
    """Python, minae, the array library and its version: what results depend on."""
    from . import __version__

    return {
        "python": platform.python_version(), "minae": __version__, xp.__name__: xp.__version__,
        "machine": platform.machine(),
    }


# --- Progress and interruption -------------------------------------------------------------------


@contextmanager
def progress(done: int, last: int, batch_size: int, out: TextIO) -> Iterator[Any]:
    """A function to show each step with: a tqdm bar on a terminal, else now and then a line."""
    pace: list[float] = []  # the seconds of the newest steps

    def text(row: Mapping[str, Any], seconds: float) -> str:
        pace.append(seconds)
        del pace[:-20]
        parts = [f"loss {row['loss']:.5f}"]
        if "perplexity" in row:
            parts += [f"perplexity {row['perplexity']:.1f}", f"codes {row['active_codes']}"]
        return "  ".join([*parts, f"{batch_size * len(pace) / sum(pace):.0f} images/s"])

    try:
        if not out.isatty():
            raise ImportError
        from tqdm import tqdm
    except ImportError:
        shown = 0.0

        def line(row: Mapping[str, Any], seconds: float) -> None:
            nonlocal shown
            summary = text(row, seconds)
            if time.monotonic() - shown > 5 or row["step"] == last:
                shown = time.monotonic()
                print(f"step {row['step']}/{last}  epoch {row['epoch']}  {summary}",
                      file=out, flush=True)

        yield line
        return
    with tqdm(total=last, initial=done, unit="step", file=out, dynamic_ncols=True) as bar:

        def move(row: Mapping[str, Any], seconds: float) -> None:
            bar.set_postfix_str(text(row, seconds), refresh=False)
            bar.update()

        yield move


@contextmanager
def interrupts() -> Iterator[Any]:
    """A function that says whether Ctrl-C was pressed: the step ends first. Twice stops at once."""
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():  # signals come to that one only
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
