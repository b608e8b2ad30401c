"""Data sets, checked as they come in: images in batches of a seeded order, text and trees.

``load_images`` finds MNIST or Fashion-MNIST, or draws the built-in digits, as an ``ImageSet`` of
uint8 arrays in the host's memory; ``batches`` hands them out as float32 arrays of the backend.
``load_text`` finds a text, ``load_sentences`` sentences, ``load_parallel`` sentences beside their
translations, ``load_parses`` and ``load_sentiment`` trees; each of them can make some up.
"""

from .agreement import draw_sentences, is_sentence
from .batches import batch_indices, batches, pixels
from .digits import draw_digits, generated_digits
from .fetch import FetchError, fetch
from .grammar import draw_parses
from .idx import read_idx
from .images import ImageSet
from .mnist import load_fashion_mnist, load_images, load_mnist
from .multi30k import load_multi30k, load_parallel
from .numbers import generated_numbers, number_name
from .opinions import draw_opinions
from .parallel import ParallelText, read_parallel
from .sentences import Sentences, load_sentences
from .texts import Text, load_text
from .treebank import Treebank, load_parses, load_sentiment, read_trees

__all__ = [
    "FetchError", "ImageSet", "ParallelText", "Sentences", "Text", "Treebank", "batch_indices",
    "batches", "draw_digits", "draw_opinions", "draw_parses", "draw_sentences", "fetch",
    "generated_digits", "generated_numbers", "is_sentence", "load_fashion_mnist", "load_images",
    "load_mnist", "load_multi30k", "load_parallel", "load_parses", "load_sentences",
    "load_sentiment", "load_text", "number_name", "pixels", "read_idx", "read_parallel",
    "read_trees",
]  # fmt: skip
