"""Layers and functions, forward and backward

    python benchmarks/layers.py

Batch 32, width 128: sequences of 64 positions (32, 64, 128) or images of 8 x 8 (32, 8, 8, 128),
float32, two threads. Inside the clock: one forward pass that records its graph, and the gradient of
the input and of every parameter. PyTorch is given its own layout. Where minae is slower, the last
column says why.
"""

import os
from functools import partial

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

# What is named alike in both: name -> (input, arguments). Layers first, then functions.
LAYERS = {
    "Linear": (SEQUENCES, (WIDTH, WIDTH)),
    "Conv1d": (SEQUENCES, (WIDTH, WIDTH, 3, 1, 1)),
    "ConvTranspose1d": (SEQUENCES, (WIDTH, WIDTH, 4, 2, 1)),
    "Conv2d": (IMAGES, (WIDTH, WIDTH, 3, 1, 1)),
    "ConvTranspose2d": (IMAGES, (WIDTH, WIDTH, 4, 2, 1)),
    "BatchNorm1d": (SEQUENCES, (WIDTH,)),
    "BatchNorm2d": (IMAGES, (WIDTH,)),
    "InstanceNorm1d": (SEQUENCES, (WIDTH,)),
    "InstanceNorm2d": (IMAGES, (WIDTH,)),
    "GroupNorm": (IMAGES, (8, WIDTH)),
    "LayerNorm": (SEQUENCES, (WIDTH,)),
    "RMSNorm": (SEQUENCES, (WIDTH,)),
    "LSTM": (SEQUENCES, (WIDTH, WIDTH)),
    "GRU": (SEQUENCES, (WIDTH, WIDTH)),
    "LSTMCell": (ROWS, (WIDTH, WIDTH)),
    "GRUCell": (ROWS, (WIDTH, WIDTH)),
    "Embedding": (CODES, (1000, WIDTH)),
}
REASONS = {}


# --- minae ------------------------------------------------------------------------------------


def minae():
    import minae
    from minae import Tensor, nn

    def work(values, function, parameters=()):
        x = Tensor(values, requires_grad=values.dtype.kind == "f")
        sources = [*([x] if x.requires_grad else []), *parameters]
        seed = [None]

        def call():
            y = function(x)
            if seed[0] is None:
                seed[0] = np.ones(y.shape, "float32")
            minae.grad(y, sources, seed[0])

        return call

    def first(results):
        while isinstance(results, tuple):
            results = results[0]
        return results

    works = {}
    for name, (values, arguments) in LAYERS.items():
        layer = getattr(nn, name)(*arguments)
        works[name] = work(values, lambda x, f=layer: first(f(x)), layer.parameters())
    reflect = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1, padding_mode="reflect")
    works["Conv2d, reflected"] = work(IMAGES, reflect, reflect.parameters())
    both = nn.LSTM(WIDTH, WIDTH, bidirectional=True)
    works["LSTM, both ways, lengths"] = work(
        SEQUENCES, lambda x: both(x, lengths=LENGTHS)[0], both.parameters()
    )
    heads = nn.MultiheadAttention(WIDTH, 8)
    works["MultiheadAttention"] = work(SEQUENCES, heads, heads.parameters())
    works["MultiheadAttention, causal"] = work(
        SEQUENCES, lambda x: heads(x, causal=True), heads.parameters()
    )
    functions = {
        "dropout": lambda x: minae.dropout(x, 0.1), "softmax": minae.softmax,
        "log_softmax": minae.log_softmax, "logsumexp": lambda x: minae.logsumexp(x, -1),
        "cross_entropy": lambda x: minae.cross_entropy(x, LABELS),
        "cross_entropy, smoothed": lambda x: minae.cross_entropy(x, LABELS, label_smoothing=0.1),
        "binary_cross_entropy_with_logits":
            lambda x: minae.binary_cross_entropy_with_logits(x, SEQUENCES),
        "mse_loss": lambda x: minae.mse_loss(x, SEQUENCES),
        "relu": minae.relu, "gelu": minae.gelu, "gelu_tanh": minae.gelu_tanh, "silu": minae.silu,
        "elu": minae.elu, "tanh": minae.tanh, "sigmoid": minae.sigmoid, "glu": minae.glu,
        "avg_pool1d": lambda x: minae.avg_pool1d(x, 2),
        "max_pool1d": lambda x: minae.max_pool1d(x, 2),
        "pixel_shuffle 1-d": lambda x: minae.pixel_shuffle(x, 2),
        "top_k": lambda x: minae.top_k(x, 8)[0],
        "masked_fill": lambda x: minae.masked_fill(x, MASK, 0.0),
        "segment_sum":
            lambda x: minae.segment_sum(x.reshape(-1, WIDTH), SEGMENTS, 100),
    }
    on_images = {
        "avg_pool2d": lambda x: minae.avg_pool2d(x, 2),
        "avg_pool2d, overlapping": lambda x: minae.avg_pool2d(x, 3, 2, 1),
        "max_pool2d": lambda x: minae.max_pool2d(x, 2),
        "max_pool2d, overlapping": lambda x: minae.max_pool2d(x, 3, 2, 1),
        "adaptive_avg_pool2d": lambda x: minae.adaptive_avg_pool2d(x, 3),
        "upsample_nearest": lambda x: minae.upsample_nearest(x, 2),
        "pixel_shuffle 2-d": lambda x: minae.pixel_shuffle(x, 2),
    }
    works |= {name: work(SEQUENCES, function) for name, function in functions.items()}
    return works | {name: work(IMAGES, function) for name, function in on_images.items()}


