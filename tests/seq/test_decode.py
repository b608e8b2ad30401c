"""Decoding against the list of all sequences: what is found, what is drawn, how probable it was."""

import itertools
import math
from collections import Counter, namedtuple

import numpy as np
import pytest
from tiny import Tiny, as_tuples, sequences, softmax, surprise

import minae
from minae import backend
from minae.seq import beam_search, greedy, sample, take_rows


def best_first(found, numpy):
    """The sequences of the first row, with their scores and log-probabilities."""
    tokens, lengths, scores, log_probabilities = (numpy(x[0]) for x in found)
    return as_tuples(tokens, lengths), scores, log_probabilities


# --- Beam search ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [None, 0, 2])
@pytest.mark.parametrize("penalty, alpha", [("wu", 0.0), ("wu", 1.5), ("power", 1), ("wu", -1)])
def test_a_beam_as_wide_as_all_there_is_finds_the_best_of_all(end, penalty, alpha, numpy):
    model = Tiny(3, seed=4)
    state, first = model.start(1)
    everything = sequences(3, 3, end)
    found = beam_search(model.step, state, first, length=3, width=27, end=end, alpha=alpha,
                        count=len(everything), length_penalty=penalty)
    tokens, scores, log_probabilities = best_first(found, numpy)
    assert set(tokens) == set(everything) and len(tokens) == len(everything)
    exact = [model.log_probability(s) for s in tokens]
    np.testing.assert_allclose(log_probabilities, exact, rtol=1e-12)
    assert math.isclose(np.exp(log_probabilities).sum(), 1, rel_tol=1e-12)  # all sequences
    lengths = np.array([len(s) for s in tokens])
    divisor = ((5 + lengths) / 6) ** alpha if penalty == "wu" else lengths**alpha
    np.testing.assert_allclose(scores, exact / divisor, rtol=1e-12)
    assert (np.diff(scores) <= 0).all()


def by_hand(model, length, width, end, count, alpha):
    """The search as it is described, over Python's lists, never ended early."""
    live, done = [((), 0.0)], []
    for size in range(1, length + 1):
        extended = [
            ((*s, token), total + p) for s, total in live
            for token, p in enumerate(np.log(softmax(model.logits(s))))
        ]  # fmt: skip
        extended.sort(key=lambda pair: -pair[1])
        over = [s[-1] == end or size == length for s, _ in extended]
        done += [(s, p / ((5 + size) / 6) ** alpha)
                 for (s, p), ended in zip(extended[:width], over) if ended]
        live = [pair for pair, ended in zip(extended, over) if not ended][:width]
    return sorted(done, key=lambda pair: -pair[1])[:count]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("width, count", [(1, 1), (2, 2), (4, 3)])
@pytest.mark.parametrize("alpha", [-2.0, 0.0, 0.8, 3.0])
def test_ending_early_changes_nothing(seed, width, count, alpha, numpy):
    model = Tiny(5, seed)
    wanted = by_hand(model, 7, width, 1, count, alpha)
    state, first = model.start(3)
    found = beam_search(model.step, state, first, length=7, width=width, end=1, count=count,
                        alpha=alpha)
    for row in range(3):
        tokens, lengths, scores = (numpy(x[row]) for x in found[:3])
        assert as_tuples(tokens, lengths)[: len(wanted)] == [s for s, _ in wanted]
        np.testing.assert_allclose(scores[: len(wanted)], [p for _, p in wanted], rtol=1e-12)
        assert (scores[len(wanted) :] == -math.inf).all()
        assert not lengths[len(wanted) :].any()


def chain(*tables):
    """A step whose next token depends on the last alone, by rows of probabilities."""
    with np.errstate(divide="ignore"):
        logits = backend.asarray(np.log(tables))
    return lambda tokens, state: (logits[tokens], state)


