"""The memory of that step

    python benchmarks/memory.py

The highest resident size during the fifth step, over the resident size before the first, when model
and optimizer are built, in MB; each measured in a fresh process, on Linux. Numba and the compiled
kernels are loaded when a kernel first runs, in the first step, and count; "kernels loaded" has them
loaded before it (`minae.kernels.warm_up`). What PyTorch needs is loaded when it is imported.
"""

import re
import statistics
from pathlib import Path

import step
from harness import main, over, spread, table

PROCESS = Path("/proc/self")


def resident(field):
    """VmRSS, the resident size, or VmHWM, the highest it was; in MB."""
    status = (PROCESS / "status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024 / 1e6


def peak(work, target):
    before = resident("VmRSS")
    for _ in range(4):
        work()
    (PROCESS / "clear_refs").write_text("5")  # forget the highest size
    work()
    return resident("VmHWM") - before


def loaded():
    from minae.kernels import warm_up

    work = step.minae()
    warm_up(["float32"])
    return work


CONTENDERS = {
    "minae": step.minae, "minae, kernels loaded": loaded, "minae without Numba": step.reference,
    **{name: step.CONTENDERS[name] for name in ("torch", "torch, channels last")},
}


def tables(figures):
    (row,) = figures.values()
    ours = list(CONTENDERS)[:3]
    rows = [
        [name, f"{statistics.median(row[name]):.0f}",
         *("" if name == other else spread(over(row[name], row[other])) for other in ours)]
        for name in CONTENDERS if name in row
    ]
    return table(["", "MB", *(f"/ {other}" for other in ours)], rows)


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables, measure=peak)
