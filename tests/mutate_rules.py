"""Do the tests notice a wrong gradient? Each gradient rule is changed in one place at a time, in
all the ways below, and the tests that run it must fail.

python tests/mutate_rules.py          every mutant; prints those that survive, and the share killed
python tests/mutate_rules.py --only matmul   of the rules whose name has this in it
python tests/mutate_rules.py --list   the mutants, without a test

The tests are collected and run once on the code as it is, which also says which test runs which
rule. Then each mutant is put into a fork of this process, where the tests that reach it run until
one fails. Needs a system with fork; one core, no other package than the tests do.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import inspect
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ["MINAE_KERNELS"] = "reference"  # rules do not depend on kernels; these bear a fork

import hypothesis  # noqa: E402
import pytest  # noqa: E402

import minae.engine as engine  # noqa: E402
import minae.ops as ops  # noqa: E402
import minae.seq.chart  # noqa: E402, F401

TESTS = ["test_ops.py", "test_adjoint.py", "test_engine.py", "functional", "test_tensor.py",
         "seq/test_structure.py"]
LIMIT = 60  # seconds for a mutant; one that takes longer hangs, and so is noticed
WANTED = 0.95

# Mutants that compute the same as the original: the rule, its line before and after, the proof.
EQUIVALENT = {
    ("elementwise._base",
     "if isinstance(y, (int, float)) and y != 0:",
     "if isinstance(x, (int, float)) and y != 0:"):
        "x is an array where its rule runs; then where() decides, and picks x unless y is 0",
    ("elementwise._base",
     "return where((x == 0) & (y == 0), 1.0, x)",
     "return where((x == 0) & (y == 0), 2.0, x)"):
        "0 ** 0 has the gradient y * base ** -1 = 0 for every base but 0, and no second one",
    ("sqrt, x",
     "lambda g, out: g * 0.5 / where(out == 0, math.inf, out)",
     "lambda g, out, x: g * 0.5 / where(x == 0, math.inf, out)"):
        "sqrt(x) is 0 just where x is: the least float has a root",
    ("sign, x",
     "lambda g: where(False, g, 0.0)",
     "lambda g: 0 * where(False, g, 0.0)"):
        "0 * 0 is 0",
    # The larger of x and y exceeds y just where x does; and so on.
    ("maximum, x",
     "lambda g, x, y: g * (x > y) + g * 0.5 * (x == y)",
     "lambda g, x, y, out: g * (out > y) + g * 0.5 * (x == y)"):
        "out is x or y",
    ("maximum, y",
     "lambda g, x, y: g * (x < y) + g * 0.5 * (x == y)",
     "lambda g, x, y, out: g * (x < out) + g * 0.5 * (x == y)"):
        "out is x or y",
    ("minimum, x",
     "lambda g, x, y: g * (x < y) + g * 0.5 * (x == y)",
     "lambda g, x, y, out: g * (out < y) + g * 0.5 * (x == y)"):
        "out is x or y",
    ("minimum, y",
     "lambda g, x, y: g * (x > y) + g * 0.5 * (x == y)",
     "lambda g, x, y, out: g * (x > out) + g * 0.5 * (x == y)"):
        "out is x or y",
    # What exp makes of a positive x is not taken.
    ("elu, x",
     "lambda g, x, alpha: where(x > 0, g, alpha * g * exp(where(x > 0, 0.0, x)))",
     "lambda g, x, alpha: where(x > 0, g, alpha * g * exp(where(x > 1, 0.0, x)))"):
        "it does not overflow below 1",
    ("elu, x",
     "lambda g, x, alpha: where(x > 0, g, alpha * g * exp(where(x > 0, 0.0, x)))",
     "lambda g, x, alpha: where(x > 0, g, alpha * g * exp(where(x > 0, 1.0, x)))"):
        "e instead of 1",
    ("bounded_log, p",
     "lambda g, p: g / ops.maximum(p, 1e-12)",
     "lambda g, p: g / ops.maximum(1e-12, p)"):
        "the larger of two, in either order",
    ("softmax_gradient, p",
     "lambda g, u, p, axis: g * (u - _dot(u, p, axis)) - u * _dot(g, p, axis)",
     "lambda g, u, p, axis: g * (u - _dot(p, u, axis)) - u * _dot(g, p, axis)"):
        "an inner product, in either order",
    ("softmax_gradient, p",
     "lambda g, u, p, axis: g * (u - _dot(u, p, axis)) - u * _dot(g, p, axis)",
     "lambda g, u, p, axis: g * (u - _dot(u, p, axis)) - u * _dot(p, g, axis)"):
        "an inner product, in either order",
    ("log_softmax_gradient, u",
     "lambda g, y, axis: g - _dot(g, exp(y), axis)",
     "lambda g, y, axis: g - _dot(exp(y), g, axis)"):
        "an inner product, in either order",
    # What is recorded may also be computed, by arrays alone.
    ("attention._pull_attention",
     "pull = kernels.attention_gradient if entries(g) is g else _of_ops",
     "pull = _of_ops"):
        "the kernel's definition, slower",
    ("attention._of_ops",
     "scale = query.shape[3] ** (-0.5)",
     "scale = key.shape[3] ** (-0.5)"):
        "queries have as many features as keys",
    ("attention._of_ops",
     "seen = visible(mask, causal, query.shape[2], key.shape[2])",
     "seen = visible(mask, causal, query.shape[2], value.shape[2])"):
        "there are as many values as keys",
    # State and cell have one shape, inputs and results one number of steps.
    ("recurrent._pull_lstm",
     "size, steps = (hidden.shape[1], projected.shape[0])",
     "size, steps = (cell.shape[1], projected.shape[0])"):
        "the same number",
    ("recurrent._pull_lstm",
     "size, steps = (hidden.shape[1], projected.shape[0])",
     "size, steps = (hidden.shape[1], out.shape[0])"):
        "the same number",
    ("recurrent._pull_gru",
     "size, steps = (hidden.shape[1], projected.shape[0])",
     "size, steps = (hidden.shape[1], out.shape[0])"):
        "the same number",
    # The product of two matrices is a shortcut: matmul, below it, gives the same.
    ("linalg._left",
     "if g.ndim == 2 and x.ndim == 2:",
     "if g.ndim == 2 and y.ndim == 2:"):
        "just where x is a matrix, too",
    ("linalg._left",
     "if g.ndim == 2 and x.ndim == 2:",
     "if g.ndim == 2 and x.ndim == 3:"):
        "never so: always the long way",
    # A matrix is its own rows, and x has two axes here, or more.
    ("linalg._right",
     "if y.ndim == 2 and x.ndim > 2:",
     "if y.ndim == 2:"):
        "more often by rows",
    ("linalg._right",
     "if y.ndim == 2 and x.ndim > 2:",
     "if y.ndim == 2 and x.ndim >= 2:"):
        "more often by rows",
    ("linalg._contract",
     "gradient = sum_to(gradient, shape=tuple(map(min, sizes, x.shape)))",
     "gradient = sum_to(gradient, shape=tuple(map(min, x.shape, sizes)))"):
        "the smaller of two, in either order",
    ("reduction.restore",
     "if keepdims or axis is None:",
     "if axis is None:"):
        "a reshape to the shape that keepdims has left",
    # Where x is -inf, exp(x - c) is 0 for every finite c; and out is -inf only where x is.
    ("reduction._logsumexp",
     "return g * exp(x - where(out == -math.inf, 0.0, out))",
     "return g * exp(x - where(x == -math.inf, 0.0, out))"):
        "exp(-inf)",
    ("reduction._logsumexp",
     "return g * exp(x - where(out == -math.inf, 0.0, out))",
     "return g * exp(x - where(out == -math.inf, 1.0, out))"):
        "exp(-inf)",
    ("engine._fit",
     "return gradient if gradient.dtype == source.dtype else gradient.astype(source.dtype)",
     "return gradient.astype(source.dtype)"):
        "a cast to the dtype that it has",
    ("engine.sum_to",
     "stretched = [i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1]",
     "stretched = [i + extra for i, n in enumerate(shape) if n == 1]"):
        "a sum over an axis of length 1",
    ("engine.sum_to",
     "return (x.sum(axis=axes, keepdims=True) if axes else x).reshape(shape)",
     "return x.sum(axis=axes, keepdims=True).reshape(shape)"):
        "over no axis",
    # The reshape gives the sum its shape.
    ("engine.sum_to",
     "return (x.sum(axis=axes, keepdims=True) if axes else x).reshape(shape)",
     "return (x.sum(axis=axes) if axes else x).reshape(shape)"):
        "any shape does",
    ("engine.sum_to",
     "return (x.sum(axis=axes, keepdims=True) if axes else x).reshape(shape)",
     "return (x.sum(axis=axes, keepdims=False) if axes else x).reshape(shape)"):
        "any shape does",
    ("engine.pull_back",
     "sums.add(source)",
     "sums"):
        "the same sums, each in an array of its own",
}  # fmt: skip


class Mutant(NamedTuple):
    rule: str  # the name of what was changed: an op and its argument, or a function
    before: str  # the line
    after: str
    code: Any  # a test that does not run this, runs no part of it
    install: Callable[[], None]


# --- What is mutated -------------------------------------------------------------------------


def mutants() -> Iterator[Mutant]:
    """All of them: of the rules, of the functions that they call, and of the engine's sums."""
    functions: dict[Callable, None] = {}  # a set that keeps its order
    for op in engine.OPS.values():
        for rule in filter(None, [*op.rules, op.joint]):
            if rule.pull.__name__ == "<lambda>":
                yield from _of_lambda(op, rule)
            _gather(rule.pull, functions)
    for function in (*functions, engine._fit, engine.sum_to, engine._separate):
        yield from _of_function(function)
    yield from _of_function(engine.pull_back, _accumulation)


