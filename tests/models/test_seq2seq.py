"""The recurrent writer: attention, copies, decoding step by step, learning."""

import itertools
import math

import numpy as np
import pytest

import minae
from minae.models import Seq2Seq, copy_ids

SMALL = {"features": 6, "hidden": 8, "dropout": 0.0}
FORMS = ({}, {"cell": "GRU", "layers": 2}, {"unknown": 1}, {"cell": "GRU", "unknown": 1})
RNG = np.random.default_rng(0)


@pytest.fixture(params=FORMS, ids=lambda form: ", ".join(map(str, form.values())) or "LSTM")
def model(request):
    minae.seed(0)
    return Seq2Seq(13, 7, **SMALL | request.param).astype("float64")


@pytest.fixture
def copier():
    minae.seed(0)
    model = Seq2Seq(13, 7, **SMALL, unknown=1).astype("float64")
    for p in model.parameters():  # so that attention prefers some
        p.data = p.data * 3
    return model


def batch(model, array, rows, before, after, rng=RNG):
    """Sources, targets, and copies where the model makes some: as arguments of ``loss``."""
    source, target = rng.integers(0, 13, (rows, before)), rng.integers(0, 7, (rows, after))
    if model.unknown is None:
        return array(source), array(target)
    copies = np.array([copy_ids(row, row, {s: s for s in range(7)}, 1) for row in source.tolist()])
    target[:, -1] = copies[:, -1]
    return array(source), array(target), array(copies)


# --- Its law -------------------------------------------------------------------------------------


def test_the_loss_is_that_of_the_next_tokens(model, array, numpy):
    source, target, *copies = batch(model, array, 3, 5, 6)
    loss, figures = model.loss(source, target, *copies)
    log_p = numpy(minae.log_softmax(model(source, target, *copies)))[:, :-1]
    expected = -np.take_along_axis(log_p, numpy(target)[:, 1:, None], 2).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert float(figures["perplexity"]) == pytest.approx(math.exp(expected), rel=1e-9)


def test_attention_is_the_general_score_of_luong(model, array, numpy):
    source, target, *copies = batch(model, array, 2, 4, 3)
    weights = numpy(model.attention(source, target, *copies))
    np.testing.assert_allclose(weights.sum(axis=2), 1, atol=1e-12)
    memory = numpy(model.start(source, *copies).memory)
    state = model.start(source, *copies)
    for t in range(3):
        _, state = model.step(target[:, t], state)
        query = numpy(state.states[0])[:, -1] @ numpy(model.score.weight)
        scores = np.einsum("bh,bsh->bs", query, memory)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        np.testing.assert_allclose(weights[:, t], powers / powers.sum(axis=1, keepdims=True))


def test_padding_does_not_count(model, array, numpy, pad):
    parts = [batch(model, array, 1, n, m) for n, m in ((5, 3), (2, 6), (8, 2), (1, 4))]
    padded = [pad([numpy(x)[0] for x in side]) for side in zip(*parts)]
    logits = numpy(model(*padded))
    weights = numpy(model.attention(*padded))
    total = 0.0
    for row, weight, part in zip(logits, weights, parts):
        alone, length = numpy(model(*part))[0], part[1].shape[1]
        known = slice(alone.shape[1])
        np.testing.assert_allclose(row[:length, known], alone, atol=1e-10)
        assert not weight[:length, part[0].shape[1] :].any()
        total += model.loss(*part)[0].item() * (length - 1)
    assert model.loss(*padded)[0].item() == pytest.approx(total / 11, rel=1e-9)
    state = model.start(padded[0], *padded[2:])
    for t in range(2):
        stepped, state = model.step(padded[1].values[:, t], state)
        np.testing.assert_allclose(np.exp(numpy(stepped)), np.exp(logits[:, t]), atol=1e-10)


def test_step_by_step_is_as_the_whole(model, array, numpy):
    source, target, *copies = batch(model, array, 3, 5, 6)
    whole = np.exp(numpy(model(source, target, *copies)))
    state = first = model.start(source, *copies)
    for t in range(6):
        logits, state = model.step(target[:, t], state)
        np.testing.assert_allclose(np.exp(numpy(logits)), whole[:, t], atol=1e-10)
    again, _ = model.step(target[:, 0], first)  # which has stayed as it was
    np.testing.assert_allclose(np.exp(numpy(again)), whole[:, 0], atol=1e-10)


