"""Layers: functions with the parameters and buffers that they need.

What needs none stays a function of ``minae``, activations and losses among them, and stands in a
``Sequential`` as it is.
"""

from .conv import Conv2d, ConvTranspose2d
from .embedding import Embedding
from .linear import Linear
from .module import Module
from .norm import BatchNorm2d, GroupNorm, LayerNorm
from .sequential import Dropout, Sequential

__all__ = [
    "BatchNorm2d", "Conv2d", "ConvTranspose2d", "Dropout", "Embedding", "GroupNorm", "LayerNorm",
    "Linear", "Module", "Sequential",
]  # fmt: skip
