"""Tokenizers: text to ids of a vocabulary, and back; trained, saved and read here."""

from .bpe import BPETokenizer
from .characters import CharacterTokenizer
from .loading import load_tokenizer
from .vocabulary import Vocabulary
from .wordpiece import WordPieceTokenizer
from .words import WordTokenizer

__all__ = [
    "BPETokenizer", "CharacterTokenizer", "Vocabulary", "WordPieceTokenizer", "WordTokenizer",
    "load_tokenizer",
]  # fmt: skip
