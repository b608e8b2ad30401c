"""Products of matrices, and einsum."""

from __future__ import annotations

import math
import string
from typing import Any

from ..backend import not_captured, xp
from ..engine import elementwise, primitive
from ..replay import product
from .shape import broadcast_to, getitem, reshape, sum_to, transpose


def _column(g):
    return reshape(g, shape=(*g.shape, 1))


def _row(g):
    return reshape(g, shape=(*g.shape[:-1], 1, g.shape[-1]))


def _rows(x):
    """All axes but the last as one."""
    return reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))


def _left(g, x, y):
    if y.ndim == 1:
        return _column(g) * y
    if g.ndim == 2 and x.ndim == 2:
        return product(g, y.swapaxes(0, 1))
    return matmul(_row(g) if x.ndim == 1 else g, y.swapaxes(-1, -2))


def _right(g, x, y):
    if x.ndim == 1:
        return x * g if y.ndim == 1 else _column(x) * _row(g)
    if y.ndim == 1:
        return product(_rows(x).swapaxes(0, 1), reshape(g, shape=(math.prod(g.shape),)))
    if y.ndim == 2 and x.ndim > 2:  # one product, not one for each matrix of the batch
        return product(_rows(x).swapaxes(0, 1), _rows(g))
    return product(x.swapaxes(-1, -2), g)


@elementwise(x=_left, y=_right)  # the axes before the last two broadcast
def matmul(x, y):
    """``x @ y``: (..., n, k) and (..., k, m) to (..., n, m), with the axes before broadcast.

    Either may be (k,), as in NumPy; then its other axis is missing in the result, too.
    """
    if y.ndim == 2 and x.ndim > 2:  # one product, here and in the rules
        return product(_rows(x), y).reshape(*x.shape[:-1], y.shape[-1])
    return product(x, y)


@elementwise(  # the bias broadcasts
    x=lambda g, weight: matmul(g, weight.swapaxes(0, 1)),
    weight=lambda g, x: product(_rows(x).swapaxes(0, 1), _rows(g)),
    bias=lambda g: g,
)
def affine(x, weight, bias):
    """``x @ weight + bias``: (..., in), (in, out) and (out,) to (..., out), in one array."""
    out = product(_rows(x), weight).reshape(*x.shape[:-1], weight.shape[1])
    return out + bias if out.dtype != xp.result_type(out, bias) else xp.add(out, bias, out=out)


# --- Einstein's summation --------------------------------------------------------------------


def einsum(subscripts: str, *operands: Any) -> Any:
    """The sum of products that ``subscripts`` describes, as in ``np.einsum``: ``"ij,jk->ik"``.

    Takes any number of operands, ellipses, repeated letters (a diagonal) and an implicit output.
    Raises ValueError where the subscripts do not fit the operands.
    """
    inputs, output = _parse(subscripts, [len(x.shape) for x in operands])
    pairs = [_without_repeats(x, letters) for x, letters in zip(operands, inputs)]
    return _einsum([x for x, _ in pairs], inputs=[letters for _, letters in pairs], output=output)


def _parse(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the output, ellipses spelled out in spare letters."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(ndims):
        raise ValueError(f"einsum {subscripts!r} is for {len(inputs)} operands, got {len(ndims)}")
    spare = [c for c in string.ascii_letters if c not in subscripts]
    rank = max([n - len(s.replace("...", "")) for s, n in zip(inputs, ndims) if "..." in s] or [0])
    hidden = "".join(spare[:rank])
    if not arrow:
        once = [c for c in sorted(set(left) - set(",.")) if left.count(c) == 1]
        output = "..." + "".join(once)
    spelled = []
    for letters, ndim in zip(inputs, ndims):
        mine = ndim - len(letters.replace("...", ""))
        letters = letters.replace("...", hidden[rank - mine :])
        if len(letters) != ndim:
            raise ValueError(f"einsum {subscripts!r} does not fit an operand of {ndim} axes")
        spelled.append(letters)
    return spelled, output.replace("...", hidden)


def _without_repeats(x: Any, letters: str) -> tuple[Any, str]:
    """Take the diagonal over every letter that an operand has twice."""
    for letter in sorted(set(letters)):
        while letters.count(letter) > 1:
            i, j = letters.index(letter), letters.rindex(letter)
            rest = [k for k in range(len(letters)) if k not in (i, j)]
            along = xp.arange(x.shape[i])
            x = getitem(transpose(x, axes=(i, j, *rest)), index=(along, along))
            letters = letter + "".join(letters[k] for k in rest)
    return x, letters


def _contract(g, needed, inputs, output, *operands):
    """Each operand's gradient is the product of ``g`` with all others, brought to its letters."""
    gradients = []
    for i, (x, letters) in enumerate(zip(operands, inputs)):
        if not needed[i]:
            gradients.append(None)
            continue
        others = [k for k in range(len(operands)) if k != i]
        shared = set(output).union(*(inputs[k] for k in others))
        kept = "".join(c for c in letters if c in shared)
        terms, names = [g, *(operands[k] for k in others)], [output, *(inputs[k] for k in others)]
        gradient = _einsum(terms, inputs=names, output=kept)
        lengths = iter(gradient.shape)
        sizes = tuple(next(lengths) if c in shared else 1 for c in letters)
        gradient = reshape(gradient, shape=sizes)
        gradient = sum_to(gradient, shape=tuple(map(min, sizes, x.shape)))
        gradients.append(broadcast_to(gradient, shape=x.shape))
    return gradients


@primitive(joint=_contract)
def _einsum(*arrays, inputs, output):
    if len(arrays) > 1:
        not_captured("call einsum with several operands (write it with matmul and sums)")
    return xp.einsum(f"{','.join(inputs)}->{output}", *arrays, optimize=True)
