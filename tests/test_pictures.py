"""Pictures: each function leaves a whole PNG with something on it."""

import builtins

import numpy as np
import pytest

from minae import pictures
from minae.seq import read_brackets


@pytest.fixture
def pixels():
    """Reads a picture back: an array (height, width, 4)."""
    image = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    return image.imread


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_of_images(tmp_path, array, pixels, channels):
    images = np.zeros((4, 6, 5, channels), "float32")
    images[2] = 1.5  # is clipped
    pictures.image_rows(tmp_path / "a.png", {"one": array(images), "other": array(images * 0)})
    shown = pixels(tmp_path / "a.png")
    height, width = shown.shape[:2]
    upper, lower = shown[height // 4, :, :3], shown[3 * height // 4, :, :3]
    right = slice(width // 2, None)  # beside the labels
    assert upper[right].max() > 0.95 and upper[right].min() < 0.05
    black = np.flatnonzero((upper < 0.05).all(axis=1))
    strip = upper[black[0] : black[-1]]  # from the first image to the last; one of four is white
    assert 0.15 < (strip > 0.95).all(axis=1).mean() < 0.35
    assert (lower[right] < 0.05).mean() > 0.8


def test_curves_usage_and_grids(tmp_path, array, pixels):
    pictures.curves(tmp_path / "c.png", {"loss": [1.0, 0.1, 0.01], "x": []}, log=("loss",))
    pictures.usage(tmp_path / "u.png", [5, 0, 3])
    codes = np.arange(8).reshape(2, 2, 2)
    pictures.code_grids(tmp_path / "g.png", array(np.ones((2, 8, 8, 1), "float32")), codes, 8)
    for name in "cug":
        shown = pixels(tmp_path / f"{name}.png")
        assert len(np.unique(shown.reshape(-1, 4), axis=0)) > 10


def test_attention_maps_are_dark_where_the_shares_are_large(tmp_path, array, pixels):
    weights = np.zeros((2, 3))
    weights[1, 2] = 1
    pictures.attention_maps(tmp_path / "a.png", [(["a", "b", "c"], ["x", "y"], array(weights))])
    dark = pixels(tmp_path / "a.png")[..., :3].sum(axis=2) < 1
    rows, columns = np.nonzero(dark)
    lower, right = rows > dark.shape[0] / 2, columns > dark.shape[1] * 0.6
    assert dark[dark.shape[0] // 2 :, int(dark.shape[1] * 0.7) :].mean() > 0.5
    assert (lower & right).mean() > 0.9


def test_trees_have_their_words_lines_and_colors(tmp_path, pixels):
    tree, single = read_brackets(["(S (NP (D the) (N dog)) (V barks))", "(X (Y (Z alone)))"])
    colors = ["", "#ff0000", "", "", "#0000ff"]
    pictures.trees(tmp_path / "t.png", [[("one", tree, colors), ("other", single, [""] * 3)],
                                        [("last", tree, [""] * 5)]])
    shown = pixels(tmp_path / "t.png")[..., :3]
    red, blue = ((abs(shown - color).sum(axis=2) < 0.05) for color in ((1, 0, 0), (0, 0, 1)))
    (up, left), (low, right) = (np.argwhere(mark).mean(axis=0) for mark in (red, blue))
    assert red.sum() > 20 and blue.sum() > 20
    assert up < low < len(shown) / 2 and left < right  # NP is above V, and on its left


def test_without_matplotlib_the_cure_is_named(tmp_path, monkeypatch):
    imported = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        pictures.usage(tmp_path / "u.png", [1, 2])
