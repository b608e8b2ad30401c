"""Whole systems, one file each."""

from .bert import BERT, Masked, mask_tokens
from .gpt import GPT
from .recurrent_lm import RecurrentLM
from .saving import Saved
from .seq2seq import Seq2Seq, copy_ids
from .transformer import Transformer
from .tree_autoencoder import TreeAutoencoder
from .tree_classifier import BagOfWords, TreeClassifier
from .tree_crf import TreeCRF
from .vqvae import VQVAE

__all__ = [
    "BERT", "GPT", "VQVAE", "BagOfWords", "Masked", "RecurrentLM", "Saved", "Seq2Seq",
    "Transformer", "TreeAutoencoder", "TreeCRF", "TreeClassifier", "copy_ids", "mask_tokens",
]  # fmt: skip
