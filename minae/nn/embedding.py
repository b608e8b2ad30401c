"""``Embedding``: a learned vector for each code."""

from __future__ import annotations

from typing import Any

from ..functional import embedding
from ..random import normal
from ..tensor import Tensor
from .module import Module


class Embedding(Module):
    """A table (count, features), drawn at first from a normal distribution of variance 1."""

    def __init__(self, count: int, features: int, *, rng: Any = None) -> None:
        self.weight = Tensor(normal((count, features), rng=rng), requires_grad=True)

    def forward(self, codes: Any) -> Any:
        """Codes (...), integers in [0, count), to (..., features)."""
        return embedding(self.weight, codes)

    def extra_repr(self) -> str:
        count, features = self.weight.shape
        return f"{count}, {features}"
