"""What a GPU must compute as a CPU does: every op, function, layer and kernel, and its gradients.

The same seeds give every process the same inputs, so that the results of two backends can be held
against each other. Sizes meet several blocks of a kernel, and what remains beside them.
"""

import zlib
from functools import partial

import numpy as np

import minae as m
from minae import Tensor, kernels, nn, ops, seq, vq
from minae.backend import asarray, asnumpy
from minae.functional import loss
from minae.seq import BinaryTrees, chart, semirings, tree_lstm

GRID = ops.Grid
SHAPE = (13, 7, 371)  # of elementwise work: 33,761 entries
ROWS = {"7": (4099, 7), "1000": (67, 1000), "70000": (3, 70000)}  # the entries of each row
IMAGES, WIDE = (3, 14, 14, 32), (2, 9, 8, 64)
SEQUENCES = (5, 33, 64)
FOREST = seq.Forest([seq.right_branching(9), seq.balanced(70), seq.left_branching(1)])


# --- Inputs: a shape, of normal numbers, or a function of a generator ----------------------------


def positive(*shape):
    return lambda rng: rng.uniform(0.5, 2, shape)


def negative(*shape):
    return lambda rng: -rng.uniform(0.1, 2, shape)


def codes(high, *shape):
    return lambda rng: rng.integers(0, high, shape)


def halves(*shape):
    """Integers and a half, whose sums are exact."""
    return lambda rng: rng.integers(-3, 4, shape) + 0.5


def whole(*shape):
    """Integers, whose products with the like are exact: no sum is 0 for one machine alone."""
    return lambda rng: rng.integers(-3, 4, shape) + 0.0


def near(count, dims, codewords):
    """Vectors, each near some codeword, and the codebook."""
    book = np.random.default_rng(0).standard_normal((codewords, dims))

    def vectors(rng):
        return book[rng.integers(codewords, size=count)] + 0.5 * rng.standard_normal((count, dims))

    return [vectors, lambda rng: book]


def spoiled(rng):
    """Vectors of which some have an entry that is no number."""
    z = rng.standard_normal((999, 64))
    return np.where(z < 3, z, np.nan)


def of_trees(function):
    """``function(scores of cells, levels)`` of the chart of all binary trees."""

    def call(x, *values):
        trees = BinaryTrees(x, [21, 20, 0, 1, 7])
        return function(*values, trees.cells, levels=trees.levels)

    return call


TREES, CELLS = (5, 21, 21), (5, 1 + 21 * 21 + 22 + 1)


# --- The table: {name, and what is special: (inputs, function)} ----------------------------------

KINKED = "abs relu sign"
SMOOTH = """cos elu erf exp expm1 gelu gelu_tanh mish neg sigmoid silu sin softplus tanh
    leaky_relu"""
