"""Every layer and optimizer against its twin in PyTorch, weights copied and layouts changed.

PyTorch computes in float64 whatever our dtype, so that a difference is minae's alone.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_torch_ops import agree

import minae
from minae import Tensor, nn, optim

torch = pytest.importorskip("torch", reason="PyTorch is an oracle: pip install minae[oracles]")

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}  # of the largest entry, at every order
FLOATS = pytest.mark.parametrize("dtype", TOLERANCE)
TURNED = (nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.MultiheadAttention, nn.Linear)
FILTERS = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}  # the order in which PyTorch has our axes
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


class Twin(NamedTuple):
    """A layer, its counterpart, and the shape of its input, in our layout, or the codes."""

    name: str
    ours: Callable
    theirs: Callable
    input: Any
    sequences: bool = False  # whether PyTorch wants their features first too


# --- The door between the two layouts ------------------------------------------------------------


def axes_of_weights(layer: Any, weight: Any) -> tuple[int, ...] | None:
    """The order in which PyTorch has the axes of our weight; None where it is the same."""
    return FILTERS.get(len(weight.shape)) if type(layer) in TURNED + CONVOLUTIONS else None


def to_torch(values: np.ndarray, axes: tuple | None = None) -> Any:
    z = torch.tensor(values)
    z = z.double() if z.is_floating_point() else z
    return z.permute(axes) if axes and z.ndim == len(axes) else z


def from_torch(z: Any, axes: tuple | None = None) -> Any:
    return z.permute(*np.argsort(axes).tolist()) if axes and z.ndim == len(axes) else z


def features_first(z: Any) -> Any:
    return z.movedim(-1, 1) if z.ndim == 4 and z.is_floating_point() else z


def features_last(z: Any) -> Any:
    return z.movedim(1, -1) if z.ndim == 4 else z


def places(ours: Any, theirs: Any) -> list[tuple]:
    """What we hold, what they hold, and how the axes differ, for each parameter and buffer."""
    counterpart = dict(theirs.named_modules())
    found = []
    for path, layer in ours.named_modules():
        twin = counterpart[path]
        for name, x in vars(layer).items():
            if isinstance(x, (Tensor, minae.backend.ndarray)):
                found.append((x, getattr(twin, name), axes_of_weights(layer, x)))
    kept = [name for name in theirs.state_dict() if not name.endswith("num_batches_tracked")]
    assert sorted(kept) == sorted(ours.state_dict())
    return found


def pair(twin: Twin, dtype: str) -> tuple:
    """Both layers in the same state, away from where scales are 1 and shifts 0."""
    minae.seed(0)
    rng = np.random.default_rng(0)
    ours, theirs = twin.ours().astype(dtype), twin.theirs().double()
    for p in ours.parameters():
        p.data += minae.backend.asarray(0.1 * rng.standard_normal(p.shape), dtype)
    for x, z, axes in places(ours, theirs):
        with torch.no_grad():
            z.copy_(to_torch(np.array(minae.backend.asnumpy(getattr(x, "array", x))), axes))
    return ours, theirs


# --- Layers --------------------------------------------------------------------------------------


def check(twin: Twin, dtype: str, array: Callable, numpy: Callable) -> None:
    """Results, gradients, gradients of a function of the gradients, and what the buffers become."""
    ours, theirs = pair(twin, dtype)
    rng = np.random.default_rng(1)
    codes = isinstance(twin.input, list)
    values = np.array(twin.input) if codes else rng.standard_normal(twin.input).astype(dtype)
    x = array(values) if codes else Tensor(array(values), requires_grad=True)
    z = to_torch(values)
    parameters = [place for place in places(ours, theirs) if isinstance(place[0], Tensor)]
    xs, zs = [p for p, _, _ in parameters], [p for _, p, _ in parameters]
    axes = [each for _, _, each in parameters]
    if not codes:
        xs, zs, axes = [x, *xs], [z.requires_grad_(), *zs], [None, *axes]

    y = ours(x)
    w = theirs(z.mT).mT if twin.sequences else features_last(theirs(features_first(z)))
    assert y.dtype == dtype
    agree(numpy(y), w, TOLERANCE[dtype], "values")

    seed = rng.standard_normal(y.shape).astype(dtype)
    recorded = minae.grad(y, xs, array(seed), create_graph=True)
    expected = torch.autograd.grad(w, zs, to_torch(seed), create_graph=True)
    for i, (p, g, h, each) in enumerate(zip(xs, recorded, expected, axes, strict=True)):
        assert (g.dtype, g.shape) == (p.dtype, p.shape)
        agree(numpy(g), from_torch(h, each), TOLERANCE[dtype], f"gradient {i}")
    for g, h, each in zip(minae.grad(y, xs, array(seed), retain_graph=True), expected, axes):
        agree(numpy(g), from_torch(h, each), TOLERANCE[dtype], "gradient, not recorded")

    slope, their_slope = 0.0, 0.0
    for g, h, each in zip(recorded, expected, axes):
        direction = rng.standard_normal(g.shape).astype(dtype)
        slope = slope + (g * g * array(direction)).sum() + (g * array(direction)).sum()
        h = from_torch(h, each)
        their_slope = their_slope + ((h * h + h) * to_torch(direction)).sum()
    if not slope.requires_grad:  # where the layer is linear in all that has a gradient
        assert not their_slope.requires_grad
        return
    second = torch.autograd.grad(their_slope, zs, materialize_grads=True)
    for i, (g, h, each) in enumerate(zip(minae.grad(slope, xs), second, axes, strict=True)):
        agree(numpy(g), from_torch(h, each), TOLERANCE[dtype], f"second-order gradient {i}")


def same(case: str, shape: tuple, name: str, *args: Any, **options: Any) -> Twin:
    """A layer that takes the same arguments in PyTorch."""
    return Twin(
        f"{name}: {case}", lambda: getattr(nn, name)(*args, **options),
        lambda: getattr(torch.nn, name)(*args, **options), shape, len(shape) == 3,
    )


def conv(case: str, shape: tuple, *args: Any, **options: Any) -> Twin:
    return same(case, shape, f"Conv{len(shape) - 2}d", *args, **options)


def transposed(case: str, shape: tuple, *args: Any, **options: Any) -> Twin:
    return same(case, shape, f"ConvTranspose{len(shape) - 2}d", *args, **options)


class Joined(nn.Module):
    """A layer with what it returns, outputs and states, in one row."""

    def __init__(self, layer: Any, call: Callable) -> None:
        self.layer, self.call = layer, call

    def forward(self, x: Any) -> Any:
        return minae.concatenate([y.flatten() for y in flat(self.call(self.layer, x))])


class TheirJoined(torch.nn.Module):
    def __init__(self, layer: Any, call: Callable) -> None:
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, x: Any) -> Any:
        return torch.cat([y.flatten() for y in flat(self.call(self.layer, x))])


def flat(results: Any) -> list:
    return [y for each in results for y in flat(each)] if isinstance(results, tuple) else [results]


def joined(
    name: str, case: str, shape: tuple, ours: Callable, theirs: Callable, call: Any, their: Any
) -> Twin:
    return Twin(
        f"{name}: {case}", lambda: Joined(ours(), call), lambda: TheirJoined(theirs(), their), shape
    )


def cell(name: str, **options: Any) -> Twin:
    layers = [lambda nn=nn: getattr(nn, name)(3, 4, **options) for nn in (nn, torch.nn)]

    def twice(layer: Any, x: Any) -> Any:
        return layer(x[1], layer(x[0]))  # a second step from the state of the first

    return joined(name, f"{options}", (2, 5, 3), *layers, twice, twice)


def recurrent(
    name: str, case: str, lengths: Any = None, state: bool = False, **options: Any
) -> Twin:
    theirs = {"num_layers" if k == "layers" else k: v for k, v in options.items()}
    shape = (options.get("layers", 1) * (1 + options.get("bidirectional", False)), 4, 2)
    given = np.random.default_rng(5).standard_normal((2, *shape)) if state else None

    def first(x: Any, make: Callable) -> Any:
        if given is None:
            return None
        both = tuple(make(s).astype(x.dtype) if make is minae.tensor else make(s) for s in given)
        return both if name == "LSTM" else both[0]

    def run(layer: Any, x: Any) -> Any:
        return layer(x, first(x, minae.tensor), lengths=lengths)

    def their_run(layer: Any, x: Any) -> Any:
        if lengths is None:
            return layer(x, first(x, torch.tensor))
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
        out, last = layer(packed, first(x, torch.tensor))
        padded = torch.nn.utils.rnn.pad_packed_sequence(out, True, total_length=x.shape[1])
        return padded[0], last

    return joined(
        name, case, (4, 5, 3), lambda: getattr(nn, name)(3, 2, **options),
        lambda: getattr(torch.nn, name)(3, 2, batch_first=True, **theirs), run, their_run,
    )


def multihead(
    case: str, run: Callable, their: Callable, shape: tuple = (2, 3, 4), **options: Any
) -> Twin:
    return joined(
        "MultiheadAttention", case, shape, lambda: nn.MultiheadAttention(4, 2, **options),
        lambda: torch.nn.MultiheadAttention(4, 2, batch_first=True, **options), run,
        lambda layer, x: their(layer, x)[0],
    )


def hidden(mask: Any) -> Any:
    """PyTorch's masks say where not to look."""
    return ~torch.tensor(mask)


