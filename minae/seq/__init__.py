"""Text and trees: from files to arrays, from arrays to models' codes, and back to text."""

from . import semirings
from .batching import batches_by_length
from .bpe import BPETokenizer
from .characters import CharacterTokenizer
from .corpus import Pairs, Windows
from .padded import Padded, pad
from .stream import windows
from .structure import BinaryTrees, LinearChain
from .text import TextError, lines
from .tokenizers import load_tokenizer
from .vocabulary import Vocabulary
from .wordpiece import WordPieceTokenizer
from .words import WordTokenizer

__all__ = [
    "BPETokenizer", "BinaryTrees", "CharacterTokenizer", "LinearChain", "Padded", "Pairs",
    "TextError", "Vocabulary", "Windows", "WordPieceTokenizer", "WordTokenizer",
    "batches_by_length", "lines", "load_tokenizer", "pad", "semirings", "windows",
]  # fmt: skip
