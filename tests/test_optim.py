"""Optimizers by hand, clipping, schedules, and training that continues where it was saved."""

import math

import numpy as np
import pytest

import minae
from minae import Tensor, io, nn, optim

OPTIMIZERS = {
    "sgd": lambda ps, lr=0.1: optim.SGD(ps, lr),
    "momentum": lambda ps, lr=0.1: optim.SGD(ps, lr, momentum=0.9, weight_decay=0.01),
    "adam": lambda ps, lr=0.1: optim.Adam(ps, lr),
    "adamw": lambda ps, lr=0.1: optim.AdamW(ps, lr, weight_decay=0.1),
    "nesterov": lambda ps, lr=0.1: optim.SGD(ps, lr, 0.9, nesterov=True),
    "amsgrad": lambda ps, lr=0.1: optim.Adam(ps, lr, amsgrad=True),
    "plain averages": lambda ps, lr=0.1: optim.Adam(ps, lr, (0.5, 0.9), bias_correction=False),
}
every = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


@pytest.fixture
def leaf(array):
    """``leaf(values)``: a parameter."""
    return lambda values, dtype="float64": Tensor(array(values, dtype), requires_grad=True)


@pytest.fixture
def after(leaf, array, numpy):
    """``after(make, start, gradients)``: where the optimizer takes a parameter, step by step."""

    def run(make, start, gradients):
        p = leaf([start])
        optimizer, path = make([p]), []
        for g in gradients:
            p.grad = None if g is None else array([g])
            optimizer.step()
            path.append(p.item())
        return path

    return run


# --- By hand -------------------------------------------------------------------------------------


def test_sgd_takes_the_gradient_times_the_rate(after):
    path = after(lambda ps: optim.SGD(ps, 0.1), 1.0, [2.0, -1.0, 0.0])
    assert path == pytest.approx([0.8, 0.9, 0.9])


def test_momentum_adds_what_the_gradients_were(after):
    path = after(lambda ps: optim.SGD(ps, 0.1, momentum=0.5), 1.0, [2.0, 1.0, 0.0])
    assert path == pytest.approx([1 - 0.2, 0.8 - 0.2, 0.6 - 0.1])  # v = 2, then 2, then 1


def test_weight_decay_of_sgd_adds_to_the_gradient(after):
    path = after(lambda ps: optim.SGD(ps, 0.1, weight_decay=0.5), 1.0, [2.0, 0.0])
    assert path == pytest.approx([0.75, 0.75 * 0.95])


def test_weight_decay_of_sgd_enters_the_momentum(after):
    path = after(lambda ps: optim.SGD(ps, 0.1, 0.5, 0.5), 1.0, [0.0, 0.0])
    assert path == pytest.approx([0.95, 0.95 - 0.1 * (0.25 + 0.5 * 0.95)])


def test_adam_by_its_definition(after):
    gradients = [2.0, -1.0, 0.5]
    make = lambda ps: optim.Adam(ps, 0.1, betas=(0.8, 0.9), eps=0.01)  # noqa: E731
    want, p = [], 1.0
    for t in range(1, 4):
        m = sum(0.2 * 0.8 ** (t - i) * g for i, g in enumerate(gradients[:t], 1)) / (1 - 0.8**t)
        v = sum(0.1 * 0.9 ** (t - i) * g**2 for i, g in enumerate(gradients[:t], 1)) / (1 - 0.9**t)
        p -= 0.1 * m / (math.sqrt(v) + 0.01)
        want.append(p)
    assert after(make, 1.0, gradients) == pytest.approx(want, rel=1e-12)


def test_the_first_step_of_adam_has_the_length_of_the_rate(after):
    for gradient in (1e-3, -5.0, 1e6):
        (p,) = after(lambda ps: optim.Adam(ps, 0.1), 0.0, [gradient])
        assert p == pytest.approx(-math.copysign(0.1, gradient), rel=1e-4)


