"""Vector quantizers: the law of encode and decode, what each kind learns, and no collapse."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minae
from minae import backend, vq
from minae.engine import entries

KINDS = {"gradient": vq.VectorQuantizer, "EMA": vq.VectorQuantizerEMA}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def vectors(*shape, seed=0):
    return backend.asarray(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def book(quantizer):
    return backend.asnumpy(entries(quantizer.codebook)).copy()


def snapshot(module):
    return {name: value.tobytes() for name, value in module.state_dict().items()}


# --- The law -------------------------------------------------------------------------------------


@given(shape=st.lists(st.integers(1, 5), min_size=0, max_size=3), codes=st.integers(1, 9),
       steps=st.integers(0, 3), kind=st.sampled_from(sorted(KINDS)))
def test_decode_of_encode_is_the_quantized_value(shape, codes, steps, kind):
    minae.seed(1)
    q = KINDS[kind](codes, 3)
    for step in range(steps):
        q(vectors(30, 3, seed=step))
    q.eval()
    x = vectors(*shape, 3, seed=9)
    result = q(x)
    assert result.codes.shape == tuple(shape) and result.values.shape == x.shape
    assert (q.encode(x) == result.codes).all()
    assert backend.asnumpy(q.decode(q.encode(x))).tobytes() == result.values.numpy().tobytes()


@kinds
def test_training_quantizes_with_the_codebook_from_before(kind, numpy):
    q = kind(8, 3, init="random")
    x = vectors(50, 3)
    before = copy.deepcopy(q)
    result = q(x)
    assert (numpy(result.codes) == numpy(before.encode(x))).all()
    assert (numpy(result.values) == numpy(before.decode(result.codes))).all()


@kinds
def test_the_nearest_codeword_is_chosen(kind, numpy):
    q = kind(7, 3, init="random").eval()
    x = vectors(40, 3)
    distances = ((numpy(x)[:, None] - book(q)) ** 2).sum(axis=2)
    assert (numpy(q.encode(x)) == distances.argmin(axis=1)).all()


@kinds
def test_evaluation_changes_no_state(kind):
    q = kind(8, 3)
    q(vectors(64, 3))
    q.eval()
    before, drawn = snapshot(q), minae.random.get_state()
    q(vectors(64, 3, seed=1))
    assert snapshot(q) == before
    assert minae.random.get_state() == drawn


# --- Gradients and losses ------------------------------------------------------------------------


@kinds
def test_gradients_pass_straight_through_and_pull_to_the_codeword(kind, numpy):
    q = kind(5, 3, init="random", commitment=0.25)
    x = minae.Tensor(vectors(4, 6, 3), requires_grad=True)
    result = q(x)
    g = vectors(4, 6, 3, seed=2)
    ((result.values * g).sum() + result.loss).backward()
    expected = numpy(g) + 2 * 0.25 * (numpy(x) - numpy(result.values)) / x.size
    np.testing.assert_allclose(numpy(x.grad), expected, rtol=1e-5, atol=1e-7)


def test_the_gradient_codebook_is_pulled_to_its_vectors(numpy):
    q = vq.VectorQuantizer(5, 3, init="random", commitment=0.25)
    x, e = vectors(20, 3), book(q)
    result = q(x)
    result.loss.backward()
    codes = numpy(result.codes)
    error = numpy(x) - e[codes]
    np.testing.assert_allclose(result.loss.item(), 1.25 * (error**2).mean(), rtol=1e-5)
    expected = np.zeros_like(e)
    np.add.at(expected, codes, -2 * error / error.size)
    np.testing.assert_allclose(numpy(q.codebook.grad), expected, rtol=1e-4, atol=1e-7)


def test_the_ema_codebook_is_a_buffer_and_its_loss_commitment_alone(numpy):
    q = vq.VectorQuantizerEMA(5, 3, init="random", commitment=0.5)
    assert q.parameters() == []
    x, e = vectors(20, 3), book(q)
    result = q(x)
    error = numpy(x) - e[numpy(result.codes)]
    np.testing.assert_allclose(result.loss.item(), 0.5 * (error**2).mean(), rtol=1e-5)


def test_straight_through(numpy):
    x = minae.Tensor(vectors(3, 4), requires_grad=True)
    y = vq.straight_through(x, minae.Tensor(xp_round(x)))
    assert (numpy(y) == np.round(numpy(x))).all()
    g = vectors(3, 4, seed=5)
    assert (numpy(minae.grad((y * g).sum(), x)) == numpy(g)).all()
    with pytest.raises(ValueError, match=r"\[4\] cannot stand for \[3, 4\]"):
        vq.straight_through(x, vectors(4))


def xp_round(x):
    return backend.xp.round(entries(x))


# --- The codebook of moving averages -------------------------------------------------------------


def test_the_running_mean_is_sums_over_counts(numpy):
    """Against the paper's own form, m = decay m + (1 - decay) sum and N alike, e = m / N."""
    q = vq.VectorQuantizerEMA(6, 3, init="random", revive=0, decay=0.9)
    n, m = np.ones(6), book(q).astype("float64")
    for step in range(150):
        x = vectors(40, 3, seed=step)
        codes = numpy(q(x).codes)
        one_hot = np.eye(6)[codes]
        decay = min(0.9, (1 + step) / (10 + step))  # shorter at first
        n = decay * n + (1 - decay) * one_hot.sum(axis=0)
        m = decay * m + (1 - decay) * one_hot.T @ numpy(x)
        np.testing.assert_allclose(book(q), m / n[:, None], rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(numpy(q.use), n, rtol=1e-4)


def test_a_codeword_that_is_never_used_stays_and_does_no_harm():
    q = vq.VectorQuantizerEMA(2, 2, init="random", revive=0, decay=0.5)
    q.codebook.data = backend.asarray(np.array([[0, 0], [50, 50]], "float32"))
    for step in range(200):  # 0.5^200 is no float32 any more
        q(vectors(5, 2, seed=step))
    assert book(q)[1].tolist() == [50, 50]
    assert np.isfinite(book(q)).all()


# --- No collapse ---------------------------------------------------------------------------------


@kinds
def test_the_first_batch_sets_the_codewords(kind, numpy):
    q = kind(8, 3, revive=0, decay=0.999)
    far = vectors(64, 3) * 0.01 + 100  # where a normally distributed codebook has nothing
    result = q(far)
    assert len(set(numpy(result.codes).tolist())) == 8
    assert abs(book(q) - 100).max() < 1


@kinds
def test_what_k_means_placed_has_the_use_that_it_found(kind, numpy):
    q = kind(4, 3, revive=0)
    q(vectors(64, 3))
    assert numpy(q.use).sum() == pytest.approx(64, rel=1e-5)


@kinds
def test_a_graph_that_read_the_codebook_notices_every_change(kind):
    """Placing, learning and reviving write in place."""
    for options in ({"revive": 0}, {"init": "random", "revive": 0}, {"init": "random"}):
        q = kind(8, 3, **options)
        q.codebook.requires_grad = True
        y = (q.codebook * q.codebook).sum()
        if options == {"init": "random", "revive": 0} and kind is vq.VectorQuantizer:
            continue  # nothing is written
        q(vectors(64, 3))
        with pytest.raises(RuntimeError, match="written since"):
            y.backward()


@kinds
def test_codewords_not_yet_placed_are_neither_found_nor_revived(kind, numpy):
    q = kind(8, 3)
    far = vectors(8, 3) + 100  # makes 2 codewords
    assert set(numpy(q(far).codes).tolist()) <= {0, 1}
    assert (book(q)[2:] == book(q)[2]).all()
    assert abs(book(q)[2:] - 100).max() < 10  # copies of a placed one


@kinds
def test_small_batches_set_them_one_after_the_other(kind):
    q = kind(8, 3, revive=0)
    for step in range(4):  # 8 vectors make 2 codewords
        assert int(q.placed[0]) == 2 * step
        q(vectors(8, 3, seed=step) + 10 * step)
    assert int(q.placed[0]) == 8
    assert len(np.unique(book(q).round(3), axis=0)) == 8
    assert {round(x / 10) for x in book(q).mean(axis=1)} == {0, 1, 2, 3}


@kinds
def test_a_dead_codeword_is_revived_with_its_state(kind, numpy):
    q = kind(4, 2, init="random", decay=0.9, revive=0.1)
    start = np.array([[0, 0], [1, 1], [2, 2], [500, 500]], "float32")
    q.codebook.data = backend.asarray(start)
    x = backend.asarray(np.repeat(start[:3], 20, axis=0))
    for _ in range(60):
        q(x)
        if book(q)[3, 0] < 500:
            break
    else:
        pytest.fail("never revived")
    assert book(q)[3].tolist() in start[:3].tolist()  # one of the vectors
    use = numpy(q.use)
    assert use[3] == pytest.approx(use[:3].sum() / 3.7, rel=0.2)  # no longer dead
    revived = book(q)[3]
    q(x + backend.asarray(np.array([5, 5], "float32")))  # the next update does not undo it
    assert abs(book(q)[3] - revived).max() < 5


@kinds
def test_all_codewords_serve_where_a_plain_codebook_collapses(kind, numpy):
    """Latents far from where a normally distributed codebook lies, and moving."""

    def trained(**options):
        minae.seed(0)
        q = kind(32, 4, decay=0.9, **options)
        for step in range(150):
            q(vectors(256, 4, seed=step) * 0.5 + 20 + step / 50)
        q.eval()
        return float(q(vectors(4096, 4, seed=999) * 0.5 + 23).perplexity)

    assert trained(init="random", revive=0) < 4
    if kind is vq.VectorQuantizerEMA:
        assert trained() > 10
    assert trained(revive=0.3) > 8


# --- Numbers, state, errors ----------------------------------------------------------------------


def test_perplexity(numpy):
    assert float(vq.perplexity(backend.xp.asarray([7, 0, 0]))) == 1
    assert float(vq.perplexity(backend.xp.asarray([5, 5, 5, 5]))) == pytest.approx(4)
    assert float(vq.perplexity(backend.xp.asarray([0, 0]))) == 0
    p = np.array([1, 2, 5]) / 8
    expected = np.exp(-(p * np.log(p)).sum())
    assert float(vq.perplexity(backend.xp.asarray([1, 2, 5]))) == pytest.approx(expected)


@kinds
def test_state_goes_through_dicts_pickles_and_copies(kind, numpy):
    q = kind(8, 3)
    for step in range(5):
        q(vectors(40, 3, seed=step))
    restored = kind(8, 3)
    restored.load_state_dict(q.state_dict())
    for other in (restored, pickle.loads(pickle.dumps(q)), copy.deepcopy(q)):
        assert snapshot(other) == snapshot(q)
    for one in (q, restored):
        minae.seed(3)
        for step in range(5, 10):
            one(vectors(40, 3, seed=step))
    assert snapshot(restored) == snapshot(q)


@kinds
def test_what_does_not_fit_is_refused(kind):
    q = kind(4, 3)
    with pytest.raises(ValueError, match=r"Expect: vectors \(\.\.\., 3\)\s+Actual: .*\[5, 2\]"):
        q(vectors(5, 2))
    before = snapshot(q)
    bad = vectors(5, 3)
    bad[2, 1] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        q(bad)
    with pytest.raises(ValueError, match="not finite"):
        q.encode(bad)
    assert snapshot(q) == before
    with pytest.raises(ValueError, match="no vectors to learn from"):
        q(vectors(0, 3))
    with pytest.raises(ValueError, match=r"codes must be in \[0, 4\), got 4"):
        q.decode([0, 4])
    for wrong in ({"decay": 1.0}, {"revive": -1}, {"commitment": -1}, {"init": "ones"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            kind(4, 3, **wrong)
    with pytest.raises(ValueError, match="needs codes and features"):
        kind(0, 3)
