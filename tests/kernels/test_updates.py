"""The compiled steps of the optimizers and relu's gradient: the reference's, but for rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minae.kernels import reference

pytestmark = pytest.mark.kernels

SHAPES = st.sampled_from([(), (1,), (0, 3), (7,), (3, 5), (2, 3, 3, 4)])
DTYPES = pytest.mark.parametrize("dtype", ["f4", "f8"])


@pytest.fixture(scope="module")
def fast(compiled):
    module = compiled("updates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TINY", 0)  # or small arrays would never meet a kernel
        yield module


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is the oracle of this row")


def draw(seed, shape, dtype, count=4):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for _ in range(count)]


def close(found, want, units):
    """Equal up to so many units in the last place of the largest numbers in the sum."""
    assert found.dtype == want.dtype
    np.testing.assert_array_less(abs(found - want), units * np.spacing(1 + abs(want)))


numbers = st.sampled_from([0.0, 0.1, 0.9])


@settings(max_examples=60)
@given(
    shape=SHAPES, dtype=st.sampled_from(["f4", "f8"]), momentum=numbers, decay=numbers,
    seed=st.integers(0, 2**32 - 1),
)
def test_sgd_equals_the_reference(fast, shape, dtype, momentum, decay, seed):
    found, want = draw(seed, shape, dtype, 3), draw(seed, shape, dtype, 3)
    gradient = found[1].copy()
    for _ in range(3):
        fast.sgd(*found, 0.1, momentum, decay)
        reference.sgd(*want, 0.1, momentum, decay)
    np.testing.assert_array_equal(found[1], gradient)
    for a, b in zip(found, want):
        close(a, b, 8)


@settings(max_examples=60)
@given(
    shape=SHAPES, dtype=st.sampled_from(["f4", "f8"]), decay=numbers, step=st.integers(1, 1000),
    betas=st.sampled_from([(0.9, 0.999), (0.0, 0.99), (0.5, 0.0)]), seed=st.integers(0, 2**32 - 1),
)
def test_adam_equals_the_reference(fast, shape, dtype, decay, step, betas, seed):
    found, want = draw(seed, shape, dtype), draw(seed, shape, dtype)
    gradient = found[1].copy()
    for arrays in (found, want):
        np.square(arrays[3], out=arrays[3])
    for i in range(3):
        fast.adam(*found, step + i, 1e-2, betas, 1e-8, decay)
        reference.adam(*want, step + i, 1e-2, betas, 1e-8, decay)
    np.testing.assert_array_equal(found[1], gradient)
    for a, b in zip(found, want):
        close(a, b, 4)


def test_adam_in_float32_takes_its_averages_as_exactly_as_the_reference(fast):
    """From moments of 0 the first step shows 1 - beta itself."""
    p, g, m, v = np.zeros((4, 5), "f4")
    g[:] = [1, -2, 3, 0.5, 7]
    fast.adam(p, g, m, v, 1, 1e-3, (0.9, 0.999), 1e-8)
    np.testing.assert_allclose(m, 0.1 * g, rtol=1e-6)
    np.testing.assert_allclose(v, 0.001 * g * g, rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_twenty_steps_equal_those_of_torch(fast, torch, name, decay):
    rng = np.random.default_rng(0)
    p, state = rng.standard_normal((3, 5)), np.zeros((2, 3, 5))
    theirs = torch.nn.Parameter(torch.tensor(p))
    momentum = 0.9 * (name == "momentum")
    if name == "adam":
        optimizer = torch.optim.AdamW([theirs], 0.01, (0.8, 0.99), 1e-6, decay)
    else:
        optimizer = torch.optim.SGD([theirs], 0.01, momentum, weight_decay=decay)
    for step in range(1, 21):
        g = rng.standard_normal(p.shape)
        theirs.grad = torch.tensor(g)
        optimizer.step()
        if name == "adam":
            fast.adam(p, g, *state, step, 0.01, (0.8, 0.99), 1e-6, decay)
        else:
            fast.sgd(p, g, state[0] if momentum else None, 0.01, momentum, decay)
        np.testing.assert_allclose(p, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


@settings(max_examples=60)
@given(shape=SHAPES, dtype=st.sampled_from(["f4", "f8"]), seed=st.integers(0, 2**32 - 1))
def test_gate_equals_the_reference(fast, shape, dtype, seed):
    rng = np.random.default_rng(seed)
    x, by = (
        np.asarray(rng.choice([-1.5, -0.0, 0.0, 1e-45, 2.0, np.inf, -np.inf, np.nan], shape), dtype)
        for _ in range(2)
    )
    before = x.tobytes(), by.tobytes()
    out = fast.gate(x, by)
    assert out.dtype == dtype and out.shape == shape and not np.shares_memory(out, x)
    np.testing.assert_array_equal(out, reference.gate(x, by))
    np.testing.assert_array_equal(fast.relu(x), reference.relu(x))
    assert (x.tobytes(), by.tobytes()) == before


def test_a_step_leaves_what_is_infinite_and_refuses_what_is_read_only(fast):
    p = np.array([np.inf, 1.0])
    fast.sgd(p, np.ones(2), np.zeros(2), 0.1, 0.9)
    assert p.tolist() == [np.inf, 0.9]
    p.setflags(write=False)
    for step in (fast.sgd, reference.sgd):
        with pytest.raises(ValueError, match="read-only"):
            step(p, np.ones(2), np.zeros(2), lr=0.1, momentum=0.9)


def test_arrays_of_one_number_are_taken_for_numbers(fast):
    results = []
    for number in (lambda x: x, np.array):
        p, g, m, v = draw(0, (5,), "f4")
        v *= v
        fast.sgd(p, g, m, number(0.1), 0.9)
        fast.adam(p, g, m, v, number(2), number(0.1), (0.9, 0.99), 1e-8, 0.1)
        results.append([p, m, v])
    np.testing.assert_array_equal(*results)


def test_numbers_are_taken_for_arrays(fast):
    assert fast.relu(-1.0) == 0 and fast.gate(2.0, -1.0) == 0 and fast.gate(2.0, 1.0) == 2
    x = np.ones(3, "f4")
    assert fast.gate(x, 1).tolist() == [1, 1, 1] and fast.gate(x, 0).dtype == np.float32


@DTYPES
def test_no_number_of_threads_changes_a_bit(fast, threads, dtype):
    size = fast.SMALL + 7
    found = set()
    for count in (1, 2, 3, 4):
        threads(count)
        p, g, m, v = draw(0, size, dtype)
        np.square(v, out=v)
        fast.adam(p, g, m, v, 3, 0.1, (0.9, 0.999), 1e-8, 0.1)
        fast.sgd(p, g, m, 0.1, 0.9, 0.1)
        found.add(b"".join(a.tobytes() for a in (p, g, m, v, fast.gate(p, g))))
    assert len(found) == 1


@DTYPES
def test_what_is_no_line_of_one_dtype_goes_to_the_reference(fast, dtype):
    other = {"f4": "f8", "f8": "f4"}[dtype]
    results = []
    for form in (fast, reference):
        p, g, m, v = draw(1, (5, 6), dtype)
        np.square(v, out=v)
        p, g = p[:, ::2], np.asfortranarray(g[:, ::2]).astype(other)
        m, v = m[::-1, :3], v[:, :3].copy()
        form.adam(p, g, m, v, 2, 0.1, (0.9, 0.99), 1e-8)
        form.sgd(p, g, m, 0.1, 0.9)
        form.sgd(p, g, None, 0.1, 0.9, 0.5)
        row = g[0].astype(dtype)
        results.append([p, m, v, form.gate(p, g), form.gate(p, row), form.gate(row, p)])
    for a, b in zip(*results):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