def test_adam_of_a_constant_gradient_walks_evenly(after):
    path = after(lambda ps: optim.Adam(ps, 0.1, eps=0.0), 0.0, [3.0] * 5)
    assert path == pytest.approx([-0.1, -0.2, -0.3, -0.4, -0.5])


def test_the_decay_of_adamw_is_apart_from_the_gradient(after):
    decayed = after(lambda ps: optim.AdamW(ps, 0.1, weight_decay=0.5), 2.0, [0.0, 0.0])
    assert decayed == pytest.approx([2 * 0.95, 2 * 0.95**2])
    path = after(lambda ps: optim.AdamW(ps, 0.1, eps=0.0, weight_decay=0.5), 2.0, [3.0, 3.0])
    assert path == pytest.approx([1.9 - 0.1, 1.8 * 0.95 - 0.1])


def test_defaults_are_those_of_the_papers(leaf):
    adamw = optim.AdamW([leaf([1.0])])
    assert adamw.lr == 1e-3
    (options,) = adamw.options
    assert options == {"lr": 1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}


def test_nesterov_looks_ahead(after):
    path = after(lambda ps: optim.SGD(ps, 0.1, 0.5, nesterov=True), 1.0, [2.0, 1.0])
    assert path == pytest.approx([1 - 0.1 * (2 + 0.5 * 2), 0.7 - 0.1 * (1 + 0.5 * 2)])


def test_the_divisor_of_amsgrad_never_falls(after):
    make = lambda ps: optim.Adam(ps, 0.1, (0.0, 0.0), 0.0, amsgrad=True)  # noqa: E731
    assert after(make, 0.0, [4.0, 1.0, 8.0]) == pytest.approx([-0.1, -0.125, -0.225])


def test_averages_that_are_not_corrected_count_as_they_are(after):
    make = lambda ps: optim.Adam(ps, 0.1, (0.5, 0.75), 0.0, bias_correction=False)  # noqa: E731
    assert after(make, 0.0, [4.0]) == pytest.approx([-0.1 * (0.5 * 4) / (0.25 * 16) ** 0.5])


def test_the_decay_of_adam_adds_to_the_gradient(after):
    make = lambda ps: optim.Adam(ps, 0.1, weight_decay=0.5)  # noqa: E731
    assert after(make, 2.0, [-1.0]) == [2.0]
    (p,) = after(make, 2.0, [1.0])
    assert p == pytest.approx(1.9)


@every
def test_the_rate_may_change_between_steps(make, leaf, array):
    p = leaf([1.0])
    optimizer = make([p])
    optimizer.lr = 0.0
    p.grad = array([5.0])
    optimizer.step()
    assert p.item() == 1
    optimizer.lr = 0.1
    optimizer.step()
    assert p.item() < 1


# --- Walking the parameters ----------------------------------------------------------------------


@every
def test_a_parameter_without_gradient_is_left_alone_and_counts_no_step(make, after):
    with_gaps = after(make, 1.0, [None, 2.0, None, None, -1.0, None])
    without = after(make, 1.0, [2.0, -1.0])
    assert with_gaps == [1.0, without[0], without[0], without[0], without[1], without[1]]


def test_each_parameter_counts_its_own_steps(leaf, array):
    p, q = leaf([1.0]), leaf([1.0])
    optimizer = optim.Adam([p, q])
    for gradient in (None, array([1.0]), None):
        p.grad, q.grad = array([1.0]), gradient
        optimizer.step()
    assert optimizer.steps == [3, 1]


@every
def test_the_step_is_in_place_and_keeps_the_gradient(make, leaf, array, numpy):
    p = leaf([[1.0, 2.0]])
    p.grad = array([[3.0, -4.0]])
    before = p.array
    make([p]).step()
    assert p.array is before
    assert numpy(before).tolist() != [[1, 2]] and numpy(p.grad).tolist() == [[3, -4]]


