"""Where the models of sequences drop entries in training, besides those of their layers."""

import numpy as np
import pytest

import minae
from minae import nn
from minae.models import BERT, GPT, Seq2Seq, Transformer, TreeClassifier, TreeCRF
from minae.seq import Forest, Padded, read_brackets

PAIRS = Forest(read_brackets(["(S (A a) (B b))"] * 3))
SIZES = {"context": 4, "layers": 2, "features": 8, "heads": 2, "dropout": 0.25}
MODELS = {  # the model, a call, and how often something is dropped
    "GPT": (lambda: GPT(7, **SIZES), lambda model, x: model(x), 1 + 2 * 2),
    "BERT": (lambda: BERT(7, **SIZES), lambda model, x: model(x), 1 + 2 * 2),
    "Transformer": (
        lambda: Transformer(7, 7, **SIZES), lambda model, x: model(x, x), 2 + 2 * 2 + 2 * 3
    ),
    "Seq2Seq": (  # what is read, both inputs, what is written
        lambda: Seq2Seq(7, 7, 8, 6, 2, dropout=0.25), lambda model, x: model(x, x), 3
    ),
    "TreeCRF": (  # before, behind the LSTM, and in the MLP
        lambda: TreeCRF(7, 8, 8, inner=8, dropout=0.25, forgotten=0.0),
        lambda model, x: model.scores(Padded(x[:, :, None], [3, 3])), 3,
    ),
    "TreeClassifier": (  # words and states
        lambda: TreeClassifier(7, 2, 8, 8, dropout=0.25, forgotten=0.0),
        lambda model, x: model(PAIRS, x.reshape(-1)), 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_where_entries_are_dropped(name, array, monkeypatch):
    make, call, count = MODELS[name]
    model, seen = make(), []
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: seen.append(self.p) or x)
    call(model, array(np.ones((2, 3), int)))
    assert seen == [0.25] * count
    kept = (nn.MultiheadAttention, nn.LSTM)
    assert {m.dropout for m in model.modules() if isinstance(m, kept)} <= {0.25}


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_dropped_in_evaluation(name, array, numpy):
    make, call, _ = MODELS[name]
    minae.seed(0)
    model, x = make(), array(np.arange(6).reshape(2, 3))
    assert numpy(call(model, x)).tolist() != numpy(call(model, x)).tolist()
    model.eval()
    assert numpy(call(model, x)).tolist() == numpy(call(model, x)).tolist()


def test_one_layer_has_nothing_between_layers():
    model = Seq2Seq(7, 7, 8, 6, dropout=0.25)
    assert model.reader.dropout == model.writer.dropout == 0
