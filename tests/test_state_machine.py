"""Whatever a user does to a model, in whatever order: its state stays whole.

Hypothesis draws sequences of training, evaluation, saving, loading and reviving, and shrinks one
that breaks a promise to the shortest that does.
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import minae
from minae import backend, nn, optim, vq
from minae.backend import asarray, asnumpy
from minae.engine import entries

CODES, FEATURES = 6, 4
FAR = 1e3  # where no latent is
seeds = st.integers(0, 1000)


class Searched(vq.VectorQuantizerEMA):
    """Keeps what its last search was for, and in which codebook; as bytes, which are no state."""

    def encode(self, x):
        self.last = asnumpy(entries(x)).tobytes(), self.codebook.numpy().tobytes()
        return super().encode(x)

    def last_search(self):
        return [np.frombuffer(data, "float32").reshape(-1, FEATURES) for data in self.last]


class Model(nn.Module):
    def __init__(self):
        self.encoder = nn.Sequential(
            nn.Linear(3, 8), minae.tanh, nn.Linear(8, FEATURES), nn.BatchNorm2d(FEATURES),
            nn.Dropout(0.2),
        )
        self.quantizer = Searched(CODES, FEATURES, decay=0.8)
        self.decoder = nn.Sequential(nn.Linear(FEATURES, 8), minae.tanh, nn.Linear(8, 3))

    def forward(self, x):
        quantized = self.quantizer(self.encoder(x))
        return self.decoder(quantized.values), quantized


def images(seed, count):
    """(count, 2, 2, 3), around another place for each seed."""
    rng = np.random.default_rng(seed)
    return asarray(rng.normal(rng.normal(size=3), 1, (count, 2, 2, 3)).astype("float32"))


PROBE = images(1001, 5)


def frozen(state):
    return {name: (x.dtype, x.shape, x.tobytes()) for name, x in state.items()}


def nearest(vectors, codebook):
    """By the definition: in float64, feature after feature, the lowest on ties."""
    pairs = zip(vectors.astype("float64").T, codebook.astype("float64").T)
    return sum((x[:, None] - e) ** 2 for x, e in pairs).argmin(axis=1)


class Life(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        minae.seed(0)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "saved.npz")
        self.graphs = []  # [a loss, "fresh", "stale" or "freed"]
        self.saved = None
        self.model, *self.optimizers = self.parts = self.fresh()
        self.identity = {name: self.form(x) for name, x in self.model.named_state()}
        assert len(self.model.parameters()) == 10 and len(self.identity) == 16

    def teardown(self):
        self.folder.cleanup()

    def fresh(self):
        model = Model()
        encoder, decoder = model.encoder.parameters(), model.decoder.parameters()
        return model, optim.SGD(encoder, 0.01, momentum=0.9), optim.Adam(decoder, 0.01)

    def form(self, x):
        return id(x), id(entries(x)), x.shape, x.dtype

    def state(self):
        return [frozen(part.state_dict()) for part in self.parts]

    def outputs(self, model):
        """What the model makes of the probe in evaluation, as bytes."""
        mode = model.training
        with minae.no_grad():
            y, quantized = model.eval()(PROBE)
        model.train(mode)
        return entries(y).tobytes(), quantized.codes.tobytes(), quantized.loss.item()

    def age(self):
        for graph in self.graphs:
            if graph[1] == "fresh":
                graph[1] = "stale"

    # --- What is done ------------------------------------------------------------------------

    @rule(seed=seeds, count=st.integers(1, 9))
    def forward(self, seed, count):
        x = images(seed, count)
        before, drawn = self.state(), minae.random.get_state()
        y, quantized = self.model(x)
        assert y.shape == x.shape and quantized.codes.shape == x.shape[:-1]
        assert 1 - 1e-5 <= quantized.perplexity <= CODES + 1e-5
        vectors, codebook = self.model.quantizer.last_search()
        codes = asnumpy(quantized.codes).ravel()
        assert codes.min() >= 0 and codes.max() < CODES
        assert (codes == nearest(vectors, codebook)).all()
        assert entries(quantized.values).tobytes() == codebook[codes].tobytes()
        if not self.model.training:
            assert self.state() == before and minae.random.get_state() == drawn
        self.graphs.append([minae.mse_loss(y, x) + quantized.loss, "fresh"])

    @precondition(lambda self: self.graphs)
    @rule(data=st.data())
    def backward(self, data):
        graph = data.draw(st.sampled_from(self.graphs))
        loss, age = graph
        parameters = self.model.parameters()
        before = [None if p.grad is None else p.grad.copy() for p in parameters]
        if age == "fresh":
            new = minae.grad(loss, parameters, retain_graph=True)
            loss.backward()
            expected = [g if b is None else b + g for b, g in zip(before, new)]
            graph[1] = "freed"
        else:
            with pytest.raises(RuntimeError, match="written since" if age == "stale" else "freed"):
                loss.backward()
            expected = before
            self.graphs.remove(graph)
        for p, g in zip(parameters, expected):
            assert (p.grad is None) if g is None else (p.grad.tobytes() == g.tobytes())

    @rule(which=st.sampled_from([0, 1]))
    def step(self, which):
        optimizer = self.optimizers[which]
        moving = [p for p in optimizer.parameters if p.grad is not None]
        reads = [(p * p).sum() for p in moving]
        others = [p.array.tobytes() for p in self.model.parameters() if p not in set(moving)]
        steps = list(optimizer.steps)
        optimizer.step()
        for y in reads:
            with pytest.raises(RuntimeError, match="written since"):
                y.backward()
        assert others == [
            p.array.tobytes() for p in self.model.parameters() if p not in set(moving)
        ]
        assert sum(optimizer.steps) - sum(steps) == len(moving)
        if moving:
            self.age()

    @rule(seed=seeds, count=st.integers(1, 9))
    def learn(self, seed, count):
        """A whole step of training: drawn alone, its parts would seldom meet."""
        self.forward(seed, count)
        self.graphs[-1][0].backward()
        self.graphs[-1][1] = "freed"
        self.step(0)
        self.step(1)

    @rule()
    def zero_grad(self):
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        assert all(p.grad is None for p in self.model.parameters())

    @rule()
    def train(self):
        self.model.train()
        assert all(module.training for module in self.model.modules())

    @rule()
    def eval(self):
        self.model.eval()
        assert not any(module.training for module in self.model.modules())

    @rule()
    def save(self):
        states = enumerate(part.state_dict() for part in self.parts)
        minae.io.save(self.path, {f"{i}.{k}": x for i, s in states for k, x in s.items()})
        self.saved = self.state(), self.outputs(self.model)
        self.load_into(self.fresh())

    @precondition(lambda self: self.saved)
    @rule()
    def load(self):
        self.load_into(self.parts)
        self.age()

    def load_into(self, parts):
        arrays = minae.io.load(self.path)
        for i, part in enumerate(parts):
            part.load_state_dict({k[2:]: x for k, x in arrays.items() if k[0] == str(i)})
        state, outputs = self.saved
        assert [frozen(part.state_dict()) for part in parts] == state
        assert self.outputs(parts[0]) == outputs

    @rule(part=st.integers(0, 2), damage=st.sampled_from(["missing", "unknown", "shape"]),
          data=st.data())
    def load_what_does_not_fit(self, part, damage, data):
        other = {name: x + 1 for name, x in self.parts[part].state_dict().items()}
        name = data.draw(st.sampled_from(sorted(other)))
        value = other.pop(name)
        if damage == "unknown":
            other |= {name: value, f"{name}.more": value}
        elif damage == "shape":
            other[name] = np.stack([value, value])
        before = self.state()
        with pytest.raises(ValueError, match=name):
            self.parts[part].load_state_dict(other)
        assert self.state() == before

    @precondition(lambda self: int(self.model.quantizer.placed[0]) == CODES)
    @rule(seed=seeds, code=st.integers(0, CODES - 1))
    def revive(self, seed, code):
        quantizer = self.model.quantizer
        codebook = quantizer.codebook.numpy().copy()
        codebook[code] = FAR
        quantizer.codebook.data = codebook
        quantizer.use[code] = 0
        mode = self.model.training
        self.model.train()(images(seed, 4))
        self.model.train(mode)
        revived, (vectors, _) = quantizer.codebook.numpy()[code], quantizer.last_search()
        assert (vectors == revived).all(axis=1).any()
        assert quantizer.use[code] > 0

    @rule(seed=seeds, spread=st.sampled_from([0.1, 1.0, 100.0]))
    def quantize(self, seed, spread):
        quantizer = self.model.quantizer
        codebook = quantizer.codebook.numpy()
        rng = np.random.default_rng(seed)
        vectors = rng.normal(0, spread, (20, FEATURES)).astype("float32")
        vectors[:CODES] = codebook  # at distance 0
        codes = quantizer.encode(asarray(vectors))
        assert (asnumpy(codes) == nearest(vectors, codebook)).all()
        assert asnumpy(quantizer.decode(codes)).tobytes() == codebook[asnumpy(codes)].tobytes()
        assert asnumpy(quantizer.decode(codes))[:CODES].tobytes() == codebook.tobytes()

    # --- What always holds -------------------------------------------------------------------

    @invariant()
    def state_keeps_its_form_and_is_finite(self):
        assert {name: self.form(x) for name, x in self.model.named_state()} == self.identity
        for part in self.parts:
            for name, x in part.state_dict().items():
                assert np.isfinite(x).all(), name

    @invariant()
    def gradients_match_their_parameters(self):
        for p in self.model.parameters():
            if p.grad is not None:
                assert type(p.grad) is backend.ndarray
                assert p.grad.shape == p.shape and p.grad.dtype == p.dtype
                assert np.isfinite(asnumpy(p.grad)).all()
                assert not np.may_share_memory(asnumpy(p.grad), asnumpy(p.array))

    @invariant()
    def counts_and_moments_are_not_negative(self):
        quantizer = self.model.quantizer
        assert (quantizer.use >= 0).all() and quantizer.batches[0] >= 0
        assert 0 <= int(quantizer.placed[0]) <= CODES
        assert (self.model.encoder[3].running_var >= 0).all()
        assert all((v >= 0).all() for v in self.optimizers[1].state["v"])


def test_a_model_stays_whole_whatever_is_done_to_it():
    slow = [HealthCheck.too_slow]  # no concern of a busy machine's
    run_state_machine_as_test(Life, settings=settings(
        max_examples=40, stateful_step_count=40, suppress_health_check=slow
    ))
