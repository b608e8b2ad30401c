"""Text to tree to text, against sums over all trees, and against one sentence at a time."""

import itertools
from collections import Counter

import numpy as np
import pytest

import minae
from minae import seq
from minae.models import TreeAutoencoder
from minae.models.tree_autoencoder import walked
from minae.seq import REDUCE, SHIFT, BinaryTrees


def made(vocabulary=4, **options):
    """A model that is sure of itself, so that no two trees are alike to it."""
    minae.seed(0)
    sizes = {"features": 3, "hidden": 6, "cell": 3, "samples": 2, "warm_up": 1}
    model = TreeAutoencoder(vocabulary, **sizes | options).astype("float64")
    for p in model.parameters():
        p.data = p.data * 2
    return model


def every_tree(n):
    """The spans of all binary trees on ``n`` words, (Catalan numbers, n, n)."""

    def below(i, j):
        if i == j:
            return [[(i, j)]]
        return [[(i, j), *a, *b] for k in range(i, j)
                for a in below(i, k) for b in below(k + 1, j)]  # fmt: skip

    found = below(0, n - 1)
    spans = np.zeros((len(found), n, n), bool)
    for tree, pairs in zip(spans, found):
        tree[tuple(zip(*pairs))] = True
    return spans


def joint(model, array, ids, spans):
    """log p(x, z) of one sentence and some trees, a Tensor."""
    tree, words = model.log_joint(array(np.array([ids])), array(spans[:, None]))
    return (tree + words)[:, 0]


# --- Its law -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_the_sum_over_all_trees_bounds_what_samples_tell(n, array, numpy):
    model, ids = made(), [3, 0, 2, 2, 1, 0][:n]
    spans = every_tree(n)
    q = model(array(np.array([ids])))
    log_q = numpy(q.log_prob(array(spans[:, None])))[:, 0]
    log_p = numpy(joint(model, array, ids, spans))
    share = np.exp(log_q)
    exact = (share * (log_p - log_q)).sum()
    evidence = np.log(np.exp(log_p).sum())
    assert exact <= evidence + 1e-12
    assert n < 4 or exact < evidence - 1e-3
    samples = 2000
    found = model.bounds(array(np.array([ids])), samples, np.random.default_rng(0))
    deviation = np.sqrt((share * (log_p - (share * log_p).sum()) ** 2).sum() / samples)
    assert abs(found.elbo[0] - exact) <= 4 * deviation + 1e-9
    assert found.entropy[0] == pytest.approx(-(share * log_q).sum(), abs=1e-9)
    ratio = np.exp(log_p - log_q - evidence)  # 1 on average
    deviation = np.sqrt((share * (ratio - 1) ** 2).sum() / samples)
    assert abs(np.exp(found.importance[0] - evidence) - 1) <= 4 * deviation + 1e-9


def test_all_trees_and_texts_have_probability_one(array, numpy):
    model = made(vocabulary=2)
    model.writer.reduce.bias.data += 4.0  # so that long ones are rare
    total = 0.0
    for n in range(1, 6):
        spans, texts = every_tree(n), np.array([*itertools.product(range(2), repeat=n)])
        every = np.broadcast_to(spans[:, None], (len(spans), len(texts), n, n))
        total += np.exp(sum(map(numpy, model.log_joint(array(texts), array(every))))).sum()
    assert 0.9999 < total <= 1 + 1e-9


def test_what_is_drawn_is_as_frequent_as_it_is_probable(array, numpy):
    model, count = made(vocabulary=2), 4000
    model.writer.reduce.bias.data += 1.0
    texts, actions = model.write(count, longest=9, rng=np.random.default_rng(0))
    seen = Counter((*text, -1, *tree) for text, tree in zip(texts, actions))
    assert max(map(len, texts)) <= 9
    for n in (1, 2, 3):
        spans = every_tree(n)
        for text in itertools.product(range(2), repeat=n):
            chances = np.exp(numpy(joint(model, array, text, spans)))
            for tree, chance in zip(seq.actions_of_spans(spans).tolist(), chances):
                expected, deviation = count * chance, np.sqrt(count * chance * (1 - chance))
                assert abs(seen[*text, -1, *tree] - expected) < 4.5 * deviation + 1


