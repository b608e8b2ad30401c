"""What models of sequences take: ids, perhaps padded, and what comes after them."""

from __future__ import annotations

from typing import Any

import minae.ops as ops

from ..backend import Array, expect, xp
from ..engine import entries
from ..functional import cross_entropy, linear
from ..functional.checks import integers
from ..nn import Embedding

NOTHING = -100  # the label of a place that has no loss


def read_tokens(
    tokens: Any, vocabulary: int, longest: int | None = None, name: str = "tokens", least: int = 1
) -> tuple[Any, Array | None]:
    """Ids (batch, time), checked, and the mask of what is no padding, None where all is.

    ``tokens`` are a ``seq.Padded``, an array of integers in [0, vocabulary), or one of one-hot
    vectors (batch, time, vocabulary), through which gradients pass. Raises ValueError where the
    shape is another, where there is no step, or more than the ``longest`` there may be.
    """
    mask = getattr(tokens, "mask", None)
    values = tokens if mask is None else tokens.values
    if soft(values):
        shape, ids = values.shape[:-1], values
        fits = len(shape) == 2 and values.shape[-1] == vocabulary
    else:
        ids = integers(values, vocabulary, name)
        shape, fits = ids.shape, ids.ndim == 2
    if not fits or shape[1] < least:
        raise ValueError(expect(f"{name} (batch, time), with a time of {least} or more", ids))
    if longest is not None and shape[1] > longest:
        why = f"there are more {name} than fit the context"
        wanted = f"(batch, time) with a time of at most {longest}: cut them, or a longer context="
        raise ValueError(expect(wanted, ids, why=why))
    return ids, mask


def read_ids(
    tokens: Any, vocabulary: int, longest: int | None = None, name: str = "tokens", least: int = 1
) -> tuple[Array, Array | None]:
    """As ``read_tokens``, of ids alone. Raises TypeError for vectors."""
    ids, mask = read_tokens(tokens, vocabulary, longest, name, least)
    if soft(ids):
        raise TypeError(expect(f"ids of {name} (batch, time)", ids, why="vectors are no ids"))
    return ids, mask


def read_last(tokens: Any, vocabulary: int) -> Any:
    """The last tokens (rows,), as sequences of one step."""
    if soft(tokens):
        return read_tokens(ops.reshape(tokens, shape=(len(tokens), 1, -1)), vocabulary)[0]
    ids = integers(tokens, vocabulary, "tokens")
    if ids.ndim != 1:
        raise ValueError(expect("the last tokens (rows,)", ids))
    return ids[:, None]


def soft(tokens: Any) -> bool:
    """Whether these are vectors instead of ids."""
    return getattr(getattr(tokens, "dtype", None), "kind", "i") == "f"


def embedded(table: Embedding, tokens: Any) -> Any:
    """The vector of each token: (..., features)."""
    if soft(tokens):
        return linear(tokens, table.weight)
    return ops.getitem(table.weight, index=tokens)  # checked before


def labels_of(ids: Array, mask: Array | None) -> Array:
    """What comes after each token but the last, and nothing where that is padding."""
    return ids[:, 1:] if mask is None else xp.where(mask[:, 1:], ids[:, 1:], NOTHING)


def loss_of(
    logits: Any, labels: Array, label_smoothing: float = 0.0
) -> tuple[Any, dict[str, Any]]:
    """The mean of ``-log p`` over all labels, in nats, and the perplexity."""
    rows = ops.reshape(logits, shape=(-1, logits.shape[-1]))
    labels = labels.reshape(-1)
    loss = cross_entropy(rows, labels, ignore_index=NOTHING, label_smoothing=label_smoothing)
    plain = entries(loss)
    if label_smoothing:
        plain = cross_entropy(entries(rows), labels, ignore_index=NOTHING)
    return loss, {"perplexity": xp.exp(plain)}
