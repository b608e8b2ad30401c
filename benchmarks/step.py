"""A whole training step of the VQ-VAE, batch 128, against PyTorch.

    python benchmarks/step.py

Two threads, float32, images of noise. Inside the clock: forward, losses, the codebook's moving
averages, backward and Adam, until the loss is a number. PyTorch runs eager, in its default layout
and channels last; its codebook is learned in the same way, its nearest codeword by addmm + argmin.
"""

import numpy as np
from harness import main

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


def pytorch(layout="contiguous_format"):
    import torch
    import torch.nn.functional as F
    from twin import VQVAE, trainable

    torch.set_num_threads(2)
    torch.manual_seed(0)
    layout = getattr(torch, layout)
    model = VQVAE().to(memory_format=layout)
    optimizer = torch.optim.Adam(trainable(model), 1e-3)
    x = torch.from_numpy(BATCH).permute(0, 3, 1, 2).contiguous(memory_format=layout)

    def step():
        y, _, loss = model(x)
        loss = loss + F.mse_loss(y, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return {"VQ-VAE step": step}


def pytorch_channels_last():
    return pytorch("channels_last")


if __name__ == "__main__":
    main(__doc__, "minae", 2, {
        "minae": minae, "torch": pytorch, "torch, channels last": pytorch_channels_last,
    })
