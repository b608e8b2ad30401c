"""Whole systems, one file each."""

from .bert import BERT, Masked, mask_tokens
from .gpt import GPT
from .recurrent_lm import RecurrentLM
from .saving import Saved
from .seq2seq import Seq2Seq, copy_ids
from .transformer import Transformer
from .tree_autoencoder import TreeAutoencoder
from .vqvae import VQVAE

__all__ = [
    "BERT", "GPT", "VQVAE", "Masked", "RecurrentLM", "Saved", "Seq2Seq", "Transformer",
    "TreeAutoencoder", "copy_ids", "mask_tokens",
]  # fmt: skip