@every
def test_zero_grad_forgets_the_gradients(make, leaf, array):
    p, q = leaf([1.0]), leaf([1.0])
    p.grad = array([3.0])
    make([p, q]).zero_grad()
    assert p.grad is None and q.grad is None


@every
def test_a_step_makes_earlier_graphs_stale(make, leaf, array):
    p = leaf([1.0])
    y = (p * p).sum()
    p.grad = array([1.0])
    make([p]).step()
    with pytest.raises(RuntimeError, match="written since"):
        y.backward()


@every
def test_a_step_that_skips_a_parameter_leaves_its_graphs_alone(make, leaf, array):
    p, q = leaf([1.0]), leaf([1.0])
    y = (p * p).sum()
    q.grad = array([1.0])
    make([p, q]).step()
    y.backward()
    assert p.grad is not None


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (2,), (0, 3)])
def test_the_dtype_stays(make, dtype, shape, leaf, array):
    p = leaf(np.ones(shape), dtype)
    optimizer = make([p], np.float64(0.1) * np.cos(0.1))  # a scalar of NumPy that promotes arrays
    for _ in range(3):
        p.grad = array(np.full(shape, 0.5), dtype)
        optimizer.step()
    assert (p.dtype, p.shape) == (dtype, shape)
    assert all(a.dtype == dtype for arrays in optimizer.state.values() for a in arrays)
    assert (p.numpy() < 1).all()


@every
def test_the_parameters_may_come_from_a_generator(make, leaf, array):
    p = leaf([1.0])
    optimizer = make(x for x in [p])
    for _ in range(2):
        p.grad = array([1.0])
        optimizer.step()
    assert optimizer.steps == [2]


@every
def test_a_quadratic_is_minimised(make, leaf, array, numpy):
    centre, widths = array([1.0, -2.0, 3.0]), array([1.0, 4.0, 0.5])
    p = leaf([0.0, 0.0, 0.0])
    optimizer = make([p])
    for step in range(600):
        optimizer.lr = 0.1 * optim.cosine(step, 600)
        optimizer.zero_grad()
        (widths * (p - centre) ** 2).sum().backward()
        optimizer.step()
    tolerance = 0.15 if optimizer.options[0]["weight_decay"] else 1e-3
    np.testing.assert_allclose(numpy(p), numpy(centre), atol=tolerance)


# --- Refusals ------------------------------------------------------------------------------------


@every
def test_no_parameters_are_refused(make):
    with pytest.raises(ValueError, match=r"there are no parameters.*requires_grad=True"):
        make([])


@every
def test_a_parameter_named_twice_is_refused(make, leaf):
    p = leaf([1.0])
    with pytest.raises(ValueError, match="named twice"):
        make([p, leaf([1.0]), p])


def test_what_cannot_be_trained_is_refused(leaf, array):
    p = leaf([1.0, 2.0])
    for bad in (p * 2, p.detach(), Tensor(array([1.0])), array([1.0]), "weight", 1.0):
        with pytest.raises(TypeError, match="is no Tensor made with requires_grad=True"):
            optim.SGD([p, bad], 0.1)
    with pytest.raises(TypeError, match=r"float64\[\] is no Tensor made"):
        optim.SGD(p, 0.1)  # of which the entries would be the parameters


@every
@pytest.mark.parametrize("lr", [-0.1, math.nan, math.inf])
def test_a_negative_rate_is_refused(make, lr, leaf):
    with pytest.raises(ValueError, match="the learning rate must be finite and not negative"):
        make([leaf([1.0])], lr)
    p = leaf([1.0])
    optimizer = make([p])
    optimizer.lr, p.grad = lr, p.data
    with pytest.raises(ValueError, match="the learning rate must be finite and not negative"):
        optimizer.step()
    assert optimizer.steps == [0]


@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW])
@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, math.nan)])
def test_betas_lie_below_1(make, betas, leaf):
    with pytest.raises(ValueError, match=r"betas must lie in \[0, 1\)"):
        make([leaf([1.0])], 0.1, betas)


