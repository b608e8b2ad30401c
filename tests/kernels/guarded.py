"""Every compiled kernel, with all of its arrays beside memory that may not be touched.

    python tests/kernels/guarded.py before | after | stray

``before``: each array, also those that a kernel allocates for itself, begins where such a page
ends; ``after``: it ends where such a page begins. Who leaves an array dies of SIGSEGV: ``stray``
does so on purpose. Who reads what he has not written meets NaN.
"""

import ctypes
import math
import mmap
import os
import sys

import numpy as np
from numba.core.runtime import _nrt_python as nrt

side = sys.argv[1]
os.environ["MINAE_THREADS"] = "1"  # arrays are copied to guarded memory and back: one at a time
PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)


def guarded(size):
    """Memory of so many bytes, between two forbidden pages, and where in it they begin."""
    pages = -(-size // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        if libc.mprotect(ctypes.c_void_p(address + page * PAGE), PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    return memory, address, PAGE if side == "before" else (pages + 1) * PAGE - size


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32)
def allocate(size, align):
    memory, address, offset = guarded(size)
    ctypes.memset(address + offset, 0xFF, size)
    allocated.append(size)
    return nrt.meminfo_new(address + offset, memory)


allocated = []
nrt.c_helpers["MemInfo_alloc_aligned"] = ctypes.cast(allocate, ctypes.c_void_p).value

from minae.kernels import (  # noqa: E402
    activations,
    attending,
    chart,
    codebook,
    compiler,
    convolution,
    correlation,
    patches,
    recurrence,
    reference,
    rowwise,
    scattering,
    threads,
    updates,
)
from minae.seq import BinaryTrees, LinearChain, semirings  # noqa: E402


def moved(x):
    memory, _, offset = guarded(x.nbytes)
    copy = np.ndarray(x.shape, x.dtype, memory, offset)
    copy[...] = x
    return copy


def get(kernel, dtype, compiled=compiler.Kernel.__getitem__):
    compute = compiled(kernel, dtype)

    def call(*args):
        copies = [moved(a) if isinstance(a, np.ndarray) else a for a in args]
        result = compute(*copies)
        for a, copy in zip(args, copies):
            if isinstance(a, np.ndarray) and a.flags.writeable:
                a[...] = copy
        called.add(kernel)
        return result

    return call


called = set()
compiler.Kernel.__getitem__ = get

if side == "stray":
    x = np.ones(5, "f4")
    scattering._add[x.dtype](x, np.ones(1, np.int64), x.copy(), 5, 0, 1, 0, 2, 2)

rng = np.random.default_rng(0)


def same(name, form, *args, **options):
    """The kernel computes what the reference does, on integers exactly."""
    found, want = (getattr(m, name)(*args, **options) for m in (form, reference))
    for a, b in zip(found, want) if type(want) is tuple else [(found, want)]:
        np.testing.assert_array_equal(a, b)


def near(name, form, *args):
    """The same, but for rounding."""
    found, want = (getattr(m, name)(*args) for m in (form, reference))
    for a, b in zip(found, want, strict=True) if type(want) is tuple else [(found, want)]:
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


