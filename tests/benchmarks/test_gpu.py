"""benchmarks/gpu.py without a GPU: what it covers, what it finds, and all of it on the stand-in."""

import inspect
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minae
from minae import kernels, nn
from minae.engine import OPS

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import gpu  # noqa: E402
import gpu_cases  # noqa: E402

# What has no results of its own to compare.
APART = {"Tensor", "__version__", "capture", "debug", "elementwise", "from_dlpack", "grad",
         "no_grad", "primitive", "seed", "tensor", "xp"}  # fmt: skip
NO_KERNELS = {"Unavailable", "by_definition", "form", "warm_up"}
NO_KERNELS |= {"learn_merges", "merge", "rank_merges"}  # of the host alone
CONSTANT = {"functions: causal_mask", "functions: one_hot", "ops: best_parts"}


def covered(kind):
    return {name.partition(",")[0] for name in gpu_cases.KINDS[kind]}


def test_no_op_function_layer_or_kernel_is_missing():
    ops = {name for name, op in OPS.items() if op.forward.__module__.startswith("minae.")}
    assert covered("ops") == ops
    assert covered("ops") | covered("functions") == (ops | set(minae.__all__)) - APART
    functions = {name for name in minae.__all__ if inspect.isfunction(f := getattr(minae, name))
                 and f.__module__.startswith("minae.functional.")}  # fmt: skip
    assert covered("functions") == functions | {"reverse_gradient"}
    assert covered("layers") - {"VectorQuantizer", "VectorQuantizerEMA"} == {*nn.__all__} - {
        "Module"}  # fmt: skip
    assert covered("kernels") == set(kernels.__all__) - NO_KERNELS


@pytest.mark.parametrize("case", gpu_cases.names())
def test_every_case_has_results_and_gradients(case):
    found = gpu_cases.results(case)
    assert all(type(x) is np.ndarray for x in found)
    assert len(found) > 1 or case in CONSTANT or case.startswith("kernels")
    if "masked" not in case:
        assert all(np.isfinite(x).all() for x in found)


@pytest.fixture
def saved(tmp_path):
    def saved(name, *arrays):
        np.savez(tmp_path / name, *arrays)
        return tmp_path / f"{name}.npz"

    return saved


ONES = np.ones(3, "float32")
LARGE = np.array([1e4, -2e4, np.nan], "float32")


@pytest.mark.parametrize(("ours", "theirs", "apart"), [
    ([ONES], [ONES], 0), ([LARGE], [LARGE], 0),
    ([ONES, ONES], [ONES, ONES + np.float32(2**-10)], 2**-10),
    ([LARGE], [LARGE + np.float32(1)], 1 / 2e4),
    ([LARGE], [np.where(LARGE > 0, np.nan, LARGE)], math.inf),
    ([LARGE], [np.nan_to_num(LARGE)], math.inf),
    ([ONES], [ONES * np.inf], math.inf),
    ([ONES], [ONES.astype("float64")], math.inf), ([ONES], [ONES[:2]], math.inf),
    ([ONES], [ONES, ONES], math.inf), ([np.arange(9**6)], [np.arange(9**6) ^ 1], math.inf),
])  # fmt: skip
def test_a_difference_is_relative_to_the_largest_entry(ours, theirs, apart, saved):
    assert gpu.difference(saved("ours", *ours), saved("theirs", *theirs)) == pytest.approx(apart)


def test_what_has_no_result_does_not_agree(tmp_path, saved, capsys):
    run = SimpleNamespace(figures={})
    for name, x in {"numpy-0": 1, "cupy-0": 1, "numpy-1": 1, "numpy-2": 1, "cupy-2": 2}.items():
        saved(name, np.float32(x))
    (tmp_path / "cupy-1.txt").write_text("OSError: the card is gone")
    gpu.compare(run, tmp_path, ["ops: a", "ops: b", "layers: c", "layers: d"])
    assert run.figures == {
        "agreement: ops": {"worst": [math.inf], "cases": [2], "beyond": [1]},
        "agreement: layers": {"worst": [math.inf], "cases": [2], "beyond": [2]},
    }
    assert capsys.readouterr().out.splitlines() == [
        "  ops: b: OSError: the card is gone", "  layers: c: 1", "  layers: d: inf"]  # fmt: skip
    assert "**FAIL**" in gpu.verdicts(run.figures)


FIRST = "nearest, noise 1000000x64x8192"
PAIR = ("minae, captured", "torch")