def test_an_optimizer_without_update_says_so(leaf, array):
    class Bare(optim.Optimizer):
        pass

    p = leaf([1.0])
    p.grad = array([1.0])
    with pytest.raises(NotImplementedError, match=r"Bare defines no update\(\)"):
        Bare([p], 0.1).step()


# --- Groups, and several optimizers --------------------------------------------------------------


def test_a_group_has_its_own_options(leaf, array):
    p, q = leaf([1.0]), leaf([1.0])
    optimizer = optim.SGD(
        [{"params": [p]}, {"params": [q], "lr": 0.01, "weight_decay": 1.0}], lr=0.1
    )
    p.grad, q.grad = array([1.0]), array([1.0])
    optimizer.step()
    assert (p.item(), q.item()) == pytest.approx((0.9, 1 - 0.01 * 2))
    optimizer.lr = 0.2  # twice as fast, and so is the group
    optimizer.step()
    assert (p.item(), q.item()) == pytest.approx((0.7, 0.98 - 0.02 * 1.98))


def test_groups_that_cannot_be(leaf):
    p, q = leaf([1.0]), leaf([1.0])
    with pytest.raises(ValueError, match=r"AdamW has no option \['momentum'\]"):
        optim.AdamW([{"params": [p], "momentum": 0.9}])
    with pytest.raises(TypeError, match=r'a group is a dict: \{"params":'):
        optim.AdamW([{"params": [p]}, q])
    with pytest.raises(TypeError, match="a group is a dict"):
        optim.AdamW([{"lr": 1.0}])
    with pytest.raises(ValueError, match="a parameter is named twice"):
        optim.AdamW([{"params": [p]}, {"params": [q, p]}])
    with pytest.raises(ValueError, match="finite and not negative"):
        optim.AdamW([{"params": [p], "lr": -1.0}])
    with pytest.raises(ValueError, match="in proportion to lr, which is 0"):
        optim.AdamW([{"params": [p], "lr": 0.1}], lr=0.0)
    with pytest.raises(ValueError, match="impossible weight_decay"):
        optim.AdamW([{"params": [p], "weight_decay": -1.0}])
    with pytest.raises(ValueError, match="nesterov looks ahead by the momentum, which is 0"):
        optim.SGD([p], 0.1, nesterov=True)
    with pytest.raises(ValueError, match="there are no parameters"):
        optim.AdamW([{"params": []}])


def test_two_optimizers_clip_and_step_apart(leaf, array, numpy):
    p, q = leaf([0.0, 0.0]), leaf([0.0, 0.0])
    one, other = optim.SGD([p], 1.0), optim.SGD([q], 1.0)
    p.grad, q.grad = array([3.0, 4.0]), array([3.0, 4.0])
    optim.clip_grad_norm(one.parameters, 1.0)
    optim.clip_grad_norm(other.parameters, 10.0)
    one.step()
    assert numpy(p).tolist() == pytest.approx([-0.6, -0.8], rel=1e-5) and not numpy(q).any()
    other.step()
    assert numpy(q).tolist() == [-3, -4]


def test_a_gradient_has_the_shape_of_its_parameter(leaf, array):
    p = leaf([1.0, 2.0])
    p.grad = array([1.0])
    with pytest.raises(ValueError, match=r"float64\[2\] has a gradient float64\[1\]"):
        optim.SGD([p], 0.1).step()


def test_one_parameter_is_clipped_too(leaf, array, numpy):
    p = leaf([1.0, 2.0])
    p.grad = array([3.0, 4.0])
    assert float(optim.clip_grad_norm(p, 1.0)) == 5
    assert np.linalg.norm(numpy(p.grad)) == pytest.approx(1, rel=1e-5)
    optim.clip_grad_value(p, 0.1)
    assert numpy(p.grad).tolist() == [0.1, 0.1]


