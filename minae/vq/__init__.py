"""Straight-through estimators and vector quantizers."""

from .kmeans import kmeans
from .quantizer import Quantized, VectorQuantizer, VectorQuantizerEMA, perplexity
from .straight_through import straight_through

__all__ = [
    "Quantized", "VectorQuantizer", "VectorQuantizerEMA", "kmeans", "perplexity",
    "straight_through",
]  # fmt: skip
