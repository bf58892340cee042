import numpy as np
import pytest
from skimage.draw import polygon2mask

from celltally.density.regions import RegionSums
from celltally.types import Grid

GRID = Grid((30, 40), step=(2.0, 3.0), origin=(-0.5, -0.5))


@pytest.fixture
def maps():
    return np.random.default_rng(0).random((2, 30, 40)).astype(np.float32)


def rectangle(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float)


def covered(polygon, grid, fine=40):
    """Covered fractions of cells by brute force: many points in each cell."""
    shape = tuple(fine * side for side in grid.shape)
    points = grid.to_cells(polygon) * fine - 0.5
    mask = polygon2mask(shape, points).reshape(grid.shape[0], fine, grid.shape[1], fine)
    return mask.mean(axis=(1, 3))


def test_the_whole_image_is_the_whole_mass(maps):
    everything = rectangle(-0.5, -0.5, 59.5, 119.5)
    assert np.allclose(RegionSums(maps, GRID).over(everything), maps.sum(axis=(1, 2)), rtol=1e-6)
    far = rectangle(-1000, -500, 1000, 2000)
    assert np.allclose(RegionSums(maps, GRID).over(far), maps.sum(axis=(1, 2)), rtol=1e-6)


def test_cells_count_by_the_fraction_that_is_covered(maps):
    # Half of row 1 and whole row 2; a third of column 4 and whole column 5.
    part = rectangle(-0.5 + 3, -0.5 + 14, -0.5 + 6, -0.5 + 18)
    weights = np.zeros(GRID.shape)
    weights[1:3, 4:6] = np.outer([0.5, 1.0], [1 / 3, 1.0])
    assert np.allclose(RegionSums(maps, GRID).over(part), (maps * weights).sum(axis=(1, 2)))


@pytest.mark.parametrize("seed", range(4))
def test_any_polygon_agrees_with_many_points(maps, seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(5, 45, 9)
    star = np.stack([30 + radii * np.sin(angles), 60 + radii * np.cos(angles)], axis=1)
    expected = (maps * covered(star, GRID)).sum(axis=(1, 2))
    found = RegionSums(maps, GRID).over(star)
    assert np.allclose(found, expected, rtol=5e-3)
    assert np.allclose(RegionSums(maps, GRID).over(star[::-1]), found)


def test_parts_add_up(maps):
    sums = RegionSums(maps, GRID)
    whole = np.array([(4.2, 10.1), (50.3, 25.7), (20.9, 100.4)])
    middle = (whole[1] + whole[2]) / 2
    parts = sums.over([whole[0], whole[1], middle]) + sums.over([whole[0], middle, whole[2]])
    assert np.allclose(parts, sums.over(whole), rtol=1e-12)


@pytest.mark.parametrize(
    "beyond", [(-40, 10, -2, 30), (70, 10, 90, 30), (5, -80, 20, -2), (5, 130, 20, 190)]
)
def test_beyond_the_map_there_is_nothing(maps, beyond):
    assert np.allclose(RegionSums(maps, GRID).over(rectangle(*beyond)), 0, atol=1e-12)


@pytest.mark.parametrize("corners", [[], [(1, 1)], [(1, 1), (20, 20)], [(3, 3), (9, 9), (15, 15)]])
def test_what_has_no_area_has_no_mass(maps, corners):
    assert np.allclose(RegionSums(maps, GRID).over(np.reshape(corners, (-1, 2))), 0, atol=1e-12)


def test_corners_that_are_no_numbers(maps):
    with pytest.raises(ValueError, match="finite"):
        RegionSums(maps, GRID).over([(0, 0), (np.nan, 3), (5, 5)])
