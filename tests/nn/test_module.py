"""Module: what it finds, under which names, and what changes all of it or nothing."""

import copy
import pickle

import numpy as np
import pytest

import minae
from minae import Tensor, nn
from minae.nn import Module
from minae.testing import check_grads


@pytest.fixture
def leaf(array):
    """``leaf(values)``: a parameter."""
    return lambda values, dtype="float32": Tensor(array(values, dtype), requires_grad=True)


@pytest.fixture
def holder(leaf, array):
    """Parameters and buffers in every place where they may be, assigned in this order."""
    module = Module()
    module.z = leaf([1.0])
    module.count = array([3])
    module.several = [leaf([2.0, 3.0]), (array([4.0], "float32"), leaf([5.0]))]
    module.by_name = {"b": leaf([6.0]), "a": {"deep": [array([7.0], "float32")]}}
    module.inner = Module()
    module.inner.weight = leaf([[8.0]])
    module.a = Tensor(array([9.0], "float32"))
    return module


NAMES = {
    "z": True, "count": False, "several.0": True, "several.1.0": False, "several.1.1": True,
    "by_name.b": True, "by_name.a.deep.0": False, "inner.weight": True, "a": False,
}  # fmt: skip  # which of them are parameters


def names(pairs):
    return [name for name, _ in pairs]


class Recipe(Module):
    """Configuration that is no state: numbers, strings, None, functions."""

    def __init__(self):
        self.rate, self.name, self.bias, self.activation = 0.5, "recipe", None, minae.relu
        self.options = {"stride": (1, 2)}


# --- What is found -------------------------------------------------------------------------------


def test_state_comes_in_the_order_of_assignment(holder):
    assert names(holder.named_state()) == list(NAMES)
    assert names(holder.named_parameters()) == [name for name, learned in NAMES.items() if learned]
    assert names(holder.named_buffers()) == [name for name, learned in NAMES.items() if not learned]


def test_parameters_are_the_tensors_themselves(holder):
    assert holder.parameters()[0] is holder.z
    assert holder.parameters()[-1] is holder.inner.weight
    assert dict(holder.named_buffers())["count"] is holder.count


def test_configuration_is_no_state():
    assert list(Recipe().named_state()) == []
    assert Recipe().modules() and Recipe().parameters() == []


def test_modules_come_outer_before_inner():
    model = nn.Sequential(nn.Sequential(nn.Linear(1, 1)), minae.relu, nn.Dropout())
    assert names(model.named_modules()) == ["", "0", "0.0", "2"]
    assert model.modules() == [model, model[0], model[0][0], model[2]]


def test_what_two_names_share_counts_once_under_the_first(leaf):
    model = Module()
    model.decoder, model.encoder = nn.Linear(2, 3), nn.Linear(2, 3)
    model.encoder.weight = model.decoder.weight
    model.again = model.encoder
    model.listed = [model.decoder.bias, model.decoder.bias]
    assert names(model.named_state()) == ["decoder.weight", "decoder.bias", "encoder.bias"]
    assert names(model.named_modules()) == ["", "decoder", "encoder"]


def test_equal_tensors_are_not_shared_ones(leaf):
    model = Module()
    model.first, model.second = leaf([1.0]), leaf([1.0])
    assert len(model.parameters()) == 2


def test_what_contains_itself_is_walked_once(leaf):
    model = Module()
    model.layers = [leaf([1.0])]
    model.layers.append(model.layers)
    model.options = {"p": leaf([2.0])}
    model.options["self"] = model.options
    model.parent = model
    assert names(model.named_state()) == ["layers.0", "options.p"]
    assert model.modules() == [model]


def test_a_frozen_parameter_becomes_a_buffer_and_stays_in_the_state(holder):
    holder.z.requires_grad = False
    assert "z" not in names(holder.named_parameters())
    assert names(holder.named_buffers())[0] == "z"
    assert list(holder.state_dict()) == list(NAMES)


def test_a_recorded_tensor_is_no_state(leaf):
    model = Module()
    model.weight = leaf([2.0])
    model.last, model.seen = model.weight * 2, [model.weight + 1]
    assert names(model.named_state()) == ["weight"]
    assert list(model.state_dict()) == ["weight"]


