"""``ndarray``, and ``run``: the one way in which arrays are made, changed and captured.

An array holds a NumPy array that nobody else sees, and the memory that it was given for it. What
computes is a NumPy function that ``run`` calls on these.
"""

import operator

import numpy

from . import cuda

SCALARS = (bool, int, float, complex, numpy.generic)
HARMLESS = (*SCALARS, str, slice, type(None), type(...), numpy.dtype, type)


class ndarray:
    """An array on the device."""

    __slots__ = ("__weakref__", "_host", "_memory", "base")
    __array_ufunc__ = None
    __array_priority__ = 100
    __hash__ = None

    def __new__(cls, shape, dtype=float, memptr=None, strides=None, order="C"):
        if memptr is not None or strides is not None:
            raise NotImplementedError("the stand-in has no arrays at given addresses")
        return run(empty, shape, dtype, order)

    # --- What it is ------------------------------------------------------------------------------

    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    itemsize = property(lambda self: self._host.itemsize)
    flags = property(lambda self: Flags(self._host.flags, self.base is None))
    device = property(lambda self: self._memory.device)
    data = property(lambda self: cuda.MemoryPointer(self._memory.mem, self._host.ctypes.data))
    T = property(lambda self: self if self.ndim < 2 else self.transpose())
    mT = property(lambda self: self.swapaxes(-1, -2))
    real = property(lambda self: self)

    @property
    def shape(self):
        return self._host.shape

    @shape.setter
    def shape(self, shape):
        self._host.shape = shape

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # --- Ways to the host, for which it waits ----------------------------------------------------

    def get(self, stream=None, order="C", out=None, blocking=True):
        if blocking:
            cuda.wait()
        if out is None:
            cuda.refuse_in_capture()
            return self._host.copy(order)
        if (out.shape, out.dtype) != (self.shape, self.dtype):
            raise ValueError(f"out is {out.dtype}{out.shape}, not {self.dtype}{self.shape}")
        if not blocking and not cuda.is_pinned(out):
            cuda.refuse_in_capture()
        run(lambda source: out.__setitem__(..., source), self)
        return out

    def set(self, arr, stream=None):
        if not isinstance(arr, numpy.ndarray):
            raise TypeError("only a numpy.ndarray can be set")
        if (arr.shape, arr.dtype) != (self.shape, self.dtype):
            raise ValueError(f"{arr.dtype}{arr.shape} cannot be set to {self.dtype}{self.shape}")
        if not cuda.is_pinned(arr):
            cuda.refuse_in_capture()
        run(lambda target: target.__setitem__(..., arr), self)

    def item(self):
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def tobytes(self, order="C"):
        return self.get().tobytes(order)

    def __bool__(self):
        return bool(self.get())

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __complex__(self):
        return complex(self.get())

    def __repr__(self):
        return repr(self.get())

    def __str__(self):
        return str(self.get())

    def __format__(self, spec):
        return format(self.get(), spec)

    def __reduce__(self):
        return array, (self.get(),)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __array__(self, dtype=None, copy=None):
        raise TypeError("a cupy.ndarray is not converted to NumPy in silence: use x.get()")

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"numpy.{function.__name__} does not take a cupy.ndarray here")

    def __dlpack_device__(self):
        return 2, self._memory.device_id  # kDLCUDA

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if dl_device is not None and tuple(dl_device) == (1, 0):
            return self.get().__dlpack__()
        return Capsule(self)

    # --- Indexing --------------------------------------------------------------------------------

    def __getitem__(self, index):
        parts = _parts(index)
        return run(_pick if _advanced(parts) else operator.getitem, self, parts)

    def __setitem__(self, index, value):
        if not isinstance(value, (ndarray, *SCALARS)):
            raise TypeError(f"cannot write a {type(value)} to a cupy.ndarray: convert it first")
        parts = _parts(index)
        run(_put if _advanced(parts) else operator.setitem, self, parts, value)

    def take(self, indices, axis=None, out=None):
        if axis is None:
            return self.ravel().take(indices, 0, out)
        indices = array(indices, "int64") if isinstance(indices, list) else indices
        found = self[(*(slice(None),) * (axis % max(self.ndim, 1)), indices)]
        return found if out is None else run(numpy.positive, found, out=out)

    # --- Shape -----------------------------------------------------------------------------------

    def reshape(self, *shape, order="C"):
        shape = shape[0] if len(shape) == 1 else shape
        return run(numpy.ndarray.reshape, self, shape, order=order)

    def transpose(self, *axes):
        return run(numpy.ndarray.transpose, self, *axes)

    def squeeze(self, axis=None):
        found = run(numpy.ndarray.squeeze, self, axis)
        return self if found.ndim == self.ndim else found

    def repeat(self, repeats, axis=None):
        if isinstance(repeats, ndarray):
            cuda.wait()
        return run(numpy.ndarray.repeat, self, repeats, axis)

    def nonzero(self):
        cuda.wait()
        return run(numpy.ndarray.nonzero, self)

    def sort(self, axis=-1, kind=None):
        stable(kind)
        run(numpy.ndarray.sort, self, axis, "stable")

    def argsort(self, axis=-1, kind=None):
        return run(numpy.ndarray.argsort, self, axis, stable(kind))


