"""Random numbers by a counter: their definition, and CUDA's form of it."""

import math

import numpy as np
import pytest

from minae import kernels
from minae.kernels import noise, reference

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
KEY = 0x0123456789ABCDEF


@pytest.fixture
def state(array):
    return lambda key=KEY, counter=0: array([key, counter], "uint64")


# Of Random123's known answers for philox4x32-10: counter, key, block.
ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


@pytest.mark.parametrize(("counter", "key", "block"), ANSWERS)
def test_philox_has_the_known_answers(array, numpy, counter, key, block):
    counter, key, block = ([int(w, 16) for w in words.split()] for words in (counter, key, block))
    found = noise.philox(*([array([w], "uint64") for w in words] for words in (counter, key)))
    assert [int(numpy(w)[0]) for w in found] == block


def test_uniforms_are_the_top_bits_of_the_words(array, numpy, state):
    words = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]  # of key 0 and counter 0
    single = numpy(reference.uniform(state(0), 4, "float32"))
    assert (single * 2.0**24).tolist() == [w >> 8 for w in words]
    double = numpy(reference.uniform(state(0), 2, "float64"))
    assert (double * 2.0**53).tolist() == [
        (low | high << 32) >> 11 for low, high in (words[:2], words[2:])
    ]


@DTYPES
@pytest.mark.parametrize("name", ["uniform", "normal"])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 1000, 1027])
@pytest.mark.parametrize("counter", [0, 2**32 - 5, 2**64 - 3])
def test_cuda_draws_what_the_reference_draws(cuda, numpy, state, dtype, name, count, counter):
    ours, theirs = state(counter=counter), state(counter=counter)
    got = numpy(getattr(cuda("noise"), name)(ours, count, dtype))
    want = numpy(getattr(reference, name)(theirs, count, dtype))
    assert got.dtype == want.dtype == dtype and got.shape == want.shape == (count,)
    if name == "uniform":
        np.testing.assert_array_equal(got, want)
    else:
        epsilon = np.finfo(dtype).eps  # times the radius, which is below 10
        np.testing.assert_allclose(got, want, rtol=8 * epsilon, atol=8 * epsilon)
    blocks = -(-count // (4 if dtype == "float32" else 2))
    np.testing.assert_array_equal(numpy(ours), numpy(theirs))
    assert numpy(ours).tolist() == [KEY, (counter + blocks) % 2**64]


@DTYPES
def test_the_next_draw_goes_on_behind_the_last(numpy, state, dtype):
    whole = numpy(kernels.uniform(state(), 800, dtype))
    parts = state()
    halves = [numpy(kernels.uniform(parts, 400, dtype)) for _ in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    other = numpy(kernels.uniform(state(KEY + 1), 800, dtype))
    assert not (other == whole).any()


def test_other_dtypes_are_refused(cuda, state):
    for form in (reference, cuda("noise")):
        for name in ("uniform", "normal"):
            with pytest.raises(TypeError, match="float32 or float64, not int32"):
                getattr(form, name)(state(), 4, "int32")


# --- Are they random? With this key and no other; the limits are those of one in a million -------

COUNT = 1 << 16


@DTYPES
def test_uniforms_fill_their_interval_evenly(numpy, state, dtype):
    x = numpy(reference.uniform(state(), COUNT, dtype)).astype("float64")
    assert 0 <= x.min() < 1e-3 and 1 - 1e-3 < x.max() < 1
    cells = np.bincount((x * 256).astype(int), minlength=256)
    pairs = np.bincount((x[::2] * 16).astype(int) * 16 + (x[1::2] * 16).astype(int), minlength=256)
    for seen in (cells, pairs):
        even = seen.sum() / 256
        assert ((seen - even) ** 2 / even).sum() < 255 + 4.9 * np.sqrt(2 * 255)
    assert abs(x.mean() - 1 / 2) < 4.9 * np.sqrt(1 / 12 / COUNT)


@DTYPES
def test_normals_have_the_moments_of_the_distribution(numpy, state, dtype):
    x = numpy(reference.normal(state(), COUNT, dtype)).astype("float64")
    for power, moment, spread in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)]:
        assert abs((x**power).mean() - moment) < 4.9 * np.sqrt(spread / COUNT), power
    assert abs((x[::2] * x[1::2]).mean()) < 4.9 * np.sqrt(2 / COUNT)  # of one pair
    assert abs((x < 1).mean() - 0.841345) < 4.9 * np.sqrt(0.84 * 0.16 / COUNT)


@DTYPES
def test_no_bits_give_an_infinite_normal(array, numpy, state, dtype, monkeypatch):
    """All bits 0, from which the radius is the largest there is, and all bits 1."""
    for bits, largest in [(0, {"float32": 6.77, "float64": 9.5}[dtype]), (-1, 1e-3)]:
        words = np.full(2, bits, "int32" if dtype == "float32" else "int64")
        words = array(words.view(words.dtype.str.replace("i", "u")))
        monkeypatch.setattr(noise, "_words", lambda *_, words=words: words)
        x = numpy(reference.normal(state(), 2, dtype))
        assert np.isfinite(x).all() and np.hypot(*x) <= largest


def test_a_word_of_zeros_gives_no_infinite_normal(cuda, array, numpy):
    """Word 2 of this block, the radius of its second pair."""
    state, block = (array([0, 3230741590], "uint64") for _ in range(2))
    assert float(reference.uniform(block, 4)[2]) == 0
    x = numpy(cuda("noise").normal(state, 4))
    assert abs(np.hypot(*x[2:]) - math.sqrt(66 * math.log(2))) < 1e-5
