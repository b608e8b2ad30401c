"""CUDA's elementwise kernels equal their definitions."""

import numpy as np
import pytest

from minae.kernels import reference


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 31, 256, 1000])
def test_relu_is_the_reference(cuda, array, numpy, dtype, size):
    x = array(np.random.default_rng(0).standard_normal(size), dtype)
    x[size // 2] = np.nan
    out = cuda("updates").relu(x)
    np.testing.assert_array_equal(numpy(out), numpy(reference.relu(x)))
    assert out.dtype == dtype
