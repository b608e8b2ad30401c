"""GPT: text written token by token (Radford et al. 2019, GPT-2).

A stack of transformer layers reads all tokens so far and tells the probabilities of the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from typing import Any, Self

import minae.ops as ops

from ..backend import asarray, expect, numpy
from ..engine import entries, no_grad
from ..functional import cross_entropy, linear
from ..functional.checks import integers
from ..nn import Dropout, Embedding, KeyValueCache, TransformerEncoder
from ..ops import gelu_tanh
from ..random import normal
from .hugging_face import expect_config, heads_of, read_weights, renamed, without_copies
from .saving import Saved, unseeded
from .tokens import embedded, labels_of, loss_of, read_ids, read_last, read_tokens

NAMES = (  # Hugging Face's names, and ours
    (r"^transformer\.", ""),
    (r"^wte\.", "embedding."),
    (r"^wpe\.", "positions."),
    (r"^ln_f\.", "transformer.norm."),
    (r"^h\.", "transformer.layers."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.c_attn\.", ".self_attn.in_proj_"),
    (r"\.attn\.c_proj\.", ".self_attn.out_proj."),
    (r"\.mlp\.c_fc\.", ".linear1."),
    (r"\.mlp\.c_proj\.", ".linear2."),
)
MASKS = (".attn.bias", ".attn.masked_bias")  # which older files hold


class GPT(Saved):
    """Tokens (batch, time), integers in [0, vocabulary), to the logits of what comes next.

    Up to ``context`` tokens are seen at once. There are ``layers`` with ``heads`` that divide the
    ``features``; norms come first, and one comes last. The vectors of the tokens are also the
    weights of the output. ``dropout`` is that of the vectors, of attention and of what is added in
    each layer.
    """

    def __init__(
        self, vocabulary: int, context: int = 128, layers: int = 4, features: int = 256,
        heads: int = 8, dropout: float = 0.1, *, rng: Any = None,
    ) -> None:
        if min(vocabulary, context) < 1:
            raise ValueError(f"impossible {vocabulary=}, {context=}")
        self.config = {
            "vocabulary": vocabulary, "context": context, "layers": layers, "features": features,
            "heads": heads, "dropout": dropout,
        }  # fmt: skip
        self.vocabulary, self.context = vocabulary, context
        self.embedding = Embedding(vocabulary, features, rng=rng)
        self.positions = Embedding(context, features, rng=rng)
        self.transformer = TransformerEncoder(
            layers, features, heads, dropout=dropout, activation=gelu_tanh, norm_first=True, rng=rng
        )
        self.dropout = Dropout(dropout, rng=rng)
        for name, p in self.named_parameters():  # GPT-2: narrower where the residual path grows
            last = name.endswith(("out_proj.weight", "linear2.weight"))
            if p.ndim == 2:
                p.data = normal(p.shape, 0.02 / math.sqrt(2 * layers) if last else 0.02, rng=rng)
            elif name.endswith("bias"):
                p.data = 0 * p.data

    def forward(self, tokens: Any) -> Any:
        """The logits (batch, time, vocabulary) of the token after each of ``tokens``."""
        ids, _ = read_tokens(tokens, self.vocabulary, self.context)
        return self._logits(self._read(ids))

    def loss(self, tokens: Any) -> tuple[Any, dict[str, Any]]:
        """What to minimise, the mean of ``-log p`` of all tokens but the first, and the perplexity.

        ``tokens`` (batch, time + 1) are an array or a ``seq.Padded``, of which padding does not
        count.
        """
        ids, mask = read_ids(tokens, self.vocabulary, self.context + 1, least=2)
        return loss_of(self._logits(self._read(ids[:, :-1])), labels_of(ids, mask))

    @no_grad()
    def evaluate(self, ids: Any, batch_size: int = 16) -> dict[str, Any]:
        """How well one text is foretold, ``ids`` (n,): total ``nats``, and of how many ``tokens``.

        Each token but the first counts once. Windows of the context, ``batch_size`` at a time,
        overlap by half, so that all but the first tokens are seen after half a context or more.
        """
        ids = integers(ids, self.vocabulary, "ids")
        if ids.ndim != 1 or len(ids) < 2:
            raise ValueError(expect("the ids (n,) of a text of two tokens or more", ids))
        time = min(self.context, len(ids) - 1)
        stride = -(-time // 2)
        begins = [*range(0, len(ids) - 1 - time, stride), len(ids) - 1 - time]
        nats, counted = 0.0, 0  # of the tokens up to this place
        for i in range(0, len(begins), batch_size):
            starts = numpy.array(begins[i : i + batch_size])
            places = asarray(starts[:, None] + numpy.arange(time + 1))
            rows = ids[places]  # (batch, time + 1)
            losses = cross_entropy(entries(self(rows[:, :-1])), rows[:, 1:], reduction="none")
            fresh = places[:, 1:] > asarray(numpy.array([counted, *(starts[:-1] + time)]))[:, None]
            nats += float((losses * fresh).sum(dtype="float64"))
            counted = int(starts[-1]) + time
        return {"nats": nats, "tokens": counted, "perplexity": math.exp(nats / counted)}

    # --- Token by token ------------------------------------------------------------------------

    def start(self, tokens: Any = None) -> list[KeyValueCache]:
        """What is kept after reading ``tokens`` (rows, time), none by default: the first state.

        Of a prompt that is to be continued, these are all tokens but the last, which ``step``
        takes.
        """
        caches = self.transformer.start()
        if tokens is not None:
            ids, mask = read_tokens(tokens, self.vocabulary, self.context, least=0)
            if mask is not None:
                raise ValueError("prompts of several lengths: start with those of one length each")
            self._read(ids, caches)
        return caches

    def step(self, tokens: Any, state: list[KeyValueCache]) -> tuple[Any, list[KeyValueCache]]:
        """The logits (rows, vocabulary) after one more of ``tokens`` (rows,), and the next state.

        ``tokens`` may be one-hot vectors (rows, vocabulary) instead, through which gradients pass.
        The ``state`` that is given stays as it is.
        """
        caches = [copy(cache) for cache in state]
        logits = self._logits(self._read(read_last(tokens, self.vocabulary), caches))
        return ops.getitem(logits, index=(slice(None), 0)), caches

    def _read(self, ids: Any, caches: list[KeyValueCache] | None = None) -> Any:
        before = len(caches[0]) if caches else 0
        end = before + ids.shape[1]
        if end > self.context:
            cure = "draw fewer, or make a model of a longer context="
            raise ValueError(f"{end} tokens are more than the context of {self.context}: {cure}")
        positions = ops.getitem(self.positions.weight, index=slice(before, end))
        x = self.dropout(embedded(self.embedding, ids) + positions)
        return self.transformer(x, causal=True, caches=caches)

    def _logits(self, x: Any) -> Any:
        return linear(x, ops.swapaxes(self.embedding.weight, first=0, second=1))

    # --- From elsewhere ------------------------------------------------------------------------

    @classmethod
    def from_hugging_face(
        cls, source: Any, heads: int | None = None, dropout: float = 0.1
    ) -> Self:
        """A GPT-2 of ``transformers``, for use (``eval()``).

        ``source`` is a folder that ``save_pretrained`` wrote, or the ``state_dict`` of a
        ``GPT2LMHeadModel`` or ``GPT2Model``, which does not tell the number of ``heads``.
        ``dropout`` is for training it further. Raises ValueError where its configuration asks for
        what is not computed here, or an array is missing, unknown or of another shape.
        """
        arrays, config = read_weights(source)
        expect_config(config, {
            "model_type": ("gpt2",), "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "layer_norm_epsilon": (1e-5,), "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,), "tie_word_embeddings": (True,),
            "add_cross_attention": (False,),
        })
        state = {
            renamed(name, NAMES): value for name, value in arrays.items()
            if not name.endswith(MASKS)
        }  # fmt: skip
        state = without_copies(state, {"lm_head.weight": "embedding.weight"})
        if not {"embedding.weight", "positions.weight"} <= state.keys():
            raise ValueError("there is no wte.weight, or no wpe.weight: this is no GPT-2")
        vocabulary, features = state["embedding.weight"].shape
        context = len(state["positions.weight"])
        layers = sum(name.endswith(".linear1.weight") for name in state)
        model = unseeded(
            cls, vocabulary, context, layers, features, heads_of(config, "n_head", heads), dropout
        )
        model.load_state_dict(state)
        return model.eval()

    @staticmethod
    def _shapes(
        vocabulary: int, context: int, layers: int, features: int, **others: Any
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield "embedding.weight", (vocabulary, features)
        yield "positions.weight", (context, features)
        for layer in range(layers):
            yield f"transformer.layers.{layer}.linear1.weight", (features, 4 * features)
