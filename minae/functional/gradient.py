"""Functions whose gradient is not the usual one: stopped, reversed, or computed once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import random
from ..backend import xp
from ..engine import Node, Source, elementwise, entries, new, pull_back, recorded, tick, wrap
from ..op import Op, Rule


def stop_gradient(x: Any) -> Any:
    """``x`` as a constant: no gradient passes."""
    return x if entries(x) is x else x.detach()


@elementwise(x=lambda g, scale: g * -scale)
def reverse_gradient(x, *, scale=1.0):
    """``x``, whose gradient is turned round and multiplied by ``scale``.

    So that what follows learns to tell, and what comes before learns to hide (Ganin & Lempitsky
    2015, equation 9).
    """
    return x[...]


# --- Checkpointing ---------------------------------------------------------------------------


def checkpoint(function: Callable[..., Any], *xs: Any) -> Any:
    """``function(*xs)``, of which only ``xs`` is kept: the backward pass computes the rest again.

    So memory grows with the number of checkpoints instead of ops, for one more forward pass (Chen
    et al. 2016). ``function`` takes Tensors and returns one; parameters that it reads otherwise
    (those of a Module, say) get their gradients too, to any order. Where it draws from minae's
    default generator, it draws the same again; draws from another ``rng``, and changes to buffers,
    happen twice.
    """
    start, state = tick(), random.get_state()
    y = function(*xs)  # recorded, but only to learn what it reads
    if getattr(y, "node", None) is None or not recorded():
        return y
    sources = _read_by(y.node, start)

    def again(g: Any, *read: Any) -> list:
        since, now = tick(), random.get_state()
        random.set_state(state)
        try:
            root = function(*xs)
        finally:
            random.set_state(now)
        twice = entries(g) is not g  # create_graph
        found = pull_back(root, g, set(sources), twice, twice, since)
        return [found[s] if s in found else _nothing(s, twice) for s in sources]

    rule = new(Rule)
    rule.argument, rule.pull, rule.out = "all arguments", again, None
    leaves = [s for s in sources if type(s) is not Node]  # read again: must not change meanwhile
    node = new(Node)
    node.op, node.clock = CHECKPOINT, tick()
    node.edges = [(sources, rule, tuple(leaves))]
    node.shape, node.dtype = y.shape, y.dtype
    return wrap(y.array, node)


CHECKPOINT = Op(checkpoint, {}, joint=lambda g: [])


def _read_by(root: Node, start: int) -> list[Source]:
    """The leaves and the older Nodes that the Nodes recorded since ``start`` were made from."""
    found: dict[Source, None] = {}
    seen, stack = {root}, [root]
    while stack:
        for source, _, _ in stack.pop().edges:
            for each in source if type(source) is list else [source]:
                if each is None or each in seen:
                    continue
                if type(each) is Node and each.clock > start:
                    seen.add(each)
                    stack.append(each)
                else:
                    found[each] = None
    return list(found)


def _nothing(source: Source, recorded: bool) -> Any:
    zeros = xp.zeros(source.shape, source.dtype)
    return wrap(zeros) if recorded else zeros
