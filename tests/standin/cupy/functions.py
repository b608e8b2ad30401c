"""CuPy's functions of arrays, by the names and with the options that CuPy has.

``FUNCTIONS``, ``CREATION`` and ``UFUNCS`` list those that are NumPy's own with fewer options; what
differs in more than that is written out.
"""

import numpy

from . import cuda
from .array import SCALARS, array, checked, ndarray, run, scatter, stable, view
from .array import empty as _empty

CREATION = {  # their arguments may be numbers
    "arange": "start stop step dtype", "eye": "N M k dtype order",
    "full": "shape fill_value dtype order", "identity": "n dtype",
    "linspace": "start stop num endpoint retstep dtype axis", "ones": "shape dtype order",
    "tri": "N M k dtype", "zeros": "shape dtype order",
}  # fmt: skip
FUNCTIONS = {  # the first argument is an array, or a list of arrays
    "all": "a axis out keepdims", "allclose": "a b rtol atol equal_nan",
    "amax": "a axis out keepdims", "amin": "a axis out keepdims", "any": "a axis out keepdims",
    "append": "arr values axis", "argmax": "a axis dtype out keepdims",
    "argmin": "a axis dtype out keepdims", "around": "a decimals out",
    "ascontiguousarray": "a dtype", "atleast_1d": "*arys", "atleast_2d": "*arys",
    "average": "a axis weights returned keepdims", "broadcast_arrays": "*args",
    "broadcast_to": "array shape", "clip": "a a_min a_max out",
    "column_stack": "tup", "concatenate": "tup axis out dtype casting",
    "copy": "a order", "copyto": "dst src casting where", "count_nonzero": "a axis",
    "cov": "a y rowvar bias ddof fweights aweights dtype", "cumprod": "a axis dtype out",
    "cumsum": "a axis dtype out", "diag": "v k", "diagonal": "a offset axis1 axis2",
    "diff": "a n axis prepend append", "dot": "a b out", "expand_dims": "a axis",
    "fill_diagonal": "a val wrap", "flip": "a axis", "full_like": "a fill_value dtype order shape",
    "hstack": "tup dtype casting", "inner": "a b", "isclose": "a b rtol atol equal_nan",
    "kron": "a b", "matrix_transpose": "x", "max": "a axis out keepdims",
    "mean": "a axis dtype out keepdims", "median": "a axis out overwrite_input keepdims",
    "min": "a axis out keepdims", "moveaxis": "a source destination",
    "nan_to_num": "x copy nan posinf neginf", "nansum": "a axis dtype out keepdims",
    "ones_like": "a dtype order shape", "outer": "a b", "pad": "array pad_width mode",
    "prod": "a axis dtype out keepdims", "ravel": "a order",
    "reshape": "a newshape order", "roll": "a shift axis", "rot90": "a k axes",
    "round": "a decimals out", "searchsorted": "a v side sorter",
    "split": "ary indices_or_sections axis", "stack": "tup axis out dtype casting",
    "std": "a axis dtype out ddof keepdims", "sum": "a axis dtype out keepdims",
    "swapaxes": "a axis1 axis2", "tensordot": "a b axes", "tile": "A reps",
    "trace": "a offset axis1 axis2 dtype out", "transpose": "a axes", "tril": "m k",
    "triu": "m k", "var": "a axis dtype out ddof keepdims", "vdot": "a b",
    "vstack": "tup dtype casting", "zeros_like": "a dtype order shape",
}  # fmt: skip
UFUNCS = """
    abs absolute add arccos arcsin arctan arctan2 bitwise_and bitwise_or bitwise_xor ceil copysign
    cos cosh divide equal exp exp2 expm1 floor floor_divide fmax fmin greater greater_equal hypot
    invert isfinite isinf isnan left_shift less less_equal log log10 log1p log2 logaddexp
    logical_and logical_not logical_or logical_xor matmul maximum minimum mod multiply negative
    not_equal positive power reciprocal remainder right_shift rint sign signbit sin sinh sqrt
    square subtract tan tanh true_divide trunc
""".split()  # noqa: SIM905
NUMPYS_OWN = """
    dtype e finfo float16 float32 float64 iinfo inf int16 int32 int64 int8 intp isscalar nan
    newaxis pi promote_types bool uint16 uint32 uint64 uint8 bool_ floating integer generic
    issubdtype
""".split()  # noqa: SIM905
SCATTERED = {  # by the ufunc's name: the dtypes that the device adds up or compares in one step
    "add": "int32 uint32 uint64 float16 float32 float64",
    "subtract": "int32 uint32 uint64 float16 float32 float64",
    "maximum": "int32 uint32 uint64 float32 float64",
    "minimum": "int32 uint32 uint64 float32 float64",
}


class ufunc:
    """An elementwise function of arrays and numbers, at least one of them an array."""

    def __init__(self, name):
        self.name, self._function = f"cupy_{name}", getattr(numpy, name)
        self.nin, self.nout = self._function.nin, self._function.nout
        if name in SCATTERED:
            self.at = lambda a, indices, b: self._at(SCATTERED[name].split(), a, indices, b)

    def __call__(self, *args, out=None, dtype=None, casting="same_kind"):
        for each in (*args, *([] if out is None else [out])):
            if not isinstance(each, (ndarray, *SCALARS)):
                raise TypeError(f"Unsupported type {type(each)}")
        return run(self._function, *args, out=out, dtype=dtype, casting=casting)

    def _at(self, dtypes, a, indices, b):
        if a.dtype not in dtypes:
            raise TypeError(f"{self.name}.at supports {dtypes}, not {a.dtype}")
        scatter(self._function, a, indices, b)


