"""``capture``: a training step recorded once, as a CUDA graph, and then replayed.

A small step spends most of its time launching kernels one by one from Python. A graph launches all
of them at once. It repeats the very same kernels on the very same memory, so whatever changes from
step to step must be on the device: batches are copied into place, learning rates and step counts
(``live``) are filled in before each replay.
"""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from . import engine, kernels
from .backend import Array, CaptureError, asarray, capturing, describe, ndarray, numpy, xp
from .debugging import PACKAGE
from .engine import UNCLEARED, debugged, entries, stamp, wrap

SMALL = 1 << 18  # multiplications for which OpenBLAS takes no second thread
WARM = 2  # calls that run as usual: they compile kernels, and start what starts with the data


class NotYet(CaptureError):
    """Raised by what a later step will no longer do: that one can be captured."""


def capture(step: Callable[..., Any]) -> Callable[..., Any]:
    """``step``, replayed from its third call on where there is a GPU; on NumPy just ``step``.

    ::

        @minae.capture
        def step(images):
            loss, figures = model.loss(images)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss, figures

    Arguments are arrays (of NumPy, too), Tensors, or what can be a key of a dict; results are
    Tensors and arrays in tuples, lists and dicts, copied at each call. Each new set of shapes,
    dtypes and other arguments is captured on its own. The gradients must be cleared and made
    inside.

    Python code in the step runs while it is captured, and not in a replay: what it decides by then
    holds from then on. So a Module that changes between ``train()`` and ``eval()`` is captured in
    two steps, or with its mode as an argument; buffers are changed in place (``self.mean[...] =``),
    and parameters keep their arrays.

    Raises CaptureError where the step needs the host: a number read back (``item()``, ``if x > 0``,
    ``print``), a result whose shape depends on the data, a draw from a NumPy generator, an array
    that comes from the host; so do kernels by their definition (``MINAE_KERNELS=reference``).
    Nothing has changed then but Python's own variables.
    """
    if xp is numpy:
        return step
    graphs: dict[Any, Any] = {}  # by form of the arguments: how often it was called, or its Graph

    @functools.wraps(step)
    def call(*args: Any, **kwargs: Any) -> Any:
        if debugged():  # which reads back every result
            return step(*args, **kwargs)
        args = tuple(map(_brought, args))
        kwargs = {name: _brought(x) for name, x in kwargs.items()}
        key = tuple(map(_form, args)), tuple((k, _form(v)) for k, v in sorted(kwargs.items()))
        known = graphs.get(key, 0)
        if isinstance(known, int):
            if known < WARM:
                result = step(*args, **kwargs)
                graphs[key] = known + 1
                return result
            try:
                known = graphs[key] = Graph(step, args, kwargs)
            except NotYet:
                return step(*args, **kwargs)
        return known(args, kwargs)

    return call