class Flags:
    """Of these CuPy has three."""

    def __init__(self, flags, owndata):
        self.c_contiguous, self.f_contiguous = flags.c_contiguous, flags.f_contiguous
        self.owndata = owndata

    def __getitem__(self, name):
        return getattr(self, name.lower())


class Capsule:
    """What goes from ``__dlpack__`` to ``from_dlpack``; no other library can read it."""

    def __init__(self, array):
        self.array = array


# --- Running -------------------------------------------------------------------------------------


def run(function, *args, **options):
    """The result of a NumPy function, as arrays; a stream that captures keeps the call."""
    given, stream = [], cuda.get_current_stream()
    hosts = [_host(a, given) for a in args]
    named = {name: _host(a, given) for name, a in options.items()}
    if stream.captured is not None:
        stream.refuse(function, len(given))
        for each in given:
            whole = each if each.base is None else each.base
            stream.touch(whole._host, whole._memory.mem)
    with numpy.errstate(all="ignore"):
        result = function(*hosts, **named)
    device = cuda.get_device_id()
    for each in given:
        if each._memory.device_id != device:
            raise ValueError("an array is on another device than the current one")
    result = _wrapped(result, given)
    if stream.captured is not None and function is not empty:  # which launches nothing
        stream.captured.append(lambda: _again(function, args, options, result))
    return result


def _again(function, args, options, result):
    """Compute a captured call anew, into the arrays that it made."""
    with numpy.errstate(all="ignore"):
        found = function(*[_host(a, []) for a in args],
                         **{name: _host(a, []) for name, a in options.items()})  # fmt: skip
    several = isinstance(result, (tuple, list))
    for array, values in zip(result, found) if several else [(result, found)]:
        if isinstance(array, ndarray) and not (array._host is values or array.base is not None):
            array._host[...] = values


def _host(value, given):
    """NumPy's array of an array, which is noted in ``given``. Refuses what CuPy cannot take."""
    if type(value) is ndarray:
        given.append(value)
        return value._host
    if type(value) in (tuple, list):
        return type(value)([_host(each, given) for each in value])
    if isinstance(value, HARMLESS):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _wrapped(result, given):
    """A result as an array: one of those ``given``, a view of one, or a new one."""
    if type(result) in (tuple, list):
        return type(result)([_wrapped(each, given) for each in result])
    if not isinstance(result, (numpy.ndarray, numpy.generic)):
        return result
    for each in given:
        if result is each._host:
            return each
    result = numpy.asarray(result)
    if result.base is not None:
        for each in given:
            if result.base is each._host or result.base is each._host.base:
                return view(result, each._memory, each if each.base is None else each.base)
        result = result.copy("K")
    memory = cuda.alloc(result.nbytes)
    cuda.get_current_stream().note(memory.mem, result)
    return view(result, memory, None)


