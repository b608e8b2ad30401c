"""What the models of sequences are tested with."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from minae import backend
from minae.optim import Adam


class Padded(NamedTuple):
    """As ``seq.Padded``."""

    values: Any
    lengths: Any

    @property
    def mask(self):
        return backend.xp.arange(self.values.shape[1]) < self.lengths[:, None]


@pytest.fixture(scope="session")
def pad(array):
    """``pad(sequences, value=0)``: as one array, filled up at the right."""

    def padded(sequences, value=0):
        lengths = np.array([len(s) for s in sequences])
        values = np.full((len(sequences), lengths.max()), value)
        for row, sequence in zip(values, sequences):
            row[: len(sequence)] = sequence
        return Padded(array(values), array(lengths))

    return padded


@pytest.fixture(scope="session")
def learn():
    """``learn(model, loss, steps, lr)``: the first and the last loss."""

    def fit(model, loss, steps, lr=1e-2):
        optimizer, losses = Adam(model.parameters(), lr), []
        for _ in range(steps):
            value, _ = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item())
        return losses[0], losses[-1]

    return fit