def transformer(
    name: str, case: str, run: Callable, their: Callable, activation: str = "relu",
    norm_first: bool = False,
) -> Twin:
    """A layer, or a stack of two, with 4 features, 2 heads and 6 inner features."""
    count = () if name.endswith("Layer") else (2,)

    def theirs() -> Any:
        tanh = functools.partial(torch.nn.functional.gelu, approximate="tanh")
        functions = {"relu": "relu", "gelu": "gelu", "gelu_tanh": tanh}
        layer = getattr(torch.nn, name.removesuffix("Layer") + "Layer")(
            4, 2, 6, 0.0, functions[activation], 1e-3, batch_first=True, norm_first=norm_first
        )
        if not count:
            return layer
        norm = torch.nn.LayerNorm(4, 1e-3) if norm_first else None
        options = {"enable_nested_tensor": False} if "Encoder" in name else {}
        return getattr(torch.nn, name)(layer, *count, norm, **options)

    def by_definition(layer: Any, x: Any) -> Any:  # their fused attention has no second gradient
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return their(layer, x)

    return joined(
        name, f"{case}, {activation}, {norm_first=}", (2, 3, 4),
        lambda: getattr(nn, name)(
            *count, 4, 2, inner=6, dropout=0.0, activation=getattr(minae, activation),
            norm_first=norm_first, eps=1e-3,
        ),
        theirs, run, by_definition,
    )  # fmt: skip


