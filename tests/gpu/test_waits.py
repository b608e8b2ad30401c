"""A training step waits for the device once at most: when its loss is read."""

import importlib

import numpy as np
import pytest

import minae
from minae import backend, faults, kernels, nn, optim, random, transfer
from minae import functional as F
from minae.kernels import reference

if not faults.DEFERRED:
    pytest.skip("for CuPy, or its stand-in, without MINAE_DEBUG_SYNC", allow_module_level=True)
standin = pytest.importorskip("cupy.standin", reason="only the stand-in counts")


@pytest.fixture
def emulated(cuda, monkeypatch):
    """Every kernel that has a CUDA form runs it."""

    def form(kernel):
        if kernel not in kernels.CUDA:
            return getattr(reference, kernel)
        return getattr(importlib.import_module(f"minae.kernels.{kernels.CUDA[kernel]}"), kernel)

    monkeypatch.setattr(kernels, "form", form)


def test_a_step_of_a_classifier_waits_once(array, emulated):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Embedding(20, 8), nn.Dropout(0.1), nn.LayerNorm(8), nn.Linear(8, 20))
    optimizer = optim.AdamW(model.parameters(), 0.01)
    for _ in range(3):
        words = array(rng.integers(0, 20, (4, 6)))
        with standin.count() as count:
            loss = F.cross_entropy(model(words), words)
            optimizer.zero_grad()
            loss.backward()
            optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            loss.item()
        assert count.waits == 1, count.places


def test_uploads_are_the_arrays_and_wait_for_none(array, numpy):
    host = [np.full((3, 2), i, "uint8") for i in range(6)] + [np.zeros((1, 2), "uint8")]
    with standin.count() as count:
        found = list(transfer.uploads(iter(host)))
    assert count.waits == 0
    assert all(isinstance(x, backend.ndarray) for x in found)
    for x, y in zip(found, host, strict=True):
        np.testing.assert_array_equal(numpy(x), y)
    assert list(transfer.uploads([])) == []


def test_noise_is_drawn_without_a_wait_and_comes_again(numpy):
    minae.seed(1)
    random.uniform_noise((3, 4))
    state = random.get_state()
    assert state["philox"][1] > 0
    with standin.count() as count:
        drawn = [random.uniform_noise((3, 4)), random.normal_noise(5), random.integer_noise(9, 7)]
    assert count.waits == 0
    random.set_state(state)
    again = [random.uniform_noise((3, 4)), random.normal_noise(5), random.integer_noise(9, 7)]
    for x, y in zip(drawn, again):
        np.testing.assert_array_equal(numpy(x), numpy(y))


def test_a_generator_decides_the_noise(numpy):
    def draw():
        return numpy(random.uniform_noise(9, rng=np.random.default_rng(4)))

    np.testing.assert_array_equal(draw(), draw())
    with random.using(np.random.default_rng(4)):
        np.testing.assert_array_equal(numpy(random.uniform_noise(9)), draw())


def test_parameters_start_as_on_numpy(numpy):
    minae.seed(7)
    found = numpy(nn.Linear(3, 2).weight)
    drawn = np.random.Generator(np.random.PCG64(7)).random((3, 2), dtype="f")
    np.testing.assert_allclose(found, (2 * drawn - 1) / np.sqrt(3), atol=1e-7)
