"""CUDA's elementwise kernels equal their definitions."""

import math

import numpy as np
import pytest

from minae.kernels import reference

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
SHAPES = pytest.mark.parametrize("shape", [(), (1,), (31,), (256,), (4, 250), (0, 3)])
ODD = [-1.5, -0.0, 0.0, 1e-37, 2.0, np.inf, -np.inf, np.nan]


def draw(array, shape, dtype, count, seed=0):
    rng = np.random.default_rng(seed)
    return [array(rng.standard_normal(shape), dtype) for _ in range(count)]


def close(numpy, found, want, dtype):
    """Equal but for rounding: CUDA may add a product without rounding it first."""
    for a, b in zip(found, want, strict=True):
        a, b = numpy(a), numpy(b)
        assert a.dtype == b.dtype == dtype and a.shape == b.shape
        np.testing.assert_array_less(abs(a - b), 8 * np.finfo(dtype).eps * (1 + abs(b)))


@DTYPES
@SHAPES
def test_relu_and_gate_are_the_reference(cuda, array, numpy, dtype, shape):
    rng = np.random.default_rng(0)
    x, by = (array(rng.choice(ODD, shape), dtype) for _ in range(2))
    for name, args in [("relu", (x,)), ("gate", (x, by))]:
        out, want = (getattr(form, name)(*args) for form in (cuda("updates"), reference))
        assert out.dtype == dtype and out.shape == shape
        np.testing.assert_array_equal(numpy(out), numpy(want))



@DTYPES
@SHAPES
@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("momentum", [None, 0.0, 0.9])
@pytest.mark.parametrize(("decay", "nesterov"), [(0.0, False), (0.1, False), (0.1, True)])
def test_sgd_is_the_reference(
    cuda, array, numpy, dtype, shape, on_device, momentum, decay, nesterov
):
    results = []
    for form in (cuda("updates"), reference):
        p, g, velocity = draw(array, shape, dtype, 3)
        for lr in (0.1, 0.01):
            rate = array(lr, "float64") if on_device and form is not reference else lr
            form.sgd(p, g, None if momentum is None else velocity, rate, momentum or 0.0, decay,
                     nesterov)  # fmt: skip
        results.append([p, g, velocity])
    close(numpy, *results, dtype)
    np.testing.assert_array_equal(numpy(results[0][1]), numpy(results[1][1]))


@DTYPES
@SHAPES
@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize(("decay", "first"), [(0.0, 1), (0.1, 3), (0.1, math.inf)])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.5)])
def test_adam_is_the_reference(
    cuda, array, numpy, dtype, shape, on_device, decay, first, betas
):
    results = []
    for form in (cuda("updates"), reference):
        p, g, m, v = draw(array, shape, dtype, 4)
        v *= v
        for lr, step in [(0.1, first), (0.01, first + 1)]:
            numbers = step, lr
            if on_device and form is not reference:
                numbers = (array(n, "float64") for n in numbers)
            form.adam(p, g, m, v, *numbers, betas, 1e-8, decay)
        results.append([p, g, m, v])
    close(numpy, *results, dtype)
    np.testing.assert_array_equal(numpy(results[0][1]), numpy(results[1][1]))


@DTYPES
def test_adam_takes_its_averages_as_exactly_as_the_reference(cuda, array, numpy, dtype):
    """From moments of 0 the first step shows 1 - beta itself."""
    p, m, v = (array(np.zeros(5), dtype) for _ in range(3))
    g = array([1, -2, 3, 0.5, 7], dtype)
    cuda("updates").adam(p, g, m, v, 1, 1e-3, (0.9, 0.999), 1e-8)
    np.testing.assert_allclose(numpy(m), 0.1 * numpy(g), rtol=1e-6)
    np.testing.assert_allclose(numpy(v), 0.001 * numpy(g) ** 2, rtol=1e-6)
    np.testing.assert_allclose(numpy(p), -1e-3 * np.sign(numpy(g)), rtol=1e-5)


