"""The same seed gives the same bytes: in every process, with however many threads."""

import json

import pytest
from processes import run

# Large enough for each kernel to share its work. Prints digests, and how many threads helped.
PROGRAM = """
import hashlib, json, threading
import numpy as np
import minae
from minae import nn, optim, vq
from minae.data import batches

class Model(nn.Module):
    def __init__(self):
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=2, padding=1), minae.relu, nn.BatchNorm2d(16),
            nn.Dropout(0.1), nn.Conv2d(16, 64, 3, padding=1),
        )
        self.quantizer = vq.VectorQuantizerEMA(64, 64, revive=0.5)
        self.decoder = nn.Sequential(
            nn.Conv2d(64, 16, 3, padding=1), minae.relu,
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
        )

minae.seed(0)
images = np.random.default_rng(0).integers(0, 256, (160, 28, 28, 1), "uint8")
model = Model()
optimizers = [optim.Adam(model.encoder.parameters(), 1e-3),
              optim.SGD(model.decoder.parameters(), 0.1, momentum=0.9)]
metrics = []
for epoch in range(6):
    for batch in batches(images, 32, seed=0, epoch=epoch):
        quantized = model.quantizer(model.encoder(batch))
        error = minae.mse_loss(model.decoder(quantized.values), batch)
        for optimizer in optimizers:
            optimizer.zero_grad()
        (error + quantized.loss).backward()
        for optimizer in optimizers:
            optimizer.step()
        metrics.append([error.item(), quantized.loss.item(), float(quantized.perplexity)])

assert len(metrics) == 30 and metrics[-1][0] < metrics[0][0]
digest = hashlib.sha256(json.dumps(metrics).encode())
for part in (model, *optimizers):
    for name, x in part.state_dict().items():
        digest.update(f"{name} {x.dtype} {x.shape}".encode() + x.tobytes())
helpers = sum(thread.name == "minae" for thread in threading.enumerate())
print(json.dumps([digest.hexdigest(), helpers]))
"""


def trained(**environment):
    return json.loads(run(PROGRAM, OPENBLAS_NUM_THREADS=1, **environment).stdout)


def test_two_processes_train_the_same_by_the_definitions():
    first, second = (trained(MINAE_KERNELS="reference", PYTHONHASHSEED=n) for n in (1, 2))
    assert first == second


@pytest.mark.kernels
def test_two_processes_train_the_same_by_the_compiled_kernels_with_any_threads(compiled):
    compiled("threads")
    counts = [1, 1, 2, 3, 8]
    found = [trained(MINAE_KERNELS="fast", MINAE_THREADS=count) for count in counts]
    assert len({digest for digest, _ in found}) == 1
    assert [helpers + 1 for _, helpers in found] == counts  # that have taken part
