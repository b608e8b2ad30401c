"""The benchmarks: every script takes --json, and report.py makes of the figures what they say."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import python_path

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "benchmarks"
PARTS = {"gpu_cases", "harness", "plots", "report", "twin"}
SCRIPTS = sorted({p.stem for p in FOLDER.glob("*.py")} - PARTS)
MACHINE = {
    "processor": "Abacus", "architecture": "wood", "cores": 2, "tile": "none",
    "versions": {"python": "3.11"},
}


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, FOLDER / f"{script}.py", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": python_path(ROOT)}, capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def write(tmp_path):
    """``write(script, figures)`` leaves results as a script does."""

    def write(script, figures, machine=MACHINE, others=0.03):
        command = f"python benchmarks/{script}.py --rounds 2"
        result = {"script": script, "command": command, "machine": machine, "others": others}
        text = json.dumps(result | {"figures": figures})
        (tmp_path / f"{script}.json").write_text(text, encoding="utf-8")

    return write


def report(folder):
    run("report", "--results", folder, "--output", folder / "REPORT.md")
    return (folder / "REPORT.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_takes_json(script):
    assert "--json" in run(script, "--help")


def test_a_run_writes_what_the_report_reads(tmp_path):
    path = tmp_path / "overhead.json"
    run("overhead", "--rounds", 2, "--target", 0.001, "--only", "backward", "--json", path)
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["command"].startswith("python benchmarks/overhead.py --rounds 2")
    assert "json" not in result["command"]
    (row,) = result["figures"].values()
    assert {"minae", "NumPy by hand"} <= set(row)
    assert all(len(times) == 2 and min(times) > 0 for times in row.values())
    text = report(tmp_path)
    assert result["command"] in text and "| 21 ops, forward and backward |" in text


def test_ratios_are_the_peer_over_ours(tmp_path, write):
    others = {"torch.cdist": [0.03, 0.2], "scikit-learn": [0.05, 0.1]}
    write("nearest", {
        "near 8x2x4": {"minae": [0.01, 0.02], "FAISS knn": [0.03, 0.04],
                       "FAISS IndexFlatL2": [0.02, 0.08], **others},
        "near 8x2x16": {"minae": [0.01, 0.02], "FAISS knn": [0.08, 0.16],
                        "FAISS IndexFlatL2": [0.09, 0.18], **others},
    })  # fmt: skip
    text = report(tmp_path)
    # In the first round 0.02 / 0.01 and in the second 0.04 / 0.02; of the others 3 and 5.
    assert "| near 8x2x4 | 15.0 ms | 2.00 (2.00 to 2.00) | 4.00 (3.00 to 5.00) |" in text
    assert "| near, geometric mean |  | **4.00 (4.00 to 4.00)** | **4.00 (3.00 to 5.00)** |" in text
    assert "noise" not in text.split("| rows, NxDxK |")[1]
    assert "    python benchmarks/nearest.py --rounds 2\n" in text
    assert "another: Abacus (wood), 2 cores" in text
    assert "other processes took 3% of the machine" in text
    assert (FOLDER / "trainings.md").read_text(encoding="utf-8") in text


def test_a_contender_may_be_missing(tmp_path, write):
    row = {"minae": [0.03], "minae without Numba": [0.12], "torch": [0.06]}
    write("step", {"VQ-VAE step": row}, MACHINE | {"cores": 64}, None)
    write("sums", {"4x2x3": {"minae": [1e-6], "np.add.at": [5e-5]}})
    text = report(tmp_path)
    assert "| VQ-VAE step | 30.0 ms | 4.00 (4.00 to 4.00) | 2.00 (2.00 to 2.00) |" in text
    assert "| VQ-VAE step | 120 ms | 0.50 (0.50 to 0.50) |" in text
    assert "| 4x2x3 | 1.00 µs | 50.0 (50.0 to 50.0) |" in text
    assert "On Abacus (wood), 64 cores" in text


def test_of_a_gpu_the_report_says_what_was_measured(tmp_path, write):
    write("sums", {"4x2x3": {"minae": [1e-6], "np.add.at": [5e-5]}})
    (absent,) = [part for part in report(tmp_path).split("\n## ") if part.startswith("On a GPU")]
    assert "    python benchmarks/gpu.py\n" in absent
    assert "| nearest, 1000000x64x8192: at most 4 ms | not measured |  |" in absent
    assert "PASS" not in absent and "FAIL" not in absent
    figures = {"nearest, near 1000000x64x8192": {"minae": [0.003, 0.0035], "wrong codes": [0]},
               "step, batch 128": {"minae, captured": [0.006, 0.006], "torch": [0.01, 0.01]}}
    write("gpu", figures, MACHINE | {"gpu": "Loom, 2 GiB"})
    found = report(tmp_path)
    assert "On Loom, 2 GiB; Abacus (wood), 2 cores" in found
    assert "| nearest is exact | 0 wrong codes of 1 searches | PASS |" in found
    assert "half of PyTorch's time | 0.60 (0.60 to 0.60) of it | **FAIL** |" in found
    assert "| step, batch 128 | 6.00 ms | 1.67 (1.67 to 1.67) |" in found


def test_convolution_counts_the_faster_layout(tmp_path, write):
    def row(ours, torch, last):
        return {"minae": [ours], "torch": [torch], "torch, channels last": [last],
                "minae without Numba": [2 * ours]}

    layer = "7x7x64 to 64, 3x3"
    write("conv", {
        f"{layer}: forward": row(0.001, 0.003, 0.002),
        f"{layer}: input gradient": row(0.001, 0.001, 0.004),
        f"{layer}: weight gradient": row(0.001, 0.001, 0.004),
        f"{layer}: both gradients": row(0.002, 0.003, 0.006),
    })
    text = report(tmp_path)
    cells = [f"{n} ({n} to {n})" for n in ("2.00", "1.00", "1.00", "2.00", "2.00")]
    assert f"| {layer} | 3.00 ms | {' | '.join(cells)} |" in text


def test_the_pictures_are_drawn(tmp_path, write, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(FOLDER))
    scaling, roofline = load("scaling"), load("roofline")
    write("scaling", {
        scaling.work(axis, factor): {"minae": [0.001 * factor], "FAISS knn": [0.002 * factor]}
        for axis in scaling.BASES for factor in scaling.FACTORS
    })  # fmt: skip
    ceilings = {roofline.PRODUCT: {"NumPy": [0.1]}, roofline.COPY: {"NumPy": [0.05]}}
    write("roofline", ceilings | {work: {"minae": [0.01]} for work in roofline.needs()})
    text = report(tmp_path)
    assert text.count("1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) |") == 3
    assert "Ceilings: 172 GFLOP/s, 10.7 GB/s." in text
    for name in ("scaling", "roofline"):
        assert f"](benchmarks/plots/{name}.png)" in text
        picture = (tmp_path / "benchmarks" / "plots" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize(("cost", "calls"), [(3.0, 2), (0.4, 2 + 2), (0.01, 2 + 5 * 20)])
def test_long_calls_are_few(cost, calls, monkeypatch):
    harness = load("harness")
    now, count = 0.0, 0

    def work():
        nonlocal now, count
        now, count = now + cost, count + 1

    monkeypatch.setattr(harness.time, "perf_counter", lambda: now)
    assert harness.seconds(work, 1.0) == pytest.approx(cost)
    assert count == pytest.approx(calls, abs=5)
