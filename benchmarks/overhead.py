"""What one small op costs, forward and backward: minae against PyTorch eager, one thread.

    python benchmarks/overhead.py

The chain is ``h = tanh(h @ W) * h + h`` five times over a 4x8 array, then a sum: 21 ops, so small
that nearly all of the time is bookkeeping. Inside the clock: the forward pass, the backward pass to
both leaves, and setting their gradients to None. The figures are for one op.
"""

from harness import main

OPS = 21


def minae_chain():
    import numpy as np

    import minae

    rng = np.random.default_rng(0)
    x = minae.tensor(rng.random((4, 8), dtype="float32"), requires_grad=True)
    w = minae.tensor(rng.random((8, 8), dtype="float32") * 0.1, requires_grad=True)

    def forward():
        h = x
        for _ in range(5):
            h = minae.tanh(h @ w) * h + h
        return h.sum()

    def both():
        forward().backward()
        x.grad = w.grad = None

    return {"21 ops, forward": forward, "21 ops, forward and backward": both}


def torch_chain():
    import torch

    torch.set_num_threads(1)
    x = torch.rand(4, 8, requires_grad=True)
    w = (torch.rand(8, 8) * 0.1).requires_grad_()

    def forward():
        h = x
        for _ in range(5):
            h = torch.tanh(h @ w) * h + h
        return h.sum()

    def both():
        forward().backward()
        x.grad = w.grad = None

    return {"21 ops, forward": forward, "21 ops, forward and backward": both}


if __name__ == "__main__":
    main(__doc__, "minae", 1, {"minae": minae_chain, "torch eager": torch_chain})
