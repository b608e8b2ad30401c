"""GPT: its law, what it sees, decoding step by step, learning. Its values are Hugging Face's: see
tests/oracles."""

import itertools
import math

import numpy as np
import pytest

import minae
from minae.models import GPT
from minae.optim import Adam

SMALL = {"context": 8, "layers": 2, "features": 16, "heads": 4, "dropout": 0.0}
RNG = np.random.default_rng(0)


@pytest.fixture
def model():
    minae.seed(0)
    model = GPT(11, **SMALL).astype("float64")
    for p in model.parameters():  # 0.02 is too little for anything to be seen
        p.data = p.data * 5
    return model


def ids(*shape, high=11):
    return RNG.integers(0, high, shape)


def log_softmax(numpy, logits):
    return numpy(minae.log_softmax(logits)).astype("float64")


def test_the_network_is_the_one_that_is_promised(numpy):
    model = GPT(65)
    assert sum(p.size for p in model.parameters()) == 3_208_960  # 65, 128, and 4 of 256
    for name, p in model.named_parameters():
        deviation = float(numpy(p).std())
        if name.endswith("bias"):
            assert deviation == 0
        elif p.ndim == 2:
            last = name.endswith(("out_proj.weight", "linear2.weight"))
            assert deviation == pytest.approx(0.02 / math.sqrt(8) if last else 0.02, rel=0.05)


def test_the_loss_is_that_of_the_next_tokens(model, array, numpy):
    tokens = ids(3, 6)
    loss, figures = model.loss(array(tokens))
    log_p = log_softmax(numpy, model(array(tokens[:, :-1])))
    expected = -np.take_along_axis(log_p, tokens[:, 1:, None], 2).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert float(figures["perplexity"]) == pytest.approx(math.exp(expected), rel=1e-9)


def test_the_future_is_not_seen(model, array, numpy):
    tokens = ids(1, 8)
    before = numpy(model(array(tokens)))
    for t in range(1, 8):
        changed = tokens.copy()
        changed[:, t] = (changed[:, t] + 1) % 11
        after = numpy(model(array(changed)))
        np.testing.assert_allclose(after[:, :t], before[:, :t], atol=1e-10)
        assert (np.abs(after[:, t:] - before[:, t:]).max(axis=2) > 1e-4).all()


def test_padding_does_not_count(model, array, numpy, pad):
    sequences = [ids(n) for n in (5, 2, 7, 3)]
    batch = pad(sequences, value=10)
    logits = numpy(model(batch))
    total = 0.0
    for row, sequence in zip(logits, sequences):
        alone = array(sequence[None])
        np.testing.assert_allclose(row[: len(sequence)], numpy(model(alone))[0], atol=1e-10)
        total += model.loss(alone)[0].item() * (len(sequence) - 1)
    loss, _ = model.loss(batch)
    assert loss.item() == pytest.approx(total / 13, rel=1e-9)
    other = batch._replace(values=minae.xp.where(batch.mask, batch.values, 3))
    assert model.loss(other)[0].item() == pytest.approx(loss.item(), rel=1e-9)


@pytest.mark.parametrize("prompt", [None, 0, 1, 3, 7])
def test_step_by_step_is_as_the_whole(model, prompt, array, numpy):
    tokens = ids(3, 8)
    whole = numpy(model(array(tokens)))
    state = model.start(None if prompt is None else array(tokens[:, :prompt]))
    for t in range(prompt or 0, 8):
        logits, state = model.step(array(tokens[:, t]), state)
        np.testing.assert_allclose(numpy(logits), whole[:, t], atol=1e-10)


def test_a_state_can_be_gone_on_from_twice(model, array, numpy):
    tokens = ids(2, 4)
    state = model.start(array(tokens[:, :3]))
    first, _ = model.step(array(ids(2)), state)
    second, _ = model.step(array(tokens[:, 3]), state)
    whole = numpy(model(array(tokens)))[:, 3]
    np.testing.assert_allclose(numpy(second), whole, atol=1e-10)
    assert np.abs(numpy(first) - whole).max() > 1e-3
    rows = np.array([1, 1, 0])
    chosen = [cache.select(array(rows)) for cache in state]
    third, _ = model.step(array(tokens[rows, 3]), chosen)
    np.testing.assert_allclose(numpy(third), whole[rows], atol=1e-10)


def test_all_strings_together_have_probability_1(array, numpy):
    model = GPT(4, **SMALL | {"context": 4}).astype("float64")
    strings = np.array([[0, *s] for s in itertools.product(range(4), repeat=3)])
    log_p = log_softmax(numpy, model(array(strings[:, :-1])))
    total = np.take_along_axis(log_p, strings[:, 1:, None], 2).sum(axis=(1, 2))
    assert np.exp(total).sum() == pytest.approx(1, abs=1e-12)
    stepped, state = np.zeros(64), model.start()
    for t in range(3):
        logits, state = model.step(array(strings[:, t]), state)
        stepped += log_softmax(numpy, logits)[np.arange(64), strings[:, t + 1]]
    np.testing.assert_allclose(stepped, total, atol=1e-12)


