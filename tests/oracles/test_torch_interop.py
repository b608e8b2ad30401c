"""Arrays and weights to PyTorch and back."""

import numpy as np
import pytest
from test_torch_nn import TWINS, features_first, features_last, to_torch

import minae
from minae import Tensor, interop, io, nn

torch = pytest.importorskip("torch", reason="PyTorch is an oracle: pip install minae[oracles]")
on_the_host = pytest.mark.skipif(minae.xp.__name__ != "numpy", reason="PyTorch's are on the host")


# --- Arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_a_tensor_of_torch_becomes_one_of_ours(dtype, numpy):
    z = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)).T  # not contiguous
    x = minae.tensor(z)
    assert x.dtype == dtype
    np.testing.assert_array_equal(numpy(x), z.numpy())
    z.zero_()
    assert numpy(x).any()  # a copy


def test_parameters_come_without_their_graph(numpy):
    layer = torch.nn.Linear(2, 3)
    x = minae.tensor(layer.weight * 2, requires_grad=True)
    np.testing.assert_array_equal(numpy(x), (layer.weight * 2).detach().numpy())
    assert x.node is None


@on_the_host
def test_memory_is_shared_both_ways(array, numpy):
    z = torch.ones(3)
    x = minae.from_dlpack(z)
    z[0] = 5
    assert numpy(x).tolist() == [5, 1, 1]
    back = torch.from_dlpack(Tensor(array([1.0, 2.0])))
    assert back.dtype == torch.float64 and back.tolist() == [1, 2]
    y = Tensor(array([1.0, 2.0]))
    torch.from_dlpack(y)[1] = 7
    assert numpy(y).tolist() == [1, 7]


@on_the_host
def test_a_gradient_is_not_lost_in_silence(array):
    with pytest.raises(BufferError, match=r"export x\.detach\(\)"):
        torch.from_dlpack(Tensor(array([1.0]), requires_grad=True))


@pytest.mark.parametrize("make", [
    lambda: torch.ones(2, dtype=torch.bfloat16), lambda: torch.ones(3).to_sparse(),
    lambda: torch.ones(2, device="meta"),
], ids=["bfloat16", "sparse", "elsewhere"])  # fmt: skip
def test_what_numpy_cannot_hold_names_the_cure(make):
    with pytest.raises(TypeError, match=r"convert it there first"):
        minae.tensor(make())
    with pytest.raises(TypeError, match="no real numbers"):
        minae.tensor(torch.ones(2, dtype=torch.complex64))


# --- Weights -------------------------------------------------------------------------------------

MODELS = {twin.name: twin for twin in TWINS}


@pytest.mark.parametrize("twin", MODELS.values(), ids=MODELS)
def test_weights_in_and_out(twin, array, numpy, tmp_path):
    """What PyTorch drew, loaded here, gives what it gives there; and the same once more, back."""
    ours, theirs = twin.ours().astype("float64"), twin.theirs().double()
    interop.load_torch(ours, theirs.state_dict())
    ours.eval(), theirs.eval()
    shape = np.shape(twin.input) if isinstance(twin.input, list) else twin.input
    x = np.random.default_rng(0).standard_normal(shape)
    x = np.array(twin.input) if isinstance(twin.input, list) else x

    def torch_gives(layer):
        z = to_torch(x)
        with torch.no_grad():
            y = layer(z.mT).mT if twin.sequences else features_last(layer(features_first(z)))
        return y.numpy()

    np.testing.assert_allclose(numpy(ours(array(x))), torch_gives(theirs), rtol=0, atol=1e-12)
    again = twin.theirs().double().eval()
    state = {name: torch.from_numpy(value) for name, value in interop.to_torch(ours).items()}
    again.load_state_dict(state)
    np.testing.assert_array_equal(torch_gives(again), torch_gives(theirs))


def test_files_of_others(array, numpy, tmp_path):
    save = pytest.importorskip("safetensors.torch", reason="safetensors is not installed").save_file
    theirs = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    save(theirs.state_dict(), tmp_path / "model.safetensors")
    ours = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    interop.load_torch(ours, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(
        numpy(ours[0].weight), theirs[0].weight.detach().permute(2, 3, 1, 0).numpy()
    )
    io.save(tmp_path / "back.safetensors", interop.to_torch(ours))
    loaded = pytest.importorskip("safetensors.torch").load_file(tmp_path / "back.safetensors")
    theirs.load_state_dict(loaded)


def test_half_precision_is_widened(numpy):
    theirs = torch.nn.Linear(3, 2)
    for half in (torch.bfloat16, torch.float16):
        ours, state = nn.Linear(3, 2), theirs.to(half).state_dict()
        interop.load_torch(ours, state)
        assert ours.weight.dtype == "float32"
        np.testing.assert_array_equal(numpy(ours.weight), state["weight"].float().T.numpy())


def test_the_other_door_names_this_one():
    with pytest.raises(TypeError, match=r"use minae\.interop\.load_torch"):
        nn.Linear(4, 4).load_state_dict(torch.nn.Linear(4, 4).state_dict())


def test_dlpack_of_what_numpy_does_not_have(array):
    with pytest.raises(TypeError, match="convert it there first"):
        minae.from_dlpack(torch.ones(2, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match="cannot be read"):
        minae.from_dlpack([1.0])
