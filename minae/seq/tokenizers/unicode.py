"""Classes of characters by their Unicode category, for regular expressions: what ``\\p{...}`` says
in other languages."""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import chain

# Python's \s counts the four separators of ASCII as white space; Unicode does not.
SPACE, NO_SPACE = r"[^\S\x1c-\x1f]", r"[\S\x1c-\x1f]"


@cache
def ranges(*categories: str) -> str:
    """The characters of these ``categories``, such as ``"Nl"``, to stand within ``[...]``.

    Ideographs beyond the plane 1 are not looked for (all are of the category ``"Lo"``).
    """
    found: list[list[int]] = []
    for code in chain(range(0x20000), range(0xE0000, 0xE1000)):  # the rest: Lo, or nothing
        if unicodedata.category(chr(code)) in categories:
            if found and found[-1][1] == code - 1:
                found[-1][1] = code
            else:
                found.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in found)
