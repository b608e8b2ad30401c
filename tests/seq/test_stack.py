"""Stacks as arrays, against stacks that are lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minae
from minae import Tensor, seq
from minae.seq import REDUCE, SHIFT, Cells, NaryTreeLSTM, Stacks, Tree, actions_of, tree_of


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_actions_build_the_tree_that_they_are_of(words, seed):
    shape = seq.random_tree(words, rng=np.random.default_rng(seed))
    names = [f"n{i}" for i in range(len(shape))]
    tree = Tree(shape.parent, names, names)
    actions, order = actions_of(tree), tree.postorder
    assert (actions == SHIFT).sum() == words and (actions == REDUCE).sum() == words - 1
    labels = [names[i] for i in order]
    assert tree_of(actions, labels, labels) == tree
    assert tree_of(actions.tolist()).parent.tolist() == tree.parent.tolist()


def test_what_is_no_binary_tree_has_no_actions_and_the_other_way_round():
    for parent in ([-1, 0], [-1, 0, 0, 0], [-1, -1], []):
        with pytest.raises(ValueError, match="not one binary tree"):
            actions_of(Tree(parent))
    with pytest.raises(ValueError, match="action 1, REDUCE, finds 1 on the stack"):
        tree_of([SHIFT, REDUCE])
    with pytest.raises(ValueError, match="action 1, REDUCE, finds 1 on the stack"):
        tree_of(np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="action 0, 7, finds 0"):
        tree_of([7])
    with pytest.raises(ValueError, match="these actions with 2"):
        tree_of([SHIFT, SHIFT])
    with pytest.raises(ValueError, match="these actions with 0"):
        tree_of([])


@given(st.lists(st.integers(0, 6), max_size=5), st.integers(0, 2**32 - 1))
def test_every_step_is_what_lists_do(lengths, seed):
    rng = np.random.default_rng(seed)
    stacks = Stacks(np.array(lengths, int))
    lists, shifted = [[] for _ in lengths], [0] * len(lengths)
    steps = 0
    while not stacks.done.all():
        legal = [[n < length, len(own) > 1] for own, n, length in zip(lists, shifted, lengths)]
        assert stacks.legal.tolist() == legal
        actions = [int(rng.choice([k for k in (0, 1) if row[k]])) if any(row)
                   else int(rng.integers(-1, 3)) for row in legal]  # fmt: skip
        move = stacks.step(actions)
        steps += 1
        for row, (action, own) in enumerate(zip(actions, lists)):
            wanted = (False, 0, 0, 0, 0)
            if any(legal[row]) and action == SHIFT:
                wanted = (False, shifted[row], 0, 0, (own or [0])[-1])
                own.append(steps)
                shifted[row] += 1
            elif any(legal[row]):
                right, left = own.pop(), own.pop()
                wanted = (True, 0, left, right, (own or [0])[-1])
                own.append(steps)
            assert tuple(part[row] for part in move) == wanted
            assert stacks.cells[row, 1 : stacks.height[row] + 1].tolist() == own
            assert stacks.top[row] == (own or [0])[-1]
    assert steps == max([2 * n - 1 for n in lengths if n], default=0)


def test_what_is_not_possible_is_refused_by_name():
    stacks = Stacks([2, 1])
    stacks.step([SHIFT, SHIFT])
    with pytest.raises(ValueError, match="REDUCE is not possible for sentence 0 at step 1: "
                       "it has 1 words left, and 1 cells on its stack"):  # fmt: skip
        stacks.step([REDUCE, SHIFT])
    with pytest.raises(ValueError, match="2 is not possible for sentence 0"):
        stacks.step([2, SHIFT])
    assert stacks.time == 1 and stacks.height.tolist() == [1, 1]
    stacks.step([SHIFT, REDUCE])  # the second is done, and passes
    with pytest.raises(ValueError, match="SHIFT is not possible for sentence 0 at step 2"):
        stacks.step([SHIFT, SHIFT])
    for actions in ([SHIFT], [0.0, 1.0]):
        with pytest.raises(ValueError, match=r"Expect: actions \[2\], integers"):
            stacks.step(actions)
    for lengths in ([-1], [[1]], [0.5]):
        with pytest.raises(ValueError, match=r"Expect: lengths \(batch,\)"):
            Stacks(lengths)


def run(model, words, trees):
    """The states of the roots, by stacks: a batch of trees, a step at a time."""
    actions = [actions_of(tree) for tree in trees]
    stacks, hidden = Stacks([len(tree.leaves) for tree in trees]), model.hidden
    rows = np.arange(len(trees))
    cells = Cells(minae.xp.zeros((len(trees), 2 * hidden), "float32"))
    for t in range(max(map(len, actions))):
        move = stacks.step([row[t] if t < len(row) else SHIFT for row in actions])
        pairs = [minae.split(cells.read(side), 2, axis=1) for side in (move.left, move.right)]
        reduced = minae.concatenate(model.compose(*pairs), axis=1)
        index = [minae.xp.asarray(part) for part in (rows, move.word)]
        cells.write(
            minae.where(minae.xp.asarray(move.reduce)[:, None], reduced, words[tuple(index)])
        )
    assert stacks.done.all()
    return cells.read(stacks.top)


def test_a_batch_composes_what_each_tree_is(array, numpy):
    """Against lists, and against a forest; so are the gradients."""
    rng, hidden = np.random.default_rng(0), 3
    trees = [seq.random_tree(n, rng=rng) for n in (4, 1, 6, 2, 5)]
    model = NaryTreeLSTM(1, hidden, rng=rng)
    values = rng.standard_normal((5, 6, 2 * hidden)).astype("float32")
    words = Tensor(array(values), requires_grad=True)
    together = run(model, words, trees)
    others = []
    for row, tree in enumerate(trees):
        stack, unread = [], list(range(len(tree.leaves)))
        for action in actions_of(tree):
            if action == SHIFT:
                stack.append(minae.split(words[row : row + 1, unread.pop(0)], 2, axis=1))
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(model.compose(left, right))
        others.append(minae.concatenate(stack[0], axis=1))
    alone = minae.concatenate(others)
    np.testing.assert_allclose(numpy(together), numpy(alone), atol=1e-6)
    weigh = array(rng.standard_normal((5, 2 * hidden)), "float32")
    targets = [words, model.weight_hh, model.bias]
    for one, other in zip(
        minae.grad((together * weigh).sum(), targets), minae.grad((alone * weigh).sum(), targets)
    ):
        np.testing.assert_allclose(numpy(one), numpy(other), atol=1e-5)


def test_cells_read_for_each_row_its_own(array, numpy):
    values = np.arange(12.0).reshape(3, 2, 2)
    cells = Cells(array(values[0]))
    cells.write(array(values[1]))
    cells.write(array(values[2]))
    np.testing.assert_array_equal(numpy(cells.read([2, 0])), [values[2, 0], values[0, 1]])
    np.testing.assert_array_equal(numpy(cells.read([1, 1])), values[1])
    with pytest.raises(ValueError, match=r"Expect: \[2, 2\], as cell 0 is"):
        cells.write(array(values[0, :1]))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_spans_have_the_actions_of_their_trees(sizes, seed):
    rng, n = np.random.default_rng(seed), max(sizes)
    trees = [seq.random_tree(words, rng=rng) for words in sizes]
    spans = np.zeros((2, len(trees), n, n), bool)
    for row, tree in zip(spans[1], trees):
        row[tree.spans[:, 0], tree.spans[:, 1] - 1] = True
    spans[0] = spans[1]
    found = seq.actions_of_spans(spans)
    assert found.shape == (2, len(trees), 2 * n - 1)
    for row, tree in zip(found[0], trees):
        own = actions_of(tree)
        assert row.tolist() == own.tolist() + [SHIFT] * (2 * n - 1 - len(own))
    assert (found[0] == found[1]).all()


def test_spans_of_no_words_have_no_actions():
    assert seq.actions_of_spans(np.zeros((2, 0, 0), bool)).shape == (2, 0)
    with pytest.raises(ValueError, match=r"spans \(\.\.\., n, n\)"):
        seq.actions_of_spans(np.zeros((2, 3, 4), bool))
