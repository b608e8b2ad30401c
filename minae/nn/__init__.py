"""Layers: functions with the parameters and buffers that they need.

What needs none stays a function of ``minae``, activations, pooling and losses among them, and
stands in a ``Sequential`` as it is.
"""

from .attention import KeyValueCache, MultiheadAttention, RelativeBias
from .conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from .embedding import Embedding
from .linear import Linear
from .module import Module
from .norm import (
    BatchNorm1d,
    BatchNorm2d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    LayerNorm,
    RMSNorm,
)
from .recurrent import GRU, LSTM, GRUCell, LSTMCell
from .sequential import Dropout, Sequential
from .transformer import (
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "GRU", "LSTM", "BatchNorm1d", "BatchNorm2d", "Conv1d", "Conv2d", "ConvTranspose1d",
    "ConvTranspose2d", "Dropout", "Embedding", "GRUCell", "GroupNorm", "InstanceNorm1d",
    "InstanceNorm2d", "KeyValueCache", "LSTMCell", "LayerNorm", "Linear", "Module",
    "MultiheadAttention", "RMSNorm", "RelativeBias", "Sequential", "TransformerDecoder",
    "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer",
]  # fmt: skip
