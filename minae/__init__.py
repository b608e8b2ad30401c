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
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    attention,
    avg_pool1d,
    avg_pool2d,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    causal_mask,
    checkpoint,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    cosine_similarity,
    cross_entropy,
    dropout,
    embedding,
    glu,
    group_norm,
    huber_loss,
    index_add,
    index_update,
    instance_norm,
    kl_div,
    l1_loss,
    layer_norm,
    linear,
    log_sigmoid,
    masked_fill,
    max_pool1d,
    max_pool2d,
    mean,
    mse_loss,
    nll_loss,
    norm,
    one_hot,
    pixel_shuffle,
    reflect_pad,
    reverse_gradient,
    rms_norm,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
    selu,
    sort,
    split,
    std,
    stop_gradient,
    take_along_axis,
    top_k,
    upsample_nearest,
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
    elu,
    erf,
    exp,
    expm1,
    flip,
    gelu,
    gelu_tanh,
    leaky_relu,
    log,
    log1mexp,
    log1p,
    log_softmax,
    logsumexp,
    matmul,
    max,
    maximum,
    min,
    minimum,
    mish,
    mul,
    neg,
    pad,
    pow,
    relu,
    reshape,
    sigmoid,
    sign,
    silu,
    sin,
    softmax,
    softplus,
    sqrt,
    stack,
    standardize,
    sub,
    sum,
    swapaxes,
    tanh,
    transpose,
    where,
)
from .random import seed
from .replay import capture
from .tensor import Tensor, from_dlpack, tensor

__version__ = "0.1.0"

__all__ = [
    "Tensor", "__version__", "abs", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "add", "astype", "attention", "avg_pool1d",
    "avg_pool2d", "batch_norm", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "broadcast_to", "capture", "causal_mask", "checkpoint", "clip", "concatenate", "conv1d",
    "conv2d", "conv_transpose1d", "conv_transpose2d", "cos", "cosine_similarity", "cross_entropy",
    "cumsum", "debug", "div", "dropout", "einsum", "elementwise", "elu", "embedding", "erf", "exp",
    "expm1", "flip", "from_dlpack", "gelu", "gelu_tanh", "glu", "grad", "group_norm", "huber_loss",
    "index_add", "index_update", "instance_norm", "kl_div", "l1_loss", "layer_norm", "leaky_relu",
    "linear", "log", "log1mexp", "log1p", "log_sigmoid", "log_softmax", "logsumexp", "masked_fill",
    "matmul", "max", "max_pool1d", "max_pool2d", "maximum", "mean", "min", "minimum", "mish",
    "mse_loss", "mul", "neg", "nll_loss", "no_grad", "norm", "one_hot", "pad", "pixel_shuffle",
    "pow", "primitive", "reflect_pad", "relu", "reshape", "reverse_gradient", "rms_norm", "seed",
    "segment_max", "segment_mean", "segment_softmax", "segment_sum", "selu", "sigmoid", "sign",
    "silu", "sin", "softmax", "softplus", "sort", "split", "sqrt", "stack", "standardize", "std",
    "stop_gradient", "sub", "sum", "swapaxes", "take_along_axis", "tanh", "tensor", "top_k",
    "transpose", "upsample_nearest", "var", "where", "xp",
]  # fmt: skip

_LATER = frozenset({
    "command", "data", "inspect", "interop", "io", "models", "nn", "optim", "pictures", "run",
    "seq", "testing", "train", "vq",
})  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'minae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LATER, "kernels"})
