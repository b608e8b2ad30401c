"""Charts against the sum over all structures, one by one."""

import itertools
import math

import numpy as np
import pytest

import minae
from minae import Tensor, kernels
from minae.seq import BinaryTrees, LinearChain, semirings
from minae.seq.chart import best_parts, covariance
from minae.testing import check_grads

LABELS = 3


def trees(first, last):
    """The spans of every binary tree over words, as sets."""
    if first == last:
        yield {(first, first)}
    for split in range(first, last):
        for left, right in itertools.product(trees(first, split), trees(split + 1, last)):
            yield left | right | {(first, last)}


def all_trees(n):
    """(trees, n, n), the tree with the lowest splits first."""
    found = list(trees(0, n - 1)) if n else [()]
    out = np.zeros((len(found), n, n), bool)
    for tree, spans in zip(out, found):
        for span in spans:
            tree[span] = True
    return out


def all_labels(time):
    """(sequences, time)"""
    found = list(itertools.product(range(LABELS), repeat=time))
    return np.array(found, int).reshape(len(found), time)


class Trees:
    """A batch of one, with everything about it by enumeration."""

    sizes = range(8)
    tied = (4, ((1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (0, 0, 0, 1)))
    make = BinaryTrees

    def __init__(self, n, rng):
        self.arrays = [rng.standard_normal((1, n, n))]
        self.structures = all_trees(n)

    def scores(self, scores):
        return np.where(self.structures, scores[0], 0).sum(axis=(1, 2))

    def parts(self):
        return [self.structures]


class Chains:
    """The same of label sequences; transitions are those of every position."""

    sizes = range(5)
    tied = (3, (0, 0, 0))
    make = LinearChain

    def __init__(self, n, rng):
        shapes = (1, n, LABELS), (1, max(n - 1, 0), LABELS, LABELS), (LABELS,), (LABELS,)
        self.arrays = [rng.standard_normal(shape) for shape in shapes]
        self.structures = all_labels(n)

    def scores(self, emissions, transitions, start, end):
        total = []
        for y in self.structures:
            score = sum(emissions[0, t, y[t]] for t in range(len(y)))
            score += sum(transitions[0, t, y[t], y[t + 1]] for t in range(len(y) - 1))
            total.append(score + start[y[0]] + end[y[-1]] if len(y) else score)
        return np.array(total, float)

    def parts(self):
        hot = np.eye(LABELS)[self.structures]
        return [hot, hot[:, :-1, :, None] * hot[:, 1:, None, :]]


FAMILIES = [Trees, Chains]
CASES = [(family, n) for family in FAMILIES for n in family.sizes]
every_case = pytest.mark.parametrize(
    "family, n", CASES, ids=[f"{family.__name__}-{n}" for family, n in CASES]
)
each_family = pytest.mark.parametrize("family", FAMILIES)


def probabilities(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def listed(parts):
    return parts if isinstance(parts, tuple) else (parts,)


@every_case
def test_everything_is_the_sum_over_all_structures(family, n, array, numpy):
    case = family(n, np.random.default_rng(n))
    xs = [Tensor(array(a), requires_grad=True) for a in case.arrays]
    found, scores = family.make(*xs), case.scores(*case.arrays)
    p = probabilities(scores)

    assert int(found.count()[0]) == len(case.structures)
    total = found.log_partition()
    close(numpy(total), [math.log(np.exp(scores).sum())])
    close(numpy(found.entropy()), [-(p * np.log(p)).sum()])
    means = [np.tensordot(p, parts, 1)[None] for parts in case.parts()]
    for marginals, mean in zip(listed(found.marginals()), means):
        close(numpy(marginals), mean)
    for gradient, mean in zip(minae.grad(total.sum(), xs), means):
        close(numpy(gradient), mean)

    score, best = found.best()
    close(numpy(score), [scores.max()])
    np.testing.assert_array_equal(numpy(best)[0], case.structures[scores.argmax()])
    given = array(case.structures[:, None])
    close(numpy(found.score(given))[:, 0], scores)
    close(numpy(found.log_prob(given))[:, 0], np.log(p))


def close(found, wanted, tolerance=1e-12):
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def test_catalan_numbers(numpy, array):
    scores = array(np.zeros((8, 7, 7)))
    counts = BinaryTrees(scores, list(range(8))).count()
    assert numpy(counts).tolist() == [1, 1, 1, 2, 5, 14, 42, 132]


def test_marginals_are_inside_times_outside(array, numpy):
    """The formula of the textbooks (Lari & Young 1990), written out."""
    n = 6
    s = np.random.default_rng(0).standard_normal((n, n))
    inside, outside = np.zeros((n, n)), np.zeros((n, n))
    for width in range(n):
        for i in range(n - width):
            j = i + width
            below = sum(inside[i, u] * inside[u + 1, j] for u in range(i, j)) if width else 1
            inside[i, j] = math.exp(s[i, j]) * below
    outside[0, -1] = 1
    for width in reversed(range(n - 1)):
        for i in range(n - width):
            j = i + width
            for k in range(i):  # a sister at the left
                outside[i, j] += math.exp(s[k, j]) * outside[k, j] * inside[k, i - 1]
            for k in range(j + 1, n):
                outside[i, j] += math.exp(s[i, k]) * outside[i, k] * inside[j + 1, k]
    found = BinaryTrees(array(s[None]))
    close(numpy(found.marginals())[0], inside * outside / inside[0, -1])
    close(numpy(found.log_partition()), [math.log(inside[0, -1])])


@each_family
def test_of_structures_that_tie_the_first_choice_is_best(family, array, numpy):
    n, wanted = family.tied
    case = family(n, np.random.default_rng(0))
    score, best = family.make(*[array(0 * a) for a in case.arrays]).best()
    assert float(score[0]) == 0
    np.testing.assert_array_equal(numpy(best)[0], wanted)


@each_family
def test_samples_have_their_probabilities(family, array, numpy):
    n, count = (5, 20_000) if family is Trees else (3, 20_000)
    case = family(n, np.random.default_rng(1))
    p = probabilities(case.scores(*case.arrays))
    found = family.make(*[array(a) for a in case.arrays])
    drawn = numpy(found.sample(count, np.random.default_rng(2)))[:, 0]
    seen = (drawn.reshape(count, 1, -1) == case.structures.reshape(1, len(p), -1)).all(axis=2)
    counts = seen.sum(axis=0)
    assert counts.sum() == count  # no other
    square = ((counts - count * p) ** 2 / (count * p)).sum()
    freedom = len(p) - 1
    assert square < freedom + 4 * math.sqrt(2 * freedom)  # four deviations above its mean


@each_family
def test_a_seed_gives_the_same_samples(family, array, numpy):
    case = family(4, np.random.default_rng(1))
    found = family.make(*[array(a) for a in case.arrays])
    first, again, other = (numpy(found.sample(9, np.random.default_rng(s))) for s in (1, 1, 2))
    assert first.shape == (9, 1, *case.structures.shape[1:])
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    minae.seed(3)
    first = numpy(found.sample(9))
    minae.seed(3)
    np.testing.assert_array_equal(first, numpy(found.sample(9)))


@each_family
def test_expectations_and_covariances(family, array, numpy):
    case, rng = family(4, np.random.default_rng(1)), np.random.default_rng(2)
    second = [rng.standard_normal(a.shape) for a in case.arrays]
    found, values = (family.make(*[array(a) for a in arrays]) for arrays in (case.arrays, second))
    finite = minae.where(values.cells == -math.inf, 0.0, values.cells)
    p, v = probabilities(case.scores(*case.arrays)), case.scores(*second)
    close(numpy(found.total(semirings.Expectation(finite))), [p @ v])
    moved = found._scores(covariance(finite, found.cells, levels=found.levels))
    for parts, hot in zip(listed(moved), case.parts()):
        close(numpy(parts)[0], np.tensordot(p * (v - p @ v), hot, 1))


@each_family
def test_counts_of_parts(family, array, numpy):
    case = family(4, np.random.default_rng(1))
    found = family.make(*[array(a) for a in case.arrays])
    counts = kernels.chart_parts(found.cells, found.levels, semirings.Count())
    for parts, hot in zip(listed(found._scores(counts)), case.parts()):
        close(numpy(parts)[0], hot.sum(axis=0))


@each_family
def test_a_semiring_of_ones_own(family, array, numpy):
    class Least(semirings.Max):
        name = "least"

        def lift(self, scores):
            return minae.where(scores == -math.inf, math.inf, scores)

        def plus(self, terms):
            return terms.min(axis=1)

    case = family(4, np.random.default_rng(1))
    found = family.make(*[array(a) for a in case.arrays])
    close(numpy(found.total(Least())), [case.scores(*case.arrays).min()])


# --- Ragged batches ---------------------------------------------------------------------------


def ragged(family, rng, longest=5):
    """Arrays of a batch with every length, NaN in the padding, and each of it alone."""
    lengths = list(range(longest + 1))
    cases = [family(n, rng) for n in lengths]
    arrays = []
    for position, array in enumerate(cases[-1].arrays):
        if array.shape[0] != 1:  # of all: the start and end of chains
            for case in cases:
                case.arrays[position] = array
            arrays.append(array)
            continue
        batch = np.full((len(cases), *array.shape[1:]), np.nan)
        for row, case in zip(batch, cases):
            own = case.arrays[position][0]
            row[tuple(map(slice, own.shape))] = own
        arrays.append(batch)
    return cases, lengths, arrays


@each_family
def test_a_ragged_batch_is_each_by_itself(family, array, numpy):
    cases, lengths, arrays = ragged(family, np.random.default_rng(3))
    xs = [Tensor(array(a), requires_grad=True) for a in arrays]
    found = family.make(*xs, lengths=lengths)
    alone = [family.make(*[Tensor(array(a), requires_grad=True) for a in case.arrays])
             for case in cases]
    for name in ("log_partition", "entropy", "count"):
        wanted = [numpy(getattr(one, name)())[0] for one in alone]
        close(numpy(getattr(found, name)()), wanted)
    best = numpy(found.best()[1])
    samples = numpy(found.sample(4, np.random.default_rng(0)))
    for b, one in enumerate(alone):
        for batch, own in zip(listed(found.marginals()), listed(one.marginals())):
            whole = numpy(batch)[b]
            own = numpy(own)[0]
            inner = tuple(map(slice, own.shape))
            close(whole[inner], own)
            whole[inner] = 0
            assert not whole.any()
        own = numpy(one.best()[1])[0]
        inner = tuple(map(slice, own.shape))
        np.testing.assert_array_equal(best[b][inner], own)
        assert best[b].sum() == own.sum()
        for sample in samples[:, b]:
            log_p = float(one.log_prob(array(sample[inner][None]))[0])
            assert log_p > -math.inf and sample.sum() == sample[inner].sum()
    gradients = minae.grad(found.log_partition().sum(), xs[:2])
    for gradient, marginals in zip(gradients, listed(found.marginals())):
        np.testing.assert_array_equal(numpy(gradient), numpy(marginals))
    given = found.log_prob(array(best))
    close(numpy(given), numpy(found.best()[0] - found.log_partition()))


def test_transitions_that_all_positions_share(array, numpy):
    rng = np.random.default_rng(4)
    emissions, shared = rng.standard_normal((3, 5, 4)), rng.standard_normal((4, 4))
    each = np.broadcast_to(shared, (3, 4, 4, 4)).copy()
    lengths = [5, 1, 3]
    one, other = (
        LinearChain(array(emissions), Tensor(array(t), requires_grad=True), lengths=lengths)
        for t in (shared, each)
    )
    for name in ("log_partition", "entropy", "count"):
        close(numpy(getattr(one, name)()), numpy(getattr(other, name)()))
    (labels, moves), (labels_each, moves_each) = one.marginals(), other.marginals()
    close(numpy(labels), numpy(labels_each))
    close(numpy(moves), numpy(moves_each).sum(axis=1))
    labels = numpy(one.best()[1])
    np.testing.assert_array_equal(labels, numpy(other.best()[1]))
    close(numpy(one.log_prob(array(labels))), numpy(other.log_prob(array(labels))))
    beyond = labels + 99 * (np.arange(5) >= np.array(lengths)[:, None])
    close(numpy(one.log_prob(array(beyond))), numpy(other.log_prob(array(labels))))


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0), (0, 0, 0)])
def test_no_trees_and_no_words(shape, array, numpy):
    found = BinaryTrees(array(np.zeros(shape)))
    assert numpy(found.log_partition()).tolist() == [0] * shape[0]
    assert numpy(found.sample(2)).shape == (2, *shape)
    assert numpy(found.marginals()).shape == numpy(found.best()[1]).shape == shape