def autoencoder() -> Any:
    return nn.Sequential(
        nn.Conv2d(2, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4), minae.tanh,
        nn.Sequential(nn.Conv2d(4, 4, 1), minae.silu, nn.GroupNorm(2, 4)),
        nn.ConvTranspose2d(4, 2, 4, 2, 1), minae.sigmoid,
    )  # fmt: skip


def their_autoencoder() -> Any:
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 4, 2, 1, bias=False), torch.nn.BatchNorm2d(4), torch.nn.Tanh(),
        torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1), torch.nn.SiLU(), torch.nn.GroupNorm(2, 4)),
        torch.nn.ConvTranspose2d(4, 2, 4, 2, 1), torch.nn.Sigmoid(),
    )  # fmt: skip


VALID = [[True, True, False], [True, False, False]]
NORMS = ({"norm_first": False}, {"norm_first": True, "activation": "gelu"})
BIAS = np.random.default_rng(4).standard_normal((2, 2, 3, 3))

TWINS = [
    *(
        Twin(
            f"Linear: {shape}, {bias=}", lambda bias=bias: nn.Linear(3, 4, bias),
            lambda bias=bias: torch.nn.Linear(3, 4, bias), shape,
        )
        for shape in ((3,), (5, 3), (2, 5, 3))
        for bias in (True, False)
    ),
    Twin(
        "Embedding: some twice", lambda: nn.Embedding(5, 3), lambda: torch.nn.Embedding(5, 3),
        [[0, 4, 4], [4, 1, 0]],
    ),
    conv("defaults", (2, 5, 6, 3), 3, 4, 3),
    conv("no bias", (2, 5, 6, 3), 3, 4, 3, bias=False),
    conv("halving", (2, 8, 6, 2), 2, 3, 4, 2, 1),
    conv("pairs", (2, 7, 8, 2), 2, 3, (2, 3), (2, 1), (0, 2), (1, 2)),
    conv("groups", (2, 4, 4, 6), 6, 9, (2, 1), groups=3),
    transposed("defaults", (2, 3, 4, 3), 3, 4, 3),
    transposed("no bias", (2, 3, 4, 3), 3, 4, 3, bias=False),
    transposed("doubling", (2, 4, 3, 2), 2, 3, 4, 2, 1),
    transposed("pairs", (2, 3, 4, 2), 2, 3, (2, 3), (3, 2), (1, 2), (2, 0), dilation=(1, 2)),
    transposed("groups", (2, 3, 3, 6), 6, 9, (2, 1), 2, groups=3),
    conv("time", (2, 7, 3), 3, 4, 3),
    conv("time, all options", (2, 9, 4), 4, 6, 3, 2, 2, 2, 2, False),
    conv("reflected", (2, 5, 6, 3), 3, 4, 3, 1, (1, 2), padding_mode="reflect"),
    conv("time, reflected", (2, 5, 3), 3, 4, 3, 2, 2, padding_mode="reflect"),
    transposed("time", (2, 5, 3), 3, 4, 3),
    transposed(
        "time, all options", (2, 5, 4), 4, 6, 3, stride=3, padding=1, output_padding=2,
        dilation=2, groups=2, bias=False,
    ),
    *(
        Twin(
            f"LayerNorm: {shape}", lambda: nn.LayerNorm(4, 1e-3),
            lambda: torch.nn.LayerNorm(4, 1e-3), shape,
        )
        for shape in ((4,), (2, 3, 4))
    ),
    *(
        Twin(
            f"GroupNorm: {groups} groups", lambda groups=groups: nn.GroupNorm(groups, 6, 1e-3),
            lambda groups=groups: torch.nn.GroupNorm(groups, 6, 1e-3), (2, 3, 2, 6),
        )
        for groups in (1, 2, 6)
    ),
    same("features", (5, 4), "RMSNorm", 4, 1e-3),
    Twin("RMSNorm: sequences", lambda: nn.RMSNorm(4), lambda: torch.nn.RMSNorm(4, 1e-6), (2, 3, 4)),
    same("time", (3, 5, 4), "InstanceNorm1d", 4, 1e-3),
    same("images", (3, 2, 4, 4), "InstanceNorm2d", 4),
    same("affine", (3, 2, 4, 4), "InstanceNorm2d", 4, affine=True),
    same("features", (5, 4), "BatchNorm1d", 4, 1e-3),
    same("time", (3, 2, 4), "BatchNorm1d", 4),
    *(cell(name, bias=bias) for name in ("LSTMCell", "GRUCell") for bias in (True, False)),
    *(
        recurrent(name, **options)
        for name in ("LSTM", "GRU")
        for options in (
            {"case": "defaults"}, {"case": "a state", "state": True},
            {"case": "no bias", "bias": False}, {"case": "layers", "layers": 2, "state": True},
            {"case": "both ways", "bidirectional": True},
            {"case": "lengths", "lengths": [5, 1, 3, 4]},
            {"case": "all", "lengths": [2, 5, 1, 4], "layers": 2, "bidirectional": True,
             "state": True},
        )
    ),
    multihead("itself", lambda layer, x: layer(x), lambda layer, x: layer(x, x, x)),
    multihead("no bias", lambda layer, x: layer(x), lambda layer, x: layer(x, x, x), bias=False),
    multihead(
        "a context", lambda layer, x: layer(x[:, :2], x[:, 1:]),
        lambda layer, x: layer(x[:, :2], x[:, 1:], x[:, 1:]), (2, 5, 4),
    ),
    multihead(
        "causal", lambda layer, x: layer(x, causal=True),
        lambda layer, x: layer(x, x, x, attn_mask=hidden(np.tri(3, dtype=bool))),
    ),
    multihead(
        "padding", lambda layer, x: layer(x, mask=np.array(VALID)[:, None, None, :]),
        lambda layer, x: layer(x, x, x, key_padding_mask=hidden(VALID)),
    ),
    multihead(
        "a bias", lambda layer, x: layer(x, bias=minae.backend.asarray(BIAS, x.dtype)),
        lambda layer, x: layer(x, x, x, attn_mask=torch.tensor(BIAS).reshape(4, 3, 3)),
    ),
    *(
        transformer(
            name, "padding", lambda layer, x: layer(x, mask=np.array(VALID)[:, None, None, :]),
            lambda layer, x: layer(x, src_key_padding_mask=hidden(VALID)), **options,
        )
        for name in ("TransformerEncoderLayer", "TransformerEncoder") for options in NORMS
    ),
    transformer(
        "TransformerEncoderLayer", "causal", lambda layer, x: layer(x, causal=True),
        lambda layer, x: layer(x, hidden(np.tri(3, dtype=bool))), "gelu_tanh", True,
    ),
    *(
        transformer(
            name, "padding of the context",
            lambda layer, x: layer(
                x[:, :2], x, context_mask=np.array(VALID)[:, None, None, :]
            ),
            lambda layer, x: layer(
                x[:, :2], x, hidden(np.tri(2, dtype=bool)), memory_key_padding_mask=hidden(VALID)
            ), **options,
        )
        for name in ("TransformerDecoderLayer", "TransformerDecoder") for options in NORMS
    ),
    Twin(
        "BatchNorm2d: in training", lambda: nn.BatchNorm2d(3, 1e-3),
        lambda: torch.nn.BatchNorm2d(3, 1e-3), (4, 2, 3, 3),
    ),
    Twin(
        "BatchNorm2d: in evaluation", lambda: nn.BatchNorm2d(3, 1e-3).eval(),
        lambda: torch.nn.BatchNorm2d(3, 1e-3).eval(), (1, 2, 3, 3),
    ),
    Twin(
        "Dropout: in evaluation", lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout()).eval(),
        lambda: torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout()).eval(), (4, 3),
    ),
    Twin("Sequential: auto-encoder", autoencoder, their_autoencoder, (3, 6, 8, 2)),
]  # fmt: skip


