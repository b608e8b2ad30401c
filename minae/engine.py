"""Reverse-mode automatic differentiation.

An op is a function of arrays with its gradient rules beside it, one per argument. Called on
Tensors, it computes and records a Node: for each input that needs a gradient, where the gradient
goes, by which rule, and the values that the rule will read. A Tensor holds its Node and a Node its
sources; nothing points back, so a graph has no cycles and is freed by reference count.

A clock numbers the Nodes. What an op reads is older than what it makes, so in a backward pass the
newest Node that holds a gradient has received all of it. To pull the newest back, again and again,
is the whole algorithm.

Rules are written with operators, array methods and ops. On arrays they run at array speed; with
``create_graph=True`` the same rules run on Tensors and are recorded in turn, to any order.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from .backend import Array, CaptureError, asarray, capturing, describe, ndarray, operand, xp
from .debugging import check_gradient, check_result, debugging, place, users_line
from .op import Op, Rule

if TYPE_CHECKING:
    from .tensor import Tensor  # at run time tensor.py sets this name, once its class exists

recording: ContextVar[bool] = ContextVar("recording", default=True)
recorded, debugged = recording.get, debugging.get  # bound once: asked at every op
tick = itertools.count(1).__next__  # the clock: a number for each recorded Node and each write
new = object.__new__  # makes a Node or a Tensor without its constructor
PLAIN = frozenset((ndarray, int, float, bool, type(None)))  # what an op computes with as it is

Source = Any  # where a gradient goes: a Node, or a leaf Tensor
# (source, rule, the values that the rule reads besides g). An op with a joint rule has one edge,
# whose source is a list: the source of each argument, or None.
Edge = tuple[Source, Rule, tuple]
FREED: list[Edge] = []  # stands in place of the edges of a Node that a backward pass has used
UNWRITTEN: Any = (0,)  # the time of the last write to a Tensor: never
FREED_ADVICE = "this graph was freed by an earlier backward pass; give that one retain_graph=True"
UNCLEARED = "a captured step clears its gradients: optimizer.zero_grad()"
STALE_ADVICE = "a Tensor that it read was written since; after an update run the forward pass again"


class Node:
    """A recorded call: the edges to what it was made from, and the form of its gradient."""

    __slots__ = ("op", "edges", "shape", "dtype", "clock", "line")
    op: Op
    edges: list[Edge]
    shape: tuple[int, ...]
    dtype: Any
    clock: int
    line: str  # where the user's program called the op; known in debug mode only


# --- Recording -------------------------------------------------------------------------------

OPS: dict[str, Op] = {}  # every op by name: the tests walk it


def elementwise(**rules: Callable) -> Callable[[Callable], Callable[..., Any]]:
    """Declare an op whose arguments broadcast; the engine sums gradients back to their shapes.

    ::

        @elementwise(x=lambda g, y: g * y, y=lambda g, x: g * x)
        def mul(x, y):
            return x * y

    The function receives arrays and returns one array; keyword-only parameters are metadata. Each
    of the ``rules`` gives the gradient of the argument that it is named after. It takes the
    gradient ``g`` of the result first, and then by name whatever else it reads: arguments,
    metadata, the result as ``out``, the shape of an argument ``x`` as ``x_shape``. An argument
    without a rule gets no gradient. A rule is written with operators, methods and ops, so that it
    can be differentiated in turn; it never changes ``g`` or returns what it read.
    ``minae.testing.check_grads`` tests it.
    """
    return lambda forward: _recorder(Op(forward, rules, broadcasts=True))


def primitive(
    joint: Callable | None = None, *, opaque: bool = False, **rules: Callable
) -> Callable[[Callable], Callable[..., Any]]:
    """Declare an op whose rules return gradients of exactly their arguments' shapes.

    Otherwise as ``elementwise``, which says what a rule may read.
    ``joint`` is one rule that returns the gradients of all arguments, for ops that take any number
    of them or whose gradients share work. The rules of an ``opaque`` op compute outside the engine,
    on arrays alone: such an op refuses ``create_graph``. Array arguments are positional, all else
    is keyword-only in the declaration (and may be given by position in a call).
    """
    return lambda forward: _recorder(Op(forward, rules, joint, opaque=opaque))


def _recorder(op: Op) -> Callable[..., Any]:
    """The function that users call: it computes ``op``, and records it if a gradient is needed."""
    OPS[op.name] = op
    rules, joint = op.rules, op.joint
    arity, named = -1 if op.variadic else len(op.arrays), op.defaults.keys()

    @functools.wraps(op.forward)
    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) != arity or (kwargs and not kwargs.keys() <= named):
            args = op.bind(args, kwargs)
        arrays = []
        met = needed = odd = False  # a Tensor; a gradient to record; something to convert
        for a in args:
            if type(a) is Tensor:
                met = True
                needed |= a.requires_grad
                a = a.array
            elif type(a) not in PLAIN:
                odd = True
            arrays.append(a)
        if odd:
            known = PLAIN | {Tensor}
            args = tuple(a if type(a) in known else operand(a, weak=met) for a in args)
            arrays = list(map(entries, args))
        try:
            result = op.forward(*arrays, **kwargs)
        except Exception as error:
            error.add_note(f"in {op.name}({', '.join(map(describe, args))})")
            raise
        if not met:
            return result
        if type(result) is not ndarray:  # NumPy turns what has no dimensions into a scalar
            if isinstance(result, (tuple, list)):
                raise TypeError(f"{op.name} must return one array, not {len(result)}")
            result = xp.asarray(result)
        node = None
        if needed and recorded():
            edges: list[Edge] = []
            if joint is None:
                for a, rule in zip(args, rules):
                    if type(a) is Tensor and a.requires_grad and rule:
                        edges.append((a.node or a, rule, rule.read(args, kwargs, result)))
            else:
                edges.append((list(map(_source, args)), joint, joint.read(args, kwargs, result)))
            if edges:
                node = new(Node)
                node.op, node.edges, node.clock = op, edges, tick()
                node.shape, node.dtype = result.shape, result.dtype
        out = wrap(result, node)
        if arity == 1 and result.base is not None and xp.may_share_memory(result, arrays[0]):
            share_writes(args[0], out)  # a view: what is written to one is written to both
        if debugged():
            check_result(op.name, args, out)
            if node:
                node.line = users_line()
        return out

    return call


def entries(a: Any) -> Any:
    """The array of a Tensor; anything else as it is."""
    return a.array if type(a) is Tensor else a


def _source(a: Any) -> Source | None:
    return (a.node or a) if type(a) is Tensor and a.requires_grad else None


def wrap(array: Array, node: Node | None = None) -> Tensor:
    """A Tensor around an array of the backend, unchecked: how the engine makes results."""
    tensor = new(Tensor)
    tensor.array, tensor.grad, tensor.node = array, None, node
    tensor.requires_grad, tensor.written = node is not None, UNWRITTEN
    return tensor


def stamp(tensor: Tensor) -> None:
    """Note that the array was written in place: graphs that have read it are stale from now on."""
    share_writes(tensor, tensor)
    tensor.written[0] = tick()
    if (graph := capturing.get()) is not None:
        graph.written[id(tensor)] = tensor


def share_writes(tensor: Tensor, view: Tensor) -> None:
    """Let a stamp on either of two Tensors of the same memory hold for both."""
    if tensor.written is UNWRITTEN:
        tensor.written = [0]  # a cell, which views hold in common
    view.written = tensor.written


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside the ``with`` block, or inside the function that it decorates.

    Holds for the current thread or task alone.
    """
    token = recording.set(False)
    try:
        yield
    finally:
        recording.reset(token)


