import numpy as np
import pytest

from celltally.explain.contributions import (
    Contributions,
    contributions_at,
    contributions_over,
    contributions_table,
)
from celltally.explain.similarity import similarities
from celltally.predict import predict

SETTINGS = {"diameter_px": 12.0, "device": "cpu"}


@pytest.fixture
def pixels(draw_cells):
    return draw_cells([(20, 30), (50, 60), (40, 12)], (70, 90), rng=np.random.default_rng(0))


def test_at_a_place_they_make_the_density(tiny_model, pixels):
    found = similarities(tiny_model, pixels, **SETTINGS)
    density = predict(tiny_model, pixels, **SETTINGS).density[0]
    parts = contributions_at(found, (20.2, 30.2))
    assert parts.total == pytest.approx(density[10, 15], rel=1e-4, abs=1e-6)
    assert parts.kinds == ("cell", "cell", "background", "background")
    np.testing.assert_allclose(parts.values, found.values[:, 10, 15] * found.weights, rtol=1e-6)


def test_over_a_region_they_make_its_count(tiny_model, pixels):
    found = similarities(tiny_model, pixels, **SETTINGS)
    density = predict(tiny_model, pixels, **SETTINGS).density[0]
    square = [(9.5, 19.5), (9.5, 49.5), (29.5, 49.5), (29.5, 19.5)]
    parts = contributions_over(found, square)
    assert parts.total == pytest.approx(density[5:15, 10:25].sum(dtype=float), rel=1e-4)
    assert parts.bias == pytest.approx(150 * found.bias)


def test_the_table_adds_up():
    weights = np.array([0.5, -1.0], np.float32)
    kinds = ("cell", "background")
    whole = Contributions((0, 1), kinds, weights, np.array([30.0, -8.0]), -2.0)
    there = Contributions((0, 1), kinds, weights, np.array([0.3, -0.1]), -0.05)
    table = contributions_table(whole, -0.05, [((12.0, 7.5), there)])
    assert list(table.columns) == ["prototype", "kind", "weight", "contribution", "at_12_7.5"]
    assert table["kind"].tolist() == ["cell", "background", "bias"]
    assert table["prototype"].isna().tolist() == [False, False, True]
    assert table["weight"].tolist() == [0.5, -1.0, -0.05]
    assert table["contribution"].sum() == whole.total == 20.0
    assert table["at_12_7.5"].sum() == pytest.approx(0.15)