@pytest.mark.parametrize(
    "alpha, step, wanted",
    [
        (1.0, chain([0, 0.6, 0.4], [0, 1, 0], [0, 0, 1]), (2,) * 7),  # longer ones may be better
        (-1.0, chain([0, 0.4, 0.6], [0, 1, 0], [0, 1, 0]), (2, 1)),  # or only those that end soon
    ],
)
def test_it_does_not_end_before_the_best_is_sure(alpha, step, wanted, numpy):
    found = beam_search(step, None, [0], length=7, width=2, end=1, alpha=alpha)
    assert as_tuples(numpy(found.tokens), numpy(found.lengths)) == [wanted]


def test_a_search_records_nothing():
    model = Tiny(4)
    state, first = model.start(2)
    found = []

    def step(tokens, state):
        found.append(model.step(tokens, state))
        return found[-1]

    beam_search(step, state, first, length=3, width=2)
    assert len(found) == 3 and not any(x.requires_grad for pair in found for x in pair)


def test_it_does_end_early():
    model = Tiny(4)
    model.step = counting = Counted(model.step)
    state, first = model.start(2)
    beam_search(lambda t, s: sure_of(1, *counting(t, s)), state, first, length=50, width=3, end=1)
    assert counting.calls == 1
    greedy(lambda t, s: sure_of(1, *counting(t, s)), state, first, length=50, end=1)
    assert counting.calls == 2


class Counted:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *args):
        self.calls += 1
        return self.function(*args)


def sure_of(token, logits, state):
    """With a probability of ``token`` above 1/2."""
    return logits * 0 + 9 * (backend.xp.arange(logits.shape[1]) == token), state


@pytest.mark.parametrize("seed", range(20))
def test_width_1_is_greedy(seed, numpy):
    model = Tiny(4, seed, dtype="float32")
    if seed % 2:  # ties go to the lowest token
        model.parameters[2].data = model.parameters[2].array[:, [0, 1, 1, 0]]
    state, first = model.start(2)
    one = greedy(model.step, state, first, length=6, end=2)
    beam = beam_search(model.step, state, first, length=6, width=1, end=2)
    assert as_tuples(numpy(one.tokens), numpy(one.lengths)) == as_tuples(
        numpy(beam.tokens), numpy(beam.lengths)
    )
    np.testing.assert_allclose(
        numpy(one.log_probabilities).sum(axis=1), numpy(beam.log_probabilities)[:, 0], rtol=1e-5
    )
    for tokens in as_tuples(numpy(one.tokens), numpy(one.lengths)):
        for i, token in enumerate(tokens):
            assert token == np.argmax(np.round(model.logits(tokens[:i]), 5))


def test_rows_are_searched_each_on_its_own(numpy):
    model = Tiny(5, seed=1)
    state, first = model.start(3)
    state = state + backend.asarray([[0.0], [1.0], [-2.0]], "float64")
    options = {"length": 6, "width": 3, "count": 2, "end": 1, "alpha": 1.0}
    together = beam_search(model.step, state, first, **options)
    for row in range(3):
        alone = beam_search(model.step, state[row : row + 1], first[:1], **options)
        time = alone.tokens.shape[2]
        np.testing.assert_array_equal(numpy(alone.tokens[0]), numpy(together.tokens[row, :, :time]))
        np.testing.assert_allclose(numpy(alone.scores[0]), numpy(together.scores[row]))


def test_only_what_is_allowed_is_found(numpy):
    """No token twice in a row, and never 3."""
    model, seen = Tiny(4, seed=2), []
    state, first = model.start(2)

    def allowed(prefixes):
        seen.append(prefixes.shape)
        tokens = backend.xp.arange(4)
        last = prefixes[:, -1:] if prefixes.shape[1] else backend.xp.full((len(prefixes), 1), -1)
        return (tokens != last) & (tokens != 3)

    found = beam_search(model.step, state, first, length=3, width=64, count=20, allowed=allowed)
    tokens, _, log_probabilities = best_first(found, numpy)
    legal = [s for s in itertools.product(range(3), repeat=3) if s[0] != s[1] != s[2]]
    exact = sorted((model.log_probability(s) for s in legal), reverse=True)
    assert sorted(tokens[: len(legal)]) == legal
    np.testing.assert_allclose(log_probabilities[: len(legal)], exact)
    assert (log_probabilities[len(legal) :] == -math.inf).all()
    assert seen[0] == (2, 0) and seen[1][1] == 1


