"""How well a language model predicts: nats into perplexity and into bits.

Both divide a total by a count, and figures can be compared only where both are of the same text.
The total is of all that was predicted: if the end of each sentence is, its nats are in it. The
count chooses the unit: of tokens with those ends (as for the Penn Treebank), of words, of
characters. A model of subwords has its perplexity per word when its whole total is divided by the
number of words.
"""

from __future__ import annotations

import math
from typing import Any


def perplexity(nats: Any, count: int) -> float:
    """``exp(nats / count)``: among how many equally probable tokens the model was to choose.

    ``nats`` is the total of ``-log p`` over ``count`` tokens, what a cross-entropy of
    ``reduction="sum"`` adds up to. Raises ValueError where there was nothing to predict, or the
    total is no number of at least 0.
    """
    rate = _rate(nats, count)
    return math.exp(rate) if rate < 709 else math.inf


def bits_per_character(nats: Any, characters: int) -> float:
    """``nats / characters``, in bits: what a code by this model would need for a character.

    ``characters`` is the length of the text that was predicted, ``len(text)``: code points, with
    blanks and ends of lines. Errors are those of ``perplexity``.
    """
    return _rate(nats, characters) / math.log(2)


def _rate(nats: Any, count: int) -> float:
    total = float(nats)
    if not (total >= 0 and count >= 1):
        raise ValueError(f"needs nats of at least 0 and something to count, got {total}, {count}")
    return total / count
