"""The default generator: seeded, saved, never touched where an rng is given."""

import numpy as np
import pytest

import minae
from minae import random


def test_seed_determines_every_draw(numpy):
    def draw():
        return numpy(random.normal((3,))), numpy(random.uniform((2, 2)))

    minae.seed(7)
    first = draw()
    minae.seed(7)
    for a, b in zip(first, draw(), strict=True):
        np.testing.assert_array_equal(a, b)
    minae.seed(8)
    assert not np.array_equal(first[0], draw()[0])


def test_state_continues_where_it_was_saved(numpy):
    import json

    state = json.loads(json.dumps(random.get_state()))  # fit for a checkpoint
    ahead = numpy(random.normal(5))
    random.set_state(state)
    np.testing.assert_array_equal(numpy(random.normal(5)), ahead)


def test_rng_leaves_the_default_generator_alone(numpy):
    before = random.get_state()
    x = minae.tensor(np.ones(100, "float32"))
    a = minae.dropout(x, 0.5, rng=np.random.default_rng(3))
    b = minae.dropout(x, 0.5, rng=np.random.default_rng(3))
    random.normal(3, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(numpy(a), numpy(b))
    assert random.get_state() == before


@pytest.mark.parametrize("rng", [0, 5, "seed"])
def test_an_rng_is_a_generator(rng):
    with pytest.raises(TypeError, match=r"rng must be a generator, like .*default_rng\(0\)"):
        random.normal(3, rng=rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_and_dtype(numpy, dtype):
    rng = np.random.default_rng(0)
    x = numpy(random.normal((200, 500), scale=3.0, dtype=dtype, rng=rng))
    u = numpy(random.uniform((200, 500), -2.0, 4.0, dtype=dtype, rng=rng))
    assert x.dtype == dtype and u.dtype == dtype
    assert abs(x.mean()) < 0.05 and abs(x.std() - 3) < 0.05
    assert u.min() >= -2 and u.max() < 4 and abs(u.mean() - 1) < 0.05


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.Philox])
def test_another_default_generator_for_a_while(bits, numpy):
    before = random.get_state()
    with random.using(np.random.Generator(bits(7))):
        drawn = numpy(random.normal(3))
        minae.seed(7)
        np.testing.assert_array_equal(numpy(random.normal(3)), drawn)
        state = random.get_state()
        first = numpy(random.normal(3))
        random.set_state(state)
        np.testing.assert_array_equal(numpy(random.normal(3)), first)
    assert random.get_state() == before
    with pytest.raises(TypeError, match="rng must be a generator"), random.using(7):
        pass
