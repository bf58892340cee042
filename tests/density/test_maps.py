from __future__ import annotations

import math

import numpy as np
import pytest

from celltally.density import density_map
from celltally.types import Grid

EVERYWHERE = (-math.inf, -math.inf, math.inf, math.inf)


def integral(y: float, x: float, sigma: float, box: tuple[float, float, float, float]) -> float:
    def along(c: float, a: float, b: float) -> float:
        return 0.5 * (math.erf((b - c) / sigma / 2**0.5) - math.erf((a - c) / sigma / 2**0.5))

    return along(y, box[0], box[2]) * along(x, box[1], box[3])


def test_a_cell_holds_the_exact_integral() -> None:
    grid = Grid((20, 30), step=(2.0, 1.5))
    density = density_map([[17.3, 21.9]], grid, 2.4)
    i, j = 9, 14
    top, left = -0.5 + i * 2.0, -0.5 + j * 1.5
    expected = integral(17.3, 21.9, 2.4, (top, left, top + 2.0, left + 1.5))
    assert density.dtype == np.float32
    assert density[i, j] == pytest.approx(expected, rel=3e-4)


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0, 3.7])
def test_the_sum_is_the_number_of_dots_also_at_borders(step: float) -> None:
    rng = np.random.default_rng(3)
    grid = Grid((41, 67), step=(step, step))
    far = np.array(grid.shape) * step
    dots = rng.uniform(-0.5, far - 0.5, (300, 2))
    corners = np.array([[-0.5, -0.5], [far[0] - 0.5, far[1] - 0.5], [-0.5, 10.0]])
    density = density_map(np.vstack([dots, corners]), grid, 2.1)
    assert density.sum(dtype=np.float64) == pytest.approx(303, abs=1e-4)
    assert density.min() >= 0


def test_a_lone_dot_has_its_centroid_where_it_is() -> None:
    grid = Grid((40, 40), step=(2.0, 2.0))
    density = density_map([[33.3, 40.1]], grid, 5.0)
    rows, columns = np.indices(grid.shape) + 0.5
    centroid = grid.to_image([[(density * rows).sum(), (density * columns).sum()]])
    np.testing.assert_allclose(centroid, [[33.3, 40.1]], atol=1e-3)


def test_dots_outside_the_grid_contribute_nothing() -> None:
    assert density_map([[-1.0, 5.0], [5.0, 10.0]], Grid((10, 10)), 2.0).sum() == 0
    assert density_map([], Grid((10, 10)), 2.0).sum() == 0


def test_a_crop_is_the_same_part_of_the_whole_density() -> None:
    rng = np.random.default_rng(5)
    dots = rng.uniform(-0.5, 59.5, (150, 2))
    sigma = rng.uniform(0.5, 4.0, 150)
    whole = density_map(dots, Grid((60, 60)), sigma)
    extent = (-0.5, -0.5, 59.5, 59.5)
    for y, x in [(0, 0), (20, 10), (40, 40), (0, 40)]:
        crop = density_map(dots, Grid((20, 20), origin=(y - 0.5, x - 0.5)), sigma, extent=extent)
        np.testing.assert_allclose(crop, whole[y : y + 20, x : x + 20], atol=1e-6)


def test_true_tails_with_an_infinite_extent() -> None:
    left = density_map([[10.0, -0.5]], Grid((20, 20)), 1.5, extent=EVERYWHERE)
    assert left.sum() == pytest.approx(0.5, abs=1e-5)
    outside = density_map([[10.0, -2.0]], Grid((20, 20)), 1.5, extent=EVERYWHERE)
    assert outside.sum() == pytest.approx(0.5 * math.erfc(1.0 / 2**0.5), abs=1e-3)
    assert density_map([[10.0, -7.0]], Grid((20, 20)), 1.5, extent=EVERYWHERE).sum() == 0


def test_a_grid_larger_than_the_image_gets_nothing_outside() -> None:
    density = density_map([[9.0, 9.0]], Grid((16, 16)), 2.0, extent=(-0.5, -0.5, 9.5, 9.5))
    assert density[:10, :10].sum() == pytest.approx(1.0, abs=1e-6)
    assert density[10:].sum() == density[:, 10:].sum() == 0


def test_sigma_much_smaller_and_larger_than_the_grid() -> None:
    for sigma in (1e-3, 1e3):
        density = density_map([[5.2, 5.2]], Grid((10, 10)), sigma)
        assert density.sum() == pytest.approx(1.0, abs=1e-6)


def test_many_dots_in_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    dots = np.random.default_rng(0).uniform(0, 50, (200, 2))
    whole = density_map(dots, Grid((52, 52)), 1.3)
    monkeypatch.setattr("celltally.density.maps._CHUNK_CELLS", 1000)
    np.testing.assert_allclose(density_map(dots, Grid((52, 52)), 1.3), whole, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), [1.0, 2.0]])
def test_bad_sigmas_are_refused(sigma: object) -> None:
    with pytest.raises(ValueError, match="sigma"):
        density_map([[1.0, 1.0]], Grid((4, 4)), sigma)  # type: ignore[arg-type]


def test_positions_must_be_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        density_map([[np.nan, 1.0]], Grid((4, 4)), 1.0)
