"""Dots in polygons, and the unbiased counting frame."""

import numpy as np
import pytest
from matplotlib.path import Path

from celltally.density.inside import in_frame, inside, inside_any, is_upright


def rectangle(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_another_program(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 30))
    polygon = 50 + rng.uniform(5, 50, (30, 1)) * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    dots = rng.uniform(-20, 120, (2000, 2))
    expected = Path(polygon).contains_points(dots)
    assert 0 < expected.sum() < 2000
    np.testing.assert_array_equal(inside(dots, polygon), expected)
    np.testing.assert_array_equal(inside(dots, polygon[::-1]), expected)


def test_where_a_polygon_crosses_itself_what_is_drawn_filled_is_inside():
    eight = [(0, 0), (10, 10), (0, 10), (10, 0)]
    assert inside([(2, 1), (2, 9), (8, 1), (8, 9), (5, 1)], eight).all()
    assert not inside([(1, 5), (9, 5)], eight).any()


def test_upper_and_left_side_belong_to_it():
    sides = [(0, 5), (5, 0), (10, 5), (5, 10), (0, 0), (10, 10), (0, 10), (10, 0)]
    expected = [True, True, False, False, True, False, False, False]
    assert inside(sides, rectangle(0, 0, 10, 10)).tolist() == expected


def test_tiles_share_the_dots_out():
    dots = np.random.default_rng(0).integers(0, 40, (500, 2)).astype(float)
    tiles = [rectangle(y, x, y + 10, x + 10) for y in (0, 10, 20, 30) for x in (0, 10, 20, 30)]
    assert (np.sum([inside(dots, tile) for tile in tiles], axis=0) == 1).all()
    assert inside_any(dots, tiles).all()
    assert not inside_any(dots, []).any()


def test_no_dots_and_no_corners():
    assert inside([], rectangle(0, 0, 1, 1)).shape == (0,)
    assert inside([(1, 1)], np.empty((0, 2))).tolist() == [False]


def test_which_polygons_are_upright():
    assert is_upright(rectangle(0, 0, 3, 5))
    assert is_upright(rectangle(0, 0, 3, 5)[::-1])
    assert not is_upright([(0, 0), (3, 5), (0, 5), (3, 0)])  # crosses itself
    assert not is_upright([(5, 0), (10, 5), (5, 10), (0, 5)])
    assert not is_upright([(0, 0), (0, 5), (3, 5)])


FRAME = rectangle(20, 20, 60, 80)


@pytest.mark.parametrize(
    ("dot", "counts"),
    [
        ((40, 50), True),
        ((18, 50), True),  # reaches over the upper side
        ((40, 17), True),  # over the left one
        ((14, 50), False),  # touches nothing
        ((40, 77), False),  # touches the right side
        ((58, 50), False),  # the lower one
        ((65.1, 50), False),
        ((40, 75), True),  # stops at the right side
        ((18, 78), False),  # above the frame, touches the prolonged right side
        ((62, 18), False),  # lower left corner
        ((18, 18), True),  # upper left corner
    ],
)
def test_the_counting_frame(dot, counts):
    assert in_frame([dot], FRAME, 10.0).tolist() == [counts]


def test_frames_side_by_side_count_every_cell_once():
    dots = np.random.default_rng(1).uniform(30, 90, (3000, 2))
    frames = [rectangle(y, x, y + 20, x + 30) for y in range(0, 140, 20) for x in range(0, 150, 30)]
    taken = np.sum([in_frame(dots, frame, 9.0) for frame in frames], axis=0)
    assert (taken == 1).all()