def test_it_learns_eight_sentences_by_heart(array, numpy, learn):
    minae.seed(0)
    model = GPT(11, **SMALL | {"layers": 1})
    sentences = np.random.default_rng(0).integers(0, 11, (8, 9))
    sentences[:, 0] = np.arange(8)
    first, last = learn(model, lambda: model.loss(array(sentences)), 60, 2e-2)
    assert first == pytest.approx(math.log(11), abs=0.1) and last < 0.05
    written, state = [sentences[:, 0]], model.eval().start()
    for _ in range(8):
        logits, state = model.step(array(written[-1]), state)
        written.append(numpy(logits).argmax(axis=1))
    assert np.stack(written, axis=1).tolist() == sentences.tolist()


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(array):
    batches = [array(ids(4, 9)) for _ in range(6)]

    def run(model, optimizer, batches):
        for batch in batches:
            optimizer.zero_grad()
            model.loss(batch)[0].backward()
            optimizer.step()

    minae.seed(0)
    model = GPT(11, **SMALL | {"dropout": 0.2})
    optimizer = Adam(model.parameters(), 1e-3)
    run(model, optimizer, batches[:3])
    weights, moments = model.state_dict(), optimizer.state_dict()
    generator = minae.random.get_state()
    run(model, optimizer, batches[3:])

    again = GPT(11, **SMALL | {"dropout": 0.2})
    optimizer = Adam(again.parameters(), 1e-3)
    again.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    minae.random.set_state(generator)
    run(again, optimizer, batches[3:])
    expected, found = model.state_dict(), again.state_dict()
    assert all(expected[name].tobytes() == found[name].tobytes() for name in expected)


def test_every_parameter_gets_a_gradient(model, array):
    model.loss(array(ids(2, 9)))[0].backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and abs(p.grad).max() > 0, name


def test_one_hot_vectors_are_read_as_the_tokens(model, array, numpy):
    tokens = ids(2, 4)
    vectors = minae.Tensor(array(np.eye(11, dtype="f")[tokens]), requires_grad=True)
    np.testing.assert_allclose(numpy(model(vectors)), numpy(model(array(tokens))), atol=1e-10)
    logits, _ = model.step(vectors[:, 3], model.start(vectors[:, :3]))
    np.testing.assert_allclose(numpy(logits), numpy(model(array(tokens)))[:, 3], atol=1e-10)
    assert (numpy(minae.grad(logits.sum(), vectors)) != 0).any(axis=2).all()
    with pytest.raises(TypeError, match="vectors are no ids"):
        model.loss(vectors)


def test_what_is_empty(model, array):
    assert model(array(ids(0, 3))).shape == (0, 3, 11)
    loss, _ = model.loss(array(ids(0, 3)))
    assert loss.item() == 0
    with pytest.raises(ValueError, match=r"Expect: tokens \(batch, time\), with a time of 1"):
        model(array(ids(2, 0)))
    with pytest.raises(ValueError, match=r"time of 2 or more\s+Actual: int64\[2, 1\]"):
        model.loss(array(ids(2, 1)))


def test_tokens_that_do_not_fit(model, array, pad):
    with pytest.raises(ValueError, match=r"tokens must be in \[0, 11\), got 11"):
        model([[0, 11]])
    with pytest.raises(ValueError, match=r"tokens must be in \[0, 11\), got -1"):
        model.step(array([-1]), model.start())
    with pytest.raises(TypeError, match="tokens must be integers"):
        model(array([[True]]))
    with pytest.raises(ValueError, match=r"Expect: tokens \(batch, time\)"):
        model(array(ids(5)))
    with pytest.raises(ValueError, match=r"Expect: tokens \(batch, time\)"):
        model(array(np.zeros((1, 2, 10), "f")))  # of a vocabulary of 10
    with pytest.raises(ValueError, match=r"Expect: the last tokens \(rows,\)"):
        model.step(array(ids(2, 1)), model.start())
    with pytest.raises(ValueError, match="prompts of several lengths"):
        model.start(pad([[1, 2], [3]]))


def test_what_is_longer_than_the_context(model, array):
    model.loss(array(ids(1, 9)))
    for too_long in (lambda: model(array(ids(1, 9))), lambda: model.loss(array(ids(1, 10)))):
        with pytest.raises(ValueError, match="more tokens than fit the context"):
            too_long()
    _, state = model.step(array(ids(1)), model.start(array(ids(1, 7))))
    with pytest.raises(ValueError, match="9 tokens are more than the context of 8"):
        model.step(array(ids(1)), state)


def test_tokens_of_other_rows_than_the_state_are_refused(model, array):
    state = model.start(array(ids(1, 3)))
    with pytest.raises(ValueError, match="2 rows do not continue a state of 1"):
        model.step(array(ids(2)), state)


def test_impossible_sizes():
    with pytest.raises(ValueError, match="impossible vocabulary=0"):
        GPT(0)
    with pytest.raises(ValueError, match="3 heads do not divide"):
        GPT(5, features=16, heads=3)


# --- How well a text is foretold ------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 3, 8, 9, 10, 13, 30])
def test_each_token_of_a_text_counts_once_after_half_a_context(model, array, numpy, length):
    text = ids(length)
    time = min(8, length - 1)
    stride = -(-time // 2)
    expected = 0.0
    for n in range(1, length):  # the earliest window that foretells it, of those that there are
        begins = [*range(0, length - 1 - time, stride), length - 1 - time]
        begin = next(b for b in begins if n <= b + time)
        assert begin == 0 or n - begin > time - stride or begin == length - 1 - time
        logits = model(array(text[None, begin : begin + time]))
        expected -= log_softmax(numpy, logits)[0, n - 1 - begin, text[n]]
    for batch_size in (1, 2, 16):
        found = model.evaluate(text, batch_size)
        assert found["tokens"] == length - 1
        assert found["nats"] == pytest.approx(expected, rel=1e-6)
        assert found["perplexity"] == pytest.approx(math.exp(expected / (length - 1)), rel=1e-6)


def test_a_text_of_one_token_foretells_nothing(model):
    with pytest.raises(ValueError, match="a text of two tokens or more"):
        model.evaluate([3])
