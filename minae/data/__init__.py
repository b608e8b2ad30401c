"""Data sets, checked as they come in: images in batches of a seeded order, and parallel text.

``load_images`` finds MNIST or Fashion-MNIST, or draws the built-in digits, as an ``ImageSet`` of
uint8 arrays in the host's memory; ``batches`` hands them out as float32 arrays of the backend.
``load_parallel`` finds Multi30k, reads two files, or writes names of numbers: a ``ParallelText`` of
sentences beside their translations.
"""

from .agreement import draw_sentences, is_sentence
from .batches import batch_indices, batches, pixels
from .digits import draw_digits, generated_digits
from .fetch import FetchError, fetch
from .idx import read_idx
from .images import ImageSet
from .mnist import load_fashion_mnist, load_images, load_mnist
from .sentences import Sentences, load_sentences
from .texts import Text, load_text

__all__ = [
    "FetchError", "ImageSet", "ParallelText", "Sentences", "Text", "batch_indices", "batches",
    "draw_digits", "draw_sentences", "fetch", "generated_digits", "generated_numbers",
    "is_sentence", "load_fashion_mnist", "load_images", "load_mnist", "load_multi30k",
    "load_parallel", "load_sentences", "load_text", "number_name", "pixels", "read_idx",
    "read_parallel",
]  # fmt: skip
