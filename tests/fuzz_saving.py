"""Kills: whoever saves may die at any moment, and there is a whole state, the old or the new.

    python tests/fuzz_saving.py --kills 500 --seed 0

Processes that save without pause, to one file of each format, are killed at random moments, and so
are training runs, each of which goes on from the last and must end as one that was left alone. Then
small files are cut everywhere and flipped bit by bit: no load takes more than 50 ms. Exits with 1
if anything is wrong.
"""

import argparse
import contextlib
import io as text_io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
from processes import python_path

import minae
from minae import io, nn, train
from minae.optim import Adam
from minae.run import Run

ROOT = Path(__file__).parent.parent
KINDS = (".npz", ".safetensors", "run")
LONGEST = 0.06  # seconds of life once at work: some saves, each with its two fsyncs
SLOWEST = 0.05  # seconds for a load that fails


# --- What is killed -------------------------------------------------------------------------------


def state(number):
    """A state of its own for each number, and of another size than the one before."""
    size = 1000 + 50_000 * (number % 3)
    return {
        "counts": np.full(number % 5, number),
        "weight": np.arange(number, number + size, dtype="f4").reshape(2, -1),
    }


def save(path):
    for number in itertools.count():
        print(number, flush=True)  # from now on there is this state, or the one before
        io.save(path, state(number), {"number": number})


class AutoEncoder(nn.Module):
    """Linear, with dropout to need the generator."""

    def __init__(self):
        self.layer, self.dropout, self.step = nn.Linear(16, 16), nn.Dropout(0.2), 0

    def loss(self, batch):
        self.step += 1
        print(self.step, flush=True)  # the checkpoint is of this step, or the one before
        x = batch.reshape(len(batch), -1)
        return minae.mse_loss(self.layer(self.dropout(x)), x), {}


def learner():
    minae.seed(0)
    model = AutoEncoder()
    return model, Adam(model.parameters(), 1e-3)


IMAGES = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1), "uint8")
ORDER = {"examples": len(IMAGES), "batch_size": 16, "seed": 0}


def fit(folder, steps=None):
    """Train for ever, with a checkpoint after each step, or for some steps with one at the end."""
    run = Run.open(folder) if Path(folder).exists() else Run.create(folder, {})
    train.SAVE_EVERY = -1.0 if steps is None else 60.0
    train.fit(*learner(), IMAGES, run, epochs=10**6, batch_size=16, seed=0, steps=steps,
              out=text_io.StringIO())


# --- Who kills ------------------------------------------------------------------------------------


def start(*arguments):
    given = {**os.environ, "PYTHONPATH": python_path(ROOT), "MINAE_KERNELS": "reference"}
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)], stdout=subprocess.PIPE, text=True,
        env=given,
    )


def killed(process, rng):
    """Kill a process soon after it has begun its second save; the number of that which it was at
    in the end."""
    numbers = [process.stdout.readline(), process.stdout.readline()]
    time.sleep(rng.uniform(0, LONGEST))
    process.kill()
    numbers += process.communicate()[0].split("\n")[:-1]  # the last is cut off, or empty
    assert process.returncode == -9, f"it ended by itself, with {process.returncode}"
    return int(numbers[-1])


def left(folder):
    """The files that a killed writer left, which must be one at most; removed for the next."""
    parts = [name for name in os.listdir(folder) if name.startswith(".") and name.endswith(".part")]
    assert len(parts) <= 1, f"left over: {parts}"
    for name in parts:
        os.remove(folder / name)
    return len(parts)


def kill_savers(folder, suffix, kills, rng):
    """Figures of the kills of those that save to one file. Raises AssertionError if it is bad."""
    path = folder / f"state{suffix}"
    writing = new = 0
    for _ in range(kills):
        last = killed(start("save", path), rng)
        writing += left(folder)
        assert os.listdir(folder) == [path.name]
        arrays, metadata = io.read(path)
        number = metadata["number"]
        assert last - 1 <= number <= last, f"state {number}, where {last} was being saved"
        wanted = state(number)
        assert arrays.keys() == wanted.keys()
        for name, x in wanted.items():
            assert arrays[name].dtype == x.dtype and np.array_equal(arrays[name], x), name
        new += number == last
    return f"{writing} while it wrote, {kills - new} times the old state and {new} the new"