def test_what_is_found_follows_what_is_assigned(leaf):
    model = nn.Linear(2, 3)
    model.bias = None
    model.scale = leaf([1.0])
    assert names(model.named_state()) == ["weight", "scale"]
    del model.scale
    assert names(model.named_state()) == ["weight"]


# --- What changes all of it ----------------------------------------------------------------------


def test_train_and_eval_reach_all():
    model = Module()
    model.layers = [nn.Dropout(), {"norm": nn.BatchNorm2d(2)}]
    model.tail = nn.Sequential(nn.Sequential(nn.Dropout()))
    assert len(model.modules()) == 6 and all(m.training for m in model.modules())
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert model.train() is model
    assert all(m.training for m in model.modules())
    model.train(False)
    assert not any(m.training for m in model.modules())
    assert Module.training and nn.Dropout().training


def test_the_mode_is_no_state():
    assert list(nn.Linear(1, 1).eval().state_dict()) == ["weight", "bias"]


def test_astype_turns_every_float(holder, numpy):
    holder.z.grad = holder.z.array
    before = {name: value.copy() for name, value in holder.state_dict().items()}
    tensors = holder.parameters()
    assert holder.astype("float64") is holder
    for name, value in holder.state_dict().items():
        assert value.dtype == ("float64" if name != "count" else before[name].dtype), name
        np.testing.assert_array_equal(value, before[name])
    assert [p is q for p, q in zip(holder.parameters(), tensors)] == [True] * 5
    assert holder.z.grad is None


def test_astype_keeps_what_is_shared_and_the_containers(array):
    model, floats = Module(), array([1.0], "float32")
    model.first, model.pair = floats, (floats, "name")
    model.listed = listed = [floats]
    model.listed.append(listed)
    model.astype("float64")
    assert model.first is model.pair[0] is model.listed[0] and model.first.dtype == "float64"
    assert model.listed is listed is listed[1] and model.pair[1] == "name"


def test_astype_leaves_a_recorded_tensor_alone(leaf):
    model = Module()
    model.weight = leaf([2.0])
    model.last = last = model.weight * 2
    model.astype("float64")
    assert model.last is last and last.dtype == "float32"


@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_astype_refuses_what_is_no_float(holder, dtype):
    with pytest.raises(TypeError, match=f"computes in floats, not {dtype}"):
        holder.astype(dtype)
    assert holder.z.dtype == "float32"


def test_astype_makes_earlier_graphs_stale(array):
    layer = nn.Linear(2, 1)
    y = layer(Tensor(array([[1.0, 2.0]], "float32"), requires_grad=True)).sum()
    layer.astype("float64")
    with pytest.raises(RuntimeError, match="written since"):
        y.backward()


LAYERS = {
    "linear": (lambda rng: nn.Linear(3, 2, rng=rng), (4, 3)),
    "linear without bias": (lambda rng: nn.Linear(3, 2, bias=False, rng=rng), (3,)),
    "conv": (
        lambda rng: nn.Conv2d(4, 2, (2, 3), 2, (1, 0), (1, 2), groups=2, rng=rng), (2, 5, 6, 4)
    ),
    "transposed conv": (
        lambda rng: nn.ConvTranspose2d(4, 2, 3, 2, 1, (1, 0), groups=2, rng=rng), (2, 2, 3, 4)
    ),
    "layer norm": (lambda rng: nn.LayerNorm(3), (2, 2, 3)),
    "group norm": (lambda rng: nn.GroupNorm(2, 4), (2, 2, 3, 4)),
    "batch norm": (lambda rng: nn.BatchNorm2d(2), (2, 2, 3, 2)),
    "batch norm, evaluated": (lambda rng: nn.BatchNorm2d(2).eval(), (2, 2, 3, 2)),
    "sequential": (
        lambda rng: nn.Sequential(nn.Linear(3, 4, rng=rng), minae.tanh, nn.Dropout().eval()), (2, 3)
    ),
}  # fmt: skip


def given(layer):
    """``call(x, *parameters)``: the layer with other parameters than its own."""
    places = [
        (layer[int(path[0])] if len(path) == 2 else layer, path[-1])
        for path in (name.split(".") for name in names(layer.named_parameters()))
    ]

    def call(x, *parameters):
        for (owner, name), p in zip(places, parameters, strict=True):
            setattr(owner, name, p)
        return layer(x)

    return call


