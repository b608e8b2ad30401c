"""Convolutions of images (batch, height, width, channels) and sequences (batch, time, channels)."""

from __future__ import annotations

import math
from typing import Any

from ..functional import conv1d, conv2d, conv_transpose1d, conv_transpose2d, reflect_pad
from ..functional.checks import steps
from ..tensor import Tensor
from .linear import initial
from .module import Module


class Conv2d(Module):
    """Cross-correlation with learned filters (kh, kw, inputs / groups, outputs).

    ``kernel``, ``stride``, ``padding`` (on both sides: zeros, or with the ``padding_mode``
    ``"reflect"`` the mirror image) and ``dilation`` are integers or pairs (vertical, horizontal);
    with ``bias``, a number is learned for each output. See ``minae.conv2d``. Raises ValueError
    where the groups do not divide the channels.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", *,
        rng: Any = None,
    ) -> None:
        self.channels, self.padding_mode = (inputs, outputs), _mode(padding_mode)
        self.options = _options(2, groups, stride=stride, padding=padding, dilation=dilation)
        self.weight = _filters(inputs, outputs, steps(kernel, "kernel", 2), groups, rng)
        self.bias = _bias(outputs, self.weight, rng) if bias else None

    def forward(self, x: Any, relu: bool = False) -> Any:
        """Images (batch, height, width, inputs) to (batch, height', width', outputs)."""
        x, options = _padded(self, x)
        return conv2d(x, self.weight, self.bias, **options, relu=relu)

    def extra_repr(self) -> str:
        return _description(self)


class Conv1d(Module):
    """``Conv2d`` along time, with filters (k, inputs / groups, outputs).

    ``kernel``, ``stride``, ``padding`` and ``dilation`` are integers; ``padding_mode`` and ``bias``
    are those of ``Conv2d``.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0,
        dilation: int = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", *,
        rng: Any = None,
    ) -> None:
        self.channels, self.padding_mode = (inputs, outputs), _mode(padding_mode)
        self.options = _options(1, groups, stride=stride, padding=padding, dilation=dilation)
        self.weight = _filters(inputs, outputs, steps(kernel, "kernel", 1), groups, rng)
        self.bias = _bias(outputs, self.weight, rng) if bias else None

    def forward(self, x: Any, relu: bool = False) -> Any:
        """Sequences (batch, time, inputs) to (batch, time', outputs)."""
        x, options = _padded(self, x)
        return conv1d(x, self.weight, self.bias, **options, relu=relu)

    def extra_repr(self) -> str:
        return _description(self)


class ConvTranspose2d(Module):
    """The adjoint of a convolution from ``outputs`` to ``inputs`` channels, to larger images.

    Its filters are that convolution's, (kh, kw, outputs / groups, inputs), and so are ``kernel``,
    ``stride``, ``padding``, ``dilation`` and ``bias``, as in ``Conv2d``. Where a stride leaves
    several sizes possible, ``output_padding`` picks the larger: see ``minae.conv_transpose2d``.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True, *,
        rng: Any = None,
    ) -> None:
        self.channels = inputs, outputs
        self.options = _options(
            2, groups, stride=stride, padding=padding, output_padding=output_padding,
            dilation=dilation,
        )
        self.weight = _filters(outputs, inputs, steps(kernel, "kernel", 2), groups, rng)
        self.bias = _bias(outputs, self.weight, rng) if bias else None

    def forward(self, x: Any, relu: bool = False) -> Any:
        """Images (batch, height, width, inputs) to (batch, height', width', outputs)."""
        return conv_transpose2d(x, self.weight, self.bias, **self.options, relu=relu)

    def extra_repr(self) -> str:
        return _description(self)


class ConvTranspose1d(Module):
    """``ConvTranspose2d`` along time, with filters (k, outputs / groups, inputs).

    ``kernel``, ``stride``, ``padding``, ``output_padding`` and ``dilation`` are integers; ``bias``
    is that of ``ConvTranspose2d``.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0,
        output_padding: int = 0, dilation: int = 1, groups: int = 1, bias: bool = True, *,
        rng: Any = None,
    ) -> None:
        self.channels = inputs, outputs
        self.options = _options(
            1, groups, stride=stride, padding=padding, output_padding=output_padding,
            dilation=dilation,
        )
        self.weight = _filters(outputs, inputs, steps(kernel, "kernel", 1), groups, rng)
        self.bias = _bias(outputs, self.weight, rng) if bias else None

    def forward(self, x: Any, relu: bool = False) -> Any:
        """Sequences (batch, time, inputs) to (batch, time', outputs)."""
        return conv_transpose1d(x, self.weight, self.bias, **self.options, relu=relu)

    def extra_repr(self) -> str:
        return _description(self)


def _options(space: int, groups: int, **given: Any) -> dict[str, Any]:
    """The options of a convolution, refused here where they cannot be."""
    for name, value in given.items():
        least = 0 if "padding" in name else 1
        if min(steps(value, name, space)) < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    return {**given, "groups": groups}


def _mode(padding_mode: str) -> str:
    if padding_mode not in ("zeros", "reflect"):
        raise ValueError(f"padding_mode is {padding_mode!r}; choose zeros or reflect")
    return padding_mode


def _padded(layer: Any, x: Any) -> tuple[Any, dict[str, Any]]:
    """What to convolve, padded by reflection where that is asked for, and the options."""
    if layer.padding_mode == "zeros":
        return x, layer.options
    space = len(layer.weight.shape) - 2
    width = [(n, n) for n in steps(layer.options["padding"], "padding", space)]
    return reflect_pad(x, [(0, 0), *width, (0, 0)]), {**layer.options, "padding": 0}


def _filters(inputs: int, outputs: int, kernel: tuple, groups: int, rng: Any) -> Tensor:
    """The filters of a convolution."""
    if groups < 1 or inputs % groups or outputs % groups:
        raise ValueError(f"{groups} groups do not divide {inputs} and {outputs} channels")
    if min(kernel) < 1:
        raise ValueError(f"kernel must be at least 1, got {kernel}")
    within = inputs // groups
    return initial((*kernel, within, outputs), math.prod(kernel) * within, rng)


def _bias(outputs: int, weight: Tensor, rng: Any) -> Tensor:
    return initial((outputs,), math.prod(weight.shape[:-1]), rng)


def _description(layer: Any) -> str:
    unset = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    kernel = layer.weight.shape[:-2]
    parts = [*map(str, layer.channels), str(kernel if len(set(kernel)) > 1 else kernel[0])]
    parts += [f"{k}={v}" for k, v in layer.options.items() if v != unset[k]]
    parts += [] if layer.bias is not None else ["bias=False"]
    reflects = getattr(layer, "padding_mode", "zeros") == "reflect"
    return ", ".join(parts + (["padding_mode='reflect'"] if reflects else []))
