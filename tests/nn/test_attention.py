"""Multi-head attention: what a mask hides, what a cache saves, and relative positions."""

import numpy as np
import pytest

import minae
from minae import Tensor, nn

RNG = np.random.default_rng(0)


def sequences(array, *shape):
    return Tensor(array(RNG.standard_normal(shape), "float32"), requires_grad=True)


def test_nothing_comes_from_later_positions(array, numpy):
    layer = nn.MultiheadAttention(8, 2)
    x = sequences(array, 2, 6, 8)
    y = layer(x, causal=True)
    for t in range(6):
        gradient = numpy(minae.grad(y[:, t].sum(), x, retain_graph=True))
        assert not gradient[:, t + 1 :].any() and gradient[:, : t + 1].any()


def test_padding_changes_nothing(array, numpy):
    layer = nn.MultiheadAttention(8, 2)
    x = sequences(array, 1, 6, 8)
    valid = np.array([[True] * 4 + [False] * 2])
    masked = layer(x, mask=array(valid[:, None, None, :]))
    np.testing.assert_allclose(numpy(masked)[:, :4], numpy(layer(x[:, :4])), atol=1e-6)


@pytest.mark.parametrize("pieces", [[1] * 6, [4, 2], [6], [0, 3, 0, 3]])
def test_with_a_cache_pieces_are_as_the_whole(pieces, array, numpy):
    layer = nn.MultiheadAttention(8, 2).eval()
    x, cache = sequences(array, 2, 6, 8), nn.KeyValueCache()
    whole = layer(x, causal=True)
    parts, start = [], 0
    for length in pieces:
        parts.append(layer(x[:, start : start + length], causal=True, cache=cache))
        start += length
        assert len(cache) == start
    joined = minae.concatenate(parts, axis=1)
    np.testing.assert_allclose(numpy(joined), numpy(whole), atol=1e-6)
    for g, h in zip(minae.grad(joined.sum(), [x, *layer.parameters()]),
                    minae.grad(whole.sum(), [x, *layer.parameters()]), strict=True):
        np.testing.assert_allclose(numpy(g), numpy(h), atol=1e-4)


def test_a_context_is_cached_once(array, numpy):
    layer = nn.MultiheadAttention(8, 2).eval()
    x, context, cache = sequences(array, 2, 3, 8), sequences(array, 2, 5, 8), nn.KeyValueCache()
    whole = layer(x, context)
    for t in range(3):
        part = layer(x[:, t : t + 1], context, cache=cache)
        np.testing.assert_allclose(numpy(part)[:, 0], numpy(whole)[:, t], atol=1e-6)
        assert len(cache) == 5


def test_chosen_rows_of_a_cache_go_on_by_themselves(array, numpy):
    layer = nn.MultiheadAttention(8, 2).eval()
    x, cache = sequences(array, 3, 4, 8), nn.KeyValueCache()
    assert len(cache.select(array([0, 0]))) == 0  # nothing is kept yet
    layer(x[:, :3], causal=True, cache=cache)
    rows = np.array([2, 0, 2, 2])
    chosen = cache.select(array(rows))
    last = layer(x[:, 3:][rows.tolist()], causal=True, cache=chosen)
    whole = layer(x, causal=True)
    np.testing.assert_allclose(numpy(last)[:, 0], numpy(whole)[rows, 3], atol=1e-6)
    assert (len(cache), cache.keys.shape[0]) == (3, 3) and len(chosen) == 4
    with pytest.raises(ValueError, match=r"rows must be in \[0, 3\)"):
        cache.select(array([0, 3]))


def test_both_masks_hold_together(array, numpy):
    layer = nn.MultiheadAttention(8, 2)
    x = sequences(array, 2, 4, 8)
    mask = RNG.random((2, 1, 4, 4)) > 0.3
    both = layer(x, mask=array(mask), causal=True)
    as_tensor = layer(x, mask=Tensor(array(mask)), causal=True)
    np.testing.assert_array_equal(numpy(both), numpy(as_tensor))
    combined = layer(x, mask=array(mask & np.tri(4, dtype=bool)))
    np.testing.assert_array_equal(numpy(both), numpy(combined))


def test_dropout_of_weights_is_for_training(array, numpy):
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, rng=np.random.default_rng(0))
    same = nn.MultiheadAttention(8, 2, dropout=0.5, rng=np.random.default_rng(0))
    x = sequences(array, 2, 4, 8)
    assert numpy(layer(x)).tolist() == numpy(same(x)).tolist()  # each drew weights, and then masks
    assert numpy(layer(x)).tolist() != numpy(layer(x)).tolist()
    layer.eval()
    assert numpy(layer(x)).tolist() == numpy(layer(x)).tolist()


