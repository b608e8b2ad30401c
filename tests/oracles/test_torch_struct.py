"""Charts beside torch-struct's: the same numbers, to 1e-5, from the same scores."""

import warnings

import numpy as np
import pytest

import minae
from minae import Tensor
from minae.seq import BinaryTrees, LinearChain

torch = pytest.importorskip("torch", reason="the oracle is PyTorch")
with warnings.catch_warnings():  # it is older than this PyTorch
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("torch_struct", reason="the oracle is torch-struct")

pytestmark = pytest.mark.filterwarnings("ignore:.*does not define `arg_constraints`")
LENGTHS = [11, 7, 3]


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture(params=["float32", "float64"])
def pairs(request, array):
    """Of both families: ours and theirs, the scores of each, and how ours become theirs."""
    rng = np.random.default_rng(0)
    spans = rng.standard_normal((3, 11, 11)).astype(request.param)
    moves = rng.standard_normal((3, 10, 4, 4)).astype(request.param)
    emissions = array(np.zeros((3, 11, 4), request.param))
    found = []
    for family, scores, to_theirs in [
        (theirs.TreeCRF, spans, lambda a: a[..., None]),
        (theirs.LinearChainCRF, moves, lambda a: a.swapaxes(2, 3)),  # the next label first
    ]:
        x = Tensor(array(scores), requires_grad=True)
        y = torch.tensor(to_theirs(scores).copy())
        trees = family is theirs.TreeCRF
        ours = BinaryTrees(x, LENGTHS) if trees else LinearChain(emissions, x, lengths=LENGTHS)
        found.append((ours, family(y, torch.tensor(LENGTHS)), x, y, to_theirs))
    return found


def assert_same(ours, wanted, x, y, to_theirs, numpy):
    """Two scalars for each of the batch, and their gradients."""
    close(numpy(ours), wanted.detach().numpy())
    (gradient,) = torch.autograd.grad(wanted.sum(), y, retain_graph=True)
    close(to_theirs(numpy(minae.grad(ours.sum(), x, retain_graph=True))), gradient.numpy())


def test_log_partition_and_its_gradient(pairs, numpy):
    for ours, other, *rest in pairs:
        assert_same(ours.log_partition(), other.partition, *rest, numpy)


def test_entropy_and_its_gradient(pairs, numpy):
    for ours, other, *rest in pairs:
        assert_same(ours.entropy(), other.entropy, *rest, numpy)


def test_marginals_and_their_gradient(pairs, array, numpy):
    for ours, other, x, y, to_theirs in pairs:
        marginals = ours.marginals()
        marginals = marginals[1] if isinstance(ours, LinearChain) else marginals
        close(to_theirs(numpy(marginals)), other.marginals.detach().numpy())
        weights = np.random.default_rng(1).standard_normal(x.shape).astype(x.dtype)
        loss = (marginals * array(weights)).sum(axis=(1, 2) if x.ndim == 3 else (1, 2, 3))
        their_loss = (other.marginals * torch.tensor(to_theirs(weights).copy())).flatten(1).sum(1)
        assert_same(loss, their_loss, x, y, to_theirs, numpy)


def test_best_structure_and_its_score(pairs, numpy):
    for ours, other, *_, to_theirs in pairs:
        score, best = ours.best()
        close(numpy(score), other.max.detach().numpy())
        best = numpy(best)
        if isinstance(ours, LinearChain):
            hot = np.eye(4)[best]
            best = hot[:, :-1, :, None] * hot[:, 1:, None, :]
            best *= (np.arange(10) < np.array(LENGTHS)[:, None] - 1)[..., None, None]
        np.testing.assert_array_equal(to_theirs(best), other.argmax.detach().numpy())
