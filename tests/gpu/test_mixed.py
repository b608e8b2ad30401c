"""Arrays of NumPy and of CuPy are never mixed in silence; DLPack shares the device's memory."""

import numpy as np
import pytest

import minae
from minae import backend, nn

pytestmark = pytest.mark.skipif(backend.name != "cupy", reason="for CuPy, or its stand-in")

HOST = np.ones(3, "float32")
MIXED = {
    "a Tensor and an array": lambda x: x * HOST,
    "an array and a Tensor": lambda x: HOST * x,
    "an op": lambda x: minae.maximum(x, HOST),
    "a Tensor of it": lambda x: minae.Tensor(HOST),
    "an assignment": lambda x: x.__setitem__(0, HOST[0:1]),
}


@pytest.mark.parametrize("mix", MIXED.values(), ids=MIXED)
def test_an_array_of_the_host_is_refused_with_the_cure(mix):
    with pytest.raises(TypeError, match=r"numpy\.ndarray on the cupy backend; convert it first"):
        mix(minae.tensor([1.0, 2.0, 3.0]))


def test_it_is_converted_where_that_is_asked_for(numpy):
    x = minae.tensor(HOST)
    assert isinstance(x.data, backend.ndarray)
    assert isinstance(x.numpy(), np.ndarray)
    with pytest.raises(TypeError):
        np.asarray(x.data)


def test_dlpack_shares_the_memory_both_ways():
    mine = minae.tensor([1.0, 2.0])
    theirs = backend.xp.from_dlpack(mine)
    theirs[0] = 5
    again = minae.from_dlpack(theirs)
    again.data[1] = 7
    assert mine.tolist() == [5, 7]
    assert again.data.data.ptr == mine.data.data.ptr
    assert mine.__dlpack_device__() == (2, 0)


def test_what_the_host_decides_by_is_a_buffer_on_the_host(array):
    class Counting(nn.Module):
        def __init__(self):
            self.steps = np.zeros(1, "int64")
            self.mean = array(np.zeros(2, "float32"))

    one, other = Counting(), Counting()
    one.steps += 3
    one.mean += 2
    state = one.state_dict()
    assert list(state) == ["steps", "mean"]
    other.load_state_dict(state)
    assert type(other.steps) is np.ndarray and other.steps[0] == 3
    assert isinstance(other.mean, backend.ndarray) and other.mean.tolist() == [2, 2]
