from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from celltally.density import (
    density_map,
    dots_from_prediction,
    find_peaks,
    match_dots,
    prediction_candidates,
    threshold_for_count,
)
from celltally.errors import UserError
from celltally.types import Grid, Prediction

DIAMETER = 12.0
GRID = Grid((100, 120), step=(2.0, 2.0))


def prediction_of(*densities: NDArray[np.float32], grid: Grid = GRID) -> Prediction:
    return Prediction(
        density=np.stack(densities),
        variance=np.zeros((len(densities), *grid.shape), dtype=np.float32),
        grid=grid,
        image_shape=(int(grid.shape[0] * grid.step[0]), int(grid.shape[1] * grid.step[1])),
        diameter_px=DIAMETER,
        model="fake",
        model_sha256="c0ffee",
        classes=("cell", "debris")[: len(densities)],
    )


def scattered(n: int, apart: float, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    dots: list[NDArray[np.float64]] = []
    while len(dots) < n:
        dot = rng.uniform([6, 6], [192, 232])
        if all(np.hypot(*(dot - other)) >= apart for other in dots):
            dots.append(dot)
    return np.array(dots)


@pytest.mark.parametrize("sigma", [0.15, 0.2])
def test_dots_density_dots(sigma: float) -> None:
    dots = scattered(60, DIAMETER)
    density = density_map(dots, GRID, sigma * DIAMETER)
    found = dots_from_prediction(prediction_of(density))
    matching = match_dots(dots, found.yx, DIAMETER / 2)
    assert matching.f1 == 1.0
    assert matching.distances.max() < 0.5 * GRID.step[0]
    assert np.all(np.diff(found.score) <= 0)
    np.testing.assert_allclose(found.score, 1.0, atol=0.1)


def test_close_neighbours_stay_apart_and_do_not_lift_each_other() -> None:
    dots = np.array([[100.0, 100.0], [100.0, 108.0], [40.0, 40.0]])
    found = find_peaks(density_map(dots, GRID, 0.17 * DIAMETER), GRID, DIAMETER)
    assert match_dots(dots, found.yx, 1.5).f1 == 1.0
    np.testing.assert_allclose(found.score, 1.0, atol=0.1)


def test_a_lone_dot_is_placed_to_a_fraction_of_a_cell() -> None:
    for dot in ([50.3, 61.1], [51.0, 60.0], [49.6, 60.9]):
        found = find_peaks(density_map([dot], GRID, 2.0), GRID, DIAMETER)
        assert len(found) == 1
        np.testing.assert_allclose(found.yx, [dot], atol=0.1)


def test_a_dot_at_the_border_stays_in_the_image() -> None:
    found = dots_from_prediction(prediction_of(density_map([[-0.5, 100.0]], GRID, 2.0)))
    assert len(found) == 1
    assert -0.5 <= found.yx[0, 0] <= 1.5
    assert found.score[0] == pytest.approx(1.0, abs=0.1)


def test_half_a_cell_scores_half() -> None:
    density = density_map([[50, 50], [120, 120]], GRID, 2.0)
    density[:40] *= 0.5
    found = find_peaks(density, GRID, DIAMETER)
    np.testing.assert_allclose(found.score, [1.0, 0.5], atol=0.03)
    np.testing.assert_allclose(found.yx, [[120, 120], [50, 50]], atol=0.1)


def test_the_default_threshold_makes_dots_the_count_despite_ripple() -> None:
    rng = np.random.default_rng(1)
    dots = scattered(50, DIAMETER, seed=4)
    density = density_map(dots, GRID, 2.0)
    density += np.abs(rng.normal(0, 0.001, density.shape)).astype(np.float32)
    prediction = prediction_of(density)
    found = dots_from_prediction(prediction)
    candidates = prediction_candidates(prediction)[0]
    assert len(candidates) >= len(found)
    assert abs(len(found) - prediction.count) <= 0.5 or len(found) == len(candidates)
    assert match_dots(dots, found.yx, DIAMETER / 2).recall == 1.0


def test_crowded_cells_give_all_candidates() -> None:
    dots = np.random.default_rng(0).uniform(90, 110, (40, 2))
    prediction = prediction_of(density_map(dots, GRID, 2.0))
    found = dots_from_prediction(prediction)
    assert 0 < len(found) == len(prediction_candidates(prediction)[0]) < 40


@pytest.mark.parametrize("value", [0.0, 1e-9, -1e-3])
def test_no_density_no_dots(value: float) -> None:
    prediction = prediction_of(np.full(GRID.shape, value, dtype=np.float32))
    assert len(dots_from_prediction(prediction)) == 0
    assert len(dots_from_prediction(prediction, threshold=0.0)) == 0


def test_a_flat_top_is_one_dot() -> None:
    density = np.zeros(GRID.shape, dtype=np.float32)
    density[50:53, 60:63] = 1 / 9
    found = find_peaks(density, GRID, DIAMETER)
    assert len(found) == 1
    np.testing.assert_allclose(found.yx, GRID.to_image([[51.5, 61.5]]), atol=1e-6)


def test_a_grid_of_large_cells() -> None:
    grid = Grid((20, 20), step=(8.0, 8.0))
    dots = np.array([[20.0, 20.0], [100.0, 60.0]])
    found = find_peaks(density_map(dots, grid, 3.0), grid, DIAMETER)
    assert match_dots(dots, found.yx, 4.0).f1 == 1.0


def test_classes_and_identity_travel_with_the_dots() -> None:
    prediction = prediction_of(
        density_map([[50, 50], [80, 80]], GRID, 2.0), density_map([[120, 90]], GRID, 2.0)
    )
    found = dots_from_prediction(prediction)
    assert found.label.tolist() == ["cell", "cell", "debris"]
    assert set(found.source.tolist()) == {"c0ffee"}
    assert set(found.state.tolist()) == {"proposed"}
    assert len(set(found.id.tolist())) == 3


def test_the_threshold_moves_without_the_density() -> None:
    prediction = prediction_of(density_map([[50, 50], [120, 120]], GRID, 2.0) * 0.8)
    candidates = prediction_candidates(prediction)
    blank = replace(prediction, density=np.zeros_like(prediction.density))
    assert len(dots_from_prediction(blank, 0.5, candidates=candidates)) == 2
    assert len(dots_from_prediction(blank, 0.9, candidates=candidates)) == 0


def test_above_is_inclusive_and_refuses_nan() -> None:
    found = find_peaks(density_map([[50, 50], [120, 120]], GRID, 2.0), GRID, DIAMETER)
    assert len(found.above(float(found.score[1]))) == 2
    assert len(found.above(float("-inf"))) == 2
    assert len(found.above(float("inf"))) == 0
    with pytest.raises(UserError, match="nan"):
        found.above(float("nan"))


@pytest.mark.parametrize(
    ("count", "expected"), [(0, 0), (0.4, 0), (1, 1), (2, 1), (2.6, 3), (3.9, 4), (90, 4)]
)
def test_threshold_for_count(count: float, expected: int) -> None:
    scores = np.array([0.9, 0.7, 0.7, 0.2], dtype=np.float32)
    assert int((scores >= threshold_for_count(scores, count)).sum()) == expected
    assert threshold_for_count([], 5) == 0.0


def test_a_hundred_thousand_candidates() -> None:
    grid = Grid((1200, 1200), step=(2.0, 2.0))
    rows, columns = np.meshgrid(np.arange(4, 2390, 7.5), np.arange(4, 2390, 7.5), indexing="ij")
    dots = np.stack([rows.ravel(), columns.ravel()], axis=1)
    found = find_peaks(density_map(dots, grid, 1.5), grid, 8.0)
    assert len(found) == len(dots) > 100_000
    assert len(found.above(threshold_for_count(found.score, 5000))) >= 4990


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="grid"):
        find_peaks(np.zeros((3, 4)), GRID, DIAMETER)
    with pytest.raises(ValueError, match="diameter"):
        find_peaks(np.zeros(GRID.shape), GRID, 0.0)