def one_at_a_time(model, ids, actions):
    """log p of the actions and of the words, by lists and ``compose``."""
    writer, stack, words = model.writer, [], iter(ids)
    chosen = {"action": 0.0, "word": 0.0}
    for action in [*actions, REDUCE]:
        states = [writer.nothing] * 2 + [state for state, _ in stack]
        h = minae.tanh(writer.look(minae.concatenate(states[-2:], axis=1)))
        reduce = 1 / (1 + np.exp(-writer.reduce(h).item()))
        chosen["action"] += np.log(reduce if action else 1 - reduce) if stack else 0.0
        if action == SHIFT:
            word = next(words)
            chosen["word"] += minae.log_softmax(writer.word(h))[0, word].item()
            one = seq.Tree([-1])
            stack.append(writer.tree(one, writer.table.weight[word : word + 1], one.leaves))
        elif len(stack) > 1:
            right, left = stack.pop(), stack.pop()
            stack.append(writer.tree.compose(left, right))
    assert len(stack) == 1
    return chosen["action"], chosen["word"]


def test_many_sentences_at_once_are_one_after_the_other(array, numpy, pad):
    model, rng = made(), np.random.default_rng(1)
    sentences = [[3], [1, 2], [0, 3, 2, 1, 1, 0, 2], [2, 2, 2, 0], [1]]
    text = pad(sentences)
    spans = model(text).sample(3, rng)
    tree, words = map(numpy, model.log_joint(text, spans))
    assert tree.shape == words.shape == (3, 5)
    actions = seq.actions_of_spans(spans)
    for sample, row in np.ndindex(3, 5):
        ids = sentences[row]
        own = actions[sample, row, : 2 * len(ids) - 1]
        expected = one_at_a_time(model, ids, own)
        np.testing.assert_allclose((tree[sample, row], words[sample, row]), expected, atol=1e-9)


def test_the_decoder_sees_no_more_than_two_cells(array, numpy):
    model = made()
    right = every_tree(5)[:1]  # whose first split is the lowest: all is open to the end
    assert seq.actions_of_spans(right)[0].tolist() == [0] * 5 + [1] * 4
    ids = [0, 1, 2, 3, 1]
    states = walked(seq.actions_of_spans(right), [5])
    seen = states.top[states.action == SHIFT]
    assert seen.tolist() == [[9, 9], [9, 0], [0, 1], [1, 2], [2, 3]]
    given = model.log_joint(array(np.array([ids, [3, *ids[1:]]])),
                            array(np.broadcast_to(right, (2, 5, 5))))  # fmt: skip
    assert numpy(given[1])[0] != numpy(given[1])[1]


# --- Learning ------------------------------------------------------------------------------------


