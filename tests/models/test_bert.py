"""BERT: what is hidden from it, what it sees, learning. Its values are Hugging Face's: see
tests/oracles."""

import math

import numpy as np
import pytest

import minae
from minae.models import BERT, Masked, mask_tokens

SMALL = {"context": 8, "layers": 2, "features": 16, "heads": 4, "dropout": 0.0}
RNG = np.random.default_rng(0)
PAD, CLS, SEP, MASK = range(4)


@pytest.fixture
def model():
    minae.seed(0)
    model = BERT(11, **SMALL).astype("float64")
    for p in model.parameters():  # 0.02 is too little for anything to be seen
        p.data = p.data * 5
    return model


def ids(*shape, low=4, high=11):
    return RNG.integers(low, high, shape)


# --- Hiding tokens -------------------------------------------------------------------------------


def test_what_is_hidden_is_told_and_nothing_else_changes(array, numpy, pad):
    lengths = [20, 3, 1, 12, 2]
    sequences = [np.concatenate([[CLS], ids(n), [SEP]]) for n in lengths]
    batch = pad(sequences, value=5)  # so that the lengths alone tell what is padding
    masked = mask_tokens(batch, 11, MASK, (CLS, SEP), rng=np.random.default_rng(1))
    before, after = numpy(batch.values), numpy(masked.tokens.values)
    positions, labels = numpy(masked.positions), numpy(masked.labels)
    assert (labels != -100).sum(axis=1).tolist() == [3, 1, 1, 2, 1]  # 0.15 of the lengths, or 1
    for row in range(5):
        hidden = positions[row][labels[row] != -100]
        assert len(set(hidden)) == len(hidden)
        assert (before[row, hidden] == labels[row][labels[row] != -100]).all()
        assert (before[row, hidden] >= 4).all()
        others = np.delete(np.arange(before.shape[1]), hidden)
        assert (before[row, others] == after[row, others]).all()
    assert (numpy(masked.tokens.lengths) == numpy(batch.lengths)).all()


def test_eight_in_ten_become_the_mask_one_any_token_and_one_stays(array, numpy):
    tokens = ids(500, 40)
    masked = mask_tokens(array(tokens), 11, MASK, rng=np.random.default_rng(0))
    found = np.take_along_axis(numpy(masked.tokens), numpy(masked.positions), 1)
    labels = numpy(masked.labels)
    assert labels.shape == (500, 6) and (labels >= 4).all()
    kinds = np.where(found == labels, 11, found)  # 11: it stayed, or the same was drawn
    counts = np.bincount(kinds.ravel(), minlength=12)
    expected = np.full(12, 3000 * 0.1 / 11 * 6 / 7)  # of 4 to 10, one in 7 was there before
    expected[:4] = 3000 * 0.1 / 11
    expected[MASK] += 3000 * 0.8
    expected[11] = 3000 * (0.1 + 0.1 / 11)
    assert expected.sum() == pytest.approx(3000)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 31.3  # of 11 degrees of freedom: one in a thousand


def test_each_place_is_hidden_equally_often(array, numpy):
    masked = mask_tokens(array(ids(4000, 10)), 11, MASK, rng=np.random.default_rng(0))
    counts = np.bincount(numpy(masked.positions).ravel(), minlength=10)
    assert counts.sum() == 8000
    chi_square = ((counts - 800) ** 2 / 800).sum()
    assert chi_square < 27.9  # of 9 degrees of freedom: one in a thousand


def test_a_seed_decides(array, numpy):
    tokens = array(ids(5, 20))

    def drawn(seed):
        return [numpy(x).tolist() for x in
                mask_tokens(tokens, 11, MASK, rng=np.random.default_rng(seed))]

    before = numpy(tokens).tolist()
    assert drawn(0) == drawn(0) != drawn(1)
    assert numpy(tokens).tolist() == before


def test_where_nothing_can_be_hidden(model, array, numpy):
    tokens = array(np.full((2, 3), CLS))
    masked = mask_tokens(tokens, 11, MASK, (CLS,))
    assert (numpy(masked.labels) == -100).all()
    assert (numpy(masked.tokens) == CLS).all()
    assert model.loss(masked)[0].item() == 0
    assert mask_tokens(array(ids(0, 3)), 11, MASK).labels.shape == (0, 1)


def test_impossible_masks(array):
    tokens = array(ids(2, 5))
    for share in (0, 1.5, math.nan):
        with pytest.raises(ValueError, match="share must be above 0"):
            mask_tokens(tokens, 11, MASK, share=share)
    with pytest.raises(ValueError, match=r"mask and special tokens must be in \[0, 11\)"):
        mask_tokens(tokens, 11, 11)
    with pytest.raises(ValueError, match=r"tokens must be in \[0, 5\)"):
        mask_tokens(tokens, 5, MASK)
    with pytest.raises(TypeError, match="vectors are no ids"):
        mask_tokens(array(np.ones((1, 2, 11), "f")), 11, MASK)


# --- The model -----------------------------------------------------------------------------------