def test_chosen_rows_go_on_by_themselves(model, array, numpy):
    source, target, *copies = batch(model, array, 3, 5, 2)
    whole, rows = np.exp(numpy(model(source, target, *copies))), array([2, 2, 0])
    _, state = model.step(target[:, 0], model.start(source, *copies))

    def select(x):  # plain tuples, as decoders make
        return tuple(map(select, x)) if isinstance(x, tuple) else None if x is None else x[rows]

    logits, _ = model.step(target[rows, 1], select(state))
    np.testing.assert_allclose(np.exp(numpy(logits)), whole[[2, 2, 0], 1], atol=1e-10)


# --- Copies --------------------------------------------------------------------------------------


def test_copies_of_words():
    vocabulary = {"<s>": 0, "<unk>": 1, "the": 2, "saw": 3}
    source = ["the", "emu", "saw", "the", "gnu", "emu"]
    assert copy_ids(source, source, vocabulary, 1) == [2, 5, 3, 2, 8, 5]
    assert copy_ids(["<s>", "gnu", "saw", "emu", "yak"], source, vocabulary, 1) == [0, 8, 3, 5, 1]
    assert copy_ids([], [], vocabulary, 1) == []


def test_the_mixture_is_that_of_see(copier, array, numpy):
    source, target, copies = batch(copier, array, 3, 5, 4)
    mixed = np.exp(numpy(copier(source, target, copies)))
    np.testing.assert_allclose(mixed.sum(axis=2), 1, atol=1e-12)
    weights = numpy(copier.attention(source, target, copies))
    written = copier._write(target, copier.start(source, copies))
    share = 1 / (1 + np.exp(-numpy(written.gate)))
    assert 0.01 < share.min() < share.max() < 0.99
    expected = np.zeros((3, 4, 12))
    expected[:, :, :7] = share[..., None] * np.exp(numpy(minae.log_softmax(written.logits)))
    for b, t, s in itertools.product(range(3), range(4), range(5)):
        expected[b, t, numpy(copies)[b, s]] += (1 - share[b, t]) * weights[b, t, s]
    np.testing.assert_allclose(mixed, expected, atol=1e-12)


def test_the_gate_is_of_context_state_and_input(copier, array, numpy):
    """See et al. 2017, equation 8."""
    source, target, copies = batch(copier, array, 2, 5, 3)
    reading = copier.start(source, copies)
    written = copier._write(target, reading)
    context = np.exp(numpy(written.weights)) @ numpy(reading.memory)
    inputs = numpy(target)
    vectors = numpy(copier.target.weight)[np.where(inputs < 7, inputs, 1)]
    first = tuple(minae.swapaxes(s, 0, 1) for s in reading.states)
    out = numpy(copier.writer(array(vectors), first)[0])
    together = np.concatenate([context, out, vectors], axis=2)
    gate = together @ numpy(copier.gate.weight) + numpy(copier.gate.bias)
    np.testing.assert_allclose(numpy(written.gate), gate[..., 0], atol=1e-12)


def test_of_an_empty_source_nothing_is_copied(copier, array, numpy, pad):
    source, copies = pad([[3, 4], []]), pad([[3, 4], []])
    target = pad([[0, 8, 2], [0, 3]])
    mixed = np.exp(numpy(copier(source, target._replace(values=array([[0, 2, 2], [0, 3, 0]])),
                                copies)))
    np.testing.assert_allclose(mixed.sum(axis=2), 1, atol=1e-12)
    assert not mixed[1, :, 7:].any()
    loss, _ = copier.loss(source, array([[0, 4, 2], [0, 3, 5]]), copies)
    loss.backward()
    assert all(np.isfinite(numpy(p.grad)).all() for p in copier.parameters())


def test_all_strings_together_have_probability_1(array, numpy):
    model = Seq2Seq(9, 4, **SMALL, unknown=1).astype("float64")
    strings = np.array([[0, *s] for s in itertools.product(range(6), repeat=3)])
    source = array(np.repeat([[8, 5]], 216, axis=0))
    copies = array(np.repeat([[4, 5]], 216, axis=0))
    log_p = numpy(model(source, array(strings[:, :-1]), copies))
    total = np.take_along_axis(log_p, strings[:, 1:, None], 2).sum(axis=(1, 2))
    assert np.exp(total).sum() == pytest.approx(1, abs=1e-12)


