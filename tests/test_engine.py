"""The engine: recording, the backward pass, what it frees, and what it refuses."""

import ast
import gc
import inspect
import pathlib
import threading

import numpy as np
import pytest

import minae
from minae import Tensor, engine, grad
from minae.engine import OPS, elementwise, primitive


@pytest.fixture
def leaf(array):
    """``leaf(values)``: a Tensor that wants a gradient."""
    return lambda values, dtype="float32": Tensor(array(values, dtype), requires_grad=True)


# --- Gradients -------------------------------------------------------------------------------


def test_backward_adds_to_the_leaves(leaf, numpy):
    x, y = leaf([1, 2, 3]), leaf([4, 5, 6])
    (x * y).sum().backward()
    (x * x).sum().backward()
    np.testing.assert_array_equal(numpy(x.grad), [6, 9, 12])
    np.testing.assert_array_equal(numpy(y.grad), [1, 2, 3])


def test_grad_returns_in_the_form_of_xs_and_touches_nothing(leaf, numpy):
    x, y = leaf([1, 2]), leaf([3, 4])
    one = grad((x * y).sum(), x)
    both = grad((x * y).sum(), (x, y))
    np.testing.assert_array_equal(numpy(one), [3, 4])
    assert type(both) is list and len(both) == 2
    assert x.grad is None and y.grad is None


def test_grad_of_intermediate_results(leaf, numpy):
    x = leaf([1, 2])
    h = x * 3
    y = (h * h).sum() + x.sum()
    gh, gx = grad(y, [h, x])
    np.testing.assert_array_equal(numpy(gh), [6, 12])
    np.testing.assert_array_equal(numpy(gx), [19, 37])


def test_grad_of_what_was_not_reached_is_zero(leaf, numpy):
    x, other = leaf([1, 2]), leaf([[3.0]], "float64")
    for create_graph in (False, True):
        gradient = grad((x * x).sum(), [x, other], create_graph=create_graph)[1]
        assert gradient.shape == (1, 1) and gradient.dtype == "float64"
        assert float(gradient.sum()) == 0


def test_grad_leaves_other_branches_alone(leaf, scratch_ops):
    """Only rules on the way to ``xs`` run."""
    ran = []

    @elementwise(x=lambda g: ran.append(1) or g)
    def watched(x):
        return x + 0

    x, y = leaf([1.0]), leaf([1.0])
    grad((x * watched(y)).sum(), x)
    assert not ran
    grad((x * watched(y)).sum(), y)
    assert ran


def test_seed(leaf, numpy, array):
    x = leaf([[1, 2]])
    np.testing.assert_array_equal(numpy(grad(x * x, x, [[10, 100]])), [[20, 400]])
    np.testing.assert_array_equal(numpy(grad(x * x, x, Tensor([[1, 1]]))), [[2, 4]])
    (x * 3).backward(array([[1, 2]], "float64"))
    assert x.grad.dtype == "float32"
    np.testing.assert_array_equal(numpy(x.grad), [[3, 6]])
    with pytest.raises(ValueError, match=r"float32\[1, 2\] is no scalar: give its own gradient"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"the seed is float32\[2\], but float32\[1, 2\]"):
        grad(x * 2, x, [1, 2])


def test_backward_of_a_leaf(leaf, numpy):
    x = leaf(2.0)
    x.backward()
    x.backward()
    assert float(x.grad) == 2


def test_a_gradient_is_never_shared(leaf, array):
    """Rules may hand one array to two leaves, or a view: each leaf gets its own, writable."""
    x, y, z = leaf([1, 2]), leaf([3, 4]), leaf([[1, 2]])
    seed = array([1, 1], "float32")
    (x + y + z.reshape(2)).backward(seed)
    x.grad[0] = 100
    y.grad[0] = 50
    z.grad[0, 0] = 25
    assert [float(t.grad.sum()) for t in (x, y, z)] == [101, 51, 26]
    assert float(seed.sum()) == 2
    w = leaf([1, 2])
    w.sum().backward()
    w.grad *= 2  # a broadcast view would be read-only


