"""``Tensor``: an array that remembers how it was made.

All of its mathematics is in ``ops`` and ``functional``; here it gets the operators and the method
names that a user of NumPy reaches for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import minae.engine as engine
import minae.faults as faults
import minae.functional as functional
import minae.ops as ops

from .backend import Array, asarray, asnumpy, describe, ndarray, numpy, operand, shared, xp


class Tensor:
    """An array, whether its gradient is wanted, and the Node that recorded how it was made.

    ``data`` is an array of the backend (shared, not copied), a number or a nested list (which
    become float32); ``minae.tensor`` converts anything else. With ``requires_grad=True`` a backward
    pass adds to its ``grad``, an array of the same shape and dtype, or None before the first.
    Raises TypeError for arrays of another library and for integers that want a gradient.
    """

    __slots__ = ("array", "grad", "node", "requires_grad", "written")
    __array_ufunc__ = None  # so that ``ndarray * Tensor`` comes to __rmul__, and np.exp refuses
    __hash__ = object.__hash__  # identity: == compares entries

    array: Array
    grad: Array | None
    node: engine.Node | None
    requires_grad: bool
    written: list[int]  # the engine's clock when the array was last written, shared with views

    def __init__(self, data: Any, *, requires_grad: bool = False) -> None:
        if type(data) not in engine.PLAIN:
            data = operand(data)
        self.array = data if type(data) is ndarray else asarray(data)
        kind = self.array.dtype.kind
        if kind != "f" and (requires_grad or kind not in "biu"):
            raise TypeError(f"only real floats have gradients; this is {describe(self)}")
        self.grad, self.node = None, None
        self.requires_grad, self.written = requires_grad, engine.UNWRITTEN

    # --- What it holds -----------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The array itself. Assigning writes into it; graphs that have read it then refuse.

        ``p.data -= 0.1 * p.grad`` assigns too; ``p.data[0] = 1`` does not, and is not noticed.
        """
        return self.array

    @data.setter
    def data(self, values: Any) -> None:
        if self.node is not None:
            raise RuntimeError("this Tensor is the recorded result of an op: it cannot be changed")
        if values is not self.array:
            values = asarray(values, dtype=self.dtype)
            if values.shape != self.shape:
                raise ValueError(f"cannot write {describe(values)} into {describe(self)}")
            self.array[...] = values
        engine.stamp(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.array.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the array."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """The number of entries."""
        return self.array.size

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a Tensor without dimensions cannot be iterated over; use item()")
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        body = numpy.array2string(self.numpy(), separator=", ", prefix="Tensor(")
        dtype = "" if self.dtype == "float32" else f", dtype={self.dtype}"
        made = f", op={self.node.op.name}" if self.node else ", requires_grad=True"
        return f"Tensor({body}{dtype}{made if self.requires_grad else ''})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.size == 1 else format(repr(self), spec)

    # --- Ways out ----------------------------------------------------------------------------

    def detach(self) -> Tensor:
        """The same array, shared, in a Tensor that gradients do not pass."""
        detached = engine.wrap(self.array)
        engine.share_writes(self, detached)
        return detached

    def numpy(self) -> Any:
        """The entries as a NumPy array: shared memory on NumPy, a copy from a GPU."""
        faults.settle()
        return asnumpy(self.array)

    def item(self) -> float | int | bool:
        """The one entry as a Python number."""
        if not faults.DEFERRED:
            return self.array.item()
        array = self.numpy() if self.dtype.kind in "iu" else faults.fetch(self.array)[0]
        return array.item()

    def tolist(self) -> Any:
        """The entries as nested lists of Python numbers."""
        return self.numpy().tolist()

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.requires_grad:
            raise TypeError(
                "NumPy would lose the gradient of this Tensor: use minae's functions (minae.stack "
                "for a list of Tensors), or take the entries with x.numpy() or x.detach()"
            )
        return numpy.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("DLPack would lose the gradient: export x.detach()")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __reduce__(self) -> Any:
        if self.node is not None:
            raise TypeError("a recorded result is not copied or pickled: do so with x.detach()")
        return _restored, (self.array, self.requires_grad, self.grad)

    # --- Gradients ---------------------------------------------------------------------------

    def backward(self, seed: Any = None, *, retain_graph: bool = False) -> None:
        """Add the gradient of this Tensor to the ``grad`` of every leaf that it was made from.

        ``seed`` is the gradient of this Tensor, of its shape; it may be left out where there is one
        element. The graph is freed on the way unless ``retain_graph`` is set. Gradients add up over
        calls until ``grad`` is set to None, so that a step of gradient descent reads::

            loss.backward()
            for p in parameters:
                p.data -= 0.1 * p.grad
                p.grad = None

        For gradients of gradients see ``minae.grad``.
        """
        engine.backward(self, seed, retain_graph)

    # --- Operators ---------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.div(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def _augmented(self, other: Any) -> Any:
        """``total += x`` makes a new Tensor of that name; of a parameter it would lose the old."""
        if self.requires_grad and self.node is None:
            raise RuntimeError(
                "p -= step would make p a new Tensor and leave the parameter as it was: "
                "write p.data -= step, or give the result another name"
            )
        return NotImplemented

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __imatmul__ = _augmented

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    # Comparisons have no gradient: they give plain boolean arrays.

    def __eq__(self, other: Any) -> Any:
        return self.array == _comparable(other)

    def __ne__(self, other: Any) -> Any:
        return self.array != _comparable(other)

    def __lt__(self, other: Any) -> Any:
        return self.array < _comparable(other)

    def __le__(self, other: Any) -> Any:
        return self.array <= _comparable(other)

    def __gt__(self, other: Any) -> Any:
        return self.array > _comparable(other)

    def __ge__(self, other: Any) -> Any:
        return self.array >= _comparable(other)

    # --- Indexing and shape ------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index=ops.plain_index(index))

    def __setitem__(self, index: Any, values: Any) -> None:
        wanted = self.requires_grad or (type(values) is Tensor and values.requires_grad)
        if self.node is not None or (wanted and engine.recording.get()):
            raise RuntimeError(
                "writing in place would lose a gradient: minae.index_update(x, index, values) "
                "returns a changed Tensor; a parameter may be set under no_grad()"
            )
        self.array[ops.plain_index(index)] = _comparable(values)
        engine.stamp(self)

    @property
    def T(self) -> Tensor:
        """The axes reversed."""
        return ops.transpose(self)

    def reshape(self, *shape: Any) -> Tensor:
        """The entries in row-major order in another shape; one length may be -1."""
        return ops.reshape(self, shape=_flat(shape))

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order; reversed by default."""
        return ops.transpose(self, axes=_flat(axes) or None)

    def swapaxes(self, first: int, second: int) -> Tensor:
        """The axes ``first`` and ``second`` exchanged."""
        return ops.swapaxes(self, first=first, second=second)

    def squeeze(self, axis: int | tuple[int, ...] | None = None) -> Tensor:
        """Without the axes of length 1, or without those that ``axis`` names."""
        return ops.reshape(self, shape=self.array.squeeze(axis).shape)

    def flatten(self) -> Tensor:
        """The entries in row-major order along one axis."""
        return ops.reshape(self, shape=(self.size,))

    def flip(self, axis: int | tuple[int, ...] | None = None) -> Tensor:
        """In reverse order along ``axis``, by default all."""
        return ops.flip(self, axis=axis)

    def split(self, sections: int | list[int], axis: int = 0) -> list[Tensor]:
        """In equal ``sections`` along ``axis``, or cut before each index of a list."""
        return functional.split(self, sections, axis)

    def astype(self, dtype: Any) -> Tensor:
        """In another dtype; integers and booleans pass no gradient on."""
        if xp.dtype(dtype).kind != "f":
            return engine.wrap(self.array.astype(dtype))
        return ops.astype(self, dtype=dtype)

    # --- Reductions --------------------------------------------------------------------------

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The sum over ``axis`` (all axes by default)."""
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The mean over ``axis``."""
        return functional.mean(self, axis, keepdims)

    def var(self, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Tensor:
        """The variance over ``axis``, divided by the number of entries less ``correction``."""
        return functional.var(self, axis, keepdims, correction)

    def std(self, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Tensor:
        """The square root of ``var``, of the same arguments."""
        return functional.std(self, axis, keepdims, correction)

    def norm(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The Euclidean norm over ``axis``."""
        return functional.norm(self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The largest entry over ``axis``."""
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """The smallest entry over ``axis``."""
        return ops.min(self, axis=axis, keepdims=keepdims)

    def logsumexp(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """``log(sum(exp(x)))`` over ``axis``, without overflow."""
        return ops.logsumexp(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int = -1) -> Tensor:
        """The running sum along ``axis``."""
        return ops.cumsum(self, axis=axis)

    def argmax(self, axis: int | None = None) -> Array:
        """The index of the largest entry along ``axis``, or of all in row-major order: a plain
        array."""
        return self.array.argmax(axis=axis)

    def argmin(self, axis: int | None = None) -> Array:
        """The index of the smallest entry along ``axis``, or of all in row-major order: a plain
        array."""
        return self.array.argmin(axis=axis)

    # --- Functions of one argument -----------------------------------------------------------

    def exp(self) -> Tensor:
        """e to the power of each entry."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """The square root; its gradient at 0 is 0."""
        return ops.sqrt(self)

    def sin(self) -> Tensor:
        """The sine."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """The cosine."""
        return ops.cos(self)

    def abs(self) -> Tensor:
        """The absolute value."""
        return ops.abs(self)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """``1 / (1 + exp(-x))``."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """``max(x, 0)``."""
        return ops.relu(self)

    def softmax(self, axis: int = -1) -> Tensor:
        """``exp(x) / sum(exp(x))`` along ``axis``."""
        return ops.softmax(self, axis=axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        """``log(softmax(x))`` along ``axis``."""
        return ops.log_softmax(self, axis=axis)

    def clip(self, low: float | None = None, high: float | None = None) -> Tensor:
        """Held between the numbers ``low`` and ``high``, either of which may be None."""
        return ops.clip(self, low=low, high=high)


def tensor(data: Any, dtype: Any = None, *, requires_grad: bool = False) -> Tensor:
    """A Tensor of a copy of ``data``, on its own: no gradient passes back to where it came from.

    Takes numbers, nested lists (of numbers: for Tensors see ``stack``), NumPy arrays, Tensors, and
    arrays of any library that speaks DLPack (PyTorch, CuPy, JAX). Numbers and lists become float32
    unless ``dtype`` says otherwise, arrays keep theirs. With ``requires_grad`` it is a leaf, whose
    ``grad`` backward passes fill. Raises TypeError for what holds no real numbers, and for integers
    that want a gradient.
    """
    source = data.detach() if hasattr(data, "detach") else data
    return Tensor(asarray(source, dtype).copy(), requires_grad=requires_grad)


def from_dlpack(data: Any) -> Tensor:
    """A Tensor that shares its memory with ``data``, another library's array on the same device."""
    return Tensor(shared(data))


def _restored(array: Array, requires_grad: bool, grad: Array | None) -> Tensor:
    tensor = Tensor(array, requires_grad=requires_grad)
    tensor.grad = grad
    return tensor


def _comparable(value: Any) -> Any:
    """What to compare with or to write: arrays of this backend, or what is no array at all."""
    foreign = hasattr(value, "shape") and type(value) not in (Tensor, ndarray)
    return operand(value) if foreign or type(value) is list else engine.entries(value)


def _flat(numbers: tuple) -> Any:
    """``x.reshape(2, 3)`` and ``x.reshape((2, 3))`` mean the same."""
    return tuple(numbers[0]) if len(numbers) == 1 and type(numbers[0]) in (tuple, list) else numbers


engine.Tensor = Tensor  # type: ignore[misc]
