"""``Module``: parameters, buffers and smaller Modules, held together under their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from reprlib import recursive_repr
from typing import Any, Self

from ..backend import Array, asarray, asnumpy, beside, describe, ndarray, numpy
from ..engine import entries, stamp
from ..faults import settle
from ..tensor import Tensor

ARRAYS = (ndarray, numpy.ndarray)  # one and the same on NumPy


class Module:
    """What holds state. A subclass assigns attributes and defines ``forward``; it need not call
    ``super().__init__()``::

        class Scale(Module):
            def __init__(self):
                self.factor = minae.tensor([1.0], requires_grad=True)  # a parameter
                self.calls = minae.xp.zeros(1)                         # a buffer

            def forward(self, x):
                self.calls += 1
                return x * self.factor

    Tensors that need gradients are parameters; other Tensors and arrays (of the backend, or of
    NumPy for what the host decides by) are buffers, so a frozen parameter is one. Both are found in
    attributes, and in lists, tuples and dicts of them, at any depth; what is found by two ways
    counts once. Numbers and strings are configuration, not state, and so is the recorded result of
    an op.
    """

    training = True
    """True at first and after ``train``, False after ``eval``: what dropout and statistics obey."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What a call of the Module returns: for the subclass to define."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # --- What is inside, in the order of assignment --------------------------------------------

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This Module under the name "", then those below, outer before inner."""
        return ((name, m) for name, m in _below(self, "", set()) if isinstance(m, Module))

    def named_state(self) -> Iterator[tuple[str, Any]]:
        """Parameters and buffers, as they are: Tensors and arrays."""
        return ((name, x) for name, x in _below(self, "", set()) if not isinstance(x, Module))

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The Tensors that need gradients."""
        return ((name, x) for name, x in self.named_state() if _is_parameter(x))

    def named_buffers(self) -> Iterator[tuple[str, Any]]:
        """The arrays, and the Tensors that need no gradients."""
        return ((name, x) for name, x in self.named_state() if not _is_parameter(x))

    def modules(self) -> list[Module]:
        """This Module and all below."""
        return [module for _, module in self.named_modules()]

    def parameters(self) -> list[Tensor]:
        """The Tensors that need gradients: what an optimizer takes."""
        return [x for _, x in self.named_parameters()]

    # --- What changes all of it ----------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set ``training`` to ``mode`` here and below, so that dropout drops and statistics are
        updated. Returns self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """For use after training: no dropout, and no forward pass changes any state."""
        return self.train(False)

    def astype(self, dtype: Any) -> Self:
        """Turn parameters and buffers of floats to another float dtype, in place. Returns self."""
        if numpy.dtype(dtype).kind != "f":
            raise TypeError(f"a Module computes in floats, not {dtype}")
        _cast(self, dtype, {})
        return self

    # --- State by name -------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Copies of parameters and buffers by name, as NumPy arrays: a snapshot to be saved.

        Raises ValueError where two have one name, as ``{"b.c": x, "b": {"c": y}}`` would.
        """
        settle()
        return {name: numpy.array(asnumpy(entries(x))) for name, x in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` gave, or the same names from elsewhere.

        Every name must be there, with its shape, and no other: else a ValueError lists all that is
        wrong, and nothing is changed. Floats are converted to the dtype that is here. Raises
        TypeError for tensors of PyTorch, which ``interop.load_torch`` takes.
        """
        if strange := [name for name, value in state.items() if _is_torch(value)]:
            raise TypeError(
                f"{strange[0]} is a tensor of PyTorch, whose weights have their axes in another "
                "order: use minae.interop.load_torch(module, state)"
            )
        own = self._state()
        new = {name: asarray(entries(value)) for name, value in state.items()}
        problems = [f"missing: {name}" for name in own if name not in new]
        problems += [f"unknown: {name}" for name in new if name not in own]
        problems += [
            f"{name} is {describe(value)}, needs {describe(own[name])}"
            for name, value in new.items()
            if name in own and not _fits(value, own[name])
        ]
        if problems:
            raise ValueError(f"the state does not fit {type(self).__name__}:\n  "
                             + "\n  ".join(problems))
        for name, target in own.items():
            entries(target)[...] = beside(new[name], entries(target))
            if type(target) is Tensor:
                stamp(target)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {}
        for name, x in self.named_state():
            if state.setdefault(name, x) is not x:
                raise ValueError(f"two parts of {type(self).__name__} are named {name}")
        return state

    # --- How it prints -------------------------------------------------------------------------

    @recursive_repr()
    def __repr__(self) -> str:
        """The Modules inside, with the number of trainable entries of each."""
        count = sum(p.size for p in self.parameters())
        lines = [f"{type(self).__name__}({self.extra_repr()})"]
        lines[0] += f"  # {count:,} parameters" if count else ""
        for name, child in _children(vars(self)):
            inner = getattr(child, "__name__", None) or repr(child)
            lines.append(f"  {name}: {inner}".replace("\n", "\n  "))
        return "\n".join(lines)

    def extra_repr(self) -> str:
        """What ``repr`` shows in the parentheses: the options that matter."""
        return ""


