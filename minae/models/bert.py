"""BERT: a transformer that reads text in both directions (Devlin et al. 2019).

It learns from text in which a few tokens are hidden: to say which they were.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple, Self

import minae.ops as ops

from ..backend import Array, expect, numpy, xp
from ..functional import cross_entropy, linear
from ..interop import load_torch, to_torch
from ..nn import Dropout, Embedding, LayerNorm, Linear, TransformerEncoder
from ..nn.linear import constant
from ..ops import gelu, gelu_tanh, relu, tanh
from ..random import integer_noise, normal, uniform_noise
from .hugging_face import expect_config, heads_of, read_weights, renamed, without_copies
from .saving import Saved, unseeded
from .tokens import NOTHING, embedded, loss_of, read_ids, read_tokens

EPS = 1e-12  # of the norms

NAMES = (  # Hugging Face's names, and ours
    (r"^bert\.", ""),
    (r"\.gamma$", ".weight"),  # of weights that came from TensorFlow
    (r"\.beta$", ".bias"),
    (r"^embeddings\.word_embeddings\.", "embedding."),
    (r"^embeddings\.position_embeddings\.", "positions."),
    (r"^embeddings\.token_type_embeddings\.", "segments."),
    (r"^embeddings\.LayerNorm\.", "norm."),
    (r"^encoder\.layer\.", "transformer.layers."),
    (r"\.attention\.output\.dense\.", ".self_attn.out_proj."),
    (r"\.attention\.output\.LayerNorm\.", ".norm1."),
    (r"\.intermediate\.dense\.", ".linear1."),
    (r"\.output\.dense\.", ".linear2."),
    (r"\.output\.LayerNorm\.", ".norm2."),
    (r"^pooler\.dense\.", "pooler."),
    (r"^cls\.predictions\.transform\.dense\.", "transform."),
    (r"^cls\.predictions\.transform\.LayerNorm\.", "transform_norm."),
    (r"^cls\.predictions\.bias$", "bias"),
    (r"^cls\.seq_relationship\.", "follows."),
)
COPIES = {
    "cls.predictions.decoder.weight": "embedding.weight", "cls.predictions.decoder.bias": "bias",
}  # fmt: skip
HEADS = ("pooler.", "transform.", "transform_norm.", "bias", "follows.")  # some models lack them


class Masked(NamedTuple):
    """Text with tokens hidden, and what they were."""

    tokens: Any  # as they were given, but for those at positions
    positions: Array  # (batch, most): integers in [0, time)
    labels: Array  # (batch, most): the token that was there, or -100 where fewer are hidden


def mask_tokens(
    tokens: Any, vocabulary: int, mask: int, special: Collection[int] = (), share: float = 0.15,
    *, rng: Any = None,
) -> Masked:
    """Hide a ``share`` of the tokens of each sequence, one at least (Devlin et al. 2019, 3.1).

    ``tokens`` (batch, time) are an array or a ``seq.Padded``. Of those that are hidden, each
    becomes the token ``mask`` with probability 0.8, or any of the ``vocabulary`` with 0.1, or else
    stays. Padding and tokens that are ``special`` (those of begin and end, say) are never among
    them. How many are hidden depends on the lengths alone.
    """
    if any(not 0 <= token < vocabulary for token in (mask, *special)):
        raise ValueError(f"mask and special tokens must be in [0, {vocabulary})")
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    ids, real = read_ids(tokens, vocabulary)
    candidates = xp.ones(ids.shape, bool) if real is None else real.copy()
    for token in special:
        candidates &= ids != token
    most = max(1, round(share * ids.shape[1]))
    drawn = xp.where(candidates, uniform_noise(ids.shape, rng=rng), 2.0)
    positions = xp.argsort(drawn, axis=1)[:, :most]  # candidates first, in random order
    available = candidates.sum(axis=1)
    wanted = xp.minimum(xp.maximum(xp.rint(share * available), 1), available)
    chosen = xp.arange(most) < wanted[:, None]
    rows = xp.arange(len(ids))[:, None]
    old = ids[rows, positions]
    kind = uniform_noise(positions.shape, rng=rng)
    other = integer_noise(vocabulary, positions.shape, rng=rng).astype(ids.dtype)
    new = xp.where(kind < 0.8, mask, xp.where(kind < 0.9, other, old))
    hidden = ids.copy()
    hidden[rows, positions] = xp.where(chosen, new, old)
    text = hidden if real is None else tokens._replace(values=hidden)
    return Masked(text, positions, xp.where(chosen, old, NOTHING))


class BERT(Saved):
    """Tokens (batch, time), integers in [0, vocabulary), to vectors (batch, time, features).

    Up to ``context`` tokens, of ``segments`` kinds (the first text and the second, say), are read
    at once. There are ``layers`` with ``heads`` that divide the ``features``; norms come last. The
    vectors of the tokens are also the weights of the output. ``dropout`` is that of the vectors, of
    attention and of what is added in each layer, ``activation`` a function: ``gelu``, or
    ``gelu_tanh`` as in the paper's own code.
    """

    def __init__(
        self, vocabulary: int, context: int = 128, layers: int = 4, features: int = 256,
        heads: int = 8, dropout: float = 0.1, segments: int = 2,
        activation: Callable[[Any], Any] = gelu, *, rng: Any = None,
    ) -> None:
        if min(vocabulary, context, segments) < 1:
            raise ValueError(f"impossible {vocabulary=}, {context=}, {segments=}")
        self.config = {
            "vocabulary": vocabulary, "context": context, "layers": layers, "features": features,
            "heads": heads, "dropout": dropout, "segments": segments, "activation": activation,
        }  # fmt: skip
        self.vocabulary, self.context, self.activation = vocabulary, context, activation
        self.embedding = Embedding(vocabulary, features, rng=rng)
        self.positions = Embedding(context, features, rng=rng)
        self.segments = Embedding(segments, features, rng=rng)
        self.norm = LayerNorm(features, EPS)
        self.dropout = Dropout(dropout, rng=rng)
        self.transformer = TransformerEncoder(
            layers, features, heads, dropout=dropout, activation=activation, eps=EPS, rng=rng
        )
        self.pooler = Linear(features, features, rng=rng)
        self.transform = Linear(features, features, rng=rng)
        self.transform_norm = LayerNorm(features, EPS)
        self.bias = constant(vocabulary, 0)
        self.follows = Linear(features, 2, rng=rng)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                p.data = normal(p.shape, 0.02, rng=rng)
            elif name.endswith("bias"):
                p.data = 0 * p.data

    def forward(self, tokens: Any, segments: Any = None) -> Any:
        """The vectors of ``tokens``, an array or a ``seq.Padded``, of which padding is not seen.

        ``segments`` (batch, time) are the kinds of the tokens, by default all 0.
        """
        ids, mask = read_tokens(tokens, self.vocabulary, self.context)
        if segments is None:
            kinds = ops.getitem(self.segments.weight, index=0)
        else:
            kinds = self.segments(segments)
            if kinds.shape[:2] != ids.shape[:2]:
                raise ValueError(expect(f"segments {list(ids.shape[:2])}", segments))
        positions = ops.getitem(self.positions.weight, index=slice(ids.shape[1]))
        x = self.dropout(self.norm(embedded(self.embedding, ids) + positions + kinds))
        return self.transformer(x, mask=None if mask is None else mask[:, None, None, :])

    def pool(self, vectors: Any) -> Any:
        """What a text as a whole is like (batch, features), of ``vectors`` that ``forward`` gave.

        It is read off the first token, which should be one made for that.
        """
        return tanh(self.pooler(ops.getitem(vectors, index=(slice(None), 0))))

    def predict(self, vectors: Any) -> Any:
        """The logits (..., vocabulary) of the token at each of ``vectors`` (..., features)."""
        x = self.transform_norm(self.activation(self.transform(vectors)))
        return linear(x, ops.swapaxes(self.embedding.weight, first=0, second=1), self.bias)

    def loss(
        self, masked: Masked, segments: Any = None, follows: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """What to minimise: the mean of ``-log p`` of the tokens that ``masked`` hides.

        With ``follows`` (batch,), 0 where the second of two ``segments`` follows the first in the
        text and 1 where it is any other, that of telling them apart is added (Devlin et al. 2019,
        3.1). Reports the perplexity, and what was added as ``follows``.
        """
        vectors = self(masked.tokens, segments)
        rows = xp.arange(vectors.shape[0])[:, None]
        hidden = ops.getitem(vectors, index=(rows, masked.positions))  # the head reads these alone
        loss, figures = loss_of(self.predict(hidden), masked.labels)
        if follows is not None:
            more = cross_entropy(self.follows(self.pool(vectors)), follows)
            loss, figures = loss + more, {**figures, "follows": more.detach()}
        return loss, figures

    # --- From elsewhere ------------------------------------------------------------------------

    @classmethod
    def from_hugging_face(
        cls, source: Any, heads: int | None = None, dropout: float = 0.1
    ) -> Self:
        """A BERT of ``transformers``, for use (``eval()``).

        ``source`` is a folder that ``save_pretrained`` wrote, or a ``state_dict`` of a model whose
        activation is ``gelu``, which does not tell the number of ``heads``. What a model without
        some of the heads of ``BertForPreTraining`` lacks starts anew. ``dropout`` is for training
        it further. Raises ValueError where its configuration asks for what is not computed here, or
        an array is missing, unknown or of another shape.
        """
        arrays, config = read_weights(source)
        activations = {"gelu": gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh,
                       "relu": relu}  # fmt: skip
        expect_config(config, {
            "model_type": ("bert",), "hidden_act": tuple(activations), "layer_norm_eps": (EPS,),
            "position_embedding_type": ("absolute",), "is_decoder": (False,),
            "tie_word_embeddings": (True,), "add_cross_attention": (False,),
        })
        state = {
            renamed(name, NAMES): value for name, value in arrays.items()
            if not name.endswith("embeddings.position_ids")  # which older files hold
        }  # fmt: skip
        state = _joined(without_copies(state, COPIES))
        if not {"embedding.weight", "positions.weight", "segments.weight"} <= state.keys():
            raise ValueError("embeddings are missing: this is no BERT")
        vocabulary, features = state["embedding.weight"].shape
        context, segments = len(state["positions.weight"]), len(state["segments.weight"])
        layers = sum(name.endswith(".linear1.weight") for name in state)
        model = unseeded(
            cls, vocabulary, context, layers, features,
            heads_of(config, "num_attention_heads", heads), dropout, segments,
            activations[config.get("hidden_act", "gelu")],
        )  # fmt: skip
        fresh = to_torch(model)
        for part in HEADS:
            if not any(name.startswith(part) for name in state):
                state |= {name: x for name, x in fresh.items() if name.startswith(part)}
        load_torch(model, state)
        return model.eval()

    @staticmethod
    def _shapes(
        vocabulary: int, context: int, layers: int, features: int, segments: int, **others: Any
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield "embedding.weight", (vocabulary, features)
        yield "positions.weight", (context, features)
        yield "segments.weight", (segments, features)
        for layer in range(layers):
            yield f"transformer.layers.{layer}.linear1.weight", (features, 4 * features)


def _joined(state: dict[str, Any]) -> dict[str, Any]:
    """Queries, keys and values made by one product."""
    for name in [name for name in state if ".attention.self.query." in name]:
        parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in state for part in parts):
            joined = numpy.concatenate([state.pop(part) for part in parts])
            state[name.replace(".attention.self.query.", ".self_attn.in_proj_")] = joined
    return state