@DTYPES
def test_the_reference_reads_its_numbers_from_arrays_and_promotes_nothing(array, numpy, dtype):
    results = []
    for number in (lambda x: x, lambda x: array(x, "float64")):
        p, g, m, v, largest = draw(array, (3, 5), dtype, 5)
        v *= v
        for step in (1, 2):
            reference.adam(
                p, g, m, v, number(step), number(0.1), (0.9, 0.999), 1e-8, 0.1, largest
            )
            reference.sgd(p, g, m, number(0.1), 0.9, 0.1, True)
            reference.sgd(p, g, None, number(0.1))
        results.append([numpy(a) for a in (p, m, v, largest)])
    for a, b in zip(*results, strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, b)


@DTYPES
def test_what_is_infinite_stays(cuda, array, numpy, dtype):
    p = array([np.inf, 1.0], dtype)
    cuda("updates").sgd(p, array([1.0, 1.0], dtype), None, 0.1)
    np.testing.assert_allclose(numpy(p), [np.inf, 0.9], rtol=1e-6)


@DTYPES
def test_what_is_no_line_of_one_dtype_goes_to_the_reference(cuda, array, numpy, dtype):
    other = {"float32": "float64", "float64": "float32"}[dtype]
    results = []
    for form in (cuda("updates"), reference):
        p, g, m, v = draw(array, (5, 6), dtype, 4)
        largest = v * v
        form.adam(p, g, m, largest * 1, 2, 0.1, (0.9, 0.99), 1e-8, largest=largest)
        p, g = p[:, ::2], g[:, ::2].astype(other)
        m, v = m[::-1, :3], (v * v)[:, :3].copy()
        form.adam(p, g, m, v, 2, 0.1, (0.9, 0.99), 1e-8)
        form.sgd(p, g, m, 0.1, 0.9)
        row = g[0].astype(dtype)
        gated = [form.gate(p, g), form.gate(p, row), form.gate(row, p), form.relu(p)]
        results.append([p, m, v, largest, *gated, form.gate(row, 1.0)])
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(numpy(a), numpy(b))


@pytest.mark.parametrize("form", ["cuda", "reference"])
def test_the_first_flag_stays(form, cuda, array, numpy):
    flag = cuda("updates").flag if form == "cuda" else reference.flag
    word = array([0], "int64")
    for bad, number, after in [
        ([], 1, 0), ([False] * 9, 2, 0), ([[False, False], [False, True]], 3, 3), ([True], 4, 3),
    ]:  # fmt: skip
        flag(word, array(np.asarray(bad, bool)), number)
        assert word.dtype == "int64" and numpy(word).tolist() == [after]


@pytest.mark.parametrize("place", [0, 255, 256, 299])
def test_a_flag_is_seen_anywhere(cuda, array, numpy, place):
    bad, word = np.zeros((3, 100), bool), array([0], "int64")
    bad.flat[place] = True
    for layout in (bad, np.asfortranarray(bad), np.bool_(True)):
        cuda("updates").flag(word, array(layout), 7)
        assert numpy(word).tolist() == [7]
        word[...] = 0


@DTYPES
def test_few_blocks_take_all_entries(cuda, array, numpy, dtype, monkeypatch):
    updates = cuda("updates")
    monkeypatch.setattr(updates, "BLOCKS", 2)
    found, want = draw(array, 2000, dtype, 3), draw(array, 2000, dtype, 3)
    for form, arrays in (updates, found), (reference, want):
        arrays.append(arrays[2] * arrays[2])
        form.adam(*arrays, 1, 0.1, (0.9, 0.99), 1e-8)
        form.sgd(*arrays[:3], 0.1, 0.9)
    close(numpy, found, want, dtype)
    word, bad = array([0], "int64"), np.zeros(2000, bool)
    bad[-1] = True
    updates.flag(word, array(bad), 7)
    assert numpy(word).tolist() == [7]
