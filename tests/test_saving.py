"""The proofs of saving: kills, failing disks, damaged files, memory, and that nothing unpickles."""

import builtins
import importlib.util
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import fuzz_saving
import numpy as np
import pytest
from processes import python_path

from minae import io
from minae.run import Run

ROOT = Path(__file__).parent.parent
FULL = OSError(28, "No space left on device")


@pytest.fixture(params=[".npz", ".safetensors"])
def suffix(request):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors", reason="the safetensors library is not installed")
    return request.param


# --- Kills ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing kills like that here")
@pytest.mark.parametrize("kind", fuzz_saving.KINDS)
def test_a_kill_at_any_moment_leaves_a_whole_state(tmp_path, kind):
    if kind == ".safetensors":
        pytest.importorskip("safetensors", reason="the safetensors library is not installed")
    fuzz_saving.kill(tmp_path, kind, 4, np.random.default_rng(0))


# --- A disk that fails ----------------------------------------------------------------------------


class Disk:
    """Counts all that is asked of the disk. The call of one number fails, or all from there on."""

    def __init__(self, patch, number=0, error=None, lasting=False):
        self.calls, self.number, self.error, self.lasting = 0, number, error, lasting
        for place, name in ((os, "open"), (os, "fsync"), (os, "replace")):
            patch.setattr(place, name, self.counted(getattr(place, name)))
        opened = self.counted(open)
        patch.setattr(builtins, "open", lambda *args, **kwargs: File(self, opened(*args, **kwargs)))

    def counted(self, function):
        def call(*args, **kwargs):
            self.calls += 1
            later = self.lasting and self.calls > self.number
            if self.error and (self.calls == self.number or later):
                raise type(self.error)(*self.error.args)
            return function(*args, **kwargs)

        return call


class File:
    """A file whose writes are counted."""

    def __init__(self, disk, file):
        self.file, self.write = file, disk.counted(file.write)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def save_arrays(folder, number, suffix):
    io.save(folder / f"state{suffix}", {"x": np.full(3, number), "y": np.zeros((0, 2))})


def save_run(folder, number):
    model, optimizer = fuzz_saving.learner()
    model.layer.bias.array[...] = number
    Run(folder, {}).save(model, optimizer, fuzz_saving.ORDER)


SAVES = {
    ".npz": lambda folder, number: save_arrays(folder, number, ".npz"),
    ".safetensors": lambda folder, number: save_arrays(folder, number, ".safetensors"),
    "bytes": lambda folder, number: io.write_file(folder / "note", bytes([number])),
    "checkpoint": save_run,
    "json": lambda folder, number: Run(folder, {}).write("metrics.json", {"number": number}),
}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full", "interrupt"])
@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_whatever_call_fails_there_is_the_old_file_or_the_new(
    tmp_path, monkeypatch, save, error, lasting
):
    save(tmp_path, 1)
    old = contents(tmp_path)
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        save(tmp_path, 2)
    new, seen = contents(tmp_path), set()
    assert old != new and disk.calls >= 6  # open, write, fsync, replace; then the folder's two
    for number in range(1, disk.calls + 1):
        save(tmp_path, 1)
        with monkeypatch.context() as patch:
            Disk(patch, number, error, lasting)
            with pytest.raises(type(error)) as caught:
                save(tmp_path, 2)
        assert contents(tmp_path) in (old, new)  # and no other file
        seen.add(contents(tmp_path) == new)
        if error is FULL:
            named = Path(caught.value.filename)
            assert named.parent == tmp_path and named.name in old
            assert str(caught.value).endswith(f"No space left on device: '{named}'")
    assert seen == {False, True}  # the folder comes last, when the new file has its name


def test_a_disk_that_is_full_after_any_byte_leaves_the_old_file(tmp_path):
    """No pretence: the system itself refuses to write on, in the middle of a write."""
    resource = pytest.importorskip("resource", reason="no limits of this kind here")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name in (".npz", ".safetensors"):
        save = SAVES[name]
        save(tmp_path, 1)
        old = contents(tmp_path)
        for full in range(0, len(old[f"state{name}"]), 13):
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (full, limits[1]))
                with pytest.raises(OSError, match=rf"File too large: '.*state\{name}'"):
                    save(tmp_path, 2)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert contents(tmp_path) == old