def test_a_moving_average_of_parameters(leaf, numpy):
    model, average = [leaf([1.0, 2.0])], [leaf([0.0, 0.0])]
    y = (average[0] * average[0]).sum()
    optim.ema_update(average, model, 0.75)
    assert numpy(average[0]).tolist() == [0.25, 0.5]
    with pytest.raises(RuntimeError, match="written since"):
        y.backward()
    for impossible in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"decay must be in \[0, 1\]"):
            optim.ema_update(average, model, impossible)
    with pytest.raises(ValueError, match="are both of the same model"):
        optim.ema_update(average, [leaf([1.0])], 0.5)


# --- State ---------------------------------------------------------------------------------------


def model(leaf):
    draws = np.random.default_rng(0)
    return [leaf(draws.standard_normal(shape), "float32") for shape in ((3, 4), (4,), ())]


def train(optimizer, array, steps):
    """Steps whose gradients depend on their number alone; one parameter misses the odd ones."""
    for step in steps:
        draws = np.random.default_rng(step)
        for i, p in enumerate(optimizer.parameters):
            p.grad = array(draws.standard_normal(p.shape), "float32")
            if i == 1 and step % 2:
                p.grad = None
        optimizer.step()


@pytest.mark.parametrize("through_a_file", [False, True], ids=["direct", "file"])
@every
def test_training_continues_bit_for_bit(make, through_a_file, leaf, array, numpy, tmp_path):
    whole = make(model(leaf))
    train(whole, array, range(10))

    first = make(model(leaf))
    first.lr = 0.1
    train(first, array, range(5))
    state = first.state_dict()
    if through_a_file:
        io.save(tmp_path / "optimizer.npz", state)
        state = io.load(tmp_path / "optimizer.npz")
    parameters = [leaf(p.numpy(), "float32") for p in first.parameters]
    second = make(parameters, 0.7)
    second.load_state_dict(state)
    assert second.lr == 0.1
    train(second, array, range(5, 10))

    assert second.steps == whole.steps == [10, 5, 10]
    for p, q in zip(second.parameters, whole.parameters, strict=True):
        assert numpy(p).tobytes() == numpy(q).tobytes()
    for name, value in whole.state_dict().items():
        assert value.tobytes() == second.state_dict()[name].tobytes(), name


def test_the_state_has_names(leaf):
    ps = model(leaf)
    moments = [f"{name}.{i}" for name in "mv" for i in range(3)]
    assert list(optim.SGD(ps, 0.1).state_dict()) == ["lr", "steps"]
    assert list(optim.AdamW(ps).state_dict()) == ["lr", "steps", *moments]
    velocities = [f"velocity.{i}" for i in range(3)]
    assert list(optim.SGD(ps, 0.1, 0.9).state_dict()) == ["lr", "steps", *velocities]


@every
def test_a_state_dict_is_a_snapshot(make, leaf, array):
    optimizer = make(model(leaf))
    train(optimizer, array, range(2))
    state = optimizer.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    train(optimizer, array, range(2, 4))
    for name, value in state.items():
        np.testing.assert_array_equal(value, before[name])


def test_a_loaded_state_is_not_shared(leaf, array):
    first, second = optim.Adam(model(leaf)), optim.Adam(model(leaf))
    train(first, array, range(2))
    state = first.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    second.load_state_dict(state)
    train(second, array, range(2, 4))
    for name, value in state.items():
        np.testing.assert_array_equal(value, before[name])


def unchanged(optimizer, state):
    """Try to load ``state``, which does not fit: the message, and that nothing has changed."""
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match="the state is not of this optimizer") as error:
        optimizer.load_state_dict(state)
    for name, value in optimizer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    return str(error.value).split(": ")[1].split(", ")


