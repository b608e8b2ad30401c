"""The primitives: every function that the engine differentiates, closed under differentiation."""

from .activation import (
    elu,
    gelu,
    gelu_gradient,
    gelu_tanh,
    gelu_tanh_gradient,
    leaky_relu,
    mish,
    silu,
)
from .attention import attention, self_attention
from .conv import Grid, conv2d, conv2d_input, conv2d_weight
from .elementwise import (
    abs,
    add,
    astype,
    clip,
    cos,
    div,
    erf,
    exp,
    expm1,
    gate,
    log,
    log1mexp,
    log1p,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    relu,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    sub,
    tanh,
    where,
)
from .linalg import affine, einsum, matmul
from .normalization import layer_norm, standardize, standardize_gradient
from .recurrent import gru, lstm
from .reduction import (
    cross_entropy,
    cross_entropy_gradient,
    cumsum,
    log_softmax,
    log_softmax_gradient,
    logsumexp,
    max,
    min,
    softmax,
    softmax_gradient,
    sum,
)
from .shape import (
    broadcast_to,
    concatenate,
    flip,
    getitem,
    pad,
    plain_index,
    reshape,
    scatter_add,
    stack,
    sum_to,
    swapaxes,
    transpose,
)
from .windows import max_windows, put_windows, spread_windows, sum_windows, take_windows
