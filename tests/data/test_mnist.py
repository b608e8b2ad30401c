"""MNIST is found in the order of places that is promised, and only where it is what it claims."""

import functools
import gzip
import hashlib
import http.server
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from minae.data import (
    FetchError,
    generated_digits,
    load_fashion_mnist,
    load_images,
    load_mnist,
    mnist,
)
from minae.io import FormatError

LOADERS = {"mnist": load_mnist, "fashion": load_fashion_mnist}


def idx(array):
    array = np.asarray(array, "uint8")
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def contents(mark=0, train=5, test=3):
    """The four files, in gzip, of a small set: each pixel is ``mark``."""
    arrays = []
    for n in (train, test):
        arrays += [np.full((n, 28, 28), mark), np.arange(n)]
    return {
        f"{part}-ubyte.gz": gzip.compress(idx(array), mtime=0)
        for part, array in zip(mnist.PARTS, arrays)
    }


def fill(folder, mark=0, **sizes):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents(mark, **sizes).items():
        (folder / name).write_bytes(content)
    return folder


def mark(images):
    (found,) = np.unique(np.concatenate([images.train_images, images.test_images]))
    return found


class Server(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(os.path.basename(self.path))
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A local mirror of both sets, of marks 100 and 101, whose sizes and sums are the known ones.

    ``mirror.folder`` holds them, ``mirror.asked`` lists what it was asked for.
    """
    folder = tmp_path / "mirror"
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Server, directory=str(folder))
    )
    server.folder, server.asked = folder, []
    for number, name in enumerate(mnist.MIRRORS):
        fill(folder / name, mark=100 + number)
        known = [(len(c), hashlib.sha256(c).hexdigest()) for c in contents(100 + number).values()]
        monkeypatch.setitem(mnist.FILES, name, known)
        urls = [f"http://127.0.0.1:{server.server_port}/{place}/" for place in ("absent", name)]
        monkeypatch.setitem(mnist.MIRRORS, name, urls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


# --- A folder -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["{}-ubyte", "{}-ubyte.gz", "dotted", "dotted.gz"])
def test_each_spelling_of_the_files_is_found(tmp_path, spelling):
    for part, content in zip(mnist.PARTS, contents(7).values()):
        name = spelling.format(part).replace("dotted", part.replace("-idx", ".idx") + "-ubyte")
        plain = content if name.endswith(".gz") else gzip.decompress(content)
        (tmp_path / name).write_bytes(plain)
    images = load_mnist(str(tmp_path))
    assert images.name == "mnist" and images.source == f"from {tmp_path}" and mark(images) == 7
    assert images.train_images.shape == (5, 28, 28, 1)
    assert images.test_images.shape == (3, 28, 28, 1)
    assert images.train_labels.tolist() == [0, 1, 2, 3, 4] and images.test_labels.shape == (3,)
    assert all(type(array) is np.ndarray and array.dtype == "uint8" for array in images[2:])


def test_a_parent_folder_holds_each_set_by_name(tmp_path):
    fill(tmp_path / "mnist", mark=1)
    fill(tmp_path / "fashion_mnist", mark=2)
    assert [mark(load(tmp_path)) for load in LOADERS.values()] == [1, 2]
    fill(tmp_path, mark=3)  # which of the two this is cannot be told
    assert [mark(load(tmp_path)) for load in LOADERS.values()] == [1, 2]


def test_what_a_folder_lacks_is_named_with_the_cure(tmp_path, mirror):
    fill(tmp_path / "some")
    for name in ("train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"):
        (tmp_path / "some" / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist(tmp_path / "some")
    message = str(caught.value)
    assert "lacks train-labels-idx1-ubyte, t10k-images-idx3-ubyte (" in message
    assert mnist.MIRRORS["mnist"][0] in message
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder.*--data-dir"):
        load_mnist(tmp_path / "nowhere")
    assert mirror.asked == []


@pytest.mark.parametrize(
    ("part", "array", "reason"),
    [
        (0, np.zeros((5, 28, 27)), r"holds \(5, 28, 27\), not images \(n, 28, 28\)"),
        (0, np.zeros((5, 784)), "not images"),
        (2, np.zeros(5), "not images"),
        (1, np.arange(4), "not 5 labels from 0 to 9"),
        (1, [0, 1, 2, 3, 10], "up to 10, not 5 labels from 0 to 9"),
        (1, np.zeros((5, 1)), "not 5 labels"),
        (3, np.arange(5), "not 3 labels"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path, part, array, reason):
    fill(tmp_path)
    path = tmp_path / f"{mnist.PARTS[part]}-ubyte.gz"
    path.write_bytes(gzip.compress(idx(array)))
    with pytest.raises(FormatError, match=reason) as caught:
        load_mnist(tmp_path)
    assert str(path) in str(caught.value) and "--data-dir" in str(caught.value)


# --- The order of places --------------------------------------------------------------------------


def test_the_order_of_places(tmp_path, monkeypatch, mirror):
    given, shared = fill(tmp_path / "given", mark=1), tmp_path / "shared"
    monkeypatch.setenv("MINAE_DATA", str(shared))
    assert mark(load_mnist()) == 100 and len(mirror.asked) == 8
    assert mark(load_mnist()) == 100 and len(mirror.asked) == 8  # from the cache
    fill(shared / "mnist", mark=2)
    assert mark(load_mnist()) == 2
    assert mark(load_mnist(given)) == 1
    assert mark(load_fashion_mnist()) == 101  # the shared folder holds none
    assert len(mirror.asked) == 16


def test_the_shared_folder_must_be_whole(tmp_path, monkeypatch, mirror):
    fill(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setenv("MINAE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="lacks t10k-labels-idx1-ubyte"):
        load_mnist()


def test_the_place_of_the_cache(tmp_path, monkeypatch, mirror):
    monkeypatch.setenv("MINAE_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    kept = []
    for variable in ("MINAE_CACHE", "XDG_CACHE_HOME", None):
        images = load_mnist()
        kept.append(images.source.removeprefix(f"from {mirror.server_address[0]}"))
        if variable:
            monkeypatch.delenv(variable)
    folders = [tmp_path / "a/mnist", tmp_path / "b/minae/mnist", tmp_path / "c/.cache/minae/mnist"]
    assert kept == [f":{mirror.server_port}, kept in {folder}" for folder in folders]
    for folder in folders:
        assert sorted(os.listdir(folder)) == sorted(contents())
    assert load_mnist().source == f"from the cache {folders[-1]}"


# --- The cache ------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[::-1], None])
def test_a_cached_file_that_is_not_the_known_one_is_fetched_again(tmp_path, mirror, damage):
    load_mnist()
    path = tmp_path / "cache" / "mnist" / "t10k-images-idx3-ubyte.gz"
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    mirror.asked.clear()
    assert mark(load_mnist()) == 100
    assert mirror.asked == [path.name] * 2  # of the mirror that lacks it, and of the good one
    assert path.read_bytes() == contents(100)[path.name]


def test_another_set_of_the_right_format_is_not_taken_from_a_mirror(tmp_path, mirror):
    for path in (mirror.folder / "mnist").iterdir():  # of the same length, even
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), mtime=1))
    with pytest.raises(FetchError, match="SHA-256 is wrong"):
        load_mnist()
    assert not (tmp_path / "cache").exists()


def test_one_file_that_fails_everywhere_ends_the_search(mirror):
    for file in (mirror.folder / "mnist").iterdir():
        file.unlink()
    with pytest.raises(FetchError, match=r"MNIST's train-images-\S+ could not be"):
        load_mnist()
    assert len(mirror.asked) == 2


@pytest.mark.parametrize("load", LOADERS.values())
def test_a_cache_that_cannot_be_written_names_the_cure(tmp_path, monkeypatch, mirror, load):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MINAE_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match=r"cannot be used \(Not a directory\): set MINAE_CACHE") as e:
        load()
    assert not isinstance(e.value, FetchError) and e.value.__suppress_context__


def test_without_a_home_the_cure_is_named(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MINAE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(OSError, match=r"no home folder.*set MINAE_CACHE") as caught:
        load_mnist()
    assert caught.value.__suppress_context__


# --- What was chosen ------------------------------------------------------------------------------


def test_one_line_says_what_came_from_where(tmp_path, mirror):
    lines = []
    fill(tmp_path / "set")
    load_images("mnist", tmp_path / "set", lines.append)
    load_images("fashion", report=lines.append)
    assert lines[0] == f"MNIST: 5 training and 3 test images, from {tmp_path / 'set'}"
    assert lines[-1].startswith("Fashion-MNIST: 5 training and 3 test images, from 127.0.0.1:")


def test_the_line_is_printed_by_default(tmp_path, capsys):
    load_images("mnist", fill(tmp_path / "set"))
    assert capsys.readouterr().out.startswith("MNIST: 5 training")


def test_without_mnist_the_built_in_digits_take_its_place_in_one_clear_line(tmp_path):
    lines = []
    images = load_images("mnist", report=lines.append)
    assert images.name == "digits" and len(images.train_images) == 60000
    fetching, line = lines
    assert fetching.startswith("fetching train-images-idx3-ubyte.gz of MNIST, 9,912,422 bytes")
    assert "\n" not in line and line.startswith("MNIST is not at hand, and no mirror gave it.")
    assert "digits (built-in): 60000 training and 10000 test images" in line
    assert "--data-dir" in line and "MINAE_DATA" in line
    assert not (tmp_path / "cache").exists()


def test_the_built_in_digits_by_name(monkeypatch):
    monkeypatch.setattr(mnist, "generated_digits", lambda: generated_digits(30, 20))
    lines = []
    assert load_images("digits", report=lines.append).test_images.shape == (20, 28, 28, 1)
    assert lines == ["digits (built-in): 30 training and 20 test images, drawn by minae, seed 0"]


def test_nothing_else_takes_the_place_of_what_was_asked_for(tmp_path, mirror):
    for name in ("mnist", "fashion"):
        with pytest.raises(FileNotFoundError):
            load_images(name, tmp_path / "nowhere")
    (mirror.folder / "fashion" / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(FetchError, match="--data-dir"):
        load_images("fashion")
    with pytest.raises(ValueError, match="leave out --data-dir"):
        load_images("digits", tmp_path)
    with pytest.raises(ValueError, match="choose mnist, fashion or digits"):
        load_images("MNIST")


# --- The real ones --------------------------------------------------------------------------------


def test_the_real_mnist(real):
    images = load_images("mnist", real("mnist").parent, report=str)
    assert images.train_images.shape == (60000, 28, 28, 1)
    assert images.test_images.shape == (10000, 28, 28, 1)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(images.train_labels).tolist() == counts
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(images.test_labels).tolist() == counts
    assert abs(images.train_images.mean() / 255 - 0.1307) < 5e-5


def test_the_known_sums_are_those_of_the_real_mnist(real):
    for part, (size, sha256) in zip(mnist.PARTS, mnist.FILES["mnist"]):
        content = (real("mnist") / f"{part}-ubyte.gz").read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, sha256)


def test_the_real_fashion_mnist(real):
    images = load_fashion_mnist(real("fashion_mnist"))
    assert images.train_images.shape == (60000, 28, 28, 1)
    assert np.bincount(images.train_labels).tolist() == [6000] * 10
    assert np.bincount(images.test_labels).tolist() == [1000] * 10
    assert abs(images.train_images.mean() / 255 - 0.2860) < 5e-5


def test_files_of_the_other_set_are_refused(real):
    folder = real("mnist")
    with pytest.raises(FormatError, match="is of MNIST, not of Fashion-MNIST"):
        load_fashion_mnist(folder)
    with pytest.raises(FormatError, match="is of Fashion-MNIST, not of MNIST"):
        load_mnist(real("fashion_mnist"))
