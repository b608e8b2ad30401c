"""Sequences of several lengths in one array."""

import numpy as np
import pytest

from minae.seq import pad


def test_values_lengths_and_mask(numpy):
    padded = pad([[1, 2, 3], [], [4]], value=9)
    values, lengths, mask = map(numpy, (*padded, padded.mask))
    assert values.tolist() == [[1, 2, 3], [9, 9, 9], [4, 9, 9]] and values.dtype == "int64"
    assert lengths.tolist() == [3, 0, 1] and lengths.dtype == "int64"
    assert mask.tolist() == [[True] * 3, [False] * 3, [True, False, False]]


@pytest.mark.parametrize(
    "sequences, shape, dtype",
    [
        ([[]], (1, 0), "int64"),
        ([[0.5], [1.0, 2.0]], (2, 2), "float32"),
        ([np.zeros((2, 4)), np.ones((3, 4))], (2, 3, 4), "float64"),
        ([np.zeros((2, 4), "float16"), []], (2, 2, 4), "float16"),
        ([np.zeros(2, "uint8"), np.ones(1, "int32")], (2, 2), "int64"),
        (([i] * i for i in (1, 2)), (2, 2), "int64"),
        ([[True, False], [True]], (2, 2), "bool"),
    ],
)
def test_shapes_and_dtypes(sequences, shape, dtype, numpy):
    values = numpy(pad(sequences).values)
    assert (values.shape, values.dtype) == (shape, dtype)


def test_what_cannot_stand_side_by_side_is_refused():
    with pytest.raises(ValueError, match="no sequence to pad"):
        pad([])
    for wrong in ([np.zeros((2, 3)), np.zeros((2, 4))], [1, [2]]):
        with pytest.raises(ValueError, match=r"must be \(time, \.\.\.\), alike but for time"):
            pad(wrong)
    with pytest.raises(ValueError, match=r"must be several, .* put the one into \[\.\.\.\]"):
        pad([1, 2])
    for text in ("ab", ["a", "bc"], [["a"], ["b", "c"]], [[], ["a"]], [b"ab"]):
        with pytest.raises(TypeError, match="not of text: encode it first"):
            pad(text)
    for value in (0.5, float("nan")):
        with pytest.raises(ValueError, match=f"int64 cannot be filled up with {value}"):
            pad([[1, 2], [3]], value)