activations.TINY = 0
for dtype in ("f4", "f8"):
    def integers(*shape, dtype=dtype):
        return rng.integers(-9, 10, shape).astype(dtype)

    block = codebook.VECTORS * codebook.lanes(np.dtype(dtype))
    for n, d, k in [
        (0, 3, 2), (1, 1, 1), (1, 2, 3), (codebook.ROWS + 1, 7, block - 1), (5, 8, block),
        (codebook.PANEL, 9, block + 1), (codebook.PANEL + 1, 17, 5 * block + 3), (150, 33, 700),
    ]:  # fmt: skip
        vectors, prepared = integers(n, d), codebook.prepare(integers(k, d))
        same("nearest", codebook, vectors, prepared)
        same("nearest", codebook, vectors * 2.0**20, prepared)  # the int16 screen gives up
        vectors[1::3] = np.nan
        vectors[2::5] = np.inf
        same("nearest", codebook, vectors, prepared, nonfinite="mask")
        prepared.grid = None
        same("nearest", codebook, vectors, prepared, nonfinite="mask")
    called.discard(codebook._search)
    prepared = codebook.prepare(integers(300, 9))
    same("nearest", codebook, prepared.codebook, prepared)
    assert codebook._search not in called  # the int16 screen settles them all
    falling = codebook.prepare(np.arange(700, 0, -1).astype(dtype)[:, None])
    for _ in range(2):  # every block is a hit, of every row
        same("nearest", codebook, np.zeros((2 * codebook.PANEL + 1, 1), dtype), falling)
        falling.grid = None
    rows = convolution.ROWS
    for inputs, outputs in [
        (1, 1), (2, 3), (3, block), (rows - 1, block + 1), (rows, 5), (rows + 1, block - 1),
        (block + 3, 1), (2 * block, 2 * block + 1),
    ]:  # fmt: skip
        for kernel, grid in [
            ((1, 1), {}), ((3, 2), {"padding": (2, 1)}), ((1, 4), {"stride": (1, 3)}),
            ((4, 4), {"stride": (2, 2), "padding": (1, 1)}), ((2, 2), {"dilation": (2, 3)}),
        ]:  # fmt: skip
            for batch in (0, 1, 3):
                x, weight = integers(batch, 5, 7, inputs), integers(*kernel, inputs, outputs)
                size = patches.output_size(x.shape, weight.shape, **{
                    "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, **grid
                })
                y = integers(batch, *size, outputs)
                same("conv2d", convolution, x, weight, integers(outputs), relu=True, **grid)
                same("conv2d_input", convolution, y, weight, size=(5, 7), **grid)
                same("conv2d_weight", correlation, x, y, size=kernel, **grid)
    for n, columns, count in [(0, 3, 2), (1, 1, 1), (9, 5, 3), (70, 17, 8), (33, 64, 40)]:
        codes = rng.integers(0, count, n)
        same("scatter_sum", scattering, integers(n, columns), codes, count)
    for size in (0, 1, 7, 16, 33, 1000, updates.TINY + 1):
        arrays = [abs(integers(size)) for _ in range(4)]
        same("gate", updates, integers(size), integers(size))
        same("relu", updates, integers(size))
        updates.adam(*arrays, 1, 0.1, (0.9, 0.999), 1e-8, 0.1)
        updates.sgd(*arrays[:3], 0.1, 0.9, 0.1)
        assert all(np.isfinite(a).all() for a in arrays)

    for n in (0, 1, 2, 3, 9):
        trees = BinaryTrees(integers(2, n, n), [n, n // 2])
        each = LinearChain(integers(2, n, 3), integers(2, max(n - 1, 0), 3, 3), lengths=[n, n // 2])
        shared = LinearChain(integers(2, n, 3), integers(3, 3))
        none = BinaryTrees(np.full((2, n, n), -np.inf, dtype))
        for found in (trees, each, shared, none):
            items = sum(level.size for level in found.levels)
            values = integers(*found.cells.shape)
            for semiring in (
                semirings.Log(), semirings.Max(), semirings.Sample(rng.random((3, 2, items))),
                semirings.Expectation(values), semirings.Entropy(),
            ):  # fmt: skip
                near("chart_total", chart, found.cells, found.levels, semiring)
                if semiring.name != "entropy":
                    near("chart_parts", chart, found.cells, found.levels, semiring)
    for size in (1, 7, 16, 33, 1000):
        g, x = integers(size), integers(size) / 4
        for name in ("erf", "gelu", "gelu_tanh"):
            near(name, activations, x)
        for name in ("gelu_gradient", "gelu_tanh_gradient"):
            near(name, activations, g, x)
    lanes = codebook.lanes(np.dtype(dtype))
    for n, length in [(1, 1), (3, 2), (5, lanes - 1), (2, lanes), (3, lanes + 1), (9, 100)]:
        g, x, weight = integers(n, length), integers(n, length) / 4, integers(length)
        labels = rng.integers(-1, length + 1, n)
        near("softmax", rowwise, x)
        near("log_softmax", rowwise, x)
        near("softmax_gradient", rowwise, g, reference.softmax(x))
        near("log_softmax_gradient", rowwise, g, reference.log_softmax(x))
        near("cross_entropy", rowwise, x, labels)
        near("cross_entropy_gradient", rowwise, g[:, 0].copy(), x, labels)
        near("layer_norm", rowwise, x, weight, weight, 0.1)
        near("layer_norm_gradient", rowwise, g, x, weight, 0.1)
    panel = attending.PANEL
    for queries, keys, part, width in [
        (1, 1, 1, 1), (panel - 1, rows - 1, 3, block - 1), (panel, rows, lanes, block),
        (2 * panel + 1, rows + 1, block + 1, 5), (3, 3 * panel + 2, 5, 2 * block + 1),
    ]:  # fmt: skip
        shapes = (queries, width), (queries, part), (keys, part), (keys, width)
        g, *inputs = (integers(2, 3, *shape) / 8 for shape in shapes)
        mask = rng.random((2, 1, queries, keys)) < 0.7
        for how in [(), (mask,), (None, True), (mask, True)]:
            near("attention", attending, *inputs, *how)
            near("attention_gradient", attending, g, *inputs, *how)
    for steps, batch, size in [
        (1, 1, 1), (2, rows - 1, 3), (3, rows, lanes), (2, rows + 1, block + 1), (4, 9, block),
    ]:  # fmt: skip
        shapes = (steps, batch, 4 * size), (size, 4 * size), (batch, size), (batch, size)
        inputs = [integers(*shape) / 8 for shape in shapes]
        near("lstm", recurrence, *inputs)
        g, out = integers(steps, batch, 2 * size), reference.lstm(*inputs)
        near("lstm_gradient", recurrence, g, *inputs, out)

for flags in (np.zeros(0, np.uint8), np.ones(3, np.uint8), np.zeros(3, np.uint8)):
    threads._watch[np.dtype(np.float32)](flags, 5)

assert called == set(compiler._kernels), "a kernel that is not called here"
print(f"{len(allocated)} arrays within kernels, {math.fsum(allocated):.0f} bytes")