def test_where_nothing_is_allowed_nothing_is_found(numpy):
    model = Tiny(4)
    state, first = model.start(1)
    found = beam_search(model.step, state, first, length=3, width=2, count=2, end=1,
                        allowed=lambda prefixes: backend.xp.zeros((len(prefixes), 4), bool))
    assert numpy(found.lengths).tolist() == [[0, 0]] and (numpy(found.tokens) == 1).all()
    assert (numpy(found.scores) == -math.inf).all()


# --- Sampling ------------------------------------------------------------------------------------


def kept(top_k=None, top_p=None, temperature=1.0):
    """What is drawn from instead of probabilities, by the book."""

    def keep(p):
        p = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
        order = sorted(range(len(p)), key=lambda i: (-p[i], i))[:top_k]
        p = np.where(np.isin(np.arange(len(p)), order), p, 0)
        p = p / p.sum()
        if top_p is not None:
            need = next(n for n in range(1, len(p) + 1) if p[order[:n]].sum() >= top_p - 1e-12)
            p = np.where(np.isin(np.arange(len(p)), order[:need]), p, 0)
        return p / p.sum()

    return keep


OPTIONS = [{}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.7},
           {"temperature": 2.0, "top_k": 3, "top_p": 0.8}]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("end", [None, 1])
def test_sequences_are_drawn_as_often_as_they_are_probable(options, end, numpy):
    model, rows = Tiny(4, seed=3), 20_000
    state, first = model.start(rows)
    with minae.no_grad():
        drawn = sample(model.step, state, first, length=3, end=end, rng=np.random.default_rng(0),
                       **options)
    tokens = as_tuples(numpy(drawn.tokens), numpy(drawn.lengths))
    counts, everything = Counter(tokens), sequences(4, 3, end)
    with np.errstate(divide="ignore"):
        log_exact = [model.log_probability(s, kept(**options)) for s in everything]
    exact = np.exp(log_exact)
    assert math.isclose(exact.sum(), 1, rel_tol=1e-12)
    assert abs(surprise(np.array([counts[s] for s in everything]), rows * exact)) < 4
    assert sum(counts.values()) == sum(counts[s] for s in everything)
    total = dict(zip(everything, log_exact))
    found = numpy(drawn.log_probabilities).sum(axis=1)
    np.testing.assert_allclose(found, [total[s] for s in tokens], rtol=1e-9)


def test_after_its_end_a_sequence_has_only_end_tokens_of_probability_1(numpy):
    model = Tiny(3, seed=5)
    state, first = model.start(200)
    drawn = sample(model.step, state, first, length=9, end=2, rng=np.random.default_rng(1))
    tokens, lengths = numpy(drawn.tokens), numpy(drawn.lengths)
    after = np.arange(tokens.shape[1]) >= lengths[:, None]
    assert after.any() and (tokens[after] == 2).all()
    assert (numpy(drawn.log_probabilities)[after] == 0).all()
    assert (numpy(drawn.log_probabilities)[~after] < 0).all()
    for row, length in zip(tokens, lengths):
        assert 2 not in row[: length - 1] and (length == 9 or row[length - 1] == 2)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_k": 2}], ids=str)
def test_the_log_probabilities_are_recorded_where_the_model_is(options, numpy):
    """Their gradient is that of the same sequences scored anew."""
    model = Tiny(3, seed=6)
    state, first = model.start(50)
    drawn = sample(model.step, state, first, length=4, rng=np.random.default_rng(2), **options)
    weights = backend.asarray(np.random.default_rng(3).normal(size=50))
    found = minae.grad((drawn.log_probabilities.sum(axis=1) * weights).sum(), model.parameters)

    def tempered(tokens, state):
        logits, state = model.step(tokens, state)
        if options:
            logits = logits / 0.7
            logits = minae.where(minae.top_k(logits, 2)[0][:, 1:] <= logits, logits, -math.inf)
        return logits, state

    again = type("", (), {"step": staticmethod(tempered), "start": model.start})
    wanted = minae.grad(
        (Tiny.scores(again, numpy(drawn.tokens).tolist()) * weights).sum(), model.parameters
    )
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(numpy(a), numpy(b), rtol=1e-9, atol=1e-12)
    with minae.no_grad():
        drawn = sample(model.step, state, first, length=4)
    assert not drawn.log_probabilities.requires_grad


