"""Layers and functions, forward and backward

    python benchmarks/layers.py

Batch 32, width 128: sequences of 64 positions (32, 64, 128) or images of 8 x 8 (32, 8, 8, 128),
float32, two threads. Inside the clock: one forward pass that records its graph, and the gradient of
the input and of every parameter, in a process that has an optimizer (which has the C library keep
its memory). PyTorch is given its own layout. Where minae is slower, the last column says why.
"""

import os
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from harness import duration, main, over, spread, table

BATCH, LENGTH, WIDTH, SIDE = 32, 64, 128, 8
RNG = np.random.default_rng(0)
SEQUENCES = RNG.standard_normal((BATCH, LENGTH, WIDTH), dtype="float32")
IMAGES = SEQUENCES.reshape(BATCH, SIDE, SIDE, WIDTH)
ROWS = SEQUENCES[:, 0]
CODES = RNG.integers(0, 1000, (BATCH, LENGTH))
LABELS = RNG.integers(0, WIDTH, (BATCH, LENGTH))
SEGMENTS = RNG.integers(0, 100, BATCH * LENGTH)
LENGTHS = RNG.integers(1, LENGTH + 1, BATCH)
MASK = SEQUENCES > 1

# Why minae is slower, where it is.
PASSES = "several passes of NumPy, on one core"
STEPS = "a product and a dozen NumPy calls a step"
SCALAR = "NumPy's expm1 is not vectorized"
WAKING = "short work, for each piece of which a thread is woken"
SORTING = "sorts each row whole"


class Layer(NamedTuple):
    """A layer of the same name and arguments in both libraries."""

    name: str
    values: np.ndarray
    arguments: tuple
    slower: str = PASSES
    first: bool = False  # PyTorch wants the features first
    options: Any = MappingProxyType({})
    theirs: Any = MappingProxyType({})  # more options, of PyTorch's alone
    ours_call: Any = lambda layer, x: layer(x)
    their_call: Any = lambda torch, layer, z: layer(z)
    title: str = ""


class Function(NamedTuple):
    """A function of minae (given the module and a Tensor) and of PyTorch."""

    name: str
    values: np.ndarray
    ours: Any
    theirs: Any
    slower: str = PASSES
    first: bool = False


def unpadded(torch, layer, z):
    """PyTorch's form of sequences that have lengths."""
    rnn, lengths = torch.nn.utils.rnn, torch.tensor(LENGTHS)
    packed = rnn.pack_padded_sequence(z, lengths, batch_first=True, enforce_sorted=False)
    return rnn.pad_packed_sequence(layer(packed)[0], True, total_length=LENGTH)[0]


def looking(torch, layer, z):
    return layer(z, z, z, need_weights=False)[0]


def looking_back(torch, layer, z):
    mask = torch.nn.Transformer.generate_square_subsequent_mask(LENGTH)
    return layer(z, z, z, need_weights=False, attn_mask=mask, is_causal=True)[0]


SQUARE = (WIDTH, WIDTH)
RECURRENT = {"slower": STEPS, "theirs": {"batch_first": True}}
HEADS = {"slower": WAKING, "theirs": {"batch_first": True}}
LAYERS = [
    Layer("Linear", SEQUENCES, SQUARE, WAKING),
    Layer("Conv1d", SEQUENCES, (*SQUARE, 3, 1, 1), first=True),
    Layer("ConvTranspose1d", SEQUENCES, (*SQUARE, 4, 2, 1), first=True),
    Layer("Conv2d", IMAGES, (*SQUARE, 3, 1, 1), first=True),
    Layer("Conv2d", IMAGES, (*SQUARE, 3, 1, 1), first=True, title="Conv2d, reflected",
          options={"padding_mode": "reflect"}),
    Layer("ConvTranspose2d", IMAGES, (*SQUARE, 4, 2, 1), "as fast, within the spread", True),
    Layer("BatchNorm1d", SEQUENCES, (WIDTH,), first=True),
    Layer("BatchNorm2d", IMAGES, (WIDTH,), first=True),
    Layer("InstanceNorm1d", SEQUENCES, (WIDTH,), first=True),
    Layer("InstanceNorm2d", IMAGES, (WIDTH,), first=True),
    Layer("GroupNorm", IMAGES, (8, WIDTH), first=True),
    Layer("LayerNorm", SEQUENCES, (WIDTH,), WAKING),
    Layer("RMSNorm", SEQUENCES, (WIDTH,)),
    Layer("LSTM", SEQUENCES, SQUARE, **{**RECURRENT, "slower": WAKING}),
    Layer("LSTM", SEQUENCES, SQUARE, **RECURRENT, title="LSTM, both ways, lengths",
          options={"bidirectional": True}, their_call=unpadded,
          ours_call=lambda layer, x: layer(x, lengths=LENGTHS)),
    Layer("GRU", SEQUENCES, SQUARE, **RECURRENT),
    Layer("LSTMCell", ROWS, SQUARE, STEPS),
    Layer("GRUCell", ROWS, SQUARE, STEPS),
    Layer("MultiheadAttention", SEQUENCES, (WIDTH, 8), **HEADS, their_call=looking),
    Layer("MultiheadAttention", SEQUENCES, (WIDTH, 8), **HEADS, their_call=looking_back,
          title="MultiheadAttention, causal", ours_call=lambda layer, x: layer(x, causal=True)),
    Layer("Embedding", CODES, (1000, WIDTH)),
]  # fmt: skip


