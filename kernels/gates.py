"""An LSTM over whole sequences by its definition, and its gradient."""

from __future__ import annotations

from typing import Any

import minae.kernels as kernels
from minae.backend import Array, concatenate, xp


def lstm(
    projected: Array, weight: Array, hidden: Array, cell: Array, gates: Array | None = None
) -> Array:
    """Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    Inputs ``projected`` (time, batch, 4 features), gates in the order input, forget, candidate,
    output; weight (features, 4 features); first state ``hidden`` and cell (batch, features).
    Returns (time, batch, 2 features): the state and the cell after each step. ``gates``, an array
    like ``projected``, is filled with the gates, each through its function, for `lstm_gradient`.
    """
    (steps, batch, _), size = projected.shape, hidden.shape[1]
    dtype = xp.result_type(projected, weight, hidden, cell)
    out = xp.empty((steps, batch, 2 * size), dtype)
    for t in range(steps):
        i, f, c, o = opened = _opened(kernels.matmul(hidden, weight) + projected[t])
        if gates is not None:
            gates[t] = concatenate(opened, -1)
        cell = f * cell + i * c
        hidden = o * xp.tanh(cell)
        out[t, :, :size], out[t, :, size:] = hidden, cell
    return out


def lstm_gradient(
    g: Array, projected: Array, weight: Array, hidden: Array, cell: Array, out: Array,
    gates: Array | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Those of ``lstm`` in projected, weight, hidden and cell; its result ``out`` has the gradient
    ``g``. ``gates`` is what ``lstm`` has written there; without, they are computed again."""
    size = hidden.shape[1]
    before = concatenate([hidden[None], out[:-1, :, :size]], 0)
    cells = concatenate([cell[None], out[:, :, size:]], 0)
    if gates is None:  # of all steps at once
        opened = _opened(kernels.matmul(before, weight) + projected)
    else:
        opened = xp.split(gates, 4, axis=-1)
    slopes = xp.empty(projected.shape, g.dtype)
    state = carried = xp.zeros_like(cell)
    for t in reversed(range(len(out))):
        i, f, c, o = (gate[t] for gate in opened)
        squashed = xp.tanh(cells[t + 1])
        state = state + g[t, :, :size]
        carried = carried + g[t, :, size:] + state * o * (1 - squashed * squashed)
        slopes[t] = concatenate(
            [
                carried * c * i * (1 - i), carried * cells[t] * f * (1 - f),
                carried * i * (1 - c * c), state * squashed * o * (1 - o),
            ],
            -1,
        )  # fmt: skip
        state, carried = kernels.matmul(slopes[t], weight.T), carried * f
    rows = before.reshape(-1, size), slopes.reshape(-1, 4 * size)
    return slopes, kernels.matmul(rows[0].T, rows[1]), state, carried


def _opened(gates: Any) -> list:
    """The four gates apart, each through its function."""
    i, f, c, o = xp.split(gates, 4, axis=-1)
    return [_logistic(i), _logistic(f), xp.tanh(c), _logistic(o)]


def _logistic(x: Array) -> Array:
    return 0.5 + 0.5 * xp.tanh(0.5 * x)  # no power to overflow