class Graph:
    """One recorded step, and all that it reads and writes."""

    def __init__(self, step: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> None:
        self.actions: list[Callable[[], None]] = []  # to be done before each replay
        self.numbers: list[tuple[Callable[[], float], Array]] = []
        self.written: dict[int, Any] = {}  # Tensors, to be stamped after each replay
        self.leaves: set[Any] = set()  # Tensors whose gradient is made in the step
        self.cleared: set[Any] = set()  # Tensors whose gradient is forgotten in it
        self.inputs = [xp.array(x) for x in map(entries, _flat(args, kwargs)) if _is_array(x)]
        # What is freed while the step is recorded may be used again in it, but by nothing else.
        self.pool = xp.cuda.MemoryPool()
        places = iter(self.inputs)
        args = tuple(_placed(x, places) for x in args)
        kwargs = {name: _placed(kwargs[name], places) for name in sorted(kwargs)}
        xp.get_default_memory_pool().free_all_blocks()  # the pool above takes as much anew
        stream = xp.cuda.Stream(non_blocking=True)
        stream.wait_event(xp.cuda.get_current_stream().record())
        token = capturing.set(self)
        try:
            with stream, xp.cuda.using_allocator(self.pool.malloc):
                stream.begin_capture()
                try:
                    self.results = step(*args, **kwargs)
                except BaseException:
                    with suppress(Exception):  # that the capture is invalid, too
                        stream.end_capture()
                    raise
                self.graph = stream.end_capture()
        except Exception as error:
            if not _of_cuda(error):
                raise
            where = f"{_users_line(error)}: {error}"
            raise CaptureError(
                f"this cannot be captured, as it waits for the device or is refused there: {where}"
            ) from error
        finally:
            capturing.reset(token)
            self.gradients = [(leaf, leaf.grad) for leaf in self.leaves]
            for leaf in self.leaves:  # nothing has been computed yet
                leaf.grad = None
        self.arrays = [(tensor, tensor.array) for tensor in self.written.values()]

    def __call__(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        if any(leaf.grad is not None for leaf in self.leaves - self.cleared):
            raise CaptureError(UNCLEARED)
        if any(tensor.array is not array for tensor, array in self.arrays):
            raise CaptureError("a Tensor has another array than when the step was captured")
        given = [x for x in map(entries, _flat(args, kwargs)) if _is_array(x)]
        for place, x in zip(self.inputs, given):
            place[...] = asarray(x)
        for action in self.actions:
            action()
        for read, place in self.numbers:
            place.fill(read())
        self.graph.launch()
        for tensor in self.written.values():
            stamp(tensor)
        for leaf, gradient in self.gradients:  # which may have been cleared, or another graph's
            leaf.grad = gradient
        return _copied(self.results)


# --- For what a step consists of -----------------------------------------------------------------


def product(x: Any, y: Any) -> Any:
    """``x @ y``, as ops and their rules write it. Of arrays it is a kernel: on a device because
    CuPy's own is cuBLAS's, which cannot be captured, and on the host where it takes several
    threads."""
    if type(x) is not ndarray or type(y) is not ndarray:
        return x @ y
    if xp is numpy and (y.ndim < 2 or x.size * y.shape[-1] <= SMALL):
        return x @ y
    return kernels.matmul(x, y)


def live(read: Callable[[], float]) -> Any:
    """The number that ``read`` gives; while a step is captured a 0-d float64 array, which has at
    each replay the number of then."""
    graph = capturing.get()
    if graph is None:
        return read()
    with xp.cuda.using_allocator(xp.get_default_memory_pool().malloc):
        place = xp.empty((), "float64")  # where the step itself has nothing else before
    graph.numbers.append((read, place))
    return place


def each_time(action: Callable[[], None]) -> None:
    """Do this, which is for Python alone, now; while a step is captured, before each replay."""
    graph = capturing.get()
    if graph is None:
        action()
    else:
        graph.actions.append(action)


def cleared(leaves: Iterable[Any]) -> None:
    """Note that the gradients of these are forgotten in the step."""
    graph = capturing.get()
    if graph is not None:
        graph.cleared.update(leaves)


def made_in_step(leaves: Iterable[Any]) -> None:
    """Raise CaptureError where a captured step would read a gradient that was made before it."""
    graph = capturing.get()
    if graph is not None and not graph.leaves.issuperset(leaves):
        raise CaptureError("a captured step makes its gradients itself: call backward() in it")


# --- Arguments and results -----------------------------------------------------------------------


def _of_cuda(error: Exception) -> bool:
    """Whether CuPy has raised it, and not the step itself."""
    return type(error).__module__.startswith("cupy") or isinstance(error, NotImplementedError)


def _users_line(error: Exception) -> str:
    """The innermost line of the step that is neither minae's nor CuPy's."""
    lines = [
        f"{frame.filename}:{frame.lineno}: {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(PACKAGE) and f"{os.sep}cupy" not in frame.filename
    ]
    return lines[-1] if lines else "in the step"


def _brought(x: Any) -> Any:
    """An argument, brought from the host where it is an array there."""
    return asarray(x) if isinstance(x, numpy.ndarray) else x


def _is_array(x: Any) -> bool:
    return isinstance(x, (ndarray, numpy.ndarray))


def _flat(args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    return [*args, *(kwargs[name] for name in sorted(kwargs))]


def _form(x: Any) -> Any:
    if _is_array(entries(x)):
        return type(x) is engine.Tensor, x.shape, str(x.dtype)
    try:
        hash(x)
    except TypeError:
        raise CaptureError(
            f"a captured step takes arrays, Tensors and plain values, not {describe(x)}: "
            "minae.xp.asarray makes an array of it"
        ) from None
    return type(x), x  # for 1 == True


def _placed(x: Any, places: Any) -> Any:
    """An argument with its array in the graph's memory."""
    if not _is_array(entries(x)):
        return x
    if getattr(x, "requires_grad", False):
        raise CaptureError("an argument of a captured step gets no gradient: pass x.detach()")
    return wrap(next(places)) if type(x) is engine.Tensor else next(places)


def _copied(x: Any) -> Any:
    """A result that the next replay leaves alone."""
    if type(x) is engine.Tensor:
        return wrap(x.array.copy())
    if isinstance(x, ndarray):
        return x.copy()
    if isinstance(x, dict):
        return {name: _copied(value) for name, value in x.items()}
    if isinstance(x, (list, tuple)):
        items = [_copied(value) for value in x]
        return getattr(type(x), "_make", type(x))(items)
    return x
