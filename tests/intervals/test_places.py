"""Places to check: where the count is most in doubt, and none where it was reviewed."""

from __future__ import annotations

import time

import numpy as np
import pytest

from celltally.intervals import places_to_check
from celltally.types import Grid, Prediction, Region


def prediction(density, variance=None, diameter=8.0, **changes):
    settings = {
        "density": np.asarray(density, np.float32)[None],
        "variance": np.asarray(np.zeros_like(density) if variance is None else variance,
                               np.float32)[None],
        "grid": Grid(np.shape(density), step=(2.0, 2.0)),
        "image_shape": tuple(2 * n for n in np.shape(density)),
        "diameter_px": diameter,
        "model": "fake",
        "model_sha256": "ab" * 32,
    }  # fmt: skip
    return Prediction(**(settings | changes))


def rectangle(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float)


def holds(place, y, x):
    y0, x0, y1, x1 = place.window
    return y0 <= y < y1 and x0 <= x < x1


@pytest.fixture
def maps():
    """Variance 9 at one place, 4 at another, far apart."""
    density, variance = np.zeros((100, 120)), np.zeros((100, 120))
    variance[20, 30], variance[80, 90] = 9.0, 4.0
    return density, variance


def test_the_largest_expected_error_comes_first(maps):
    found = places_to_check(prediction(*maps), np.empty((0, 2)))
    assert [place.error for place in found] == pytest.approx([3.0, 2.0])
    assert holds(found[0], 40, 60)
    assert holds(found[1], 160, 180)


def test_what_density_and_dots_do_not_agree_on_counts(maps):
    density, variance = maps
    density[50, 60] = 1.0
    one = prediction(density, variance)
    agreed = places_to_check(one, [(100.5, 120.5)])
    assert len(agreed) == 2
    found = places_to_check(one, np.empty((0, 2)))
    assert [round(place.error) for place in found] == [3, 2, 1]
    # Three dots that the density knows nothing of, beside a variance of 4: root of 4 + 9.
    found = places_to_check(one, [(100.5, 120.5), *[(160.0, 180.0)] * 3])
    assert found[0].error == pytest.approx(np.sqrt(13))
    assert holds(found[0], 160, 180)


@pytest.mark.parametrize("kind", ["reviewed", "audit", "exclude"])
def test_nothing_where_it_was_reviewed_or_excluded(maps, kind):
    box = rectangle(0, 0, 100, 120)
    (left,) = places_to_check(prediction(*maps), np.empty((0, 2)), [Region(box, kind)])
    assert holds(left, 160, 180)
    whole = rectangle(-1, -1, 300, 300)
    assert places_to_check(prediction(*maps), [(40.0, 60.0)], [Region(whole, kind)]) == []


def test_other_kinds_and_tissue(maps):
    box = rectangle(0, 0, 100, 120)
    one, none = prediction(*maps), np.empty((0, 2))
    assert len(places_to_check(one, none, [Region(box, "count")])) == 2
    (inside,) = places_to_check(one, none, [Region(box, "tissue")])
    assert holds(inside, 40, 60)


def test_places_do_not_overlap_and_are_so_many_at_most():
    rng = np.random.default_rng(0)
    found = places_to_check(
        prediction(np.zeros((150, 150)), rng.random((150, 150))), np.empty((0, 2)), most=12
    )
    assert len(found) == 12
    errors = [place.error for place in found]
    assert errors == sorted(errors, reverse=True)
    for i, one in enumerate(found):
        for other in found[:i]:
            apart = [one.window[k] >= other.window[k + 2] or one.window[k + 2] <= other.window[k]
                     for k in (0, 1)]  # fmt: skip
            assert any(apart)


def test_small_and_empty_images():
    assert places_to_check(prediction(np.zeros((3, 2))), np.empty((0, 2))) == []
    (place,) = places_to_check(prediction(np.zeros((3, 2)), np.full((3, 2), 1.0)), [(1.0, 1.0)])
    assert place.window == pytest.approx((-0.5, -0.5, 5.5, 3.5))


def test_a_large_image_is_searched_in_a_moment():
    rng = np.random.default_rng(0)
    maps = rng.random((1500, 1500), dtype=np.float32) * 0.01
    start = time.perf_counter()
    assert places_to_check(prediction(maps, maps), rng.uniform(0, 3000, (20_000, 2)))
    assert time.perf_counter() - start < 3
