"""Any tokenizer from its file."""

from __future__ import annotations

from typing import Any

from . import huggingface, saved
from .bpe import BPETokenizer
from .characters import CharacterTokenizer
from .wordpiece import WordPieceTokenizer
from .words import WordTokenizer

Tokenizer = CharacterTokenizer | WordTokenizer | WordPieceTokenizer | BPETokenizer
KINDS: dict[str, Any] = {
    "characters": CharacterTokenizer, "words": WordTokenizer, "wordpiece": WordPieceTokenizer,
    "bpe": BPETokenizer,
}  # fmt: skip


def load_tokenizer(path: Any) -> Tokenizer:
    """The tokenizer in the file ``path``: one that was saved here, or a ``tokenizer.json`` of
    Hugging Face's.

    The latter is read where its ids are those that a tokenizer of minae gives: byte-level BPE with
    GPT-2's pattern, BERT's WordPiece, and words. What is added around a text (``[CLS]``) or found
    as a special within one is not: such ids are ``vocabulary[special]``. Raises FormatError for a
    damaged file, and for one that minae cannot equal; it names what differs.
    """
    with saved.reading(path) as found:
        if isinstance(found, dict) and "model" in found:
            return huggingface.read(found)
        kind = found.get("kind") if isinstance(found, dict) else None
        if kind not in KINDS:
            raise saved.FormatError("it holds no tokenizer of minae or Hugging Face's")
        return KINDS[kind].of_saved(found)