OPS = {
    **{name: ([SHAPE], getattr(ops, name)) for name in f"{KINKED} {SMOOTH}".split()},
    **{name: ([positive(*SHAPE)], getattr(ops, name)) for name in ("log", "log1p", "sqrt")},
    **{name: ([SHAPE] * 2, getattr(ops, name))
       for name in ("add", "sub", "mul", "gate", "maximum", "minimum")},
    **{f"{name}, broadcast": ([(13, 1, 371), (7, 1)], getattr(ops, name))
       for name in ("add", "sub", "mul", "gate", "maximum", "minimum")},
    **{f"{name}, {kind} of {length}": ([shape], partial(getattr(ops, name), axis=axis))
       for name in ("sum", "max", "min", "logsumexp", "softmax", "log_softmax")
       for length, shape in ROWS.items() for kind, axis in (("rows", 1), ("columns", 0))},
    **{f"standardize, rows of {length}": ([shape], partial(ops.standardize, axis=1, eps=1e-5))
       for length, shape in ROWS.items()},
    **{f"{name}_gradient, rows of {length}": ([shape] * 2, getattr(ops, f"{name}_gradient"))
       for name in ("softmax", "log_softmax") for length, shape in ROWS.items()},
    **{f"standardize_gradient, rows of {length}": ([shape] * 2,
       partial(ops.standardize_gradient, axis=1, eps=1e-5)) for length, shape in ROWS.items()},
    **{f"cross_entropy, rows of {length}": ([shape, codes(7, shape[0])],
       lambda x, y: ops.cross_entropy(x, labels=y)) for length, shape in ROWS.items()},
    **{f"cross_entropy_gradient, rows of {length}": ([(shape[0],), shape, codes(7, shape[0])],
       lambda u, x, y: ops.cross_entropy_gradient(u, x, labels=y))
       for length, shape in ROWS.items()},
    "log1mexp": ([negative(*SHAPE)], ops.log1mexp),
    "div": ([positive(*SHAPE)] * 2, ops.div),
    "pow": ([positive(*SHAPE)] * 2, ops.pow),
    "div, broadcast": ([positive(13, 1, 371), positive(7, 1)], ops.div),
    "pow, broadcast": ([positive(13, 1, 371), positive(7, 1)], ops.pow),
    "where": ([SHAPE] * 3, lambda c, x, y: ops.where(c.array > 0, x, y)),
    "clip": ([SHAPE], lambda x: ops.clip(x, low=-1.0, high=0.5)),
    "astype": ([SHAPE], lambda x: ops.astype(x, dtype="float64")),
    "bounded_log": ([positive(*SHAPE)], loss.bounded_log),
    **{name: ([TREES], of_trees(getattr(chart, name)))
       for name in ("log_partition", "marginals", "entropy", "best_score", "best_parts")},
    "covariance": ([TREES, CELLS], of_trees(chart.covariance)),
    "straight_through": ([SHAPE] * 2, lambda x, y: vq.straight_through(x, y.detach())),
    "reverse_gradient": ([SHAPE], lambda x: m.reverse_gradient(x * x, 0.5)),
    "sum, of all": ([SHAPE], ops.sum),
    "sum, of two axes": ([SHAPE], lambda x: ops.sum(x, axis=(0, 2))),
    "standardize, channels": ([IMAGES], lambda x: ops.standardize(x, axis=(0, 1, 2), eps=1e-5)),
    "cumsum": ([(67, 1000)], lambda x: ops.cumsum(x, axis=1)),
    "cumsum, columns": ([(300, 130)], lambda x: ops.cumsum(x, axis=0)),
    "reshape": ([SHAPE], lambda x: ops.reshape(x, shape=(7, 13, 371))),
    "transpose": ([SHAPE], lambda x: ops.transpose(x, axes=(2, 0, 1))),
    "swapaxes": ([SHAPE], lambda x: ops.swapaxes(x, first=0, second=2)),
    "broadcast_to": ([(7, 1)], lambda x: ops.broadcast_to(x, shape=SHAPE)),
    "sum_to": ([SHAPE], lambda x: ops.sum_to(x, shape=(7, 1))),
    "flip": ([SHAPE], lambda x: ops.flip(x, axis=2)),
    "getitem, slices": ([SHAPE], lambda x: x[2:11:3, ..., ::-1]),
    "getitem, codes": ([(1000, 64), codes(1000, 5, 99)], lambda x, i: x[i]),
    "scatter_add": ([(5, 99, 64), codes(1000, 5, 99)],
        lambda x, i: ops.scatter_add(x, index=ops.plain_index(i), shape=(1000, 64))),
    "pad": ([SHAPE], lambda x: ops.pad(x, width=((1, 2), (0, 1), (3, 0)), value=-1.5)),
    "concatenate": ([(13, 7, 3), (13, 7, 371)], lambda *xs: ops.concatenate(*xs, axis=2)),
    "stack": ([SHAPE] * 3, lambda *xs: ops.stack(*xs, axis=1)),
    **{f"{name}_gradient": ([SHAPE] * 2, getattr(ops, f"{name}_gradient"))
       for name in ("gelu", "gelu_tanh")},
    "layer_norm": ([(67, 1000), (1000,), (1000,)], ops.layer_norm),
    "attention": ([(2, 4, 33, 16), (2, 4, 70, 16), (2, 4, 70, 24)], ops.attention),
    "attention, causal": ([(2, 4, 33, 16), (2, 4, 70, 16), (2, 4, 70, 24)],
        partial(ops.attention, causal=True)),
    "self_attention": ([(5, 33, 192)], partial(ops.self_attention, heads=4)),
    "self_attention, causal, masked": ([(5, 33, 192)], lambda x: ops.self_attention(
        x, heads=4, mask=asarray(np.arange(33) < 30), causal=True)),
    "affine": ([(5, 33, 64), (64, 130), (130,)], ops.affine),
    "matmul": ([(129, 301), (301, 67)], ops.matmul),
    "matmul, batched": ([(5, 1, 33, 64), (3, 64, 17)], ops.matmul),
    "matmul, a vector": ([(129, 301), (301,)], ops.matmul),
    "einsum": ([(5, 33, 64), (5, 17, 64)], lambda x, y: m.einsum("bid,bjd->bij", x, y)),
    "einsum, three": ([(33,), (17,), (33, 17)], lambda *xs: m.einsum("a,b,ab->", *xs)),
    "conv2d, to 32": ([(3, 28, 28, 1), (4, 4, 1, 32), (32,)],
        lambda *xs: ops.conv2d(*xs, grid=GRID((2, 2), (1, 1)))),
    "conv2d, strided": ([IMAGES, (4, 4, 32, 64), (64,)],
        lambda *xs: ops.conv2d(*xs, grid=GRID((2, 2), (1, 1)))),
    "conv2d, 3x3": ([(3, 7, 7, 64), (3, 3, 64, 64), (64,)],
        lambda *xs: ops.conv2d(*xs, grid=GRID((1, 1), (1, 1)))),
    "conv2d, 1x1": ([(3, 7, 7, 32), (1, 1, 32, 64), (64,)],
        lambda *xs: ops.conv2d(*xs, grid=GRID())),
    "conv2d, dilated, in groups": ([WIDE, (3, 2, 16, 36), (36,)],
        lambda *xs: ops.conv2d(*xs, grid=GRID((2, 1), (2, 1), (2, 3), 4))),
    "conv2d, odd sizes": ([(3, 11, 5, 3), (3, 3, 3, 7), (7,)],
        lambda *xs: ops.conv2d(*xs, grid=GRID((1, 1), (0, 2)))),
    "conv2d_relu": ([whole(3, 14, 14, 32), whole(4, 4, 32, 64), halves(64)],
        lambda *xs: ops.conv2d(*xs, grid=GRID((2, 2), (1, 1)), relu=True)),
    "conv2d_input, strided": ([(3, 7, 7, 64), (4, 4, 32, 64), (32,)],
        lambda *xs: ops.conv2d_input(*xs, size=(14, 14), grid=GRID((2, 2), (1, 1)))),
    "conv2d_input, to 1": ([(3, 14, 14, 32), (4, 4, 1, 32), (1,)],
        lambda *xs: ops.conv2d_input(*xs, size=(28, 28), grid=GRID((2, 2), (1, 1)))),
    "conv2d_input, 3x3": ([(3, 7, 7, 64), (3, 3, 64, 64), (64,)],
        lambda *xs: ops.conv2d_input(*xs, size=(7, 7), grid=GRID((1, 1), (1, 1)))),
    "conv2d_input_relu": ([whole(3, 7, 7, 64), whole(4, 4, 32, 64), halves(32)],
        lambda *xs: ops.conv2d_input(*xs, size=(14, 14), grid=GRID((2, 2), (1, 1)), relu=True)),
    "conv2d_weight, strided": ([IMAGES, (3, 7, 7, 64)],
        lambda *xs: ops.conv2d_weight(*xs, size=(4, 4), grid=GRID((2, 2), (1, 1)))),
    "conv2d_weight, 1x1": ([(3, 7, 7, 64), (3, 7, 7, 32)],
        lambda *xs: ops.conv2d_weight(*xs, size=(1, 1), grid=GRID())),
    "sum_windows": ([IMAGES], lambda x: ops.sum_windows(x, axis=1, size=3, stride=2)),
    "max_windows": ([IMAGES], lambda x: ops.max_windows(x, axis=2, size=3, stride=1)),
    "spread_windows": ([(3, 6, 14, 32)],
        lambda x: ops.spread_windows(x, axis=1, size=3, stride=2, length=14)),
    "take_windows": ([IMAGES, codes(3, 3, 6, 14, 32)],
        lambda x, i: ops.take_windows(x, picks=i, axis=1, size=3, stride=2)),
    "put_windows": ([(3, 6, 14, 32), codes(3, 3, 6, 14, 32)],
        lambda x, i: ops.put_windows(x, picks=i, axis=1, size=3, stride=2, length=14)),
    "lstm": ([(9, 5, 132), (33, 132), (5, 33), (5, 33)], ops.lstm),
    "gru": ([(9, 5, 99), (33, 99), (99,), (5, 33)], ops.gru),
    "child_sum_tree_lstm": ([(len(FOREST), 132), (33, 132)],
        partial(tree_lstm.child_sum_tree_lstm, levels=FOREST.levels)),
    "nary_tree_lstm": ([(len(FOREST), 132), (66, 165)],
        partial(tree_lstm.nary_tree_lstm, levels=FOREST.levels)),
}  # fmt: skip


