"""TreeLSTM: a level at a time is what recursion from node to node says, gradients included."""

import numpy as np
import pytest
from test_adjoint import assert_adjoint

import minae
from minae import Tensor
from minae.seq import ChildSumTreeLSTM, Forest, NaryTreeLSTM, Tree, balanced
from minae.testing import check_grads

INPUTS, HIDDEN, ARITY = 3, 4, 5
RNG = np.random.default_rng(0)


def random_forest():
    """Trees of 1 to 12 nodes, numbered anyhow, with at most ARITY children to a node."""
    trees = []
    for count in (1, 12, 7, 1, 2, 9):
        number, parent, below = RNG.permutation(count), np.full(count, -1), [0] * count
        for i in range(1, count):
            above = RNG.choice([j for j in range(i) if below[j] < ARITY])
            below[above] += 1
            parent[number[i]] = number[above]
        trees.append(Tree(parent))
    return Forest(trees)


FOREST = random_forest()


def child_sum(inputs=INPUTS, hidden=HIDDEN):
    return ChildSumTreeLSTM(inputs, hidden, rng=np.random.default_rng(1))


def nary(inputs=INPUTS, hidden=HIDDEN):
    return NaryTreeLSTM(inputs, hidden, ARITY, rng=np.random.default_rng(1))


KINDS = pytest.mark.parametrize("kind", [child_sum, nary])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_recursion(model, tree, x, node, numpy):
    """Tai et al. 2015, as the equations stand, one node after the other."""
    weight, by_state, bias = map(numpy, (model.weight_ih, model.weight_hh, model.bias))
    states = [by_recursion(model, tree, x, child, numpy) for child in tree.children(node)]
    w, b = np.split(weight, 4, 1), np.split(bias, 4)
    i, o, u, f = (x[node] @ w[k] + b[k] for k in range(4))
    size = len(f)
    if isinstance(model, ChildSumTreeLSTM):
        v = np.split(by_state, 4, 1)
        total = sum((h for h, _ in states), np.zeros(size))
        i, o, u = i + total @ v[0], o + total @ v[1], u + total @ v[2]
        forget = [f + h @ v[3] for h, _ in states]
    else:
        v = by_state.reshape(model.arity, size, 3 + model.arity, size)
        forget = [f.copy() for _ in states]
        for place, (h, _) in enumerate(states):
            i, o, u = (gate + h @ v[place, :, k] for k, gate in enumerate((i, o, u)))
            for k in range(len(states)):
                forget[k] += h @ v[place, :, 3 + k]
    cell = sigmoid(i) * np.tanh(u)
    cell += sum((sigmoid(g) * c for g, (_, c) in zip(forget, states)), np.zeros(size))
    return sigmoid(o) * np.tanh(cell), cell


@KINDS
@pytest.mark.parametrize("dtype, close", [("float32", 1e-6), ("float64", 1e-14)])
def test_levels_are_what_recursion_says(kind, dtype, close, array, numpy):
    model = kind().astype(dtype)
    x = RNG.standard_normal((len(FOREST), INPUTS)).astype(dtype)
    hidden, cell = model(FOREST, Tensor(array(x)))
    assert hidden.dtype == cell.dtype == dtype
    for node in range(len(FOREST)):
        h, c = by_recursion(model, FOREST, x, node, numpy)
        np.testing.assert_allclose(numpy(hidden)[node], h, rtol=0, atol=close)
        np.testing.assert_allclose(numpy(cell)[node], c, rtol=0, atol=close)


@KINDS
def test_gradients_of_both_orders(kind, array, numpy):
    model = kind().astype("float64")
    names = list(model.state_dict())

    def states(x, *weights):
        for name, weight in zip(names, weights):
            setattr(model, name, weight)
        hidden, cell = model(FOREST, x)
        return minae.concatenate([hidden, cell], axis=1)

    x = RNG.standard_normal((len(FOREST), INPUTS))
    points = [x, *model.state_dict().values()]
    check_grads(states, [array(p) for p in points], order=2)
    assert_adjoint(states, points, array, numpy)


