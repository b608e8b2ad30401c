"""Texts beside their references, as lists of tokens."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

Text = str | Sequence[Hashable]  # to be tokenized, or tokens
References = str | Sequence[Text]  # one, or several
Tokenize = Callable[[str], list[str]]


def paired(
    hypotheses: Iterable[Text], references: Iterable[References], tokenize: str,
    known: dict[str, Tokenize],
) -> Iterator[tuple[list, list[list]]]:
    """The tokens of each hypothesis, and those of each of its references.

    ``tokenize`` names one of the ``known`` ways to cut a text. Raises ValueError for another one,
    for more hypotheses than references or fewer, for none at all, and for a hypothesis that has no
    reference; TypeError for tokens beside text, and for one text in place of several.
    """
    if tokenize not in known:
        raise ValueError(f"tokenize is {tokenize!r}; choose {' or '.join(known)}")
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise TypeError("hypotheses and references are lists: put the one into [...]")
    texts, wanted = list(hypotheses), list(references)
    if not texts or len(texts) != len(wanted):
        raise ValueError(f"{len(texts)} hypotheses do not go with {len(wanted)} references")
    for number, (text, several) in enumerate(zip(texts, wanted)):
        listed = [several] if isinstance(several, str) else list(several)
        if not listed:
            raise ValueError(f"hypothesis {number} has no reference")
        if len({isinstance(each, str) for each in (text, *listed)}) > 1:
            raise TypeError(
                f"hypothesis {number}: text is compared with text, or a list of texts; a list of "
                "tokens with a list of such lists"
            )
        cut: Callable = known[tokenize] if isinstance(text, str) else list
        yield cut(text), [cut(each) for each in listed]
