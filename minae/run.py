"""``Run``: the folder that a training run leaves behind, and from which it can go on.

``config.json`` says what was asked for, ``metrics.csv`` has a row for each step,
``checkpoint.npz`` is where an interrupted run goes on, bit for bit, and ``metrics.json`` is the
result. Every file but the csv, which grows, is written whole or not at all.
"""

from __future__ import annotations

import csv
import errno
import json
import math
import numbers
import os
import platform
import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import random
from .backend import numpy, xp
from .io import FormatError, naming, read, save, write_file
from .nn import Module
from .optim import Optimizer

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

class Run:
    """A ``folder``, its ``config``, and what happened so far: ``history``, one dict for each step.

    The config is whatever JSON can hold. ``create`` and ``open`` give a Run its folder.
    """

    def __init__(self, folder: Any, config: Mapping[str, Any]) -> None:
        self.folder, self.config = Path(folder), dict(config)
        self.history: list[dict[str, Any]] = []
        self.durations: list[float] = []  # seconds of each step of this process
        self.seconds = 0.0  # spent in steps, by earlier processes too
        self.step_ms = 0.0  # the median step of the process that saved the checkpoint
        self.saved = 0  # the step of the checkpoint

    @classmethod
    def create(cls, folder: Any, config: Mapping[str, Any]) -> Run:
        """A new run. Raises FileExistsError for a folder that is not empty, OSError for one that
        cannot be made or written."""
        run = cls(folder, config)
        if (run.folder / "config.json").exists():
            raise FileExistsError(
                f"{folder} holds a run already: go on with --resume {folder}, or choose another"
                " folder with --out"
            )
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            if any(run.folder.iterdir()):
                raise FileExistsError(errno.EEXIST, "it is not empty; choose another with --out")
            run.write("config.json", run.config)
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"{folder} cannot be a run folder: {reason}") from error
        return run

    @classmethod
    def open(cls, folder: Any) -> Run:
        """A run to go on with. Raises FileNotFoundError without one, FormatError if damaged."""
        path = Path(folder) / "config.json"
        if not path.exists():
            raise FileNotFoundError(f"{folder} holds no run: there is no {path}")
        try:
            return cls(folder, dict(json.loads(path.read_text(encoding="utf-8"))))
        except (TypeError, ValueError, RecursionError) as error:
            raise FormatError(f"{path} is damaged: {error}") from error

    def write(self, name: str, content: Any) -> None:
        """Put ``content`` as JSON into a file of the folder."""
        write_file(self.folder / name, (json.dumps(content, indent=2) + "\n").encode())

    def log(self, row: dict[str, Any], seconds: float) -> None:
        """Add what a step gave to the history and to ``metrics.csv``.

        Raises TypeError for what is no number, ValueError for one that is not finite, and where
        the names are not those of the step before.
        """
        if self.history and row.keys() != self.history[-1].keys():
            raise ValueError(f"the step reports {[*row]}, the one before {[*self.history[-1]]}")
        for name, x in row.items():
            if isinstance(x, bool) or not isinstance(x, numbers.Real):
                raise TypeError(f"{name} is {x!r}: steps report numbers")
            if not math.isfinite(x):
                raise ValueError(f"{name} is {x} at step {len(self.history) + 1}")
        self.history.append(row)
        self.durations.append(seconds)
        self.seconds += seconds
        path = self.folder / "metrics.csv"
        with naming(path), open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training in the folder. Raises BlockingIOError if one does."""
        if fcntl is None:
            yield
            return
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(f"another process trains in {self.folder}") from None
            except OSError:
                pass  # a disk without locks
            yield
        finally:
            os.close(folder)

    # --- The checkpoint ------------------------------------------------------------------------

    def save(self, model: Module, optimizer: Optimizer, order: Mapping[str, int]) -> None:
        """Write the checkpoint: state of model, optimizer and random generator.

        ``order`` is what decides the order of the batches. Raises FloatingPointError, and keeps
        the old checkpoint, where a parameter is no number.
        """
        arrays = {f"model.{name}": x for name, x in model.state_dict().items()}
        for name, x in arrays.items():
            if x.dtype.kind == "f" and not numpy.isfinite(x).all():
                raise FloatingPointError(
                    f"{name} is not finite after step {len(self.history)}: lower the learning rate"
                )
        arrays |= {f"optimizer.{name}": x for name, x in optimizer.state_dict().items()}
        metrics = self.folder / "metrics.csv"
        with naming(metrics), open(metrics, "a", encoding="utf-8") as file:
            os.fsync(file.fileno())
        if self.durations:
            self.step_ms = statistics.median(self.durations) * 1000
        position = {
            "step": len(self.history), "order": dict(order), "seconds": self.seconds,
            "step_ms": self.step_ms, "rng": random.get_state(),
        }
        save(self.folder / "checkpoint.npz", arrays, position)
        self.saved = len(self.history)

    def restore(self, model: Module, optimizer: Optimizer, order: Mapping[str, int]) -> int:
        """Take model, optimizer and generator to the checkpoint, if any; the steps done by then.

        Rows of ``metrics.csv`` from later steps are dropped: those steps will be taken again.
        Raises ValueError where the order of the batches is another, FormatError if damaged.
        """
        for left in self.folder.glob(".*.part"):  # by a process that was killed while writing
            left.unlink(missing_ok=True)
        path = self.folder / "checkpoint.npz"
        if not path.exists():
            (self.folder / "metrics.csv").unlink(missing_ok=True)
            return 0
        arrays, position = read(path)
        if position.get("order") != order:
            raise ValueError(f"{path} is of a run with {position.get('order')}, not {dict(order)}")
        try:
            model.load_state_dict(_part("model", arrays))
            optimizer.load_state_dict(_part("optimizer", arrays))
            random.set_state(position["rng"])
            self.saved = int(position["step"])
            self.seconds, self.step_ms = position["seconds"], position["step_ms"]
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path} is not of this run: {error}") from error
        self._read_history()
        return self.saved

    def _read_history(self) -> None:
        path = self.folder / "metrics.csv"
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[: self.saved + 1]
            self.history = [
                {name: json.loads(value) for name, value in row.items()}
                for row in csv.DictReader(lines)
            ]
            steps = [row["step"] for row in self.history if math.isfinite(math.fsum(row.values()))]
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise FormatError(f"{path} is damaged: {error}") from error
        whole = all(line.endswith("\n") for line in lines)  # a number cut short is a number, too
        if not whole or steps != [*range(1, self.saved + 1)]:
            raise FormatError(f"{path} has not the steps 1 to {self.saved} of the checkpoint")
        write_file(path, "".join(lines).encode())

    def summary(self) -> dict[str, Any]:
        """Seconds in all, the median step in milliseconds, and the versions at work, as of the
        checkpoint."""
        return {"seconds": round(self.seconds, 2), "step_ms": round(self.step_ms, 2),
                "versions": versions()}


def _part(name: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(f"{name}."): x for k, x in arrays.items() if k.startswith(f"{name}.")}


def versions() -> dict[str, str]:
    """Python, minae, the array library and its version: what results depend on."""
    from . import __version__

    return {
        "python": platform.python_version(), "minae": __version__, xp.__name__: xp.__version__,
        "machine": platform.machine(),
    }
