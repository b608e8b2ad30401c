"""Text and trees: from files to arrays, from arrays to models' codes, and back to text."""

from .text import TextError, lines

__all__ = ["TextError", "lines"]
