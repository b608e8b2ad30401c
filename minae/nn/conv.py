"""Convolutions over images (batch, height, width, channels)."""

from __future__ import annotations

from typing import Any

from ..functional import conv2d, conv_transpose2d, pair
from ..tensor import Tensor
from .linear import initial
from .module import Module


class Conv2d(Module):
    """Cross-correlation with learned filters (kh, kw, inputs / groups, outputs).

    ``kernel``, ``stride``, ``padding`` (zeros on both sides) and ``dilation`` are integers or
    pairs (vertical, horizontal). Raises ValueError where the groups do not divide the channels.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, *, rng: Any = None,
    ) -> None:
        self.channels = inputs, outputs
        self.options = {
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups
        }
        self.weight = _filters(inputs, outputs, kernel, groups, rng)
        self.bias = _bias(outputs, self.weight, rng) if bias else None

    def forward(self, x: Any, relu: bool = False) -> Any:
        """Images (batch, height, width, inputs) to (batch, height', width', outputs)."""
        return conv2d(x, self.weight, self.bias, **self.options, relu=relu)

    def extra_repr(self) -> str:
        return _description(self)


class ConvTranspose2d(Module):
    """The adjoint of a convolution from ``outputs`` to ``inputs`` channels, to larger images.

    Its filters are that convolution's: (kh, kw, outputs / groups, inputs).
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True, *,
        rng: Any = None,
    ) -> None:
        self.channels = inputs, outputs
        self.options = {
            "stride": stride, "padding": padding, "output_padding": output_padding,
            "dilation": dilation, "groups": groups,
        }
        self.weight = _filters(outputs, inputs, kernel, groups, rng)
        self.bias = _bias(outputs, self.weight, rng) if bias else None

    def forward(self, x: Any, relu: bool = False) -> Any:
        """Images (batch, height, width, inputs) to (batch, height', width', outputs)."""
        return conv_transpose2d(x, self.weight, self.bias, **self.options, relu=relu)

    def extra_repr(self) -> str:
        return _description(self)


def _filters(inputs: int, outputs: int, kernel: Any, groups: int, rng: Any) -> Tensor:
    """The filters of a convolution."""
    if groups < 1 or inputs % groups or outputs % groups:
        raise ValueError(f"{groups} groups do not divide {inputs} and {outputs} channels")
    kh, kw = pair(kernel, "kernel")
    within = inputs // groups
    return initial((kh, kw, within, outputs), kh * kw * within, rng)


def _bias(outputs: int, weight: Tensor, rng: Any) -> Tensor:
    kh, kw, within, _ = weight.shape
    return initial((outputs,), kh * kw * within, rng)


def _description(layer: Any) -> str:
    unset = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    kh, kw = layer.weight.shape[:2]
    parts = [*map(str, layer.channels), str(kh if kh == kw else (kh, kw))]
    parts += [f"{k}={v}" for k, v in layer.options.items() if v != unset[k]]
    return ", ".join(parts + ([] if layer.bias is not None else ["bias=False"]))
