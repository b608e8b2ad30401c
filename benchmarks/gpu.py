"""On a GPU

    python benchmarks/gpu.py

What is claimed of a CUDA card, checked and timed in one run: results and gradients of every op,
function, layer and kernel held against NumPy's, the example on MNIST, the exact nearest codeword, a
training step and its memory. The peers run on the same card in the same run: PyTorch with its
defaults (convolutions in TF32, products in float32), without TF32, and under a CUDA graph of its
own. Searches are timed by CUDA events, of rows as in nearest.py and a prepared codebook. A step
ends when its loss is a number; its images are on the card. Memory is what a pool holds: of ours the
default pool and the graph's own, of PyTorch `max_memory_reserved`. (On MNIST, sums in another order
make another run: the same seed with other threads gives errors up to 6 % apart, as the last section
shows.)
"""

import argparse
import importlib
import json
import math
import os
import runpy
import select
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import harness
import numpy as np
from harness import duration, over, spread, table

ROOT = Path(__file__).parent.parent
BUDGET = 470  # seconds, for all
LIMITS = {"machine": 60, "agreement": 150, "mnist": 110, "nearest": 45, "step": 70}  # of an answer
TOLERANCE = 1e-5
PARTS = {"numpy": 2, "cupy": min(8, 1 + os.cpu_count() // 2)}  # that share the cases
SHAPES = [(1_000_000, 64, 8192), (65536, 64, 512), (65536, 64, 8192)]  # N, D, K
BATCHES = (128, 1024)
ROUNDS = 10
SMALL_SHAPES, SMALL_BATCHES = [(3000, 64, 128), (500, 8, 40)], (16,)
PEAK = 989e12  # operations a second in bf16: H100 SXM and H200
BRUTE = 20_000  # rows whose codes are searched by brute force
OURS, PEER = "minae, captured", "torch"


# --- Processes: one backend in each --------------------------------------------------------------


class Failed(Exception):
    """A worker gave no answer."""


class Late(Failed):
    """It took too long."""


class LeftOut(Exception):
    """A worker that cannot work here, through no fault of ours."""


class Worker:
    """A process of this script: each time it is asked, it works, and answers in JSON."""

    def __init__(self, run, *words, limit, backend="cupy", kernels="auto"):
        self.words, self.limit, self.end = " ".join(map(str, words)), limit, run.end
        self.limit *= 4 if run.small else 1
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *run.flags, "--worker", *map(str, words)],
            env=os.environ | {"MINAE_BACKEND": backend, "MINAE_KERNELS": kernels,
                              "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1,
        )  # fmt: skip

    def ask(self):
        self.asked = time.perf_counter()
        with suppress(OSError):  # it has died: the answer will say so
            self.process.stdin.write("\n")

    def answer(self):
        """What it answers; waits until ``limit`` seconds after it was asked."""
        left = min(self.asked + self.limit, self.end) - time.perf_counter()
        if not select.select([self.process.stdout], [], [], max(0, left))[0]:
            self.process.kill()
            raise Late(f"{self.words}: no answer in {time.perf_counter() - self.asked:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.words} died:\n{''.join(self.said()[-20:])}")
        answer = json.loads(line)
        if isinstance(answer, dict) and "left out" in answer:
            raise LeftOut(f"{self.words}: {answer['left out']}")
        return answer

    def said(self):
        """What it wrote to standard error."""
        self.log.seek(0)
        return self.log.readlines()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        for line in dict.fromkeys(line for line in self.said() if "Warning: " in line):
            print(f"  {self.words}: {line.rstrip()}")
        self.log.close()


def serve(words, small):
    """Be a worker: for each line that comes, one answer."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        for _, answer in zip(sys.stdin, WORKERS[words[0]](small, *words[1:])):
            print(json.dumps(answer), file=answers, flush=True)
    except LeftOut as reason:
        print(json.dumps({"left out": str(reason)}), file=answers, flush=True)


def pytorch(small):
    """PyTorch, and the device that it computes on."""
    try:
        import torch
    except ImportError as error:
        raise LeftOut(f"PyTorch cannot be imported ({error})") from None
    if torch.cuda.is_available():
        return torch, "cuda"
    if small:
        return torch, "cpu"
    raise LeftOut("PyTorch finds no GPU")


# --- The machine, and which kernels run in CUDA --------------------------------------------------


def machine(run):
    with Worker(run, "machine", limit=LIMITS["machine"], kernels="fast") as worker:
        worker.ask()
        found = worker.answer()
    run.machine["gpu"] = found["gpu"]
    run.machine["versions"]["cupy"] = found["cupy"]
    run.figures["kernels"] = {name: [int(form == "CUDA")] for name, form in found["forms"].items()}
    print(harness.describe(run.machine))
    for name, form in found["forms"].items():
        if form not in ("CUDA", "CuPy"):
            print(f"  {name} falls back: {form}")


def look(small):
    import cupy
    import gpu_cases

    from minae import backend, kernels
    from minae.kernels import reference

    cuda = cupy.cuda.runtime
    versions = [f"{v // 1000}.{v % 1000 // 10}" for v in
                (cuda.driverGetVersion(), cuda.runtimeGetVersion())]
    name = cuda.getDeviceProperties(backend.device)["name"].decode()
    gpu = f"{name}, {cuda.memGetInfo()[1] / 2**30:.0f} GiB, driver {_driver()} for CUDA" \
          f" {versions[0]}, CUDA {versions[1]}"  # fmt: skip
    forms = {}
    for kernel in gpu_cases.kernels_used():
        try:
            gpu_cases.results(f"kernels: {kernel}")
            known = kernels.form(kernel) is getattr(reference, kernel)
            forms[kernel] = "CuPy" if known else "CUDA"
        except Exception as error:  # a compiler fails in any way
            forms[kernel] = f"{type(error).__name__}: {error}"
    yield {"gpu": gpu, "cupy": cupy.__version__, "forms": forms}


def _driver():
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.split()[0]
    except (OSError, IndexError, subprocess.SubprocessError):
        return "unknown"


# --- Agreement with NumPy ------------------------------------------------------------------------


def agreement(run):
    """Every case in both backends, in processes side by side; each result is a file."""
    parts = dict.fromkeys(PARTS, 1) if run.small else PARTS
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workers = [
            stack.enter_context(
                Worker(run, "agreement", folder, backend, part, parts[backend], backend=backend,
                       kernels=kernels, limit=LIMITS["agreement"]))
            for backend, kernels in (("numpy", "reference"), ("cupy", "auto"))
            for part in range(parts[backend])
        ]  # fmt: skip
        for worker in workers:
            worker.ask()
        names, lost = [], []
        for worker in workers:
            try:
                names = worker.answer()
            except Failed as error:
                lost.append(error)
        compare(run, Path(folder), names)
    if lost:
        raise Failed("\n".join(map(str, lost)))


def agree(small, folder, backend, part, parts):
    """Some of the cases: their arrays to files, or the error."""
    import gpu_cases

    names = gpu_cases.names()
    for number, case in list(enumerate(names))[int(part) :: int(parts)]:
        path = Path(folder, f"{backend}-{number}.npz")
        try:
            np.savez(path, *gpu_cases.results(case))
        except Exception as error:  # the next case may do
            path.with_suffix(".txt").write_text(f"{type(error).__name__}: {error}")
    yield names


def compare(run, folder, names):
    """The difference of every case, the worst of each kind, and all that are too large."""
    found = {}
    for number, case in enumerate(names):
        paths = [folder / f"{backend}-{number}.npz" for backend in ("numpy", "cupy")]
        errors = [path.with_suffix(".txt") for path in paths]
        said = [path.read_text() for path in errors if path.exists()]
        whole = not said and all(path.exists() for path in paths)
        apart = difference(*paths) if whole else math.inf
        found.setdefault(case.partition(": ")[0], []).append(apart)
        if apart > TOLERANCE:
            print(f"  {case}: {(*said, f'{apart:.2g}')[0]}")
    for kind, apart in found.items():
        beyond = sum(each > TOLERANCE for each in apart)
        run.figures[f"agreement: {kind}"] = {
            "worst": [max(apart)], "cases": [len(apart)], "beyond": [beyond]
        }


def difference(one, other):
    """The largest difference of two files' arrays, relative to each array's largest entry or 1;
    infinite where shapes, dtypes, integers or what is not finite differ."""
    worst = 0.0
    with np.load(one) as ours, np.load(other) as theirs:
        if ours.files != theirs.files:
            return math.inf
        for x, y in ((ours[name], theirs[name]) for name in ours.files):
            if x.shape != y.shape or x.dtype != y.dtype:
                return math.inf
            same = (x == y) | ((x != x) & (y != y))
            if same.all():
                continue
            if x.dtype.kind != "f" or not np.isfinite([x[~same], y[~same]]).all():
                return math.inf
            gap = np.abs(x[~same].astype("float64") - y[~same]).max()
            worst = max(worst, float(gap / np.abs(x[np.isfinite(x)]).max(initial=1)))
    return worst


# --- The example ---------------------------------------------------------------------------------


def mnist(run):
    """Both backends side by side: nothing here is timed closely."""
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(
                run, "mnist", backend=backend, limit=LIMITS["mnist"],
                kernels="reference" if run.small else "auto"))
            for name, backend in (("GPU", "cupy"), ("CPU", "numpy"))
        }  # fmt: skip
        for worker in workers.values():
            worker.ask()
        for name, worker in workers.items():
            try:
                found = worker.answer()
            except Late as error:
                if name == "GPU":
                    raise
                print(f"  the CPU's training did not end: {error}")
                continue
            print(f"  on the {name}: {found.pop('dataset')}")
            for what, number in found.items():
                run.figures.setdefault(f"mnist: {what}", {})[name] = [number]


def train(small):
    with tempfile.TemporaryDirectory() as folder:
        script = ROOT / "examples" / "vqvae_mnist.py"
        sys.argv = [str(script), "--epochs", "2", "--out", folder, *(["--dry-run"] * small)]
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            if stop.code:
                raise RuntimeError(f"the example ended with {stop.code}") from None
        metrics = json.loads(Path(folder, "metrics.json").read_text(encoding="utf-8"))
    yield {"test MSE": metrics["test_mse"], "perplexity": metrics["perplexity"],
           "seconds": metrics["seconds"], "dataset": metrics["dataset"]}  # fmt: skip


# --- The nearest codeword ------------------------------------------------------------------------


def nearest(run):
    card = run.machine.get("gpu", "")
    fast = ("H100" in card or "H200" in card) and "PCIe" not in card
    for contender in ("minae", "torch"):
        with Worker(run, "nearest", contender, limit=LIMITS["nearest"]) as worker:
            for case in searches(run.small):
                worker.ask()
                try:
                    found = worker.answer()
                except LeftOut as reason:
                    print(f"  left out: {reason}")
                    break
                row = run.figures.setdefault(work(*case), {})
                row |= {name: times for name, times in found.items() if times}
                for name in found.keys() - row.keys():
                    print(f"  {work(*case)}: the card has no room for the distances of {name}")
                if contender == "minae" and fast:
                    operations = 2 * math.prod(case[1:])
                    row["of the peak"] = [operations / t / PEAK for t in row["minae"]]


def searches(small):
    return [(kind, *shape) for shape in (SMALL_SHAPES if small else SHAPES)
            for kind in ("near", "noise")]


def work(kind, *shape):
    return f"nearest, {kind} {'x'.join(map(str, shape))}"


def search(small, contender):
    return {"minae": search_ours, "torch": search_theirs}[contender](small)


def search_ours(small):
    import cupy

    from minae import kernels

    data = importlib.import_module("nearest").data

    def once(call):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        call()
        end.record()
        end.synchronize()
        return cupy.cuda.get_elapsed_time(start, end) / 1e3

    for case in searches(small):
        z, e = data(*case)
        rows, book = cupy.asarray(z), kernels.prepare(cupy.asarray(e))
        codes = cupy.asnumpy(kernels.nearest(rows, book)[0])
        chosen = np.random.default_rng(1).permutation(len(z))[:BRUTE]
        wrong = int((codes[chosen] != brute(z[chosen], e)).sum())
        yield {"minae": samples(once, lambda z=rows, e=book: kernels.nearest(z, e)),
               "wrong codes": [wrong]}  # fmt: skip


def search_theirs(small):
    torch, device = pytorch(small)
    torch.backends.cuda.matmul.allow_tf32 = False  # the default
    peers = importlib.import_module("nearest")
    calls = {"torch.addmm": peers.addmm, "torch.cdist": lambda z, e: torch.cdist(z, e).argmin(1)}

    def once(call):
        if device == "cpu":
            begin = time.perf_counter()
            call()
            return time.perf_counter() - begin
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    for case in searches(small):
        z, e = (torch.from_numpy(x).to(device) for x in peers.data(*case))
        answer = {}
        for name, call in calls.items():
            try:
                answer[name] = samples(once, lambda call=call, z=z, e=e: call(z, e))
            except torch.OutOfMemoryError:
                answer[name] = []
            if device == "cuda":
                torch.cuda.empty_cache()
        yield answer


def brute(z, e):
    """The nearest codewords in float64."""
    z, e = z.astype("float64"), e.astype("float64")
    blocks = [z[i : i + 1000] for i in range(0, len(z), 1000)]
    return np.concatenate([((e * e).sum(1) - 2 * (block @ e.T)).argmin(1) for block in blocks])


def samples(once, call, count=12, limit=4.0):
    """The times of single calls, after some to warm up; fewer where they are long."""
    begin = time.perf_counter()
    for _ in range(3):
        once(call)
        if time.perf_counter() - begin > limit / 4:
            break
    times, begin = [], time.perf_counter()
    while not times or (len(times) < count and time.perf_counter() - begin < limit):
        times.append(float(f"{once(call):.5g}"))
    return times


# --- A training step, and its memory -------------------------------------------------------------


def step(run):
    train_all(run, 2 if run.small else ROUNDS)


def memory(run):
    if not any(name.startswith("memory") for name in run.figures):  # else step has looked
        train_all(run, 0)


def train_all(run, rounds):
    """The contenders take turns, round after round."""
    errors = []
    for batch in SMALL_BATCHES if run.small else BATCHES:
        with ExitStack() as stack:
            workers = {
                name: stack.enter_context(
                    Worker(run, "step", name, batch, limit=LIMITS["step"]))
                for name in CONTENDERS
            }  # fmt: skip
            for worker in workers.values():
                worker.ask()
            for what in ("memory", *["step"] * rounds):
                for name, worker in list(workers.items()):
                    try:
                        if what == "step":
                            worker.ask()
                        answer = worker.answer()
                    except LeftOut as reason:
                        print(f"  left out: {reason}")
                        del workers[name]
                    except Failed as error:
                        errors.append(str(error))
                        del workers[name]
                    else:
                        row = run.figures.setdefault(f"{what}, batch {batch}", {})
                        for kind, number in answer.items():
                            row.setdefault(f"{name}{kind}", []).append(number)
    if errors:
        raise Failed("\n".join(errors))


def steps(small, contender, batch):
    """First the memory that steps have taken, then the seconds of one, again and again."""
    take, held = CONTENDERS[contender](int(batch), small)
    for _ in range(6):
        loss = take()
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss}")
    yield held()
    begin = time.perf_counter()
    take()
    count = max(1, int((0.01 if small else 0.3) / (time.perf_counter() - begin)))
    while True:
        begin = time.perf_counter()
        for _ in range(count):
            take()
        yield {"": float(f"{(time.perf_counter() - begin) / count:.5g}")}


def images(batch):
    return np.random.default_rng(0).random((batch, 28, 28, 1), dtype="float32")


def ours(batch, small, captured):
    import cupy

    import minae
    from minae import replay
    from minae.backend import CaptureError
    from minae.models import VQVAE
    from minae.optim import Adam

    minae.seed(0)
    model = VQVAE()
    optimizer = Adam(model.parameters(), 1e-3)
    x = cupy.asarray(images(batch))

    def eager(x):
        loss, _ = model.loss(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    graphs, Graph = [], replay.Graph
    replay.Graph = lambda *args: graphs.append(Graph(*args)) or graphs[-1]
    call = minae.capture(eager) if captured else eager

    def take():
        try:
            return call(x).item()
        except CaptureError as error:
            if small:  # where there may be no kernels that wait for nothing
                raise LeftOut(str(error)) from error
            raise

    def held():
        if captured and not graphs:
            raise RuntimeError("the step was not captured")
        pools = [cupy.get_default_memory_pool(), *(graph.pool for graph in graphs)]
        return {"": sum(pool.total_bytes() for pool in pools)}

    return take, held


def theirs(batch, small, tf32=True, graphed=False):
    torch, device = pytorch(small)
    if graphed and device == "cpu":
        raise LeftOut("there are no CUDA graphs on a CPU")
    from twin import VQVAE, trainable

    torch.backends.cudnn.allow_tf32 = tf32  # on by default; of products it is off
    torch.manual_seed(0)
    model = VQVAE().to(device)
    optimizer = torch.optim.Adam(trainable(model), 1e-3, capturable=graphed)
    given = torch.from_numpy(images(batch)).permute(0, 3, 1, 2).contiguous().to(device)
    x = given.clone()

    def eager():
        y, _, loss = model(x)
        loss = loss + torch.nn.functional.mse_loss(y, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def held():
        if device == "cpu":
            return {}
        return {"": torch.cuda.max_memory_reserved(),
                ", allocated": torch.cuda.max_memory_allocated()}  # fmt: skip

    if not graphed:
        return (lambda: eager().item()), held
    stream = torch.cuda.Stream()  # as PyTorch's manual has it: warm up beside, then capture
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            eager()
    torch.cuda.current_stream().wait_stream(stream)
    optimizer.zero_grad()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = eager()

    def replay():
        x.copy_(given)
        graph.replay()
        return loss.item()

    return replay, held


CONTENDERS = {
    OURS: lambda *a: ours(*a, captured=True), "minae, eager": lambda *a: ours(*a, captured=False),
    PEER: theirs, "torch, TF32 off": lambda *a: theirs(*a, tf32=False),
    "torch, CUDA graph": lambda *a: theirs(*a, graphed=True),
}
WORKERS = {"machine": look, "agreement": agree, "mnist": train, "nearest": search, "step": steps}
STAGES = {"machine": machine, "agreement": agreement, "mnist": mnist, "nearest": nearest,
          "step": step, "memory": memory}  # fmt: skip


# --- Claims and tables ---------------------------------------------------------------------------


def claims(figures):
    """Each claim: its words, what was measured, and whether it holds; None where nothing was."""
    agreed = [row for name, row in figures.items() if name.startswith("agreement")]
    worst = max((row["worst"][0] for row in agreed), default=0)
    yield "every op, function, layer and kernel agrees with NumPy to 1e-5", agreed and (
        f"{sum(row['cases'][0] for row in agreed):.0f} cases, the worst {worst:.1e}",
        worst <= TOLERANCE)
    errors = figures.get("mnist: test MSE", {})
    yield "MNIST: the test error is the CPU's, within 2 %", len(errors) == 2 and _mnist(errors)
    found = [row for name, row in figures.items() if "wrong codes" in row]
    wrong = sum(row["wrong codes"][0] for row in found)
    yield "nearest is exact", found and (f"{wrong} wrong codes of {len(found)} searches", not wrong)
    first = [figures[w]["minae"] for kind in ("near", "noise")
             if "minae" in figures.get(w := work(kind, *SHAPES[0]), {})]
    slowest = max(map(statistics.median, first), default=0)
    yield f"nearest, {'x'.join(map(str, SHAPES[0]))}: at most 4 ms", first and (
        duration([slowest]), slowest <= 4e-3)
    for batch in BATCHES:
        row = figures.get(f"step, batch {batch}", {})
        ratios = over(row[OURS], row[PEER]) if {OURS, PEER} <= row.keys() else []
        yield f"a step, batch {batch}: at most half of PyTorch's time", ratios and (
            f"{spread(ratios)} of it", statistics.median(ratios) <= 0.5)
    for batch in BATCHES:
        row = figures.get(f"memory, batch {batch}", {})
        sizes = [row[OURS][0], row[PEER][0]] if {OURS, PEER} <= row.keys() else []
        yield f"a step, batch {batch}: at most PyTorch's memory", sizes and (
            "{:.0f} MB of {:.0f} MB".format(*(size / 1e6 for size in sizes)), sizes[0] <= sizes[1])


def _mnist(errors):
    gpu, cpu = errors["GPU"][0], errors["CPU"][0]
    return f"{gpu:.5f}, on the CPU {cpu:.5f}", abs(gpu - cpu) <= 0.02 * cpu


def verdicts(figures):
    rows = []
    for claim, found in claims(figures):
        measured, holds = found or ("not measured", None)
        rows.append([claim, measured, {True: "PASS", False: "**FAIL**", None: ""}[holds]])
    return table(["claim", "measured", ""], rows)


def tables(figures):
    """The claims, and whatever was measured."""
    parts = [verdicts(figures), *(make(figures) for make in TABLES.values())]
    return "\n\n".join(filter(None, parts))


def kernels_table(figures):
    forms = figures.get("kernels", {})
    named = [", ".join(k for k, (cuda,) in forms.items() if cuda == wanted) for wanted in (1, 0)]
    return forms and f"Kernels in CUDA: {named[0] or 'none'}; in CuPy's own: {named[1] or 'none'}."


def agreement_table(figures):
    rows = [[name.partition(": ")[2], f"{row['cases'][0]:.0f}", f"{row['worst'][0]:.1e}",
             f"{row['beyond'][0]:.0f}"]
            for name, row in figures.items() if name.startswith("agreement")]
    return rows and table(["agreement", "cases", "the worst", "beyond 1e-5"], rows)


def mnist_table(figures):
    rows = [[name.partition(": ")[2], *(f"{row[n][0]:.5g}" if n in row else "not measured"
                                        for n in ("GPU", "CPU"))]
            for name, row in figures.items() if name.startswith("mnist")]
    return rows and table(["two epochs of MNIST", "GPU", "CPU"], rows)


def nearest_table(figures):
    rows = []
    for name, row in figures.items():
        if name.startswith("nearest") and "minae" in row:
            ours = statistics.median(row["minae"])
            peers = [f"{duration(row[peer])}, {statistics.median(row[peer]) / ours:.2f}"
                     if peer in row else "" for peer in ("torch.addmm", "torch.cdist")]
            peak = f"{statistics.median(row['of the peak']):.2f}" if "of the peak" in row else ""
            rows.append([name.partition(", ")[2], spread([1e3 * t for t in row["minae"]]),
                         str(len(row["minae"])), peak or "unknown", *peers,
                         str(row["wrong codes"][0])])
    head = ["nearest, rows NxDxK", "minae, ms", "calls", "of the bf16 peak",
            "torch.addmm, / minae", "torch.cdist, / minae", "wrong codes"]
    return rows and table(head, rows)


def step_table(figures):
    found = {name: row for name, row in figures.items() if name.startswith("step")}
    captured = any(OURS in row for row in found.values())
    return found and harness.compared(found, OURS if captured else "minae, eager")


def memory_table(figures):
    found = {name: row for name, row in figures.items() if name.startswith("memory")}
    columns = list(dict.fromkeys(name for row in found.values() for name in row))
    rows = [[name, *(f"{row[c][0] / 1e6:.0f}" if c in row else "" for c in columns)]
            for name, row in found.items()]
    return rows and table(["MB", *columns], rows)


TABLES = {"machine": kernels_table, "agreement": agreement_table, "mnist": mnist_table,
          "nearest": nearest_table, "step": step_table, "memory": memory_table}  # fmt: skip


# --- The run -------------------------------------------------------------------------------------


def unusable():
    """Why nothing here can be measured, in a line; None on a machine with a GPU."""
    done = subprocess.run([sys.executable, "-c", "import minae"], capture_output=True, text=True,
                          cwd=ROOT, env=os.environ | {"MINAE_BACKEND": "cupy"})  # fmt: skip
    return done.stderr.strip().splitlines()[-1] if done.returncode else None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE",
                        help=f"some of {', '.join(STAGES)}")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see whether all works;"
                        " PyTorch may compute on the CPU")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return serve(options.worker, options.small)
    if reason := unusable():
        print(reason, file=sys.stderr)
        return 2
    os.environ["MINAE_BACKEND"] = "numpy"  # of this process, which looks at the processor
    run = SimpleNamespace(small=options.small, flags=["--small"] * options.small, figures={},
                          machine=harness.machine(), end=1e9)  # fmt: skip
    if not run.small:
        run.end = time.perf_counter() + BUDGET
    failed = []
    for name in STAGES:
        if name not in options.only and name != "machine":
            continue
        begin = time.perf_counter()
        print(f"\n--- {name}", flush=True)
        try:
            STAGES[name](run)
        except Exception as error:  # the other stages may do
            failed.append(name)
            print(f"FAILED: {error}" if isinstance(error, Failed) else f"FAILED: {error!r}")
        print(TABLES[name](run.figures) or "")
        print(f"({time.perf_counter() - begin:.0f} s)", flush=True)
        if options.json:
            harness.write(options.json, run.machine, harness.others(), run.figures)
    print(f"\n--- claims\n{verdicts(run.figures)}")
    if failed:
        print(f"\nFAILED stages: {', '.join(failed)}")
    return int(bool(failed) or any(found and not found[1] for _, found in claims(run.figures)))


if __name__ == "__main__":
    sys.exit(main())
