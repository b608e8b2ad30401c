"""The cost of one small op

    python benchmarks/overhead.py

The chain is `h = tanh(h @ W) * h + h` five times over a 4x8 array, then a sum: 21 ops, so small
that nearly all of the time is bookkeeping; one thread. Inside the clock: the forward pass, the
backward pass to both leaves, and setting their gradients to None. "By hand" is the same arithmetic
with the gradients written out in NumPy, which no engine can beat.
"""

from functools import partial

from harness import compared, main


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


def numpy_by_hand():
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.random((4, 8), dtype="float32")
    w = rng.random((8, 8), dtype="float32") * 0.1

    def forward():
        h, steps = x, []
        for _ in range(5):
            t = np.tanh(h @ w)
            steps.append((h, t))
            h = t * h + h
        return h, h.sum(), steps

    def both():
        h, _, steps = forward()
        g, gw = np.ones_like(h), None
        for h, t in reversed(steps):
            gt = g * h
            gt = gt - gt * t * t
            gw = h.T @ gt if gw is None else gw + h.T @ gt
            g = g * t + g + gt @ w.T
        return g, gw

    return {"21 ops, forward": forward, "21 ops, forward and backward": both}


CONTENDERS = {"minae": minae_chain, "torch": torch_chain, "NumPy by hand": numpy_by_hand}
tables = partial(compared, ours="minae")

if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables, threads=1)
