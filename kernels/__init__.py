"""The array functions worth making fast: no Tensor here, arrays in and arrays out.

- ``nearest``, ``prepare``: the exact nearest codeword. ``scatter_sum``: rows added up by code.
- ``conv2d`` and its gradients ``conv2d_input`` (the transposed convolution), ``conv2d_weight``.
- ``relu`` and its gradient ``gate``; ``erf``; the steps of the optimizers, ``sgd`` and ``adam``.
- ``gelu``, ``gelu_tanh``, ``softmax``, ``log_softmax``, ``cross_entropy``, ``standardize``,
  ``layer_norm``, ``attention``, ``self_attention``, ``lstm``; of each its ``_gradient``.
- ``learn_merges``; ``rank_merges``, ``merge``: byte-pair encoding, on the host with CuPy, too.
- ``chart_total``, ``chart_parts``: sums over all structures of a chart, and what its cells have.
- ``uniform``, ``normal``: random numbers by a counter, for the device; ``flag``: what went wrong.

Each calls the best form of it that this machine has, found at the first call. ``reference.py``
defines them all in the NumPy API; the faster forms need Numba, and compile themselves when they are
first used, or all at once in ``warm_up``. Arguments, results and errors are the reference's.

The environment is read at the first call: ``MINAE_KERNELS`` is ``auto`` (the default: falls back to
the reference, with one warning, where a faster form fails), ``fast`` (raises instead) or
``reference`` (looks for none). ``MINAE_THREADS`` is how many threads share the work,
``MINAE_CACHE`` where compiled code is kept. On a GPU, ``MINAE_TF32`` is ``1`` where convolutions in
float32 may multiply no more than the first 11 bits of each number.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from minae import backend

from . import reference

__all__ = [
    "Unavailable", "adam", "attention", "attention_gradient", "by_definition", "chart_parts",
    "chart_total", "conv2d", "conv2d_input", "conv2d_weight", "cross_entropy",
    "cross_entropy_gradient", "erf", "flag", "form", "gate", "gelu", "gelu_gradient", "gelu_tanh",
    "gelu_tanh_gradient", "layer_norm", "layer_norm_gradient", "learn_merges", "log_softmax",
    "log_softmax_gradient", "lstm", "lstm_gradient", "matmul", "merge", "nearest", "normal",
    "prepare", "rank_merges", "relu", "scatter_sum", "self_attention", "self_attention_gradient",
    "sgd", "softmax", "softmax_gradient", "standardize", "standardize_gradient", "uniform",
    "warm_up",
]  # fmt: skip

FORMS = {  # kernel -> the module of this package that holds its faster form
    "nearest": "codebook", "prepare": "codebook", "scatter_sum": "scattering",
    "conv2d": "convolution", "conv2d_input": "convolution", "conv2d_weight": "correlation",
    "matmul": "products",
    "relu": "updates", "gate": "updates", "sgd": "updates", "adam": "updates",
    "learn_merges": "merging", "rank_merges": "merging", "merge": "merging",
    "chart_total": "chart", "chart_parts": "chart",
    "erf": "activations", "gelu": "activations", "gelu_gradient": "activations",
    "gelu_tanh": "activations", "gelu_tanh_gradient": "activations",
    "attention": "attending", "attention_gradient": "attending",
    "self_attention": "attending", "self_attention_gradient": "attending",
    "lstm": "recurrence", "lstm_gradient": "recurrence",
    "softmax": "rowwise", "softmax_gradient": "rowwise", "log_softmax": "rowwise",
    "log_softmax_gradient": "rowwise", "cross_entropy": "rowwise",
    "cross_entropy_gradient": "rowwise", "standardize": "rowwise",
    "standardize_gradient": "rowwise", "layer_norm": "rowwise", "layer_norm_gradient": "rowwise",
}  # fmt: skip


CUDA = {  # the same for CuPy
    "nearest": "cuda.search", "prepare": "cuda.search",
    "scatter_sum": "cuda.sums",
    "conv2d": "cuda.convolution", "conv2d_input": "cuda.convolution",
    "conv2d_weight": "cuda.convolution", "matmul": "cuda.products",
    "softmax": "cuda.rows", "softmax_gradient": "cuda.rows", "log_softmax": "cuda.rows",
    "log_softmax_gradient": "cuda.rows", "cross_entropy": "cuda.rows",
    "cross_entropy_gradient": "cuda.rows", "standardize": "cuda.rows",
    "standardize_gradient": "cuda.rows", "layer_norm": "cuda.rows",
    "layer_norm_gradient": "cuda.rows",
    "relu": "cuda.updates", "gate": "cuda.updates", "sgd": "cuda.updates", "adam": "cuda.updates",
    "flag": "cuda.updates",
    "uniform": "cuda.noise", "normal": "cuda.noise",
}  # fmt: skip


class Unavailable(Exception):
    """A form that this machine cannot compile."""


@functools.cache
def form(kernel: str) -> Callable[..., Any]:
    """The function that computes ``kernel``, by its name, in this process.

    Raises ValueError where ``MINAE_KERNELS`` is none of its three words; where it is ``fast``, also
    what stood in the way of the faster form, an ImportError or ``Unavailable``.
    """
    choice, definition = _choice(), getattr(reference, kernel)
    forms = FORMS if backend.name == "numpy" else CUDA
    if choice == "reference" or kernel not in forms:
        return definition
    try:
        fast = getattr(importlib.import_module(f".{forms[kernel]}", __name__), kernel)
    except Exception as error:  # an accelerator may fail in any way; the reference never does
        if choice == "fast":
            raise
        _fall_back(error)
        return definition
    if choice == "fast":
        return fast

    def attempt(*args: Any, **options: Any) -> Any:
        nonlocal fast
        try:
            return fast(*args, **options)
        except Unavailable as error:  # it compiles itself for each dtype when it meets it
            _fall_back(error)
            fast = definition
            return fast(*args, **options)

    return attempt


def by_definition(kernel: str) -> bool:
    """Whether the reference computes ``kernel`` here. On a GPU it waits for it, as forms do not."""
    return form(kernel) is getattr(reference, kernel)


def _choice() -> str:
    choice = os.environ.get("MINAE_KERNELS", "auto")
    if choice not in ("auto", "reference", "fast"):
        raise ValueError(f"MINAE_KERNELS is {choice!r}; choose auto, reference or fast")
    compiler = backend.name == "numpy" or hasattr(backend.xp, "RawModule")
    return choice if compiler else "reference"


def _fall_back(error: Exception) -> None:
    if not _fallen:
        _fallen.append(error)
        library = "NumPy" if backend.name == "numpy" else "CuPy"
        message = f"minae computes in {library} alone, more slowly: {error}"
        if isinstance(error, ImportError):
            message += ' (pip install "minae[fast]", or set MINAE_KERNELS=reference)'
        warnings.warn(message, RuntimeWarning, stacklevel=4)


_fallen: list[Exception] = []


def warm_up(dtypes: str | Iterable[str] = ("float32", "float64")) -> None:
    """Compile every kernel now, or load it from the cache, where otherwise the first call would.

    ``dtypes`` names those of the arrays that will come. Prints a line on standard error if anything
    has to be compiled. Does nothing where the reference computes, as by ``MINAE_KERNELS=reference``
    or on CuPy. Where a kernel does not compile, it falls back with a warning, or raises
    ``Unavailable``, as the kernels do. Raises ValueError for any other dtype.
    """
    dtypes = [dtypes] if isinstance(dtypes, str) else list(dtypes)
    if unknown := set(map(str, dtypes)) - {"float32", "float64"}:
        raise ValueError(f"kernels are compiled for float32 and float64, not {sorted(unknown)}")
    if backend.name != "numpy":
        return
    for kernel in FORMS:
        form(kernel)
    if _choice() != "reference" and not _fallen:
        try:
            importlib.import_module(".compiler", __name__).compile_all(dtypes)
        except Unavailable as error:
            if _choice() == "fast":
                raise
            _fall_back(error)


@functools.wraps(reference.nearest)
def nearest(vectors: Any, codebook: Any, **options: Any) -> Any:
    return form("nearest")(vectors, codebook, **options)


@functools.wraps(reference.prepare)
def prepare(codebook: Any) -> Any:
    return form("prepare")(codebook)


@functools.wraps(reference.scatter_sum)
def scatter_sum(values: Any, codes: Any, count: int) -> Any:
    return form("scatter_sum")(values, codes, count)


@functools.wraps(reference.conv2d)
def conv2d(x: Any, weight: Any, bias: Any = None, **grid: Any) -> Any:
    return form("conv2d")(x, weight, bias, **grid)


@functools.wraps(reference.conv2d_input)
def conv2d_input(g: Any, weight: Any, bias: Any = None, **grid: Any) -> Any:
    return form("conv2d_input")(g, weight, bias, **grid)


@functools.wraps(reference.conv2d_weight)
def conv2d_weight(x: Any, g: Any, **grid: Any) -> Any:
    return form("conv2d_weight")(x, g, **grid)


@functools.wraps(reference.matmul)
def matmul(x: Any, y: Any) -> Any:
    return form("matmul")(x, y)


@functools.wraps(reference.relu)
def relu(x: Any) -> Any:
    return form("relu")(x)


@functools.wraps(reference.gate)
def gate(x: Any, by: Any) -> Any:
    return form("gate")(x, by)


@functools.wraps(reference.sgd)
def sgd(*args: Any, **options: Any) -> None:
    form("sgd")(*args, **options)


@functools.wraps(reference.adam)
def adam(*args: Any, **options: Any) -> None:
    form("adam")(*args, **options)


@functools.wraps(reference.learn_merges)
def learn_merges(
    words: Any, starts: Any, counts: Any, symbols: int, size: int, least: int = 1
) -> tuple[Any, Any]:
    return form("learn_merges")(words, starts, counts, symbols, size, least)


@functools.wraps(reference.rank_merges)
def rank_merges(pairs: Any, made: Any) -> Any:
    return form("rank_merges")(pairs, made)


@functools.wraps(reference.merge)
def merge(word: Any, ranks: Any) -> Any:
    return form("merge")(word, ranks)


@functools.wraps(reference.erf)
def erf(x: Any) -> Any:
    return form("erf")(x)


@functools.wraps(reference.gelu)
def gelu(x: Any) -> Any:
    return form("gelu")(x)


@functools.wraps(reference.gelu_gradient)
def gelu_gradient(g: Any, x: Any) -> Any:
    return form("gelu_gradient")(g, x)


@functools.wraps(reference.gelu_tanh)
def gelu_tanh(x: Any) -> Any:
    return form("gelu_tanh")(x)


@functools.wraps(reference.gelu_tanh_gradient)
def gelu_tanh_gradient(g: Any, x: Any) -> Any:
    return form("gelu_tanh_gradient")(g, x)


@functools.wraps(reference.uniform)
def uniform(state: Any, count: int, dtype: Any = "float32") -> Any:
    return form("uniform")(state, count, dtype)


@functools.wraps(reference.normal)
def normal(state: Any, count: int, dtype: Any = "float32") -> Any:
    return form("normal")(state, count, dtype)


@functools.wraps(reference.flag)
def flag(word: Any, bad: Any, number: int) -> None:
    form("flag")(word, bad, number)


@functools.wraps(reference.softmax)
def softmax(x: Any, axis: int = -1) -> Any:
    return form("softmax")(x, axis)


@functools.wraps(reference.softmax_gradient)
def softmax_gradient(g: Any, p: Any, axis: int = -1) -> Any:
    return form("softmax_gradient")(g, p, axis)


@functools.wraps(reference.log_softmax)
def log_softmax(x: Any, axis: int = -1) -> Any:
    return form("log_softmax")(x, axis)


@functools.wraps(reference.log_softmax_gradient)
def log_softmax_gradient(g: Any, y: Any, axis: int = -1) -> Any:
    return form("log_softmax_gradient")(g, y, axis)


@functools.wraps(reference.cross_entropy)
def cross_entropy(x: Any, labels: Any) -> Any:
    return form("cross_entropy")(x, labels)


@functools.wraps(reference.cross_entropy_gradient)
def cross_entropy_gradient(g: Any, x: Any, labels: Any) -> Any:
    return form("cross_entropy_gradient")(g, x, labels)


@functools.wraps(reference.standardize)
def standardize(x: Any, eps: float, axis: Any = -1) -> Any:
    return form("standardize")(x, eps, axis)


@functools.wraps(reference.standardize_gradient)
def standardize_gradient(g: Any, x: Any, eps: float, axis: Any = -1) -> Any:
    return form("standardize_gradient")(g, x, eps, axis)


@functools.wraps(reference.chart_total)
def chart_total(x: Any, levels: Any, semiring: Any) -> Any:
    return form("chart_total")(x, levels, semiring)


@functools.wraps(reference.chart_parts)
def chart_parts(x: Any, levels: Any, semiring: Any) -> Any:
    return form("chart_parts")(x, levels, semiring)
@functools.wraps(reference.layer_norm)
def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    return form("layer_norm")(x, weight, bias, eps)


@functools.wraps(reference.layer_norm_gradient)
def layer_norm_gradient(g: Any, x: Any, weight: Any, eps: float) -> Any:
    return form("layer_norm_gradient")(g, x, weight, eps)


@functools.wraps(reference.attention)
def attention(query: Any, key: Any, value: Any, mask: Any = None, causal: bool = False) -> Any:
    return form("attention")(query, key, value, mask, causal)


@functools.wraps(reference.attention_gradient)
def attention_gradient(
    g: Any, query: Any, key: Any, value: Any, mask: Any = None, causal: bool = False
) -> Any:
    return form("attention_gradient")(g, query, key, value, mask, causal)


@functools.wraps(reference.self_attention)
def self_attention(projected: Any, heads: int, mask: Any = None, causal: bool = False) -> Any:
    return form("self_attention")(projected, heads, mask, causal)


@functools.wraps(reference.self_attention_gradient)
def self_attention_gradient(
    g: Any, projected: Any, heads: int, mask: Any = None, causal: bool = False
) -> Any:
    return form("self_attention_gradient")(g, projected, heads, mask, causal)


@functools.wraps(reference.lstm)
def lstm(projected: Any, weight: Any, hidden: Any, cell: Any, gates: Any = None) -> Any:
    return form("lstm")(projected, weight, hidden, cell, gates)


@functools.wraps(reference.lstm_gradient)
def lstm_gradient(
    g: Any, projected: Any, weight: Any, hidden: Any, cell: Any, out: Any, gates: Any = None
) -> Any:
    return form("lstm_gradient")(g, projected, weight, hidden, cell, out, gates)
