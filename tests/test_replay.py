"""What may be captured on a GPU runs as it is on NumPy. (There: tests/gpu/test_capture.py.)"""

import pytest

from minae import backend, capture, replay


def step():
    return 1


def test_on_numpy_the_step_is_the_step():
    if backend.name != "numpy":
        pytest.skip("for NumPy")
    assert capture(step) is step


def test_outside_of_a_step_numbers_are_numbers_and_actions_are_done():
    done = []
    replay.each_time(lambda: done.append(1))
    assert replay.live(lambda: 0.5) == 0.5 and done == [1]
    replay.made_in_step([object()])