def _below(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Every Module, Tensor and array in ``value``, each once, the outer before the inner."""
    if not isinstance(value, (Module, Tensor, *ARRAYS, dict, list, tuple)) or id(value) in seen:
        return
    seen.add(id(value))
    items: Any = ()
    if isinstance(value, Module):
        items = vars(value).items()
    elif isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    recorded = getattr(value, "node", None) is not None  # the result of an op is no state
    if isinstance(value, (Module, Tensor, *ARRAYS)) and not recorded:
        yield name, value
    for key, item in list(items):
        yield from _below(item, f"{name}.{key}" if name else str(key), seen)


def _cast(value: Any, dtype: Any, done: dict[int, Any]) -> Any:
    """``value`` with all floats below in ``dtype``. Only arrays, and tuples of them, are replaced;
    ``done`` says by what, so that what was shared still is."""
    if id(value) in done:
        return done[id(value)]
    done[id(value)] = value
    floats = isinstance(entries(value), ARRAYS) and entries(value).dtype.kind == "f"
    if type(value) is Tensor:
        if floats and value.node is None:
            value.array, value.grad = value.array.astype(dtype), None
            stamp(value)
    elif floats:
        done[id(value)] = entries(value).astype(dtype)
    elif isinstance(value, (Module, dict)):
        members: dict = value if isinstance(value, dict) else vars(value)
        members.update({key: _cast(x, dtype, done) for key, x in members.items()})
    elif isinstance(value, list):
        value[:] = [_cast(x, dtype, done) for x in value]
    elif isinstance(value, tuple):
        items = [_cast(x, dtype, done) for x in value]
        if any(x is not y for x, y in zip(items, value)):
            done[id(value)] = getattr(type(value), "_make", tuple)(items)  # or a namedtuple
    return done[id(value)]


_KINDS = {"f": "f", "i": "iu", "u": "iu", "b": "b"}  # what may be loaded into what


def _is_torch(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "torch"


def _is_parameter(x: Tensor | Array) -> bool:
    return type(x) is Tensor and x.requires_grad


def _fits(value: Array, target: Tensor | Array) -> bool:
    if value.shape != target.shape or value.dtype.kind not in _KINDS[target.dtype.kind]:
        return False
    return value.dtype.kind == "f" or bool((value.astype(target.dtype) == value).all())


def _children(members: Any, name: str = "", outer: tuple = ()) -> Iterator[tuple[str, Any]]:
    """Modules and functions among members, by name; what is ``outer`` is not entered again."""
    outer += (id(members),)
    for key, value in members.items() if isinstance(members, dict) else enumerate(members):
        label = f"{name}.{key}" if name else str(key)
        if isinstance(value, (dict, list, tuple)) and id(value) not in outer:
            yield from _children(value, label, outer)
        elif callable(value):
            yield label, value
