"""Recurrence over time: LSTM and GRU, each a single op, so that no step is recorded by itself.

Time is the first axis here. What the inputs contribute to the gates (``projected``) has been
computed for all steps in one product; only the contribution of the state must wait for it. The
backward pass computes all gates again at once, as the states are known by then, and walks back
through time with one small product a step.
"""

from __future__ import annotations

import minae.kernels as kernels

from ..backend import xp
from ..engine import entries, primitive
from ..replay import product
from .elementwise import sigmoid, tanh
from .linalg import _rows
from .reduction import sum
from .shape import concatenate, getitem, reshape, stack


def _part(x, i, size):
    """Gate ``i``: the ``i``-th ``size`` of the features."""
    return getitem(x, index=(..., slice(i * size, (i + 1) * size)))


def _before(states, first):
    """The state that each step began with."""
    first = reshape(first, shape=(1, *first.shape))
    return concatenate(first, getitem(states, index=slice(None, -1)))


def _outer(x, g):
    """The gradient of a weight: the sum of outer products over all steps and rows."""
    return product(_rows(x).swapaxes(0, 1), _rows(g))


# --- LSTM ------------------------------------------------------------------------------------


def _pull_lstm(g, projected, weight, hidden, cell, out, gates):
    if entries(g) is g:
        return kernels.lstm_gradient(g, projected, weight, hidden, cell, out, gates)
    size, steps = hidden.shape[1], projected.shape[0]
    states, cells = _part(out, 0, size), _part(out, 1, size)
    states_before, cells_before = _before(states, hidden), _before(cells, cell)
    gates = projected + product(states_before, weight)
    i, f = sigmoid(_part(gates, 0, size)), sigmoid(_part(gates, 1, size))
    c, o = tanh(_part(gates, 2, size)), sigmoid(_part(gates, 3, size))
    squashed = tanh(cells)
    # What a gate's gradient is of the cell's (i, f, c) and of the state's (o), and on to the next.
    by_cell = concatenate(
        c * i * (1 - i), cells_before * f * (1 - f), i * (1 - c * c), axis=-1
    )
    by_state = squashed * o * (1 - o)
    cell_by_state = o * (1 - squashed * squashed)
    back = weight.swapaxes(0, 1)
    g_state, g_cell = _part(g, 0, size), _part(g, 1, size)
    pulled: list = []
    state, carried = 0.0, 0.0
    for t in reversed(range(steps)):
        state = g_state[t] + state
        carried = g_cell[t] + carried + state * cell_by_state[t]
        thrice = concatenate(carried, carried, carried, axis=1)
        pulled.append(concatenate(thrice * by_cell[t], state * by_state[t], axis=1))
        state = product(pulled[-1], back)
        carried = carried * f[t]
    pulled = stack(pulled[::-1])
    return pulled, _outer(states_before, pulled), state, carried


@primitive(joint=_pull_lstm)
def lstm(projected, weight, hidden, cell, *, gates=None):
    """Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    Projected inputs (time, batch, 4 features), gates in the order input, forget, candidate, output;
    weight (features, 4 features); first state and cell (batch, features). Returns
    (time, batch, 2 features): the state and the cell after each step. ``gates``, an array like
    ``projected``, is filled with the gates, which the rule then need not compute again.
    """
    return kernels.lstm(projected, weight, hidden, cell, gates)


# --- GRU -------------------------------------------------------------------------------------


def _pull_gru(g, needed, projected, weight, bias, hidden, out):
    size, steps = hidden.shape[1], projected.shape[0]
    before = _before(out, hidden)
    by_state = product(before, weight) + bias
    r = sigmoid(_part(projected, 0, size) + _part(by_state, 0, size))
    z = sigmoid(_part(projected, 1, size) + _part(by_state, 1, size))
    candidate = _part(by_state, 2, size)
    n = tanh(_part(projected, 2, size) + r * candidate)
    to_n = (1 - z) * (1 - n * n)
    to_r, to_z = to_n * candidate * r * (1 - r), (before - n) * z * (1 - z)
    to_candidate = to_n * r
    back = weight.swapaxes(0, 1)
    pulled: list = []
    state = 0.0
    for t in reversed(range(steps)):
        state = g[t] + state
        pulled.append(state)
        pull = concatenate(state * to_r[t], state * to_z[t], state * to_candidate[t], axis=1)
        state = state * z[t] + product(pull, back)
    states = stack(pulled[::-1])
    gates = concatenate(states * to_r, states * to_z, axis=-1)
    by_state = concatenate(gates, states * to_candidate, axis=-1)
    return (
        concatenate(gates, states * to_n, axis=-1) if needed[0] else None,
        _outer(before, by_state) if needed[1] else None,
        sum(by_state, axis=(0, 1)) if needed[2] else None,
        state if needed[3] else None,
    )


@primitive(joint=_pull_gru)
def gru(projected, weight, bias, hidden):
    """Cho et al. 2014, with the reset gate after the product, as in PyTorch and cuDNN.

    Projected inputs (time, batch, 3 features), in the order reset, update, candidate; weight
    (features, 3 features) and bias (3 features) of the state; first state (batch, features).
    Returns the state after each step, (time, batch, features).
    """
    (steps, batch, _), size = projected.shape, hidden.shape[1]
    out = xp.empty((steps, batch, size), xp.result_type(projected, weight, bias, hidden))
    for t in range(steps):
        by_state = product(hidden, weight)
        by_state += bias
        gates = sigmoid(projected[t, :, : 2 * size] + by_state[:, : 2 * size])
        reset, update = gates[:, :size], gates[:, size:]
        candidate = xp.tanh(projected[t, :, 2 * size :] + reset * by_state[:, 2 * size :])
        hidden = candidate + update * (hidden - candidate)
        out[t] = hidden
    return out