@FLOATS
@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_layer_agrees_with_torch(twin, dtype, array, numpy):
    check(twin, dtype, array, numpy)


def test_every_layer_has_a_twin():
    layers = {name for name in nn.__all__ if inspect.isclass(getattr(nn, name))} - {"Module"}
    layers -= {"KeyValueCache", "RelativeBias"}  # of which PyTorch has none
    assert layers == {twin.name.split(":")[0] for twin in TWINS}


two = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw: Any) -> tuple[dict, tuple]:
    """Arguments of a convolution and the size of an image that it fits."""
    groups = draw(st.integers(1, 3))
    kernel, stride, dilation = draw(two), draw(two), draw(two)
    padding = tuple(draw(st.integers(0, 2)) for _ in range(2))
    size = tuple(
        draw(st.integers(max(d * (k - 1) + 1 - 2 * p, 1), 8))
        for k, d, p in zip(kernel, dilation, padding)
    )
    options = {
        "inputs": groups * draw(st.integers(1, 2)), "outputs": groups * draw(st.integers(1, 2)),
        "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation,
        "groups": groups, "bias": draw(st.booleans()),
    }  # fmt: skip
    return options, (draw(st.integers(1, 2)), *size)


@st.composite
def transposed_convolutions(draw: Any) -> tuple[dict, tuple]:
    options, (batch, *_) = draw(convolutions())
    steps = zip(options["kernel"], options["stride"], options["dilation"], options["padding"])
    extra = tuple(draw(st.integers(0, s - 1)) for s in options["stride"])
    size = [
        draw(st.integers(max(1, math.ceil((2 * p - d * (k - 1) - e) / s) + 1), 6))
        for (k, s, d, p), e in zip(steps, extra)
    ]
    return options | {"output_padding": extra}, (batch, *size)


