"""The encoder-decoder transformer: what it sees, decoding step by step, learning."""

import itertools
import math

import numpy as np
import pytest

import minae
from minae.models import Transformer
from minae.models.transformer import sines

SMALL = {"context": 8, "layers": 2, "features": 16, "heads": 4, "dropout": 0.0}
FORMS = ({}, {"positions": "learned", "norm_first": True, "inner": 24})
RNG = np.random.default_rng(0)


@pytest.fixture(params=FORMS, ids=["fixed, norms last", "learned, norms first"])
def model(request):
    minae.seed(0)
    return Transformer(13, 11, **SMALL | request.param).astype("float64")


def sources(*shape):
    return RNG.integers(0, 13, shape)


def targets(*shape):
    return RNG.integers(0, 11, shape)


def test_the_positions_are_those_of_the_paper(numpy):
    table = numpy(sines(50, 16))
    for place, pair in itertools.product((0, 1, 7, 49), range(8)):
        angle = place / 10000 ** (2 * pair / 16)
        expected = [math.sin(angle), math.cos(angle)]
        np.testing.assert_allclose(table[place, 2 * pair : 2 * pair + 2], expected, atol=1e-6)
    assert sines(3, 5).shape == (3, 5)


def test_vectors_of_tokens_are_as_large_as_fixed_positions(array, numpy):
    """Vaswani et al. 2017, section 3.4: the output's weights times the root of the features."""
    model = Transformer(500, 400, context=8, features=64)
    for table, count in ((model.source, 500), (model.target, 400)):
        assert float(numpy(table.weight).std()) == pytest.approx(1 / 8, rel=0.05)
        placed = numpy(model.eval()._placed(table, array(np.arange(count).reshape(-1, 4)), 3))
        vectors = placed - numpy(sines(8, 64))[3:7]
        np.testing.assert_allclose(vectors.reshape(count, 64), 8 * numpy(table.weight), atol=1e-5)


def test_attention_is_what_the_last_layer_uses(model, array, numpy):
    """Its weights, by each head's values of the context, give what it adds to the target."""
    source = minae.seq.pad([[1, 2, 3, 4, 5], [6, 7]])
    target = array(targets(2, 4))
    shares = numpy(model.attention(source, target))
    assert shares.shape == (2, 4, 5)
    np.testing.assert_allclose(shares.sum(axis=2), 1, atol=1e-12)
    assert not shares[1, :, 2:].any() and shares[1, :, :2].all()
    attend, seen = model.decoder.layers[-1].multihead_attn, []

    def forward(x, context, **options):
        weights = attend.weights(x, context, mask=options["mask"])
        values = attend._split_heads(attend._project(context, 2, 3))
        mixed = minae.reshape(minae.swapaxes(weights @ values, 1, 2), x.shape)
        made = type(attend).forward(attend, x, context, **options)
        np.testing.assert_allclose(numpy(attend.out_proj(mixed)), numpy(made), atol=1e-12)
        seen.append(numpy(weights.mean(axis=1)))
        return made

    attend.forward = forward
    model(source, target)
    np.testing.assert_allclose(seen[0], shares, atol=1e-12)


def test_what_is_learned():
    model = Transformer(13, 11, **SMALL)
    names = {name for name, _ in model.named_parameters()}
    assert {"source.weight", "target.weight"} <= names and "positions" not in names
    learned = Transformer(11, 11, **SMALL, positions="learned", shared=True)
    names = {name for name, _ in learned.named_parameters()}
    assert {"source.weight", "positions"} <= names and "target.weight" not in names
    assert learned.source is learned.target


def test_the_loss_is_that_of_the_next_tokens(model, array, numpy):
    source, target = sources(3, 5), targets(3, 6)
    log_p = numpy(minae.log_softmax(model(array(source), array(target[:, :-1]))))
    taken = np.take_along_axis(log_p, target[:, 1:, None], 2)
    loss, figures = model.loss(array(source), array(target))
    assert loss.item() == pytest.approx(-taken.mean(), rel=1e-9)
    smooth, same = model.loss(array(source), array(target), label_smoothing=0.1)
    assert smooth.item() == pytest.approx(-0.9 * taken.mean() - 0.1 * log_p.mean(), rel=1e-9)
    for perplexity in (figures["perplexity"], same["perplexity"]):
        assert float(perplexity) == pytest.approx(math.exp(-taken.mean()), rel=1e-9)


def test_the_future_is_not_seen_and_the_source_is(model, array, numpy):
    source, target = sources(1, 5), targets(1, 6)
    before = numpy(model(array(source), array(target)))
    for t in range(1, 6):
        changed = target.copy()
        changed[:, t] = (changed[:, t] + 1) % 11
        after = numpy(model(array(source), array(changed)))
        np.testing.assert_allclose(after[:, :t], before[:, :t], atol=1e-10)
        assert (np.abs(after[:, t:] - before[:, t:]).max(axis=2) > 1e-4).all()
    for t in range(5):
        changed = source.copy()
        changed[:, t] = (changed[:, t] + 1) % 13
        after = numpy(model(array(changed), array(target)))
        assert (np.abs(after - before).max(axis=2) > 1e-4).all()