def test_an_rng_determines_all(numpy):
    model = Tiny(9)
    state, first = model.start(30)

    def draw(seed):
        return numpy(sample(model.step, state, first, length=5,
                            rng=np.random.default_rng(seed)).tokens)

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()


def constant(*logits):
    """A step that says the same of every row."""
    row = backend.asarray(np.array(logits, "float32"))
    return lambda tokens, state: (backend.xp.tile(row, (len(tokens), 1)), state)


@pytest.mark.parametrize("options", [{}, {"top_k": 4}, {"top_p": 1.0}], ids=str)
def test_what_is_impossible_is_never_drawn(options, numpy, monkeypatch):
    step, first = constant(-math.inf, 1, -math.inf, 0, -math.inf), backend.xp.zeros(3, "int64")
    edge = backend.asarray(np.array([[0.0], [1 - 2.0**-53], [0.5]]))
    monkeypatch.setattr("minae.seq.decode.uniform_noise", lambda *_: edge)
    drawn = sample(step, None, first, length=1, **options)
    assert numpy(drawn.tokens)[:, 0].tolist() == [3, 1, 1]


def test_a_temperature_that_makes_logits_infinite_is_refused():
    first = backend.xp.zeros(3, "int64")
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError, match="is not finite"):
        sample(constant(0, 10, 20), None, first, length=1, temperature=1e-38)
        minae.tensor(0.0).numpy()  # where it is found later


def test_of_equal_logits_the_lowest_tokens_are_kept(numpy):
    first = backend.xp.zeros(500, "int64")
    for options in ({"top_k": 2}, {"top_p": 0.5}):
        drawn = sample(constant(0, 0, 0, 0), None, first, length=1, **options)
        assert set(numpy(drawn.tokens)[:, 0].tolist()) == {0, 1}
        np.testing.assert_allclose(numpy(drawn.log_probabilities), math.log(0.5), rtol=1e-6)
    assert not numpy(greedy(constant(0, 0, 0), None, first, length=1).tokens).any()


def test_the_share_is_of_what_the_top_k_leave(numpy):
    """Of 4, 3 and 2 ninths, the first two are 7 ninths: more than the share, which 7 tenths are
    not."""
    drawn = sample(constant(*np.log([4, 3, 2, 1])), None, backend.xp.zeros(500, "int64"),
                   length=1, top_k=3, top_p=0.75)
    assert set(numpy(drawn.tokens)[:, 0].tolist()) == {0, 1}


def test_after_its_end_a_row_needs_no_token_that_is_possible(numpy):
    """As of a grammar that allows nothing after a whole tree."""

    def step(tokens, state):
        table = np.array([[0, 0], [-math.inf, -math.inf]], "float32")
        return backend.asarray(table)[tokens], state

    first = backend.xp.zeros(20, "int64")
    drawn = sample(step, None, first, length=6, end=1, rng=np.random.default_rng(0))
    assert len(set(numpy(drawn.lengths).tolist())) > 2
    with pytest.raises(FloatingPointError, match="no token can be chosen"):
        sample(step, None, first, length=6, rng=np.random.default_rng(0))
        minae.tensor(0.0).numpy()  # where it is found later


# --- States --------------------------------------------------------------------------------------


def test_rows_are_taken_from_every_kind_of_state(array, numpy):
    pair = namedtuple("pair", "x y")
    x = array(np.arange(6.0).reshape(3, 2))
    rows = array([2, 0, 2], "int64")
    state = {"a": [x, None], "b": pair(minae.Tensor(x, requires_grad=True), (Chosen(),))}
    taken = take_rows(state, rows)
    assert type(taken["b"]) is pair and type(taken["a"]) is list and taken["a"][1] is None
    assert taken["b"].y[0].rows is rows
    for each in (taken["a"][0], taken["b"].x):
        np.testing.assert_array_equal(numpy(each), [[4, 5], [0, 1], [4, 5]])
    gradient = minae.grad(taken["b"].x.sum(), state["b"].x)
    np.testing.assert_array_equal(numpy(gradient), [[1, 1], [0, 0], [2, 2]])
    with pytest.raises(TypeError, match=r"from a object: give it a method select\(rows\)"):
        take_rows([object()], rows)


