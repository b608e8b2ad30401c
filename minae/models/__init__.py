"""Whole systems, one file each."""

from .vqvae import VQVAE

__all__ = ["VQVAE"]