def _function(name, allowed, of_arrays):
    function, several = getattr(numpy, name), allowed[0].startswith("*")

    def call(*args, **options):
        if not several:
            checked(name, allowed, args, options)
        first = args[0] if args else None
        listed = isinstance(first, (list, tuple))
        if of_arrays and not isinstance(first[0] if listed and first else first, ndarray):
            raise TypeError(f"cupy's {name} takes a cupy.ndarray, not a {type(first)}")
        return run(function, *args, **options)

    call.__name__, call.allowed = name, allowed
    return call


# --- Those that differ ---------------------------------------------------------------------------


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    return array(a, dtype, bool(copy), order or "K", blocking=blocking)


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else numpy.asarray(a)


def from_dlpack(array, *, device=None, copy=None):
    if array.__dlpack_device__()[0] != 2:
        raise TypeError("cupy.from_dlpack reads memory of the device alone")
    capsule = array.__dlpack__()
    return view(capsule.array._host, capsule.array._memory, capsule.array)


def empty(shape, dtype=float, order="C"):
    return run(_empty, shape, dtype, order)


def empty_like(a, dtype=None, order="K", subok=None, shape=None):
    return empty(a.shape if shape is None else shape, a.dtype if dtype is None else dtype)


def where(condition, x=None, y=None):
    if x is None and y is None:
        return condition.nonzero()
    return run(numpy.where, condition.astype(numpy.bool, copy=False), x, y)


def nonzero(a):
    return a.nonzero()


def flatnonzero(a):
    return a.ravel().nonzero()[0]


def argwhere(a):
    cuda.wait()
    return run(numpy.argwhere, a)


def unique(
    ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True
):
    cuda.wait()
    return run(numpy.unique, ar, return_index, return_inverse, return_counts, axis)


def bincount(x, weights=None, minlength=None):
    if x.ndim != 1:
        raise ValueError("bincount takes one dimension")
    if x.dtype.kind == "f":
        raise TypeError("x must be int array")
    if (x < 0).any():
        raise ValueError("The first argument of bincount must be non-negative")
    size = max(int(x.max()) + 1 if x.size else 0, minlength or 0)
    return run(numpy.bincount, x, weights, size)


def unravel_index(indices, dims, order="C"):
    cuda.wait()
    cuda.wait()
    return run(numpy.unravel_index, indices, dims, order)


def argsort(a, axis=-1, kind=None):
    return a.argsort(axis, kind)


def sort(a, axis=-1, kind=None):
    return run(numpy.sort, a, axis, stable(kind))


def take(a, indices, axis=None, out=None):
    return a.take(indices, axis, out)


def take_along_axis(a, indices, axis):
    places = list(ogrid[tuple(slice(n) for n in indices.shape)])
    places[axis] = indices
    return a[tuple(places)]


def repeat(a, repeats, axis=None):
    return a.repeat(repeats, axis)


def squeeze(a, axis=None):
    return a.squeeze(axis)


def einsum(*operands, dtype=None, optimize=False):
    return run(numpy.einsum, *operands, dtype=dtype, optimize=optimize)


def array_equal(a1, a2, equal_nan=False):
    if equal_nan:
        cuda.wait()
    return run(numpy.array_equal, a1, a2, equal_nan=equal_nan)


def result_type(*arrays_and_dtypes):
    return numpy.result_type(*(a.dtype if isinstance(a, ndarray) else a for a in arrays_and_dtypes))


def can_cast(from_, to, casting="safe"):
    return numpy.can_cast(from_.dtype if isinstance(from_, ndarray) else from_, to, casting)


def shape(a):
    return a.shape if isinstance(a, ndarray) else numpy.shape(a)


def ndim(a):
    return a.ndim if isinstance(a, ndarray) else numpy.ndim(a)


def may_share_memory(a, b, max_work=None):
    return numpy.may_share_memory(a._host, b._host)


shares_memory = may_share_memory


class _Grid:
    def __getitem__(self, key):
        return run(lambda: list(numpy.ogrid[key]) if isinstance(key, tuple) else numpy.ogrid[key])


ogrid = _Grid()


class lib:
    """``cupy.lib``."""

    class stride_tricks:
        """``cupy.lib.stride_tricks``."""

        @staticmethod
        def as_strided(x, shape=None, strides=None):
            found = numpy.lib.stride_tricks.as_strided(x._host, shape, strides)
            return view(found, x._memory, None)  # CuPy's has no base


MADE = {name: ufunc(name) for name in UFUNCS}  # not as globals: they would hide Python's own
for _name, _allowed in (FUNCTIONS | CREATION).items():
    MADE[_name] = _function(_name, _allowed.split(), _name in FUNCTIONS)
for _name in NUMPYS_OWN:
    MADE[_name] = getattr(numpy, _name)

__all__ = [
    "argsort", "argwhere", "array", "array_equal", "asarray", "asnumpy", "bincount", "can_cast",
    "einsum", "empty", "empty_like", "flatnonzero", "from_dlpack", "lib", "may_share_memory",
    "ndarray", "ndim", "nonzero", "ogrid", "repeat", "result_type", "shape", "shares_memory",
    "sort", "squeeze", "take", "take_along_axis", "ufunc", "unique", "unravel_index", "where",
]  # fmt: skip