def their_arguments(options: dict) -> dict:
    renamed = {"inputs": "in_channels", "outputs": "out_channels", "kernel": "kernel_size"}
    return {renamed.get(name, name): value for name, value in options.items()}


def check_drawn(drawn: tuple, ours: Any, theirs: Any, array: Callable, numpy: Callable) -> None:
    options, shape = drawn
    twin = Twin(
        "drawn", lambda: ours(**options), lambda: theirs(**their_arguments(options)),
        (*shape, options["inputs"]),
    )
    check(twin, "float64", array, numpy)


@settings(max_examples=60)
@given(drawn=convolutions())
def test_drawn_convolutions_agree_with_torch(drawn, array, numpy):
    check_drawn(drawn, nn.Conv2d, torch.nn.Conv2d, array, numpy)


@settings(max_examples=60)
@given(drawn=transposed_convolutions())
def test_drawn_transposed_convolutions_agree_with_torch(drawn, array, numpy):
    check_drawn(drawn, nn.ConvTranspose2d, torch.nn.ConvTranspose2d, array, numpy)


@FLOATS
@pytest.mark.parametrize("momentum", [0.1, 0.5])
def test_batch_norm_over_several_batches(dtype, momentum, array, numpy):
    """The running statistics are those of PyTorch after each batch, and serve evaluation."""
    ours, theirs = pair(
        Twin(
            "", lambda: nn.BatchNorm2d(3, momentum=momentum),
            lambda: torch.nn.BatchNorm2d(3, momentum=momentum), None,
        ),
        dtype,
    )
    rng, tolerance = np.random.default_rng(2), TOLERANCE[dtype]
    for batch in (2, 5, 1):
        x = (rng.standard_normal((batch, 2, 3, 3)) * [1, 2, 0.1] + [0, 1, -5]).astype(dtype)
        y, z = ours(array(x)), theirs(features_first(to_torch(x)))
        agree(numpy(y), features_last(z), tolerance, "in training")
        agree(numpy(ours.running_mean), theirs.running_mean, tolerance, "running mean")
        agree(numpy(ours.running_var), theirs.running_var, tolerance, "running variance")
    ours.eval(), theirs.eval()
    agree(numpy(ours(array(x))), features_last(theirs(features_first(to_torch(x)))), tolerance, "")
    agree(numpy(ours.running_mean), theirs.running_mean, tolerance, "running mean")


