"""Work in pieces over a few threads of our own.

A compiled kernel gives up Python's global lock, so ordinary threads run it side by side. They wait
without spinning, and so leave BLAS's threads alone; they may be called from any thread, and a
forked child starts its own. Which thread does which piece never changes a result: every piece
writes what no other piece writes.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

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
    places, finished = itertools.count(), SimpleQueue[int]()
    errors: list[BaseException] = []

    def run() -> None:
        while (i := next(places)) < pieces:
            try:
                if not errors:
                    work(i)
            except BaseException as error:
                errors.append(error)
            finally:
                finished.put(i)

    for _ in range(helpers):
        _tasks.put(run)  # one that comes too late finds no piece left
    run()
    done = 0
    while done < pieces:
        try:
            finished.get()
            done += 1
        except KeyboardInterrupt as error:  # others still write: it has to wait
            errors.append(error)
    if errors:
        raise errors.pop()


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
