"""LSTM and GRU: what lengths promise, states, and what is refused. Their equations are held against
PyTorch's in tests/oracles."""

import numpy as np
import pytest

import minae
from minae import Tensor, nn

LAYERS = pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
RNG = np.random.default_rng(0)


def sequences(array, *shape):
    return Tensor(array(RNG.standard_normal(shape), "float32"), requires_grad=True)


def hidden_of(state):
    return state[0] if isinstance(state, tuple) else state


@LAYERS
def test_what_stands_behind_the_end_is_never_read(kind, array, numpy):
    layer = kind(3, 4, layers=2, bidirectional=True)
    x = RNG.standard_normal((3, 6, 3)).astype("float32")
    lengths = [6, 2, 4]
    spoiled = x.copy()
    for row, length in enumerate(lengths):
        spoiled[row, length:] = np.nan
    a, b = Tensor(array(x), requires_grad=True), Tensor(array(spoiled), requires_grad=True)
    (one, state), (other, their_state) = layer(a, lengths=lengths), layer(b, lengths=lengths)
    np.testing.assert_array_equal(numpy(one), numpy(other))
    np.testing.assert_array_equal(numpy(hidden_of(state)), numpy(hidden_of(their_state)))
    assert not numpy(one)[1, 2:].any() and not numpy(one)[2, 4:].any()
    gradients = minae.grad(one.sum(), [a, *layer.parameters()])
    spoiled_gradients = minae.grad(other.sum(), [b, *layer.parameters()])
    for g, h in zip(gradients, spoiled_gradients, strict=True):
        np.testing.assert_array_equal(numpy(g), numpy(h))
    assert not numpy(gradients[0])[1, 2:].any()


@LAYERS
def test_a_batch_with_lengths_is_each_sequence_alone(kind, array, numpy):
    layer = kind(3, 4, layers=2, bidirectional=True)
    x = sequences(array, 3, 5, 3)
    together, state = layer(x, lengths=[5, 1, 3])
    for row, length in enumerate([5, 1, 3]):
        alone, own = layer(x[row : row + 1, :length])
        np.testing.assert_allclose(numpy(together)[row, :length], numpy(alone)[0], atol=1e-6)
        np.testing.assert_allclose(
            numpy(hidden_of(state))[:, row], numpy(hidden_of(own))[:, 0], atol=1e-6
        )


@LAYERS
def test_a_sequence_without_a_step_keeps_its_state(kind, array, numpy):
    layer = kind(3, 4)
    start = array(RNG.standard_normal((1, 2, 4)), "float32")
    given = (start, start) if kind is nn.LSTM else start
    outputs, state = layer(sequences(array, 2, 5, 3), given, lengths=[0, 5])
    np.testing.assert_array_equal(numpy(hidden_of(state))[0, 0], numpy(start)[0, 0])
    assert not numpy(outputs)[0].any()


@LAYERS
def test_two_halves_are_the_whole(kind, array, numpy):
    layer = kind(3, 4, layers=2)
    x = sequences(array, 2, 6, 3)
    whole, last = layer(x)
    first, state = layer(x[:, :4])
    second, state = layer(x[:, 4:], state)
    np.testing.assert_allclose(
        numpy(whole), np.concatenate([numpy(first), numpy(second)], 1), atol=1e-6
    )
    np.testing.assert_allclose(numpy(hidden_of(last)), numpy(hidden_of(state)), atol=1e-6)


@pytest.mark.parametrize("cell, layer", [(nn.LSTMCell, nn.LSTM), (nn.GRUCell, nn.GRU)])
def test_a_cell_is_one_step_of_its_layer(cell, layer, array, numpy):
    one, many = cell(3, 4), layer(3, 4)
    many.load_state_dict({f"{name}_l0": x for name, x in one.state_dict().items()})
    x = sequences(array, 2, 3, 3)
    outputs, _ = many(x)
    state = None
    for t in range(3):
        state = one(x[:, t], state)
        np.testing.assert_allclose(numpy(outputs)[:, t], numpy(hidden_of(state)), atol=1e-6)


@LAYERS
def test_dropout_between_layers_is_for_training(kind, array, numpy):
    layer = kind(3, 4, layers=2, dropout=0.5, rng=np.random.default_rng(0))
    x = sequences(array, 2, 3, 3)
    assert numpy(layer(x)[0]).tolist() != numpy(layer(x)[0]).tolist()
    drops = [kind(3, 4, layers=2, dropout=0.5, rng=np.random.default_rng(5)) for _ in range(2)]
    drops[1].load_state_dict(drops[0].state_dict())
    one, other = (numpy(each(x)[0]).tolist() for each in drops)
    assert one == other  # by their own generators
    layer.eval()
    assert numpy(layer(x)[0]).tolist() == numpy(layer(x)[0]).tolist()
    last = kind(3, 4, layers=1, dropout=0.5)
    assert numpy(last(x)[0]).all()  # nothing is dropped behind the last layer


@LAYERS
def test_what_does_not_fit_is_refused(kind, array):
    layer = kind(3, 4)
    for shape in ((2, 3), (2, 5, 4), (2, 0, 3)):
        with pytest.raises(ValueError, match=r"Expect: \(batch, time, 3\)"):
            layer(np.ones(shape, "float32"))
    x = sequences(array, 2, 5, 3)
    wrong = array(np.ones((2, 2, 4)))
    with pytest.raises(ValueError, match=r"Expect: a state of \d x \[1, 2, 4\]"):
        layer(x, (wrong, wrong) if kind is nn.LSTM else wrong)
    with pytest.raises(ValueError, match=r"lengths must be in \[0, 6\)"):
        layer(x, lengths=[6, 1])
    with pytest.raises(ValueError, match=r"Expect: lengths \[2\]"):
        layer(x, lengths=[1, 2, 3])
    with pytest.raises(TypeError, match="lengths must be integers"):
        layer(x, lengths=[1.0, 2.0])
    for options in ({"layers": 0}, {"dropout": 1.0}):
        with pytest.raises(ValueError, match=r"layers must be 1 or more, dropout in \[0, 1\)"):
            kind(3, 4, **options)
    with pytest.raises(ValueError, match="impossible sizes"):
        kind(0, 4)


def test_how_they_print():
    assert nn.LSTM(3, 4).extra_repr() == "3, 4"
    layer = nn.GRU(3, 4, 2, False, 0.1, True)
    assert layer.extra_repr() == "3, 4, bias=False, layers=2, dropout=0.1, bidirectional=True"


@LAYERS
def test_the_wider_dtype_wins(kind, array):
    layer, start = kind(3, 4), array(np.zeros((1, 2, 4)), "float64")
    outputs, _ = layer(sequences(array, 2, 5, 3), (start, start) if kind is nn.LSTM else start)
    assert outputs.dtype == "float64"
