"""A count that is stated for a reviewed region takes the place of its dots and its density."""

from __future__ import annotations

import numpy as np
import pytest

from celltally.intervals import corrected, measure, of
from celltally.types import Calibration, Grid, Prediction, Region, RegionBin, RegionCalibration

BIN = RegionBin(0.0, tuple(np.linspace(0.1, 2.0, 40)), 40)
CALIBRATION = Calibration(
    alpha=1.0, beta=0.0, gamma=0.0, scores=tuple(np.linspace(0.1, 1.0, 40)), n=40, groups=40,
    date="2026-01-01", regions=RegionCalibration(alpha=4.0, beta=0.0, gamma=0.0, bins=(BIN,)),
)  # fmt: skip
SHAPE = (60, 90)


def rectangle(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float)


LEFT, RIGHT = rectangle(-0.5, -0.5, 59.5, 29.5), rectangle(-0.5, 29.5, 59.5, 89.5)
EVERYTHING = rectangle(-0.5, -0.5, 59.5, 89.5)


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


def density_in(prediction, polygon):
    return measure(prediction, (), (), within=[[polygon]]).density


@pytest.mark.parametrize("kind", ["reviewed", "audit"])
def test_the_stated_number_counts_and_the_rest_gives_the_interval(prediction, dots, kind) -> None:
    found = corrected(prediction, dots, [Region(LEFT, kind, stated=37)])
    rest = of(prediction, 0.95, RIGHT)
    assert found.count == pytest.approx(37 + density_in(prediction, RIGHT))
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (37 + rest.low, 37 + rest.high)
    )
    assert found.n_dots == 150
    assert found.count != pytest.approx(corrected(prediction, dots, [Region(LEFT, kind)]).count)


@pytest.mark.parametrize("kind", ["count", "tissue"])
def test_a_number_for_a_region_that_is_not_reviewed_changes_nothing(prediction, dots, kind) -> None:
    assert corrected(prediction, dots, [Region(LEFT, kind, stated=37)]).count == prediction.count


def test_a_region_that_is_asked_for_whole_has_its_number_exactly(prediction, dots) -> None:
    for within in ([[LEFT]], [[rectangle(-0.5, -0.5, 59.5, 29.5)], [EVERYTHING]]):
        found = corrected(prediction, dots, [Region(LEFT, "audit", stated=37)], within=within)
        assert (found.count, found.interval.kind) == (37, "exact")
        assert (found.interval.low, found.interval.high) == (37, 37)
    found = corrected(prediction, dots, [Region(EVERYTHING, "audit", stated=12.5)])
    assert (found.count, found.interval.kind) == (12.5, "exact")


def test_parts_that_cover_a_region_add_up_to_its_number(prediction, dots) -> None:
    stated = [Region(LEFT, "audit", stated=37)]
    parts = [rectangle(-0.5, -0.5, 20.3, 29.5), rectangle(20.3, -0.5, 59.5, 29.5)]
    found = [measure(prediction, dots, stated, within=[[part]]) for part in parts]
    assert sum(part.count for part in found) == pytest.approx(37)
    share = density_in(prediction, parts[0]) / density_in(prediction, LEFT)
    assert found[0].count == pytest.approx(37 * share)
    for part in found:  # nobody said anything of these parts: they are the model's
        assert (part.stated, part.reviewed) == (0, 0)
        assert part.open_px == pytest.approx(part.area_px)
        assert part.interval(prediction).kind != "exact"
        assert part.variance > 0
    beside = measure(prediction, dots, stated, within=[[RIGHT]])
    assert beside.count == pytest.approx(density_in(prediction, RIGHT))


def test_what_is_excluded_takes_its_share_of_the_number(prediction, dots) -> None:
    out = rectangle(9.5, -0.5, 29.5, 29.5)
    regions = [Region(LEFT, "audit", stated=37), Region(out, "exclude")]
    found = measure(prediction, dots, regions)
    share = 1 - density_in(prediction, out) / density_in(prediction, LEFT)
    assert found.count == pytest.approx(37 * share + density_in(prediction, RIGHT))
    assert found.open_px == pytest.approx(40 * 30 + 60 * 60)
    gone = measure(prediction, dots, [regions[0], Region(EVERYTHING, "exclude")])
    assert gone.count == 0


def test_dots_of_a_reviewed_region_in_it_count_once(prediction, dots) -> None:
    inner = rectangle(9.5, 9.5, 29.5, 29.5)
    inside = int(((dots >= 9.5) & (dots < 29.5)).all(axis=1).sum())
    assert inside > 3
    for regions in (
        [Region(LEFT, "audit", stated=37), Region(inner, "reviewed")],
        [Region(inner, "reviewed"), Region(LEFT, "audit", stated=37)],
    ):
        found = measure(prediction, dots, regions, within=[[LEFT]])
        assert (found.reviewed, found.stated) == (inside, 37 - inside)
        assert found.open_px == 0
    low = measure(prediction, dots, [Region(LEFT, "audit", stated=1), Region(inner, "reviewed")])
    assert (low.reviewed, low.stated) == (inside, 0)  # the dots are there to be seen
    covered = [Region(inner, "audit", stated=99), Region(LEFT, "reviewed")]
    found = measure(prediction, dots, covered, within=[[LEFT]])
    assert found.count == int((dots[:, 1] < 29.5).sum())


def test_two_numbers_for_the_same_place_count_once(prediction, dots) -> None:
    same = [Region(LEFT, "audit", stated=37), Region(LEFT.copy(), "reviewed", stated=50)]
    assert measure(prediction, dots, same, within=[[LEFT]]).count == 37
    upper, lower = rectangle(-0.5, -0.5, 39.5, 29.5), rectangle(19.5, -0.5, 59.5, 29.5)
    regions = [Region(upper, "audit", stated=20), Region(lower, "audit", stated=30)]
    found = measure(prediction, dots, regions, within=[[LEFT]])
    rest = density_in(prediction, rectangle(39.5, -0.5, 59.5, 29.5))
    assert found.stated == 20
    assert found.density == pytest.approx(30 * rest / density_in(prediction, lower))
    assert found.open_px == pytest.approx(20 * 30)


def test_without_density_the_area_shares_the_number_out(prediction, dots) -> None:
    from dataclasses import replace

    nothing = replace(prediction, density=np.zeros_like(prediction.density))
    upper = rectangle(-0.5, -0.5, 19.5, 29.5)
    found = measure(nothing, dots, [Region(LEFT, "audit", stated=30)], within=[[upper]])
    assert found.count == pytest.approx(10)
    assert measure(nothing, dots, [Region(LEFT, "audit", stated=30)]).count == 30


def test_a_region_that_reaches_beyond_the_image_is_whole(prediction, dots) -> None:
    wide = rectangle(-20, -20, 80, 29.5)
    found = measure(prediction, dots, [Region(wide, "audit", stated=37)])
    assert found.stated == 37
    assert found.open_px == pytest.approx(60 * 60)
