"""Training: the loop, its progress, and Ctrl-C."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
import operator
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from . import kernels
from .backend import CaptureError, numpy, quiet, xp
from .data import batches
from .faults import check, fetch
from .optim import Optimizer, clip_grad_norm
from .replay import capture
from .run import Run

SAVE_EVERY = 60.0  # seconds: what a power cut costs at most


def fit(
    model: Any, optimizer: Optimizer, data: Any, run: Run, *,
    epochs: int, batch_size: int, seed: int, steps: int | None = None,
    schedule: Callable[[int], float] | None = None, clip: float | None = None,
    out: TextIO | None = None,
) -> None:
    """Train a Module that has ``loss(batch) -> (Tensor, {name: number})`` on ``data``.

    A number may be a Tensor or array of one entry: those are read together, once a step. On a GPU
    the step is captured (see ``minae.capture``), and a loss that is no number found after it.
    Data are images, bytes or floats in [0, 1], of which ``batch_size`` at a time are handed out as
    floats in [0, 1], in an order that ``seed`` decides (see ``data.batches``); or anything that has
    a length and such a method ``batches(size, seed=, epoch=, start=)`` of its own, as
    ``seq.Windows`` and ``seq.Pairs`` have: a batch that is a tuple holds the arguments of ``loss``.
    The ``optimizer`` holds the parameters of ``model``. Goes on where the run's checkpoint ends, if
    it has one, and stops after ``epochs`` or after ``steps``, whichever comes first. ``schedule``
    gives the learning rate of each step, counted from 0, ``clip`` the norm that the gradients are
    held to (see ``optim.clip_grad_norm``). Progress is written to ``out``, by default standard
    output. Raises KeyboardInterrupt after Ctrl-C, once the step is done and saved, ValueError for
    data that cannot be trained on, FloatingPointError where the loss is no number any more,
    BlockingIOError where another process trains in the run's folder.
    """
    epochs, batch_size, seed = map(operator.index, (epochs, batch_size, seed))
    if not len(data) or batch_size < 1:
        raise ValueError(f"there is nothing to train on: {len(data)} examples, {batch_size=}")
    if epochs < 0 or (steps is not None and steps < 0):
        raise ValueError(f"impossible {epochs=}, {steps=}")
    order = {"examples": len(data), "batch_size": batch_size, "seed": seed}
    last = epochs * math.ceil(len(data) / batch_size)
    last = last if steps is None else min(last, steps)
    model.train()
    with run.alone(), quiet():  # of overflow the loss will tell
        done = run.restore(model, optimizer, order)
        run.write("config.json", run.config)  # which may be new, now that the checkpoint fits
        stream = itertools.islice(_stream(data, batch_size, seed, done), max(0, last - done))
        saved = time.monotonic()
        take = _step(model, optimizer, clip)
        bar = progress(done, last, out or sys.stdout, getattr(data, "unit", "images"))
        with bar as show, interrupts() as asked:
            for step, (epoch, size, batch) in enumerate(stream, done + 1):
                started = time.perf_counter()
                if schedule:
                    optimizer.lr = schedule(step - 1)
                row = _taken(take, batch, step, run.saved)
                seconds = time.perf_counter() - started
                run.log({"step": step, "epoch": epoch + 1, **row}, seconds)
                show(run.history[-1], size, seconds)
                stop = asked()
                if stop or step == last or time.monotonic() - saved > SAVE_EVERY:
                    run.save(model, optimizer, order)
                    saved = time.monotonic()
                if stop:
                    where = f"saved at step {step}; go on with --resume {run.folder}"
                    raise KeyboardInterrupt(where)


def _stream(data: Any, size: int, seed: int, done: int) -> Iterator[tuple[int, int, Any]]:
    """The batches after the first ``done``, each with its epoch and its size, without end."""
    of = getattr(data, "batches", None) or functools.partial(batches, data)
    while True:
        epoch, start = divmod(done, math.ceil(len(data) / size))
        for number, batch in enumerate(of(size, seed=seed, epoch=epoch, start=start), start):
            yield epoch, min(size, len(data) - number * size), batch
            done += 1
        if missing := -done % math.ceil(len(data) / size):
            raise ValueError(f"batches() of {len(data)} {getattr(data, 'unit', 'examples')} gave"
                             f" {missing} batches of {size} too few")


def _step(
    model: Any, optimizer: Optimizer, clip: float | None
) -> Callable[[Any], tuple[Any, dict[str, Any]]]:
    """The step that is taken with each batch: on a GPU as one graph, where that can be."""

    def step(batch: Any) -> tuple[Any, dict[str, Any]]:
        loss, figures = model.loss(*batch) if type(batch) is tuple else model.loss(batch)
        bad, what = ~xp.isfinite(loss.data), "the loss is not finite"
        check(bad, FloatingPointError, what, lambda: f"the loss is {loss.item()}")
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            clip_grad_norm(model.parameters(), clip)
        optimizer.step()
        return loss.detach(), figures

    if xp is numpy or kernels.by_definition("nearest"):
        return step
    graph, made_of, able = step, (), True

    def take(batch: Any) -> tuple[Any, dict[str, Any]]:
        nonlocal graph, made_of, able
        if not isinstance(batch, xp.ndarray):  # sequences, as long as they happen to be
            return step(batch)
        if able and (now := _settings(model)) != made_of:  # which a replay would not look at
            graph, made_of = capture(step), now
        try:
            return graph(batch)
        except CaptureError as error:
            warnings.warn(f"steps are launched kernel by kernel: {error}", RuntimeWarning, 3)
            graph, able = step, False
            return step(batch)

    return take


def _settings(model: Any) -> tuple[Any, ...]:
    """What Python decides by in a model: the plain values in its Modules, and what is trained."""
    plain = [
        (name, key, value) for name, module in model.named_modules()
        for key, value in vars(module).items() if isinstance(value, (bool, int, float, str))
    ]  # fmt: skip
    return *plain, *(name for name, _ in model.named_parameters())


def _taken(take: Callable[..., Any], batch: Any, step: int, saved: int) -> dict[str, Any]:
    """What a step reports, as numbers."""
    try:
        loss, figures = take(batch)
        arrays = {name: x for name, x in figures.items() if hasattr(x, "shape")}
        found = fetch(loss, *arrays.values())
    except FloatingPointError as error:
        raise FloatingPointError(
            f"{error}, at step {step}: lower the learning rate, or find the first NaN with --debug;"
            + (f" the checkpoint is of step {saved}" if saved else " there is no checkpoint yet")
        ) from error
    if taken := figures.keys() & {"step", "epoch", "loss"}:
        raise ValueError(f"a model reports {', '.join(sorted(taken))}, which the loop does itself")
    numbers = [x.item() if x.size == 1 else x for x in found]
    return {"loss": numbers[0], **figures, **dict(zip(arrays, numbers[1:]))}


# --- Progress: show(row, examples, seconds) after each step -------------------------------------


def progress(done: int, last: int, out: TextIO, unit: str = "images") -> Any:
    """A tqdm bar on a terminal, where tqdm is installed; else now and then a line on ``out``.

    A context manager: what it gives is called as ``show(row, examples, seconds)`` after each of the
    steps from ``done`` to ``last``; examples are called by their ``unit``.
    """
    terminal = out is not None and out.isatty()  # None: a process without standard output
    bar = terminal and importlib.util.find_spec("tqdm")
    return (_bar if bar else _lines)(done, last, out, unit)


@contextmanager
def _bar(done: int, last: int, out: TextIO, unit: str) -> Iterator[Any]:
    from tqdm import tqdm

    pace: list[tuple[int, float]] = []
    style = "{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
    with tqdm(total=last, initial=done, file=out, dynamic_ncols=True, bar_format=style) as bar:

        def show(row: Mapping[str, Any], examples: int, seconds: float) -> None:
            pace.append((examples, seconds))
            bar.set_postfix_str(_summary(row, pace[-20:], unit), refresh=False)
            bar.update()

        yield show


@contextmanager
def _lines(done: int, last: int, out: TextIO, unit: str) -> Iterator[Any]:
    pace: list[tuple[int, float]] = []
    shown = -math.inf

    def show(row: Mapping[str, Any], examples: int, seconds: float) -> None:
        nonlocal shown
        pace.append((examples, seconds))
        if time.monotonic() - shown > 5 or row["step"] == last:
            shown = time.monotonic()
            where = f"step {row['step']}/{last}  epoch {row['epoch']}"
            print(f"{where}  {_summary(row, pace[-20:], unit)}", file=out, flush=True)

    yield show


def _summary(row: Mapping[str, Any], pace: list[tuple[int, float]], unit: str) -> str:
    """The loss, what is known of the codes, and the speed: examples and seconds of some steps."""
    examples, seconds = map(sum, zip(*pace))
    parts = [f"loss {row['loss']:.5f}"]
    if "perplexity" in row:
        parts.append(f"perplexity {row['perplexity']:.3g}")
    if "active_codes" in row:
        parts.append(f"codes {row['active_codes']}")
    return "  ".join([*parts, f"{examples / max(seconds, 1e-9):.0f} {unit}/s"])


# --- Ctrl-C --------------------------------------------------------------------------------------


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C was pressed: the step ends first. Twice stops at once.

    Nothing changes in a thread, to which no signals come, or where the process ignores Ctrl-C.
    """
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:  # after the last time that anybody looked
        raise KeyboardInterrupt