def dropped(x, y):
    """Where dropout kept an entry, what it made of it; how many it kept, roughly. (Which ones is
    the affair of each backend's own generator.)"""
    kept = (y.array != 0).astype("float32")
    return (y - x / (1 - 0.3)) * kept, np.round(float(kept.mean()), 1)


SQUARE = (129, 130)
FUNCTIONS = {
    **{name: ([SEQUENCES], getattr(m, name)) for name in ("log_sigmoid", "selu")},
    **{f"{name}, {how}": ([(67, 1000)], partial(getattr(m, name), axis=axis))
       for name in ("mean", "var", "std", "norm", "sort")
       for how, axis in (("rows", -1), ("columns", 0))},
    "glu": ([SEQUENCES], m.glu),
    "attention": ([(2, 4, 33, 16)] * 2 + [(2, 4, 33, 24)],
        lambda q, k, v: m.attention(q, k, v, m.causal_mask(33))),
    "attention, causal": ([(2, 4, 33, 16)] * 2 + [(2, 4, 33, 24)],
        lambda q, k, v: m.attention(q, k, v, causal=True)),
    "causal_mask": ([], lambda: asarray(m.causal_mask(33, 40))),
    "conv1d": ([SEQUENCES, (3, 32, 48), (48,)],
        lambda *xs: m.conv1d(*xs, stride=2, padding=1, dilation=2, groups=2)),
    "conv2d": ([IMAGES, (3, 3, 32, 64), (64,)], lambda *xs: m.conv2d(*xs, padding=1)),
    "conv_transpose1d": ([SEQUENCES, (4, 32, 64), (32,)],
        lambda *xs: m.conv_transpose1d(*xs, stride=2, padding=1)),
    "conv_transpose2d": ([(3, 7, 7, 64), (4, 4, 16, 64), (32,)], lambda *xs: m.conv_transpose2d(
        *xs, stride=2, padding=1, output_padding=1, groups=2)),
    "reflect_pad": ([SEQUENCES], lambda x: m.reflect_pad(x, [(0, 0), (3, 2), (1, 1)])),
    "checkpoint": ([SQUARE, (130, 130)],
        lambda x, w: m.checkpoint(lambda x, w: m.tanh(x @ w / 11) * x, x, w)),
    "stop_gradient": ([SEQUENCES], lambda x: x * m.stop_gradient(x * x)),
    "reverse_gradient": ([SEQUENCES], lambda x: m.reverse_gradient(x * x, 0.5)),
    "binary_cross_entropy": ([SQUARE] * 2, lambda x, y: m.binary_cross_entropy(
        m.sigmoid(x), m.sigmoid(y))),
    "binary_cross_entropy_with_logits": ([SQUARE, positive(*SQUARE)],
        lambda x, y: m.binary_cross_entropy_with_logits(x, y / 2)),
    "cosine_similarity": ([SQUARE] * 2, m.cosine_similarity),
    "cross_entropy": ([(67, 1000), codes(1000, 67)], m.cross_entropy),
    "cross_entropy, smoothed": ([(4099, 7), codes(7, 4099)],
        lambda x, y: m.cross_entropy(x, y, label_smoothing=0.1)),
    "huber_loss": ([SQUARE] * 2, lambda x, y: m.huber_loss(x, y, 0.7)),
    "kl_div": ([SQUARE] * 2, lambda x, y: m.kl_div(m.log_softmax(x), m.softmax(y))),
    "l1_loss": ([SQUARE] * 2, m.l1_loss),
    "mse_loss": ([SEQUENCES] * 2, m.mse_loss),
    "nll_loss": ([SQUARE, positive(130), codes(130, 129)], lambda x, w, y: m.nll_loss(
        m.log_softmax(x), y, weight=w, label_smoothing=0.1)),
    "embedding": ([(1000, 64), codes(1000, 5, 99)], m.embedding),
    "linear": ([SEQUENCES, (64, 130), (130,)], m.linear),
    "dropout": ([SEQUENCES], lambda x: dropped(x, m.dropout(x, 0.3))),
    "batch_norm": ([IMAGES, (32,), positive(32), (32,), (32,)], m.batch_norm),
    "group_norm": ([IMAGES, (32,), (32,)], lambda x, w, b: m.group_norm(x, 4, w, b)),
    "instance_norm": ([IMAGES, (32,), (32,)], m.instance_norm),
    "layer_norm": ([(67, 1000), (1000,), (1000,)], m.layer_norm),
    "rms_norm": ([(67, 1000), (1000,)], m.rms_norm),
    **{f"{kind}_pool1d": ([SEQUENCES], partial(getattr(m, f"{kind}_pool1d"), kernel=3, stride=2,
       padding=1, ceil_mode=True)) for kind in ("avg", "max")},
    **{f"{kind}_pool2d": ([IMAGES], partial(getattr(m, f"{kind}_pool2d"), kernel=(3, 2),
       stride=(2, 3), padding=1)) for kind in ("avg", "max")},
    **{f"adaptive_{kind}_pool1d": ([SEQUENCES], lambda x, kind=kind: getattr(
       m, f"adaptive_{kind}_pool1d")(x, 7)) for kind in ("avg", "max")},
    **{f"adaptive_{kind}_pool2d": ([IMAGES], lambda x, kind=kind: getattr(
       m, f"adaptive_{kind}_pool2d")(x, (3, 5))) for kind in ("avg", "max")},
    "pixel_shuffle": ([IMAGES], lambda x: m.pixel_shuffle(x, 2)),
    "upsample_nearest": ([IMAGES], lambda x: m.upsample_nearest(x, (2, 3))),
    "index_add": ([(1000, 64), (99, 64), codes(1000, 99)],
        lambda x, y, i: m.index_add(x, i, y)),
    "index_update": ([(1000, 64), (99, 64), codes(1000, 99)],
        lambda x, y, i: m.index_update(x, i, y)),
    "masked_fill": ([SQUARE] * 2, lambda x, y: m.masked_fill(x, y.array > 0, 2.0)),
    "one_hot": ([codes(130, 129)], lambda i: asarray(m.one_hot(i, 130))),
    **{name: ([(999, 64), codes(100, 999)],
       lambda x, i, name=name: getattr(m, name)(x, asarray(np.r_[np.arange(100), asnumpy(i)[100:]]),
                                                100))
       for name in ("segment_max", "segment_mean", "segment_softmax", "segment_sum")},
    "split": ([SQUARE], lambda x: m.concatenate(m.split(x, [1, 70], -1)[::-1], -1)),
    "take_along_axis": ([SQUARE, codes(130, 129, 50)],
        lambda x, i: m.take_along_axis(x, i, -1)),
    "top_k": ([(67, 1000)], lambda x: m.top_k(x, 20)),
}  # fmt: skip


