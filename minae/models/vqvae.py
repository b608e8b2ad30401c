"""VQ-VAE: images as grids of codes (van den Oord, Vinyals & Kavukcuoglu 2017).

An encoder shrinks the image four times and gives each place of the grid a vector, the quantizer
replaces it by the nearest of K codewords, and a decoder draws the image from the codewords. The
gradient of the decoder passes straight through the quantizer to the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..backend import Array, count, describe, expect, xp
from ..data import pixels
from ..engine import entries, no_grad
from ..faults import settle
from ..functional import mse_loss
from ..io import FormatError, read, save
from ..nn import Conv2d, ConvTranspose2d, Module, Sequential
from ..ops import relu
from ..random import get_state, set_state
from ..vq import Quantized, VectorQuantizer, VectorQuantizerEMA, perplexity

QUANTIZERS = {"VectorQuantizer": VectorQuantizer, "VectorQuantizerEMA": VectorQuantizerEMA}
WEIGHTS = "weights.npz"
BLOCK = 256  # images encoded at once where there are many


class Reconstruction(NamedTuple):
    """What a VQVAE returns in training."""

    images: Any  # (batch, height, width, channels)
    quantized: Quantized


class Residual(Module):
    """``x + conv1x1(relu(conv3x3(relu(x))))``, the block of He et al. 2016 without its norms."""

    def __init__(self, features: int, inner: int) -> None:
        self.spread = Conv2d(features, inner, 3, padding=1, bias=False)
        self.mix = Conv2d(inner, features, 1, bias=False)

    def forward(self, x: Any) -> Any:
        """(batch, height, width, features) to the same shape."""
        return x + self.mix(self.spread(relu(x), relu=True))


class VQVAE(Module):
    """Images (batch, height, width, channels) with pixels in [0, 1], sides divisible by 4.

    ``hidden`` and ``residual`` are the channels of the body and of its residual blocks; there are
    ``codes`` codewords of ``features`` entries, learned by moving averages with the
    ``commitment`` and ``decay`` of ``minae.vq.VectorQuantizerEMA``. To learn them by gradient,
    ``model.quantizer = minae.vq.VectorQuantizer(codes, features)``.
    """

    def __init__(
        self, channels: int = 1, codes: int = 512, features: int = 64, hidden: int = 64,
        residual: int = 32, commitment: float = 0.25, decay: float = 0.99,
    ) -> None:
        if min(channels, residual) < 1 or hidden < 2:
            raise ValueError(f"impossible {channels=}, {hidden=}, {residual=}")
        self.channels, self.hidden, self.residual = channels, hidden, residual
        self.encoder = Sequential(
            Conv2d(channels, hidden // 2, 4, stride=2, padding=1), relu,
            Conv2d(hidden // 2, hidden, 4, stride=2, padding=1), relu,
            Conv2d(hidden, hidden, 3, padding=1),
            Residual(hidden, residual), Residual(hidden, residual), relu,
            Conv2d(hidden, features, 1),
        )  # fmt: skip
        self.quantizer: VectorQuantizer = VectorQuantizerEMA(
            codes, features, commitment=commitment, decay=decay
        )
        self.decoder = Sequential(
            Conv2d(features, hidden, 3, padding=1),
            Residual(hidden, residual), Residual(hidden, residual), relu,
            ConvTranspose2d(hidden, hidden // 2, 4, stride=2, padding=1), relu,
            ConvTranspose2d(hidden // 2, channels, 4, stride=2, padding=1),
        )  # fmt: skip

    def forward(self, images: Any) -> Reconstruction:
        """Reconstruct float images; in training the codebook learns too."""
        if self._fitting(images).dtype.kind != "f":
            why = "the dtype does not fit: see data.pixels"
            raise TypeError(expect("floats in [0, 1], or bytes", images, why=why))
        latents = self.encoder(images)  # (batch, height / 4, width / 4, features)
        quantized = self.quantizer(latents)
        return Reconstruction(self.decoder(quantized.values), quantized)

    def loss(self, images: Any) -> tuple[Any, dict[str, Any]]:
        """What to minimise, a Tensor, and what to report of it: numbers by name, in arrays or
        Tensors without dimensions, which nobody need wait for."""
        images = pixels(self._fitting(images))
        reconstruction, quantized = self(images)
        error = mse_loss(reconstruction, images)
        counts = count(quantized.codes.ravel(), len(self.quantizer.codebook))
        figures = {
            "mse": error.detach(), "vq_loss": quantized.loss.detach(),
            "perplexity": quantized.perplexity, "active_codes": xp.count_nonzero(counts),
        }
        return error + quantized.loss, figures

    # --- Use -----------------------------------------------------------------------------------

    @no_grad()
    def encode(self, images: Any) -> Array:
        """Images to codes (batch, height / 4, width / 4); unsigned bytes count as 0 to 255."""
        self._fitting(images)
        return xp.concatenate([self._codes(pixels(block)) for block in _blocks(images)])

    @no_grad()
    def decode(self, codes: Any) -> Array:
        """Codes (batch, rows, columns) to images (batch, 4 rows, 4 columns, channels)."""
        if len(xp.shape(codes)) != 3:
            raise ValueError(expect("codes (batch, rows, columns)", codes))
        return xp.concatenate([self._drawn(block) for block in _blocks(codes)])

    @no_grad()
    def evaluate(self, images: Any) -> dict[str, Any]:
        """Over all images: mean squared error, perplexity, active codes, and how often each code
        was used. Changes no state. Raises ValueError where there are no images."""
        if not self._fitting(images).size:
            raise ValueError("there are no images to evaluate")
        counts = xp.zeros(len(self.quantizer.codebook), "int64")
        total = 0.0
        for block in _blocks(images):
            block = pixels(block)
            codes = self._codes(block)
            difference = self._drawn(codes) - block
            total += float((difference * difference).sum(dtype="float64"))
            counts += count(codes.ravel(), len(counts))
        settle()
        return {
            "mse": total / images.size, "perplexity": float(perplexity(counts)),
            "active_codes": int(xp.count_nonzero(counts)), "code_counts": counts.tolist(),
        }

    def _codes(self, images: Array) -> Array:
        return self.quantizer.encode(self.encoder(self._fitting(images)))

    def _drawn(self, codes: Array) -> Array:
        return entries(self.decoder(self.quantizer.decode(codes)))

    def _fitting(self, images: Any) -> Any:
        channels = self.channels
        shape: tuple[int, ...] = getattr(images, "shape", ())
        fits = len(shape) == 4 and shape[3] == channels
        if not fits or any(side < 4 or side % 4 for side in shape[1:3]):
            wanted = f"images (batch, height, width, {channels}), sides divisible by 4"
            raise ValueError(expect(wanted, images))
        return images

    # --- In a folder ---------------------------------------------------------------------------

    @property
    def config(self) -> dict[str, Any]:
        """What makes another VQVAE like this one; its state is not in it."""
        return {
            "channels": self.channels, "hidden": self.hidden, "residual": self.residual,
            "quantizer": type(self.quantizer).__name__, **self.quantizer.options(),
        }

    def save(self, folder: Any) -> None:
        """Write ``weights.npz`` into a folder, which must exist.

        Raises TypeError for a quantizer of another class than the two of ``minae.vq``.
        """
        if type(self.quantizer) not in QUANTIZERS.values():
            raise TypeError(f"load() could not make a {type(self.quantizer).__name__} again")
        metadata = {"model": "VQVAE", "config": self.config}
        save(Path(folder) / WEIGHTS, self.state_dict(), metadata)

    @classmethod
    def load(cls, folder: Any) -> VQVAE:
        """The model that ``save`` or a training run left in a folder, for use (``eval()``).

        Raises FileNotFoundError without one there, FormatError for a damaged or foreign file.
        """
        path = Path(folder) / WEIGHTS
        arrays, metadata = read(path)
        try:
            if metadata.get("model") != "VQVAE":
                raise ValueError("it was saved by something else")
            model = cls._made_for(arrays, **metadata["config"])
            model.load_state_dict(arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path} holds no VQVAE: {error}") from error
        model.eval()
        return model

    @classmethod
    def _made_for(
        cls, arrays: dict[str, Any], channels: int, hidden: int, residual: int, quantizer: str,
        codes: int, features: int, **options: Any,
    ) -> VQVAE:
        """An untrained model of this config, once the arrays show that it is theirs: no file makes
        us build more than it holds."""
        shapes = {
            "encoder.0.weight": (4, 4, channels, hidden // 2),
            "encoder.2.weight": (4, 4, hidden // 2, hidden),
            "encoder.4.weight": (3, 3, hidden, hidden),
            "encoder.5.spread.weight": (3, 3, hidden, residual),
            "quantizer.codebook": (codes, features),
        }
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name} is {describe(arrays[name])}, its config says {shape}")
        state = get_state()  # the numbers drawn here are not missed elsewhere
        model = cls(channels, codes, features, hidden, residual)
        model.quantizer = QUANTIZERS[quantizer](codes, features, **options)
        set_state(state)
        return model.astype(arrays["quantizer.codebook"].dtype)


def _blocks(x: Any) -> Iterator[Any]:
    """``x`` in pieces of ``BLOCK`` along the first axis, at least one."""
    return (x[start : start + BLOCK] for start in range(0, max(1, len(x)), BLOCK))
