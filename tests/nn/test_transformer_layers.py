"""Transformer layers and stacks: what is seen of what, caches, norms, dropout. Their values are
PyTorch's: see tests/oracles."""

import numpy as np
import pytest

import minae
from minae import Tensor, nn

RNG = np.random.default_rng(0)
NORMS = pytest.mark.parametrize("norm_first", [False, True])


def sequences(array, *shape):
    return Tensor(array(RNG.standard_normal(shape), "float32"), requires_grad=True)


def encoder(**options):
    return nn.TransformerEncoder(2, 8, 2, **{"dropout": 0.0} | options)


def decoder(**options):
    return nn.TransformerDecoder(2, 8, 2, **{"dropout": 0.0} | options)


def close(x, y):
    np.testing.assert_allclose(x, y, atol=2e-6)


@NORMS
def test_nothing_comes_from_later_positions(norm_first, array, numpy):
    x, context = sequences(array, 2, 5, 8), sequences(array, 2, 3, 8)
    for y in (encoder(norm_first=norm_first)(x, causal=True),
              decoder(norm_first=norm_first)(x, context)):
        for t in range(5):
            gradient = numpy(minae.grad(y[:, t, 0].sum(), x, retain_graph=True))
            assert not gradient[:, t + 1 :].any() and gradient[:, : t + 1].any()


def test_without_causal_all_is_seen(array, numpy):
    x, context = sequences(array, 2, 5, 8), sequences(array, 2, 3, 8)
    for y in (encoder()(x), decoder()(x, context, causal=False)):
        assert numpy(minae.grad(y[:, 0, 0].sum(), x))[:, -1].any()


def test_padding_changes_nothing(array, numpy):
    x, context = sequences(array, 1, 6, 8), sequences(array, 1, 6, 8)
    mask = array(np.array([[True] * 4 + [False] * 2])[:, None, None, :])
    model = encoder()
    close(numpy(model(x, mask=mask))[:, :4], numpy(model(x[:, :4])))
    model = decoder()
    alone = numpy(model(x[:, :4], context[:, :4]))
    close(numpy(model(x, context, mask=mask, context_mask=mask))[:, :4], alone)


@NORMS
@pytest.mark.parametrize("pieces", [[1] * 6, [4, 2], [2, 1, 3]])
def test_with_caches_pieces_are_as_the_whole(pieces, norm_first, array, numpy):
    x, context = sequences(array, 2, 6, 8), sequences(array, 2, 3, 8)
    reader, writer = encoder(norm_first=norm_first), decoder(norm_first=norm_first)
    caches, pairs = reader.start(), writer.start()
    read, written, start = [], [], 0
    for length in pieces:
        part = x[:, start : start + length]
        read.append(reader(part, causal=True, caches=caches))
        written.append(writer(part, context, caches=pairs))
        start += length
    close(numpy(minae.concatenate(read, axis=1)), numpy(reader(x, causal=True)))
    close(numpy(minae.concatenate(written, axis=1)), numpy(writer(x, context)))
    assert [[len(cache) for cache in pair] for pair in pairs] == [[6, 3]] * 2


def test_the_last_norm_is_of_norms_that_come_first(array, numpy):
    x = sequences(array, 2, 3, 8)
    assert encoder().norm is None and decoder().norm is None
    model = encoder(norm_first=True)
    y = numpy(model(x))
    close(y.mean(axis=-1), 0)
    layers = x
    for layer in model.layers:
        layers = layer(layers)
    close(y, numpy(model.norm(layers)))


@pytest.mark.parametrize("attends", [False, True], ids=["what is added", "weights"])
def test_dropout_is_for_training(attends, array, numpy):
    x = sequences(array, 2, 3, 8)
    layers = [nn.TransformerDecoderLayer(8, 2, dropout=0.5, rng=np.random.default_rng(0))
              for _ in range(2)]
    for layer in layers:  # leave one of the two kinds
        if attends:
            layer.dropout.p = 0.0
        else:
            layer.self_attn.dropout = layer.multihead_attn.dropout = 0.0
    one, other = layers
    assert numpy(one(x, x)).tolist() == numpy(other(x, x)).tolist() != numpy(one(x, x)).tolist()
    one.eval()
    assert numpy(one(x, x)).tolist() == numpy(one(x, x)).tolist()


@NORMS
def test_what_each_sublayer_makes_is_dropped(norm_first, array, monkeypatch):
    shapes, x = [], sequences(array, 2, 3, 8)
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: shapes.append(x.shape) or x)
    encoder(norm_first=norm_first)(x)
    assert shapes == [(2, 3, 8)] * 4
    decoder(norm_first=norm_first)(x, x)
    assert shapes == [(2, 3, 8)] * (4 + 6)


def test_what_a_sublayer_makes_is_dropped_and_what_it_was_given_is_kept(array, numpy):
    layer = nn.TransformerEncoderLayer(8, 2, dropout=0.5, norm_first=True)
    layer.self_attn.dropout = 0.0
    x = sequences(array, 2, 3, 8)
    for p in layer.linear2.parameters():
        p.data = 0 * p.data
    made = numpy(layer.self_attn(layer.norm1(x)))
    added = (numpy(layer(x)) - numpy(x)) / made
    dropped = np.abs(added) < 1e-3
    close(added[dropped], 0)
    np.testing.assert_allclose(added[~dropped], 2, atol=1e-3)
    assert 8 < dropped.sum() < 40  # of 48


def test_sizes_and_a_stack_of_nothing(array):
    assert nn.TransformerEncoderLayer(8, 2).linear1.weight.shape == (8, 32)
    assert nn.TransformerEncoderLayer(8, 2, 5).linear1.weight.shape == (8, 5)
    with pytest.raises(ValueError, match="a stack of 0 layers"):
        nn.TransformerEncoder(0, 8, 2)
    with pytest.raises(ValueError, match="3 heads do not divide 8 features"):
        nn.TransformerDecoderLayer(8, 3)
    with pytest.raises(ValueError, match=r"Expect: \(batch, time, 8\)"):
        encoder()(sequences(array, 2, 3, 7))
    with pytest.raises(ValueError, match=r"longer|shorter"):
        encoder()(sequences(array, 2, 3, 8), caches=[nn.KeyValueCache()])