def layer(name, *arguments, **options):
    return partial(getattr(nn, name), *arguments, **options)


def cached(attention, x):
    """Attention in two pieces, the second of which sees the first."""
    cache = nn.KeyValueCache()
    pieces = [attention(part, causal=True, cache=cache) for part in (x[:, :20], x[:, 20:])]
    return m.concatenate(*pieces, axis=1)


def tested(layer, x):
    """A layer in training, and in use after it."""
    layer(x)
    return layer.eval()(x)


LENGTHS = [33, 7, 1, 20, 32]
LAYERS = {  # (how it is made, inputs[, how it is called])
    "Linear": (layer("Linear", 64, 130), [SEQUENCES]),
    "Conv1d": (layer("Conv1d", 64, 48, 3, 2, 1, groups=2), [SEQUENCES]),
    "Conv2d": (layer("Conv2d", 32, 64, 4, 2, 1), [IMAGES]),
    "Conv2d, reflected": (layer("Conv2d", 32, 24, 3, 1, 1, padding_mode="reflect"), [IMAGES]),
    "ConvTranspose1d": (layer("ConvTranspose1d", 64, 48, 4, 2, 1), [SEQUENCES]),
    "ConvTranspose2d": (layer("ConvTranspose2d", 32, 16, 4, 2, 1), [IMAGES]),
    "BatchNorm1d": (layer("BatchNorm1d", 64), [SEQUENCES]),
    "BatchNorm2d": (layer("BatchNorm2d", 32), [IMAGES]),
    "BatchNorm2d, in use": (layer("BatchNorm2d", 32), [IMAGES], tested),
    "InstanceNorm1d": (layer("InstanceNorm1d", 64, affine=True), [SEQUENCES]),
    "InstanceNorm2d": (layer("InstanceNorm2d", 32), [IMAGES]),
    "GroupNorm": (layer("GroupNorm", 8, 32), [IMAGES]),
    "LayerNorm": (layer("LayerNorm", 64), [SEQUENCES]),
    "RMSNorm": (layer("RMSNorm", 64), [SEQUENCES]),
    "LSTM": (layer("LSTM", 64, 33), [SEQUENCES]),
    "LSTM, both ways, lengths": (layer("LSTM", 64, 33, 2, bidirectional=True), [SEQUENCES],
        lambda layer, x: layer(x, lengths=LENGTHS)),
    "GRU": (layer("GRU", 64, 33), [SEQUENCES]),
    "GRU, both ways, lengths": (layer("GRU", 64, 33, 2, bidirectional=True), [SEQUENCES],
        lambda layer, x: layer(x, lengths=LENGTHS)),
    "LSTMCell": (layer("LSTMCell", 64, 33), [(67, 64)]),
    "GRUCell": (layer("GRUCell", 64, 33), [(67, 64)]),
    "MultiheadAttention": (layer("MultiheadAttention", 64, 4), [SEQUENCES]),
    "MultiheadAttention, causal": (layer("MultiheadAttention", 64, 4), [SEQUENCES],
        lambda layer, x: layer(x, causal=True)),
    "MultiheadAttention, of a context": (layer("MultiheadAttention", 64, 4),
        [SEQUENCES, (5, 17, 64)]),
    "TransformerEncoderLayer": (layer("TransformerEncoderLayer", 64, 4, dropout=0), [SEQUENCES]),
    "TransformerDecoderLayer": (layer("TransformerDecoderLayer", 64, 4, dropout=0),
        [SEQUENCES, (5, 17, 64)]),
    "TransformerEncoder": (layer("TransformerEncoder", 2, 64, 4, dropout=0, norm_first=True),
        [SEQUENCES]),
    "TransformerDecoder": (layer("TransformerDecoder", 2, 64, 4, dropout=0),
        [SEQUENCES, (5, 17, 64)]),
    "KeyValueCache": (layer("MultiheadAttention", 64, 4), [SEQUENCES], cached),
    "RelativeBias": (layer("RelativeBias", 4), [], lambda layer: layer(70, 300)),
    "Embedding": (layer("Embedding", 1000, 64), [codes(1000, 5, 99)]),
    "Dropout": (layer("Dropout", 0.3), [SEQUENCES], lambda layer, x: dropped(x, layer(x))),
    "Sequential": (lambda: nn.Sequential(nn.Linear(64, 48), m.tanh, nn.Linear(48, 7)),
        [SEQUENCES]),
    "VectorQuantizer": (lambda: vq.VectorQuantizer(100, 64, init="random", revive=0),
        [SEQUENCES], lambda layer, x: tuple(layer(x))),
    "VectorQuantizerEMA": (lambda: vq.VectorQuantizerEMA(100, 64, init="random", revive=0),
        [SEQUENCES], lambda layer, x: tuple(layer(x))),
}  # fmt: skip


