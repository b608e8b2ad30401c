"""TreeLSTM (Tai, Socher & Manning 2015): the state of a node from those of its children, a level of
all trees at a time.

Each kind is a single op, as the LSTM along time is: no level is recorded by itself. What the inputs
contribute to the gates (``projected``) has been computed for all nodes in one product. Nodes are in
the order of ``Levels``, the state and the cell of each side by side, so that a level is written as
one slice and reads its children by one gather. The backward pass computes all gates again at once,
as the states are known by then, and walks from the roots down, with one scatter a level.
"""

from __future__ import annotations

from typing import Any

from ..backend import asarray, expect, sum_segments, xp
from ..engine import primitive
from ..functional import index_add, split
from ..nn import Module
from ..nn.linear import initial
from ..ops import concatenate, getitem, matmul, reshape, scatter_add, sigmoid, stack, sum, tanh
from ..replay import product
from ..tensor import Tensor
from .trees import Tree


def _settle(out, gates, kept):
    """Write the states and cells that the gates (input, output, candidate) make of what is kept."""
    size = kept.shape[1]
    opened = sigmoid(gates[:, : 2 * size])
    cell = opened[:, :size] * xp.tanh(gates[:, 2 * size :])
    cell += kept
    out[:, :size] = opened[:, size:] * xp.tanh(cell)
    out[:, size:] = cell


def _slopes(gates, cells):
    """How much a change of each gate (input, output, candidate) changes the cell, but of the output
    gate the state, and how much one of the cell changes the state."""
    size = cells.shape[1]
    i, o = sigmoid(gates[:, :size]), sigmoid(gates[:, size : 2 * size])
    u, squashed = tanh(gates[:, 2 * size :]), tanh(cells)
    return u * i * (1 - i), squashed * o * (1 - o), i * (1 - u * u), o * (1 - squashed * squashed)


def _added(x, rows, values):
    """``x`` with ``values`` added at ``rows``, no two alike: the array itself, changed in place, or
    a new Tensor where this gradient will be differentiated."""
    if type(x) is Tensor:
        return index_add(x, rows, values)
    x[rows] += values
    return x


# --- Child-sum -----------------------------------------------------------------------------------


def _pull_child_sum(g, needed, projected, weight, levels, out):
    child, parent = asarray(levels.child), asarray(levels.parent)
    starts, edges = levels.starts.tolist(), levels.edges.tolist()
    size, nodes, leaves = weight.shape[0], projected.shape[0], starts[1]
    by_sum, by_one = weight[:, : 3 * size], weight[:, 3 * size :]
    below = out[child]
    states, cells = below[:, :size], below[:, size:]
    sums = scatter_add(states, index=parent - leaves, shape=(nodes - leaves, size))
    given, f = projected[:, : 3 * size], projected[:, 3 * size :][parent]
    gates = concatenate(given[:leaves], given[leaves:] + product(sums, by_sum))
    to_i, to_o, to_u, to_cell = _slopes(gates, out[:, size:])
    f = sigmoid(f + product(states, by_one))
    to_f = cells * f * (1 - f)
    back, back_one = by_sum.swapaxes(0, 1), by_one.swapaxes(0, 1)
    received = g * 1.0  # and what comes down is added
    pulled: list = []
    forgot: list = [to_f[:0]]
    for level in reversed(range(len(starts) - 1)):
        a, b = starts[level : level + 2]
        state = received[a:b, :size]
        cell = received[a:b, size:] + state * to_cell[a:b]
        pulled.append(concatenate(cell * to_i[a:b], state * to_o[a:b], cell * to_u[a:b], axis=1))
        if level:
            e, end = edges[level : level + 2]
            own = parent[e:end] - a
            cell = cell[own]
            forgot.append(cell * to_f[e:end])
            state = product(pulled[-1], back)[own] + product(forgot[-1], back_one)
            down = concatenate(state, cell * f[e:end], axis=1)
            received = _added(received, child[e:end], down)
    pulled, forgot = concatenate(pulled[::-1]), concatenate(forgot[::-1])
    by_parent = scatter_add(forgot, index=parent, shape=(nodes, size))
    return (
        concatenate(pulled, by_parent, axis=1) if needed[0] else None,
        concatenate(
            product(sums.swapaxes(0, 1), pulled[leaves:]), product(states.swapaxes(0, 1), forgot),
            axis=1,
        ) if needed[1] else None,
    )  # fmt: skip