MASK = SEQUENCES > 1


def reference():
    os.environ["MINAE_KERNELS"] = "reference"
    return minae()


# --- PyTorch ----------------------------------------------------------------------------------

FIRST = ("Conv", "BatchNorm", "InstanceNorm", "GroupNorm")


def pytorch():
    import torch
    import torch.nn.functional as F
    from torch import nn

    def work(values, function, parameters=()):
        z = torch.tensor(values)
        sources = [*([z.requires_grad_()] if z.is_floating_point() else []), *parameters]
        seed = torch.ones_like(function(z))
        return lambda: torch.autograd.grad(function(z), sources, seed)

    def first(results):
        while isinstance(results, tuple):
            results = results[0]
        return results

    def channels_first(values):
        return np.ascontiguousarray(np.moveaxis(values, -1, 1))

    works = {}
    for name, (values, arguments) in LAYERS.items():
        options = {"batch_first": True} if name in ("LSTM", "GRU") else {}
        layer = getattr(nn, name)(*arguments, **options)
        given = channels_first(values) if name.startswith(FIRST) else values
        works[name] = work(given, lambda x, f=layer: first(f(x)), list(layer.parameters()))
    reflect = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1, padding_mode="reflect")
    works["Conv2d, reflected"] = work(channels_first(IMAGES), reflect, list(reflect.parameters()))
    both = nn.LSTM(WIDTH, WIDTH, bidirectional=True, batch_first=True)

    def packed(x):
        sequences = nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
        )
        return nn.utils.rnn.pad_packed_sequence(both(sequences)[0], True, total_length=LENGTH)[0]

    works["LSTM, both ways, lengths"] = work(SEQUENCES, packed, list(both.parameters()))
    heads = nn.MultiheadAttention(WIDTH, 8, batch_first=True)
    works["MultiheadAttention"] = work(
        SEQUENCES, lambda x: heads(x, x, x, need_weights=False)[0], list(heads.parameters())
    )
    causal = nn.Transformer.generate_square_subsequent_mask(LENGTH)
    works["MultiheadAttention, causal"] = work(
        SEQUENCES,
        lambda x: heads(x, x, x, need_weights=False, attn_mask=causal, is_causal=True)[0],
        list(heads.parameters()),
    )
    labels, target, mask = map(torch.tensor, (LABELS.ravel(), SEQUENCES, MASK))
    segments = torch.tensor(SEGMENTS)
    functions = {
        "dropout": lambda x: F.dropout(x, 0.1), "softmax": lambda x: F.softmax(x, -1),
        "log_softmax": lambda x: F.log_softmax(x, -1), "logsumexp": lambda x: x.logsumexp(-1),
        "cross_entropy": lambda x: F.cross_entropy(x.view(-1, WIDTH), labels),
        "cross_entropy, smoothed":
            lambda x: F.cross_entropy(x.view(-1, WIDTH), labels, label_smoothing=0.1),
        "binary_cross_entropy_with_logits":
            lambda x: F.binary_cross_entropy_with_logits(x, target),
        "mse_loss": lambda x: F.mse_loss(x, target),
        "relu": F.relu, "gelu": F.gelu, "gelu_tanh": partial(F.gelu, approximate="tanh"),
        "silu": F.silu, "elu": F.elu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "glu": F.glu,
        "top_k": lambda x: x.topk(8)[0], "masked_fill": lambda x: x.masked_fill(mask, 0.0),
        "segment_sum":
            lambda x: torch.zeros(100, WIDTH).index_add(0, segments, x.view(-1, WIDTH)),
    }
    along_time = {
        "avg_pool1d": lambda x: F.avg_pool1d(x, 2), "max_pool1d": lambda x: F.max_pool1d(x, 2),
        "pixel_shuffle 1-d": lambda x: x.reshape(BATCH, WIDTH // 2, 2, LENGTH).mT.reshape(
            BATCH, WIDTH // 2, -1),
    }
    on_images = {
        "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
        "avg_pool2d, overlapping": lambda x: F.avg_pool2d(x, 3, 2, 1),
        "max_pool2d": lambda x: F.max_pool2d(x, 2),
        "max_pool2d, overlapping": lambda x: F.max_pool2d(x, 3, 2, 1),
        "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 3),
        "upsample_nearest": lambda x: F.interpolate(x, scale_factor=2),
        "pixel_shuffle 2-d": lambda x: F.pixel_shuffle(x, 2),
    }
    works |= {name: work(SEQUENCES, function) for name, function in functions.items()}
    works |= {name: work(channels_first(SEQUENCES), f) for name, f in along_time.items()}
    return works | {name: work(channels_first(IMAGES), f) for name, f in on_images.items()}


CONTENDERS = {"minae": minae, "torch": pytorch, "minae without Numba": reference}


def tables(figures):
    """A row for each layer, and why ours is slower where it is."""
    head = ["layer", "minae", "torch / minae", "minae without Numba / minae", "slower, because"]
    rows = []
    for name, row in figures.items():
        ratios = [over(row[peer], row["minae"]) for peer in ("torch", "minae without Numba")]
        slower = sorted(ratios[0])[len(ratios[0]) // 2] < 1
        rows.append([name, duration(row["minae"]), *map(spread, ratios),
                     REASONS.get(name, "") if slower else ""])
    return table(head, rows)


if __name__ == "__main__":
    main(__doc__, CONTENDERS, tables)
