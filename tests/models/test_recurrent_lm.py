"""The LSTM that stands beside other language models."""

import itertools

import numpy as np
import pytest

import minae
from minae.models import RecurrentLM


@pytest.fixture
def model():
    minae.seed(0)
    model = RecurrentLM(2, 3, 5).astype("float64")
    for p in model.parameters():
        p.data = p.data * 3
    model.output.bias.data[2] = 3.0  # so that long sentences are rare
    return model


def test_all_sentences_have_probability_one(model, array, numpy):
    total = np.exp(numpy(minae.log_softmax(model.step(*model.start(1))[0]))[0, 2])  # the empty one
    for n in range(1, 10):
        texts = np.array([*itertools.product(range(2), repeat=n)])
        total += np.exp(numpy(model(array(texts)))).sum()
    assert 0.999 < total <= 1 + 1e-9


def test_steps_and_padding_change_nothing(model, array, numpy, pad):
    sentences = [[1, 0, 0], [0], [1, 1, 1, 1, 0]]
    log_p = numpy(model(pad(sentences)))
    for sentence, found in zip(sentences, log_p):
        expected, (token, state) = 0.0, model.start(1)
        for following in [*sentence, 2]:
            logits, state = model.step(token, state)
            expected += numpy(minae.log_softmax(logits))[0, following]
            token = array(np.array([following]))
        assert found == pytest.approx(expected, abs=1e-9)
    loss, figures = model.loss(pad(sentences))
    assert loss.item() == pytest.approx(-log_p.sum() / 12, rel=1e-9)
    assert float(figures["perplexity"]) == pytest.approx(np.exp(loss.item()))


def test_vectors_are_refused(model, array):
    with pytest.raises(TypeError, match=r"vectors are no ids\n  Expect: ids of words"):
        model(array(np.eye(2)[[[0, 1]]]))


def test_it_learns(model, learn, pad):
    text = pad([[1, 0, 1, 0], [1, 0], [1, 0, 1]])
    first, last = learn(model, lambda: model.loss(text), 40)
    assert last < 0.6 * first