# --- The backward pass -----------------------------------------------------------------------


def pull_back(
    root: Tensor, seed: Any, targets: Collection[Source], create_graph: bool, retain_graph: bool,
    since: int = -1,
) -> dict[Source, Any]:
    """The gradient of each of ``targets``, or of every leaf under ``root`` if none are named.

    Gradients are arrays, or Tensors under ``create_graph``. Unless the graph is retained, its Nodes
    are freed as they are used, so that memory falls during the pass. Nodes recorded before the time
    ``since`` are as leaves.
    """
    if root.node is None:
        return {root: seed}
    on_path = _between(root.node, targets, since) if targets else None
    received = {root.node: seed}  # what each Node and each leaf has received so far
    sums = set()  # those whose gradient is a sum made here: nobody else has it, += may change it
    found = {}  # the gradients of targets that are Nodes
    newest = [(-root.node.clock, root.node)]  # a heap of the Nodes among them, the newest first
    debug = debugged()
    token = recording.set(True)  # rules on arrays record nothing; a rule may ask for grad() itself
    try:
        while newest:
            _, node = heappop(newest)
            g = received.pop(node)
            if node in targets:
                found[node] = g
            if node.clock < since or (on_path and on_path.isdisjoint(sources_of(node))):
                continue  # nothing below is asked for
            if node.edges is FREED:
                raise RuntimeError(FREED_ADVICE)
            if create_graph and node.op.opaque:
                raise RuntimeError("its gradient is opaque: it cannot be differentiated again")
            edges = node.edges if node.op.joint is None else _separate(node, g, create_graph)
            for source, rule, values in edges:
                if on_path is not None and source not in on_path:
                    continue
                if values:
                    gradient = rule.pull(g, *_read(values, rule, node, create_graph))
                else:
                    gradient = rule.pull(g)
                if debug:
                    check_gradient(node, rule.argument, gradient, source)
                if gradient.shape != source.shape or gradient.dtype is not source.dtype:
                    gradient = _fit(gradient, source, node, rule)
                before = received.get(source)
                if before is None:  # the rule may have given the same array to another source
                    received[source] = gradient
                    if type(source) is Node:
                        heappush(newest, (-source.clock, source))
                elif source in sums:
                    before += gradient
                    received[source] = before
                else:
                    received[source] = before + gradient
                    sums.add(source)
            if not retain_graph:
                node.edges = FREED
    except Exception as error:
        error.add_note(f"in the gradient of {node.op.name}{place(node)}")
        raise
    finally:
        recording.reset(token)
    return received | found  # every Node has been taken out: what is left in received are leaves