# --- Optimizers ----------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": (lambda ps: optim.SGD(ps, 0.05), lambda ps: torch.optim.SGD(ps, 0.05)),
    "SGD, momentum": (
        lambda ps: optim.SGD(ps, 0.05, momentum=0.9),
        lambda ps: torch.optim.SGD(ps, 0.05, momentum=0.9),
    ),
    "SGD, decay": (
        lambda ps: optim.SGD(ps, 0.05, weight_decay=0.1),
        lambda ps: torch.optim.SGD(ps, 0.05, weight_decay=0.1),
    ),
    "SGD, both": (
        lambda ps: optim.SGD(ps, 0.05, momentum=0.9, weight_decay=0.1),
        lambda ps: torch.optim.SGD(ps, 0.05, momentum=0.9, weight_decay=0.1),
    ),
    "SGD, Nesterov": (
        lambda ps: optim.SGD(ps, 0.05, 0.9, 0.1, nesterov=True),
        lambda ps: torch.optim.SGD(ps, 0.05, 0.9, weight_decay=0.1, nesterov=True),
    ),
    "Adam": (lambda ps: optim.Adam(ps), lambda ps: torch.optim.Adam(ps)),
    "Adam, options": (
        lambda ps: optim.Adam(ps, 0.05, (0.7, 0.9), 1e-3),
        lambda ps: torch.optim.Adam(ps, 0.05, (0.7, 0.9), 1e-3),
    ),
    "Adam, decay": (
        lambda ps: optim.Adam(ps, 0.05, weight_decay=0.2),
        lambda ps: torch.optim.Adam(ps, 0.05, weight_decay=0.2),
    ),
    "Adam, AMSGrad": (
        lambda ps: optim.Adam(ps, 0.05, amsgrad=True),
        lambda ps: torch.optim.Adam(ps, 0.05, amsgrad=True),
    ),
    "Adam, no bias correction": (
        lambda ps: optim.Adam(ps, 0.05, (0.8, 0.9), bias_correction=False),
        lambda ps: after_many_steps(ps),
    ),
    "AdamW, AMSGrad": (
        lambda ps: optim.AdamW(ps, 0.05, weight_decay=0.1, amsgrad=True),
        lambda ps: torch.optim.AdamW(ps, 0.05, weight_decay=0.1, amsgrad=True),
    ),
    "AdamW, groups": (
        lambda ps: optim.AdamW(groups(ps), 0.05), lambda ps: torch.optim.AdamW(groups(ps), 0.05)
    ),
    "SGD, groups": (
        lambda ps: optim.SGD([{"params": ps[:1], "momentum": 0.9}, {"params": ps[1:]}], 0.05),
        lambda ps: torch.optim.SGD([{"params": ps[:1], "momentum": 0.9}, {"params": ps[1:]}], 0.05),
    ),
    "AdamW": (lambda ps: optim.AdamW(ps), lambda ps: torch.optim.AdamW(ps)),
    "AdamW, options": (
        lambda ps: optim.AdamW(ps, 0.05, (0.7, 0.9), 1e-3, 0.2),
        lambda ps: torch.optim.AdamW(ps, 0.05, (0.7, 0.9), 1e-3, weight_decay=0.2),
    ),
}


def groups(ps: list) -> list[dict]:
    return [
        {"params": ps[:1]}, {"params": ps[1:2], "lr": 0.02, "betas": (0.5, 0.9)},
        {"params": ps[2:], "weight_decay": 0.0},
    ]


def after_many_steps(ps: list) -> Any:
    """PyTorch's Adam always corrects its averages; after a million steps nothing is left of it."""
    optimizer = torch.optim.Adam(ps, 0.05, (0.8, 0.9))
    for p in ps:
        optimizer.state[p] = {
            "step": torch.tensor(1e6), "exp_avg": torch.zeros_like(p),
            "exp_avg_sq": torch.zeros_like(p),
        }  # fmt: skip
    return optimizer


def parameters(array: Callable, shapes: list, dtype: str = "float64") -> tuple[list, list]:
    """The same parameters twice."""
    rng = np.random.default_rng(0)
    values = [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in shapes]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    return [Tensor(array(v), requires_grad=True) for v in values], theirs


def give(ps: list, qs: list, gradients: list, array: Callable) -> None:
    for p, q, g in zip(ps, qs, gradients, strict=True):
        p.grad = None if g is None else array(g)
        q.grad = None if g is None else torch.tensor(g)


