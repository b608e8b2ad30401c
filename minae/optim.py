"""Optimizers, clipping and schedules.

The mathematics of each optimizer is one function of one array, a kernel; here are the classes that
walk the parameters. All of it happens in place; graphs that have read a parameter refuse it then.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from . import kernels
from .backend import Array, asarray, asnumpy, describe, keep_memory, numpy, xp
from .engine import stamp
from .tensor import Tensor

# --- All parameters ------------------------------------------------------------------------------


class Optimizer:
    """Parameters, the learning rate ``lr`` (assign it to change it), and the steps of each.

    A parameter whose ``grad`` is None is left alone, and counts no step. Raises ValueError where
    there are no parameters, or one twice, TypeError for what cannot be trained.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        if hasattr(parameters, "parameters"):
            raise TypeError("an optimizer takes model.parameters(), not the model")
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("there are no parameters: do the Tensors have requires_grad=True?")
        for p in self.parameters:
            if type(p) is not Tensor or not p.requires_grad or p.node is not None:
                raise TypeError(f"{describe(p)} is no Tensor made with requires_grad=True")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError("a parameter is named twice")
        if not 0 <= lr < math.inf:
            raise ValueError(f"the learning rate must be finite and not negative, got {lr}")
        self.lr, self.steps = lr, [0] * len(self.parameters)
        keep_memory()
        self.state: dict[str, list[Array]] = {}

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        for i, p in enumerate(self.parameters):
            if p.grad is not None:
                self.steps[i] += 1
                own = [arrays[i] for arrays in self.state.values()]
                self.update(p.array, p.grad, self.steps[i], *own)
                stamp(p)

    def update(self, p: Array, g: Array, step: int, *state: Array) -> None:
        """Change one parameter, in place, by its gradient and its own state, in its nth step."""
        raise NotImplementedError(f"{type(self).__name__} defines no update()")

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Copies of what the optimizer remembers, as NumPy arrays by name: for a checkpoint."""
        state = {"lr": numpy.array(self.lr, "float64"), "steps": numpy.array(self.steps)}
        for name, arrays in self.state.items():
            state |= {f"{name}.{i}": numpy.array(asnumpy(a)) for i, a in enumerate(arrays)}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` gave. Raises ValueError where it does not fit."""
        own = self.state_dict()
        problems = sorted(own.keys() ^ state.keys()) or [
            name for name in own if asarray(state[name]).shape != own[name].shape
        ]
        if problems:
            raise ValueError(f"the state is not of this optimizer: {', '.join(problems)}")
        self.lr, self.steps = float(state["lr"]), [int(n) for n in state["steps"]]
        for name, arrays in self.state.items():
            for i, target in enumerate(arrays):
                target[...] = asarray(state[f"{name}.{i}"])

    def remember(self, *names: str) -> None:
        """Keep under each name an array of zeros for every parameter."""
        self.state |= {name: [xp.zeros_like(p.array) for p in self.parameters] for name in names}


class SGD(Optimizer):
    """Stochastic gradient descent: ``kernels.sgd``; ``weight_decay`` times p is added to g."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr)
        if not 0 <= momentum < 1 or not weight_decay >= 0:
            raise ValueError(f"impossible {momentum=}, {weight_decay=}")
        self.momentum, self.weight_decay = momentum, weight_decay
        if momentum:
            self.remember("velocity")

    def update(self, p: Array, g: Array, step: int, *state: Array) -> None:
        """See ``kernels.sgd``."""
        velocity = state[0] if state else None
        kernels.sgd(p, g, velocity, self.lr, self.momentum, self.weight_decay)


class Adam(Optimizer):
    """``kernels.adam`` for every parameter."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, lr)
        if not all(0 <= beta < 1 for beta in betas) or not eps >= 0:
            raise ValueError(f"betas must lie in [0, 1) and eps not below 0, got {betas}, {eps}")
        self.betas, self.eps, self.weight_decay = betas, eps, 0.0
        self.remember("m", "v")

    def update(self, p: Array, g: Array, step: int, *state: Array) -> None:
        """See ``kernels.adam``."""
        kernels.adam(p, g, *state, step, self.lr, self.betas, self.eps, self.weight_decay)


class AdamW(Adam):
    """Adam with ``p *= 1 - lr weight_decay``, apart from the gradient (Loshchilov & Hutter 2019,
    algorithm 2)."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps)
        if not weight_decay >= 0:
            raise ValueError(f"impossible {weight_decay=}")
        self.weight_decay = weight_decay


# --- Clipping, between backward() and step() -----------------------------------------------------


def clip_grad_norm(parameters: Iterable[Tensor], limit: float) -> Array:
    """Scale all gradients together so that their norm is at most ``limit`` (Pascanu et al. 2013).

    Returns the norm before. Where it is not finite, every gradient is NaN afterwards. Raises
    ValueError for a limit that is not above 0.
    """
    _positive(limit)
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = xp.sqrt(xp.asarray(sum((g * g).sum() for g in gradients)))
    scale = xp.where(xp.isfinite(norm), xp.minimum(limit / (norm + 1e-6), 1.0), xp.nan)
    for g in gradients:
        g *= scale.astype(g.dtype)
    return norm


def clip_grad_value(parameters: Iterable[Tensor], limit: float) -> None:
    """Hold every entry of every gradient in [-limit, limit]; the limit must be above 0."""
    _positive(limit)
    for p in parameters:
        if p.grad is not None:
            xp.clip(p.grad, -limit, limit, out=p.grad)


def _positive(limit: float) -> None:
    if not limit > 0:
        raise ValueError(f"the limit must be above 0, got {limit}")


# --- Schedules: factors of the learning rate at a step, to be multiplied -------------------------


def warmup(step: int, steps: int) -> float:
    """Up in a straight line from ``1 / steps`` at step 0 to 1, where it stays::

        optimizer.lr = 1e-3 * warmup(step, 500) * cosine(step, 10_000)
    """
    return min(1.0, (step + 1) / steps) if steps else 1.0


def cosine(step: int, steps: int, final: float = 0.0) -> float:
    """Down from 1 to ``final`` at ``steps`` by half a cosine wave (Loshchilov & Hutter 2017)."""
    share = min(step / steps, 1.0) if steps else 1.0
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))
