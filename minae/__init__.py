"""minae: a small engine for auto-encoders, with automatic differentiation on NumPy or CuPy.

``import minae`` needs NumPy alone; ``minae.nn`` and the other rooms load when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from .backend import xp
from .debugging import debug
from .engine import elementwise, grad, no_grad, primitive
from .functional import (
    attention,
    batch_norm,
    binary_cross_entropy_with_logits,
    causal_mask,
    conv2d,
    conv_transpose2d,
    cross_entropy,
    dropout,
    elu,
    embedding,
    gelu,
    gelu_tanh,
    group_norm,
    index_add,
    index_update,
    l1_loss,
    layer_norm,
    leaky_relu,
    linear,
    mean,
    mse_loss,
    norm,
    one_hot,
    silu,
    sort,
    split,
    standardize,
    std,
    take_along_axis,
    var,
)
from .ops import (
    abs,
    add,
    astype,
    broadcast_to,
    clip,
    concatenate,
    cos,
    cumsum,
    div,
    einsum,
    erf,
    exp,
    expm1,
    flip,
    log,
    log1p,
    log_softmax,
    logsumexp,
    matmul,
    max,
    maximum,
    min,
    minimum,
    mul,
    neg,
    pad,
    pow,
    relu,
    reshape,
    sigmoid,
    sign,
    sin,
    softmax,
    softplus,
    sqrt,
    stack,
    sub,
    sum,
    swapaxes,
    tanh,
    transpose,
    where,
)
from .random import seed
from .tensor import Tensor, from_dlpack, tensor

__version__ = "0.1.0"

__all__ = [
    "Tensor", "__version__", "abs", "add", "astype", "attention", "batch_norm",
    "binary_cross_entropy_with_logits", "broadcast_to", "causal_mask", "clip", "concatenate",
    "conv2d", "conv_transpose2d", "cos", "cross_entropy", "cumsum", "debug", "div", "dropout",
    "einsum", "elementwise", "elu", "embedding", "erf", "exp", "expm1", "flip", "from_dlpack",
    "gelu", "gelu_tanh", "grad", "group_norm", "index_add", "index_update", "l1_loss", "layer_norm",
    "leaky_relu", "linear", "log", "log1p", "log_softmax", "logsumexp", "matmul", "max", "maximum",
    "mean", "min", "minimum", "mse_loss", "mul", "neg", "no_grad", "norm", "one_hot", "pad", "pow",
    "primitive", "relu", "reshape", "seed", "sigmoid", "sign", "silu", "sin", "softmax", "softplus",
    "sort", "split", "sqrt", "stack", "standardize", "std", "sub", "sum", "swapaxes",
    "take_along_axis", "tanh", "tensor", "transpose", "var", "where", "xp",
]  # fmt: skip

_LATER = frozenset({
    "command", "data", "io", "models", "nn", "optim", "pictures", "run", "testing", "train", "vq",
})  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'minae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LATER, "kernels"})
