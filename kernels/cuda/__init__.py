"""CUDA kernels for CuPy: each ``.cu`` beside the module of the same name that launches it.

Arguments, results and errors are those of ``reference.py``. The sources are compiled for the card
at their first use, by CuPy, which keeps what it has compiled.
"""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from minae.backend import xp

from .. import Unavailable

FOLDER = Path(__file__).parent
RawModule = getattr(xp, "RawModule", None)  # CuPy's compiler and loader
THREADS = 256  # of a block, unless a kernel says otherwise


def source(name: str) -> str:
    """The text of ``name.cu``, after the functions that all sources may use.

    It is one text, for CuPy keeps compiled code by the text alone: of a header that changed it
    would not know.
    """
    return "".join((FOLDER / file).read_text("utf-8") for file in ("device.cuh", f"{name}.cu"))


@functools.cache
def module(name: str, *options: str) -> Any:
    """The kernels of ``name.cu``, by its ``get_function``; ``options`` are those of the compiler,
    such as ``-DWIDE=1``.

    Raises ``Unavailable`` where it does not compile for this card.
    """
    if RawModule is None:
        raise Unavailable("this array library compiles no CUDA")
    try:
        compiled = RawModule(code=source(name), options=("-std=c++17", *options))
        compiled.compile()
    except Exception as error:  # of the compiler, its installation, or the driver
        reason = str(error).strip().splitlines()
        raise Unavailable(f"{name}.cu does not compile here: {reason[-1:]}") from error
    return SimpleNamespace(get_function=functools.cache(compiled.get_function))


@functools.cache
def tensor_cores() -> bool:
    """Whether the card's take bf16 and TF32: from Ampere on."""
    return not hasattr(xp, "cuda") or int(xp.cuda.Device().compute_capability) >= 80


def grid(size: int) -> tuple[int]:
    """As many blocks as give each of ``size`` a thread."""
    return (-(-size // THREADS),)


def suffix(dtype: Any) -> str:
    """How the kernels for this dtype end: float or double."""
    return "float" if dtype == "float32" else "double"


def flat(*arrays: Any) -> bool:
    """Whether all have entries, of one shape and one dtype that is compiled for, in one line."""
    first = arrays[0]
    return all(
        isinstance(a, xp.ndarray) and a.dtype in ("float32", "float64") and a.dtype == first.dtype
        and a.shape == first.shape and a.size and a.flags.c_contiguous
        for a in arrays
    )  # fmt: skip