def view(host, memory, base):
    found = object.__new__(ndarray)
    found._host, found._memory, found.base = host, memory, base
    return found


def empty(shape, dtype, order):
    """Memory as a pool gives it: with something in it. (NaN, or -1.)"""
    out = numpy.empty(shape, dtype, order)
    cuda.spoil(out)
    return out


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """An array of numbers, of lists of them or of arrays, or of a NumPy array: a copy."""
    if isinstance(obj, numpy.ndarray) and not obj.ndim:
        obj = obj[()]  # a number
    if isinstance(obj, ndarray):
        same = not copy and (dtype is None or obj.dtype == dtype)
        out = obj if same else run(numpy.array, obj, dtype=dtype, order=order)
    elif isinstance(obj, SCALARS) or (isinstance(obj, (list, tuple)) and _holds_array(obj)):
        out = run(numpy.array, obj, dtype=dtype)  # needs no memory of the host
    else:
        cuda.refuse_in_capture()
        out = _wrapped(numpy.array(obj, dtype=dtype, order=order), [])
        if blocking:
            cuda.wait()
    if out.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {out.dtype}")
    return out if out.ndim >= ndmin else out.reshape((1,) * (ndmin - out.ndim) + out.shape)


def _holds_array(values):
    return any(isinstance(v, ndarray) or (isinstance(v, list) and _holds_array(v)) for v in values)


def stable(kind):
    if kind not in (None, "stable"):
        raise ValueError(f"kind must be None or 'stable', not {kind!r}")
    return "stable"


# --- Indices that hold arrays: those of integers wrap, what is assigned comes in no order --------


def _parts(index):
    """An index as a tuple with an Ellipsis, its lists and booleans as arrays."""
    parts = index if type(index) is tuple else (index,)
    parts = tuple(_part(p) if isinstance(p, (list, tuple, bool, numpy.bool)) else p for p in parts)
    return parts if any(p is ... for p in parts) else (*parts, ...)


def _part(listed):
    return array(listed, None if isinstance(listed, bool) or len(listed) else "int64")


def _advanced(parts):
    """Whether there are arrays in an index. How many a mask picks, the host has to know."""
    arrays = [p for p in parts if type(p) is ndarray]
    for part in arrays:
        if part.dtype.kind == "b":
            cuda.wait()
        elif part.dtype.kind not in "iu":
            raise IndexError(f"arrays used as indices must be integers or booleans: {part.dtype}")
    return bool(arrays)


def _within(shape, parts):
    """The parts of an index with the integers of arrays brought into the axes that they pick."""
    arrays = [p for p in parts if isinstance(p, numpy.ndarray)]
    used = sum(p.ndim if p.dtype == bool else 1 for p in arrays)
    used += sum(p is not None and p is not ... for p in parts) - len(arrays)
    axis, found = 0, []
    for part in parts:
        if isinstance(part, numpy.ndarray) and part.dtype != bool and axis < len(shape):
            part = numpy.asarray(part.astype("int64") % shape[axis])
        found.append(part)
        if part is ...:
            axis += max(len(shape) - used, 0)
        elif part is not None:
            axis += part.ndim if isinstance(part, numpy.ndarray) and part.dtype == bool else 1
    return tuple(found)


def _pick(source, parts):
    found = numpy.asarray(source[_within(source.shape, parts)])
    return found if found.base is None else found.copy()


def _places(target, parts, value):
    """Where in the flat array each of the values goes; both in reverse."""
    places = numpy.arange(target.size).reshape(target.shape)[_within(target.shape, parts)]
    value = numpy.asarray(value)
    extra = max(value.ndim - places.ndim, 0)
    value = value.reshape(value.shape[extra:]) if value.shape[:extra] == (1,) * extra else value
    return places.ravel()[::-1], numpy.broadcast_to(value, places.shape).ravel()[::-1]