def test_the_state_of_another_optimizer_names_the_difference(leaf, array):
    p = leaf([1.0])
    adam, momentum, sgd = optim.Adam([p]), optim.SGD([p], 0.1, momentum=0.9), optim.SGD([p], 0.2)
    for optimizer in (adam, momentum):
        train(optimizer, array, range(1))
    assert unchanged(sgd, momentum.state_dict()) == ["velocity.0"]
    assert unchanged(momentum, sgd.state_dict()) == ["velocity.0"]
    assert unchanged(momentum, adam.state_dict()) == ["m.0", "v.0", "velocity.0"]


def test_the_state_of_other_parameters_names_the_difference(leaf):
    few, many = optim.Adam([leaf([1.0])], 0.5), optim.Adam([leaf([1.0]), leaf([1.0])])
    assert unchanged(few, many.state_dict()) == ["m.1", "v.1"]
    wide = optim.Adam([leaf([1.0, 2.0])])
    assert unchanged(few, wide.state_dict()) == ["m.0", "v.0"]
    assert unchanged(optim.SGD([leaf([1.0])], 0.1), {"lr": 1.0, "steps": [1, 2]}) == ["steps"]


# --- Clipping ------------------------------------------------------------------------------------


@pytest.fixture
def with_gradients(leaf, array):
    """``with_gradients(g, ...)``: a parameter for each gradient, which may be None."""

    def make(*gradients, dtype="float64"):
        ps = []
        for g in gradients:
            ps.append(leaf(np.zeros(np.shape(g) if g is not None else 1), dtype))
            ps[-1].grad = None if g is None else array(g, dtype)
        return ps

    return make


def test_clipping_scales_all_gradients_together(with_gradients, numpy):
    p, q, without = with_gradients([3.0, 0.0], [[4.0]], None)
    assert float(optim.clip_grad_norm([p, q, without], 1.0)) == 5
    np.testing.assert_allclose(numpy(p.grad), [0.6, 0], rtol=1e-6)
    np.testing.assert_allclose(numpy(q.grad), [[0.8]], rtol=1e-6)
    assert without.grad is None


def test_clipping_leaves_small_gradients_alone(with_gradients, numpy):
    (p,) = with_gradients([3.0, -4.0])
    assert float(optim.clip_grad_norm([p], 5.1)) == 5
    assert numpy(p.grad).tolist() == [3, -4]


def test_clipping_zero_gradients(with_gradients, numpy):
    p, q = with_gradients([0.0, 0.0], np.zeros((0, 2)))
    assert float(optim.clip_grad_norm([p, q], 1.0)) == 0
    assert numpy(p.grad).tolist() == [0, 0]


def test_clipping_no_gradients(with_gradients):
    assert float(optim.clip_grad_norm(with_gradients(None, None), 1.0)) == 0
    assert float(optim.clip_grad_norm([], 1.0)) == 0
    optim.clip_grad_value(with_gradients(None), 1.0)


def test_clipping_is_in_place_and_keeps_the_dtype(with_gradients, numpy):
    p, q = with_gradients([30.0], 40.0, dtype="float32")
    arrays = p.grad, q.grad
    optim.clip_grad_norm((x for x in (p, q)), np.float64(1.0))
    assert (p.grad, q.grad) == arrays and p.grad.dtype == q.grad.dtype == "float32"
    np.testing.assert_allclose([numpy(p.grad).item(), numpy(q.grad).item()], [0.6, 0.8], rtol=1e-6)


def test_clipping_gradients_that_a_sum_has_shared(leaf, numpy):
    p, q = leaf([1.0]), leaf([1.0])
    ((p + q) * 3).sum().backward()
    optim.clip_grad_norm([p, q], 1.0)
    np.testing.assert_allclose([numpy(p.grad)[0], numpy(q.grad)[0]], math.sqrt(0.5), rtol=1e-6)


def test_clipping_a_gradient_that_is_nan(with_gradients, numpy):
    p, q = with_gradients([1.0], [math.nan, 1.0])
    assert math.isnan(optim.clip_grad_norm([p, q], 1.0))
    assert np.isnan(numpy(p.grad)).all() and np.isnan(numpy(q.grad)).all()


