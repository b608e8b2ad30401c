"""A captured step does what the step does, and says what it cannot do."""

import numpy as np
import pytest

import minae
from minae import backend, faults, nn, optim
from minae import functional as F
from minae.backend import CaptureError, capturing
from minae.replay import Graph, capture

device = pytest.mark.skipif(
    not faults.DEFERRED, reason="for CuPy, or its stand-in, without MINAE_DEBUG_SYNC"
)


def trained(wrap, steps=8, sizes=None, make=optim.AdamW):
    """What a small model is after some steps, which ``wrap`` may capture."""
    minae.seed(3)
    rng = np.random.default_rng(1)
    model = nn.Sequential(
        nn.Linear(6, 8, bias=False, rng=rng), nn.BatchNorm1d(8), minae.relu, nn.Dropout(0.3),
        nn.Linear(8, 3, rng=rng),
    )  # fmt: skip
    optimizer = make(model.parameters(), 0.05)
    losses = []

    def step(x, labels):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 0.5)
        optimizer.step()
        return {"loss": loss}

    step = wrap(step)
    for i in range(steps):
        n = (sizes or [5])[i % len(sizes or [5])]
        optimizer.lr = 0.05 / (i + 1)
        x = backend.asarray(rng.standard_normal((n, 6)).astype("f"))
        labels = backend.asarray(rng.integers(0, 3, n))
        losses.append(step(x, labels)["loss"])
    return [loss.item() for loss in losses], model.state_dict(), optimizer.state_dict()


@pytest.mark.parametrize("make", [optim.AdamW, lambda p, lr: optim.SGD(p, lr, momentum=0.9)])
@pytest.mark.parametrize("sizes", [[5], [5, 3]])
def test_a_captured_training_is_the_training(sizes, make, emulated):
    plain, captured = trained(lambda step: step, 8, sizes, make), trained(capture, 8, sizes, make)
    np.testing.assert_allclose(captured[0], plain[0], rtol=1e-4)  # products are others' there
    for one, other in zip(plain[1:], captured[1:]):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(other[name], one[name], rtol=1e-3, atol=1e-5, err_msg=name)


@device
def test_the_third_call_is_captured(array, monkeypatch):
    made = []
    monkeypatch.setattr("minae.replay.Graph", lambda *a: made.append(1) or Graph(*a))
    ran = []
    step = capture(lambda x: ran.append(1) or x + 1)
    results = [step(array([float(i)])) for i in range(6)]
    assert [r.tolist() for r in results] == [[i + 1.0] for i in range(6)]
    assert len(ran) == 3 and len(made) == 1


@device
@pytest.mark.parametrize(("what", "step"), [
    ("copy to the host", lambda x: minae.tensor(x[0]).item()),
    ("copy to the host", lambda x: minae.tensor(x).numpy()),
    ("cannot be captured", lambda x: x[x > 0]),
    ("cannot be captured", lambda x: bool(x[0])),
    ("NumPy generator", lambda x: F.dropout(x, 0.5, rng=np.random.default_rng(0))),
    ("from the host", lambda x: x + backend.asarray(np.ones(2))),
])  # fmt: skip
def test_what_cannot_be_captured(array, what, step):
    taken = capture(step)
    x = array([1.0, 2.0])
    taken(x), taken(x)
    with pytest.raises(CaptureError, match=what):
        taken(x)
    assert capturing.get() is None
    assert (x + 1).tolist() == [2.0, 3.0]  # nothing is captured any more


@device
def test_gradients_are_cleared_and_made_inside(array):
    p = minae.tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([p], 0.1)
    minae.mean(p * p).backward()
    grows = capture(lambda x: minae.mean(p * x).backward())
    grows(array([1.0])), grows(array([1.0]))
    with pytest.raises(CaptureError, match="zero_grad"):
        grows(array([1.0]))
    steps = capture(lambda: optimizer.step())
    steps(), steps()
    with pytest.raises(CaptureError, match="backward"):
        steps()


@device
def test_gradients_that_are_used_outside_are_those_of_the_last_call(array):
    p = minae.tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([p], 0.1)
    pull = capture(lambda x: minae.mean(p * x).backward())
    for i in range(8):
        optimizer.zero_grad()
        pull(array([float(i)] * (1 + i % 2)))  # two graphs
        assert p.grad.tolist() == [i]
        optimizer.step()
    assert p.item() == pytest.approx(1 - 0.1 * 28)


@device
def test_gradients_do_not_add_up_over_replays_in_silence(array):
    p = minae.tensor([1.0], requires_grad=True)
    pull = capture(lambda x: minae.mean(p * x).backward())
    for _ in range(3):
        p.grad = None
        pull(array([1.0]))
    with pytest.raises(CaptureError, match="zero_grad"):
        pull(array([1.0]))