@primitive(joint=_pull_child_sum)
def child_sum_tree_lstm(projected, weight, *, levels):
    """Equations 2 to 8: states and cells (nodes, 2 features) of nodes in the order of ``levels``.

    Projected inputs (nodes, 4 features), the gates in the order input, output, candidate, forget;
    weight (features, 4 features), of the sum of the children and, for forget, of each.
    """
    child, parent, heads = map(asarray, (levels.child, levels.parent, levels.heads))
    starts, edges = levels.starts.tolist(), levels.edges.tolist()
    size, leaves = weight.shape[0], starts[1]
    by_sum, by_one = weight[:, : 3 * size], weight[:, 3 * size :]
    out = xp.empty((projected.shape[0], 2 * size), xp.result_type(projected, weight))
    _settle(out[:leaves], projected[:leaves, : 3 * size], xp.zeros((1, size), out.dtype))
    for level in range(1, len(starts) - 1):
        a, b = starts[level : level + 2]
        e, end = edges[level : level + 2]
        below = out[child[e:end]]
        f = product(below[:, :size], by_one)
        f += projected[parent[e:end], 3 * size :]
        below[:, size:] *= sigmoid(f)
        if end - e > b - a:  # else each has one child
            below = sum_segments(below, heads[a - leaves : b - leaves] - e)
        gates = product(below[:, :size], by_sum)
        gates += projected[a:b, : 3 * size]
        _settle(out[a:b], gates, below[:, size:])
    return out


# --- N-ary ---------------------------------------------------------------------------------------


def _slots(levels, weight):
    """The places of the children, as many as the weight has rows for."""
    arity = 3 * weight.shape[0] // (weight.shape[1] - weight.shape[0])
    return asarray(levels.slots(arity))


def _pull_nary(g, needed, projected, weight, levels, out):
    slots, starts = _slots(levels, weight), levels.starts.tolist()
    size, (inner, arity) = projected.shape[1] // 4, slots.shape
    nodes, leaves = projected.shape[0], starts[1]
    below = out[slots]
    states = reshape(below[:, :, :size], shape=(inner, arity * size))
    gates, given = product(states, weight), projected[:, : 3 * size]
    f = reshape(gates[:, 3 * size :], shape=(inner, arity, size))
    f = sigmoid(f + projected[leaves:, None, 3 * size :])
    gates = concatenate(given[:leaves], given[leaves:] + gates[:, : 3 * size])
    to_i, to_o, to_u, to_cell = _slopes(gates, out[:nodes, size:])
    to_f = below[:, :, size:] * f * (1 - f)
    back = weight.swapaxes(0, 1)
    received = g * 1.0  # and what comes down is added
    pulled: list = []
    forgot: list = [to_f[:0]]
    for level in reversed(range(len(starts) - 1)):
        a, b = starts[level : level + 2]
        state = received[a:b, :size]
        cell = received[a:b, size:] + state * to_cell[a:b]
        pulled.append(concatenate(cell * to_i[a:b], state * to_o[a:b], cell * to_u[a:b], axis=1))
        if level:
            rows = slice(a - leaves, b - leaves)
            cell = cell[:, None]
            forgot.append(cell * to_f[rows])
            by_gate = reshape(forgot[-1], shape=(b - a, arity * size))
            state = product(concatenate(pulled[-1], by_gate, axis=1), back)
            state = reshape(state, shape=(b - a, arity, size))
            received = _added(received, slots[rows], concatenate(state, cell * f[rows], axis=2))
    pulled, forgot = concatenate(pulled[::-1]), concatenate(forgot[::-1])
    by_parent = scatter_add(sum(forgot, axis=1), index=slice(leaves, None), shape=(nodes, size))
    by_gate = concatenate(pulled[leaves:], reshape(forgot, shape=(inner, arity * size)), axis=1)
    return (
        concatenate(pulled, by_parent, axis=1) if needed[0] else None,
        product(states.swapaxes(0, 1), by_gate) if needed[1] else None,
    )


@primitive(joint=_pull_nary)
def nary_tree_lstm(projected, weight, *, levels):
    """Equations 9 to 14: the states and cells (nodes + 1, 2 features) of nodes in the order of
    ``levels``, and in the last row zeros, for children that are missing.

    Projected inputs as of ``child_sum_tree_lstm``; weight (arity * features, (3 + arity) features),
    of the children side by side, with a forget gate for each.
    """
    slots, starts = _slots(levels, weight), levels.starts.tolist()
    size, arity = projected.shape[1] // 4, slots.shape[1]
    nodes, leaves = projected.shape[0], starts[1]
    out = xp.empty((nodes + 1, 2 * size), xp.result_type(projected, weight))
    _settle(out[:leaves], projected[:leaves, : 3 * size], xp.zeros((1, size), out.dtype))
    out[nodes] = 0
    for level in range(1, len(starts) - 1):
        a, b = starts[level : level + 2]
        below = out[slots[a - leaves : b - leaves]]
        gates = product(below[:, :, :size].reshape(b - a, arity * size), weight)
        gates[:, : 3 * size] += projected[a:b, : 3 * size]
        f = gates[:, 3 * size :].reshape(b - a, arity, size)
        f = sigmoid(f + projected[a:b, None, 3 * size :])
        _settle(out[a:b], gates[:, : 3 * size], (f * below[:, :, size:]).sum(1))
    return out