# --- Derivatives ------------------------------------------------------------------------------


@each_family
@pytest.mark.parametrize("name", ["log_partition", "entropy", "marginals", "best", "log_prob"])
def test_derivatives(family, name, array):
    _, lengths, arrays = ragged(family, np.random.default_rng(5), 3)
    arrays = [np.nan_to_num(a) for a in arrays]

    def function(*xs):
        found = family.make(*xs, lengths=lengths)
        if name == "log_prob":
            return found.log_prob(found.best()[1])
        result = getattr(found, name)()
        if name == "best":
            return result[0]
        return result if name != "marginals" else listed(result)[-1]

    check_grads(function, arrays, order=2)


@each_family
def test_derivatives_have_derivatives(family, array):
    case = family(3, np.random.default_rng(5))
    check_grads(lambda *xs: family.make(*xs).log_partition(), case.arrays, order=4)


@each_family
def test_kl(family, array, numpy):
    rng = np.random.default_rng(6)
    case, other = family(4, rng), family(4, rng)
    p, q = (probabilities(c.scores(*c.arrays)) for c in (case, other))
    found, second = (family.make(*[array(a) for a in c.arrays]) for c in (case, other))
    close(numpy(found.kl(second)), [(p * np.log(p / q)).sum()])
    close(numpy(found.kl(found)), [0])
    count = len(case.arrays)
    check_grads(
        lambda *xs: family.make(*xs[:count]).kl(family.make(*xs[count:])),
        [*case.arrays, *other.arrays],
    )
    with pytest.raises(ValueError, match="one family and one shape"):
        found.kl(family.make(*[array(a) for a in family(3, rng).arrays]))
    two = [np.repeat(a, 2, axis=0) if a.ndim > 1 else a for a in case.arrays]
    with pytest.raises(ValueError, match="one family and one shape"):
        found.kl(family.make(*map(array, two)))


