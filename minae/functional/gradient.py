"""Functions whose gradient is not the usual one: stopped, reversed, or computed once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import random
from ..backend import numpy, xp
from ..debugging import users_line
from ..engine import (
    Node,
    Source,
    debugged,
    elementwise,
    entries,
    new,
    pull_back,
    recorded,
    sources_of,
    tick,
    wrap,
)
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
    (those of a Module, say) get their gradients too, to any order. What it draws without an ``rng``
    comes both times from one seed, which the default generator draws; changes to buffers happen
    twice. Raises TypeError where it returns anything but one Tensor or array.
    """
    seed = int(random.generator(None).integers(1 << 63))

    def run() -> Any:
        with random.using(numpy.random.default_rng(seed)):
            return function(*xs)

    start = tick()
    y = run()  # recorded, but only to learn what it reads
    if not hasattr(y, "dtype"):
        kind = type(y).__name__
        raise TypeError(f"checkpoint is for a function that returns one Tensor, not a {kind}")
    if not recorded() or getattr(y, "node", None) is None or y.node.clock < start:
        return y
    sources, read = _read_by(y.node, start)
    read += [x for x in xs if entries(x) is not x]

    def again(g: Any, *read: Any) -> list:
        since, root = tick(), run()
        twice = entries(g) is not g  # create_graph
        found = pull_back(root, g, set(sources), twice, twice, since)
        return [found[s] if s in found else _nothing(s, twice) for s in sources]

    rule = new(Rule)
    rule.argument, rule.pull, rule.out = "all arguments", again, None
    node = new(Node)
    node.op, node.clock = CHECKPOINT, tick()
    node.edges = [(sources, rule, tuple(read))]
    node.shape, node.dtype = y.shape, y.dtype
    if debugged():
        node.line = users_line()
    return wrap(y.array, node)


CHECKPOINT = Op(checkpoint, {}, joint=lambda g: [])


def _read_by(root: Node, start: int) -> tuple[list[Source], list[Any]]:
    """What the Nodes recorded since ``start`` were made from: leaves and older Nodes, and which
    older Tensors they read. They will be read again, and must not change meanwhile."""
    found: dict[Source, None] = {}
    read: dict[int, Any] = {}
    seen, stack = {root}, [root]
    while stack:
        node = stack.pop()
        for _, _, values in node.edges:
            for value in values:
                if hasattr(value, "written") and getattr(value.node, "clock", -1) < start:
                    read[id(value)] = value
        for source in sources_of(node):
            if type(source) is Node and source.clock > start:
                if source not in seen:
                    seen.add(source)
                    stack.append(source)
            else:
                found[source] = None
                if type(source) is not Node:
                    read[id(source)] = source
    return list(found), list(read.values())


def _nothing(source: Source, recorded: bool) -> Any:
    zeros = xp.zeros(source.shape, source.dtype)
    return wrap(zeros) if recorded else zeros
