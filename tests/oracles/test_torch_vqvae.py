"""The VQ-VAE against its twin in PyTorch (benchmarks/twin.py): the same training, step by step."""

import sys
from pathlib import Path

import numpy as np
import pytest

import minae
from minae import nn, vq
from minae.models import VQVAE
from minae.optim import Adam

torch = pytest.importorskip("torch", reason="torch is not installed")
sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
import twin  # noqa: E402

KINDS = {"gradient": vq.VectorQuantizer, "ema": vq.VectorQuantizerEMA}
SIZES = {"codes": 24, "features": 5, "hidden": 8}


def layers(model):
    """Convolutions in the order of both programs, which is the same."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d, torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    return [m for m in model.modules() if isinstance(m, kinds)]


@pytest.fixture(params=KINDS)
def pair(request):
    """Ours and the twin, in float64, with the same weights and the same codebook."""
    minae.seed(1)
    ours = VQVAE(**SIZES, residual=4)
    ours.quantizer = KINDS[request.param](24, 5, init="random", revive=0)
    ours.astype("float64")
    ema = request.param == "ema"
    theirs = twin.VQVAE(**SIZES, inner=4, ema=ema, init="random", revive=0).double()
    for one, other in zip(layers(ours), layers(theirs), strict=True):
        other.weight.data = torch.from_numpy(one.weight.numpy().transpose(3, 2, 0, 1).copy())
        if one.bias is not None:
            other.bias.data = torch.from_numpy(one.bias.numpy().copy())
    latents = ours.encoder(minae.backend.asarray(np.random.default_rng(2).random((3, 12, 12, 1))))
    book = torch.from_numpy(latents.detach().numpy().reshape(-1, 5)[:24].copy())
    ours.quantizer.codebook.data = book.numpy()
    theirs.quantizer.codebook.data = book.clone()
    theirs.quantizer.sums.data = book.clone()
    return ours, theirs


def test_both_train_alike(pair, numpy):
    ours, theirs = pair
    optimizer = Adam(ours.parameters(), 1e-3)
    other = torch.optim.Adam(twin.trainable(theirs), 1e-3)
    rng = np.random.default_rng(0)
    used = set()
    for _ in range(20):
        x = rng.random((6, 12, 12, 1))
        y, quantized = ours(minae.backend.asarray(x))
        loss = minae.mse_loss(y, minae.backend.asarray(x)) + quantized.loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
        z, codes, wanted = theirs(images)
        wanted = wanted + torch.nn.functional.mse_loss(z, images)
        other.zero_grad()
        wanted.backward()
        other.step()

        assert (numpy(quantized.codes).ravel() == codes.numpy()).all()
        np.testing.assert_allclose(loss.item(), wanted.item(), rtol=1e-9)
        used |= set(codes.tolist())
    np.testing.assert_allclose(
        numpy(ours.quantizer.codebook), theirs.quantizer.codebook.detach().numpy(), rtol=1e-6
    )
    for one, their in zip(layers(ours), layers(theirs), strict=True):
        wanted = their.weight.detach().numpy().transpose(2, 3, 1, 0)
        np.testing.assert_allclose(numpy(one.weight), wanted, rtol=1e-6, atol=1e-9)
    assert len(used) > 3  # so that the codebook was at work


def test_a_step_of_the_twin_reads_nothing_back():
    """On tensors without entries it runs: no shape and no branch is of the data."""
    theirs = twin.VQVAE(**SIZES).to("meta")
    theirs.quantizer.placed = True  # what k-means does at first is no part of later steps
    images = torch.empty(6, 1, 12, 12, device="meta")
    z, _, loss = theirs(images)
    (loss + torch.nn.functional.mse_loss(z, images)).backward()
    assert all(p.grad is not None for p in twin.trainable(theirs))
