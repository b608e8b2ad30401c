"""One array in every way that memory may hold it; none of them may be written."""

import numpy as np


def reversed_(x):
    back = (slice(None, None, -1),) * x.ndim
    return x[back].copy()[back]


def misaligned(x):
    y = np.empty(x.nbytes + 1, "u1")[1:].view(x.dtype).reshape(x.shape)
    y[...] = x
    return y


FORMS = {
    "contiguous": np.copy, "fortran": lambda x: x.copy(order="F"), "reversed": reversed_,
    "misaligned": misaligned, "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "swapped": lambda x: x.swapaxes(0, -1).copy().swapaxes(0, -1),
}  # fmt: skip


def laid(x, name):
    y = FORMS[name](x)
    y.setflags(write=False)
    return y