def test_what_cannot_be_removed_does_not_hide_the_error(tmp_path, monkeypatch):
    def stuck(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    for name in ("unlink", "remove"):
        monkeypatch.setattr(os, name, stuck)
    Disk(monkeypatch, 2, FULL)
    with pytest.raises(OSError, match=r"No space left on device: '.*note'"):
        io.write_file(tmp_path / "note", b"text")
    (name,) = os.listdir(tmp_path)
    assert name.startswith(".note.") and name.endswith(".part")


def test_an_error_names_one_file_only(tmp_path):
    (tmp_path / "note").mkdir()
    with pytest.raises(OSError) as caught:
        io.write_file(tmp_path / "note", b"text")
    assert str(caught.value).endswith(f": '{tmp_path / 'note'}'")
    assert os.listdir(tmp_path) == ["note"]


# --- Memory ---------------------------------------------------------------------------------------

LARGE = {"a": np.ones((1 << 10, 1 << 10), "f4"), "b": np.ones(1 << 20, "f4"), "n": np.array(3)}
SLACK = 1 << 18  # bytes, for parsers


def peak(function, *args):
    """Bytes taken at most while a function runs, and its result or FormatError."""
    tracemalloc.start()
    try:
        result = function(*args)
    except io.FormatError as error:
        result = error
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most, result


def test_a_save_takes_no_memory_for_what_lies_in_order(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    io.save(path, {"x": np.ones(1)})  # imports
    assert peak(io.save, path, LARGE)[0] < SLACK
    turned = {name: x.T for name, x in LARGE.items()}
    assert peak(io.save, path, turned)[0] < 1.1 * path.stat().st_size  # in order for the file


def test_a_load_takes_less_than_twice_its_file_damaged_or_not(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    io.save(path, {"x": np.ones(1)})
    io.load(path)
    io.save(path, LARGE)
    whole = path.read_bytes()
    most, found = peak(io.load, path)
    assert found.keys() == LARGE.keys() and most < 1.1 * len(whole)
    rng = np.random.default_rng(0)
    header = {".npz": 1000, ".safetensors": 400}[suffix]
    files = [whole[:length] for length in rng.integers(0, len(whole), 10)]
    for position in (*rng.integers(0, 8 * header, 40), 4 * len(whole), 8 * len(whole) - 9):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        files.append(flipped)
    failures = 0
    for content in [*files, *fuzz_saving.lies(suffix)]:
        path.write_bytes(content)
        most, found = peak(io.load, path)
        failures += isinstance(found, io.FormatError)
        assert most < 2 * len(content) + SLACK
    assert failures > 40


# --- Pickles --------------------------------------------------------------------------------------

LOADS = """
import io as bytes_io, os, pickle, struct, sys, zipfile
from pathlib import Path
import numpy as np
import fuzz_saving
from minae import data, io
from minae.models import VQVAE
from minae.run import Run

seen, folder, safetensors = [], Path(sys.argv[1]), sys.argv[2] == "True"
sys.addaudithook(lambda event, args: event == "pickle.find_class" and seen.append(args))

class Trap:
    def __reduce__(self):
        return os.mkdir, (str(folder / "sprung"),)

# What is sound is read.
suffixes = [".npz", ".safetensors"] if safetensors else [".npz"]
for suffix in suffixes:
    io.save(folder / f"state{suffix}", {"x": np.ones(3)}, {"epoch": 1})
    assert io.read(folder / f"state{suffix}")[1] == {"epoch": 1}
    assert io.load_metadata(folder / f"state{suffix}") == {"epoch": 1}
    assert io.load(folder / f"state{suffix}")["x"].sum() == 3
fuzz_saving.fit(folder / "run", 3)
run = Run.open(folder / "run")
assert run.restore(*fuzz_saving.learner(), fuzz_saving.ORDER) == 3
VQVAE(codes=4, features=2, hidden=4, residual=2).save(folder)
VQVAE.load(folder)
(folder / "mnist").mkdir()
for part in ("train", "t10k"):
    for kind, shape in (("images-idx3", (5, 28, 28)), ("labels-idx1", (5,))):
        header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        (folder / "mnist" / f"{part}-{kind}-ubyte").write_bytes(header + bytes(np.prod(shape)))
assert len(data.load_mnist(folder).train_images) == 5

# A pickle is not, whatever it is called and wherever it lies.
def file(write, *args):
    buffer = bytes_io.BytesIO()
    write(buffer, *args)
    return buffer.getvalue()

def archive(buffer, members):
    with zipfile.ZipFile(buffer, "w") as zip:
        for name, content in members.items():
            zip.writestr(name, content)

pickled = pickle.dumps(Trap())
npy = file(np.save, np.array([Trap()], object))
torch = {"archive/data.pkl": pickled, "archive/data/0": bytes(8), "archive/version": "3"}
members = [{"x.npy": npy}, {"x.npy": pickled}, {"minae.json": pickled}, torch]
files = [pickled, npy, *(file(archive, named) for named in members)]
restore = lambda path: Run.open(path).restore(*fuzz_saving.learner(), fuzz_saving.ORDER)
targets = [(io.load, folder / f"state{suffix}", folder / f"state{suffix}") for suffix in suffixes]
targets += [(restore, folder / "run", folder / "run" / name)
            for name in ("checkpoint.npz", "config.json", "metrics.csv")]
targets += [(VQVAE.load, folder, folder / "weights.npz"),
            (data.load_mnist, folder, folder / "mnist" / "train-images-idx3-ubyte")]
refused = 0
for load, given, path in targets:
    for content in files:
        before = path.read_bytes()
        path.write_bytes(content)
        try:
            load(given)
        except io.FormatError:
            refused += 1
        path.write_bytes(before)
assert refused == len(targets) * len(files), refused
assert not seen and not (folder / "sprung").exists(), seen
pickle.loads(pickled)  # so that the watch and the trap are seen to work
assert len(seen) == 1 and (folder / "sprung").exists()
"""


def test_no_load_unpickles(tmp_path):
    there = importlib.util.find_spec("safetensors") is not None
    path = python_path(ROOT, ROOT / "tests")
    done = subprocess.run(
        [sys.executable, "-c", LOADS, str(tmp_path), str(there)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path, "MINAE_KERNELS": "reference"},
    )
    assert done.returncode == 0, done.stderr