def _put(target, parts, value):
    places, values = _places(target, parts, value)
    target.flat[places] = values


def scatter(function, target, index, value):
    """``function.at(target, index, value)``, in another order than NumPy's."""
    parts = _parts(index)
    _advanced(parts)

    def change(target, parts, value):
        places, values = _places(target, parts, value)
        flat = target.ravel()  # a copy where it must be
        function.at(flat, places, values.astype(target.dtype))
        target[...] = flat.reshape(target.shape)

    run(change, target, parts, value)


# --- Methods that are NumPy's, with CuPy's options; operators ------------------------------------

METHODS = {
    "all": "axis out keepdims", "any": "axis out keepdims", "argmax": "axis out dtype keepdims",
    "argmin": "axis out dtype keepdims", "astype": "dtype order casting subok copy",
    "clip": "min max out", "copy": "order", "cumprod": "axis dtype out",
    "cumsum": "axis dtype out", "diagonal": "offset axis1 axis2", "dot": "b out",
    "fill": "value", "flatten": "order", "max": "axis out keepdims",
    "mean": "axis dtype out keepdims", "min": "axis out keepdims",
    "prod": "axis dtype out keepdims", "ravel": "order", "round": "decimals out",
    "searchsorted": "v side sorter", "std": "axis dtype out ddof keepdims",
    "sum": "axis dtype out keepdims", "swapaxes": "axis1 axis2",
    "trace": "offset axis1 axis2 dtype out", "var": "axis dtype out ddof keepdims",
    "view": "dtype",
}  # fmt: skip
OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "matmul": "matmul",
    "divmod": "divmod", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
COMPARISONS = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal",
               "gt": "greater", "ge": "greater_equal"}  # fmt: skip
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


def checked(name, allowed, args, options):
    """Raise TypeError for an argument that CuPy's function of this name does not have."""
    if len(args) > len(allowed) or not options.keys() <= set(allowed[len(args) :]):
        raise TypeError(f"cupy's {name} takes ({', '.join(allowed)}), not {args} and {options}")


def _method(name):
    function, allowed = getattr(numpy.ndarray, name), METHODS[name].split()

    def method(self, *args, **options):
        checked(name, allowed, args, options)
        return run(function, self, **dict(zip(allowed, args)), **options)

    return method


def _positional(name):
    """Of a method whose arguments NumPy takes by position alone."""
    function, allowed = getattr(numpy.ndarray, name), METHODS[name].split()

    def method(self, *args, **options):
        checked(name, allowed, args, options)
        return run(function, self, *args, *options.values())

    return method


def _operator(name, swapped=False, inplace=False):
    function = getattr(numpy, name)

    def method(self, other):
        if not isinstance(other, (ndarray, *SCALARS)):
            if getattr(other, "__array_ufunc__", self) is None:
                return NotImplemented  # its own operator comes next
            raise TypeError(f"Unsupported type {type(other)}")
        if inplace:
            return run(function, self, other, out=self)
        return run(function, other, self) if swapped else run(function, self, other)

    return method


def _unary(name):
    function = getattr(numpy, name)
    return lambda self: run(function, self)


for _name in METHODS:
    positional = _name in ("swapaxes", "fill")
    setattr(ndarray, _name, (_positional if positional else _method)(_name))
for _name, _function in OPERATORS.items():
    setattr(ndarray, f"__{_name}__", _operator(_function))
    setattr(ndarray, f"__r{_name}__", _operator(_function, swapped=True))
    if _name not in ("matmul", "divmod"):
        setattr(ndarray, f"__i{_name}__", _operator(_function, inplace=True))
for _name, _function in COMPARISONS.items():
    setattr(ndarray, f"__{_name}__", _operator(_function))
for _name, _function in UNARY.items():
    setattr(ndarray, f"__{_name}__", _unary(_function))
