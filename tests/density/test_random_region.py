"""Random squares that keep clear of others, and how their pixels are cut out."""

from __future__ import annotations

import numpy as np
import pytest

from celltally.density.random_region import corners_of, cut_out, draw_apart, draw_region
from celltally.density.regions import RegionSums
from celltally.types import Grid

SHAPE = (200, 300)
LEFT = np.array([(-0.5, -0.5), (-0.5, 149.5), (199.5, 149.5), (199.5, -0.5)])
TRIANGLE = np.array([(-0.5, -0.5), (-0.5, 299.5), (199.5, -0.5)])


@pytest.fixture
def sums() -> RegionSums:
    return RegionSums(np.full((1, *SHAPE), 0.004, dtype=np.float32), Grid(SHAPE))


def test_the_same_seed_draws_the_same_region(sums) -> None:
    def draw(seed, avoid=()):
        return draw_apart(sums, SHAPE, 8.0, np.random.default_rng(seed), avoid)

    assert draw(1) == draw(1) != draw(2)
    assert draw(1) == draw_region(sums, SHAPE, 8.0, np.random.default_rng(1))


@pytest.mark.parametrize("seed", range(20))
def test_it_keeps_clear_of_what_is_to_be_avoided(sums, seed) -> None:
    rng = np.random.default_rng(seed)
    assert draw_apart(sums, SHAPE, 8.0, rng, [LEFT])[1] >= 150
    _, _, bottom, right = draw_apart(sums, SHAPE, 8.0, rng, [TRIANGLE])
    top, left, _, _ = draw_apart(sums, SHAPE, 8.0, rng, [TRIANGLE])
    assert top / 200 + left / 300 >= 1 - 1e-6  # all of it lies below the long side
    assert bottom <= 200
    assert right <= 300


@pytest.mark.parametrize("seed", range(5))
def test_it_lies_in_the_tissue_and_clear_of_the_rest_of_it(sums, seed) -> None:
    rng = np.random.default_rng(seed)
    upper = np.array(corners_of((0, 0, 110, 300)))
    top, left, bottom, right = draw_apart(sums, SHAPE, 8.0, rng, [LEFT], [upper])
    assert left >= 150
    assert bottom <= 110
    assert right <= 300
    assert top >= 0


def test_where_all_is_to_be_avoided_the_least_overlap_is_taken(sums) -> None:
    whole = np.array(corners_of((0, 0, 200, 300)))
    box = draw_apart(sums, SHAPE, 8.0, np.random.default_rng(0), [whole])
    assert box[0] < box[2]
    but_a_strip = np.array(corners_of((0, 0, 200, 290)))  # narrower than any region
    box = draw_apart(sums, SHAPE, 8.0, np.random.default_rng(0), [but_a_strip])
    assert box[3] > 290


def test_pixels_come_with_a_ring_of_context_as_far_as_there_is_one() -> None:
    pixels = np.arange(200 * 300).reshape(SHAPE)
    shown = cut_out(pixels, (100, 0, 140, 40), 10.0)
    top, left, bottom, right = shown.frame
    assert (top, left, bottom, right) == (15, 0, 55, 40)
    assert shown.origin == (85, 0)
    np.testing.assert_array_equal(shown.pixels[top:bottom, left:right], pixels[100:140, :40])
    assert shown.pixels.shape == (70, 55)
    flat = cut_out(np.zeros(SHAPE), (0, 0, 200, 300), 10.0)
    assert flat.limits[0] < flat.limits[1]
    assert flat.frame == (0, 0, 200, 300)