def kill_runs(folder, kills, rng):
    """Figures of the kills of one training run. Raises AssertionError if it does not go on well."""
    run, twin, done, writing = folder / "run", folder / "twin", 0, 0
    for _ in range(kills):
        last = done + killed(start("fit", run), rng)
        writing += left(run)
        done = Run.open(run).restore(*learner(), ORDER)
        assert last - 1 <= done <= last, f"the checkpoint is of step {done}, not {last} or before"
    for path in (run, twin):
        process = start("fit", path, done + 1)
        process.communicate()
        assert process.returncode == 0
    assert sorted(os.listdir(run)) == ["checkpoint.npz", "config.json", "metrics.csv"]
    assert (run / "metrics.csv").read_bytes() == (twin / "metrics.csv").read_bytes()
    (found, at), (wanted, there) = (io.read(path / "checkpoint.npz") for path in (run, twin))
    assert [at[name] for name in ("step", "order", "rng")] == [done + 1, ORDER, there["rng"]]
    assert found.keys() == wanted.keys()
    assert all(found[name].tobytes() == x.tobytes() for name, x in wanted.items())
    return f"{writing} while it wrote, {done} steps like those of a run left alone"


def kill(folder, kind, kills, rng):
    if kind == "run":
        return kill_runs(folder, kills, rng)
    return kill_savers(folder, kind, kills, rng)


# --- Damaged files --------------------------------------------------------------------------------


def cuts(whole):
    """A file cut at each length."""
    return (whole[:length] for length in range(len(whole)))


def flips(whole):
    """A file with each of its bits flipped."""
    for position in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        yield bytes(flipped)


def npz(header, body=b"", method=zipfile.ZIP_STORED):
    """A .npz with a member of this header."""
    buffer = text_io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        text = header + b" " * (63 - (10 + len(header)) % 64) + b"\n"
        length = len(text).to_bytes(2, "little")
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + length + text + body)
    return buffer.getvalue()


def safetensors(header, body=b"", length=None):
    """A .safetensors of this header: a dict, or bytes that need be none."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def lies(suffix):
    """Files that claim more than they hold."""
    shapes = ([1 << 16, 1 << 16], [1 << 40], [1 << 62, 4], [1 << 64], [-1, -1], [-1], [2] * 60)
    for shape in map(tuple, shapes):
        if suffix == ".npz":
            text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"
            yield npz(text.encode(), bytes(8))
        else:
            size = int(np.prod(shape, dtype=object)) * 8
            for end in (8, size):
                entry = {"dtype": "F64", "shape": shape, "data_offsets": [0, end]}
                yield safetensors({"x": entry}, bytes(8))
    if suffix == ".npz":
        text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (4096,)}"
        yield npz(text, bytes(32768), zipfile.ZIP_DEFLATED)
        yield from (npz(sign * 9000 + b"1") for sign in (b"[", b"-", b"{1:"))
        yield npz(b"[" * 199 + b"-" * 700 + b"1")
    else:
        yield from (safetensors(b"{}", length=n) for n in (1 << 20, 1 << 40, (1 << 64) - 1))
        yield safetensors(b"[" * 100_000)


def time_loads(folder, suffix):
    """Figures of the loads of damaged files. Raises AssertionError if one is slow."""
    path = folder / f"state{suffix}"
    arrays = {"weight": np.ones((2, 3), "f4"), "bias": np.zeros((0, 4)), "number": np.array(3)}
    io.save(path, arrays, {"epoch": 1})
    whole, slowest, count = path.read_bytes(), 0.0, 0
    for content in itertools.chain(cuts(whole), flips(whole), lies(suffix)):
        path.write_bytes(content)
        taken = np.inf
        for _ in range(3):  # other processes may have taken the time
            begin = time.perf_counter()
            with contextlib.suppress(io.FormatError):
                io.load(path)
            taken = min(taken, time.perf_counter() - begin)
            if taken < SLOWEST:
                break
        assert taken < SLOWEST, f"{taken * 1000:.0f} ms for {content[:200]!r}"
        slowest, count = max(slowest, taken), count + 1
    return f"{count} loads of damaged files, the slowest {slowest * 1000:.1f} ms"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=500, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of the parsers of the standard library, about flips
    begin, wrong = time.monotonic(), 0
    jobs = [(kind, kill, (given.kills, np.random.default_rng(given.seed))) for kind in KINDS]
    jobs += [(suffix, time_loads, ()) for suffix in KINDS[:2]]
    for kind, job, arguments in jobs:
        with tempfile.TemporaryDirectory() as folder:
            try:
                figures = job(Path(folder), kind, *arguments)
            except Exception as error:
                wrong += 1
                figures = f"WRONG: {type(error).__name__}: {error}"
        print(f"{kind}: {figures}", flush=True)
    print(f"{len(KINDS)} x {given.kills} kills, seed {given.seed}: {wrong} of {len(jobs)} parts"
          f" wrong; {time.monotonic() - begin:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["save"]:
        save(sys.argv[2])
    elif sys.argv[1:2] == ["fit"]:
        fit(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        sys.exit(main())
