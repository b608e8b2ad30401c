"""Programs that tests start in a process of their own, and what these report."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_path(*folders):
    """PYTHONPATH with these first; what stands in it, as a stand-in for CuPy, stays."""
    return os.pathsep.join(filter(None, [*map(str, folders), os.environ.get("PYTHONPATH")]))


def start(program, root=ROOT, **environment):
    """Run a program in a fresh process, where a value None takes a variable away."""
    chosen = {"MINAE_KERNELS": None, "NUMBA_CACHE_DIR": None, "PYTHONWARNINGS": None,
              "PYTHONPATH": python_path(root), "MINAE_THREADS": 2, **environment}  # fmt: skip
    given = {**os.environ, **chosen}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, cwd=root,
        env={k: str(v) for k, v in given.items() if v is not None},
    )


def run(program, root=ROOT, **environment):
    done = start(program, root, **environment)
    assert done.returncode == 0, done.stderr
    return done


# What each process computes, on integers, so that every form gives the same bits. It reports what
# was right and what was warned of.
HEAD = """
import json, warnings
import numpy as np
warnings.simplefilter("always")
caught = []
warnings.showwarning = lambda message, kind, *where: caught.append([kind.__name__, str(message)])
from minae import kernels
from minae.kernels import reference

def report(**more):
    print(json.dumps({"fell": bool(kernels._fallen), "warnings": caught, **more}))

def right(name, *args, **options):
    found, want = (getattr(m, name)(*args, **options) for m in (kernels, reference))
    pairs = zip(found, want) if type(want) is tuple else [(found, want)]
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)

rng = np.random.default_rng(0)
integers = lambda *shape: rng.integers(-9, 10, shape).astype("f4")
"""


def check(done, *messages, fell=False):
    """All is right, with these warnings and no others."""
    report = json.loads(done.stdout)
    assert all(report["right"]) and report["fell"] == fell, report
    assert [kind for kind, _ in report["warnings"]] == ["RuntimeWarning"] * len(messages), report
    for message, (_, text) in zip(messages, report["warnings"], strict=True):
        assert message in text