@pytest.mark.parametrize(("name", "row", "verdict"), [
    ("agreement: ops", {"worst": [1e-5], "cases": [3]}, "3 cases, the worst 1.0e-05 | PASS"),
    ("agreement: ops", {"worst": [1.1e-5], "cases": [3]}, "3 cases, the worst 1.1e-05 | **FAIL**"),
    ("mnist: test MSE", {"GPU": [0.01019], "CPU": [0.01]}, "0.01019, on the CPU 0.01000 | PASS"),
    ("mnist: test MSE", {"GPU": [0.00979], "CPU": [0.01]}, "0.01000 | **FAIL**"),
    ("mnist: test MSE", {"GPU": [0.01]}, "within 2 % | not measured | "),
    ("nearest, near 3x2x1", {"minae": [9], "wrong codes": [0]}, "of 1 searches | PASS"),
    ("nearest, near 3x2x1", {"minae": [9], "wrong codes": [1]}, "1 searches | **FAIL**"),
    (FIRST, {"minae": [0.003, 0.004, 0.009], "wrong codes": [0]}, "4 ms | 4.00 ms | PASS"),
    (FIRST, {"minae": [0.003, 0.0041, 0.009], "wrong codes": [0]}, "4 ms | 4.10 ms | **FAIL**"),
    ("step, batch 1024", dict(zip(PAIR, ([1, 2], [2, 4]))), "0.50 (0.50 to 0.50) of it | PASS"),
    ("step, batch 1024", dict(zip(PAIR, ([1, 2], [2, 3.9]))), "of it | **FAIL**"),
    ("memory, batch 128", dict(zip(PAIR, ([3e6], [3e6]))), "3 MB of 3 MB | PASS"),
    ("memory, batch 128", dict(zip(PAIR, ([4e6], [3e6]))), "4 MB of 3 MB | **FAIL**"),
])  # fmt: skip
def test_a_claim_holds_up_to_its_bound(name, row, verdict):
    assert f"{verdict} |" in gpu.verdicts({name: row})


@pytest.mark.parametrize(("wrong", "status"), [(0, 0), (1, 1)])
def test_a_claim_that_does_not_hold_is_the_exit_status(wrong, status, monkeypatch, capsys):
    def search(run):
        run.figures["nearest, near 3x2x1"] = {"minae": [1], "wrong codes": [wrong]}

    monkeypatch.setattr(gpu, "STAGES", {"machine": lambda run: None, "nearest": search})
    monkeypatch.setattr(gpu, "unusable", lambda: None)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setenv("MINAE_BACKEND", "numpy")
    assert gpu.main() == status
    assert f"{wrong} wrong codes" in capsys.readouterr().out


def test_a_stage_that_fails_stops_no_other(monkeypatch, capsys):
    done = []
    stages = {"machine": lambda run: 1 / 0, "nearest": done.append}
    monkeypatch.setattr(gpu, "STAGES", stages)
    monkeypatch.setattr(gpu, "unusable", lambda: None)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setenv("MINAE_BACKEND", "numpy")
    assert gpu.main() == 1 and done
    assert "FAILED: ZeroDivisionError" in capsys.readouterr().out


def test_a_worker_that_dies_or_is_late_says_so():
    run = SimpleNamespace(small=False, flags=[], end=time.perf_counter() + 100)
    with gpu.Worker(run, "loom", limit=60) as worker:
        worker.ask()
        with pytest.raises(gpu.Failed, match="KeyError: 'loom'"):
            worker.answer()
    with gpu.Worker(run, "machine", limit=0.01) as worker:
        worker.ask()
        with pytest.raises(gpu.Late, match="machine: no answer in 0 s"):
            worker.answer()
    run.end = 0  # nothing is left of the time for all
    with gpu.Worker(run, "machine", limit=60) as worker:
        worker.ask()
        with pytest.raises(gpu.Late):
            worker.answer()


def script(*arguments, **environment):
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "tests" / "standin", ROOT)))}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py", "--small", *map(str, arguments)],
        env=os.environ | paths | threads | environment, capture_output=True, text=True,
    )  # fmt: skip


def test_the_whole_script_runs_on_the_stand_in(tmp_path):
    path = tmp_path / "gpu.json"
    done = script("--json", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout and "Traceback" not in done.stdout + done.stderr
    result = json.loads(path.read_text(encoding="utf-8"))
    figures = result["figures"]
    assert sum(row["cases"][0] for row in figures.values() if "cases" in row) == len(
        gpu_cases.names())  # fmt: skip
    assert figures["mnist: test MSE"].keys() == {"GPU", "CPU"}
    assert all(figures[gpu.work(*case)]["wrong codes"] == [0] for case in gpu.searches(True))
    assert len(figures["step, batch 16"]["minae, eager"]) == 2
    assert figures["memory, batch 16"]["minae, eager"][0] > 1e6
    assert result["machine"]["gpu"].startswith("stand-in")
    assert gpu.tables(figures).count("PASS") == done.stdout.count("PASS") == 3
    try:
        import torch  # noqa: F401
    except ImportError:
        assert "left out: nearest torch: PyTorch cannot be imported" in done.stdout
    else:
        assert len(figures["step, batch 16"]["torch"]) == 2
        assert "torch.addmm" in figures[gpu.work(*gpu.searches(True)[0])]


def test_without_a_device_one_line_says_so():
    done = script("--only", "nearest", CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no CUDA device can be used" in done.stderr and done.stderr.count("\n") == 1
