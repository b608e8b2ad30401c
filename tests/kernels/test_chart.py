"""The compiled charts: what the definition makes of them, in every semiring."""

import numpy as np
import pytest

from minae.kernels import reference
from minae.seq import BinaryTrees, LinearChain, semirings

pytestmark = pytest.mark.kernels


@pytest.fixture(scope="session")
def fast(compiled):
    return compiled("chart")


def charts(dtype, size=3):
    """Ragged batches, some of whose scores are -inf: of trees, and of chains of both kinds."""
    rng = np.random.default_rng(0)

    def drawn(*shape):
        scores = size * rng.standard_normal(shape)
        return np.where(rng.random(shape) < 0.1, -np.inf, scores).astype(dtype)

    lengths = [9, 8, 0, 1, 2, 9]
    yield BinaryTrees(drawn(6, 9, 9), lengths)
    yield LinearChain(drawn(6, 9, 4), drawn(6, 8, 4, 4), drawn(4), drawn(4), lengths)
    yield LinearChain(drawn(6, 9, 4), drawn(4, 4), lengths=lengths)


def in_every_semiring(chart, call):
    """``call(name, cells, levels, semiring)`` of all that are compiled."""
    rng, cells = np.random.default_rng(1), chart.cells
    items = sum(level.size for level in chart.levels)
    uniforms, values = rng.random((5, len(cells), items)), rng.standard_normal(cells.shape)
    both = [semirings.Log(), semirings.Max(), semirings.Expectation(values)]
    for semiring in (*both, semirings.Entropy()):
        yield call("chart_total", cells, chart.levels, semiring)
    for semiring in (*both, semirings.Sample(uniforms)):
        yield call("chart_parts", cells, chart.levels, semiring)


@pytest.mark.parametrize("size", [3, 60, 300, 1e20])  # from 60 on, sums leave the range
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_compute_what_the_definition_does(fast, dtype, size):
    for chart in charts(dtype, size):
        found, wanted = (
            list(in_every_semiring(chart, lambda name, *args, m=m: getattr(m, name)(*args)))
            for m in (fast, reference)
        )
        assert np.isfinite(wanted[0]).sum() > 2  # there are structures
        for a, b in zip(found, wanted):
            assert a.dtype == b.dtype == dtype and a.shape == b.shape
            close = 1e-6 if dtype == "float32" else 1e-12
            np.testing.assert_allclose(a, b, rtol=close, atol=close)


def test_no_number_of_threads_changes_a_bit(fast, threads):
    for chart in charts("float64"):
        found = set()
        for count in (1, 2, 3):
            threads(count)
            results = in_every_semiring(chart, lambda name, *args: getattr(fast, name)(*args))
            found.add(b"".join(np.ascontiguousarray(r).tobytes() for r in results))
        assert len(found) == 1


@pytest.mark.parametrize("uniform", [0.0, 1 - 2.0**-53])
def test_the_ends_of_the_uniforms_draw_what_is_possible(fast, uniform):
    for chart in charts("float64"):
        items = sum(level.size for level in chart.levels)
        draw = semirings.Sample(np.full((1, len(chart.cells), items), uniform))
        for module in (fast, reference):
            parts = module.chart_parts(chart.cells, chart.levels, draw)[0]
            possible = np.where(parts > 0, chart.cells, 0) > -np.inf
            assert possible.all()
            exists = chart.log_partition() > -np.inf
            np.testing.assert_array_equal(parts[:, :-1].any(axis=1), exists)


def test_what_a_semiring_holds_must_fit_the_chart(fast):
    chart = next(charts("float64"))
    cells, levels = chart.cells, chart.levels
    for module in (fast, reference):
        for values in (cells[:, :-1], cells[:-1]):
            for function in (module.chart_total, module.chart_parts):
                with pytest.raises(ValueError):
                    function(cells, levels, semirings.Expectation(values))
        with pytest.raises(ValueError):
            module.chart_parts(cells, levels, semirings.Sample(np.zeros((2, len(cells), 5))))


def test_the_levels_must_fit_the_chart(fast):
    for chart in charts("float64"):
        for module in (fast, reference):
            for cells in (chart.cells[:, :-1], chart.cells[:, :0]):
                with pytest.raises(IndexError):
                    module.chart_total(cells, chart.levels, semirings.Log())
            with pytest.raises(IndexError):
                module.chart_total(chart.cells[:, :0], (), semirings.Log())


def test_any_layout_and_other_dtypes(fast):
    chart = next(charts("float64"))
    wanted = reference.chart_parts(chart.cells, chart.levels, semirings.Log())
    for cells in (np.asfortranarray(chart.cells), np.repeat(chart.cells, 2, axis=1)[:, ::2]):
        found = fast.chart_parts(cells, chart.levels, semirings.Log())
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    half = chart.cells.astype("float16")
    assert fast.chart_total(half, chart.levels, semirings.Log()).dtype == "float16"
