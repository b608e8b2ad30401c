"""The models of sequences in folders."""

import numpy as np
import pytest

import minae
from minae import nn
from minae.io import FormatError, load_metadata, save
from minae.models import (
    BERT,
    GPT,
    BagOfWords,
    RecurrentLM,
    Seq2Seq,
    Transformer,
    TreeAutoencoder,
    TreeClassifier,
    TreeCRF,
)

SIZES = {"context": 6, "layers": 2, "features": 8, "heads": 2}
MADE = {
    "GPT": lambda: GPT(11, **SIZES),
    "BERT": lambda: BERT(11, **SIZES, segments=3, activation=minae.gelu_tanh),
    "Transformer": lambda: Transformer(11, 7, **SIZES, inner=5, positions="learned"),
    "shared": lambda: Transformer(11, 11, **SIZES, norm_first=True, shared=True),
    "LSTM": lambda: Seq2Seq(11, 7, 4, 6, 2),
    "GRU": lambda: Seq2Seq(11, 7, 4, 6, cell="GRU", unknown=1),
    "RecurrentLM": lambda: RecurrentLM(11, 4, 6),
    "TreeAutoencoder": lambda: TreeAutoencoder(11, 4, 6, 3),
    "TreeCRF": lambda: TreeCRF(11, 4, 6, 2, 5),
    "TreeClassifier": lambda: TreeClassifier(11, 5, 4, 6),
    "child-sum": lambda: TreeClassifier(11, 5, 4, 6, arity=0),
    "BagOfWords": lambda: BagOfWords(11, 5),
}


@pytest.fixture(params=MADE)
def model(request):
    minae.seed(0)
    return MADE[request.param]()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_folder_gives_the_same_model_again(model, dtype, tmp_path):
    model.astype(dtype).save(tmp_path)
    before = minae.random.get_state()
    again = type(model).load(tmp_path)
    assert minae.random.get_state() == before
    assert again.config == model.config and not again.training
    expected, found = model.state_dict(), again.state_dict()
    assert {n: x.tobytes() for n, x in expected.items()} == {
        n: x.tobytes() for n, x in found.items()
    }
    assert all(x.dtype == dtype for x in found.values() if x.dtype.kind == "f")
    assert repr(again) == repr(model)


def test_the_same_is_computed(array, numpy, tmp_path):
    model = MADE["BERT"]().eval()
    model.save(tmp_path)
    tokens = array(np.arange(6)[None])
    np.testing.assert_array_equal(numpy(BERT.load(tmp_path)(tokens)), numpy(model(tokens)))


def test_other_files_are_refused(model, tmp_path):
    kind = type(model)
    with pytest.raises(FileNotFoundError, match=r"weights\.npz"):
        kind.load(tmp_path)
    path = tmp_path / "weights.npz"
    save(path, {"x": np.zeros(3)}, {"model": "VQVAE"})
    with pytest.raises(FormatError, match="saved by something else"):
        kind.load(tmp_path)
    model.save(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(FormatError, match="truncated"):
        kind.load(tmp_path)
    arrays = model.state_dict()
    arrays.pop(next(name for name in arrays if name.endswith("bias")))
    save(path, arrays, {"model": kind.__name__, "config": model.config | {"activation": "gelu"}})
    with pytest.raises(FormatError, match=f"holds no {kind.__name__}"):
        kind.load(tmp_path)


LIES = (
    {}, [], None, {"layers": 10**12}, {"layers": 10**12, "features": 10**12}, {"features": "many"},
    {"layers": 0}, {"layers": -1}, {"layers": "a"}, {"features": -8}, {"dropout": None},
    {"dropout": 2}, {"else": 1},
)  # fmt: skip
SPECIAL = {
    "GPT": ({"vocabulary": 10**12}, {"context": 10**12}, {"heads": 3}, {"heads": 0}),
    "BERT": ({"segments": 10**12}, {"activation": "eval"}, {"activation": []}),
    "Transformer": ({"inner": 10**12}, {"sources": 10**12}, {"shared": 1}, {"positions": "eval"}),
    "Seq2Seq": ({"hidden": 10**12}, {"cell": "eval"}, {"cell": []}, {"unknown": 7}),
    "TreeCRF": ({"symbols": 10**12}, {"hidden": 10**12}, {"inner": 10**12}, {"forgotten": 2}),
    "TreeClassifier": ({"symbols": 10**12}, {"hidden": 10**12}, {"arity": 10**12}, {"arity": "a"}),
    "BagOfWords": ({"symbols": 10**12}, {"classes": 10**12}, {"classes": "a"}),
}


@pytest.mark.parametrize("made", [
    "GPT", "BERT", "Transformer", "LSTM", "TreeCRF", "TreeClassifier", "BagOfWords",
])
def test_a_config_that_lies_is_found_before_it_is_believed(made, tmp_path):
    model = MADE[made]()
    model.save(tmp_path)
    path, kind = tmp_path / "weights.npz", type(model)
    metadata = load_metadata(path)
    for lie in LIES + SPECIAL[kind.__name__]:
        config = metadata["config"] | lie if lie else lie
        save(path, model.state_dict(), metadata | {"config": config})
        with pytest.raises(FormatError, match=f"holds no {kind.__name__}"):
            kind.load(tmp_path)


def test_an_activation_of_ones_own_cannot_be_found_again(tmp_path):
    model = BERT(5, **SIZES, activation=minae.silu)
    with pytest.raises(TypeError, match="relu, gelu, gelu_tanh"):
        model.save(tmp_path)
    assert isinstance(model, nn.Module) and not list(tmp_path.iterdir())
