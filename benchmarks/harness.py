"""How the benchmarks measure: each contender in its own process, rounds alternating.

A benchmark script defines one function for each contender, which prepares its work and returns
{label: a function to time}. ``main`` runs the script again as ``--worker NAME`` for each of them in
turn, round after round, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

Contender = Callable[[], dict[str, Callable[[], object]]]


def seconds(function: Callable[[], object], target: float) -> float:
    """The time of one call: the best of five batches that last ``target`` seconds together."""
    function()
    start = time.perf_counter()
    function()
    count = max(1, int(target / 5 / max(time.perf_counter() - start, 1e-9)))
    batches = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(count):
            function()
        batches.append((time.perf_counter() - start) / count)
    return min(batches)


def main(description: str, ours: str, threads: int, contenders: dict[str, Contender]) -> None:
    """Measure the contenders, print a table of medians and ratios, write ``--json FILE``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=7, help="processes of each contender")
    parser.add_argument("--target", type=float, default=1.0, help="seconds for each measurement")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--worker", choices=contenders, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work = contenders[options.worker]()
        print(json.dumps({label: seconds(f, options.target) for label, f in work.items()}))
        return
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for number in range(options.rounds):
        for name in list(rounds):
            figures = _worker(name, threads, options.target)
            if figures is None:
                print(f"{name} cannot run here: left out", file=sys.stderr)
                del rounds[name]
            else:
                rounds[name].append(figures)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    report = _report(ours, rounds)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": report}, indent=1))


def _worker(name: str, threads: int, target: float) -> dict[str, float] | None:
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    command = [sys.executable, sys.argv[0], "--worker", name, "--target", str(target)]
    environment = os.environ | dict.fromkeys(limits, str(threads))
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode and "ModuleNotFoundError" not in done.stderr:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout) if done.returncode == 0 else None


def _report(ours: str, rounds: dict[str, list[dict[str, float]]]) -> list[dict]:
    """One row for each label and contender: median time, and our time over theirs by rounds."""
    rows = []
    print(f"{machine()}\n\n{'work':<34} {'contender':<16} {'median':>12}   {ours} / contender")
    for label in rounds[ours][0]:
        for name, runs in rounds.items():
            if label not in runs[0]:
                continue
            median = statistics.median(run[label] for run in runs)
            ratios = sorted(a[label] / b[label] for a, b in zip(rounds[ours], runs, strict=True))
            ratio = statistics.median(ratios)
            rows.append({"work": label, "contender": name, "seconds": median, "ratio": ratio,
                         "ratio_low": ratios[0], "ratio_high": ratios[-1]})
            spread = "" if name == ours else f"{ratio:.3f}  ({ratios[0]:.3f} to {ratios[-1]:.3f})"
            print(f"{label:<34} {name:<16} {median * 1e6:>9.2f} us   {spread}")
    return rows


def machine() -> str:
    """Processor, cores and versions: what a figure belongs to."""
    from importlib.metadata import PackageNotFoundError, version

    found = [f"Python {platform.python_version()}"]
    for package in ("numpy", "torch"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"{platform.machine()}, {os.cpu_count()} cores, {', '.join(found)}"
