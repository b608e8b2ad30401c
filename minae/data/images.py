"""What a data set of images is, whatever it came from."""

from __future__ import annotations

from typing import NamedTuple

from ..backend import numpy


class ImageSet(NamedTuple):
    """Images uint8 (n, 28, 28, 1), 0 the background, and labels uint8 (n,) from 0 to 9.

    All four are NumPy arrays in the host's memory, whatever the backend; ``batches`` moves them.
    """

    name: str  # mnist, fashion or digits
    source: str  # where it came from, as a phrase: "from the folder ..."
    train_images: numpy.ndarray  # (n, 28, 28, 1)
    train_labels: numpy.ndarray  # (n,)
    test_images: numpy.ndarray  # (m, 28, 28, 1)
    test_labels: numpy.ndarray  # (m,)
