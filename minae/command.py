"""What the commands in ``examples/`` have in common: options, errors and exit codes.

0 is success, 2 the user's error, said in one line, 130 Ctrl-C, 141 a reader that has gone.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .debugging import debug
from .io import FormatError
from .run import Run

KEPT = ("epochs", "batch_size", "lr", "seed", "data_dir", "dry_run")  # what a resumed run needs


def parser(description: str, *, epochs: int, batch_size: int, lr: float) -> argparse.ArgumentParser:
    """The options of every training command, with its own defaults: ``epochs``, ``batch_size``,
    ``lr``. The ``description`` stands in its ``--help``."""
    p = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = p.add_argument
    add("--epochs", type=positive(int), default=epochs, metavar="N",
        help="passes over the data (%(default)s)")
    add("--batch-size", type=positive(int), default=batch_size, metavar="N",
        help="examples in each step (%(default)s)")
    add("--lr", type=positive(float), default=lr, metavar="X",
        help="learning rate of Adam (%(default)s)")
    add("--seed", type=natural, default=0, metavar="N", help="same seed, same run (%(default)s)")
    add("--data-dir", type=folder, metavar="DIR", help="the folder that holds the data files")
    add("--out", type=folder, metavar="DIR", help="the run folder (a new one under runs/)")
    add("--resume", type=folder, metavar="DIR", help="go on with this run; --epochs may grow")
    add("--dry-run", action="store_true", help="a few steps, to see whether all works")
    add("--json", action="store_true", help="print the metrics to standard output as JSON, and all"
        " else to standard error")
    add("--debug", action="store_true", help="find the first NaN (slower); show tracebacks")
    return p


def positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argument type: a finite number above 0 of this ``kind``, ``int`` or ``float``."""

    def convert(text: str) -> Any:
        number = kind(text)
        if not 0 < number < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is no finite number above 0")
        return number

    convert.__name__ = kind.__name__
    return convert


def natural(text: str) -> int:
    """An argument type: the number 0, 1, 2, ... that ``text`` is."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


def folder(text: str) -> Path:
    """An argument type: the folder that ``text`` names; it need not be there."""
    if not text:
        raise argparse.ArgumentTypeError("the name of a folder is empty")
    return Path(text)


def new_folder(name: str) -> Path:
    """Make ``runs/name``, or ``runs/name-2`` and so on where that is taken."""
    Path("runs").mkdir(exist_ok=True)
    for number in itertools.count(1):
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        break
    return path


def begin(
    options: argparse.Namespace, own: Iterable[str], name: str, say: Callable[[str], Any],
    **config: Any,
) -> Run:
    """The run of a training command: a new one in ``runs/name``, or ``--out``; or that of
    ``--resume``, whose config is brought up to date. ``say`` gets a line on it.

    Its config is ``config`` and the ``options``: those of every command, and what the command adds
    of its ``own``; paths in full. Raises ValueError where a run that is resumed had another
    ``checksum`` in its config.
    """
    kept = {each: getattr(options, each) for each in (*KEPT, *own)}
    kept = {each: str(v.resolve()) if isinstance(v, Path) else v for each, v in kept.items()}
    if options.resume:
        run = Run.open(options.resume)
        before, now = run.config.get("checksum"), config.get("checksum")
        if before is not None and before != now:
            raise ValueError(f"{run.folder} was trained on other data than those that are here now:"
                             " give them as they were, or start a new run without --resume")
        run.config = {"options": kept, **config}
        if not (run.folder / "checkpoint.npz").exists():
            say("there is no checkpoint yet: the run begins anew")
    else:
        where = options.out or new_folder(name + "_dry" * options.dry_run)
        run = Run.create(where, {"options": kept, **config})
    say(f"run folder: {run.folder}")
    return run


def check_data(options: argparse.Namespace, name: str, cure: str) -> None:
    """Raises ValueError, with the ``cure``, where the run that the ``options`` resume learned from
    data of another ``name``; to be called before anything is made of these."""
    started = options.resume and Run.open(options.resume).config.get("data")
    if started and started != name:
        what = f"{options.resume} was trained on {started}, which is not at hand"
        raise ValueError(f"{what}: give {cure}")


def checksum(texts: Iterable[str]) -> int:
    """A number that tells these texts from others."""
    total = 0
    for text in texts:
        total = zlib.crc32(text.encode("utf-8", "surrogatepass") + b"\0", total)
    return total


def steps(options: argparse.Namespace, examples: int) -> int:
    """How many steps the ``options`` ask for, of so many ``examples``: 4 of a ``--dry-run``."""
    return 4 if options.dry_run else options.epochs * -(-examples // options.batch_size)


def resumed(options: argparse.Namespace, p: argparse.ArgumentParser) -> argparse.Namespace:
    """With ``--resume``, the options that the run was started with; ``--epochs`` may grow.

    ``options`` are those of the command line, which ``p`` has parsed. Raises ValueError where
    another option on the command line differs from the run's, FormatError where its config.json is
    not of such a command, and what ``Run.open`` raises.
    """
    if options.out:
        raise ValueError("--resume goes on in its own folder: leave out --out")
    started = Run.open(options.resume).config.get("options")
    if not isinstance(started, dict) or not started.keys() <= vars(options).keys():
        raise FormatError(f"{options.resume / 'config.json'} was not written by this command")
    words = []
    for name, value in started.items():
        if value not in (None, False):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    before, merged = p.parse_args(words), p.parse_args([*words, *sys.argv[1:]])
    for name in started:
        old, new = getattr(before, name), getattr(merged, name)
        if name != "data_dir" and old != new and not (name == "epochs" and new > old):
            raise ValueError(f"{options.resume} has --{name.replace('_', '-')} {old}: leave it out,"
                             " or start another run")
    return merged


def run(main: Callable[[argparse.Namespace, Any], Any], p: argparse.ArgumentParser) -> int:
    """Parse the options by ``p``, and call ``main`` with them and the stream that it may print to;
    returns the exit code.

    With ``--json``, what ``main`` returns is printed to standard output, and it is to print to
    standard error. The user's errors become one line, unless ``--debug`` asks for tracebacks.
    """
    options = p.parse_args()
    out = sys.stderr if options.json else sys.stdout
    try:
        if options.resume:
            options = resumed(options, p)
        if options.debug:
            with debug():
                metrics = main(options, out)
        else:
            metrics = main(options, out)
        if options.json:
            print(json.dumps(metrics))
    except KeyboardInterrupt as stop:
        where = str(stop) or "--resume and the run folder go on from its last checkpoint, if any"
        print(f"\nstopped: {where}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, FloatingPointError, ImportError, MemoryError) as error:
        if options.debug:
            raise
        what = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            what += "; free some space, then go on with --resume"
        print(f"error: {what}", file=sys.stderr)
        return 2
    return 0
