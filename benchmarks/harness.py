"""How the benchmarks measure: each contender in its own process, taking turns, round after round.

A script defines one function for each contender, which prepares its work and returns
{name of the work: a function to time}, and a function ``tables`` that makes Markdown of the
figures. ``main`` runs the script again as ``--worker NAME``, once a round for each contender; the
workers then do each work in turn, so that what else the machine does falls on all alike.

Figures are {work: {contender: [one number for each round]}}. Ratios are the peer's over ours in the
same round: above 1, ours is faster.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Work = dict[str, Callable[[], object]]
Figures = dict[str, dict[str, list[float]]]
Tables = Callable[[Figures], str]
PACKAGES = ("numpy", "numba", "torch", "faiss-cpu", "scikit-learn", "tokenizers")
PAUSE = 0.2  # seconds, for the threads of the worker before to fall asleep


# --- Measuring ------------------------------------------------------------------------------------


def seconds(function: Callable[[], object], target: float) -> float:
    """The time of one call: the best of five batches that last ``target`` seconds together; of
    fewer where calls are long, and one call where it is longer than the target."""

    def batch(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            function()
        return (time.perf_counter() - start) / count

    function()
    once = batch(1)
    count = max(1, int(target / 5 / once))
    return min([batch(count) for _ in range(min(5, int(target / once)))], default=once)


def main(
    description: str, contenders: dict[str, Callable[[], Work]], tables: Tables, threads: int = 2,
    measure: Callable[[Callable[[], object], float], float] = seconds,
) -> None:
    """Measure the contenders, print the tables, write ``--json FILE``.

    A contender that raises ImportError is left out.
    """
    parser = arguments(description)
    parser.add_argument("--target", type=float, default=1.0, help="seconds for each measurement")
    parser.add_argument("--only", default="", help="only the works whose names hold this")
    parser.add_argument("--worker", choices=contenders, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return _serve(contenders[options.worker], measure, options.target)
    figures: Figures = {}
    for number in range(options.rounds):
        with ExitStack() as stack:
            workers = {}
            for name in contenders:  # one after the other: preparing is work too
                workers[name] = stack.enter_context(_worker(name, threads, options.target))
                workers[name].work = _answer(workers[name])
            for work in dict.fromkeys(w for worker in workers.values() for w in worker.work):
                for name, worker in workers.items():
                    if work in worker.work and options.only in work:
                        time.sleep(PAUSE)
                        worker.stdin.write(work + "\n")
                        times = figures.setdefault(work, {}).setdefault(name, [])
                        times.append(float(f"{_answer(worker):.5g}"))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    publish(options, figures, tables)


def _worker(name: str, threads: int, target: float) -> subprocess.Popen:
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return subprocess.Popen(
        [sys.executable, sys.argv[0], "--worker", name, "--target", str(target)],
        env=os.environ | dict.fromkeys(limits, str(threads)), text=True, bufsize=1,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )


def _serve(contender, measure, target) -> None:
    """Answer with the names of the work, and then with the figure of each that is asked for."""
    try:
        work = contender()
    except ImportError as error:
        print(f"left out: {error}", file=sys.stderr)
        work = {}
    print(json.dumps(list(work)), flush=True)
    for name in sys.stdin:
        print(json.dumps(measure(work[name.rstrip("\n")], target)), flush=True)


def _answer(worker: subprocess.Popen):
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"a worker died: {worker.args}")
    return json.loads(line)


def arguments(description: str, rounds: int = 7) -> argparse.ArgumentParser:
    """The options that every script has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="processes of each contender")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


def publish(options: argparse.Namespace, figures: Figures, tables: Tables) -> None:
    """Print the tables of a run, and write ``--json FILE``, which report.py reads."""
    found, busy = machine(), others()
    print(f"{describe(found)} {taken(busy)}\n\n{tables(figures)}")
    if options.json:
        write(options.json, found, busy, figures)