# --- Constraints, and numbers at the edge -----------------------------------------------------


@each_family
def test_what_is_forbidden_is_in_no_structure(family, array, numpy):
    case = family(5 if family is Trees else 4, np.random.default_rng(7))
    first = case.arrays[0]
    first[0, 1, 2] = -math.inf
    if family is Chains:
        case.arrays[1][0, :, 0, 1] = -math.inf
        case.arrays[2][2] = -math.inf
    scores = case.scores(*case.arrays)
    p = probabilities(scores)
    xs = [Tensor(array(a), requires_grad=True) for a in case.arrays]
    found = family.make(*xs)
    possible = scores > -math.inf
    assert 0 < possible.sum() < len(p)
    assert int(found.count()[0]) == possible.sum()
    close(numpy(found.log_partition()), [math.log(np.exp(scores).sum())])
    entropy = found.entropy()
    close(numpy(entropy), [-(p[possible] * np.log(p[possible])).sum()])
    means = [np.tensordot(p, parts, 1)[None] for parts in case.parts()]
    gradients = minae.grad(found.log_partition().sum(), xs, retain_graph=True)
    for gradient, mean in zip(gradients, means):
        close(numpy(gradient), mean)
    drawn = found.sample(200, np.random.default_rng(0))
    assert (numpy(found.log_prob(drawn)) > -math.inf).all()
    for gradient, mean in zip(minae.grad(entropy.sum(), xs), means):
        assert np.isfinite(numpy(gradient)).all()
        assert not numpy(gradient)[mean == 0].any()
    free = family.make(*[array(np.where(a == -math.inf, 0, a)) for a in case.arrays])
    assert float(free.kl(found)[0]) == math.inf
    q = probabilities(case.scores(*[np.where(a == -math.inf, 0, a) for a in case.arrays]))
    close(numpy(found.kl(free)), [(p[possible] * np.log(p[possible] / q[possible])).sum()])


