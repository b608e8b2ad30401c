"""``straight_through``: a step that has no gradient, passed by the gradient as if it were none."""

from __future__ import annotations

from typing import Any

from ..engine import primitive


@primitive(x=lambda g: g)
def straight_through(x: Any, replaced: Any) -> Any:
    """The values of ``replaced``, exactly; gradients go to ``x``, unchanged (Bengio et al. 2013).

    Where ``replaced`` was made from ``x`` by a step without a useful gradient, such as rounding
    or the search in a codebook, this treats the step as the identity in the backward pass. Raises
    ValueError unless both have one shape.
    """
    if x.shape != replaced.shape:
        raise ValueError(f"{list(replaced.shape)} cannot stand for {list(x.shape)}")
    return replaced
