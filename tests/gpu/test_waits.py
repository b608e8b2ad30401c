"""A training step waits for the device once at most: when its loss is read."""

import numpy as np
import pytest

import minae
from minae import backend, faults, nn, optim, random, replay, transfer
from minae import functional as F
from minae.models import VQVAE
from minae.run import Run
from minae.train import fit

if not faults.DEFERRED:
    pytest.skip("for CuPy, or its stand-in, without MINAE_DEBUG_SYNC", allow_module_level=True)
standin = pytest.importorskip("cupy.standin", reason="only the stand-in counts")


def test_a_step_of_a_classifier_waits_once(array, emulated):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Embedding(20, 8), nn.Dropout(0.1), nn.LayerNorm(8), nn.Linear(8, 20))
    optimizer = optim.AdamW(model.parameters(), 0.01)
    for _ in range(3):
        words = array(rng.integers(0, 20, (4, 6)))
        with standin.count() as count:
            loss = F.cross_entropy(model(words), words)
            optimizer.zero_grad()
            loss.backward()
            optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            loss.item()
        assert count.waits == 1, count.places


def small(**options):
    minae.seed(0)
    return VQVAE(codes=8, features=4, hidden=4, residual=2, **options)


@pytest.mark.parametrize("quantizer", [minae.vq.VectorQuantizer, minae.vq.VectorQuantizerEMA])
def test_a_step_of_the_vqvae_waits_once(array, emulated, quantizer):
    model = small()
    model.quantizer = quantizer(8, 4)
    optimizer = optim.Adam(model.parameters(), 1e-3)
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), "uint8")
    for step in range(3):
        batch = array(images)
        with standin.count() as count:
            loss, figures = model.loss(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            faults.fetch(loss, *figures.values())
        if step:  # k-means has placed the codewords
            assert count.waits == 1, count.places


def test_a_run_waits_once_a_step_and_ends_as_without_graphs(emulated, tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), "uint8")

    def trained(folder):
        model = small()
        optimizer = optim.Adam(model.parameters(), 1e-3)
        run = Run.create(tmp_path / folder, {})
        fit(model, optimizer, images, run, epochs=3, batch_size=8, seed=0,
            schedule=lambda step: 1e-3 / (step + 1))  # fmt: skip
        return run.history, model.state_dict()

    waits = []

    def fetch(*values):
        waits.append(count.waits)
        return faults.fetch(*values)

    monkeypatch.setattr("minae.train.fetch", fetch)
    with standin.count() as count:
        history, state = trained("graph")
    assert set(np.diff(waits)) == {1} and len(waits) == 9
    monkeypatch.setattr("minae.train.capture", lambda step: step)
    plain, plain_state = trained("plain")
    assert history == plain and len(history) == 9
    for name in state:
        np.testing.assert_array_equal(state[name], plain_state[name], name)


class Annealed(nn.Module):
    """Its loss is a number that Python counts up, to 3."""

    def __init__(self):
        self.weight = minae.tensor([1.0], requires_grad=True)
        self.other = minae.tensor([1.0], requires_grad=True)
        self.factor = 0.0

    def loss(self, images):
        self.factor = min(self.factor + 1.0, 3.0)
        return (self.weight.sum() + self.other.sum()) * self.factor, {"factor": self.factor}


def test_a_run_follows_what_python_decides_by(emulated, tmp_path, monkeypatch):
    captured = []
    graph = replay.Graph
    monkeypatch.setattr(replay, "Graph", lambda *a: captured.append(1) or graph(*a))
    model = Annealed()

    def schedule(step):
        model.other.requires_grad = step < 9
        return 0.1

    run = Run.create(tmp_path / "run", {})
    fit(model, optim.SGD(model.parameters(), 0.1), np.zeros((12, 1, 1, 1), "uint8"), run,
        epochs=1, batch_size=1, seed=0, schedule=schedule)  # fmt: skip
    assert [row["factor"] for row in run.history] == [1, 2, *[3] * 10]
    assert model.weight.item() == pytest.approx(1 - 0.1 * (1 + 2 + 30), abs=1e-5)
    assert model.other.item() == pytest.approx(1 - 0.1 * (1 + 2 + 21), abs=1e-5)
    assert len(captured) == 2


def test_uploads_are_the_arrays_and_wait_for_none(array, numpy):
    host = [np.full((3, 2), i, "uint8") for i in range(6)] + [np.zeros((1, 2), "uint8")]
    with standin.count() as count:
        found = list(transfer.uploads(iter(host)))
    assert count.waits == 0
    assert all(isinstance(x, backend.ndarray) for x in found)
    for x, y in zip(found, host, strict=True):
        np.testing.assert_array_equal(numpy(x), y)
    assert list(transfer.uploads([])) == []


def test_memory_of_an_array_that_nobody_took_waits_for_its_copy(array, monkeypatch):
    streams = []
    stream = backend.xp.cuda.Stream
    monkeypatch.setattr(stream, "wait_event", lambda self, event: streams.append(self))
    coming = transfer.uploads([np.zeros(2, "uint8")] * 3)
    next(coming)
    before = len(streams)
    coming.close()
    assert streams[before:] == [backend.xp.cuda.get_current_stream()]


def test_noise_is_drawn_without_a_wait_and_comes_again(numpy):
    minae.seed(1)
    random.uniform_noise((3, 4))
    state = random.get_state()
    assert state["philox"][1] > 0
    with standin.count() as count:
        drawn = [random.uniform_noise((3, 4)), random.normal_noise(5), random.integer_noise(9, 7)]
    assert count.waits == 0
    random.set_state(state)
    again = [random.uniform_noise((3, 4)), random.normal_noise(5), random.integer_noise(9, 7)]
    for x, y in zip(drawn, again):
        np.testing.assert_array_equal(numpy(x), numpy(y))


def test_a_generator_decides_the_noise(numpy):
    def draw():
        return numpy(random.uniform_noise(9, rng=np.random.default_rng(4)))

    np.testing.assert_array_equal(draw(), draw())
    with random.using(np.random.default_rng(4)):
        np.testing.assert_array_equal(numpy(random.uniform_noise(9)), draw())


def test_parameters_start_as_on_numpy(numpy):
    minae.seed(7)
    found = numpy(nn.Linear(3, 2).weight)
    drawn = np.random.Generator(np.random.PCG64(7)).random((3, 2), dtype="f")
    np.testing.assert_allclose(found, (2 * drawn - 1) / np.sqrt(3), atol=1e-7)


def test_nothing_is_compiled_for_the_host(monkeypatch):
    compiler = pytest.importorskip("minae.kernels.compiler", reason="needs Numba")
    monkeypatch.setattr(backend.xp, "RawModule", object, raising=False)
    monkeypatch.setattr(compiler, "compile_all", lambda dtypes: pytest.fail("it compiles"))
    minae.kernels.warm_up()