@each_family
def test_kl_from_what_allows_no_structure_is_infinite(family, array, numpy):
    case, other = (family(4, np.random.default_rng(8)) for _ in range(2))
    other.arrays[0][0, 0 if family is Trees else 2] = -math.inf
    xs = [Tensor(array(a), requires_grad=True) for a in case.arrays]
    second = family.make(*[array(a) for a in other.arrays])
    assert not second.count().any()
    found = family.make(*xs).kl(second)
    assert numpy(found).tolist() == [math.inf]
    assert not any(numpy(gradient).any() for gradient in minae.grad(found.sum(), xs))


@each_family
def test_where_nothing_is_possible_gradients_are_0(family, array, numpy):
    case = family(4, np.random.default_rng(8))
    case.arrays[0][0, 0 if family is Trees else 2] = -math.inf
    xs = [Tensor(array(a), requires_grad=True) for a in case.arrays]
    found = family.make(*xs)
    assert float(found.log_partition().item()) == float(found.best()[0].item()) == -math.inf
    assert float(found.entropy().item()) == int(found.count()[0]) == 0
    assert not numpy(found.best()[1]).any() and not numpy(found.sample(3)).any()
    assert not numpy(best_parts(found.cells, levels=found.levels))[:, :-1].any()  # but the root
    for parts in listed(found.marginals()):
        assert not numpy(parts).any()
    for loss in (found.log_partition(), found.entropy()):
        for gradient in minae.grad(loss.sum(), xs, create_graph=True):
            assert not numpy(gradient).any()