@pytest.mark.parametrize("bad", [math.inf, 1e200])
def test_clipping_where_the_norm_is_infinite_leaves_nothing_finite(bad, with_gradients, numpy):
    """Scaled by 1 / inf, all other gradients would be 0 and the damage silent."""
    p, q = with_gradients([1.0], [bad, 1.0])
    with np.errstate(over="ignore"):
        assert optim.clip_grad_norm([p, q], 1.0) == math.inf
    assert np.isnan(numpy(p.grad)).all() and np.isnan(numpy(q.grad)).all()


def test_clipping_by_value(with_gradients, numpy):
    p, q = with_gradients([0.5, -3.0, math.inf], [[-math.inf, math.nan, 1.0]])
    before = p.grad
    optim.clip_grad_value([p, q], 1.0)
    assert p.grad is before and numpy(p.grad).tolist() == [0.5, -1, 1]
    np.testing.assert_array_equal(numpy(q.grad), [[-1, math.nan, 1]])


# --- Schedules -----------------------------------------------------------------------------------


def test_warmup_rises_to_1_and_stays():
    assert [optim.warmup(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert optim.warmup(0, 1) == optim.warmup(0, 0) == optim.warmup(9, 0) == 1


def test_cosine_falls_from_1_to_the_final_factor():
    assert [optim.cosine(step, 4) for step in (0, 2, 4, 9)] == pytest.approx([1, 0.5, 0, 0])
    assert optim.cosine(1, 4) == pytest.approx(0.5 + math.sqrt(0.5) / 2)
    assert [optim.cosine(s, 2, 0.2) for s in (0, 1, 2, 3)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert optim.cosine(7, 7, 0.25) == 0.25


def test_schedules_multiply(leaf):
    optimizer = optim.SGD([leaf([1.0])], 0.0)
    rates = []
    for step in range(10):
        optimizer.lr = 0.1 * optim.warmup(step, 3) * optim.cosine(step, 9)
        rates.append(optimizer.lr)
    assert rates[0] == pytest.approx(0.1 / 3) and rates[-1] == pytest.approx(0)
    assert rates.index(max(rates)) == 2


def test_a_layer_learns_what_another_knows(array, numpy):
    draws = np.random.default_rng(0)
    x = array(draws.standard_normal((64, 3)), "float32")
    teacher, pupil = nn.Linear(3, 2, rng=draws), nn.Linear(3, 2, rng=draws)
    target = teacher(x).detach()
    optimizer = optim.Adam(pupil.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        minae.mse_loss(pupil(x), target).backward()
        optimizer.step()
    np.testing.assert_allclose(numpy(pupil.weight), numpy(teacher.weight), atol=1e-3)
    np.testing.assert_allclose(numpy(pupil.bias), numpy(teacher.bias), atol=1e-3)


@pytest.mark.parametrize("clip", [optim.clip_grad_norm, optim.clip_grad_value])
@pytest.mark.parametrize("limit", [0, -1.0, math.nan])
def test_a_limit_is_above_0(clip, limit):
    with pytest.raises(ValueError, match="limit must be above 0"):
        clip([], limit)


def test_schedules_of_no_steps():
    assert optim.warmup(0, 0) == 1
    assert optim.cosine(0, 0, final=0.1) == pytest.approx(0.1)


def test_impossible_options_are_refused():
    p = Tensor([0.0, 0.0], requires_grad=True)
    for make in (
        lambda: optim.SGD([p], 0.1, momentum=1.0), lambda: optim.SGD([p], 0.1, weight_decay=-1),
        lambda: optim.Adam([p], eps=-1.0), lambda: optim.AdamW([p], weight_decay=-1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"impossible|must lie"):
            make()
    with pytest.raises(TypeError, match=r"takes model\.parameters\(\)"):
        optim.Adam(nn.Linear(2, 2))
