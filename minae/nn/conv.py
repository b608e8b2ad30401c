"""Convolutions over images (batch, height, width, channels)."""

from __future__ import annotations

from typing import Any

from ..functional import conv2d, conv_transpose2d
from .linear import initial
from .module import Module


class Conv2d(Module):
    """Cross-correlation with learned filters (kh, kw, inputs / groups, outputs).

    ``kernel``, ``stride``, ``padding`` (zeros on both sides) and ``dilation`` are integers or
    pairs (vertical, horizontal).
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, *, rng: Any = None,
    ) -> None:
        if groups < 1 or inputs % groups or outputs % groups:
            raise ValueError(f"{groups} groups do not divide {inputs} and {outputs} channels")
        kh, kw = _pair(kernel)
        fan_in = kh * kw * inputs // groups
        self.weight = initial((kh, kw, inputs // groups, outputs), fan_in, rng)
        self.bias = initial((outputs,), fan_in, rng) if bias else None
        self.inputs = inputs
        self.options = {
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups
        }

    def forward(self, x: Any) -> Any:
        """Images (batch, height, width, inputs) to (batch, height', width', outputs)."""
        return conv2d(x, self.weight, self.bias, **self.options)

    def extra_repr(self) -> str:
        return _description(self.inputs, self.weight.shape[3], self)


class ConvTranspose2d(Module):
    """The adjoint of a convolution from ``outputs`` to ``inputs`` channels, to larger images.

    Its filters are that convolution's: (kh, kw, outputs / groups, inputs).
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True, *,
        rng: Any = None,
    ) -> None:
        if groups < 1 or inputs % groups or outputs % groups:
            raise ValueError(f"{groups} groups do not divide {inputs} and {outputs} channels")
        kh, kw = _pair(kernel)
        fan_in = kh * kw * outputs // groups
        self.weight = initial((kh, kw, outputs // groups, inputs), fan_in, rng)
        self.bias = initial((outputs,), fan_in, rng) if bias else None
        self.outputs = outputs
        self.options = {
            "stride": stride, "padding": padding, "output_padding": output_padding,
            "dilation": dilation, "groups": groups,
        }

    def forward(self, x: Any) -> Any:
        """Images (batch, height, width, inputs) to (batch, height', width', outputs)."""
        return conv_transpose2d(x, self.weight, self.bias, **self.options)

    def extra_repr(self) -> str:
        return _description(self.weight.shape[3], self.outputs, self)


def _pair(kernel: Any) -> tuple[int, int]:
    return (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)


def _description(inputs: int, outputs: int, layer: Any) -> str:
    unset = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    kh, kw = layer.weight.shape[:2]
    parts = [str(inputs), str(outputs), str(kh if kh == kw else (kh, kw))]
    parts += [f"{k}={v}" for k, v in layer.options.items() if v != unset[k]]
    return ", ".join(parts + ([] if layer.bias is not None else ["bias=False"]))