@each_family
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_scores(family, dtype, array, numpy):
    case = family(4, np.random.default_rng(9))
    arrays = [(1e4 * a).astype(dtype) for a in case.arrays]
    scores = case.scores(*[a.astype(float) for a in arrays])
    xs = [Tensor(array(a), requires_grad=True) for a in arrays]
    found = family.make(*xs)
    assert found.log_partition().dtype == found.entropy().dtype == dtype
    close(numpy(found.log_partition()), [scores.max()], 1e-6)
    for parts, hot in zip(listed(found.marginals()), case.parts()):
        assert parts.dtype == dtype
        close(numpy(parts)[0], hot[scores.argmax()])
    close(numpy(found.entropy()), [0])
    for gradient in minae.grad(found.entropy().sum(), xs):
        close(numpy(gradient), np.zeros(gradient.shape))


def test_what_is_wrong_is_named(array):
    scores = np.zeros((2, 3, 3))
    for bad in (math.nan, math.inf):
        wrong = scores.copy()
        wrong[1, 0, 2] = bad
        with pytest.raises(ValueError, match=r"the score of a span is NaN or \+inf"):
            BinaryTrees(array(wrong))
        BinaryTrees(array(wrong), [3, 2])  # it lies beyond
    emissions, transitions = np.zeros((2, 3, 4)), np.zeros((4, 4))
    for e, t, what in [(np.nan, 0, "an emission"), (0, np.inf, "a transition")]:
        with pytest.raises(ValueError, match=f"the score of {what} is NaN"):
            LinearChain(array(emissions + e), array(transitions + t))
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="the score of an end is NaN"):
            LinearChain(array(emissions), array(transitions), end=array([0, 0, bad, 0]))
    for shape in [(2, 3), (2, 3, 4), (2, 2, 3, 3)]:
        with pytest.raises(ValueError, match=r"Expect: scores \(batch, n, n\)"):
            BinaryTrees(array(np.zeros(shape)))
    for shape in [(3, 3), (2, 4, 4), (2, 3, 4, 4), (4,)]:
        with pytest.raises(ValueError, match=r"Expect: transitions \[4, 4\] or \[2, 2, 4, 4\]"):
            LinearChain(array(emissions), array(np.zeros(shape)))
    with pytest.raises(ValueError, match=r"Expect: emissions \(batch, time, labels\)"):
        LinearChain(array(np.zeros((2, 3, 0))), array(np.zeros((0, 0))))
    with pytest.raises(ValueError, match=r"Expect: start and end \[4\]"):
        LinearChain(array(emissions), array(transitions), end=array(np.zeros(3)))
    for lengths in ([3, 4], [-1, 3]):
        with pytest.raises(ValueError, match=r"lengths must be in \[0, 4\)"):
            BinaryTrees(array(scores), lengths)
    with pytest.raises(ValueError, match=r"Expect: lengths \[2\]"):
        BinaryTrees(array(scores), [3])
    chain = LinearChain(array(emissions), array(transitions))
    with pytest.raises(ValueError, match=r"labels must be in \[0, 4\)"):
        chain.score([[0, 1, 2], [3, 4, 0]])
    with pytest.raises(ValueError, match=r"Expect: labels \[2, 3\]"):
        chain.score([[0, 1, 2]])


def test_what_is_no_tree_has_no_probability(array):
    found = BinaryTrees(array(np.zeros((1, 4, 4))), [3])
    tree = all_trees(3)[0]
    whole = np.zeros((1, 4, 4), bool)
    whole[0, :3, :3] = tree
    assert float(found.log_prob(array(whole))[0]) == pytest.approx(-math.log(2))
    beyond, missing = whole.copy(), whole.copy()
    beyond[0, 3, 3], beyond[0, 0, 0], missing[0, 0, 0] = True, False, False
    for wrong in (beyond, missing):
        with pytest.raises(ValueError, match="2n - 1 spans"):
            found.log_prob(array(wrong))
    with pytest.raises(TypeError, match="spans must be boolean"):
        found.log_prob(array(whole * 1.0))
    with pytest.raises(ValueError, match=r"Expect: spans \(batch, n, n\)"):
        found.log_prob(array(tree[None]))


def test_long_sequences_need_no_recursion(array, numpy):
    chain = LinearChain(array(np.zeros((1, 1500, 2))), array(np.zeros((2, 2))))
    close(numpy(chain.log_partition()), [1500 * math.log(2)])
    found = BinaryTrees(array(np.zeros((1, 60, 60))))
    log_catalan = math.log(math.comb(118, 59) // 60)
    close(numpy(found.log_partition()), [log_catalan])
    close(numpy(found.entropy()), [log_catalan])
