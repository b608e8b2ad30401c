"""What a recorded graph holds

    python benchmarks/graph_memory.py

The memory between the forward pass and the backward pass: how much the resident size has grown when
a loss has been computed with gradients, in MB. What is free is given back to the system before each
look (`malloc_trim`); each is measured in a fresh process, on Linux. Parameters and inputs are there
before and do not count. Float32, with a mean of squares at the end: an MLP of six layers of 1024
on 4096 rows; six 3x3 convolutions of 64 channels on 32 images of 32x32; causal attention of 8 heads
of 64 over 512 positions, batch 8, with the linear maps before and after. Relu follows a layer, or
what the row names. PyTorch's fused attention is `scaled_dot_product_attention`, which computes its
weights again in the backward pass; minae has none.
"""

import ctypes
import math
import os
import statistics
from functools import partial

import numpy as np
from harness import main, over, spread, table
from memory import resident

MLP, NORMED_MLP = "MLP", "MLP, layer norm and gelu"
CONV, NORMED_CONV = "convolutions", "convolutions, batch norm"
ATTENTION = "attention"
DEPTH, BATCH, LENGTH, HEADS, FEATURES = 6, 8, 512, 8, 512


def draw(*shape):
    """Numbers that keep their size through a layer of such a weight."""
    scale = 1 / math.sqrt(math.prod(shape[:-1]))
    return np.random.default_rng(0).standard_normal(shape, dtype="float32") * np.float32(scale)


def minae():
    import minae as m
    from minae.nn import BatchNorm2d

    def parameter(*shape):
        return m.Tensor(draw(*shape), requires_grad=True)

    rows, images, words = draw(4096, 1024), draw(32, 32, 32, 64), draw(BATCH, LENGTH, FEATURES)
    layers = [(parameter(1024, 1024), parameter(1024)) for _ in range(DEPTH)]
    filters = [(parameter(3, 3, 64, 64), parameter(64)) for _ in range(DEPTH)]
    inner, outer = parameter(FEATURES, 3 * FEATURES), parameter(FEATURES, FEATURES)
    mask, norms = m.causal_mask(LENGTH), [BatchNorm2d(64) for _ in range(DEPTH)]

    def mlp(normed):
        x = rows
        for weight, bias in layers:
            x = m.linear(x, weight, bias)
            x = m.gelu(m.layer_norm(x)) if normed else m.relu(x)
        return (x * x).mean()

    def convolutions(normed):
        x = images
        for (weight, bias), norm in zip(filters, norms):
            x = m.conv2d(x, weight, bias, padding=1, relu=not normed)
            x = m.relu(norm(x)) if normed else x
        return (x * x).mean()

    def attention():
        x = m.linear(words, inner).reshape(BATCH, LENGTH, 3 * HEADS, FEATURES // HEADS)
        query, key, value = m.split(x.swapaxes(1, 2), 3, axis=1)
        x = m.attention(query, key, value, mask).swapaxes(1, 2).reshape(words.shape)
        x = m.linear(x, outer)
        return (x * x).mean()

    return {
        MLP: partial(mlp, False), NORMED_MLP: partial(mlp, True), ATTENTION: attention,
        CONV: partial(convolutions, False), NORMED_CONV: partial(convolutions, True),
    }


def reference():
    os.environ["MINAE_KERNELS"] = "reference"
    return minae()


def torch(fused=False, layout="contiguous_format"):
    import torch as t
    import torch.nn.functional as F

    layout = getattr(t, layout)

    def parameter(*shape):
        x = t.from_numpy(draw(*shape))
        x = x.contiguous(memory_format=layout) if x.ndim == 4 else x
        return x.requires_grad_()

    rows, words = t.from_numpy(draw(4096, 1024)), t.from_numpy(draw(BATCH, LENGTH, FEATURES))
    images = t.from_numpy(draw(32, 64, 32, 32)).contiguous(memory_format=layout)
    layers = [(parameter(1024, 1024), parameter(1024)) for _ in range(DEPTH)]
    filters = [(parameter(64, 64, 3, 3), parameter(64)) for _ in range(DEPTH)]
    inner, outer = parameter(3 * FEATURES, FEATURES), parameter(FEATURES, FEATURES)
    mask = t.ones(LENGTH, LENGTH, dtype=t.bool).tril()
    norms = [t.nn.BatchNorm2d(64) for _ in range(DEPTH)]

    def mlp(normed):
        x = rows
        for weight, bias in layers:
            x = F.linear(x, weight, bias)
            x = F.gelu(F.layer_norm(x, (1024,))) if normed else F.relu(x)
        return (x * x).mean()

    def convolutions(normed):
        x = images
        for (weight, bias), norm in zip(filters, norms):
            x = F.conv2d(x, weight, bias, padding=1)
            x = F.relu(norm(x) if normed else x)
        return (x * x).mean()

    def by_hand(query, key, value):
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        return scores.masked_fill(~mask, -math.inf).softmax(-1) @ value

    def attention():
        x = F.linear(words, inner).view(BATCH, LENGTH, 3 * HEADS, FEATURES // HEADS)
        query, key, value = x.transpose(1, 2).split(HEADS, dim=1)
        if fused:
            x = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            x = by_hand(query, key, value)
        x = F.linear(x.transpose(1, 2).reshape(words.shape), outer)
        return (x * x).mean()

    if fused:
        return {ATTENTION: attention}
    work = {CONV: partial(convolutions, False), NORMED_CONV: partial(convolutions, True)}
    if layout is t.channels_last:
        return work
    return work | {
        MLP: partial(mlp, False), NORMED_MLP: partial(mlp, True), ATTENTION: attention
    }


CONTENDERS = {
    "minae": minae, "minae without Numba": reference, "torch": torch,
    "torch, channels last": partial(torch, layout="channels_last"),
    "torch, fused": partial(torch, fused=True),
}


def held(forward, target):
    """MB that a loss and its graph hold; the first, which also loads code, does not count."""
    forward()
    before = live()
    loss = forward()
    after = live()
    del loss
    return after - before


def live():
    """The resident size without what is free."""
    ctypes.CDLL(None).malloc_trim(0)
    return resident("VmRSS")


def tables(figures):
    ours, peers = list(CONTENDERS)[:2], list(CONTENDERS)[2:]
    rows = [
        [work, *(f"{statistics.median(row[name]):.0f}" for name in ours),
         *(spread(over(row.get(peer, []), row["minae"])) for peer in peers)]
        for work, row in figures.items()
    ]
    heads = [*(f"{name}, MB" for name in ours), *(f"{peer} / minae" for peer in peers)]
    return table(["a forward pass of", *heads], rows)


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables, measure=held)
