"""The greatest values of a map that comes in parts are those of the whole."""

import numpy as np
import pytest

from celltally.explain.greatest import Greatest

SHAPE = (37, 53)


@pytest.fixture(params=["smooth", "tied", "constant"])
def values(request):
    rng = np.random.default_rng(0)
    field = rng.random(SHAPE, dtype=np.float32)
    if request.param == "tied":
        field = np.round(4 * field) / 4
    return np.full(SHAPE, 2.0, np.float32) if request.param == "constant" else field


def in_parts(values, percentile, side=10):
    top = Greatest(values.shape, percentile)
    for row in range(0, values.shape[0], side):
        for column in range(0, values.shape[1], side):
            top.add(values[row : row + side, column : column + side], row, column)
    return top


@pytest.mark.parametrize("percentile", [0.0, 50.0, 99.0, 99.93, 100.0])
def test_the_percentile_is_exact(values, percentile):
    expected = np.percentile(values.astype(float), percentile)
    assert in_parts(values, percentile).percentile == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("percentile", [90.0, 99.0])
def test_what_lies_above_is_all_there(values, percentile):
    top = in_parts(values, percentile)
    threshold = top.percentile
    cells, found = top.above(threshold)
    expected = np.argwhere(values > threshold)
    assert cells.tolist() == expected.tolist()
    assert found.tolist() == values[tuple(expected.T)].tolist()


def test_little_is_held(values):
    top = in_parts(values, 99.0)
    assert len(top._values) <= 2 * (0.01 * values.size + 2)


def test_the_best_are_apart():
    values = np.zeros(SHAPE, np.float32)
    values[5, 5], values[5, 7], values[20, 30], values[22, 30] = 4.0, 3.0, 2.0, 1.0
    best = in_parts(values, 99.0).best(3, apart=2.0)
    assert best[:2] == [((5, 5), 4.0), ((20, 30), 2.0)]
    assert len(best) == 3
    assert in_parts(values, 99.0).best(3, apart=1.0)[1] == ((5, 7), 3.0)
