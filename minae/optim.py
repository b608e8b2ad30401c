"""Optimizers, clipping and schedules.

The mathematics of each optimizer is one function of one array, a kernel; here are the classes that
walk the parameters. All of it happens in place; graphs that have read a parameter refuse it then.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

from . import kernels
from .backend import Array, asarray, asnumpy, describe, keep_memory, numpy, xp
from .engine import stamp
from .faults import settle
from .replay import cleared, each_time, live, made_in_step
from .tensor import Tensor

# --- All parameters ------------------------------------------------------------------------------


class Optimizer:
    """Parameters, the learning rate ``lr`` (assign it to change it), and the steps of each.

    ``parameters`` are Tensors, or groups of them with options of their own::

        AdamW([{"params": matrices}, {"params": vectors, "weight_decay": 0.0}], lr=1e-3)

    Where a group has its own ``lr``, a change of the optimizer's changes it in proportion. A
    parameter whose ``grad`` is None is left alone, and counts no step. Raises ValueError where
    there are no parameters, or one twice, or an option that cannot be; TypeError for what cannot be
    trained.
    """

    def __init__(self, parameters: Iterable[Any], lr: float, **options: Any) -> None:
        if hasattr(parameters, "parameters"):
            raise TypeError("an optimizer takes model.parameters(), not the model")
        self.lr = lr
        self.parameters: list[Tensor] = []
        self.options: list[dict[str, Any]] = []  # those of each parameter, shared within a group
        for group in _groups(parameters):
            members, own = list(group["params"]), options | {"lr": lr} | group
            del own["params"]
            if unknown := own.keys() - options.keys() - {"lr"}:
                raise ValueError(f"{type(self).__name__} has no option {sorted(unknown)}")
            _check_rate(own["lr"])
            if not lr and own["lr"]:
                raise ValueError("a group's learning rate is kept in proportion to lr, which is 0")
            own["lr"] = own["lr"] / lr if lr else 1.0  # its share of the optimizer's
            self.check(own)
            self.parameters += members
            self.options += [own] * len(members)
        if not self.parameters:
            raise ValueError("there are no parameters: do the Tensors have requires_grad=True?")
        for p in self.parameters:
            if type(p) is not Tensor or not p.requires_grad or p.node is not None:
                raise TypeError(f"{describe(p)} is no Tensor made with requires_grad=True")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError("a parameter is named twice")
        self.steps = [0] * len(self.parameters)
        keep_memory()
        self.state: dict[str, list[Array]] = {}

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options, of a group or of all, that cannot be."""

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        moved = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        made_in_step(self.parameters[i] for i in moved)
        rate = live(self._rate)  # before a step is counted: it may be refused
        each_time(lambda: self._count(moved))
        steps: dict[int, Any] = {}  # the number of this step, by that of the one before
        for i in moved:
            p, count = self.parameters[i], self.steps[i]
            g: Any = p.grad
            if g.shape != p.shape:
                raise ValueError(f"{describe(p)} has a gradient {describe(g)}")
            if count not in steps:
                steps[count] = live(functools.partial(self._step, i))
            own = [arrays[i] for arrays in self.state.values()]
            options = self.options[i] | {"lr": rate * self.options[i]["lr"]}
            self.update(p.array, g, steps[count], *own, **options)
            stamp(p)

    def _rate(self) -> float:
        _check_rate(self.lr)
        return self.lr

    def _step(self, i: int) -> int:
        return self.steps[i]

    def _count(self, moved: list[int]) -> None:
        for i in moved:
            self.steps[i] += 1

    def update(self, p: Array, g: Array, step: int, *state: Any, **options: Any) -> None:
        """Change one parameter, in place, by its gradient and its own state, in its nth step."""
        raise NotImplementedError(f"{type(self).__name__} defines no update()")

    def zero_grad(self) -> None:
        """Forget the gradients."""
        cleared(self.parameters)
        for p in self.parameters:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Copies of what the optimizer remembers, as NumPy arrays by name: for a checkpoint."""
        settle()
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


def _check_rate(lr: float) -> None:
    if not 0 <= lr < math.inf:
        raise ValueError(f"the learning rate must be finite and not negative, got {lr}")


def _groups(parameters: Iterable[Any]) -> list[dict[str, Any]]:
    """Groups as they are; parameters as one group."""
    listed = list(parameters)
    if not any(isinstance(each, dict) for each in listed):
        return [{"params": listed}]
    for group in listed:
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError('a group is a dict: {"params": [...], "lr": ..., ...}')
    return listed


class SGD(Optimizer):
    """Stochastic gradient descent, ``p -= lr g``, with ``momentum`` by ``p -= lr v``, where
    ``v = momentum v + g`` (Sutskever et al. 2013). ``weight_decay`` times p is added to g first.

    ``nesterov`` looks a step of the momentum ahead (equations 3 and 4 there). ``kernels.sgd``
    computes it. Raises ValueError for a momentum outside [0, 1) or a decay below 0.
    """

    def __init__(
        self, parameters: Iterable[Any], lr: float, momentum: float = 0.0,
        weight_decay: float = 0.0, nesterov: bool = False,
    ) -> None:
        super().__init__(
            parameters, lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
        )
        if any(options["momentum"] for options in self.options):
            self.remember("velocity")

    def check(self, options: Mapping[str, Any]) -> None:
        momentum, weight_decay = options["momentum"], options["weight_decay"]
        if not 0 <= momentum < 1 or not weight_decay >= 0:
            raise ValueError(f"impossible {momentum=}, {weight_decay=}")
        if options["nesterov"] and not momentum:
            raise ValueError("nesterov looks ahead by the momentum, which is 0")

    def update(
        self, p: Array, g: Array, step: int, velocity: Array | None = None, *, lr: float,
        momentum: float, weight_decay: float, nesterov: bool,
    ) -> None:
        """See ``kernels.sgd``."""
        velocity = velocity if momentum else None
        kernels.sgd(p, g, velocity, lr, momentum, weight_decay, nesterov)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1): steps of size ``lr``, by the moving averages m of the
    gradient and v of its square, ``p -= lr m / (sqrt(v) + eps)``.

    The averages keep the shares ``betas`` of their past in each step, and are corrected for having
    started at 0, unless ``bias_correction`` is False, as in BERT's training. ``weight_decay`` times
    p is added to the gradient first. With ``amsgrad`` the divisor never falls (Reddi et al. 2018,
    algorithm 2). ``kernels.adam`` computes it. Raises ValueError for betas outside [0, 1), an eps
    or a decay below 0.
    """

    decoupled = False

    def __init__(
        self, parameters: Iterable[Any], lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0, *,
        amsgrad: bool = False, bias_correction: bool = True,
    ) -> None:
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)
        self.bias_correction = bias_correction
        self.remember("m", "v", *(["largest"] if amsgrad else []))

    def check(self, options: Mapping[str, Any]) -> None:
        betas, eps, weight_decay = options["betas"], options["eps"], options["weight_decay"]
        if not all(0 <= beta < 1 for beta in betas) or not eps >= 0:
            raise ValueError(f"betas must lie in [0, 1) and eps not below 0, got {betas}, {eps}")
        if not weight_decay >= 0:
            raise ValueError(f"impossible {weight_decay=}")

    def update(
        self, p: Array, g: Array, step: int, m: Array, v: Array, largest: Array | None = None, *,
        lr: float, betas: tuple[float, float], eps: float, weight_decay: float,
    ) -> None:
        """See ``kernels.adam``."""
        if weight_decay and not self.decoupled:
            g, weight_decay = g + weight_decay * p, 0.0
        when = step if self.bias_correction else math.inf
        kernels.adam(p, g, m, v, when, lr, betas, eps, weight_decay, largest)