@pytest.mark.parametrize("make, shape", LAYERS.values(), ids=LAYERS)
def test_layers_in_float64_have_right_gradients(make, shape, array):
    rng = np.random.default_rng(0)
    layer = make(rng).astype("float64")
    for p in layer.parameters():
        p.data += array(0.3 * rng.standard_normal(p.shape))  # no scale stays 1, no shift 0
    assert all(p.dtype == "float64" for p in layer.parameters())
    inputs = [rng.standard_normal(shape), *(p.numpy() for p in layer.parameters())]
    check_grads(given(layer), inputs, order=2)


def test_an_embedding_in_float64_has_right_gradients(array):
    layer = nn.Embedding(4, 3, rng=np.random.default_rng(0)).astype("float64")
    codes = array([[0, 3], [3, 1]])
    check_grads(lambda table: given(layer)(codes, table) ** 3, [layer.weight.numpy()], order=2)


# --- Copies --------------------------------------------------------------------------------------


def tied():
    model = Module()
    model.encoder = nn.Sequential(nn.Linear(3, 3, rng=np.random.default_rng(0)), minae.relu)
    model.decoder = nn.Linear(3, 3, rng=np.random.default_rng(1))
    model.decoder.weight = model.encoder[0].weight
    model.norm = nn.BatchNorm2d(3).eval()
    return model


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"]
)
def test_a_copy_is_independent_and_its_tied_weights_stay_tied(copied, numpy):
    model = tied()
    model.decoder.bias.requires_grad = False
    twin = copied(model)
    assert twin.decoder.weight is twin.encoder[0].weight is not model.decoder.weight
    assert names(twin.named_parameters()) == names(model.named_parameters())
    assert not twin.norm.training and twin.encoder[1] is minae.relu
    before = model.state_dict()
    for name, value in twin.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    for _, x in twin.named_state():
        minae.engine.entries(x)[...] = 7
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


# --- How it prints -------------------------------------------------------------------------------


def test_repr_shows_the_layers_and_their_counts():
    model = nn.Sequential(
        nn.Conv2d(4, 8, (3, 1), 2, groups=2, bias=False), minae.relu, nn.BatchNorm2d(8),
        nn.Sequential(nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Dropout(0.1)), nn.Embedding(1000, 64),
    )  # fmt: skip
    assert repr(model) == (
        "Sequential()  # 64,193 parameters\n"
        "  0: Conv2d(4, 8, (3, 1), stride=2, groups=2, bias=False)  # 48 parameters\n"
        "  1: relu\n"
        "  2: BatchNorm2d(8)  # 16 parameters\n"
        "  3: Sequential()  # 129 parameters\n"
        "    0: ConvTranspose2d(8, 1, 4, stride=2, padding=1)  # 129 parameters\n"
        "    1: Dropout(0.1)\n"
        "  4: Embedding(1000, 64)  # 64,000 parameters"
    )


def test_repr_of_other_layers_and_of_places():
    model = Module()
    model.parts = [nn.Linear(2, 3), {"norm": nn.GroupNorm(2, 4)}]
    model.frozen = nn.LayerNorm(4)
    model.frozen.weight.requires_grad = model.frozen.bias.requires_grad = False
    assert repr(model).splitlines() == [
        "Module()  # 17 parameters", "  parts.0: Linear(2, 3)  # 9 parameters",
        "  parts.1.norm: GroupNorm(2, 4)  # 8 parameters", "  frozen: LayerNorm(4)",
    ]  # fmt: skip
    assert repr(nn.Linear(2, 3, bias=False)) == "Linear(2, 3, bias=False)  # 6 parameters"


def test_repr_of_what_contains_itself_ends():
    model = Module()
    model.layers = [nn.Linear(1, 1)]
    model.layers.append(model.layers)
    model.parent, model.tail = model, [nn.Dropout()] * 2
    assert repr(model).splitlines()[1:] == [
        "  layers.0: Linear(1, 1)  # 2 parameters", "  parent: ...",
        "  tail.0: Dropout(0.5)", "  tail.1: Dropout(0.5)",
    ]  # fmt: skip


def test_tied_weights_count_once_in_the_sum():
    assert repr(tied()).splitlines()[0] == "Module()  # 21 parameters"


# --- State by name -------------------------------------------------------------------------------


