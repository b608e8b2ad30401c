"""What the engine has recorded, and where the time goes: ``graph`` and ``profile``."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from .engine import FREED, OPS, Node, Source, entries, sources_of
from .tensor import Tensor

# --- The graph -------------------------------------------------------------------------------


def graph(
    y: Tensor, names: Mapping[str, Tensor] | None = None, *, file: TextIO | None = None
) -> None:
    """Print the graph of ``y``: a line for each Node, its sources above it.

    A line tells the op, the form of its result, from where each gradient goes on to which argument,
    and the bytes that the Node keeps alive for its rules, parameters apart. ``names`` are those of
    leaves, as in ``dict(model.named_parameters())``. Prints to ``file``, by default standard
    output. Raises TypeError for what is no Tensor.
    """
    if type(y) is not Tensor:
        raise TypeError(f"graph draws a Tensor, not a {type(y).__name__}")
    called = {id(leaf): name for name, leaf in (names or {}).items()}
    seen: set[int] = set()  # arrays that an earlier Node keeps are counted there
    labels: dict[Source, str] = {}
    rows = []
    for source in _in_order(y.node or y):
        labels[source] = f"%{len(labels)}"
        form = f"{source.dtype}{list(source.shape)}"
        if type(source) is Node:
            freed = source.edges is FREED
            made = source.op.name + ("(freed)" if freed else f"({_arguments(source, labels)})")
            rows.append((labels[source], made, form, f"{_kept(source, seen):,} bytes"))
        else:
            what = called.get(id(source), "leaf" if source.requires_grad else "constant")
            rows.append((labels[source], what, form, ""))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip(), file=file)


def _in_order(root: Source) -> list[Source]:
    """All Nodes and leaves below ``root``, each after what it was made from."""
    found: dict[Source, None] = {}
    stack = [(root, False)]
    while stack:
        source, ready = stack.pop()
        if source in found:
            continue
        below = sources_of(source) if type(source) is Node else []
        if ready or not below:
            found[source] = None
        else:
            stack.append((source, True))
            stack += [(each, False) for each in reversed(below)]
    return list(found)


def _arguments(node: Node, labels: dict[Source, str]) -> str:
    if node.op.joint is None:
        return ", ".join(f"{rule.argument}={labels[source]}" for source, rule, _ in node.edges)
    ((sources, _, _),) = node.edges
    return ", ".join("-" if source is None else labels[source] for source in sources)


def _kept(node: Node, seen: set[int]) -> int:
    total = 0
    for _, _, values in node.edges:
        for value in values:
            array = entries(value)
            if hasattr(array, "nbytes") and id(array) not in seen and not _is_leaf(value):
                seen.add(id(array))
                total += array.nbytes
    return total


def _is_leaf(value: Any) -> bool:
    """Parameters live without a graph."""
    return type(value) is Tensor and value.requires_grad and value.node is None


# --- The profile -----------------------------------------------------------------------------


@dataclass
class Cost:
    """What the ``calls`` of one op cost: seconds ``forward`` and ``backward``, bytes ``made``."""

    calls: int = 0
    forward: float = 0.0
    backward: float = 0.0
    made: int = 0


@dataclass
class Profile:
    """``costs`` by op, and the ``seconds`` that the whole block took. ``print`` shows a table."""

    costs: dict[str, Cost] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        by_time = sorted(self.costs.items(), key=lambda item: -item[1].forward - item[1].backward)
        inside = sum(cost.forward + cost.backward for cost in self.costs.values())
        titles = f"{'calls':>8}{'forward ms':>12}{'backward ms':>13}{'share':>8}{'MB':>10}"
        lines = [f"{'op':24}{titles}"]
        for name, cost in by_time:
            share = (cost.forward + cost.backward) / max(self.seconds, 1e-12)
            lines.append(
                f"{name:24}{cost.calls:8}{1e3 * cost.forward:12.3f}{1e3 * cost.backward:13.3f}"
                f"{share:8.1%}{cost.made / 1e6:10.2f}"
            )
        outside = self.seconds - inside
        share = outside / max(self.seconds, 1e-12)
        lines.append(f"{'outside of ops':24}{'':8}{1e3 * outside:12.3f}{'':13}{share:8.1%}")
        return "\n".join(lines)

    def picture(self, path: Any) -> None:
        """Draw the table as bars into a PNG file. Needs matplotlib."""
        from .pictures import bars

        by_time = sorted(self.costs.items(), key=lambda item: -item[1].forward - item[1].backward)
        bars(
            path, [f"{name}, {cost.made / 1e6:.1f} MB" for name, cost in by_time],
            {
                "forward": [1e3 * cost.forward for _, cost in by_time],
                "backward": [1e3 * cost.backward for _, cost in by_time],
            },
            "milliseconds",
        )


@contextmanager
def profile() -> Iterator[Profile]:
    """Measure every op inside the ``with`` block, forward and backward::

        with minae.inspect.profile() as costs:
            train_step()
        print(costs)

    An op that a rule calls counts for the op whose rule it is. All threads are measured; adding
    gradients up, optimizers and kernels called by themselves are in none of the ops. What an op
    makes is counted in bytes, views of its arguments not.
    """
    found, local = Profile(), threading.local()
    undo: list[tuple[Any, str, Callable]] = []
    for op in list(OPS.values()):
        undo.append((op, "forward", op.forward))
        op.forward = _timed(op.forward, op.name, "forward", found.costs, local)
        for rule in {id(r): r for r in [*op.rules, op.joint] if r is not None}.values():
            undo.append((rule, "pull", rule.pull))
            rule.pull = _timed(rule.pull, op.name, "backward", found.costs, local)
    started = time.perf_counter()
    try:
        yield found
    finally:
        found.seconds += time.perf_counter() - started
        for owner, name, function in undo:
            setattr(owner, name, function)


def _timed(
    function: Callable[..., Any], name: str, phase: str, costs: dict[str, Cost], local: Any
) -> Callable[..., Any]:
    """``function``, whose outermost calls are added to the costs of the op ``name``."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if getattr(local, "busy", False):
            return function(*args, **kwargs)
        local.busy = True
        started = time.perf_counter()
        try:
            result = function(*args, **kwargs)
        finally:
            seconds = time.perf_counter() - started
            local.busy = False
        cost = costs.setdefault(name, Cost())
        setattr(cost, phase, getattr(cost, phase) + seconds)
        cost.calls += phase == "forward"
        for each in result if isinstance(result, (tuple, list)) else [result]:
            if each is not None and not any(each is a for a in args):
                array = entries(each)
                owned = hasattr(array, "nbytes") and getattr(array, "base", None) is None
                cost.made += array.nbytes if owned else 0
        return result

    return call