def changed(update, count):
    """What an optimizer's step makes of its arrays: a parameter, its gradient, and ``count``."""

    def call(*arrays):
        update(*arrays)
        return (arrays[0], *arrays[2:])

    return [(33, 371)] * 2 + [positive(33, 371)] * count, call


def drawn(name, dtype):
    """Numbers of a counter-based generator, which are every backend's alike."""
    def call():
        state = asarray(np.array([1234567, 5], "uint64"))
        return (*(getattr(kernels, name)(state, n, dtype) for n in (1, 4099)), state)

    return [], call


def flagged(x):
    word = asarray(np.zeros(1, "int64"))
    for number, bad in enumerate((x > 100, x > 2, x < -2)):
        kernels.flag(word, bad, number + 1)
    return word


KERNELS = {  # of arrays, without gradients
    "nearest": (near(999, 64, 1000), kernels.nearest),
    "nearest, 512 codewords": (near(5000, 64, 512), kernels.nearest),
    "nearest, noise": ([(777, 64), (1000, 64)], kernels.nearest),
    "nearest, odd sizes": (near(257, 19, 77), kernels.nearest),
    "nearest, wide": (near(130, 300, 130), kernels.nearest),
    "nearest, narrow": (near(3001, 3, 8192), kernels.nearest),
    "nearest, ties": ([codes(3, 999, 8), codes(3, 500, 8)],
        lambda z, e: kernels.nearest(z.astype("float32"), e.astype("float32"))),
    "nearest, masked": ([spoiled, (1000, 64)], partial(kernels.nearest, nonfinite="mask")),
    "prepare": (near(999, 64, 1000), lambda z, e: kernels.nearest(z, kernels.prepare(e))),
    "scatter_sum": ([(6272, 64), codes(512, 6272)], partial(kernels.scatter_sum, count=512)),
    "scatter_sum, few codes": ([(9999, 19), codes(3, 9999)],
        partial(kernels.scatter_sum, count=3)),
    "conv2d": ([IMAGES, (4, 4, 32, 64), (64,)],
        partial(kernels.conv2d, stride=(2, 2), padding=(1, 1))),
    "conv2d_input": ([(3, 7, 7, 64), (4, 4, 32, 64), (32,)],
        partial(kernels.conv2d_input, size=(14, 14), stride=(2, 2), padding=(1, 1))),
    "conv2d_weight": ([IMAGES, (3, 7, 7, 64)],
        partial(kernels.conv2d_weight, size=(4, 4), stride=(2, 2), padding=(1, 1))),
    **{name: ([(67, 1000)], getattr(kernels, name)) for name in ("softmax", "log_softmax")},
    **{f"{name}_gradient": ([(67, 1000)] * 2, getattr(kernels, f"{name}_gradient"))
       for name in ("softmax", "log_softmax")},
    "standardize": ([(67, 1000)], partial(kernels.standardize, eps=1e-5)),
    "standardize_gradient": ([(67, 1000)] * 2, partial(kernels.standardize_gradient, eps=1e-5)),
    "cross_entropy": ([(67, 1000), codes(1000, 67)], kernels.cross_entropy),
    "cross_entropy_gradient": ([(67,), (67, 1000), codes(1000, 67)],
        kernels.cross_entropy_gradient),
    "matmul": ([(129, 301), (301, 67)], kernels.matmul),
    "relu": ([SHAPE], kernels.relu),
    "gate": ([SHAPE] * 2, kernels.gate),
    **{name: ([SHAPE], getattr(kernels, name)) for name in ("erf", "gelu", "gelu_tanh")},
    **{f"{name}_gradient": ([SHAPE] * 2, getattr(kernels, f"{name}_gradient"))
       for name in ("gelu", "gelu_tanh")},
    "layer_norm": ([(67, 1000), (1000,), (1000,)], partial(kernels.layer_norm, eps=1e-5)),
    "layer_norm_gradient": ([(67, 1000), (67, 1000), (1000,)],
        partial(kernels.layer_norm_gradient, eps=1e-5)),
    "attention": ([(2, 4, 33, 16), (2, 4, 70, 16), (2, 4, 70, 24)],
        partial(kernels.attention, causal=True)),
    "attention_gradient": ([(2, 4, 33, 24), (2, 4, 33, 16), (2, 4, 70, 16), (2, 4, 70, 24)],
        partial(kernels.attention_gradient, causal=True)),
    "self_attention": ([(5, 33, 192)], partial(kernels.self_attention, heads=4)),
    "self_attention_gradient": ([(5, 33, 64), (5, 33, 192)],
        partial(kernels.self_attention_gradient, heads=4)),
    "lstm": ([(9, 5, 132), (33, 132), (5, 33), (5, 33)], kernels.lstm),
    "lstm_gradient": ([(9, 5, 66), (9, 5, 132), (33, 132), (5, 33), (5, 33), (9, 5, 66)],
        kernels.lstm_gradient),
    "sgd": changed(lambda p, g, v: kernels.sgd(p, g, v, 0.1, 0.9, 0.01, True), 1),
    "sgd, plain": changed(lambda p, g: kernels.sgd(p, g, None, 0.1), 0),
    "adam": changed(lambda p, g, a, b: kernels.adam(
        p, g, a, b, 3, 0.1, (0.9, 0.999), 1e-8, 0.01), 2),
    "uniform": drawn("uniform", "float32"), "uniform, float64": drawn("uniform", "float64"),
    "normal": drawn("normal", "float32"), "normal, float64": drawn("normal", "float64"),
    "flag": ([SHAPE], flagged),
    **{name: ([TREES], of_trees(partial(getattr(kernels, name), semiring=semirings.Log())))
       for name in ("chart_total", "chart_parts")},
}  # fmt: skip
KINDS = {"ops": OPS, "functions": FUNCTIONS, "layers": LAYERS, "kernels": KERNELS}


