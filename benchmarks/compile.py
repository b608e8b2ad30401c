"""Compilation

    python benchmarks/compile.py

All kernels that the example needs: one training step of the VQ-VAE and one evaluation, in a fresh
process, with an empty cache and with the cache that it leaves. The first line is the time of the
two, Numba's import included; the second what of it Numba spent compiling.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

from harness import arguments, publish, table

WORK = """
import json, time
import numpy as np
import minae
from minae.models import VQVAE
from minae.optim import Adam

images = np.random.default_rng(0).random((128, 28, 28, 1), dtype="float32")
model = VQVAE()
optimizer = Adam(model.parameters(), 1e-3)
start = time.perf_counter()
from numba.core import event

with event.install_recorder("numba:compile") as recorder:
    loss, _ = model.loss(images)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval().evaluate(images)
total = time.perf_counter() - start
depth, compiling, compiled = 0, 0.0, 0  # a kernel compiles what it calls: count the outermost
for when, each in recorder.buffer:
    depth += 1 if each.is_start else -1
    if each.is_start and depth == 1:
        begin, compiled = when, compiled + 1
    elif each.is_end and depth == 0:
        compiling += when - begin
print(json.dumps([total, compiling, compiled]))
"""
LABELS = ("a step and an evaluation, s", "compiling, s", "kernels compiled")


def main():
    options = arguments(__doc__, rounds=5).parse_args()
    figures = {label: {"empty cache": [], "full cache": []} for label in LABELS}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("empty cache", "full cache"):
                for label, value in zip(LABELS, measured(cache)):
                    figures[label][state].append(round(value, 4))
    publish(options, figures, tables)


def measured(cache):
    environment = os.environ | {"MINAE_CACHE": cache, "MINAE_KERNELS": "fast"}
    environment.pop("NUMBA_CACHE_DIR", None)  # it would come before
    command = [sys.executable, "-c", WORK]
    return json.loads(subprocess.run(
        command, env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout)  # fmt: skip


def tables(figures):
    states = list(figures[LABELS[0]])
    rows = [[label, *(f"{statistics.median(row[s]):.3g}" for s in states)]
            for label, row in figures.items()]
    return table(["", *states], rows)


if __name__ == "__main__":
    main()