def test_the_network_is_the_one_that_is_promised(numpy):
    model = BERT(65)
    layer = 12 * 256**2 + 13 * 256
    body = (65 + 128 + 2 + 2) * 256 + 4 * layer
    heads = 2 * (256**2 + 256) + 2 * 256 + 65 + 2 * 257
    assert sum(p.size for p in model.parameters()) == body + heads
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert not numpy(p).any()
        elif p.ndim == 2:
            assert float(numpy(p).std()) == pytest.approx(0.02, rel=0.1)


def test_the_loss_is_that_of_the_hidden_tokens(model, array, numpy):
    tokens = ids(3, 8)
    masked = mask_tokens(array(tokens), 11, MASK, share=0.4, rng=np.random.default_rng(0))
    labels = numpy(masked.labels).copy()
    labels[1, 1] = -100
    masked = masked._replace(labels=array(labels))
    log_p = numpy(minae.log_softmax(model.predict(model(masked.tokens))))
    total = [
        log_p[row, place, label]
        for row in range(3)
        for place, label in zip(numpy(masked.positions)[row], labels[row]) if label != -100
    ]  # fmt: skip
    assert len(total) == 8
    loss, figures = model.loss(masked)
    assert loss.item() == pytest.approx(-np.mean(total), rel=1e-9)
    assert float(figures["perplexity"]) == pytest.approx(math.exp(-np.mean(total)), rel=1e-9)

    both, figures = model.loss(masked, follows=array([0, 1, 1]))
    pair = numpy(minae.log_softmax(model.follows(model.pool(model(masked.tokens)))))
    more = -(pair[0, 0] + pair[1, 1] + pair[2, 1]) / 3
    assert both.item() == pytest.approx(loss.item() + more, rel=1e-9)
    assert float(numpy(figures["follows"])) == pytest.approx(more, rel=1e-9)


def test_both_directions_are_seen(model, array, numpy):
    tokens = ids(1, 8)
    before = numpy(model(array(tokens)))
    changed = tokens.copy()
    changed[0, 4] = MASK
    assert (np.abs(numpy(model(array(changed))) - before).max(axis=2) > 1e-4).all()


def test_padding_does_not_count(model, array, numpy, pad):
    sequences = [ids(n) for n in (5, 1, 8, 3)]
    batch = pad(sequences)
    vectors = numpy(model(batch))
    for row, sequence in zip(vectors, sequences):
        np.testing.assert_allclose(row[: len(sequence)], numpy(model(array(sequence[None])))[0],
                                   atol=1e-10)
    other = batch._replace(values=minae.xp.where(batch.mask, batch.values, 3))
    for row, same, sequence in zip(vectors, numpy(model(other)), sequences):
        np.testing.assert_allclose(row[: len(sequence)], same[: len(sequence)], atol=1e-10)


def test_without_positions_order_does_not_matter(model, array, numpy):
    model.positions.weight.data = 0 * model.positions.weight.data
    tokens, order = ids(2, 8), RNG.permutation(8)
    np.testing.assert_allclose(numpy(model(array(tokens[:, order]))),
                               numpy(model(array(tokens)))[:, order], atol=1e-10)


def test_segments_are_told_apart(model, array, numpy):
    tokens = array(ids(2, 4))
    kinds = np.array([[0, 0, 1, 1]] * 2)
    plain = numpy(model(tokens))
    np.testing.assert_allclose(numpy(model(tokens, array(0 * kinds))), plain, atol=1e-10)
    assert np.abs(numpy(model(tokens, array(kinds))) - plain).max() > 1e-3
    with pytest.raises(ValueError, match=r"Expect: segments \[2, 4\]"):
        model(tokens, array(kinds[:, :3]))
    with pytest.raises(ValueError, match=r"codes must be in \[0, 2\)"):
        model(tokens, array(kinds + 1))


def test_it_learns_what_is_hidden_in_eight_sentences(model, array, numpy, learn):
    rng = np.random.default_rng(0)
    sentences = np.concatenate([np.arange(8)[:, None], rng.integers(4, 11, (8, 7))], axis=1)
    masked = mask_tokens(array(sentences), 11, MASK, (*range(4), 9), share=0.3, rng=rng)
    first, last = learn(model, lambda: model.loss(masked), 40)
    assert first > 2 and last < 0.05
    rows = minae.xp.arange(8)[:, None]
    found = numpy(model.predict(model(masked.tokens)[rows, masked.positions])).argmax(axis=2)
    labels = numpy(masked.labels)
    assert (found == labels)[labels != -100].all()


def test_every_parameter_gets_a_gradient(model, array):
    masked = mask_tokens(array(ids(3, 8)), 11, MASK)
    model.loss(masked, array(ids(3, 8, low=0, high=2)), array([0, 1, 0]))[0].backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and abs(p.grad).max() > 0, name


def test_tokens_that_do_not_fit(model, array):
    with pytest.raises(ValueError, match=r"tokens must be in \[0, 11\), got 11"):
        model([[0, 11]])
    with pytest.raises(ValueError, match="more tokens than fit the context"):
        model(array(ids(1, 9)))
    with pytest.raises(ValueError, match=r"Expect: tokens \(batch, time\)"):
        model(array(ids(2, 0)))
    with pytest.raises(ValueError, match="labels"):
        model.loss(Masked(array(ids(1, 4)), array([[0, 1]]), array([[1, 11]])))
    with pytest.raises(ValueError, match="impossible vocabulary=5, context=0"):
        BERT(5, context=0)
