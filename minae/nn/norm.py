"""Layers that standardize features, then scale and shift them by what they learn."""

from __future__ import annotations

from typing import Any

from ..backend import xp
from ..engine import entries
from ..functional import batch_norm, group_norm, layer_norm, mean
from ..ops import sqrt
from ..tensor import Tensor
from .module import Module


class _Affine(Module):
    """A scale and a shift for each feature, at first 1 and 0, and the ``eps`` of the division."""

    def __init__(self, features: int, eps: float = 1e-5) -> None:
        self.weight = Tensor(xp.ones(features, "float32"), requires_grad=True)
        self.bias = Tensor(xp.zeros(features, "float32"), requires_grad=True)
        self.eps = eps

    def check(self, x: Any) -> None:
        """Raise ValueError unless ``x`` has these features: one feature would broadcast."""
        if x.shape[-1:] != self.weight.shape:
            raise ValueError(f"expected (..., {self.weight.size}), got {list(x.shape)}")

    def extra_repr(self) -> str:
        return str(self.weight.size)


class LayerNorm(_Affine):
    """Over the features of each position (Ba et al. 2016)."""

    def forward(self, x: Any) -> Any:
        """(..., features) to the same shape."""
        self.check(x)
        return layer_norm(x, self.weight, self.bias, self.eps)


class GroupNorm(_Affine):
    """Over space and each of ``groups`` groups of channels, image by image (Wu & He 2018)."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        if groups < 1 or channels % groups:
            raise ValueError(f"{channels} channels do not form {groups} equal groups")
        super().__init__(channels, eps)
        self.groups = groups

    def forward(self, x: Any) -> Any:
        """(batch, ..., channels) to the same shape."""
        self.check(x)
        return group_norm(x, self.groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.groups}, {self.weight.size}"


class BatchNorm2d(_Affine):
    """Over batch and space, each channel for itself (Ioffe & Szegedy 2015, algorithms 1 and 2).

    In training by the mean and variance of the batch, of which ``running_mean`` and the unbiased
    ``running_var`` keep a moving average (``momentum`` is the share of the new); in evaluation by
    those. Raises ValueError in training where a channel has a single entry.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(channels, eps)
        self.momentum = momentum
        self.running_mean = xp.zeros(channels, "float32")
        self.running_var = xp.ones(channels, "float32")

    def forward(self, x: Any) -> Any:
        """(batch, height, width, channels) to the same shape."""
        if len(x.shape) != 4 or x.shape[3] != self.weight.size:
            raise ValueError(
                f"expected (batch, height, width, {self.weight.size}), got {list(x.shape)}"
            )
        if not self.training:
            return batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.eps
            )
        count = x.shape[0] * x.shape[1] * x.shape[2]
        if count < 2:
            raise ValueError("the variance of one entry says nothing: give a larger batch")
        centre = mean(x, (0, 1, 2))
        deviation = x - centre
        spread = mean(deviation * deviation, (0, 1, 2))
        share = self.momentum
        self.running_mean += share * (entries(centre) - self.running_mean)
        self.running_var += share * (entries(spread) * (count / (count - 1)) - self.running_var)
        return deviation / sqrt(spread + self.eps) * self.weight + self.bias
