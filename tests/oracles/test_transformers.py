"""GPT and BERT with the weights of Hugging Face's: the same logits, and the same gradients."""

import contextlib
import io
import warnings

import numpy as np
import pytest

import minae
from minae import backend
from minae.models import BERT, GPT

torch = pytest.importorskip("torch", reason="PyTorch is an oracle: pip install minae[oracles]")

SIZE = {"vocab_size": 19, "attn_implementation": "eager"}
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, 19, (3, 10))  # 0 is padding for BERT, of which theirs learns nothing
KINDS = RNG.integers(0, 2, (3, 10))
LENGTHS = np.array([10, 4, 7])
VALID = np.arange(10) < LENGTHS[:, None]


class Padded:
    """As ``seq.Padded``."""

    values, lengths, mask = TOKENS, LENGTHS, backend.asarray(VALID)


@pytest.fixture(scope="module")
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has its own deprecations
        return pytest.importorskip(
            "transformers", reason="transformers is an oracle: pip install minae[oracles]"
        )


@contextlib.contextmanager
def silent():
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def made(kind, config):
    """A model of theirs with random weights, no bias 0 and no scale 1, and no dropout."""
    torch.manual_seed(0)
    with silent():
        model = kind(config).eval()
    for p in model.parameters():
        p.data += 0.1 * torch.randn(p.shape)
    return model


def gpt2(transformers, kind="GPT2LMHeadModel", **options):
    config = transformers.GPT2Config(
        **SIZE, n_positions=12, n_embd=16, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0,
        **options,
    )
    return made(getattr(transformers, kind), config)


def bert(transformers, kind="BertForPreTraining", **options):
    config = transformers.BertConfig(
        **SIZE, max_position_embeddings=12, hidden_size=16, num_hidden_layers=3,
        num_attention_heads=4, intermediate_size=64, **options,
    )
    return made(getattr(transformers, kind), config)


def agree(ours, theirs, tolerance, what):
    assert ours.shape == theirs.shape, what
    error = np.abs(ours - theirs).max() / max(1, np.abs(theirs).max())
    assert error <= tolerance, f"{what}: {error}"


def check_gradients(kind, ours, theirs, numpy):
    """Theirs, in a state_dict of the same names, come to ours through the same door."""
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    expected = kind.from_hugging_face(gradients, heads=4).state_dict()
    for name, p in ours.named_parameters():
        assert np.abs(expected[name]).max() > 0 or "in_proj" not in name
        agree(numpy(p.grad), expected[name], 1e-4, name)


def test_gpt2_is_theirs(transformers, tmp_path, array, numpy):
    theirs = gpt2(transformers)
    with silent():
        theirs.save_pretrained(tmp_path)
    ours = GPT.from_hugging_face(tmp_path)
    logits, expected = ours(array(TOKENS)), theirs(torch.tensor(TOKENS)).logits
    agree(numpy(logits), expected.detach().numpy(), 1e-5, "logits")

    loss, _ = ours.loss(array(TOKENS))
    target = theirs(torch.tensor(TOKENS), labels=torch.tensor(TOKENS)).loss
    assert loss.item() == pytest.approx(target.item(), rel=1e-5)
    loss.backward()
    target.backward()
    check_gradients(GPT, ours, theirs, numpy)


def test_gpt2_goes_on_as_theirs(transformers, array, numpy):
    theirs = gpt2(transformers)
    ours = GPT.from_hugging_face(theirs.state_dict(), heads=4)
    with silent(), torch.no_grad():
        expected = theirs.generate(
            torch.tensor(TOKENS[:1, :4]), max_length=12, do_sample=False, eos_token_id=None,
            attention_mask=torch.ones(1, 4), pad_token_id=0,
        )  # fmt: skip
    written, state = TOKENS[:1, :4].tolist(), ours.start(array(TOKENS[:1, :3]))
    while len(written[0]) < 12:
        logits, state = ours.step(array([written[0][-1]]), state)
        written[0].append(int(numpy(logits).argmax()))
    assert written == expected.tolist()


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_bert_is_theirs(activation, transformers, tmp_path, array, numpy):
    theirs = bert(transformers, hidden_act=activation)
    with silent():
        theirs.save_pretrained(tmp_path)
    ours = BERT.from_hugging_face(tmp_path)
    result = theirs(
        torch.tensor(TOKENS), torch.tensor(VALID), torch.tensor(KINDS),
    )  # fmt: skip
    vectors = ours(Padded(), array(KINDS))
    words, pair = ours.predict(vectors), ours.follows(ours.pool(vectors))
    agree(numpy(words), result.prediction_logits.detach().numpy(), 1e-5, "words")
    agree(numpy(pair), result.seq_relationship_logits.detach().numpy(), 1e-5, "pair")

    labels = np.where(RNG.random(TOKENS.shape) < 0.5, TOKENS, -100)
    follows = np.array([1, 0, 1])
    target = theirs(
        torch.tensor(TOKENS), torch.tensor(VALID), torch.tensor(KINDS),
        labels=torch.tensor(labels), next_sentence_label=torch.tensor(follows),
    ).loss  # fmt: skip
    places = np.tile(np.arange(10), (3, 1))
    masked = minae.models.Masked(Padded(), array(places), array(labels))
    loss, _ = ours.loss(masked, array(KINDS), array(follows))
    assert loss.item() == pytest.approx(target.item(), rel=1e-5)
    loss.backward()
    target.backward()
    check_gradients(BERT, ours, theirs, numpy)


@pytest.mark.parametrize("kind", ["GPT2Model", "BertModel", "BertForMaskedLM"])
def test_parts_of_theirs_are_read(kind, transformers, array, numpy):
    if kind == "GPT2Model":
        theirs = gpt2(transformers, kind)
        ours = GPT.from_hugging_face(theirs.state_dict(), heads=4)
        vectors = ours._read(array(TOKENS))
    else:
        theirs = bert(transformers, kind)
        state = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta"): value  # as in older files
            for name, value in theirs.state_dict().items()
        }
        ours = BERT.from_hugging_face(state, heads=4)
        vectors = ours(array(TOKENS))
    body = getattr(theirs, "bert", theirs)
    expected = body(torch.tensor(TOKENS)).last_hidden_state
    agree(numpy(vectors), expected.detach().numpy(), 1e-5, "vectors")
    if kind == "BertForMaskedLM":
        expected = theirs(torch.tensor(TOKENS)).logits
        agree(numpy(ours.predict(vectors)), expected.detach().numpy(), 1e-5, "words")
        assert numpy(ours.pooler.weight).any()  # which they lack: ours starts anew
