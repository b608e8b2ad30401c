"""The graph that is printed, and the profile: what is counted, and that nothing is left behind."""

import importlib.util
import io
import itertools
import re
import threading
import time

import numpy as np
import pytest

import minae
from minae import Tensor, inspect, nn
from minae.engine import OPS


@pytest.fixture
def printed():
    def run(y, names=None):
        out = io.StringIO()
        inspect.graph(y, names, file=out)
        return out.getvalue()

    return run


# --- The graph -----------------------------------------------------------------------------------


def test_the_graph_names_ops_sources_and_what_they_keep(printed, array):
    x = Tensor(array([[1.0, 2.0], [3.0, 4.0]], "float32"), requires_grad=True)
    w = Tensor(array([0.5, 0.25], "float32"), requires_grad=True)
    y = (minae.tanh(x * 2 @ w) - w).sum()
    lines = printed(y, {"weight": w}).splitlines()
    assert [re.split(r"\s{2,}", line) for line in lines] == [
        ["%0", "leaf", "float32[2, 2]"],
        ["%1", "mul(x=%0)", "float32[2, 2]", "0 bytes"],
        ["%2", "weight", "float32[2]"],
        ["%3", "matmul(x=%1, y=%2)", "float32[2]", "16 bytes"],  # x * 2; w lives anyway
        ["%4", "tanh(x=%3)", "float32[2]", "8 bytes"],
        ["%5", "sub(x=%4, y=%2)", "float32[2]", "0 bytes"],
        ["%6", "sum(x=%5)", "float32[]", "0 bytes"],
    ]


def test_what_several_nodes_keep_is_counted_once(printed, array):
    x = Tensor(array(np.ones(100)), requires_grad=True)
    y = minae.exp(x)
    kept = re.findall(r"([\d,]+) bytes", printed((y * y).sum()))
    assert kept == ["800", "0", "0"]


def test_a_joint_rule_names_its_sources_by_position(printed, array):
    x = Tensor(array([1.0]), requires_grad=True)
    assert "concatenate(-, %0)" in printed(minae.concatenate([array([2.0]), x]))


def test_a_freed_graph_and_a_leaf_are_printed_too(printed, array):
    x = Tensor(array([1.0]), requires_grad=True)
    y = (x * x).sum()
    y.backward()
    assert "sum(freed)" in printed(y)
    assert printed(x) == "%0  leaf  float64[1]\n"
    assert printed(x.detach()) == "%0  constant  float64[1]\n"
    with pytest.raises(TypeError, match="graph draws a Tensor, not a list"):
        inspect.graph([1.0])


def test_a_long_graph_needs_no_recursion(printed, array):
    x = Tensor(array(1.0), requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + x
    assert printed(y).count("\n") == 20_001


def test_it_prints_to_standard_output(capsys, array):
    inspect.graph(Tensor(array([1.0])))
    assert capsys.readouterr().out == "%0  constant  float64[1]\n"


# --- The profile ---------------------------------------------------------------------------------


@pytest.fixture
def step(array):
    layer = nn.Sequential(nn.Linear(20, 30), minae.tanh, nn.Linear(30, 20))
    x = array(np.random.default_rng(0).standard_normal((8, 20)), "float32")
    return lambda: minae.mse_loss(layer(x), x).backward()


def test_calls_seconds_and_bytes_by_op(step):
    with inspect.profile() as costs:
        step()
        step()
    tanh = costs.costs["tanh"]
    assert (tanh.calls, costs.costs["affine"].calls) == (2, 4)
    assert tanh.made == 2 * 2 * 8 * 30 * 4  # the values and their gradient, twice
    assert all(cost.forward > 0 and cost.backward > 0 for cost in costs.costs.values())
    assert sum(cost.forward + cost.backward for cost in costs.costs.values()) <= costs.seconds


def test_an_op_within_a_rule_counts_for_the_rule(array, scratch_ops):
    @minae.elementwise(x=lambda g, x: minae.sin(g) + slow(x))
    def lazy(x):
        return x + 1

    def slow(x):
        time.sleep(0.02)
        return x

    x = Tensor(array([1.0]), requires_grad=True)
    with inspect.profile() as costs:
        lazy(x).backward()
    assert set(costs.costs) == {"lazy"} and costs.costs["lazy"].backward >= 0.02


def test_views_are_not_counted_as_made(array):
    x = Tensor(array(np.ones((3, 4))), requires_grad=True)
    with inspect.profile() as costs:
        x.reshape(4, 3).T.sum().backward()
    assert costs.costs["reshape"].made == costs.costs["transpose"].made == 0
    assert costs.costs["sum"].made == 8  # a number; its gradient is a broadcast view


def test_afterwards_the_ops_are_as_before(step):
    before = [(op.forward, [r and r.pull for r in op.rules], op.joint and op.joint.pull)
              for op in OPS.values()]
    with pytest.raises(ZeroDivisionError), inspect.profile() as costs:
        step()
        raise ZeroDivisionError
    assert costs.costs and costs.seconds > 0
    after = [(op.forward, [r and r.pull for r in op.rules], op.joint and op.joint.pull)
             for op in OPS.values()]
    assert before == after
    calls = costs.costs["tanh"].calls
    step()
    assert costs.costs["tanh"].calls == calls


def test_numbers_and_arrays_are_measured_like_tensors(array):
    with inspect.profile() as costs:
        assert minae.add(1, 2) == 3
        minae.exp(array([1.0, 2.0]))
    assert costs.costs["add"].calls == 1 and costs.costs["exp"].made == 16


def test_other_threads_are_measured_too(step):
    with inspect.profile() as costs:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert costs.costs["tanh"].calls == 1


def test_a_profile_within_a_profile(step):
    with inspect.profile() as outer:
        with inspect.profile() as inner:
            step()
        step()
    assert (inner.costs["tanh"].calls, outer.costs["tanh"].calls) == (1, 2)


def test_the_table(step):
    with inspect.profile() as costs:
        step()
    head, *rows, outside = str(costs).splitlines()
    assert head.split() == ["op", "calls", "forward", "ms", "backward", "ms", "share", "MB"]
    assert len(rows) == len(costs.costs) and outside.startswith("outside of ops")
    total = [float(row.split()[2]) + float(row.split()[3]) for row in rows]
    assert all(a >= b - 0.002 for a, b in itertools.pairwise(total))  # they are rounded
    shares = [float(share) for share in re.findall(r"([\d.]+)%", str(costs))]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert "outside of ops" in str(inspect.Profile())


def test_the_picture(step, tmp_path):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    with inspect.profile() as costs:
        step()
    costs.picture(tmp_path / "costs.png")
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")
