"""Layers that standardize features, then scale and shift them by what they learn."""

from __future__ import annotations

import math
from typing import Any

from ..backend import expect, xp
from ..engine import entries
from ..functional import batch_norm, group_norm, instance_norm, layer_norm, mean, rms_norm, var
from ..ops import standardize
from .linear import constant
from .module import Module


class _Norm(Module):
    """``features`` and ``eps``, which keeps the division from 0."""

    axes = "..."  # those before the features

    def __init__(self, features: int, eps: float) -> None:
        self.features, self.eps = features, eps

    def check(self, x: Any) -> None:
        """Raise ValueError unless ``x`` has these features: a single one would broadcast."""
        known = self.axes == "..." or len(x.shape) == self.axes.count(",") + 2
        if not known or x.shape[-1:] != (self.features,):
            raise ValueError(expect(f"({self.axes}, {self.features})", x))

    def extra_repr(self) -> str:
        return str(self.features)


class LayerNorm(_Norm):
    """Over the ``features`` of each position (Ba et al. 2016); ``eps`` is added to the variance."""

    def __init__(self, features: int, eps: float = 1e-5) -> None:
        super().__init__(features, eps)
        self.weight, self.bias = constant(features, 1), constant(features, 0)

    def forward(self, x: Any) -> Any:
        """(..., features) to the same shape."""
        self.check(x)
        return layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(_Norm):
    """By the root mean square of the ``features``, without a shift (Zhang & Sennrich 2019).

    ``eps`` is added to the mean square.
    """

    def __init__(self, features: int, eps: float = 1e-6) -> None:
        super().__init__(features, eps)
        self.weight = constant(features, 1)

    def forward(self, x: Any) -> Any:
        """(..., features) to the same shape."""
        self.check(x)
        return rms_norm(x, self.weight, self.eps)


class GroupNorm(_Norm):
    """Over space and each of ``groups`` groups of channels, image by image (Wu & He 2018).

    ``eps`` is added to the variance. Raises ValueError where the channels form no equal groups.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        if groups < 1 or channels % groups:
            raise ValueError(f"{channels} channels do not form {groups} equal groups")
        super().__init__(channels, eps)
        self.groups = groups
        self.weight, self.bias = constant(channels, 1), constant(channels, 0)

    def forward(self, x: Any) -> Any:
        """(batch, ..., channels) to the same shape."""
        self.check(x)
        return group_norm(x, self.groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.groups}, {self.features}"


# --- Each channel of each sample --------------------------------------------------------------


class _InstanceNorm(_Norm):
    def __init__(self, channels: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__(channels, eps)
        self.weight = constant(channels, 1) if affine else None
        self.bias = constant(channels, 0) if affine else None

    def forward(self, x: Any) -> Any:
        """To the same shape. Raises ValueError where a channel has a single entry."""
        self.check(x)
        if math.prod(x.shape[1:-1]) < 2:
            raise ValueError("the variance of one entry says nothing: give more than one position")
        return instance_norm(x, self.weight, self.bias, self.eps)


class InstanceNorm1d(_InstanceNorm):
    """Over time, each channel of each sequence for itself (Ulyanov et al. 2016).

    Sequences (batch, time, channels). Scales and shifts only if ``affine``, as in PyTorch; ``eps``
    is added to the variance.
    """

    axes = "batch, time"


class InstanceNorm2d(_InstanceNorm):
    """``InstanceNorm1d`` of images (batch, height, width, channels); ``eps`` and ``affine`` too."""

    axes = "batch, height, width"


# --- Each channel over the batch --------------------------------------------------------------


class _BatchNorm(_Norm):
    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(channels, eps)
        self.momentum = momentum
        self.weight, self.bias = constant(channels, 1), constant(channels, 0)
        self.running_mean = xp.zeros(channels, "float32")
        self.running_var = xp.ones(channels, "float32")

    def forward(self, x: Any) -> Any:
        """To the same shape."""
        self.check(x)
        if not self.training:
            return batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.eps
            )
        count = math.prod(x.shape[:-1])
        if count < 2:
            raise ValueError("the variance of one entry says nothing: give a larger batch")
        others = tuple(range(len(x.shape) - 1))
        share, correction = self.momentum, count / (count - 1)
        self.running_mean += share * (mean(entries(x), others) - self.running_mean)
        self.running_var += share * (var(entries(x), others) * correction - self.running_var)
        return standardize(x, axis=others, eps=self.eps) * self.weight + self.bias


class BatchNorm2d(_BatchNorm):
    """Over batch and space, each channel for itself (Ioffe & Szegedy 2015, algorithms 1 and 2).

    Images (batch, height, width, channels). In training by the mean and variance of the batch, of
    which ``running_mean`` and the unbiased ``running_var`` keep a moving average (``momentum`` is
    the share of the new); in evaluation by those. ``eps`` is added to the variance. Raises
    ValueError where there are not ``channels`` channels, and in training where one has a single
    entry.
    """

    axes = "batch, height, width"


class BatchNorm1d(_BatchNorm):
    """``BatchNorm2d`` of features (batch, channels) or sequences (batch, time, channels).

    ``eps`` and ``momentum`` are the same.
    """

    axes = "batch, time"

    def check(self, x: Any) -> None:
        """Raise ValueError unless ``x`` is of either form."""
        if len(x.shape) not in (2, 3) or x.shape[-1] != self.features:
            raise ValueError(
                expect(f"(batch, {self.features}) or (batch, time, {self.features})", x)
            )