def write(path: Path, machine: dict[str, object], busy: float | None, figures: Figures) -> None:
    """The figures of this command, for report.py."""
    script = Path(sys.argv[0]).stem
    given = [w for w in sys.argv[1:] if not w.startswith("--json") and w != str(path)]
    command = shlex.join(["python", f"benchmarks/{script}.py", *given])
    result = {"script": script, "command": command, "machine": machine, "others": busy}
    head = json.dumps(result, indent=1)
    lines = [f"  {json.dumps(work)}: {json.dumps(row)}" for work, row in figures.items()]
    text = f'{head[:-2]},\n "figures": {{\n' + ",\n".join(lines) + "\n }\n}\n"
    path.write_text(text, encoding="utf-8")


# --- The machine ----------------------------------------------------------------------------------


def machine() -> dict[str, object]:
    """What a figure belongs to: processor, cores, the instructions of the tile, versions."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(), "architecture": platform.machine(), "cores": os.cpu_count(),
        "tile": _tile(), "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _tile() -> str:
    """The instruction set that the register tile of the kernels uses."""
    try:
        from minae.kernels import vectors
    except Exception:  # whatever keeps Numba from working here
        return "none"
    return {64: "AVX-512", 32: "AVX2", 16: "NEON"}[vectors.WIDTH]


def _spent() -> tuple[float, float]:
    """The clock, and the seconds that processors have worked for other processes, or waited for
    other guests of their host; NaN where the system does not say."""
    try:
        line = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0]
    except OSError:
        return time.perf_counter(), math.nan
    user, nice, system, _, _, *rest = [int(n) for n in line.split()[1:9]]
    busy = sum([user, nice, system, *rest]) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), busy - sum(os.times()[:4])


_start = _spent()


def others() -> float | None:
    """The share of the processors that other processes took during this run."""
    (begin, before), (end, after) = _start, _spent()
    share = (after - before) / (end - begin) / (os.cpu_count() or 1)
    return None if math.isnan(share) else round(max(share, 0), 3)


def describe(machine: dict) -> str:
    """The machine in one sentence."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    card = f"{machine['gpu']}; " if "gpu" in machine else ""
    return (f"{card}{machine['processor']} ({machine['architecture']}), {machine['cores']} cores,"
            f" register tile in {machine['tile']}; {versions}.")


def taken(others: float | None) -> str:
    """What a run had to share."""
    return "" if others is None else f"Meanwhile other processes took {others:.0%} of the machine."


# --- Tables ---------------------------------------------------------------------------------------


def fastest(row: dict[str, list[float]], peers: Iterable[str]) -> list[float]:
    """In each round, the time of the fastest of the peers that took part."""
    return [min(times) for times in zip(*(row[peer] for peer in peers if peer in row))]


def over(peer: Iterable[float], ours: Iterable[float]) -> list[float]:
    """Peer / ours in each round: above 1, ours is faster."""
    return [p / o for p, o in zip(peer, ours)]


def geometric(rows: Iterable[list[float]]) -> list[float]:
    """The geometric mean of several ratios in each round."""
    return [math.prod(values) ** (1 / len(values)) for values in zip(*rows)]


def spread(values: list[float]) -> str:
    """Median (lowest to highest)."""
    if not values:
        return ""
    low, middle, high = min(values), statistics.median(values), max(values)
    digits = 2 if middle < 10 else 1 if middle < 100 else 0
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def duration(times: list[float]) -> str:
    """The median of the times, in the unit that suits it."""
    if not times:
        return ""
    middle = statistics.median(times)
    scale, unit = next((s, u) for s, u in ((1, "s"), (1e3, "ms"), (1e6, "µs"))
                       if middle * s >= 1 or u == "µs")
    digits = max(0, 2 - int(math.log10(max(middle * scale, 1))))
    return f"{middle * scale:.{digits}f} {unit}"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def compared(figures: Figures, ours: str, first: str = "work") -> str:
    """A row for each work that is ours: our time, and every contender's over ours."""
    peers = list(dict.fromkeys(n for row in figures.values() for n in row if n != ours))
    rows = [
        [work, duration(row[ours]), *(spread(over(row.get(peer, []), row[ours])) for peer in peers)]
        for work, row in figures.items() if ours in row
    ]  # fmt: skip
    return table([first, ours, *(f"{peer} / {ours}" for peer in peers)], rows)