@KINDS
def test_only_what_is_needed_gets_a_gradient(kind, array, numpy):
    model, x = kind(), array(RNG.standard_normal((len(FOREST), INPUTS)), "float32")
    whole = minae.grad(model(FOREST, x)[0].sum(), model.parameters())
    wanted = dict(zip(model.state_dict(), map(numpy, whole)))
    for name in wanted:
        alone = kind()
        for other in wanted:
            getattr(alone, other).requires_grad = other == name
        (found,) = minae.grad(alone(FOREST, x)[0].sum(), alone.parameters())
        np.testing.assert_allclose(numpy(found), wanted[name], rtol=1e-5, atol=1e-6)


@KINDS
def test_inputs_may_be_of_some_nodes_alone(kind, array, numpy):
    model = kind()
    leaves = FOREST.leaves
    x = np.zeros((len(FOREST), INPUTS), "float32")
    x[leaves] = RNG.standard_normal((len(leaves), INPUTS))
    everywhere = model(FOREST, Tensor(array(x)))[0]
    at_leaves = model(FOREST, Tensor(array(x[leaves])), leaves)[0]
    np.testing.assert_allclose(numpy(everywhere), numpy(at_leaves), atol=1e-6)


def test_one_step_is_what_a_forest_is(array, numpy):
    model, forest = NaryTreeLSTM(INPUTS, HIDDEN), Forest([balanced(2), balanced(2)])
    x = Tensor(array(RNG.standard_normal((4, INPUTS)), "float32"))
    hidden, cell = model(forest, x, forest.leaves)
    below = [array(side[forest.roots]) for side in (forest.left, forest.right)]
    children = [(hidden[nodes], cell[nodes]) for nodes in below]
    h, c = model.compose(*children)
    np.testing.assert_allclose(numpy(h), numpy(hidden)[forest.roots], atol=1e-6)
    np.testing.assert_allclose(numpy(c), numpy(cell)[forest.roots], atol=1e-6)
    with pytest.raises(ValueError, match=r"Expect: 2 children of \(nodes, 4\)"):
        model.compose(children[0])


@KINDS
def test_what_does_not_fit_is_refused(kind, array):
    model = kind()
    with pytest.raises(ValueError, match=r"Expect: \(32, 3\)"):
        model(FOREST, array(np.ones((31, 3)), "float32"))
    with pytest.raises(ValueError, match=r"Expect: \(2, 3\)"):
        model(FOREST, array(np.ones((32, 3)), "float32"), [0, 1])
    with pytest.raises(ValueError, match="impossible sizes"):
        kind(0)
    if kind is nary:
        star = Tree([-1] + [0] * 6)
        with pytest.raises(ValueError, match="node 0 has 6 children, more than 5: binarize it"):
            model(star, array(np.ones((7, 3)), "float32"))


@KINDS
def test_a_forest_without_nodes_or_edges(kind, array, numpy):
    model = kind()
    x = Tensor(array(np.ones((0, INPUTS)), "float32"), requires_grad=True)
    hidden, cell = model(Forest([]), x)
    assert hidden.shape == cell.shape == (0, HIDDEN)
    assert minae.grad(hidden.sum(), x).shape == x.shape
    single = Tensor(array(np.ones((1, INPUTS)), "float32"), requires_grad=True)
    hidden, _ = model(Tree([-1]), single)
    gradients = minae.grad(hidden.sum(), [single, *model.parameters()])
    assert numpy(gradients[0]).any() and not numpy(gradients[2]).any()


@KINDS
def test_a_deep_chain_survives(kind, array, numpy):
    """Its gradients are those of its end, where the states no longer change."""
    deep = 10_000
    model = kind(1, 2)
    x = Tensor(array(np.ones((deep, 1)), "float32"), requires_grad=True)
    hidden, _ = model(Tree(np.arange(deep) - 1), x)
    gradient = numpy(minae.grad(hidden[0].sum(), x))
    short = Tensor(array(np.ones((200, 1)), "float32"), requires_grad=True)
    end, _ = model(Tree(np.arange(200) - 1), short)
    np.testing.assert_allclose(numpy(hidden)[0], numpy(end)[0], rtol=1e-5)
    wanted = numpy(minae.grad(end[0].sum(), short))
    np.testing.assert_allclose(gradient[:100], wanted[:100], rtol=1e-4, atol=1e-7)
    assert np.abs(gradient[200:]).max() < 1e-6


def test_how_they_print():
    assert child_sum().extra_repr() == "3, 4" and nary().extra_repr() == "3, 4, 5"
