"""What an op is: a forward function, and for each argument the rule of its gradient.

The forward function's positional parameters are arrays, its keyword-only ones metadata (an axis, a
shape). A rule takes the gradient ``g`` of the result and names what else it reads::

    mul(x, y) = x * y     x: lambda g, y: g * y        y: lambda g, x: g * x
    exp(x)                x: lambda g, out: g * out
    reshape(x, *, shape)  x: lambda g, x_shape: g.reshape(x_shape)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from .backend import Array


class Rule:
    """How the gradient of one argument follows from the gradient ``g`` of the result.

    The parameters of ``pull`` say what it reads besides ``g``: arguments of the op by name, the
    result as ``out``, the shape of an argument ``x`` as ``x_shape`` (of all arguments: ``shapes``);
    a joint rule also which gradients are ``needed``: it may return None for the others.
    ``read`` gathers just that at the call, so a Node keeps nothing alive that no rule will use.
    """

    __slots__ = ("argument", "pull", "read", "out")

    def __init__(self, argument: str, pull: Callable, op: Op) -> None:
        self.argument, self.pull = argument, pull
        reads = list(inspect.signature(pull).parameters)[1:]
        self.out = reads.index("out") if "out" in reads else None
        # Compiled here, once, so that a call looks no names up.
        values = "".join(op.source_of(name) + ", " for name in reads)
        self.read: Callable[[tuple, dict, Array], tuple] = eval(
            f"lambda args, kwargs, out: ({values})", {"defaults": op.defaults}
        )


class Op:
    """A primitive: its forward function, and a Rule for each argument or one for all (joint)."""

    def __init__(
        self,
        forward: Callable,
        rules: dict[str, Callable],
        joint: Callable | None = None,
        broadcasts: bool = False,
        opaque: bool = False,
    ) -> None:
        self.name, self.forward = forward.__name__.lstrip("_"), forward
        parameters = inspect.signature(forward).parameters.values()
        arrays = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.arrays = [p.name for p in arrays]
        self.optional = [p.default for p in arrays if p.default is not p.empty]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        if unknown := rules.keys() - set(self.arrays):
            raise TypeError(f"{self.name} has a rule for {unknown}, which it has no argument for")
        self.rules = [Rule(a, rules[a], self) if a in rules else None for a in self.arrays]
        self.joint = Rule("all arguments", joint, self) if joint else None
        self.broadcasts, self.opaque = broadcasts, opaque

    def source_of(self, name: str) -> str:
        """The expression that finds what a rule calls ``name`` when the op is called."""
        if name == "out":
            return "out"
        if name in self.arrays:
            return f"args[{self.arrays.index(name)}]"
        if name.removesuffix("_shape") in self.arrays:
            return f"args[{self.arrays.index(name.removesuffix('_shape'))}].shape"
        if name in self.defaults:
            return f"kwargs.get({name!r}, defaults[{name!r}])"
        if name == "needed":
            return "[getattr(x, 'requires_grad', False) for x in args]"
        if self.variadic and name in ("shapes", "operands"):
            return "[x.shape for x in args]" if name == "shapes" else "*args"
        raise TypeError(f"a rule of {self.name} reads {name!r}, which {self.name} does not have")

    def bind(self, args: tuple, kwargs: dict) -> tuple:
        """The arrays among ``args``; what comes behind them is metadata and goes to ``kwargs``.

        A variadic op takes its arrays one by one, or in one sequence as NumPy's functions do.
        """
        if not kwargs.keys() <= self.defaults.keys():
            unknown = kwargs.keys() - self.defaults.keys()
            raise TypeError(f"{self.name} got {unknown} by name; it takes arrays by position alone")
        arrays, extra = args[: len(self.arrays)], args[len(self.arrays) :]
        if self.variadic:
            listed = len(args) == 1 or (len(args) > 1 and type(args[0]) in (list, tuple))
            arrays, extra = (tuple(args[0]), args[1:]) if listed else (args, ())
        elif missing := len(self.arrays) - len(arrays):
            if missing > len(self.optional):
                raise TypeError(f"{self.name} takes {', '.join(self.arrays)}; got {len(arrays)}")
            arrays += tuple(self.optional[-missing:])
        if len(extra) > len(self.defaults):
            raise TypeError(f"{self.name} got {len(extra) - len(self.defaults)} arguments too many")
        given = dict(zip(self.defaults, extra, strict=False))
        if twice := given.keys() & kwargs.keys():
            raise TypeError(f"{self.name} got {twice} both by position and by name")
        kwargs.update(given)
        return arrays
