"""The count after corrections: what is reviewed, what is excluded, and what is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.path import Path
from skimage.draw import polygon2mask

from celltally.errors import UserError
from celltally.intervals import corrected, measure, of
from celltally.types import Calibration, Grid, Prediction, Region, RegionBin, RegionCalibration

BIN = RegionBin(0.0, tuple(np.linspace(0.1, 2.0, 40)), 40)
CALIBRATION = Calibration(
    alpha=1.0, beta=0.0, gamma=0.0, scores=tuple(np.linspace(0.1, 1.0, 40)), n=40, groups=40,
    date="2026-01-01", regions=RegionCalibration(alpha=4.0, beta=0.0, gamma=0.0, bins=(BIN,)),
)  # fmt: skip
SHAPE = (60, 90)


@pytest.fixture
def prediction() -> Prediction:
    density = np.random.default_rng(0).random((1, 30, 45)).astype(np.float32) / 5
    return Prediction(
        density=density, variance=density / 10, grid=Grid((30, 45), step=(2.0, 2.0)),
        image_shape=SHAPE, diameter_px=3.0, model="m", model_sha256="", calibration=CALIBRATION,
    )  # fmt: skip


@pytest.fixture
def dots() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (150, 2)) * SHAPE - 0.5


def rectangle(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float)


def star(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    middle, radii = rng.uniform((15, 20), (45, 70)), rng.uniform(8, 30, (9, 1))
    return middle + radii * np.stack([np.sin(angles), np.cos(angles)], axis=1)


EVERYTHING = rectangle(-0.5, -0.5, 59.5, 89.5)


def mask(polygon, fine=20):
    """Covered fractions of the density's cells, and of the image, by many points."""
    cells = (np.asarray(polygon) + 0.5) / 2 * fine - 0.5
    return polygon2mask((30 * fine, 45 * fine), cells)


def covered(meant, fine=20):
    return meant.reshape(30, fine, 45, fine).mean(axis=(1, 3))


def hit(yx, polygons):
    """Whether dots lie in any polygon, by another program."""
    return np.any([Path(p).contains_points(yx) for p in polygons], axis=0)


def test_an_image_without_corrections_is_what_was_predicted(prediction, dots) -> None:
    for regions in ([], [Region(star(0), "count"), Region(star(1), "tissue")]):
        found = corrected(prediction, dots, regions, 0.9)
        assert found.count == prediction.count
        assert found.interval == of(prediction, 0.9)
        assert (found.n_dots, found.area_px) == (150, pytest.approx(60 * 90))