# --- As Modules ----------------------------------------------------------------------------------


class _TreeLSTM(Module):
    """The weights, and the op that ``climb`` is."""

    climb: Any

    def __init__(self, inputs: int, hidden: int, arity: int, forgets: int, rng: Any) -> None:
        if min(inputs, hidden, arity) < 1:
            raise ValueError(f"impossible sizes: {inputs=}, {hidden=}, {arity=}")
        self.inputs, self.hidden = inputs, hidden
        self.weight_ih = initial((inputs, 4 * hidden), hidden, rng)
        self.weight_hh = initial((arity * hidden, (3 + forgets) * hidden), hidden, rng)
        self.bias = initial((4 * hidden,), hidden, rng)

    def forward(self, forest: Tree, x: Any, nodes: Any = None) -> tuple[Any, Any]:
        """Inputs to states (nodes, hidden) and cells (nodes, hidden), of all nodes of ``forest``.

        ``x`` (nodes, inputs) has a row for each node, or, where ``nodes`` lists some, for each of
        these alone, as for the ``forest.leaves``: the others have no input. Raises ValueError for
        shapes that do not fit.
        """
        count = len(forest) if nodes is None else len(nodes)
        if x.shape != (count, self.inputs):
            raise ValueError(expect(f"({count}, {self.inputs})", x))
        levels, projected = forest.levels, matmul(x, self.weight_ih)
        if nodes is None:
            projected = getitem(projected, index=asarray(levels.order))
        else:
            shape = (len(forest), 4 * self.hidden)
            rows = asarray(levels.rank[nodes])
            projected = scatter_add(projected, index=(rows,), shape=shape)
        out = self.climb(projected + self.bias, self.weight_hh, levels=levels)
        hidden, cell = split(getitem(out, index=asarray(levels.rank)), 2, axis=1)
        return hidden, cell

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.hidden}"


class ChildSumTreeLSTM(_TreeLSTM):
    """States from the sum of the children's, for any number of them in any order (Tai et al. 2015,
    equations 2 to 8): of dependency trees.

    Weights (``inputs``, 4 ``hidden``) and (hidden, 4 hidden), the gates in the order input,
    output, candidate, forget. Raises ValueError for impossible sizes.
    """

    climb = staticmethod(child_sum_tree_lstm)

    def __init__(self, inputs: int, hidden: int, *, rng: Any = None) -> None:
        super().__init__(inputs, hidden, 1, 1, rng)


class NaryTreeLSTM(_TreeLSTM):
    """States from at most ``arity`` children, each with weights of its place (Tai et al. 2015,
    equations 9 to 14): of binary trees.

    Weights (``inputs``, 4 ``hidden``) and (arity * hidden, (3 + arity) hidden), the gates in the
    order input, output, candidate, and forget, one for each child. Raises ValueError for impossible
    sizes, and when called for nodes with more children.
    """

    climb = staticmethod(nary_tree_lstm)

    def __init__(self, inputs: int, hidden: int, arity: int = 2, *, rng: Any = None) -> None:
        super().__init__(inputs, hidden, arity, arity, rng)
        self.arity = arity

    def compose(self, *children: tuple[Any, Any]) -> tuple[Any, Any]:
        """The (state, cell) of nodes without an input from those of their ``children``: for each
        child a pair of (nodes, hidden), from the first on. It is one step of what a forest is.
        """
        size = self.hidden
        states = concatenate([state for state, _ in children], axis=1)
        if states.shape[1] != self.weight_hh.shape[0]:
            raise ValueError(expect(f"{self.arity} children of (nodes, {size})", *children[0]))
        gates = matmul(states, self.weight_hh)
        i, o, u = split(gates[:, : 3 * size] + self.bias[: 3 * size], 3, axis=1)
        f = reshape(gates[:, 3 * size :], shape=(-1, self.arity, size)) + self.bias[3 * size :]
        kept = sum(sigmoid(f) * stack([cell for _, cell in children], axis=1), axis=1)
        cell = sigmoid(i) * tanh(u) + kept
        return sigmoid(o) * tanh(cell), cell

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.arity}"