# --- Their results -------------------------------------------------------------------------------


def names():
    """``kind: name`` of every case."""
    return [f"{kind}: {name}" for kind, cases in KINDS.items() for name in cases]


def kernels_used():
    """The kernels by name; each is a case, too."""
    return [name for name in KERNELS if "," not in name]


def results(case):
    """All that a case gives, as NumPy arrays: values, gradients, and a layer's state after it."""
    kind, name = case.split(": ", 1)
    rng = np.random.default_rng(zlib.crc32(case.encode()))
    m.seed(0)
    found, parameters = KINDS[kind][name], []
    if kind == "layers":
        layer, specs, *call = found[0](), *found[1:]
        parameters = layer.parameters()
        function = partial(call[0], layer) if call else layer
    else:
        specs, function = found
    inputs = [array(rng, spec) for spec in specs]
    if kind == "kernels":
        return [asnumpy(y) for y in flat(function(*inputs))]
    inputs = [Tensor(x, requires_grad=True) if x.dtype.kind == "f" else x for x in inputs]
    outputs = flat(function(*inputs))
    recorded = [y for y in outputs if getattr(y, "requires_grad", False)]
    if recorded:
        sum((y * array(rng, y.shape)).sum() for y in recorded).backward()
    gradients = [g for x in (*inputs, *parameters) if (g := getattr(x, "grad", None)) is not None]
    state = list(layer.state_dict().values()) if kind == "layers" else []
    return [np.asarray(asnumpy(getattr(y, "array", y))) for y in (*outputs, *gradients, *state)]


def array(rng, spec):
    values = spec(rng) if callable(spec) else rng.standard_normal(spec)
    return asarray(values.astype("float32") if values.dtype.kind == "f" else values)


def flat(outputs):
    """Arrays, Tensors and numbers out of tuples."""
    if isinstance(outputs, (tuple, list)):
        return [y for each in outputs for y in flat(each)]
    return [outputs]
