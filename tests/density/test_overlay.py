"""Unions, intersections and differences of polygons, against brute force."""

import numpy as np
import pytest
from skimage.draw import polygon2mask

from celltally.density.overlay import Overlay
from celltally.density.regions import RegionSums
from celltally.types import Grid

GRID = Grid((30, 40), step=(2.0, 3.0), origin=(-0.5, -0.5))
FINE = 20


def rectangle(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float)


def star(seed, n=9):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, n))
    radii, middle = rng.uniform(5, 30, n), rng.uniform((15, 30), (45, 90))
    return middle + radii[:, None] * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def tangle(seed, n=12):
    """Draw a polygon that crosses itself many times."""
    return np.random.default_rng(seed).uniform((0, 0), (58, 118), (n, 2))


def mask(polygon):
    """Where a polygon's inside is, by the even–odd rule, on a fine grid."""
    shape = tuple(FINE * side for side in GRID.shape)
    return polygon2mask(shape, GRID.to_cells(polygon) * FINE - 0.5)


@pytest.fixture
def maps():
    return np.random.default_rng(0).random((2, 30, 40)).astype(np.float32)


def brute(maps, meant):
    covered = meant.reshape(GRID.shape[0], FINE, GRID.shape[1], FINE).mean(axis=(1, 3))
    return (maps * covered).sum(axis=(1, 2))


def area(outline):
    (y0, x0), (y1, x1) = outline[:, 0].T, outline[:, 1].T
    return float((0.5 * (x0 + x1) * (y1 - y0)).sum())


def either(within):
    return within.any(axis=0)


@pytest.mark.parametrize("draw", [star, tangle])
@pytest.mark.parametrize("seed", range(3))
def test_overlapping_regions_are_counted_once(maps, draw, seed):
    polygons = [draw(10 * seed + i) for i in range(4)]
    outline = Overlay([polygons]).outline(either)
    expected = brute(maps, np.any([mask(p) for p in polygons], axis=0))
    np.testing.assert_allclose(RegionSums(maps, GRID).along(outline), expected, rtol=5e-3)


@pytest.mark.parametrize(
    ("keep", "meant"),
    [
        (lambda w: w[0] & ~w[1], lambda a, b, c: a & ~b),
        (lambda w: w[0] & w[1], lambda a, b, c: a & b),
        (lambda w: w[0] & w[2] & ~w[1], lambda a, b, c: a & c & ~b),
        (lambda w: (w[0] ^ w[1]) | w[2], lambda a, b, c: (a ^ b) | c),
    ],
)
@pytest.mark.parametrize("draw", [star, tangle])
def test_any_combination_agrees_with_masks(maps, keep, meant, draw):
    groups = [[draw(1), draw(2)], [draw(3)], [draw(4), draw(5)]]
    expected = brute(maps, meant(*(np.any([mask(p) for p in g], axis=0) for g in groups)))
    outline = Overlay(groups).outline(keep)
    np.testing.assert_allclose(RegionSums(maps, GRID).along(outline), expected, rtol=5e-3)


@pytest.mark.parametrize("around", [1, -1])
def test_a_polygon_alone_is_itself_either_way_round(maps, around):
    polygon = star(7)[::around]
    outline = Overlay([[polygon]]).outline(either)
    sums = RegionSums(maps, GRID)
    np.testing.assert_allclose(sums.along(outline), sums.over(polygon), rtol=1e-9)


def test_both_loops_of_an_eight_are_inside():
    eight = np.array([(0.0, 0.0), (10.0, 10.0), (0.0, 10.0), (10.0, 0.0)])
    assert area(Overlay([[eight]]).outline(either)) == pytest.approx(50)


@pytest.mark.parametrize("shift", [0.0, 1e-13, 1e-9, 1e-5])
@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_sides_that_coincide_or_nearly_do(shift, turn):
    turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    one = rectangle(10, 10, 30, 50) @ turned
    beside = rectangle(10, 50 + shift, 30, 70) @ turned
    same, half = one[::-1] + shift, rectangle(10, 10, 20, 50 - shift) @ turned
    overlay = Overlay([[one, same, half], [beside]])
    assert area(overlay.outline(lambda w: w[0])) == pytest.approx(800, abs=1e-2)
    assert area(overlay.outline(either)) == pytest.approx(1200, abs=1e-2)
    assert area(overlay.outline(lambda w: w[0] & w[1])) == pytest.approx(0, abs=1e-2)
    assert area(Overlay([[one], [same]]).outline(lambda w: w[0] & ~w[1])) < 1e-2


def test_a_shared_corner_is_no_trouble():
    fans = [np.array([(20, 20), (20 + 9 * np.sin(a), 20 + 9 * np.cos(a)),
                      (20 + 9 * np.sin(a + 0.5), 20 + 9 * np.cos(a + 0.5))])
            for a in np.arange(12) * 0.5]  # fmt: skip
    each = sum(area(Overlay([[fan]]).outline(either)) for fan in fans)
    assert area(Overlay([fans]).outline(either)) == pytest.approx(each)


def test_many_that_lie_apart():
    boxes = [rectangle(10 * i, 1e4 * j, 10 * i + 9.5, 1e4 * j + 7) for i in range(15)
             for j in range(14)]  # fmt: skip
    assert area(Overlay([boxes]).outline(either)) == pytest.approx(len(boxes) * 9.5 * 7)


@pytest.mark.parametrize("corners", [[], [(1, 1)], [(1, 1), (9, 9)], [(1, 1), (5, 5), (9, 9)]])
def test_what_has_no_area_has_no_outline(corners):
    assert area(Overlay([[np.reshape(corners, (-1, 2))]]).outline(either)) == pytest.approx(0)
    assert Overlay([[], []]).outline(either).shape == (0, 2, 2)


@pytest.mark.parametrize(
    "corners",
    [
        [(0, 0), (np.inf, 3), (5, 5)],
        [(0, 0, 0), (0, 9, 0), (0, 9, 9), (0, 0, 9)],  # of a layer with time
        [0, 0, 9, 9, 0, 9],
    ],
)
def test_corners_that_are_no_pairs_of_numbers(corners):
    with pytest.raises(ValueError, match=r"pairs .* of finite numbers"):
        Overlay([[corners]])