@device
def test_numbers_that_are_equal_but_not_the_same_have_graphs_of_their_own(array):
    step = capture(lambda x, flag: x + 1 if flag is True else x + 2)
    assert [step(array([0.0]), flag).item() for flag in [True] * 3 + [1] * 3] == [1] * 3 + [2] * 3


@device
def test_a_step_that_failed_leaves_numbers_as_they_were(array):
    p = minae.tensor([1.0], requires_grad=True)
    optimizer = optim.Adam([p], 0.1)

    def step(x):
        optimizer.zero_grad()
        minae.mean(p * x).backward()
        optimizer.step()
        return bool(x[0])

    taken = capture(step)
    taken(array([1.0])), taken(array([1.0]))
    before = p.tolist(), optimizer.state_dict()
    with pytest.raises(CaptureError):
        taken(array([1.0]))
    assert p.tolist() == before[0] and p.grad is None
    after = optimizer.state_dict()
    assert all((after[name] == before[1][name]).all() for name in after)


@device
def test_arguments_that_are_no_key_are_refused(array):
    with pytest.raises(CaptureError, match="plain values"):
        capture(lambda x, extra: x)(array([1.0]), [1])


def descent():
    """A parameter, and a captured step that moves it."""
    p = minae.tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([p], 0.1)

    @capture
    def step(x):
        optimizer.zero_grad()
        minae.mean(p * x).backward()
        optimizer.step()

    return p, step


@device
def test_a_graph_recorded_before_a_replay_is_stale(array):
    p, step = descent()
    for _ in range(3):
        step(array([1.0]))
    loss = (p * p).sum()
    step(array([1.0]))
    with pytest.raises(RuntimeError, match="written since"):
        loss.backward()


@device
def test_noise_goes_on_in_replays_as_it_would_without(array, emulated):
    def draws(wrap):
        minae.seed(5)
        drop = wrap(lambda x: F.dropout(x, 0.5))
        return [drop(array(np.ones(50, "f"))).tolist() for _ in range(6)]

    plain = draws(lambda step: step)
    assert draws(capture) == plain
    assert len({str(d) for d in plain}) == 6


@device
def test_a_product_by_the_definition_cannot_be_captured_and_says_where(array):
    weight = minae.tensor([[1.0]])
    taken = capture(lambda x: minae.tensor(x) @ weight)
    x = array([[1.0]], "float32")
    taken(x), taken(x)
    with pytest.raises(CaptureError, match=r"test_capture.py:\d+: taken = .*cuBLAS"):
        taken(x)


@device
def test_what_the_step_itself_raises_stays_what_it_is(array):
    def step(x, fail):
        if fail:
            raise KeyError("mine")
        return x + 1

    taken = capture(step)
    x = array([1.0])
    for _ in range(3):
        with pytest.raises(KeyError, match="mine"):
            taken(x, True)  # a call that failed has warmed nothing
    assert [taken(x, False).tolist() for _ in range(4)] == [[2.0]] * 4


@device
def test_arrays_of_the_host_are_brought(array):
    taken = capture(lambda x: minae.tensor(x) * 2)
    for i in range(5):
        assert taken(np.full(2, i, "float32")).tolist() == [2.0 * i] * 2


@device
def test_a_parameter_with_another_array_is_noticed(array):
    p, step = descent()
    for _ in range(4):
        step(array([1.0], "float32"))
    p.array = p.array.copy()
    with pytest.raises(CaptureError, match="another array"):
        step(array([1.0], "float32"))


@device
@pytest.mark.parametrize("function", [
    lambda x: minae.concatenate([x] * 12), lambda x: minae.stack([x] * 12, 1),
    lambda x: minae.avg_pool1d(x[None, :, None], 2), lambda x: minae.cumsum(x, 0),
    lambda x: minae.segment_sum(x, backend.xp.zeros(4, int), 2),
    lambda x: minae.segment_max(x, backend.xp.zeros(4, int), 2),
    lambda x: minae.cross_entropy(x[None], backend.xp.zeros(1, int), label_smoothing=0.1),
    lambda x: minae.softmax(x), lambda x: minae.max_pool1d(x[None, :, None], 2),
    lambda x: minae.embedding(x[:, None], backend.xp.zeros(3, int)),
])  # fmt: skip
def test_what_can_be_captured(array, numpy, emulated, function):
    def step(x):
        x = minae.Tensor(x, requires_grad=True)
        y = function(x).sum()
        return y.detach(), minae.grad(y, x)

    taken = capture(step)
    for i in range(5):
        x = array(np.arange(4.0) + i, "float32")
        for ours, theirs in zip(taken(x), step(x), strict=True):
            np.testing.assert_allclose(numpy(ours), numpy(theirs), rtol=1e-6)
