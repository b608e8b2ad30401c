"""A recurrent model so small that all of its sequences can be listed."""

import itertools

import numpy as np

import minae
from minae import Tensor, backend


class Tiny:
    """Its next token depends on all that came before. Every sequence starts with the token 0."""

    def __init__(self, vocabulary, seed=0, hidden=3, scale=1.5, dtype="float64"):
        rng = np.random.default_rng(seed)
        shapes = (vocabulary, hidden), (hidden, hidden), (hidden, vocabulary)
        self.parameters = [
            Tensor(backend.asarray((scale * rng.normal(size=shape)).astype(dtype)),
                   requires_grad=True) for shape in shapes
        ]  # fmt: skip
        self.vocabulary, self.hidden, self.dtype, self.calls = vocabulary, hidden, dtype, 0

    def start(self, rows):
        """A first state and the first tokens."""
        return (backend.xp.zeros((rows, self.hidden), self.dtype),
                backend.xp.zeros(rows, "int64"))

    def step(self, tokens, state):
        self.calls += 1
        table, turn, out = self.parameters
        new = tokens @ table if tokens.dtype.kind == "f" else minae.embedding(table, tokens)
        state = minae.tanh(state @ turn + new)
        return state @ out, state

    def logits(self, prefix):
        """Those after a prefix: once more, in NumPy."""
        table, turn, out = (backend.asnumpy(p.array).astype("float64") for p in self.parameters)
        state = np.zeros(self.hidden)
        for token in (0, *prefix):
            state = np.tanh(state @ turn + table[token])
        return state @ out

    def log_probability(self, tokens, keep=lambda p: p):
        """Of a sequence, where ``keep`` makes of the probabilities of a step those drawn from."""
        total = 0.0
        for i, token in enumerate(tokens):
            total += np.log(keep(softmax(self.logits(tokens[:i])))[token])
        return total

    def scores(self, sequences):
        """Log-probabilities (sequences,), recorded: of tuples that have one length."""
        state, tokens = self.start(len(sequences))
        total = 0.0
        for column in np.array(sequences).T:
            logits, state = self.step(tokens, state)
            tokens = backend.asarray(np.ascontiguousarray(column))
            total = total - minae.cross_entropy(logits, tokens, reduction="none")
        return total


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def sequences(vocabulary, length, end=None):
    """All that can be decoded: with an end token last, or of the full length."""
    found = [s for n in range(1, length) for s in itertools.product(range(vocabulary), repeat=n)
             if s[-1] == end and end not in s[:-1]]
    whole = itertools.product(range(vocabulary), repeat=length)
    return found + [s for s in whole if end not in s[:-1]]


def as_tuples(tokens, lengths):
    """Arrays (..., time) and (...) as a list of tuples."""
    rows = tokens.reshape(-1, tokens.shape[-1]).tolist()
    return [tuple(row[:n]) for row, n in zip(rows, lengths.ravel().tolist(), strict=True)]


def surprise(observed, expected):
    """Pearson's chi-square of counts, as a number of standard deviations from its mean.

    Classes of which fewer than 5 are expected count as one.
    """
    assert observed[expected == 0].sum() == 0
    rare = expected < 5
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    observed, expected = observed[expected > 0], expected[expected > 0]
    freedom = len(expected) - 1
    statistic = ((observed - expected) ** 2 / expected).sum()
    return (statistic - freedom) / np.sqrt(2 * freedom)