def _gather(function: Callable, found: dict[Callable, None]) -> None:
    """Add the function, unless it is a lambda, and those of minae.ops that it calls (no ops)."""
    if function in found:
        return
    if function.__name__ != "<lambda>":
        found[function] = None
    for name in function.__code__.co_names:
        called = function.__globals__.get(name)
        if (
            inspect.isfunction(called) and called.__module__.startswith("minae.ops")
            and not hasattr(called, "__wrapped__") and not hasattr(ops, name)
        ):  # fmt: skip
            _gather(called, found)


def _of_lambda(op: Any, rule: Any) -> Iterator[Mutant]:
    (node,) = (
        keyword.value
        for decorator in _definition(op.forward).decorator_list
        for keyword in decorator.keywords
        if keyword.arg == rule.argument
    )
    kinds = [[*op.arrays, "out"], [a + "_shape" for a in op.arrays], [*op.defaults]]
    original = rule.pull

    for mutated in _mutate(node, kinds):
        read = {n.id for n in ast.walk(mutated.body) if isinstance(n, ast.Name)}
        arguments = mutated.args.args
        for name in itertools.chain(*kinds):  # it may read what the rule does not
            if name in read and name not in [a.arg for a in arguments]:
                arguments.append(ast.arg(name))
        arguments[1:] = [a for a in arguments[1:] if a.arg in read]
        code = compile(ast.fix_missing_locations(ast.Expression(mutated)), "<mutant>", "eval")

        def install(code: Any = code) -> None:
            rule.__init__(rule.argument, eval(code, original.__globals__), op)

        texts = ast.unparse(node), ast.unparse(mutated)
        yield Mutant(f"{op.name}, {rule.argument}", *texts, op.forward.__code__, install)