def same(name, theirs=None, values=SEQUENCES, slower=PASSES):
    """A function of one argument, named alike."""
    theirs = theirs or (lambda t, z: getattr(t.nn.functional, name)(z))
    return Function(name, values, lambda m, x: getattr(m, name)(x), theirs, slower)


def pool(name, *arguments, values=IMAGES):
    """A pooling function, which takes its arguments in the same order."""
    title = f"{name}, overlapping" if len(arguments) > 1 else name
    return Function(title, values, lambda m, x: getattr(m, name)(x, *arguments),
                    lambda t, z: getattr(t.nn.functional, name)(z, *arguments), first=True)


def shuffled(t, z):
    return z.reshape(BATCH, WIDTH // 2, 2, LENGTH).mT.reshape(BATCH, WIDTH // 2, 2 * LENGTH)


def rows(x):
    return x.reshape(-1, WIDTH)


FUNCTIONS = [
    same("relu", slower=WAKING), same("gelu", slower=WAKING), same("silu"), same("mish"),
    same("elu", slower=SCALAR),
    same("leaky_relu"), same("glu"),
    same("gelu_tanh", lambda t, z: t.nn.functional.gelu(z, approximate="tanh")),
    same("tanh", lambda t, z: t.tanh(z)), same("sigmoid", lambda t, z: t.sigmoid(z)),
    same("softplus"),
    same("softmax", lambda t, z: z.softmax(-1), slower=WAKING),
    same("log_softmax", lambda t, z: z.log_softmax(-1), slower=WAKING),
    Function("logsumexp", SEQUENCES, lambda m, x: m.logsumexp(x, -1), lambda t, z: z.logsumexp(-1)),
    Function("dropout", SEQUENCES, lambda m, x: m.dropout(x, 0.1),
             lambda t, z: t.nn.functional.dropout(z, 0.1)),
    Function("cross_entropy", SEQUENCES, lambda m, x: m.cross_entropy(x, LABELS),
             lambda t, z: t.nn.functional.cross_entropy(rows(z), t.from_numpy(LABELS.ravel())),
             WAKING),
    Function("cross_entropy, smoothed", SEQUENCES,
             lambda m, x: m.cross_entropy(x, LABELS, label_smoothing=0.1),
             lambda t, z: t.nn.functional.cross_entropy(
                 rows(z), t.from_numpy(LABELS.ravel()), label_smoothing=0.1)),
    Function("binary_cross_entropy_with_logits", SEQUENCES,
             lambda m, x: m.binary_cross_entropy_with_logits(x, SEQUENCES),
             lambda t, z: t.nn.functional.binary_cross_entropy_with_logits(
                 z, t.from_numpy(SEQUENCES))),
    Function("mse_loss", SEQUENCES, lambda m, x: m.mse_loss(x, SEQUENCES),
             lambda t, z: t.nn.functional.mse_loss(z, t.from_numpy(SEQUENCES))),
    Function("top_k", SEQUENCES, lambda m, x: m.top_k(x, 8)[0], lambda t, z: z.topk(8)[0],
             SORTING),
    Function("masked_fill", SEQUENCES, lambda m, x: m.masked_fill(x, MASK, 0.0),
             lambda t, z: z.masked_fill(t.from_numpy(MASK), 0.0)),
    Function("segment_sum", SEQUENCES, lambda m, x: m.segment_sum(rows(x), SEGMENTS, 100),
             lambda t, z: t.zeros(100, WIDTH).index_add(0, t.from_numpy(SEGMENTS), rows(z)),
             WAKING),
    pool("avg_pool1d", 2, values=SEQUENCES), pool("max_pool1d", 2, values=SEQUENCES),
    pool("avg_pool2d", 2), pool("avg_pool2d", 3, 2, 1),
    pool("max_pool2d", 2), pool("max_pool2d", 3, 2, 1), pool("adaptive_avg_pool2d", 3),
    Function("upsample_nearest", IMAGES, lambda m, x: m.upsample_nearest(x, 2),
             lambda t, z: t.nn.functional.interpolate(z, scale_factor=2), first=True),
    Function("pixel_shuffle, along time", SEQUENCES, lambda m, x: m.pixel_shuffle(x, 2), shuffled,
             first=True),
    Function("pixel_shuffle", IMAGES, lambda m, x: m.pixel_shuffle(x, 2),
             lambda t, z: t.nn.functional.pixel_shuffle(z, 2), first=True),
]  # fmt: skip
SLOWER = {row.title or row.name: row.slower for row in LAYERS} | {
    row.name: row.slower for row in FUNCTIONS
}


def outputs(results):
    """What a layer returns, without its state."""
    while isinstance(results, tuple):
        results = results[0]
    return results


def minae():
    import minae
    from minae import Tensor, nn, optim

    optim.SGD([minae.tensor([0.0], requires_grad=True)], 0.1)

    def work(values, function, parameters=()):
        x = Tensor(values, requires_grad=values.dtype.kind == "f")
        sources = [*([x] if x.requires_grad else []), *parameters]
        seed = np.ones(outputs(function(x)).shape, "float32")
        return lambda: minae.grad(outputs(function(x)), sources, seed)

    works = {}
    for row in LAYERS:
        layer = getattr(nn, row.name)(*row.arguments, **row.options)
        call = lambda x, row=row, layer=layer: row.ours_call(layer, x)  # noqa: E731
        works[row.title or row.name] = work(row.values, call, layer.parameters())
    for row in FUNCTIONS:
        works[row.name] = work(row.values, lambda x, row=row: row.ours(minae, x))
    return works


def reference():
    os.environ["MINAE_KERNELS"] = "reference"
    return minae()


def pytorch():
    import torch

    def work(values, first, function, parameters=()):
        values = np.ascontiguousarray(np.moveaxis(values, -1, 1)) if first else values
        z = torch.tensor(values)
        sources = [*([z.requires_grad_()] if z.is_floating_point() else []), *parameters]
        seed = torch.ones_like(outputs(function(z)))
        return lambda: torch.autograd.grad(outputs(function(z)), sources, seed)

    works = {}
    for row in LAYERS:
        layer = getattr(torch.nn, row.name)(*row.arguments, **row.options, **row.theirs)
        call = lambda z, row=row, layer=layer: row.their_call(torch, layer, z)  # noqa: E731
        works[row.title or row.name] = work(row.values, row.first, call, list(layer.parameters()))
    for row in FUNCTIONS:
        works[row.name] = work(row.values, row.first, lambda z, row=row: row.theirs(torch, z))
    return works


CONTENDERS = {"minae": minae, "torch": pytorch, "minae without Numba": reference}


def tables(figures):
    """A row for each, and why ours is slower where it is."""
    head = ["layer", "minae", "torch / minae", "minae without Numba / minae", "slower, because"]
    lines = []
    for name, row in figures.items():
        ratios = [over(row[peer], row["minae"]) for peer in ("torch", "minae without Numba")]
        slower = sorted(ratios[0])[len(ratios[0]) // 2] < 1
        reason = SLOWER[name] if slower else ""
        lines.append([name, duration(row["minae"]), *map(spread, ratios), reason])
    return table(head, lines)


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
