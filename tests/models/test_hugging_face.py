"""What is refused of weights from elsewhere. That they compute the same: see tests/oracles."""

import json

import numpy as np
import pytest

import minae
from minae.io import FormatError, save
from minae.models import BERT, GPT

pytest.importorskip("safetensors", reason="the files are .safetensors: pip install safetensors")

CONFIG = {"model_type": "gpt2", "n_head": 2}


def gpt2():
    """Weights by the names of a GPT2LMHeadModel."""
    rng = np.random.default_rng(0)
    shapes = {
        "wte.weight": (7, 8), "wpe.weight": (5, 8), "ln_f.weight": (8,), "ln_f.bias": (8,),
        "h.0.ln_1.weight": (8,), "h.0.ln_1.bias": (8,), "h.0.ln_2.weight": (8,),
        "h.0.ln_2.bias": (8,), "h.0.attn.c_attn.weight": (8, 24), "h.0.attn.c_attn.bias": (24,),
        "h.0.attn.c_proj.weight": (8, 8), "h.0.attn.c_proj.bias": (8,),
        "h.0.mlp.c_fc.weight": (8, 32), "h.0.mlp.c_fc.bias": (32,),
        "h.0.mlp.c_proj.weight": (32, 8), "h.0.mlp.c_proj.bias": (8,),
    }  # fmt: skip
    return {name: rng.standard_normal(shape).astype("f") for name, shape in shapes.items()}


def write(folder, arrays, config):
    save(folder / "model.safetensors", arrays)
    (folder / "config.json").write_text(json.dumps(config))


def test_a_folder_and_a_state_are_the_same(tmp_path, array, numpy):
    write(tmp_path, gpt2(), CONFIG)
    before = minae.random.get_state()
    model = GPT.from_hugging_face(tmp_path, dropout=0.3)
    assert minae.random.get_state() == before and not model.training
    assert model.config == {"vocabulary": 7, "context": 5, "layers": 1, "features": 8, "heads": 2,
                            "dropout": 0.3}
    tokens = array([[1, 2, 3]])
    expected = numpy(model(tokens))
    old = {f"transformer.{name}": x for name, x in gpt2().items()}
    old |= {"transformer.h.0.attn.bias": np.tri(5)[None, None] > 0,
            "transformer.h.0.attn.masked_bias": np.float32(-1e4),
            "lm_head.weight": gpt2()["wte.weight"]}  # fmt: skip
    np.testing.assert_array_equal(numpy(GPT.from_hugging_face(old, heads=2)(tokens)), expected)
    assert np.abs(numpy(GPT.from_hugging_face(old, heads=4)(tokens)) - expected).max() > 1e-3


@pytest.mark.parametrize("change, message", [
    ({"activation_function": "relu"}, "activation_function is 'relu'; what is computed here is"),
    ({"model_type": "llama"}, "model_type is 'llama'"),
    ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06"),
    ({"scale_attn_by_inverse_layer_idx": True}, "inverse_layer_idx is True"),
    ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
    ({"n_head": None}, "give heads="), ({"n_head": "2"}, "give heads="),
    ({"n_head": 3}, "3 heads do not divide 8 features"),
])  # fmt: skip
def test_another_computation_is_refused(change, message, tmp_path):
    write(tmp_path, gpt2(), CONFIG | change)
    with pytest.raises(ValueError, match=message):
        GPT.from_hugging_face(tmp_path)


def test_weights_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match="give heads="):
        GPT.from_hugging_face(gpt2())
    with pytest.raises(ValueError, match=r"this is no GPT-2"):
        GPT.from_hugging_face({}, heads=2)
    with pytest.raises(ValueError, match=r"this is no BERT"):
        BERT.from_hugging_face(gpt2(), heads=2)
    lacks = gpt2()
    lacks.pop("h.0.mlp.c_fc.bias")
    with pytest.raises(ValueError, match=r"missing: transformer\.layers\.0\.linear1\.bias"):
        GPT.from_hugging_face(lacks, heads=2)
    with pytest.raises(ValueError, match=r"unknown: score\.weight"):
        GPT.from_hugging_face(gpt2() | {"score.weight": np.zeros(3)}, heads=2)
    with pytest.raises(ValueError, match=r"lm_head\.weight is not embedding\.weight"):
        GPT.from_hugging_face(gpt2() | {"lm_head.weight": np.zeros((7, 8))}, heads=2)


def test_folders_that_are_not_whole(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        GPT.from_hugging_face(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        GPT.from_hugging_face(tmp_path)
    for text in ("{", "[" * 100_000, "\xff", "[]", "7"):
        (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(FormatError, match=r"config\.json"):
            GPT.from_hugging_face(tmp_path)
    write(tmp_path, gpt2(), CONFIG)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-50])
    with pytest.raises(FormatError, match=r"model\.safetensors"):
        GPT.from_hugging_face(tmp_path)