def _of_function(function: Callable, *part: Callable) -> Iterator[Mutant]:
    node = _definition(function)
    kinds = [[a.arg for a in node.args.args + node.args.kwonlyargs if a.arg != "g"]]
    original = function.__code__

    for mutated in _mutate(node, kinds, *part):
        module = ast.fix_missing_locations(ast.Module([mutated], []))
        code = compile(module, "<mutant>", "exec")  # under this file's "from __future__"

        def install(code: Any = code) -> None:
            made: dict[str, Any] = {}
            exec(code, function.__globals__, made)
            function.__code__ = made[function.__name__].__code__

        lines = zip(ast.unparse(node).splitlines(), ast.unparse(mutated).splitlines())
        before, after = next((a.strip(), b.strip()) for a, b in lines if a != b)
        yield Mutant(_name(function), before, after, original, install)


def _name(function: Callable) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


def _definition(function: Callable) -> Any:
    """Its syntax tree, without the docstring."""
    tree = ast.parse(Path(inspect.getsourcefile(function)).read_text(encoding="utf-8"))
    (node,) = (n for n in tree.body if getattr(n, "name", "") == function.__name__)
    if ast.get_docstring(node):
        del node.body[0]
    return node


def _accumulation(pull_back: ast.FunctionDef) -> ast.AST:
    """The part of ``pull_back`` that adds a gradient to what a source has received before."""
    (part,) = (
        n for n in ast.walk(pull_back) if isinstance(n, ast.If)
        and ast.unparse(n.test) == "before is None"
    )  # fmt: skip
    return part


