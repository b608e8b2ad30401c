"""The VQ-VAE: shapes, its law, learning, and its life as a folder."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minae
from minae import backend
from minae.io import FormatError, load, load_metadata, save
from minae.models import VQVAE
from minae.optim import Adam

SMALL = {"codes": 8, "features": 4, "hidden": 8, "residual": 4}


@pytest.fixture
def model():
    minae.seed(0)
    return VQVAE(**SMALL)


def images(count=5, side=8, channels=1):
    shape = (count, side, side, channels)
    return np.random.default_rng(1).integers(0, 256, size=shape, dtype="uint8")


def test_the_network_is_the_one_that_is_promised():
    model = VQVAE()
    assert sum(p.size for p in model.parameters()) == 226_625
    assert model.quantizer.codebook.shape == (512, 64)
    result = model(backend.asarray(np.zeros((2, 28, 28, 1), "float32")))
    assert result.images.shape == (2, 28, 28, 1)
    assert result.quantized.codes.shape == (2, 7, 7)


def test_decoding_codes_gives_the_reconstruction(model, numpy):
    x = images(300)  # more than one block
    model.loss(x[:64])
    model.eval()
    codes = model.encode(x)
    assert codes.shape == (300, 2, 2)
    whole = model(minae.data.pixels(x)).images
    np.testing.assert_allclose(numpy(model.decode(codes)), numpy(whole), rtol=1e-4, atol=1e-5)
    floats = backend.asarray(x.astype("float32") / np.float32(255))
    assert (numpy(model.encode(floats)) == numpy(codes)).all()


def test_the_loss_is_the_error_and_what_the_quantizer_adds(model, numpy):
    model.eval()
    loss, figures = model.loss(images())
    pixels = minae.data.pixels(images())
    reconstruction, quantized = model(pixels)
    error = ((numpy(reconstruction) - numpy(pixels)) ** 2).mean()
    figures = {name: float(x) for name, x in figures.items()}
    assert figures["mse"] == pytest.approx(error, rel=1e-5)
    assert loss.item() == pytest.approx(error + quantized.loss.item(), rel=1e-5)
    assert figures["active_codes"] == len(np.unique(numpy(quantized.codes)))
    assert figures["perplexity"] == pytest.approx(float(quantized.perplexity))


def test_evaluation_covers_all_images_and_changes_nothing(model, numpy):
    x = images(300)
    model.eval()
    before = model.state_dict()
    found = model.evaluate(x)
    pixels = np.asarray(x, "float64") / 255
    reconstruction = numpy(model.decode(model.encode(x))).astype("float64")
    assert found["mse"] == pytest.approx(((reconstruction - pixels) ** 2).mean(), rel=1e-5)
    counts = np.bincount(numpy(model.encode(x)).ravel(), minlength=8)
    assert found["code_counts"] == counts.tolist()
    assert found["active_codes"] == np.count_nonzero(counts)
    share = counts[counts > 0] / counts.sum()
    assert found["perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    after = model.state_dict()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_pixels_that_are_no_numbers_are_not_evaluated(model, array):
    images = array(np.full((2, 8, 8, 1), np.nan, "f"))
    with pytest.raises(ValueError, match="images hold NaN"):
        model.evaluate(images)


def test_it_learns():
    minae.seed(0)
    model = VQVAE(codes=16, features=8, hidden=16, residual=8)
    x = np.zeros((64, 8, 8, 1), "uint8")  # bars, which four codes and more can tell
    for i in range(64):
        x[i, :, i % 8] = 255
    optimizer = Adam(model.parameters(), 3e-3)
    for _ in range(250):
        loss, figures = model.loss(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(figures["mse"]) < 0.01  # drawing the mean of all would leave 0.109
    assert int(figures["active_codes"]) >= 4


def test_every_parameter_gets_a_gradient(model):
    model.loss(images())[0].backward()
    assert all(p.grad is not None and abs(p.grad).max() > 0 for p in model.parameters())


def test_an_empty_batch_has_no_codes(model):
    model.eval()
    assert model.encode(images(0)).shape == (0, 2, 2)
    assert model.decode(np.zeros((0, 2, 2), int)).shape == (0, 8, 8, 1)


@pytest.mark.parametrize("bad, error, message", [
    (images(2, 7), ValueError, r"sides divisible by 4\s+Actual: uint8\[2, 7, 7, 1\]"),
    (images(2, 8, 3), ValueError, r"images \(batch, height, width, 1\)"),
    (images()[0], ValueError, r"Expect: images .*\s+Actual: uint8\[8, 8, 1\]"),
    (None, ValueError, "Expect: images"),
    ([[1, 2]], ValueError, "Expect: images"),
    (images().astype("int64"), TypeError, "uint8"),
    (images() * 1.0, ValueError, "divide by 255"),
    (np.full((2, 8, 8, 1), np.nan), ValueError, "NaN"),
])
def test_images_that_do_not_fit(model, bad, error, message):
    with pytest.raises(error, match=message):
        model.encode(bad)
    with pytest.raises(error, match=message):
        model.loss(bad)


def test_codes_that_do_not_fit(model):
    with pytest.raises(ValueError, match=r"Expect: codes \(batch, rows, columns\)"):
        model.decode(np.zeros((2, 2), int))
    with pytest.raises(ValueError, match=r"codes must be in \[0, 8\), got 8"):
        model.decode(np.full((1, 2, 2), 8))
    with pytest.raises(TypeError, match="codes must be integers"):
        model.decode(np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="no images"):
        model.evaluate(images(0))


# --- In a folder ---------------------------------------------------------------------------------


def test_a_folder_gives_the_model_back(model, tmp_path, numpy):
    model.loss(images())
    model.save(tmp_path)
    found = VQVAE.load(tmp_path)
    assert not found.training
    codes = model.eval().encode(images())
    assert (numpy(found.encode(images())) == numpy(codes)).all()
    assert numpy(found.decode(codes)).tobytes() == numpy(model.decode(codes)).tobytes()
    assert os.listdir(tmp_path) == ["weights.npz"]


def test_a_folder_remembers_how_its_codebook_is_learned(model, tmp_path):
    options = {"codes": 12, "features": 4, "commitment": 1.0, "decay": 0.9, "revive": 0.0}
    model.quantizer = minae.vq.VectorQuantizer(**options)
    model.astype("float64").save(tmp_path)
    state = minae.random.get_state()
    found = VQVAE.load(tmp_path)
    assert minae.random.get_state() == state
    assert type(found.quantizer) is minae.vq.VectorQuantizer
    assert found.quantizer.options() == options
    assert found.config == model.config
    assert {p.dtype for p in found.parameters()} == {np.dtype("float64")}
    model.quantizer = type("Other", (minae.vq.VectorQuantizer,), {})(8, 4)
    with pytest.raises(TypeError, match="could not make a Other again"):
        model.save(tmp_path)


def test_forward_takes_floats(model):
    with pytest.raises(TypeError, match="Expect: floats"):
        model(images())


def test_impossible_sizes():
    for sizes in ({"channels": 0}, {"hidden": 1}, {"residual": 0}):
        with pytest.raises(ValueError, match="impossible"):
            VQVAE(**SMALL | sizes)


def test_a_folder_without_a_model_says_so(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights\.npz"):
        VQVAE.load(tmp_path)
    path = tmp_path / "weights.npz"
    save(path, {"x": np.zeros(3)}, {"model": "GPT"})
    with pytest.raises(FormatError, match="holds no VQVAE"):
        VQVAE.load(tmp_path)
    model.save(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(FormatError, match="truncated"):
        VQVAE.load(tmp_path)
    model.save(tmp_path)
    arrays = load(path)
    arrays.pop("encoder.0.bias")
    metadata = load_metadata(path)
    save(path, arrays, metadata)
    with pytest.raises(FormatError, match=r"missing: encoder\.0\.bias"):
        VQVAE.load(tmp_path)
    lies = (
        {}, {"codes": "many"}, {"codes": 10**12}, {"codes": 10**12, "features": 10**12},
        {"quantizer": "eval"}, {"hidden": 10**9}, {"channels": 10**12},
    )  # fmt: skip
    for lie in lies:
        config = model.config | lie if lie else {}
        save(path, model.state_dict(), metadata | {"config": config})
        with pytest.raises(FormatError, match="holds no VQVAE"):
            VQVAE.load(tmp_path)


def test_numpy_alone_encodes_and_decodes(model, tmp_path, numpy):
    """With no other package, no home, no network, and nothing that could be written."""
    model.loss(images())
    model.save(tmp_path)
    np.save(tmp_path / "images.npy", images())
    environment = {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PATH": "",
        "MINAE_KERNELS": "reference",
    }  # fmt: skip
    program = Path(__file__).with_name("embedded.py")
    done = subprocess.run([sys.executable, "-B", program, tmp_path], text=True, env=environment,
                          capture_output=True, cwd="/")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    codes = model.eval().encode(images())
    total = float(numpy(model.decode(codes)).sum())
    found, _, its_total = lines[0].rpartition(" ")
    assert found == str(numpy(codes).ravel().tolist())
    assert float(its_total) == pytest.approx(total, rel=1e-5)  # the kernels may round otherwise
    assert set(lines[1].split()) <= {"numpy", "minae", "sitecustomize", "cython_runtime"}