def test_unknown_words_are_copied(array, numpy, learn):
    """A sentence of one known word and three unknown ones, alike to the reader, said again."""
    minae.seed(0)
    model, rng = Seq2Seq(6, 6, 8, 16, dropout=0.0, unknown=1), np.random.default_rng(0)

    def task(rows):
        places, words = rng.integers(0, 4, rows), rng.integers(3, 6, rows)
        source, copies = np.ones((rows, 4), int), np.tile(np.arange(6, 10), (rows, 1))
        source[np.arange(rows), places] = copies[np.arange(rows), places] = words
        target = np.concatenate([np.zeros((rows, 1), int), copies, np.full((rows, 1), 2)], axis=1)
        return array(source), array(target), array(copies)

    first, last = learn(model, lambda: model.loss(*task(16)), 60, 3e-2)
    assert first > 1.5 and last < 0.2
    source, target, copies = task(50)
    written = numpy(model(source, target, copies)).argmax(axis=2)[:, :-1]
    assert (written == numpy(target)[:, 1:]).mean() > 0.95
    looked = numpy(model.attention(source, target, copies))[:, :4].argmax(axis=2)
    assert (looked == np.arange(4))[numpy(source) == 1].mean() > 0.95


# --- Learning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS[1:3], ids=["GRU, 2", "LSTM, 1"])
def test_it_learns_eight_pairs_by_heart(form, array, numpy, learn):
    minae.seed(0)
    model = Seq2Seq(13, 7, **SMALL | form | {"hidden": 16})
    source, target, *copies = batch(model, array, 8, 5, 6, np.random.default_rng(0))
    target = array(np.concatenate([np.zeros((8, 1), int), numpy(target)], axis=1))
    first, last = learn(model, lambda: model.loss(source, target, *copies), 50, 3e-2)
    assert first > 1.5 and last < 0.1
    written, state = [target[:, 0]], model.eval().start(source, *copies)
    for _ in range(6):
        logits, state = model.step(written[-1], state)
        written.append(array(numpy(logits).argmax(axis=1)))
    assert np.stack([numpy(w) for w in written], axis=1).tolist() == numpy(target).tolist()


def test_every_parameter_gets_a_gradient(model, array):
    model.loss(*batch(model, array, 3, 5, 6))[0].backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and abs(p.grad).max() > 0, name


def test_one_hot_vectors_are_read_as_the_tokens(model, array, numpy):
    source, target, *copies = batch(model, array, 2, 4, 3)
    width = model(source, target, *copies).shape[2]
    vectors = [minae.Tensor(array(np.eye(n)[numpy(x)]), requires_grad=True)
               for n, x in ((13, source), (width, target))]
    whole = np.exp(numpy(model(source, target, *copies)))
    np.testing.assert_allclose(np.exp(numpy(model(*vectors, *copies))), whole, atol=1e-10)
    logits, _ = model.step(vectors[1][:, 2], model.start(vectors[0], *copies))
    for gradient in minae.grad((logits[:, :7] * logits[:, :7]).sum(), vectors):
        assert numpy(gradient).any()


def test_what_does_not_fit(model, array):
    source, target, *copies = batch(model, array, 2, 4, 3)
    with pytest.raises(ValueError, match=r"source tokens must be in \[0, 13\)"):
        model([[13]], target)
    with pytest.raises(ValueError, match=r"target tokens must be in \[0, (7|11)\)"):
        model.loss(source, [[0, 11], [0, 1]], *copies)
    with pytest.raises(ValueError, match="as many targets as sources"):
        model(source, target[:1], *copies)
    with pytest.raises(ValueError, match=r"Expect: source tokens \(batch, time\)"):
        model.start(source[:, :0], *copies)
    with pytest.raises(ValueError, match="go with a model that has unknown"):
        model.start(source, *(() if copies else (source,)))


def test_copies_that_do_not_fit(copier, array):
    source, _, copies = batch(copier, array, 2, 4, 3)
    with pytest.raises(ValueError, match=r"Expect: copies \[2, 4\]"):
        copier.start(source, copies[:, :3])
    with pytest.raises(ValueError, match=r"copies must be in \[0, 11\)"):
        copier.start(source, copies + 11)
    with pytest.raises(ValueError, match="a target token is the copy of no source token"):
        copier.loss(source, [[0, 8], [0, 8]], array([[1, 7, 2, 3]] * 2))


def test_impossible_sizes():
    for wrong in ({"cell": "RNN"}, {"hidden": 7}):
        with pytest.raises(ValueError, match="impossible cell="):
            Seq2Seq(3, 3, **wrong)
    with pytest.raises(ValueError, match="unknown must be one of 3 tokens, got 3"):
        Seq2Seq(3, 3, unknown=3)
