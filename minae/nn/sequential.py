"""``Sequential``: one after the other; and ``Dropout``, which only training knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..functional import dropout
from ..functional.checks import dropping
from ..ops import relu
from .conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from .module import Module

CONVOLUTIONS = (Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d)


class Sequential(Module):
    """Modules and functions, each applied to what the one before it returned::

        Sequential(Linear(784, 64), minae.relu, Linear(64, 10))

    State is named by position: ``0.weight``, ``2.bias``. A convolution and the relu behind it are
    computed in one. Raises TypeError where one of the ``layers`` cannot be called.
    """

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for position, layer in enumerate(layers):
            if not callable(layer) or isinstance(layer, type):
                raise TypeError(f"layer {position} is no Module and no function: {layer!r}")
            vars(self)[str(position)] = layer

    def __iter__(self) -> Iterator[Callable[[Any], Any]]:
        return (layer for name, layer in vars(self).items() if name.isdecimal())

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, position: Any) -> Callable[[Any], Any]:
        layers = list(self)[position]
        return Sequential(*layers) if isinstance(position, slice) else layers

    def forward(self, x: Any) -> Any:
        """The result of the last layer."""
        layers: list[Any] = list(self)
        while layers:
            layer = layers.pop(0)
            own = type(layer) in CONVOLUTIONS and "forward" not in vars(layer)
            if own and layers and layers[0] is relu:
                x = layer(x, relu=True)
                layers.pop(0)
            else:
                x = layer(x)
            if isinstance(x, tuple) and layers:
                name = getattr(layer, "__name__", type(layer).__name__)
                raise TypeError(f"{name} returned a tuple: put lambda x: x[0] behind it, say")
        return x


class Dropout(Module):
    """In training, each entry is 0 with probability ``p``, the others divided by ``1 - p``
    (Srivastava et al. 2014). Raises ValueError unless ``0 <= p < 1``."""

    def __init__(self, p: float = 0.5, *, rng: Any = None) -> None:
        self.p, self.rng = dropping(p), rng

    def forward(self, x: Any) -> Any:
        """Any shape to the same; in evaluation ``x`` itself."""
        return dropout(x, self.p, self.rng) if self.training else x

    def extra_repr(self) -> str:
        return str(self.p)