@pytest.mark.parametrize("ours, theirs", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_hundred_steps_agree_with_torch(ours, theirs, array, numpy):
    """Gradients of changing size; the second parameter has none at all in every third step."""
    ps, qs = parameters(array, [(3, 4), (5,), ()])
    one, other = ours(ps), theirs(qs)
    rng = np.random.default_rng(1)
    for step in range(100):
        scale = 10.0 ** rng.integers(-3, 3)
        gradients = [np.asarray(scale * rng.standard_normal(p.shape)) for p in ps]
        if step % 3 == 0:
            gradients[1] = None
        give(ps, qs, gradients, array)
        one.step()
        other.step()
        for p, q in zip(ps, qs, strict=True):
            agree(numpy(p), q, 1e-10, f"step {step}")


def test_every_optimizer_has_a_twin():
    classes = inspect.getmembers(optim, inspect.isclass)
    public = {name for name, c in classes if issubclass(c, optim.Optimizer)} - {"Optimizer"}
    assert public == {name.split(",")[0] for name in OPTIMIZERS}


# --- Clipping and schedules ----------------------------------------------------------------------

GRADIENTS = {
    "large": [np.array([30.0, -40.0]), np.array([[5.0]]), None],
    "small": [np.array([0.3, -0.4]), np.array([[0.1]]), None],
    "zero": [np.zeros(2), np.zeros((1, 1)), np.zeros(3)],
    "none": [None, None, None],
    "NaN": [np.array([math.nan, 1.0]), np.array([[2.0]]), np.ones(3)],
}


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("gradients", GRADIENTS.values(), ids=GRADIENTS)
@pytest.mark.parametrize("limit", [1.0, 0.5, 7.0])
def test_clipping_by_norm_agrees_with_torch(gradients, limit, dtype, tolerance, array, numpy):
    ps, qs = parameters(array, [(2,), (1, 1), (3,)], dtype)
    give(ps, qs, [g if g is None else g.astype(dtype) for g in gradients], array)
    norm, expected = optim.clip_grad_norm(ps, limit), torch.nn.utils.clip_grad_norm_(qs, limit)
    np.testing.assert_allclose(float(norm), float(expected), rtol=tolerance)
    for p, q in zip(ps, qs, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            np.testing.assert_allclose(numpy(p.grad), q.grad.numpy(), rtol=tolerance)


@pytest.mark.parametrize("case", sorted(GRADIENTS.keys() - {"none"}))  # at which PyTorch fails
def test_clipping_by_value_agrees_with_torch(case, array, numpy):
    ps, qs = parameters(array, [(2,), (1, 1), (3,)])
    give(ps, qs, GRADIENTS[case], array)
    optim.clip_grad_value(ps, 0.35)
    torch.nn.utils.clip_grad_value_(qs, 0.35)
    for p, q in zip(ps, qs, strict=True):
        if q.grad is not None:
            np.testing.assert_array_equal(numpy(p.grad), q.grad.numpy())


def rates(make: Callable, lr: float, steps: int) -> list[float]:
    """The learning rates that a schedule of PyTorch gives."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)
    schedule, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize("final", [0.0, 0.02])
def test_cosine_agrees_with_torch(steps, final):
    expected = rates(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, steps, final), 0.2, steps + 1
    )
    ours = [0.2 * optim.cosine(step, steps, final / 0.2) for step in range(steps + 1)]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("every, factor", [(1, 0.5), (7, 0.1)])
def test_step_decay_agrees_with_torch(every, factor):
    expected = rates(lambda o: torch.optim.lr_scheduler.StepLR(o, every, factor), 0.2, 40)
    ours = [0.2 * optim.step_decay(step, every, factor) for step in range(40)]
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_inverse_sqrt_by_its_equation():
    """Vaswani et al. 2017, equation 3, for the peak that it has: (features * steps) ** -0.5."""
    for steps in (1, 10):
        theirs = [min(n**-0.5, n * steps**-1.5) / steps**-0.5 for n in range(1, 50)]
        ours = [optim.inverse_sqrt(step, steps) for step in range(49)]
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        assert max(ours) == 1
    assert optim.inverse_sqrt(3, 0) == 0.5


def test_moving_averages_of_parameters_agree_with_torch(array, numpy):
    ps, qs = parameters(array, [(3, 4), (5,)])
    average = [Tensor(p.array.copy(), requires_grad=True) for p in ps]
    model = torch.nn.ParameterList(qs)
    theirs = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    theirs.update_parameters(model)  # the first is a copy
    rng = np.random.default_rng(1)
    for _ in range(100):
        for p, q in zip(ps, qs):
            change = rng.standard_normal(p.shape)
            p.data += array(change)
            q.data += torch.tensor(change)
        optim.ema_update(average, ps, 0.9)
        theirs.update_parameters(model)
        for a, b in zip(average, theirs.parameters(), strict=True):
            agree(numpy(a), b, 1e-10, "average")


@pytest.mark.parametrize("steps", [2, 10])
def test_warmup_agrees_with_torch(steps):
    expected = rates(
        lambda o: torch.optim.lr_scheduler.LinearLR(o, 1 / steps, total_iters=steps - 1), 0.2, 20
    )
    ours = [0.2 * optim.warmup(step, steps) for step in range(20)]
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


# --- All of it -----------------------------------------------------------------------------------


def test_an_autoencoder_trains_as_in_torch(array, numpy):
    """Thirty steps in float64: layers, batch statistics, AdamW, clipping and schedule together."""
    ours, theirs = pair(Twin("", autoencoder, their_autoencoder, None), "float64")
    one, other = optim.AdamW(ours.parameters(), 0.01), torch.optim.AdamW(theirs.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(other, 30)
    rng = np.random.default_rng(3)
    for step in range(30):
        x = rng.random((4, 6, 8, 2))
        one.zero_grad()
        loss = minae.mse_loss(ours(array(x)), array(x))
        loss.backward()
        optim.clip_grad_norm(ours.parameters(), 0.05)
        one.lr = 0.01 * optim.cosine(step, 30)
        one.step()
        other.zero_grad()
        z = features_first(to_torch(x))
        their_loss = torch.nn.functional.mse_loss(theirs(z), z)
        their_loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
        other.step()
        schedule.step()
        assert float(loss) == pytest.approx(their_loss.item(), rel=1e-9)
    for x, z, axes in places(ours, theirs):
        agree(numpy(x), from_torch(z.detach(), axes), 1e-8, "after training")


# --- Drawn shapes and options --------------------------------------------------------------------

size = st.integers(1, 5)


@st.composite
def drawn_layers(draw: Any) -> Twin:
    """A layer of any kind but convolution, with drawn sizes and options."""
    batch, time, features = draw(size), draw(size), draw(size)
    eps = draw(st.sampled_from([0.1, 0.5]))  # of a few entries, little else is left
    kind = draw(st.sampled_from(["Linear", "norm", "group", "over batch", "recurrent", "heads"]))
    if kind == "Linear":
        shape = draw(st.sampled_from([(features,), (batch, features), (batch, time, features)]))
        return plain("Linear", shape, features, draw(size), draw(st.booleans()))
    if kind == "norm":
        return plain(draw(st.sampled_from(["LayerNorm", "RMSNorm"])), (batch, time, features + 2),
                     features + 2, eps)
    if kind == "group":
        groups = draw(st.integers(1, 3))
        return same("", (batch, time + 2, draw(size) + 1, groups * features), "GroupNorm", groups,
                    groups * features, eps)
    if kind == "over batch":
        name = draw(st.sampled_from(["BatchNorm", "InstanceNorm"]))
        space = draw(st.sampled_from([(time + 2,), (time + 2, draw(size))]))
        return same("", (batch + 1, *space, features), f"{name}{len(space)}d", features, eps)
    if kind == "recurrent":
        lengths = draw(st.none() | st.lists(st.integers(1, 5), min_size=4, max_size=4))
        return recurrent(
            draw(st.sampled_from(["LSTM", "GRU"])), "", lengths, draw(st.booleans()),
            layers=draw(st.integers(1, 2)), bias=draw(st.booleans()),
            bidirectional=draw(st.booleans()),
        )
    mask = np.array(draw(st.lists(st.booleans(), min_size=time * time, max_size=time * time)))
    mask = mask.reshape(time, time) | np.eye(time, dtype=bool)  # or PyTorch has NaN
    return multihead(
        "", lambda layer, x: layer(x, mask=mask),
        lambda layer, x: layer(x, x, x, attn_mask=hidden(mask)), (batch, time, 4),
        bias=draw(st.booleans()),
    )


def plain(name: str, shape: tuple, *args: Any) -> Twin:
    """A layer that takes the same arguments in PyTorch, and features last there too."""
    return same("", shape, name, *args)._replace(sequences=False)


@settings(max_examples=80)
@given(twin=drawn_layers(), dtype=st.sampled_from(["float64", "float32"]))
def test_drawn_layers_agree_with_torch(twin, dtype, array, numpy):
    check(twin, dtype, array, numpy)
