"""What the commands in ``examples/`` have in common: options, errors and exit codes.

0 is success, 2 the user's error, said in one line, and 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .debugging import debug
from .train import Run


def parser(description: str, *, epochs: int, batch_size: int, lr: float) -> argparse.ArgumentParser:
    """The options of every training command, with its own defaults."""
    p = argparse.ArgumentParser(description=description, formatter_class=_Help)
    p.add_argument("--epochs", type=positive(int), default=epochs, help="passes over the data")
    p.add_argument("--batch-size", type=positive(int), default=batch_size, metavar="N")
    p.add_argument("--lr", type=positive(float), default=lr, help="learning rate")
    p.add_argument("--seed", type=natural, default=0, help="same seed, same run")
    p.add_argument("--data-dir", type=Path, help="the folder that holds the data files")
    p.add_argument("--out", type=Path, help="the run folder; by default a new one under runs/")
    p.add_argument("--resume", type=Path, metavar="RUN", help="go on with this run folder")
    p.add_argument("--dry-run", action="store_true", help="a few steps, to see whether all works")
    p.add_argument("--json", action="store_true", help="print the metrics, and nothing else, as"
                   " JSON to standard output")
    p.add_argument("--debug", action="store_true", help="find the first NaN; show tracebacks")
    return p


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and the description as it was written."""


def positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argument type: a finite number above 0."""

    def convert(text: str) -> Any:
        number = kind(text)
        if not 0 < number < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return number

    convert.__name__ = kind.__name__
    return convert


def natural(text: str) -> int:
    """An argument type: 0, 1, 2, ..."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


def new_folder(name: str) -> Path:
    """``runs/name``, or ``runs/name-2`` and so on where that is taken."""
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def resumed(options: argparse.Namespace, p: argparse.ArgumentParser) -> argparse.Namespace:
    """With ``--resume``, the options that the run was started with; ``--epochs`` may be new.

    Raises ValueError where another option on the command line differs from the run's, and what
    ``Run.open`` raises.
    """
    if options.out:
        raise ValueError("--resume goes on in its own folder: leave out --out")
    started = Run.open(options.resume).config["options"]
    p.set_defaults(**started)
    merged = p.parse_args()
    for name, value in started.items():
        if name != "epochs" and getattr(merged, name) != value:
            flag = name.replace("_", "-")
            raise ValueError(f"{options.resume} was started with --{flag} {value}: leave it out, or"
                             " start another run")
    return merged


def run(main: Callable[[argparse.Namespace], None], p: argparse.ArgumentParser) -> int:
    """Parse the options and call ``main``; returns the exit code.

    The user's errors become one line, unless ``--debug`` asks for tracebacks.
    """
    options = p.parse_args()
    try:
        if options.resume:
            options = resumed(options, p)
        if options.debug:
            with debug():
                main(options)
        else:
            main(options)
    except KeyboardInterrupt as stop:
        print(f"\nstopped{f': {stop}' if str(stop) else ''}", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError, ImportError, MemoryError) as error:
        if options.debug:
            raise
        what = str(error) or type(error).__name__
        print(f"error: {what} (--debug shows where)", file=sys.stderr)
        return 2
    return 0
