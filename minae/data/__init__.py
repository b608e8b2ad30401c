"""Data sets of images, checked as they come in, and batches of them in a seeded order.

``load_images`` finds MNIST or Fashion-MNIST, or draws the built-in digits, as an ``ImageSet`` of
uint8 arrays in the host's memory; ``batches`` hands them out as float32 arrays of the backend.
"""

from .batches import batch_indices, batches, pixels
from .digits import draw_digits, generated_digits
from .fetch import FetchError, fetch
from .idx import read_idx
from .images import ImageSet
from .mnist import load_fashion_mnist, load_images, load_mnist
from .texts import Text, load_text

__all__ = [
    "FetchError", "ImageSet", "Text", "batch_indices", "batches", "draw_digits", "fetch",
    "generated_digits", "load_fashion_mnist", "load_images", "load_mnist", "load_text",
    "pixels", "read_idx",
]  # fmt: skip
