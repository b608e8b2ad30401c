"""Weights in PyTorch's layout, without PyTorch; tests/oracles has those that it made itself."""

import os

import numpy as np
import pytest

from minae import interop, io, nn

LAYERS = {
    "linear": (lambda: nn.Linear(3, 4), {"weight": (4, 3), "bias": (4,)}),
    "conv1d": (lambda: nn.Conv1d(2, 6, 3, groups=2), {"weight": (6, 1, 3), "bias": (6,)}),
    "conv2d": (lambda: nn.Conv2d(2, 5, (3, 4)), {"weight": (5, 2, 3, 4), "bias": (5,)}),
    "transposed": (
        lambda: nn.ConvTranspose2d(4, 6, (3, 5), groups=2), {"weight": (4, 3, 3, 5), "bias": (6,)},
    ),
    "embedding": (lambda: nn.Embedding(5, 3), {"weight": (5, 3)}),
    "norm": (lambda: nn.LayerNorm(4), {"weight": (4,), "bias": (4,)}),
    "gru": (
        lambda: nn.GRU(3, 2, bias=False), {"weight_ih_l0": (6, 3), "weight_hh_l0": (6, 2)},
    ),
    "attention": (
        lambda: nn.MultiheadAttention(4, 2, bias=False),
        {"in_proj_weight": (12, 4), "out_proj.weight": (4, 4)},
    ),
}
each_layer = pytest.mark.parametrize("make, shapes", LAYERS.values(), ids=LAYERS)


@each_layer
def test_out_and_in_again_is_the_same(make, shapes, tmp_path):
    layer, other = make(), make()
    state = interop.to_torch(layer)
    assert {name: x.shape for name, x in state.items()} == shapes
    assert all(x.flags.c_contiguous for x in state.values())
    interop.load_torch(other, state)
    io.save(tmp_path / "state.npz", state)
    third = make()
    interop.load_torch(third, os.fspath(tmp_path / "state.npz"))
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)
        np.testing.assert_array_equal(third.state_dict()[name], value)


def test_the_counter_of_batch_norm_is_left_aside():
    layer = nn.Sequential(nn.BatchNorm2d(3))
    state = interop.to_torch(layer) | {"0.num_batches_tracked": np.array(7)}
    interop.load_torch(layer, state)


def test_what_does_not_fit_changes_nothing(tmp_path):
    layer = nn.Linear(3, 4)
    before = layer.state_dict()
    state = interop.to_torch(layer)
    wrong = {"weight": state["weight"].T, "scale": np.ones(2)}
    with pytest.raises(ValueError) as error:
        interop.load_torch(layer, wrong)
    for part in ("missing: bias", "unknown: scale", "weight is float32[4, 3], needs float32[3, 4]"):
        assert part in str(error.value).replace("\n", " "), part
    with pytest.raises(TypeError, match="a state_dict or a path, not a list"):
        interop.load_torch(layer, [state])
    with pytest.raises(TypeError, match="no real numbers") as error:
        interop.load_torch(layer, state | {"bias": np.array(["a"])})
    assert "of bias" in error.value.__notes__
    with pytest.raises(ValueError, match=r"torch\.load\(path, weights_only=True\)"):
        interop.load_torch(layer, tmp_path / "model.pt")
    for name, value in before.items():
        np.testing.assert_array_equal(layer.state_dict()[name], value)