def test_accumulation_changes_no_rules_array(leaf, numpy, array):
    """Four uses of x: the others are added to the first, which y holds too (and can be written)."""
    x, y = leaf([1, 2]), leaf([1, 2])
    ((x + y) + x + x + x).backward(array([1, 1], "float32"))
    np.testing.assert_array_equal(numpy(x.grad), [4, 4])
    np.testing.assert_array_equal(numpy(y.grad), [1, 1])


def test_an_older_gradient_stays_as_it_was(leaf, numpy):
    x = leaf([1, 2])
    (x * 2).sum().backward()
    older = x.grad
    (x * 2).sum().backward()
    np.testing.assert_array_equal(numpy(older), [2, 2])
    np.testing.assert_array_equal(numpy(x.grad), [4, 4])


def test_gradients_are_arrays_even_without_dimensions(leaf):
    x = leaf(2.0)
    for _ in range(3):
        (x * x).backward()
        assert type(x.grad) is engine.ndarray and x.grad.shape == ()


def test_seeds_of_other_dtypes(leaf, numpy, array):
    x = leaf([1, 2], "float64")
    np.testing.assert_array_equal(numpy(grad(x * 1, x, [0.1, 0.2])), [0.1, 0.2])
    h = leaf([1, 2], "float32") * 1
    seed = Tensor(array([1.0, 2.0], "float64"), requires_grad=True)
    for create_graph in (False, True):
        (gradient,) = grad(h, [h], seed, create_graph=create_graph, retain_graph=True)
        assert gradient.dtype == "float32"
    constant = Tensor(array([1.0, 2.0], "float32"))
    (gradient,) = grad(h, [h], constant, create_graph=True)
    constant[0] = 9.0
    np.testing.assert_array_equal(numpy(gradient), [1, 2])


def test_a_joint_op_gives_constants_nothing(leaf, array):
    x, constant = leaf([1, 2]), Tensor([3.0, 4.0])
    minae.concatenate([constant, x, constant]).sum().backward()
    minae.einsum("i,i->", constant, x).backward()
    assert constant.grad is None and x.grad.tolist() == [4, 5]


def test_a_joint_rule_may_ask_what_is_needed(leaf, scratch_ops):
    seen = []

    @primitive(joint=lambda g, needed, x, y: seen.append(needed) or [None, g * x])
    def product(x, y):
        return x * y

    x, y = Tensor([2.0]), leaf([3.0])
    product(x, y).sum().backward()
    assert seen == [[False, True]] and y.grad.tolist() == [2]


def test_a_joint_rule_may_be_a_generator(leaf, scratch_ops):
    def gradients(g, x, y):
        yield g * y
        yield g * x

    @primitive(joint=gradients)
    def product(x, y):
        return x * y

    x, y = leaf([2.0]), leaf([3.0])
    product(x, y).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([3], [2])


def test_a_rule_may_run_a_backward_pass_of_its_own(leaf, scratch_ops):
    """Checkpointing: compute again in the rule instead of keeping what was computed."""

    def inner(x):
        return minae.tanh(x) * x

    def again(g, x):
        x = Tensor(x, requires_grad=True)
        return grad(inner(x), x, g)

    @elementwise(x=again)
    def checkpointed(x):
        with minae.no_grad():
            return minae.tanh(x) * x

    x = leaf([0.5, 2.0], "float64")
    a, b = grad(checkpointed(x).sum(), x), grad(inner(x).sum(), x)
    np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=1e-14)


def test_nothing_below_a_target_runs(leaf, scratch_ops):
    ran = []

    @primitive(joint=lambda g, shapes: ran.append(1) or [g])
    def watched(*arrays):
        return arrays[0] + 0

    h = watched([leaf([1.0])])
    grad((h * 3).sum(), h)
    assert not ran
    h.sum().backward()  # h's own past is used up; what is above it is not
    assert grad((h * 3).sum(), h).tolist() == [3]


def test_third_derivative(leaf, numpy):
    x = leaf([0.5, 2.0], "float64")
    first = grad((x**4).sum(), x, create_graph=True)
    second = grad(first.sum(), x, create_graph=True)
    third = grad(second.sum(), x)
    np.testing.assert_allclose(numpy(third), 24 * numpy(x))


