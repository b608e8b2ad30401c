"""What minae uses of ``cupyx``: host arrays in pinned memory, from and to which copies are
asynchronous."""

import math

import numpy
from cupy import cuda


def empty_pinned(shape, dtype=float, order="C"):
    shape = shape if isinstance(shape, (tuple, list)) else (shape,)
    dtype, count = numpy.dtype(dtype), math.prod(shape)
    memory = cuda.alloc_pinned_memory(count * dtype.itemsize)
    return numpy.frombuffer(memory, dtype, count).reshape(shape, order=order)


def zeros_pinned(shape, dtype=float, order="C"):
    array = empty_pinned(shape, dtype, order)
    array[...] = 0
    return array
