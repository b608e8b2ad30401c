"""Weights from PyTorch and back: the layout is changed once, at this door.

PyTorch has features first, in weights too: (out, in, *kernel), where minae has (*kernel, in, out).
Names are the same, so that a ``state_dict`` fits layers that are nested alike.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from . import nn
from .backend import asarray, asnumpy, numpy
from .engine import entries
from .io import load
from .nn import Module

TURNED = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.LSTMCell,
    nn.GRUCell, nn.LSTM, nn.GRU, nn.MultiheadAttention,
)  # fmt: skip
COUNTER = "num_batches_tracked"  # of PyTorch's batch norm, which has no use for it either


def load_torch(module: Module, state: Any) -> None:
    """Take over a ``state`` in PyTorch's layout: a ``state_dict``, or the path of a file of one.

    The names must be those of ``module``, the file ``.safetensors`` or ``.npz``. Raises ValueError,
    and changes nothing, where a name is missing, unknown, or of another shape; TypeError for what
    holds no real numbers. A ``.pt`` file is a program: let PyTorch load it, and pass what it gives.
    """
    if isinstance(state, (str, os.PathLike)):
        if not os.fspath(state).endswith((".npz", ".safetensors")):
            raise ValueError(
                f"{state} is neither .npz nor .safetensors: let PyTorch load it, as "
                "torch.load(path, weights_only=True), and pass what it gives"
            )
        state = load(state)
    if not isinstance(state, Mapping):
        raise TypeError(f"load_torch takes a state_dict or a path, not a {type(state).__name__}")
    turned = _turned(module)
    module.load_state_dict({
        name: _in(_array(name, value)) if name in turned else _array(name, value)
        for name, value in state.items()
        if name.rpartition(".")[2] != COUNTER
    })


def to_torch(module: Module) -> dict[str, Any]:
    """The ``state_dict`` of ``module`` in PyTorch's layout, as NumPy arrays.

    ``layer.load_state_dict({k: torch.from_numpy(v) for k, v in to_torch(module).items()})`` reads
    it, and ``io.save`` writes it to a file that others read.
    """
    turned = _turned(module)
    return {
        name: _out(value) if name in turned else value
        for name, value in module.state_dict().items()
    }


def _turned(module: Module) -> set[str]:
    """The names of the weights that have their axes in another order."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, layer in module.named_modules()
        if isinstance(layer, TURNED)
        for name, value in vars(layer).items()
        if len(getattr(entries(value), "shape", ())) >= 2
    }


def _in(weight: Any) -> Any:
    """(out, in, *kernel) to (*kernel, in, out)."""
    return weight.transpose(*range(2, weight.ndim), 1, 0) if weight.ndim > 1 else weight


def _out(weight: Any) -> Any:
    """(*kernel, in, out) to (out, in, *kernel)."""
    last = weight.ndim - 1
    return numpy.ascontiguousarray(weight.transpose(last, last - 1, *range(last - 1)))


def _array(name: str, value: Any) -> Any:
    try:
        value = value.detach() if hasattr(value, "detach") else value
        half = str(getattr(value, "dtype", "")) == "torch.bfloat16"  # which NumPy does not have
        return asnumpy(asarray(value.float() if half else value))
    except Exception as error:
        error.add_note(f"of {name}")
        raise