def test_a_state_dict_is_a_snapshot(holder):
    state = holder.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    assert list(state) == list(NAMES) and all(type(v) is np.ndarray for v in state.values())
    for _, x in holder.named_state():
        minae.engine.entries(x)[...] += 1
    for name, value in state.items():
        np.testing.assert_array_equal(value, before[name])
        value[...] = 100
    assert holder.z.item() == 2


def test_a_state_comes_back(holder):
    state, objects = holder.state_dict(), dict(holder.named_state())
    for _, x in holder.named_state():
        minae.engine.entries(x)[...] += 1
    holder.load_state_dict(dict(reversed(state.items())))
    for name, value in holder.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
    assert all(x is objects[name] for name, x in holder.named_state())


def test_loading_takes_tensors_lists_and_other_floats(array):
    layer = nn.Linear(1, 2)
    layer.load_state_dict({"weight": [[0.5, 1.5]], "bias": Tensor(array([1.0, 2.0], "float64"))})
    assert layer.weight.tolist() == [[0.5, 1.5]] and layer.bias.tolist() == [1, 2]
    assert layer.weight.dtype == layer.bias.dtype == "float32"


def test_loading_shares_no_memory_with_what_was_given():
    layer, state = nn.Linear(1, 1), {"weight": np.ones((1, 1), "float32"), "bias": np.ones(1, "f4")}
    layer.load_state_dict(state)
    state["weight"][...] = 5
    assert layer.weight.item() == 1


def test_loading_names_all_that_is_wrong_and_changes_nothing(holder):
    before = holder.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    del state["z"], state["several.1.1"]
    state |= {"extra": np.ones(2), "inner.bias": np.ones(1)}
    state["several.0"] = np.ones((2, 1), "float32")
    state["count"] = np.array([1.5])
    with pytest.raises(ValueError) as error:
        holder.load_state_dict(state)
    assert str(error.value).splitlines() == [
        "the state does not fit Module:",
        "  missing: z",
        "  missing: several.1.1",
        "  unknown: extra",
        "  unknown: inner.bias",
        "  count is float64[1], needs int64[1]",
        "  several.0 is float32[2, 1], needs float32[2]",
    ]
    for name, value in holder.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_shape_that_would_broadcast_does_not_fit():
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"bias is float32\[1\], needs float32\[2\]"):
        layer.load_state_dict({"weight": layer.weight, "bias": np.ones(1, "float32")})


def test_integers_of_another_width_fit(array):
    model = Module()
    model.count = array([1, 2], "int64")
    model.load_state_dict({"count": np.array([3, 4], "uint8")})
    assert model.count.tolist() == [3, 4] and model.count.dtype == "int64"


def test_loading_makes_earlier_graphs_stale(array):
    layer = nn.Linear(2, 1)
    x = Tensor(array([[1.0, 2.0]], "float32"), requires_grad=True)
    y, state = layer(x).sum(), layer.state_dict()
    layer.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"written since.*run the forward pass again"):
        y.backward()
    layer(x).sum().backward()
    assert x.grad is not None


def test_tied_weights_are_saved_once_and_loaded_into_both():
    model, other = tied(), tied()
    state = model.state_dict()
    assert "decoder.weight" not in state
    state["encoder.0.weight"] += 1
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.decoder.weight.numpy(), state["encoder.0.weight"])


# --- Calls ---------------------------------------------------------------------------------------


def test_a_module_without_forward_says_so():
    class Bare(Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Bare defines no forward\(\)"):
        Bare()(1)


def test_a_call_hands_everything_to_forward():
    class Pair(Module):
        def forward(self, x, y=0, *, z=0):
            return x, y, z

    assert Pair()(1, y=2, z=3) == (1, 2, 3)


def test_the_example_of_the_docstring(array, numpy):
    class Scale(Module):
        def __init__(self):
            self.factor = minae.tensor([1.0], requires_grad=True)
            self.calls = array(np.zeros(1))

        def forward(self, x):
            self.calls += 1
            return x * self.factor

    scale = Scale()
    scale(scale(array([2.0])))
    assert names(scale.named_parameters()) == ["factor"]
    assert numpy(dict(scale.named_buffers())["calls"]).tolist() == [2]


def test_two_parts_of_one_name_are_refused(array):
    module = nn.Module()
    module.parts = {"b.c": array([1.0]), "b": {"c": array([2.0])}}
    with pytest.raises(ValueError, match=r"two parts of Module are named parts\.b\.c"):
        module.state_dict()