def _separate(node: Node, g: Any, create_graph: bool) -> list[Edge]:
    """What a joint rule makes of ``g``, as edges whose rules hand it on."""
    ((sources, joint, values),) = node.edges
    edges = []
    gradients = list(joint.pull(g, *_read(values, joint, node, create_graph)))
    if len(gradients) != len(sources):
        raise TypeError(f"{len(sources)} arguments, but the rule made {len(gradients)} gradients")
    for source, gradient in zip(sources, gradients):
        if source is not None:
            share = new(Rule)
            share.argument, share.pull = joint.argument, lambda g, computed=gradient: computed
            edges.append((source, share, ()))
    return edges


def _read(values: tuple, rule: Rule, node: Node, create_graph: bool) -> list:
    """What a rule reads, as arrays, or under ``create_graph`` as Tensors with their history."""
    read = []
    for value in values:
        if type(value) is Tensor:
            if value.written[0] > node.clock:
                raise RuntimeError(STALE_ADVICE)
            if not create_graph:
                value = value.array
        read.append(value)
    if create_graph and rule.out is not None:  # kept as an array, since a Tensor would be a cycle
        read[rule.out] = wrap(read[rule.out], node)
    return read


def _fit(gradient: Any, source: Source, node: Node, rule: Rule) -> Any:
    """The gradient with broadcasting and promotion undone."""
    if source.dtype.kind != "f":
        raise TypeError(f"only floats have gradients; the source is {describe(source)}")
    if gradient.shape != source.shape:
        if not node.op.broadcasts:
            raise TypeError(
                f"the rule of {node.op.name} for {rule.argument} returned {describe(gradient)} "
                f"for an argument {describe(source)}"
            )
        gradient = sum_to(gradient, shape=source.shape)
    return gradient if gradient.dtype == source.dtype else gradient.astype(source.dtype)


def sum_to(x: Any, *, shape: tuple[int, ...]) -> Any:
    """Sum ``x`` over the axes along which ``shape`` would be broadcast to it."""
    extra = x.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, x.shape[extra:])):
        raise ValueError(f"cannot sum {describe(x)} to the shape {list(shape)}")
    stretched = [i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1]
    axes = (*range(extra), *stretched)
    return (x.sum(axis=axes, keepdims=True) if axes else x).reshape(shape)


def _between(root: Node, targets: Collection[Source], since: int) -> set[Source]:
    """The Nodes and leaves on a path from ``root`` to a target. Raises where a path was freed."""
    sources: dict[Node, list[Source]] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.edges is FREED and targets != {node}:
            raise RuntimeError(FREED_ADVICE)
        sources[node] = sources_of(node)
        below = [s for s in sources[node] if type(s) is Node and s not in sources]
        stack += [node for node in below if node.clock > since]
    on_path = set(targets)
    for node in sorted(sources, key=lambda node: node.clock):  # the oldest first
        if not on_path.isdisjoint(sources[node]):
            on_path.add(node)
    return on_path