def test_gradient_penalty(leaf, numpy):
    """A gradient inside a loss: d/dw (dy/dx)^2 for y = w x^2 at x = 3 is 2 w (2x)^2."""
    x, w = leaf(3.0), leaf(2.0)
    (slope,) = grad(w * x * x, [x], create_graph=True)
    (slope**2).backward()
    assert float(w.grad) == pytest.approx(2 * 2 * 36)


def test_create_graph_under_no_grad(leaf):
    x = leaf(3.0)
    y = x * x * x
    with minae.no_grad():
        slope = grad(y, x, create_graph=True)
    assert float(grad(slope, x)) == 18


# --- Recording -------------------------------------------------------------------------------


def test_no_grad_as_block_and_decorator(leaf):
    x = leaf(1.0)
    with minae.no_grad():
        y = x * 2
        with minae.no_grad():
            pass
        assert not (x * 2).requires_grad
    assert not y.requires_grad and y.node is None

    @minae.no_grad()
    def double():
        return x * 2

    assert not double().requires_grad
    with pytest.raises(ZeroDivisionError), minae.no_grad():
        raise ZeroDivisionError
    assert (x * 2).requires_grad


def test_threads_have_their_own_recording_flag(leaf):
    x = leaf(1.0)
    inside, checked = threading.Event(), threading.Event()
    seen = {}

    def quiet():
        with minae.no_grad():
            inside.set()
            checked.wait(10)
            seen["quiet"] = (x * 2).requires_grad

    thread = threading.Thread(target=quiet)
    thread.start()
    assert inside.wait(10)
    seen["loud"] = (x * 2).requires_grad
    checked.set()
    thread.join()
    assert seen == {"quiet": False, "loud": True}


