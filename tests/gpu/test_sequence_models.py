"""A training step of each model of sequences can be captured: it never waits for the device."""

import numpy as np
import pytest

import minae
from minae import backend, faults, optim
from minae.models import BERT, GPT, Seq2Seq, Transformer, mask_tokens

pytestmark = pytest.mark.skipif(
    not faults.DEFERRED, reason="for CuPy, or its stand-in, without MINAE_DEBUG_SYNC"
)
SIZES = {"context": 4, "layers": 1, "features": 8, "heads": 2}
MODELS = {
    "GPT": (lambda: GPT(7, **SIZES), lambda model, x: model.loss(x)),
    "BERT": (
        lambda: BERT(7, **SIZES),
        lambda model, x: model.loss(mask_tokens(x[:, 1:], 7, 3, (0,)), follows=x[:, 0] % 2),
    ),
    "Transformer": (lambda: Transformer(7, 7, **SIZES), lambda model, x: model.loss(x[:, 1:], x)),
    "Seq2Seq": (lambda: Seq2Seq(7, 7, 4, 6), lambda model, x: model.loss(x, x)),
    "with copies": (
        lambda: Seq2Seq(7, 7, 4, 6, unknown=1), lambda model, x: model.loss(x, x, x)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_captured_training_is_the_training(name, emulated):
    make, loss = MODELS[name]
    rng = np.random.default_rng(0)
    batches = [backend.asarray(rng.integers(0, 7, (3, 5))) for _ in range(5)]

    def losses(wrap):
        minae.seed(0)
        model = make()
        optimizer = optim.Adam(model.parameters(), 1e-2)

        @wrap
        def step(x):
            value, figures = loss(model, x)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            return value.detach(), figures

        taken = [step(x) for x in batches]
        return [(value.item(), float(figures["perplexity"])) for value, figures in taken]

    np.testing.assert_allclose(losses(minae.capture), losses(lambda step: step), rtol=1e-4)