def sources_of(node: Node) -> list[Source]:
    """Where the gradient of a Node goes on to; nowhere, once it is freed."""
    if node.op.joint is None or node.edges is FREED:
        return [source for source, _, _ in node.edges]
    ((sources, _, _),) = node.edges
    return [source for source in sources if source is not None]


# --- What users ask for ----------------------------------------------------------------------


def grad(
    y: Tensor, xs: Any, seed: Any = None, *, create_graph: bool = False, retain_graph: bool = False
) -> Any:
    """The gradient of ``y`` with respect to ``xs``, a Tensor or a sequence of them.

    ``xs`` may be leaves or intermediate results; one that ``y`` does not depend on gets zeros. The
    gradients come as arrays in the form of ``xs`` (one, or a list), or with ``create_graph=True``
    as Tensors that can be differentiated again. ``seed`` is the gradient of ``y``, of its shape;
    it may be left out where ``y`` has one element. The graph is freed unless ``retain_graph`` or
    ``create_graph`` is set; no ``.grad`` is touched. Raises RuntimeError if ``y`` was not recorded
    or its graph was freed, ValueError for a wrong seed.
    """
    targets = [xs] if type(xs) is Tensor else list(xs)
    for x in targets:
        if type(x) is not Tensor or not x.requires_grad:
            raise ValueError(f"{describe(x)} is no Tensor with requires_grad=True: it has no grad")
    sources = {x.node or x for x in targets}
    start = _seed(y, seed, create_graph)
    found = pull_back(y, start, sources, create_graph, retain_graph or create_graph)
    gradients, taken = [], set[int]()
    for x in targets:
        gradient = found.get(x.node or x)
        if gradient is None:
            gradient = xp.zeros(x.shape, x.dtype)
            gradients.append(wrap(gradient) if create_graph else gradient)
        else:
            gradients.append(gradient if create_graph else _own(gradient, taken))
    return gradients[0] if type(xs) is Tensor else gradients


def backward(y: Tensor, seed: Any = None, retain_graph: bool = False) -> None:
    """Add the gradient of ``y`` to the ``.grad`` of every leaf; see ``Tensor.backward``."""
    start = _seed(y, seed, create_graph=False)
    taken, graph = set[int](), capturing.get()
    for leaf, gradient in pull_back(y, start, (), False, retain_graph).items():
        gradient = _own(gradient, taken)
        if graph is not None:
            if leaf.grad is not None and leaf not in graph.leaves:
                raise CaptureError(UNCLEARED)
            graph.leaves.add(leaf)
        leaf.grad = gradient if leaf.grad is None else xp.asarray(leaf.grad + gradient)


def _seed(y: Tensor, seed: Any, create_graph: bool) -> Any:
    """The gradient of ``y`` to start from: ones, or a copy of what the user gave."""
    if type(y) is not Tensor or not y.requires_grad:
        raise RuntimeError(
            f"{describe(y)} has no gradient: nothing that it was made from has requires_grad=True, "
            "or it was made under no_grad(), or by grad() without create_graph=True"
        )
    if seed is None:
        if y.size != 1:
            raise ValueError(f"{describe(y)} is no scalar: give its own gradient as the seed")
        seed = xp.ones(y.shape, y.dtype)
    elif create_graph and type(seed) is Tensor and seed.requires_grad:  # it has a history to keep
        seed = seed if seed.dtype == y.dtype else seed.astype(y.dtype)
    else:
        array = asarray(entries(seed), None if hasattr(seed, "dtype") else y.dtype)
        if isinstance(seed, bool) or array.dtype.kind == "b":
            raise TypeError("the seed is a gradient, no switch: give retain_graph=True by its name")
        seed = xp.array(array, dtype=y.dtype)
    if seed.shape != y.shape:
        raise ValueError(f"the seed is {describe(seed)}, but {describe(y)} is what it is for")
    return wrap(seed) if create_graph and type(seed) is not Tensor else seed


def _own(gradient: Array, taken: set[int]) -> Array:
    """A gradient for the user to change: rules may hand on a view, or one array to two sources."""
    gradient = xp.asarray(gradient)
    if gradient.base is not None or id(gradient) in taken:
        gradient = gradient.copy()
    taken.add(id(gradient))
    return gradient
