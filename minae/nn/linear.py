"""``Linear``, and how parameters start."""

from __future__ import annotations

from typing import Any

from ..backend import xp
from ..functional import linear
from ..random import uniform
from ..tensor import Tensor
from .module import Module


def initial(shape: tuple[int, ...], fan_in: int, rng: Any = None) -> Tensor:
    """A parameter drawn evenly from [-b, b) with ``b = 1 / sqrt(fan_in)``, PyTorch's default.

    Weights of this size keep a third of the variance of what enters (He et al. 2015, equation 7,
    with the gain of a leaky slope sqrt(5)).
    """
    bound = max(fan_in, 1) ** -0.5
    return Tensor(uniform(shape, -bound, bound, rng=rng), requires_grad=True)


def constant(features: int, value: float) -> Tensor:
    """A parameter (features,) that starts with one value everywhere."""
    return Tensor(xp.full(features, value, "float32"), requires_grad=True)


class Linear(Module):
    """``x @ weight + bias``: (..., inputs) to (..., outputs), with weight (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True, *, rng: Any = None) -> None:
        self.weight = initial((inputs, outputs), inputs, rng)
        self.bias = initial((outputs,), inputs, rng) if bias else None

    def forward(self, x: Any) -> Any:
        """Features (..., inputs) to (..., outputs)."""
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        inputs, outputs = self.weight.shape
        return f"{inputs}, {outputs}" + ("" if self.bias is not None else ", bias=False")
