"""LSTM and GRU: their cells, for one step, and their layers, for whole sequences.

Weights have PyTorch's names, with axes exchanged: ``weight_ih_l0`` (inputs, gates) is of layer 0,
``weight_hh_l0_reverse`` (hidden, gates) of its backward direction, and so on.
"""

from __future__ import annotations

from typing import Any

import minae.ops as ops

from ..backend import Array, expect, xp
from ..engine import recorded
from ..functional import dropout, linear, split
from ..functional.checks import integers
from .linear import initial
from .module import Module


class _Recurrent(Module):
    """The weights of a recurrence and, in ``recur``, its equation."""

    gates: int  # how many sets of features the weights compute
    kept: int  # how many arrays the state consists of

    def __init__(self, inputs: int, hidden: int, bias: bool) -> None:
        if inputs < 1 or hidden < 1:
            raise ValueError(f"impossible sizes: {inputs=}, {hidden=}")
        self.inputs, self.hidden, self.biased = inputs, hidden, bias

    def add_weights(self, inputs: int, suffix: str, rng: Any) -> None:
        """Those of one layer in one direction."""
        gates = self.gates * self.hidden
        shapes: dict[str, tuple] = {"weight_ih": (inputs, gates), "weight_hh": (self.hidden, gates)}
        if self.biased:
            shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
        for name, shape in shapes.items():
            setattr(self, name + suffix, initial(shape, self.hidden, rng))

    def recur(self, x: Any, state: list, suffix: str) -> list:
        """Inputs (time, batch, inputs) and a first state: the states (time, batch, hidden)."""
        raise NotImplementedError

    def first(self, state: Any, shape: tuple, like: Any) -> list:
        """The arrays of a given state, checked to have ``shape``; zeros if there is none."""
        if state is None:
            return [xp.zeros(shape, like.dtype)] * self.kept
        arrays = [state] if self.kept == 1 else list(state)
        if len(arrays) != self.kept or any(a.shape != shape for a in arrays):
            raise ValueError(expect(f"a state of {self.kept} x {list(shape)}", *arrays))
        return arrays

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.hidden}" + ("" if self.biased else ", bias=False")


class _LSTM(_Recurrent):
    gates, kept = 4, 2

    def recur(self, x: Any, state: list, suffix: str) -> list:
        bias = None
        if self.biased:
            bias = getattr(self, f"bias_ih{suffix}") + getattr(self, f"bias_hh{suffix}")
        projected = linear(x, getattr(self, f"weight_ih{suffix}"), bias)
        weight = getattr(self, f"weight_hh{suffix}")
        gates = xp.empty(projected.shape, projected.dtype) if recorded() else None
        return split(ops.lstm(projected, weight, *state, gates=gates), 2, axis=-1)


class _GRU(_Recurrent):
    gates, kept = 3, 1

    def recur(self, x: Any, state: list, suffix: str) -> list:
        weight = getattr(self, f"weight_hh{suffix}")
        bias = getattr(self, f"bias_hh{suffix}", xp.zeros(weight.shape[1], weight.dtype))
        projected = linear(
            x, getattr(self, f"weight_ih{suffix}"), getattr(self, f"bias_ih{suffix}", None)
        )
        return [ops.gru(projected, weight, bias, *state)]


# --- One step --------------------------------------------------------------------------------


class _Cell(_Recurrent):
    def __init__(self, inputs: int, hidden: int, bias: bool = True, *, rng: Any = None) -> None:
        super().__init__(inputs, hidden, bias)
        self.add_weights(inputs, "", rng)

    def step(self, x: Any, state: Any) -> list:
        if len(x.shape) != 2 or x.shape[1] != self.inputs:
            raise ValueError(expect(f"(batch, {self.inputs})", x))
        state = self.first(state, (x.shape[0], self.hidden), x)
        return [s[0] for s in self.recur(x[None], state, "")]


