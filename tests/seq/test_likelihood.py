"""Perplexity and bits per character."""

import math

import numpy as np
import pytest

import minae
from minae.seq import bits_per_character, perplexity


def test_an_even_guess_among_n_has_the_perplexity_n(array):
    logits = array(np.zeros((7, 5), "float32"))
    nats = minae.cross_entropy(logits, array(np.arange(7) % 5), reduction="sum")
    assert math.isclose(perplexity(nats, 7), 5, rel_tol=1e-6)
    assert math.isclose(perplexity(minae.Tensor(nats), 7), 5, rel_tol=1e-6)
    assert math.isclose(bits_per_character(8 * math.log(2), 4), 2)
    assert perplexity(0, 3) == 1 and bits_per_character(0, 3) == 0


def test_what_is_too_much_is_infinite():
    assert perplexity(1e6, 1) == math.inf == perplexity(math.inf, 1)
    assert bits_per_character(math.inf, 1) == math.inf


@pytest.mark.parametrize("function", [perplexity, bits_per_character])
@pytest.mark.parametrize("nats, count", [(1.0, 0), (-0.1, 3), (math.nan, 3), (1.0, -1),
                                         (1.0, math.nan)])
def test_nothing_predicted_and_what_is_no_total_are_refused(function, nats, count):
    with pytest.raises(ValueError, match="needs nats of at least 0 and something to count"):
        function(nats, count)
