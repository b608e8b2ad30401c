"""Work in pieces over a few threads of our own.

A compiled kernel gives up Python's global lock, so ordinary threads run it side by side. They wait
without spinning, and so leave BLAS's threads alone; they may be called from any thread, and a
forked child starts its own. Only who waits for the last piece of his own call watches for a moment,
because to be woken takes as long as a small piece. Which thread does which piece never changes a
result: every piece writes what no other piece writes.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np
from numba import types

from .compiler import array, kernel
from .vectors import current

WATCHED = 20_000  # looks at a flag, some 50 microseconds, before its thread goes to sleep

_tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
_workers = 0  # threads that wait for tasks
_lock = threading.Lock()


@functools.cache
def threads() -> int:
    """How many threads share the work: ``MINAE_THREADS``, else ``OMP_NUM_THREADS``, else as many as
    this process may run on. Raises ValueError where the first is no number above 0."""
    wanted = os.environ.get("MINAE_THREADS")
    if wanted is None:
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        return int(wanted) if wanted.isdecimal() and int(wanted) else _cores
    if not wanted.isdecimal() or not int(wanted):
        raise ValueError(f"MINAE_THREADS is {wanted!r}; give a number of threads, 1 or more")
    return int(wanted)


def share(work: Callable[[int], None], pieces: int) -> None:
    """Call ``work(i)`` for every i in [0, pieces), and return when all of it is done.

    The calling thread takes part; whoever is free takes the next piece. An exception in a piece is
    raised here, once those that had begun are through.
    """
    helpers = _start(min(threads(), pieces) - 1)
    if helpers <= 0:
        for i in range(pieces):
            work(i)
        return
    watch = _watch[np.dtype(np.float32)]  # compiled before anything is shared
    places, finished, flags = itertools.count(), SimpleQueue[int](), np.zeros(pieces, np.uint8)
    held = [work]  # until all is done: a task that comes too late keeps no arrays alive
    errors: list[BaseException] = []

    def run() -> None:
        while (i := next(places)) < pieces:
            try:
                if not errors:
                    held[0](i)
            except BaseException as error:
                errors.append(error)
            finally:
                flags[i] = 1  # first: so whoever misses a flag has an item to come
                finished.put(i)

    for _ in range(helpers):
        _tasks.put(run)  # one that comes too late finds no piece left
    run()
    while not flags.all():
        try:
            watch(flags, WATCHED)
            while not flags.all():
                finished.get()
        except KeyboardInterrupt as error:  # others still write: it has to wait
            errors.append(error)
    held.clear()
    if errors:
        raise errors.pop()


@kernel(lambda f: (array(types.uint8), types.intp))  # the same for every dtype
def _watch(flags, looks):
    """Return when all flags are set, or after so many looks."""
    for i in range(flags.size):
        while not current(flags, i):
            looks -= 1
            if looks < 0:
                return


def _start(wanted: int) -> int:
    """How many of the wanted threads there are to help; fewer where the system gives no more."""
    global _workers
    with _lock:
        while _workers < wanted:
            try:
                threading.Thread(target=_wait, args=(_tasks,), name="minae", daemon=True).start()
            except RuntimeError:
                break
            _workers += 1
        return min(_workers, wanted)


def _wait(tasks: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        tasks.get()()


def _forget() -> None:
    """A forked child has the queue and the count of its parent, but none of the threads."""
    global _tasks, _workers, _lock
    _tasks, _workers, _lock = SimpleQueue(), 0, threading.Lock()


_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
