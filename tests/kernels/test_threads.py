"""Work in pieces over threads: all of it is done, whatever the threads do."""

import signal
import threading
import time
import weakref
from queue import SimpleQueue

import pytest

pytestmark = pytest.mark.kernels


@pytest.fixture
def fast(compiled):
    return compiled("threads")


@pytest.mark.parametrize("pieces", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_piece_is_done_once(fast, threads, count, pieces):
    threads(count)
    done = []
    fast.share(done.append, pieces)
    assert sorted(done) == list(range(pieces))


def test_a_piece_that_takes_longer_than_one_watches_is_waited_for(fast, threads):
    threads(2)
    done, begun = [], threading.Event()

    def work(piece):
        if threading.current_thread().name == "minae":
            begun.set()
            time.sleep(0.05)
        else:
            begun.wait(10)
        done.append(piece)

    fast.share(work, 2)
    assert sorted(done) == [0, 1]


def test_where_no_thread_can_be_started_the_caller_does_it_all(fast, threads, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    threads(fast._workers + 3)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = []
    fast.share(done.append, 5)
    assert sorted(done) == list(range(5))


def test_an_error_is_raised_once_all_that_had_begun_is_through(fast, threads):
    threads(3)
    running = []

    def work(piece):
        running.append(piece)
        try:
            if piece == 4:
                raise OverflowError(piece)
        finally:
            running.remove(piece)

    with pytest.raises(OverflowError, match="4"):
        fast.share(work, 50)
    assert not running
    done = []
    fast.share(done.append, 3)  # the threads have survived it
    assert sorted(done) == [0, 1, 2]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_an_interrupt_waits_for_those_who_write(fast, threads, ctrl_c):
    threads(2)
    for pause in [0] * 60 + [0.0001] * 5:  # it strikes who watches, or who sleeps
        begun, ready, writing = threading.Event(), threading.Event(), []

        def work(piece, pause=pause, begun=begun, ready=ready, writing=writing):
            if threading.current_thread().name == "minae":
                writing.append(piece)
                begun.set()
                ready.wait(10)
                if pause:
                    time.sleep(pause)
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                time.sleep(0.01)
                writing.clear()
            else:
                begun.wait(10)
                ready.set()

        try:
            with pytest.raises(KeyboardInterrupt):
                fast.share(work, 2)
        finally:
            assert not writing


def test_warming_up_leaves_nothing_to_compile_here(fast, threads, compiled, monkeypatch):
    monkeypatch.setattr(fast._watch, "forms", {})  # whatever other tests have compiled
    compiled("compiler").compile_all(["float32"])
    before = dict(fast._watch.forms)
    threads(2)
    fast.share(lambda piece: None, 4)
    assert fast._watch.forms == before


def test_a_task_that_comes_too_late_keeps_nothing_alive(fast, threads, monkeypatch):
    threads(2)
    fast.share(lambda piece: None, 2)  # the thread is there
    monkeypatch.setattr(fast, "_tasks", SimpleQueue())  # and never comes
    done = set()
    held = weakref.ref(done)
    fast.share(done.add, 3)
    assert done == {0, 1, 2}
    del done
    assert held() is None and not fast._tasks.empty()


def test_threads_may_share_from_within_a_piece(fast, threads):
    threads(2)
    done = []
    fast.share(lambda i: fast.share(lambda j: done.append((i, j)), 4), 4)
    assert sorted(done) == [(i, j) for i in range(4) for j in range(4)]


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "\u00b2", ""])
def test_how_many_must_be_a_number_above_0(fast, monkeypatch, wanted):
    monkeypatch.setenv("MINAE_THREADS", wanted)
    with pytest.raises(ValueError, match="give a number of threads"):
        fast.threads.__wrapped__()
    monkeypatch.delenv("MINAE_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert fast.threads.__wrapped__() >= 1