class Chosen:
    def __init__(self, rows=None):
        self.rows = rows

    def select(self, rows):
        return Chosen(rows)


def test_the_state_goes_with_its_hypothesis(numpy):
    """A model whose state is an object, of the row's whole past."""

    class Past:
        def __init__(self, tokens):
            self.tokens = tokens

        def select(self, rows):
            return Past(self.tokens[rows])

    model = Tiny(4, seed=8)

    def step(tokens, past):
        past = Past(backend.xp.concatenate([past.tokens, tokens[:, None]], 1))
        rows = [model.logits(row[1:]) for row in numpy(past.tokens).tolist()]
        return backend.asarray(np.array(rows)), past

    first = backend.xp.zeros(2, "int64")
    options = {"length": 5, "width": 3, "count": 3, "end": 3}
    found = beam_search(step, Past(backend.xp.zeros((2, 0), "int64")), first, **options)
    state, first = model.start(2)
    wanted = beam_search(model.step, state, first, **options)
    np.testing.assert_array_equal(numpy(found.tokens), numpy(wanted.tokens))
    np.testing.assert_allclose(numpy(found.scores), numpy(wanted.scores))


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temperature": 0}, r"temperature must be positive, got 0; for 0, use greedy\(\)"),
        ({"temperature": math.nan}, "temperature must be positive"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\]"),
        ({"top_p": 1.1}, r"top_p must be in \(0, 1\]"),
        ({"length": 0}, "length must be at least 1"),
        ({"end": 4}, "end is 4, but the vocabulary has 4 tokens"),
    ],
)
def test_impossible_options_are_refused(options, message):
    model = Tiny(4)
    state, first = model.start(2)
    with pytest.raises(ValueError, match=message):
        sample(model.step, state, first, **({"length": 3} | options))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"width": 2, "count": 3}, "width=2 does not find 3 sequences"),
        ({"width": 0}, "1 <= count <= width"),
        ({"width": 2, "length_penalty": "mean"}, "choose wu or power"),
        ({"width": 2, "alpha": math.nan}, "alpha must be finite, got nan"),
        ({"width": 2, "allowed": lambda x: backend.xp.ones((1, 4), bool)}, r"a mask \[2, 4\]"),
    ],
)
def test_impossible_searches_are_refused(options, message):
    model = Tiny(4)
    state, first = model.start(2)
    with pytest.raises(ValueError, match=message):
        beam_search(model.step, state, first, length=3, **options)


def test_what_the_step_gives_and_gets_is_checked(array):
    first = array([0, 0], "int64")
    with pytest.raises(ValueError, match=r"logits \(2, vocabulary\) from the step"):
        greedy(lambda tokens, state: (array(np.zeros((3, 4))), None), None, first, length=2)
    with pytest.raises(ValueError, match=r"first \(rows,\)"):
        greedy(constant(0, 1), None, array([[0]], "int64"), length=2)
    with pytest.raises(TypeError, match="first must be integers"):
        greedy(constant(0, 1), None, array([0.5]), length=2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("decode", [sample, greedy, beam_search])
def test_logits_that_are_no_numbers_are_one_error(bad, decode, numpy):
    options = {"width": 2} if decode is beam_search else {}
    with pytest.raises(FloatingPointError, match="no token can be chosen"):
        decode(constant(0, bad), None, [0], length=2, **options)
        minae.tensor(0.0).numpy()  # where it is found later


def test_no_rows_are_no_sequences():
    model = Tiny(4)
    state, first = model.start(0)
    assert sample(model.step, state, first, length=3, end=1).tokens.shape[0] == 0
    found = beam_search(model.step, state, first, length=3, width=2, end=1)
    assert found.tokens.shape[:2] == (0, 1)
