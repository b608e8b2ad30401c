"""What is wrong with entries on a GPU: noted there, and raised when the host takes a number."""

import numpy as np
import pytest

import minae
from minae import backend, faults
from minae import functional as F

pytestmark = pytest.mark.skipif(
    not faults.DEFERRED, reason="for CuPy, or its stand-in, without MINAE_DEBUG_SYNC"
)


@pytest.fixture(autouse=True)
def clean():
    faults._word.fill(0)
    yield
    faults._word.fill(0)


def test_a_label_outside_is_raised_by_the_loss(array):
    logits = minae.tensor(np.zeros((2, 3), "f"), requires_grad=True)
    loss = F.cross_entropy(logits, array([0, 3]))
    loss.backward()
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\).*MINAE_DEBUG_SYNC=1"):
        loss.item()
    assert F.cross_entropy(logits, array([0, 2])).item() == pytest.approx(np.log(3))


@pytest.mark.parametrize("read", [
    lambda x: x.numpy(), lambda x: x.tolist(), float, int, bool, minae.Tensor.item, repr,
])  # fmt: skip
def test_every_way_to_the_host_raises_it(array, read):
    F.embedding(minae.tensor([[1.0]]), array([1]))
    with pytest.raises(ValueError, match="codes must be in"):
        read(minae.tensor(1.0))
    read(minae.tensor(1.0))


def test_the_first_fault_counts(array):
    faults.check(array([False, True]), IndexError, "the first")
    faults.check(array([True]), ValueError, "the second")
    with pytest.raises(IndexError, match="the first"):
        faults.settle()
    faults.settle()


def test_no_fault_where_nothing_is_bad(array):
    faults.check(array([False, False]), IndexError, "no")
    faults.check(array(np.zeros((0, 2), bool)), IndexError, "nothing")
    faults.settle()


def test_fetch_brings_all_in_one_wait(array, numpy):
    standin = pytest.importorskip("cupy.standin", reason="only the stand-in counts")
    given = [minae.tensor(2.5), array(7), array([[1.0, 2.0]], "float32"), array(True), 3.0]
    with standin.count() as count:
        found = faults.fetch(*given)
    assert count.waits == 1
    assert [x.dtype for x in found] == ["float32", "int64", "float32", "bool", "float64"]
    assert [x.tolist() for x in found] == [2.5, 7, [[1.0, 2.0]], True, 3.0]


def test_a_loss_that_is_no_number_names_the_step(array, tmp_path):
    from minae.run import Run
    from minae.train import fit

    class Broken(minae.nn.Module):
        def __init__(self):
            self.weight = minae.tensor([1.0], requires_grad=True)

        def loss(self, images):
            return minae.log(self.weight - 1.0 + 0 * minae.mean(images)).sum() * np.inf, {}

    model = Broken()
    images = np.zeros((4, 2, 2, 1), "uint8")
    with pytest.raises(FloatingPointError, match=r"the loss is not finite.*at step 1"):
        fit(model, minae.optim.SGD(model.parameters(), 0.1), images, Run.create(tmp_path / "r", {}),
            epochs=1, batch_size=2, seed=0)  # fmt: skip
    assert backend.name == "cupy"