class AdamW(Adam):
    """Adam with ``p *= 1 - lr weight_decay``, apart from the gradient (Loshchilov & Hutter 2019,
    algorithm 2)."""

    decoupled = True

    def __init__(
        self, parameters: Iterable[Any], lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01, *,
        amsgrad: bool = False, bias_correction: bool = True,
    ) -> None:
        super().__init__(
            parameters, lr, betas, eps, weight_decay, amsgrad=amsgrad,
            bias_correction=bias_correction,
        )


# --- Averages of parameters ----------------------------------------------------------------------


def ema_update(averages: Iterable[Tensor], parameters: Iterable[Tensor], decay: float) -> None:
    """``average = decay average + (1 - decay) parameter``, for all ``averages``, in place::

        teacher = copy.deepcopy(student)
        ema_update(teacher.parameters(), student.parameters(), 0.999)  # after each step

    Buffers, such as the statistics of batch norm, are no parameters: copy them over. Polyak &
    Juditsky 1992; for a teacher network, Tarvainen & Valpola 2017. Raises ValueError
    unless ``0 <= decay <= 1`` and the two agree in number and shapes.
    """
    averages, parameters = list(averages), list(parameters)
    if [a.shape for a in averages] != [p.shape for p in parameters]:
        raise ValueError("the averages are of other parameters: are both of the same model?")
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be in [0, 1], got {decay}")
    for average, p in zip(averages, parameters):
        average.array[...] = decay * average.array + (1 - decay) * p.array
        stamp(average)