def gradients(model):
    found = [p.grad.copy() for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    return found


@pytest.mark.parametrize("steps", [0, 3])
def test_the_gradient_is_that_of_the_bound_on_average(steps, array, numpy, monkeypatch):
    model, ids = made(warm_up=8), [3, 0, 2, 1]
    model.steps += steps
    model.eval()
    text, spans = array(np.array([ids])), array(every_tree(4)[:, None])
    weight = (steps + 1) / 8
    q = model(text)
    log_q = q.log_prob(spans)[:, 0]
    share = minae.exp(log_q)
    tree, words = (part[:, 0] for part in model.log_joint(text, spans))
    # q learns with the weight, the decoder without
    kept = share.detach() * (tree + words) + share * (weight * tree + words).detach()
    (-kept.sum() - weight * q.entropy().sum()).backward()
    exact, share = gradients(model), numpy(share)
    mean = [0 * g for g in exact]
    for pair in itertools.product(range(len(spans)), repeat=2):
        monkeypatch.setattr(BinaryTrees, "sample", lambda *_, pair=pair: spans[list(pair)])
        model.loss(text)[0].backward()
        for total, g in zip(mean, gradients(model)):
            total += share[pair[0]] * share[pair[1]] * g
    assert any(abs(g).max() > 1e-3 for g in exact[:6])
    for found, wanted in zip(mean, exact):
        np.testing.assert_allclose(numpy(found), numpy(wanted), atol=1e-9)


def test_the_weight_grows_in_training_alone(array):
    model = made(warm_up=4)
    text = array(np.array([[0, 1, 2]]))
    model.loss(text)
    assert int(model.steps) == 1
    model.eval().loss(text)
    assert int(model.steps) == 1
    assert int(model.state_dict()["steps"]) == 1


def test_it_learns(array, learn, pad):
    model = made(samples=4, cell=4, hidden=8)
    text = pad([[0, 1], [0, 1, 2, 3], [2, 3], [0, 2, 3, 1]] * 4)
    first = model.bounds(text, 20).elbo.mean()
    learn(model, lambda: model.loss(text), 40, 2e-2)
    assert model.bounds(text, 20).elbo.mean() > first + 1


# --- Writing -------------------------------------------------------------------------------------


def test_texts_are_drawn_for_a_tree_as_they_are_probable(array, numpy):
    model, rows = made(vocabulary=2), 1000
    model.writer.reduce.weight.data *= 6.0  # so that actions depend on words
    spans = every_tree(3)[1:]
    texts = [*itertools.product(range(2), repeat=3)]
    chances = np.exp([numpy(joint(model, array, text, spans))[0] for text in texts])
    chances /= chances.sum()
    actions = seq.actions_of_spans(spans).repeat(rows, axis=0)
    rng = np.random.default_rng(0)
    found = Counter(map(tuple, model.write_along(actions, [3] * rows, candidates=40, rng=rng)))
    plain = Counter(map(tuple, model.write_along(actions, [3] * rows, candidates=1, rng=rng)))
    share, blind = ([counts[text] / rows for text in texts] for counts in (found, plain))
    np.testing.assert_allclose(share, chances, atol=0.04)
    assert abs(np.array(blind) - chances).max() > 0.08
    likely = model.write_along(actions[:5], [3] * 5, candidates=200, likely=True, rng=rng)
    assert likely == [list(texts[chances.argmax()])] * 5


def test_texts_have_the_lengths_of_their_trees(pad):
    model = made()
    text = pad([[3, 1, 0], [2], [1, 1, 2, 0, 3]])
    texts = model.write_along(seq.actions_of_spans(model.parse(text)), text.lengths)
    assert [*map(len, texts)] == [3, 1, 5]


def test_no_text_is_longer_than_asked_and_each_has_a_tree():
    model = made()
    model.writer.reduce.bias.data -= 2.0  # so that texts would be long
    texts, actions = model.write(20, longest=4, rng=np.random.default_rng(0))
    assert max(map(len, texts)) == 4
    for text, row in zip(texts, actions):
        tree = seq.tree_of(row)
        assert len(tree.leaves) == len(text) and len(tree) == 2 * len(text) - 1


def test_what_cannot_be_is_refused(array, pad):
    model = made()
    with pytest.raises(ValueError, match="one word or more"):
        model.loss(pad([[1, 2], []]))
    with pytest.raises(TypeError, match="vectors are no ids"):
        model.loss(array(np.eye(model.vocabulary)[None]))
    with pytest.raises(ValueError, match=r"spans \(\.\.\., 1, 2, 2\)"):
        model.log_joint(array(np.array([[1, 2]])), array(np.ones((1, 3, 3), bool)))
    with pytest.raises(ValueError, match="2 n - 1 actions"):
        walked(np.array([[SHIFT, SHIFT]]), [2])
    with pytest.raises(ValueError, match="2 n - 1 actions"):
        model.write_along(np.array([[SHIFT, SHIFT]]), [2])
    with pytest.raises(ValueError, match="REDUCE is not possible"):
        model.write_along(np.array([[SHIFT, REDUCE, SHIFT]]), [2])
    for wrong in ({"count": 0}, {"longest": 0}):
        with pytest.raises(ValueError, match="impossible count="):
            model.write(**wrong)
    with pytest.raises(ValueError, match="impossible candidates=0"):
        model.write_along(np.array([[SHIFT, SHIFT, REDUCE]]), [2], candidates=0)
    for wrong in ({"vocabulary": 0}, {"samples": 1}, {"warm_up": 0}):
        with pytest.raises(ValueError, match="impossible"):
            made(**wrong)
