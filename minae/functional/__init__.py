"""Functions composed of ops: their gradients, of any order, follow by themselves.

They take Tensors or plain arrays. Features are the last axis: images are (batch, height, width,
channels), sequences (batch, time, features).
"""

from .activation import glu, log_sigmoid, selu
from .attention import attention, causal_mask
from .convolution import conv1d, conv2d, conv_transpose1d, conv_transpose2d, reflect_pad
from .gradient import checkpoint, reverse_gradient, stop_gradient
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_similarity,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
)
from .mappings import embedding, linear
from .noise import dropout
from .normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from .pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
    pixel_shuffle,
    upsample_nearest,
)
from .rearranging import (
    index_add,
    index_update,
    masked_fill,
    one_hot,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
    sort,
    split,
    take_along_axis,
    top_k,
)
from .statistics import mean, norm, std, var
