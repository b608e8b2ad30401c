"""Threads that use minae side by side get what they would get alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minae
from minae import nn, optim, vq
from minae.models import VQVAE

IMAGES = np.random.default_rng(0).random((24, 28, 28, 1), dtype="float32")


def frozen(state):
    return {name: (x.dtype, x.tobytes()) for name, x in state.items()}


def test_eight_threads_encode_with_one_model(array, numpy):
    minae.seed(0)
    model = VQVAE(codes=64, hidden=16, residual=8)
    model.loss(array(IMAGES))  # places the codewords
    model.eval()
    batches = [array(IMAGES[i % 20 : i % 20 + 1 + i % 4]) for i in range(200)]
    alone = [numpy(model.encode(batch)) for batch in batches]
    before = frozen(model.state_dict())
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda batch: numpy(model.encode(batch)), batches))
    assert [codes.tobytes() for codes in together] == [codes.tobytes() for codes in alone]
    assert len(np.unique(np.concatenate([codes.ravel() for codes in alone]))) > 8
    assert frozen(model.state_dict()) == before


class Model(nn.Module):
    """What it draws, in making and in training, comes from a generator of its own."""

    def __init__(self, rng):
        self.rng = rng
        self.shrink = nn.Conv2d(1, 16, 4, stride=2, padding=1, rng=rng)
        self.norm = nn.BatchNorm2d(16)
        self.quantizer = vq.VectorQuantizerEMA(32, 16, init="random", revive=0, rng=rng)
        self.grow = nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1, rng=rng)

    def loss(self, x):
        latents = minae.dropout(self.norm(self.shrink(x, relu=True)), 0.1, rng=self.rng)
        quantized = self.quantizer(latents)
        return minae.mse_loss(self.grow(quantized.values), x) + quantized.loss


def trained(seed, images, start=lambda: None):
    """All state of a model after some steps, and the loss of each."""
    model = Model(np.random.default_rng(seed))
    optimizers = [optim.Adam(model.parameters()[:4], 1e-2),
                  optim.SGD(model.parameters()[4:], 0.1, momentum=0.9)]
    losses = []
    start()
    for _ in range(25):
        loss = model.loss(images)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    return losses, [frozen(part.state_dict()) for part in (model, *optimizers)]


def test_two_models_train_at_once_as_one_after_the_other(array):
    images = array(IMAGES)
    alone = [trained(seed, images) for seed in (1, 2)]
    barrier = threading.Barrier(2, timeout=60)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda seed: trained(seed, images, barrier.wait), (1, 2)))
    assert together == alone
    assert alone[0] != alone[1] and alone[0][0][-1] < alone[0][0][0]


def test_each_thread_may_have_a_default_generator_of_its_own(array):
    """Weights, k-means, revival and dropout are drawn from it."""
    images = array(IMAGES)

    def train(seed):
        with minae.random.using(np.random.default_rng(seed)):
            model = VQVAE(codes=16, hidden=8, residual=4)
            optimizer = optim.Adam(model.parameters(), 1e-2)
            for _ in range(10):
                loss, _ = model.loss(minae.dropout(images, 0.1) * 0.9)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            return frozen(model.state_dict()), minae.random.get_state()

    minae.seed(0)
    before = minae.random.get_state()
    alone = [train(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(train, (1, 2))) == alone
    assert alone[0] != alone[1] and minae.random.get_state() == before


@pytest.mark.parametrize("block", [minae.no_grad, minae.debug])
def test_a_block_in_one_thread_holds_in_no_other(block, array):
    """Neither in one that was there before, nor in one that is started inside."""
    x = minae.Tensor(array([4.0, -1.0]), requires_grad=True)

    def met():
        """Whether the block holds here, as its users notice."""
        try:
            with np.errstate(invalid="ignore"):
                return not minae.sqrt(x).requires_grad
        except FloatingPointError:
            return True

    with ThreadPoolExecutor(1) as other:
        assert not other.submit(met).result()
        with block():
            assert met() and not other.submit(met).result()
            with ThreadPoolExecutor(1) as started_inside:
                assert not started_inside.submit(met).result()
        there = block()
        other.submit(there.__enter__).result()
        assert other.submit(met).result() and not met()
        with block():
            pass
        assert other.submit(met).result() and not met()
        other.submit(there.__exit__, None, None, None).result()
        assert not other.submit(met).result()
