"""Names of numbers in English and German, a translation task that needs no files.

The parts of a name are words, "twenty four" and "vier und zwanzig", so that their order differs.
"""

from __future__ import annotations

from ..backend import numpy
from .parallel import ParallelText

MILLION = 10**6
_WORDS = {  # of 0 to 19, of the tens, and the units
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty "
    "ninety hundred thousand million",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn "
    "fünfzehn sechzehn siebzehn achtzehn neunzehn zwanzig dreißig vierzig fünfzig sechzig siebzig "
    "achtzig neunzig hundert tausend Million",
}
_NAMES = {language: words.split() for language, words in _WORDS.items()}


def number_name(number: int, language: str) -> str:
    """The name of a ``number`` from 0 to a million, its parts between blanks.

    The ``language`` is ``"en"`` or ``"de"``. Raises ValueError for another, or another number.
    """
    if language not in _NAMES or not 0 <= number <= MILLION:
        raise ValueError(f"names are of 0 to {MILLION} in en or de, not of {number} in {language}")
    names = _NAMES[language]
    hundred, thousand, million = names[-3:]
    if number == MILLION:
        return f"{'one' if language == 'en' else 'eine'} {million}"
    for size, unit in ((1000, thousand), (100, hundred)):
        count, rest = divmod(number, size)
        if count:
            words = f"{_before(number_name(count, language))} {unit}"
            return f"{words} {number_name(rest, language)}" if rest else words
    if number < 20:
        return names[number]
    tens, ones = names[18 + number // 10], names[number % 10]
    if not number % 10:
        return tens
    return f"{tens} {ones}" if language == "en" else f"{_before(ones)} und {tens}"


def _before(name: str) -> str:
    """A name as it stands before others: "eins" becomes "ein" in German."""
    return name.removesuffix("s") if name.endswith("eins") else name


def generated_numbers(
    source: str = "en", target: str = "de", train: int = 5000, test: int = 1000, seed: int = 0
) -> ParallelText:
    """``train`` and ``test`` pairs of names, all of different numbers, determined by ``seed``.

    The languages ``source`` and ``target`` are those of ``number_name``. Numbers have one to six
    digits, each length about as often, until those of the shorter ones are used up.
    """
    rng = numpy.random.default_rng(seed)
    found: dict[int, None] = {}
    while len(found) < train + test:
        found |= dict.fromkeys(map(int, 10 ** rng.uniform(0, 6, train + test)))
    chosen = rng.permutation(list(found)[: train + test]).tolist()
    pairs = [(number_name(n, source), number_name(n, target)) for n in chosen]
    origin = f"written by minae, seed {seed}"
    return ParallelText("numbers", origin, (source, target), pairs[:train], pairs[train:])