# --- How it is mutated -----------------------------------------------------------------------

SWAPPED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult, ast.Mod: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt,
}  # fmt: skip


def _mutate(root: Any, kinds: list[list[str]], part: Callable = lambda node: node) -> Iterator[Any]:
    """Copies of ``root``, each with one change in the part of it."""
    first = root.args.args[0].arg
    seen = {ast.dump(root)}
    for place, old in list(_places(part(root))):
        results = isinstance(place, (ast.Return, ast.Lambda))
        for new in [*_changes(old, kinds), *(_results(old, first) if results else ())]:
            mutated = _with(root, place, old, new)
            if ast.dump(mutated) not in seen:
                seen.add(ast.dump(mutated))
                yield mutated


def _places(node: ast.AST) -> Iterator[tuple[Any, Any]]:
    """Parents and children of the tree; no error is raised another way, no annotation changed."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.Raise, ast.arguments)):
            yield node, child
            yield from _places(child)


def _with(root: Any, parent: Any, old: Any, new: Any) -> Any:
    """A copy of the tree in which ``new`` stands in the place of ``old``."""
    for field, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, field, new)
            result = copy.deepcopy(root)
            setattr(parent, field, old)
            return result
        if isinstance(value, list) and any(v is old for v in value):
            i = next(i for i, v in enumerate(value) if v is old)
            value[i] = new
            result = copy.deepcopy(root)
            value[i] = old
            return result
    raise LookupError(ast.unparse(old))


def _changes(node: Any, kinds: list[list[str]]) -> Iterator[Any]:
    """What may stand in its place."""

    def changed(**fields: Any) -> Any:
        return type(node)(**(dict(ast.iter_fields(node)) | fields))

    match node:
        case ast.BinOp(left, op, right):
            yield changed(op=SWAPPED[type(op)]())  # another operator
            yield from (left, right)  # a factor or a term dropped
        case ast.AugAssign(_, op, _):
            yield changed(op=SWAPPED[type(op)]())
        case ast.BoolOp(op, values):
            yield changed(op=SWAPPED[type(op)]())
            for i in range(len(values)):
                others = values[:i] + values[i + 1 :]
                yield changed(values=others) if others[1:] else others[0]
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            yield operand  # the sign dropped
        case ast.Compare(_, [op], _):
            yield changed(ops=[SWAPPED[type(op)]()])
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Name(name, ast.Load()):
            for kind in kinds:  # another of the arguments, or shapes, or options
                if name in kind:
                    yield from (ast.Name(other, ast.Load()) for other in kind if other != name)
            if name == "keepdims":
                yield ast.UnaryOp(ast.Not(), node)
        case ast.IfExp(_, body, orelse):
            yield from (body, orelse)
        case ast.Call(function, args, keywords):
            if not isinstance(function, ast.Attribute) or ast.unparse(function.value) == "math":
                yield from (a for a in args[:1] if not isinstance(a, ast.Starred))  # f(x) to x
            else:
                yield function.value  # x.f() to x
            for i in range(1, 0 if ast.unparse(function).endswith("swapaxes") else len(args)):
                yield changed(args=[*args[: i - 1], args[i], args[i - 1], *args[i + 1 :]])
            for i in range(len(keywords)):  # such as an axis
                yield changed(keywords=keywords[:i] + keywords[i + 1 :])


def _results(node: Any, first: str) -> Iterator[Any]:
    """What a function may return instead: what it was given, or nothing."""
    yield ast.Name(first, ast.Load())
    yield ast.BinOp(ast.Constant(0), ast.Mult(), node)
    if isinstance(node, (ast.Tuple, ast.List)):
        for i, element in enumerate(node.elts):
            if not isinstance(element, ast.Starred):
                for new in _results(element, first):
                    yield type(node)([*node.elts[:i], new, *node.elts[i + 1 :]], ast.Load())


# --- What the tests make of it ---------------------------------------------------------------


class Judge:
    """A plugin of pytest: in place of its loop over the tests, one for each mutant."""

    def __init__(self, chosen: list[Mutant]) -> None:
        self.chosen = chosen
        self.survived: list[Mutant] = []
        self.seconds = 0.0
        self.mutated = False  # whether this process is a fork

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """The same examples as ever, but a failing one needs not be made small."""
        hypothesis.settings.register_profile(
            "mutants", hypothesis.settings(), suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        )  # fmt: skip
        hypothesis.settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            if self.mutated:
                os._exit(1)
            pytest.exit(f"fails on the code as it is: {report.nodeid}\n{report.longrepr}", 2)

    def pytest_runtestloop(self, session: Any) -> bool:
        tests = list(map(self._try, session.items, [*session.items[1:], None]))
        gc.freeze()
        began, killers = time.monotonic(), dict[str, list]()
        for number, mutant in enumerate(self.chosen, 1):
            known = killers.setdefault(mutant.rule, [])  # they may kill its brothers, too
            reaching = [(t not in known, s, i, t) for i, (t, s, codes) in enumerate(tests)
                        if mutant.code in codes]  # fmt: skip
            reaching.sort(key=lambda r: r[:3])
            killer = self._kill(mutant, [test for *_, test in reaching])
            if killer is None:
                self.survived.append(mutant)
            elif killer not in known:
                known.append(killer)
            self.seconds = time.monotonic() - began
            print(f"\r{number} of {len(self.chosen)}", end="", file=sys.stderr)
        print(file=sys.stderr)
        return True

    def _try(self, test: Any, after: Any) -> tuple[Any, float, set]:
        """A test, the seconds that it takes, and the code to be mutated that it reaches."""
        wanted, reached = {mutant.code for mutant in self.chosen}, set()

        def profile(frame: Any, event: str, _: Any) -> None:
            if event == "call" and frame.f_code in wanted:
                reached.add(frame.f_code)

        began = time.monotonic()
        threading.setprofile(profile)
        sys.setprofile(profile)
        test.ihook.pytest_runtest_protocol(item=test, nextitem=after)
        sys.setprofile(None)
        threading.setprofile(None)
        return test, time.monotonic() - began, reached

    def _kill(self, mutant: Mutant, tests: list) -> Any:
        """The first test that fails, or None."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            self.mutated = True
            signal.alarm(LIMIT)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            mutant.install()
            for i, test in enumerate(tests):
                os.write(writer, b".")
                test.ihook.pytest_runtest_protocol(
                    item=test, nextitem=tests[i + 1] if i + 1 < len(tests) else None
                )
            os._exit(0)
        _, status = os.waitpid(child, 0)
        os.close(writer)
        with open(reader, "rb") as marks:
            started = len(marks.read())
        return tests[started - 1] if status else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", default="", metavar="NAME", help="rules with this in their name")
    parser.add_argument("--list", action="store_true", help="print the mutants, run no test")
    options = parser.parse_args()
    every = list(mutants())
    chosen = [m for m in every if options.only in m.rule]
    unknown = EQUIVALENT.keys() - {m[:3] for m in every}
    if unknown:
        raise SystemExit(f"listed as equivalent, but no mutants: {unknown}")
    if not chosen:
        raise SystemExit(f"no rule has {options.only!r} in its name")
    if options.list:
        for m in chosen:
            print(f"{m.rule}\n  - {m.before}\n  + {m.after}")
        print(f"{len(chosen)} mutants")
        return 0
    judge = Judge(chosen)
    files = [str(ROOT / "tests" / name) for name in TESTS]
    status = pytest.main(
        [f"--rootdir={ROOT}", "-qs", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", *files],
        [judge],
    )
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(status)
    equal = [m for m in chosen if m[:3] in EQUIVALENT]
    real = len(chosen) - len(equal)
    survived = [m for m in judge.survived if m not in equal]
    disproved = [m for m in equal if m not in judge.survived]
    for what, which in ("survived", survived), ("killed, so not equivalent", disproved):
        for m in which:
            print(f"{what}: {m.rule}\n  - {m.before}\n  + {m.after}")
    share = 1 - len(survived) / real
    print(
        f"{real - len(survived)} of {real} mutants killed, {share:.1%}, in {judge.seconds:.0f} s; "
        f"{len(equal)} more compute the same as the original"
    )
    return int(share < WANTED or bool(disproved))


if __name__ == "__main__":
    sys.exit(main())