def test_a_rectangle_without_corrections_is_the_interval_of_a_region(prediction, dots) -> None:
    box = rectangle(10.3, 5, 40, 61.2)
    found = corrected(prediction, dots, [], 0.95, within=[[box]])
    expected = of(prediction, 0.95, box)
    assert found.interval.kind == "calibrated"
    assert found.interval.reason == ""
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
    assert found.area_px == pytest.approx(29.7 * 56.2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("inner", [False, True])
def test_agrees_with_masks(prediction, dots, seed, inner) -> None:
    excluded, reviewed = [star(10 + seed), star(20 + seed)], [star(30 + seed), star(40 + seed)]
    within = [[star(50 + seed), star(60 + seed)], [star(70 + seed)]] if inner else []
    regions = [Region(p, "exclude") for p in excluded]
    regions += [Region(reviewed[0], "reviewed"), Region(reviewed[1], "audit")]
    found = measure(prediction, dots, regions, within=within)

    part = np.ones((600, 900), dtype=bool)
    for group in within:
        part &= np.any([mask(p) for p in group], axis=0)
    part &= ~np.any([mask(p) for p in excluded], axis=0)
    seen = np.any([mask(p) for p in reviewed], axis=0)
    rest = covered(part & ~seen)
    dots_in = np.ones(len(dots), dtype=bool)
    for group in within:
        dots_in &= hit(dots, group)
    dots_in &= ~hit(dots, excluded)
    assert found.density == pytest.approx(float((prediction.density[0] * rest).sum()), rel=5e-3)
    assert found.variance == pytest.approx(found.density / 10, rel=1e-5)
    assert found.reviewed == (dots_in & hit(dots, reviewed)).sum()
    assert found.n_dots == dots_in.sum()
    assert found.area_px == pytest.approx(part.sum() / 100, rel=5e-3, abs=0.5)
    assert found.open_px == pytest.approx((part & ~seen).sum() / 100, rel=5e-3, abs=0.5)
    assert found.count == found.reviewed + found.density


def test_the_interval_comes_from_the_rest_alone(prediction, dots) -> None:
    left, right = rectangle(-0.5, -0.5, 59.5, 29.5), rectangle(-0.5, 29.5, 59.5, 89.5)
    found = corrected(prediction, dots, [Region(left, "reviewed")])
    rest = of(prediction, 0.95, right)
    inside = int((dots[:, 1] < 29.5).sum())
    assert found.interval.low == pytest.approx(inside + rest.low)
    assert found.interval.high == pytest.approx(inside + rest.high)
    assert found.interval.kind == "calibrated"
    assert "approximate" in found.interval.reason
    without = corrected(prediction, dots, [Region(left, "exclude")])
    assert without.interval.high == pytest.approx(rest.high)
    assert without.n_dots == 150 - inside


def test_where_all_is_reviewed_it_is_exact(prediction, dots) -> None:
    for reviewed in ([EVERYTHING], [rectangle(-9, -9, 70, 40), rectangle(-0.5, 30, 59.5, 200)]):
        found = corrected(prediction, dots, [Region(p, "reviewed") for p in reviewed])
        assert found.count == 150
        assert (found.interval.low, found.interval.high) == (150, 150)
        assert (found.interval.kind, found.interval.reason) == ("exact", "")
    box = rectangle(10, 10, 30, 40)
    inner = corrected(prediction, dots, [Region(box, "audit")], within=[[box]])
    assert inner.interval.kind == "exact"
    assert inner.count == inner.n_dots > 0


def test_even_an_image_unlike_all_seen_is_exact_where_it_was_reviewed(prediction, dots) -> None:
    strange = replace(
        prediction, calibration=replace(CALIBRATION, ranges={"contrast": (0.1, 1.0)}),
        statistics={"contrast": 0.01},
    )  # fmt: skip
    some = [Region(rectangle(0, 0, 30, 30), "reviewed")]
    assert corrected(strange, dots, some).interval.kind == "not calibrated"
    assert corrected(strange, dots, [Region(EVERYTHING, "reviewed")]).interval.kind == "exact"
    bare = corrected(replace(prediction, calibration=None), dots, some).interval
    assert np.isnan([bare.low, bare.high]).all()


def test_what_is_excluded_stays_so_where_it_was_reviewed(prediction, dots) -> None:
    everything = [Region(EVERYTHING, "reviewed"), Region(EVERYTHING, "exclude")]
    found = corrected(prediction, dots, everything)
    assert (found.count, found.n_dots, found.area_px) == (0, 0, pytest.approx(0, abs=1e-6))
    assert (found.interval.low, found.interval.high, found.interval.kind) == (0, 0, "exact")


def test_beyond_the_image_there_is_neither_count_nor_area(prediction, dots) -> None:
    far = measure(prediction, dots, [], within=[[rectangle(100, 100, 200, 200)]])
    assert (far.density, far.n_dots, far.area_px) == (0, 0, 0)
    half = measure(prediction, dots, [], within=[[rectangle(-50, -0.5, 29.5, 89.5)]])
    assert half.area_px == pytest.approx(30 * 90)
    hardly = corrected(prediction, dots, [Region(rectangle(100, 100, 200, 200), "exclude")])
    assert hardly.count == pytest.approx(prediction.count)


def test_a_level_that_is_none(prediction, dots) -> None:
    with pytest.raises(UserError, match="level of 2"):
        corrected(prediction, dots, [Region(EVERYTHING, "reviewed")], 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "other"}, "unknown kind 'other'"),
        ({"polygon": [(0, 0), (np.nan, 1), (2, 2)]}, "finite"),
        ({"polygon": [0, 1, 2]}, "pairs"),
    ],
)
def test_a_region_that_is_none(changes, words) -> None:
    with pytest.raises(ValueError, match=words):
        Region(**{"polygon": rectangle(0, 0, 1, 1), "kind": "count", **changes})