def test_padding_does_not_count(model, array, numpy, pad):
    pairs = [(sources(n), targets(m)) for n, m in ((5, 3), (2, 6), (8, 2), (1, 4))]
    source, target = (pad(side, value=7) for side in zip(*pairs))
    logits = numpy(model(source, target))
    total = 0.0
    for row, (s, t) in zip(logits, pairs):
        alone = array(s[None]), array(t[None])
        np.testing.assert_allclose(row[: len(t)], numpy(model(*alone))[0], atol=1e-10)
        total += model.loss(*alone)[0].item() * (len(t) - 1)
    assert model.loss(source, target)[0].item() == pytest.approx(total / 11, rel=1e-9)
    state = model.start(source)
    for t in range(2):
        stepped, state = model.step(target.values[:, t], state)
        np.testing.assert_allclose(numpy(stepped), logits[:, t], atol=1e-10)


def test_step_by_step_is_as_the_whole(model, array, numpy):
    source, target = sources(3, 5), targets(3, 8)
    whole = numpy(model(array(source), array(target)))
    state = first = model.start(array(source))
    for t in range(8):
        logits, state = model.step(array(target[:, t]), state)
        np.testing.assert_allclose(numpy(logits), whole[:, t], atol=1e-10)
    again, _ = model.step(array(target[:, 0]), first)  # which has stayed as it was
    np.testing.assert_allclose(numpy(again), whole[:, 0], atol=1e-10)


def test_chosen_rows_go_on_by_themselves(model, array, numpy):
    source, target, rows = sources(3, 5), targets(3, 2), array([2, 2, 0])
    whole = numpy(model(array(source), array(target)))
    _, state = model.step(array(target[:, 0]), model.start(array(source)))
    caches = [tuple(cache.select(rows) for cache in pair) for pair in state.caches]
    chosen = (state.context[rows], state.mask, caches)  # a plain tuple, as decoders make
    logits, _ = model.step(array(target[[2, 2, 0], 1]), chosen)
    np.testing.assert_allclose(numpy(logits), whole[[2, 2, 0], 1], atol=1e-10)


def test_all_strings_together_have_probability_1(array, numpy):
    model = Transformer(5, 4, **SMALL).astype("float64")
    strings = np.array([[0, *s] for s in itertools.product(range(4), repeat=3)])
    source = array(np.repeat([[1, 4, 2]], 64, axis=0))
    log_p = numpy(minae.log_softmax(model(source, array(strings[:, :-1]))))
    total = np.take_along_axis(log_p, strings[:, 1:, None], 2).sum(axis=(1, 2))
    assert np.exp(total).sum() == pytest.approx(1, abs=1e-12)


def test_it_learns_eight_pairs_by_heart(array, numpy, learn):
    minae.seed(0)
    model = Transformer(13, 11, **SMALL | {"layers": 1, "norm_first": True})
    rng = np.random.default_rng(0)
    source, target = array(rng.integers(0, 13, (8, 5))), rng.integers(0, 11, (8, 7))
    target[:, 0] = 0
    first, last = learn(model, lambda: model.loss(source, array(target)), 80)
    assert first > 2 and last < 0.05
    written, state = [target[:, 0]], model.eval().start(source)
    for _ in range(6):
        logits, state = model.step(array(written[-1]), state)
        written.append(numpy(logits).argmax(axis=1))
    assert np.stack(written, axis=1).tolist() == target.tolist()


def test_every_parameter_gets_a_gradient(model, array):
    model.loss(array(sources(2, 8)), array(targets(2, 9)))[0].backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and abs(p.grad).max() > 0, name


def test_one_hot_vectors_are_read_as_the_tokens(model, array, numpy):
    source, target = sources(2, 4), targets(2, 3)
    vectors = [minae.Tensor(array(np.eye(n)[x]), requires_grad=True)
               for n, x in ((13, source), (11, target))]
    whole = numpy(model(array(source), array(target)))
    np.testing.assert_allclose(numpy(model(*vectors)), whole, atol=1e-10)
    logits, _ = model.step(vectors[1][:, 0], model.start(vectors[0]))
    np.testing.assert_allclose(numpy(logits), whole[:, 0], atol=1e-10)
    for gradient in minae.grad((logits * logits).sum(), vectors):
        assert numpy(gradient).any()
    with pytest.raises(TypeError, match="vectors are no ids"):
        model.loss(*vectors)


def test_what_does_not_fit(model, array):
    source, target = array(sources(2, 4)), array(targets(2, 4))
    with pytest.raises(ValueError, match=r"source tokens must be in \[0, 13\)"):
        model([[13]], target)
    with pytest.raises(ValueError, match=r"target tokens must be in \[0, 11\)"):
        model.loss(source, [[0, 11], [0, 1]])
    with pytest.raises(ValueError, match="more source tokens than fit the context"):
        model.start(array(sources(1, 9)))
    with pytest.raises(ValueError, match="more target tokens than fit the context"):
        model.loss(source, array(targets(2, 10)))
    with pytest.raises(ValueError, match="as many targets as sources"):
        model(source, array(targets(1, 4)))
    with pytest.raises(ValueError, match=r"Expect: source tokens \(batch, time\)"):
        model.start(array(sources(2, 0)))
    with pytest.raises(ValueError, match=r"target tokens \(batch, time\), with a time of 2"):
        model.loss(source, array(targets(2, 1)))
    state = model.start(source)
    for _ in range(8):
        _, state = model.step(array(targets(2)), state)
    with pytest.raises(ValueError, match="9 tokens are more than the context of 8"):
        model.step(array(targets(2)), state)
    with pytest.raises(ValueError, match="positions='none'"):
        Transformer(3, 3, positions="none")
    with pytest.raises(ValueError, match="3 and 4 tokens cannot be shared"):
        Transformer(3, 4, shared=True)
