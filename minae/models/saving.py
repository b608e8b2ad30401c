"""Models in folders: the weights, and what makes another model for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from ..backend import describe
from ..io import FormatError, read, save
from ..nn import Module
from ..ops import gelu, gelu_tanh, relu
from ..random import get_state, set_state

WEIGHTS = "weights.npz"
ACTIVATIONS = {"relu": relu, "gelu": gelu, "gelu_tanh": gelu_tanh}  # by the name in a file


class Saved(Module):
    """A model that can be written into a folder and made again from it.

    ``config`` holds the arguments that made it, so that ``type(model)(**config)`` is another one
    like it.
    """

    config: dict[str, Any]
    _shapes: ClassVar[Callable[..., Iterator[tuple[str, tuple[int, ...]]]]]
    """Of a config: names and shapes of arrays, enough of them to tell how large the model is."""

    def save(self, folder: Any) -> None:
        """Write ``weights.npz`` into a ``folder``, which must exist.

        Raises TypeError for an activation of one's own, which ``load`` could not find again.
        """
        config = dict(self.config)
        if "activation" in config:
            names = {function: name for name, function in ACTIVATIONS.items()}
            if config["activation"] not in names:
                raise TypeError(f"load() finds the activations {', '.join(ACTIVATIONS)} alone")
            config["activation"] = names[config["activation"]]
        metadata = {"model": type(self).__name__, "config": config}
        save(Path(folder) / WEIGHTS, self.state_dict(), metadata)

    @classmethod
    def load(cls, folder: Any) -> Self:
        """The model that ``save`` or a training run left in a ``folder``, for use (``eval()``).

        Raises FileNotFoundError without one there, FormatError for a damaged or foreign file.
        """
        path = Path(folder) / WEIGHTS
        arrays, metadata = read(path)
        try:
            if metadata.get("model") != cls.__name__:
                raise ValueError("it was saved by something else")
            config = dict(metadata["config"])
            for name, shape in cls._shapes(**config):  # no file makes us build more than it holds
                if arrays[name].shape != shape:
                    raise ValueError(f"{name} is {describe(arrays[name])}, its config says {shape}")
            if "activation" in config:
                config["activation"] = ACTIVATIONS[config["activation"]]
            model = unseeded(cls, **config).astype(arrays[name].dtype)
            model.load_state_dict(arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path} holds no {cls.__name__}: {error}") from error
        return model.eval()


def unseeded(make: Any, *args: Any, **options: Any) -> Any:
    """What ``make`` makes of these; the numbers that it draws are not missed elsewhere."""
    state = get_state()
    try:
        return make(*args, **options)
    finally:
        set_state(state)