# --- Clipping, between backward() and step() -----------------------------------------------------


def clip_grad_norm(parameters: Iterable[Tensor], limit: float) -> Array:
    """Scale all gradients together so that their norm is at most ``limit`` (Pascanu et al. 2013).

    The gradients are those of ``parameters``, changed in place. Returns the norm before. Where it
    is not finite, every gradient is NaN afterwards. Raises ValueError for a limit that is not above
    0.
    """
    _positive(limit)
    gradients = [p.grad for p in _listed(parameters) if p.grad is not None]
    norm = xp.sqrt(xp.asarray(sum((g * g).sum() for g in gradients)))
    scale = xp.where(xp.isfinite(norm), xp.minimum(limit / (norm + 1e-6), 1.0), xp.nan)
    for g in gradients:
        g *= scale.astype(g.dtype)
    return norm


def clip_grad_value(parameters: Iterable[Tensor], limit: float) -> None:
    """Hold every entry of the gradients of ``parameters`` in [-limit, limit], in place.

    Raises ValueError for a limit that is not above 0.
    """
    _positive(limit)
    for p in _listed(parameters):
        if p.grad is not None:
            xp.clip(p.grad, -limit, limit, out=p.grad)


def _listed(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Of a single Tensor itself, and not its rows."""
    return [parameters] if type(parameters) is Tensor else list(parameters)


def _positive(limit: float) -> None:
    if not limit > 0:
        raise ValueError(f"the limit must be above 0, got {limit}")


# --- Schedules: factors of the learning rate at a step, to be multiplied -------------------------


def warmup(step: int, steps: int) -> float:
    """Up in a straight line from ``1 / steps`` at step 0 to 1, where it stays::

        optimizer.lr = 1e-3 * warmup(step, 500) * cosine(step, 10_000)

    With 0 ``steps`` it is 1 from the start.
    """
    return min(1.0, (step + 1) / steps) if steps else 1.0


def cosine(step: int, steps: int, final: float = 0.0) -> float:
    """Down from 1 at ``step`` 0 to ``final`` at ``steps`` by half a cosine wave, and there it stays
    (Loshchilov & Hutter 2017, equation 5, without restarts)."""
    share = min(step / steps, 1.0) if steps else 1.0
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))


def step_decay(step: int, every: int, factor: float = 0.1) -> float:
    """``factor`` to the power of how often ``every`` steps are done at ``step``.

    Raises ValueError unless ``every`` is above 0.
    """
    if not every > 0:
        raise ValueError(f"every must be above 0, got {every}")
    return factor ** (step // every)


def inverse_sqrt(step: int, steps: int) -> float:
    """Up in a straight line to 1 in ``steps`` steps, then down as ``1 / sqrt(step)``.

    Vaswani et al. 2017, equation 3, with the peak as the unit.
    """
    return min((step + 1) / steps, (steps / (step + 1)) ** 0.5) if steps else (step + 1) ** -0.5
