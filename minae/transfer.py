"""``uploads``: host arrays brought to the device, each while the one before is in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .backend import Array, numpy, xp


def uploads(arrays: Iterable[Any]) -> Iterator[Array]:
    """The ``arrays``, NumPy's, on the backend: on NumPy as they are.

    For a GPU, each is copied through page-locked memory on a stream of its own, as soon as the one
    before has been handed out: the copy overlaps with what is computed then.
    """
    if xp is numpy:
        yield from arrays
        return
    copying = xp.cuda.Stream(non_blocking=True)
    slots = [Slot(copying), Slot(copying)]
    coming = None
    try:
        for number, array in enumerate(arrays):
            slot = slots[number % 2]
            slot.send(array)
            if coming is not None:
                yield coming.take()
            coming = slot
        if coming is not None:
            yield coming.take()
    finally:  # of one that nobody took: its memory is used again
        xp.cuda.get_current_stream().wait_event(copying.record())


class Slot:
    """Memory for one array on its way: on the host page-locked, and on the device."""

    def __init__(self, copying: Any) -> None:
        self.copying = copying
        self.host: Any = None
        self.device: Array = None
        self.arrived = self.taken = None  # events

    def send(self, array: Any) -> None:
        """Begin to copy, once what was here before has been copied and taken."""
        array = numpy.ascontiguousarray(array)
        if self.arrived is not None:
            if not self.arrived.done:  # but of two arrays ago it is
                self.arrived.synchronize()
            self.copying.wait_event(self.taken)
        if self.host is None or (self.host.shape, self.host.dtype) != (array.shape, array.dtype):
            memory = xp.cuda.alloc_pinned_memory(max(1, array.nbytes))
            self.host = numpy.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
            self.device = xp.empty(array.shape, array.dtype)
            self.copying.wait_event(xp.cuda.get_current_stream().record())
        self.host[...] = array
        self.device.set(self.host, stream=self.copying)
        self.arrived = self.copying.record()

    def take(self) -> Array:
        """The array, in memory of its own."""
        stream = xp.cuda.get_current_stream()
        stream.wait_event(self.arrived)
        array = self.device.copy()
        self.taken = stream.record()
        return array