def test_two_threads_train_at_once(array, numpy):
    def work(result, k):
        x = Tensor(array(np.full(8, 0.1 * k)), requires_grad=True)
        for _ in range(50):
            y = x
            for _ in range(20):
                y = minae.tanh(y) * y + y
            y.sum().backward()
        result[k] = numpy(x.grad)

    alone, together = {}, {}
    for k in range(4):
        work(alone, k)
    threads = [threading.Thread(target=work, args=(together, k)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(4):
        np.testing.assert_array_equal(alone[k], together[k])


def test_ops_on_plain_arrays_give_plain_arrays(array):
    y = minae.exp(array([0.0]))
    assert type(y) is engine.ndarray
    assert type(minae.concatenate([array([0.0]), array([1.0])])) is engine.ndarray


def test_constants_record_nothing(leaf):
    c = Tensor([1.0, 2.0])
    assert (c * 3).node is None
    y = leaf([1, 2]) * c
    assert [type(source) for source, _, _ in y.node.edges] == [Tensor]


def test_a_node_keeps_only_what_its_rules_read(leaf):
    """What no rule reads is freed at once: the input of relu, both terms of a sum."""
    x = leaf(np.ones(1000))
    for function, kept in [
        (lambda h: h + h, 0), (minae.relu, 0), (minae.softmax, 0), (minae.sum, 0), (minae.exp, 0),
        (lambda h: h.reshape(10, 100), 0), (lambda h: h * 2, 0), (minae.log, 1), (minae.sin, 1),
    ]:  # fmt: skip
        h = x * 1
        before = len([t for t in gc.get_objects() if type(t) is Tensor])
        y = function(h)
        del h
        after = len([t for t in gc.get_objects() if type(t) is Tensor])
        assert after - before == kept, function
        del y


# --- Lifetime --------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_step_leaves_nothing_for_the_cyclic_collector(leaf, create_graph):
    x, w = leaf(np.ones((3, 4))), leaf(np.ones((4, 2)))

    def step():
        y = minae.concatenate([minae.tanh(x @ w), (x @ w).reshape(3, 2)], 0)
        y = (y[[0, 0]] * minae.softmax(y)[:2]).sum()
        gradients = grad(y, [x, w], create_graph=create_graph)
        if create_graph:
            sum((g * g).sum() for g in gradients).backward()
        x.grad = w.grad = None

    step()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            step()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_backward_frees_the_graph_as_it_goes(leaf):
    x = leaf([1, 2])
    h = x * 2
    y = (h * h).sum()
    y.backward()
    assert y.node.edges is engine.FREED and h.node.edges is engine.FREED


def test_memory_falls_during_the_pass(leaf, scratch_ops):
    """When the oldest rule runs, the newer Nodes have been freed."""
    freed = []

    @elementwise(x=lambda g: freed.append(newer.node.edges is engine.FREED) or g)
    def oldest(x):
        return x + 0

    newer = oldest(leaf([1.0])) * 2
    newer.sum().backward()
    assert freed == [True]


def test_a_chain_of_100_000_ops(leaf):
    """Forward, backward and dropped: nothing recurses, and nothing is quadratic."""
    x = leaf(1.0)

    def chain():
        y = x
        for _ in range(100_000):
            y = y * 1.0
        return y

    chain().backward()
    assert float(x.grad) == 1
    assert float(grad(chain(), x, create_graph=True)) == 1
    chain()  # recorded, and dropped without a backward pass


def test_a_diamond_of_many_paths(leaf):
    """2^60 paths through 60 doublings: each Node is visited once."""
    x = leaf(1.0, "float64")
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert float(x.grad) == 2.0**60


# --- What it refuses -------------------------------------------------------------------------


def test_a_second_pass_through_a_freed_graph(leaf):
    x = leaf([1, 2])
    h = x * 2
    y = h.sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad.tolist(), [4, 4])
    for again in (y.backward, (h * 3).sum().backward, lambda: grad((h * 3).sum(), x)):
        with pytest.raises(RuntimeError, match=r"freed by an earlier backward pass.*retain_graph"):
            again()


def test_a_parameter_written_after_it_was_read(leaf):
    x, p = leaf([1, 2]), leaf([3, 4])
    y = (x * p).sum()
    p.data = p.data * 0.5
    with pytest.raises(RuntimeError, match=r"written since.*run the forward pass again") as error:
        y.backward()
    assert error.value.__notes__[0].startswith("in the gradient of mul")
    (x * p).sum().backward()  # a new forward pass is fine


WRITES = {
    "assignment": lambda p: setattr(p, "data", p.data - 1),
    "in place": lambda p: exec("p.data -= 1"),
    "entries": lambda p: p.__setitem__(0, 5.0),
    "entries of the detached": lambda p: p.detach().__setitem__(0, 5.0),
}
READS = {
    "the Tensor": lambda x, p: x * p,
    "a view": lambda x, p: x @ p.T,
    "a view of a view": lambda x, p: x @ p.T.reshape(2, 1),
    "the detached": lambda x, p: x * p.detach() * x,
    "a row": lambda x, p: x * p[0],
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("wants_grad", [True, False])
def test_every_write_is_noticed_by_every_read(leaf, write, read, wants_grad):
    x, p = leaf([[1, 2]]), leaf([[3, 4]])
    p.requires_grad = wants_grad
    y = read(x, p).sum()
    unread = (x + p).sum()
    with minae.no_grad():
        write(p)
    for call in (lambda: grad(y, x, retain_graph=True), y.backward):
        with pytest.raises(RuntimeError, match=r"written since"):
            call()
    unread.backward()  # a sum reads neither term


def test_a_view_made_without_recording_shares_its_writes(leaf):
    p = leaf([1, 2])
    with minae.no_grad():
        view = p.reshape(2, 1)
    y = (p * p).sum()
    view[0] = 5.0
    with pytest.raises(RuntimeError, match=r"written since"):
        y.backward()
    v = p.reshape(1, 2)
    z = (v * v).sum()
    p.data = [0.0, 0.0]
    with pytest.raises(RuntimeError, match=r"written since"):
        grad(z, v)


@pytest.mark.parametrize("copied", [
    lambda p: p[:, [0, 1]], lambda p: p.T.reshape(4), lambda p: p[[0, 0]], lambda p: p[p > 0],
], ids=["columns", "reshaped transpose", "rows", "mask"])  # fmt: skip
def test_a_copy_does_not_share_writes(leaf, numpy, copied):
    """As an EMA codebook is written between the forward and the backward pass."""
    x, p = leaf([[1, 2], [3, 4]]), leaf([[5, 6], [7, 8]])
    rows = copied(p)
    want = 2 * numpy(rows)
    y = (rows * rows).sum() + x.sum()
    p.data = p.data * 0
    np.testing.assert_array_equal(numpy(grad(y, rows)), want)


def test_a_result_cannot_be_written(leaf):
    x = leaf([1, 2])
    y = x * 2
    with pytest.raises(RuntimeError, match=r"recorded result of an op"):
        y.data = [1.0, 2.0]
    for target in (x, y):
        with pytest.raises(RuntimeError, match=r"minae.index_update.*no_grad"):
            target[0] = 1.0
    with pytest.raises(ValueError, match=r"cannot write float32\[3\] into float32\[2\]"):
        x.data = [1.0, 2.0, 3.0]


def test_augmented_assignment_makes_a_new_tensor(leaf, numpy):
    x = leaf([1, 2])
    total = kept = x * 1
    total += x
    assert total is not kept
    np.testing.assert_array_equal(numpy(kept), [1, 2])


def test_gradient_of_what_was_not_recorded(leaf):
    x = leaf(1.0)
    with minae.no_grad():
        y = x * 2
    for call in (y.backward, lambda: grad(y, x), lambda: grad(Tensor(1.0), x)):
        with pytest.raises(RuntimeError, match=r"has no gradient.*requires_grad=True"):
            call()
    with pytest.raises(ValueError, match=r"is no Tensor with requires_grad=True"):
        grad(x * 2, Tensor(1.0))


def test_errors_name_the_op_and_what_it_got(leaf):
    with pytest.raises(ValueError) as error:
        leaf(np.ones((2, 3))) @ leaf(np.ones((2, 3)))
    assert error.value.__notes__ == ["in matmul(float32[2, 3], float32[2, 3])"]
    with pytest.raises(IndexError) as error:
        leaf([1, 2])[5]
    assert error.value.__notes__ == ["in getitem(float32[2])"]
    with pytest.raises(TypeError, match=r"exp got 1 arguments too many"):
        minae.exp(leaf([1]), 2)
    with pytest.raises(TypeError, match=r"sum got {'axis'} both by position and by name"):
        minae.sum(leaf([1]), 0, axis=0)
    with pytest.raises(TypeError, match=r"mul got {'y'} by name; it takes arrays by position"):
        minae.mul(leaf([1]), y=3.0)
    with pytest.raises(TypeError, match=r"mul takes x, y; got 1"):
        minae.mul(leaf([1]))


def test_metadata_by_position_and_by_name(leaf, numpy):
    x = leaf(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(numpy(minae.sum(x, 1)), numpy(minae.sum(x, axis=1)))
    np.testing.assert_array_equal(numpy(minae.reshape(x, (3, 2))), numpy(x).reshape(3, 2))
    stacked = np.stack([numpy(x)] * 2, 1)
    np.testing.assert_array_equal(numpy(minae.stack([x, x], 1)), stacked)
    np.testing.assert_array_equal(numpy(minae.stack(x, x, axis=1)), stacked)
    np.testing.assert_array_equal(numpy(minae.concatenate(x)), np.concatenate(numpy(x)))
    np.testing.assert_array_equal(numpy(minae.concatenate(r for r in x)), numpy(x).ravel())


def test_an_opaque_op_refuses_a_second_derivative(leaf, scratch_ops):
    @primitive(opaque=True, x=lambda g, x: g * 2 * x)
    def kernel(x):
        return x * x

    x = leaf([3.0])
    assert float(grad(kernel(x), x)[0]) == 6
    with pytest.raises(RuntimeError, match=r"opaque") as error:
        grad(kernel(x), x, create_graph=True)
    assert error.value.__notes__[0].startswith("in the gradient of kernel")


def test_rules_that_return_the_wrong_shape_or_number(leaf, scratch_ops):
    @primitive(x=lambda g: g.sum())
    def shrinks(x):
        return x + 0

    @primitive(joint=lambda g, shapes: [g] * 2)
    def forgets(*arrays):
        return sum(arrays)

    @elementwise(x=lambda g: g.T)
    def turns(x):
        return x + 0

    @primitive(x=lambda g: g)
    def splits(x):
        return x, x

    x = leaf([1, 2])
    with pytest.raises(TypeError, match="splits must return one array, not 2"):
        splits(x)
    with pytest.raises(ValueError, match=r"cannot sum float32\[3, 2\] to the shape \[2, 3\]"):
        turns(leaf(np.ones((2, 3)))).sum().backward()
    with pytest.raises(TypeError, match=r"shrinks for x returned float32\[\] for .*float32\[2\]"):
        shrinks(x).sum().backward()
    with pytest.raises(TypeError, match="3 arguments, but the rule made 2 gradients") as error:
        forgets([x, x, x]).sum().backward()
    assert "in the gradient of forgets (minae.debug() would name" in error.value.__notes__[0]


def test_a_rule_that_promotes_is_brought_back(leaf, numpy, scratch_ops):
    @elementwise(x=lambda g: g.astype("float64") * 2)
    def promotes(x):
        return x * 2

    x = leaf([1, 2])
    for create_graph in (False, True):
        gradient = grad(promotes(x).sum(), x, create_graph=create_graph)
        assert gradient.dtype == "float32"
        np.testing.assert_array_equal(numpy(gradient), [2, 2])


def test_a_sum_is_never_to_a_larger_shape(array):
    for shape in ((1, 3), (2, 3), (4,), (3, 1)):
        with pytest.raises(ValueError, match=r"cannot sum float64\[3\] to the shape"):
            minae.ops.sum_to(array([1.0, 2.0, 3.0]), shape=shape)


def test_declarations_are_checked_at_import(scratch_ops):
    with pytest.raises(TypeError, match=r"has a rule for \{'y'\}"):

        @elementwise(y=lambda g: g)
        def f(x):
            return x

    with pytest.raises(TypeError, match=r"reads 'z', which f does not have"):

        @elementwise(x=lambda g, z: g)
        def f(x):
            return x


def test_an_integer_never_receives_a_gradient(leaf, array):
    x = Tensor(array([1, 2], int))
    x.requires_grad = True  # behind the constructor's back
    with pytest.raises(TypeError, match=r"only floats have gradients"):
        (x * leaf([1, 2])).sum().backward()


# --- The rules themselves ----------------------------------------------------------------------


def test_no_rule_names_the_array_library():
    """Rules are written with operators, methods and ops: they must run on Tensors too."""

    def names(code):
        yield from code.co_names
        for constant in code.co_consts:
            if inspect.iscode(constant):
                yield from names(constant)

    def reachable(function, seen):
        """A rule, and the helpers of minae.ops (no ops) that it calls."""
        if function in seen:
            return
        seen.add(function)
        for name in names(function.__code__):
            helper = function.__globals__.get(name)
            if not inspect.isfunction(helper) or hasattr(helper, "__wrapped__"):
                continue
            if helper.__module__.startswith("minae.ops"):
                reachable(helper, seen)

    checked = set()
    for op in OPS.values():
        for rule in [*op.rules, op.joint]:
            if rule is not None:
                reachable(rule.pull, checked)
    assert len(checked) > 50
    for rule in checked:
        assert {"xp", "np", "numpy", "cupy"}.isdisjoint(names(rule.__code__)), rule


def test_only_two_files_name_the_array_libraries():
    for path in pathlib.Path(minae.__file__).parent.rglob("*.py"):
        imports = {
            (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        allowed = {"backend.py": {"numpy"}, "gpu.py": {"cupy"}}.get(path.name, set())
        if path.parent.name == "kernels" and "numba" in path.read_text():
            allowed = {"numpy"}  # a form for NumPy alone
        assert not {i.split(".")[0] for i in imports} & {"numpy", "cupy"} - allowed, path
