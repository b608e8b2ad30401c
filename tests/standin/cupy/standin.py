"""What only the stand-in has: it counts how often the host waits for the device."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_counting: list["Count"] = []


class Count:
    """How often the host has waited, and where in the program: ``file:line`` to times."""

    def __init__(self) -> None:
        self.places: Counter[str] = Counter()

    @property
    def waits(self) -> int:
        return self.places.total()


@contextmanager
def count() -> Iterator[Count]:
    """Count the waits in the ``with`` block, of all threads."""
    counter = Count()
    _counting.append(counter)
    try:
        yield counter
    finally:
        _counting.remove(counter)


def note() -> None:
    """The host waits now."""
    if not _counting:
        return
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(os.path.dirname(__file__)):
        frame = frame.f_back
    for counter in list(_counting):
        counter.places[f"{frame.f_code.co_filename}:{frame.f_lineno}"] += 1