def test_what_does_not_fit_is_refused(array):
    with pytest.raises(ValueError, match="3 heads do not divide 8 features"):
        nn.MultiheadAttention(8, 3)
    with pytest.raises(ValueError, match="0 <= p < 1"):
        nn.MultiheadAttention(8, 2, dropout=1.0)
    layer, x = nn.MultiheadAttention(8, 2, bias=False), sequences(array, 2, 4, 8)
    assert layer.extra_repr() == "8, 2, bias=False" and len(layer.parameters()) == 2
    with pytest.raises(ValueError, match=r"Expect: \(batch, time, 8\)"):
        layer(x[0])
    with pytest.raises(ValueError, match=r"Expect: \(batch, time, 8\)"):
        layer(x, x[..., :4])
    with pytest.raises(TypeError, match="mask must be boolean"):
        layer(x, mask=array(np.ones((4, 4))), causal=True)
    with pytest.raises(ValueError, match=r"write|valid\[:, None, None, :\]"):
        layer(x, mask=array(np.ones((2, 4, 4), bool)))
    with pytest.raises(ValueError, match=r"Expect: a mask that broadcasts to \[2, 2, 4, 4\]"):
        layer(x, mask=array(np.ones((2, 4), bool)))
    with pytest.raises(ValueError, match="a context has none of those"):
        layer(x, x, causal=True)
    with pytest.raises(ValueError, match=r"Expect: query \(\.\.\., queries, n\)"):
        minae.attention(x, x[..., :4], x)
    with pytest.raises(ValueError, match=r"Expect: query \(\.\.\., queries, n\)"):
        minae.attention(x[0, 0], x[0, 0], x[0, 0])


# --- Relative positions --------------------------------------------------------------------------


def test_buckets_by_their_definition(array, numpy):
    """Raffel et al. 2020: exact up to a quarter of the buckets, then by the logarithm."""
    layer = nn.RelativeBias(2, buckets=32, farthest=128)
    found = numpy(layer.bucket(array(np.arange(-200, 201), "int64")))
    before, after = found[200::-1], found[200:]  # 0, 1, 2, ... positions away
    assert before[:8].tolist() == [*range(8)] and after[1:8].tolist() == [*range(17, 24)]
    assert (np.diff(before) >= 0).all() and (after[1:] == before[1:] + 16).all()
    assert [int(np.argmax(before == b)) for b in range(8, 16)] == [8, 12, 16, 23, 32, 46, 64, 91]
    assert before[128:].tolist() == [15] * 73


def test_in_one_direction_all_buckets_are_for_what_came_before(array, numpy):
    layer = nn.RelativeBias(2, buckets=32, farthest=128, bidirectional=False)
    found = numpy(layer.bucket(array(np.arange(-200, 201), "int64")))
    assert found[200::-1][:16].tolist() == [*range(16)] and not found[200:].any()
    assert found.max() == 31


def test_the_bias_depends_on_the_distance_alone(array, numpy):
    layer = nn.RelativeBias(3, 8, 20)
    bias = layer(5)
    assert bias.shape == (3, 5, 5)
    np.testing.assert_array_equal(numpy(bias)[:, 1:, 1:], numpy(bias)[:, :-1, :-1])
    np.testing.assert_array_equal(numpy(layer(2, 5)), numpy(bias)[:, 3:])  # the last two queries
    gradient = numpy(minae.grad(bias.sum(), layer.weight))
    assert gradient.sum() == bias.size and gradient[0].tolist() == [5, 5, 5]
    heads = nn.MultiheadAttention(6, 3)
    heads(sequences(array, 2, 5, 6), bias=bias)
    for impossible in ((2,), (7,), (32, 32)):
        with pytest.raises(ValueError, match="impossible buckets"):
            nn.RelativeBias(2, *impossible)


# --- Tied weights --------------------------------------------------------------------------------


def test_tied_weights_are_one_parameter(array, numpy):
    class Language(nn.Module):
        def __init__(self):
            self.embedding = nn.Embedding(7, 4)

        def forward(self, codes):
            return minae.linear(self.embedding(codes), self.embedding.weight.T)

    model = Language()
    assert [name for name, _ in model.named_parameters()] == ["embedding.weight"]
    loss = minae.cross_entropy(model([[1, 2]]), [[2, 3]])
    weight = model.embedding.weight
    copies = [Tensor(weight.array, requires_grad=True) for _ in range(2)]
    apart = minae.cross_entropy(minae.embedding(copies[0], [[1, 2]]) @ copies[1].T, [[2, 3]])
    total = sum(map(numpy, minae.grad(apart, copies)))
    np.testing.assert_allclose(numpy(minae.grad(loss, weight)), total, atol=1e-6)
