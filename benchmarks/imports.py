"""What ``import minae`` costs over ``import numpy``, in whole processes.

    python benchmarks/imports.py

Twenty processes of each, alternating, after one of each that compiles to byte code and warms the
file cache. Inside the clock: everything from the start of the interpreter to its end.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 20
LOADED = "import json, sys, minae; print(json.dumps([m.split('.')[0] for m in sys.modules]))"


def seconds(code: str, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        compare(os.environ | {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""})


def compare(environment: dict[str, str]) -> None:
    times: dict[str, list[float]] = {"import numpy": [], "import minae": []}
    for run in range(RUNS + 1):
        for code in times:
            elapsed = seconds(code, environment)
            if run:
                times[code].append(elapsed)
    for code, measured in times.items():
        print(f"{code}: median {statistics.median(measured) * 1e3:.1f} ms, "
              f"{min(measured) * 1e3:.1f} to {max(measured) * 1e3:.1f}")
    ratios = [a / b for a, b in zip(times["import minae"], times["import numpy"], strict=True)]
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    print(f"minae / numpy: {middle:.3f} ({low:.3f} to {high:.3f})")
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", LOADED], text=True))
    heavy = {"numba", "cupy", "scipy", "torch"} & set(loaded)
    print(f"loaded besides NumPy, of numba, cupy, scipy, torch: {sorted(heavy) or 'none'}")


if __name__ == "__main__":
    main()