class LSTMCell(_Cell, _LSTM):
    """One step of an LSTM (Hochreiter & Schmidhuber 1997, with a forget gate, Gers et al. 2000).

    Weights (inputs, 4 hidden) and (hidden, 4 hidden), the gates in the order input, forget,
    candidate, output; with ``bias`` two of (4 hidden), of which the sum counts. Raises ValueError
    for shapes that do not fit.
    """

    def forward(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        """Features (batch, inputs) and state, two of (batch, hidden), by default 0: the next state.
        """
        hidden, cell = self.step(x, state)
        return hidden, cell


class GRUCell(_Cell, _GRU):
    """One step of a GRU (Cho et al. 2014), whose reset gate acts after the product with the state.

    Weights (inputs, 3 hidden) and (hidden, 3 hidden), the gates in the order reset, update,
    candidate; with ``bias`` two of (3 hidden). Raises ValueError for shapes that do not fit.
    """

    def forward(self, x: Any, state: Any = None) -> Any:
        """Features (batch, inputs) and state (batch, hidden), by default 0: the next state."""
        return self.step(x, state)[0]


# --- Whole sequences -------------------------------------------------------------------------


class _Layers(_Recurrent):
    def __init__(
        self, inputs: int, hidden: int, layers: int = 1, bias: bool = True, dropout: float = 0.0,
        bidirectional: bool = False, *, rng: Any = None,
    ) -> None:
        super().__init__(inputs, hidden, bias)
        if layers < 1 or not 0 <= dropout < 1:
            wanted = "layers must be 1 or more, dropout in [0, 1)"
            raise ValueError(f"{wanted}; got {layers} and {dropout}")
        self.layers, self.dropout, self.rng = layers, dropout, rng
        self.directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(layers):
            for direction in self.directions:
                self.add_weights(inputs, f"_l{layer}{direction}", rng)
            inputs = hidden * len(self.directions)

    def walk(self, x: Any, state: Any, lengths: Any) -> tuple[Any, list]:
        """The outputs of the last layer, and the last state of every layer and direction."""
        if len(x.shape) != 3 or x.shape[2] != self.inputs or not x.shape[1]:
            raise ValueError(expect(f"(batch, time, {self.inputs}), time above 0", x))
        batch, time = x.shape[:2]
        lengths = _lengths(lengths, batch, time)
        within = True if lengths is None else (xp.arange(time)[:, None] < lengths)[..., None]
        shape = (self.layers * len(self.directions), batch, self.hidden)
        first = self.first(state, shape, x)
        last: list[list] = []
        x = ops.swapaxes(x, first=0, second=1)  # (time, batch, inputs)
        x = x if lengths is None else ops.where(within, x, 0.0)
        for layer in range(self.layers):
            outputs = []
            for direction in self.directions:
                start = [s[len(last)] for s in first]
                turned = _reversed(x, lengths) if direction else x
                states = self.recur(turned, start, f"_l{layer}{direction}")
                last.append([_last(s, s0, lengths) for s, s0 in zip(states, start)])
                outputs.append(_reversed(states[0], lengths) if direction else states[0])
            x = ops.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
            if self.training and self.dropout and layer + 1 < self.layers:
                x = dropout(x, self.dropout, self.rng)
        x = x if lengths is None else ops.where(within, x, 0.0)
        return ops.swapaxes(x, first=0, second=1), [ops.stack(each) for each in zip(*last)]

    def extra_repr(self) -> str:
        parts = [super().extra_repr()]
        parts += [f"layers={self.layers}"] if self.layers > 1 else []
        parts += [f"dropout={self.dropout}"] if self.dropout else []
        return ", ".join(parts + (["bidirectional=True"] if len(self.directions) > 1 else []))


class LSTM(_Layers, _LSTM):
    """``layers`` LSTMs, each reading what the one below wrote; the lowest reads (..., inputs).

    For ``hidden`` and ``bias`` see ``LSTMCell``. If ``bidirectional``, a second one in each layer
    reads from the end, and what both wrote is joined. ``dropout`` is the probability with which an
    entry between two layers is dropped in training. Raises ValueError for shapes that do not fit,
    and for sequences without a step.
    """

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Any, tuple]:
        """Sequences (batch, time, inputs) to outputs (batch, time, directions * hidden) and state.

        The state, given and returned, is a pair (hidden, cell) of (layers * directions, batch,
        hidden), as in PyTorch; the first is 0 by default. With ``lengths`` (batch) the last state
        of each sequence is that at its own end, the outputs behind it are 0, and what stands there
        in ``x`` is not read.
        """
        outputs, (hidden, cell) = self.walk(x, state, lengths)
        return outputs, (hidden, cell)


class GRU(_Layers, _GRU):
    """``layers`` GRUs, each reading what the one below wrote; see ``GRUCell``.

    ``inputs``, ``hidden``, ``bias``, ``dropout`` and ``bidirectional`` are those of ``LSTM``.
    """

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """As ``LSTM.forward``, with a state that is one array (layers * directions, batch, hidden).
        """
        outputs, (hidden,) = self.walk(x, state, lengths)
        return outputs, hidden


def _lengths(lengths: Any, batch: int, time: int) -> Array | None:
    if lengths is None:
        return None
    lengths = integers(lengths, time + 1, "lengths")
    if lengths.shape != (batch,):
        raise ValueError(expect(f"lengths [{batch}]", lengths))
    return lengths


def _reversed(x: Any, lengths: Array | None) -> Any:
    """Each sequence (time, batch, ...) from its end to its beginning; what is behind it stays."""
    if lengths is None:
        return ops.flip(x, axis=0)
    step = xp.arange(x.shape[0])[:, None]
    source = xp.where(step < lengths, lengths - 1 - step, step)
    return ops.getitem(x, index=(source, xp.arange(x.shape[1])[None]))


def _last(states: Any, first: Any, lengths: Array | None) -> Any:
    """The state at the end of each sequence: the first, where it has no step."""
    if lengths is None:
        return ops.getitem(states, index=-1)
    ends = ops.getitem(states, index=(xp.maximum(lengths, 1) - 1, xp.arange(states.shape[1])))
    return ops.where((lengths > 0)[:, None], ends, first)
