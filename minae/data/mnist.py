"""MNIST and Fashion-MNIST: found in a folder, the cache or a mirror, and checked on the way in.

Y. LeCun, C. Cortes and C. Burges, http://yann.lecun.com/exdb/mnist/; H. Xiao, K. Rasul and
R. Vollgraf, arXiv:1708.07747.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..io import FormatError
from .digits import generated_digits
from .fetch import CURE, FetchError, fetch, is_intact
from .idx import read_idx
from .images import ImageSet

PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
TITLES = {"mnist": "MNIST", "fashion": "Fashion-MNIST", "digits": "digits (built-in)"}
FOLDERS = {"mnist": "mnist", "fashion": "fashion_mnist"}
MIRRORS = {
    "mnist": [
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ],
    "fashion": [
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ],
}
FILES = {  # of each part, in gzip: bytes, SHA-256
    "mnist": [
        (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ],
    "fashion": [
        (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ],
}


def load_mnist(data_dir: Any = None) -> ImageSet:
    """MNIST: 60,000 and 10,000 handwritten digits.

    Its four IDX files, plain or in gzip, are looked for in ``data_dir``, or else in
    ``$MINAE_DATA/mnist``, the cache (``$MINAE_CACHE``, ``$XDG_CACHE_HOME/minae`` or
    ``~/.cache/minae``) and on mirrors, whose files are checked by SHA-256 and kept in the cache.
    A ``data_dir`` holds the files or a folder ``mnist``, and nothing else is tried.

    Raises FileNotFoundError for files that ``data_dir`` lacks, FormatError for damaged ones,
    FetchError if no mirror answers well, OSError if the cache cannot be written.
    """
    return _load("mnist", data_dir)


def load_fashion_mnist(data_dir: Any = None) -> ImageSet:
    """Fashion-MNIST, 60,000 and 10,000 articles of clothing.

    ``data_dir`` and all else is as in ``load_mnist``, but the folders are named ``fashion_mnist``.
    """
    return _load("fashion", data_dir)


def load_images(
    dataset: str, data_dir: Any = None, report: Callable[[str], Any] = print
) -> ImageSet:
    """The ``dataset`` "mnist", "fashion" or "digits"; ``report`` gets a line on where it is from.

    ``data_dir`` is that of ``load_mnist``. Where MNIST is neither at hand nor to be fetched, the
    built-in "digits" take its place, and the line says so. Raises ValueError for another name
    and for a folder to read "digits" from, and what the loaders raise.
    """
    before = after = ""
    if dataset == "digits":
        if data_dir is not None:
            raise ValueError("the built-in digits are drawn, not read: leave out --data-dir")
        images = generated_digits()
    elif dataset == "mnist":
        try:
            images = _load("mnist", data_dir, report)
        except FetchError:
            before = "MNIST is not at hand, and no mirror gave it. In its place, "
            after = f". {CURE}"
            images = generated_digits()
    elif dataset == "fashion":
        images = _load("fashion", data_dir, report)
    else:
        raise ValueError(f"dataset is {dataset!r}; choose mnist, fashion or digits")
    counts = f"{len(images.train_images)} training and {len(images.test_images)} test images"
    report(f"{before}{TITLES[images.name]}: {counts}, {images.source}{after}")
    return images


def _load(name: str, data_dir: Any, report: Callable[[str], Any] = lambda line: None) -> ImageSet:
    if data_dir is not None:
        folder, inner = Path(data_dir), Path(data_dir) / FOLDERS[name]
        return _from_folder(name, inner if inner.is_dir() else folder)
    if shared := os.environ.get("MINAE_DATA"):
        folder = Path(shared) / FOLDERS[name]
        if folder.is_dir():
            return _from_folder(name, folder)
    return _from_cache(name, report)


# --- A folder of the user's: the files of any spelling, trusted for their numbers -----------------


def _from_folder(name: str, folder: Path) -> ImageSet:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder. {CURE}")
    found = [_spelling(folder, part) for part in PARTS]
    if missing := [f"{part}-ubyte" for part, path in zip(PARTS, found) if path is None]:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)} (plain or .gz) of {TITLES[name]}: get "
            f"{'it' if len(missing) == 1 else 'them'} from {MIRRORS[name][0]}"
        )
    for other, path in itertools.product(FILES.keys() - {name}, found):
        if any(is_intact(path, *known) for known in FILES[other] if known not in FILES[name]):
            raise FormatError(f"{path} is of {TITLES[other]}, not of {TITLES[name]}")
    return _read(name, f"from {folder}", found)


def _spelling(folder: Path, part: str) -> Path | None:
    names = (f"{part}-ubyte{end}" for end in ("", ".gz"))
    dotted = (f"{part.replace('-idx', '.idx')}-ubyte{end}" for end in ("", ".gz"))
    return next((folder / n for n in (*names, *dotted) if (folder / n).is_file()), None)


def _read(name: str, source: str, paths: list[Any]) -> ImageSet:
    train_images, train_labels, test_images, test_labels = arrays = [read_idx(p) for p in paths]
    for images, path in zip(arrays[::2], paths[::2]):
        if images.shape[1:] != (28, 28):
            raise FormatError(f"{path} holds {images.shape}, not images (n, 28, 28). {CURE}")
    for labels, images, path in zip(arrays[1::2], arrays[::2], paths[1::2]):
        if labels.shape != images.shape[:1] or labels.max() > 9:
            found = f"{labels.shape} up to {labels.max()}"
            raise FormatError(f"{path} holds {found}, not {len(images)} labels from 0 to 9. {CURE}")
    return ImageSet(
        name, source, train_images[..., None], train_labels, test_images[..., None],
        test_labels,
    )  # fmt: skip


# --- The cache, filled from the mirrors: byte for byte the known files ----------------------------


def _from_cache(name: str, report: Callable[[str], Any]) -> ImageSet:
    folder = _cache() / FOLDERS[name]
    source = f"from the cache {folder}"
    paths = [folder / f"{part}-ubyte.gz" for part in PARTS]
    try:
        for path, (size, sha256) in zip(paths, FILES[name]):
            if not is_intact(path, size, sha256):
                report(f"fetching {path.name} of {TITLES[name]}, {size:,} bytes")
                urls = [mirror + path.name for mirror in MIRRORS[name]]
                url = fetch(f"{TITLES[name]}'s {path.name}", urls, sha256, path, size)
                source = f"from {urlsplit(url).netloc}, kept in {folder}"
    except FetchError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f"the cache {folder} cannot be used ({reason}): set MINAE_CACHE to a folder that can "
            f"be written. {CURE}"
        ) from None
    return _read(name, source, paths)


def _cache() -> Path:
    if chosen := os.environ.get("MINAE_CACHE"):
        return Path(chosen)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "minae"
    try:
        return Path.home() / ".cache" / "minae"
    except RuntimeError:
        raise OSError(
            f"there is no home folder for a cache: set MINAE_CACHE to a folder. {CURE}"
        ) from None
