"""A training step of the VQ-VAE

    python benchmarks/step.py

Batch 128, float32, two threads, images of noise. Inside the clock: forward, losses, the codebook's
moving averages, backward and Adam, until the loss is a number. PyTorch trains the twin in
benchmarks/twin.py in its default layout and channels last, eager and compiled (`torch.compile` of
the model, compiled before the clock starts; what moves the codebook stays eager, because it would
be compiled anew in every step).
"""

import os
import shutil
from functools import partial

import numpy as np
from harness import compared, main

BATCH = np.random.default_rng(0).random((128, 28, 28, 1), dtype="float32")


def minae():
    import minae as m
    from minae.models import VQVAE
    from minae.optim import Adam

    m.seed(0)
    model = VQVAE()
    optimizer = Adam(model.parameters(), 1e-3)

    def step():
        loss, _ = model.loss(BATCH)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return {"VQ-VAE step": step}


def reference():
    os.environ["MINAE_KERNELS"] = "reference"
    return minae()


def pytorch(layout="contiguous_format", wrap=lambda model: model):
    import torch
    import torch.nn.functional as F
    from twin import VQVAE, trainable

    torch.manual_seed(0)
    layout = getattr(torch, layout)
    model = VQVAE().to(memory_format=layout)
    optimizer = torch.optim.Adam(trainable(model), 1e-3)
    x = torch.from_numpy(BATCH).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    run = wrap(model)

    def step():
        y, _, loss = run(x)
        loss = loss + F.mse_loss(y, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return {"VQ-VAE step": step}


def compiled(layout="contiguous_format"):
    import torch

    if not shutil.which(os.environ.get("CXX", "g++")):
        raise ImportError("torch.compile needs a C++ compiler")

    def wrap(model):
        model.quantizer.learn = torch.compiler.disable(model.quantizer.learn)
        model.quantizer.kmeans = torch.compiler.disable(model.quantizer.kmeans)
        return torch.compile(model)

    work = pytorch(layout, wrap)
    for _ in range(3):  # the first step is of another form: k-means places the codebook
        work["VQ-VAE step"]()
    return work


CONTENDERS = {
    "minae": minae, "minae without Numba": reference,
    "torch": pytorch, "torch, channels last": partial(pytorch, "channels_last"),
    "torch, compiled": compiled,
    "torch, compiled, channels last": partial(compiled, "channels_last"),
}


def tables(figures):
    peers = [name for name in CONTENDERS if name.startswith("torch")]
    bare = {work: {name: row[name] for name in ("minae without Numba", *peers) if name in row}
            for work, row in figures.items()}
    return "\n\n".join([compared(figures, "minae"), compared(bare, "minae without Numba")])


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
