"""Intervals of regions: which scores they are given, and how often they hold the truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from celltally.intervals import calibrate, of
from celltally.intervals.conformal import MIN_GROUPS
from celltally.types import Calibration, Grid, Prediction, RegionBin, RegionCalibration

BINS = (
    RegionBin(0.0, tuple(np.linspace(0.1, 2.0, 40)), 40),
    RegionBin(5.0, tuple(np.linspace(0.1, 4.0, 40)), 40),
)
CALIBRATION = Calibration(
    alpha=1.0, beta=0.0, gamma=0.0, scores=tuple(np.linspace(0.1, 1.0, 40)), n=40, groups=40,
    date="2026-01-01", regions=RegionCalibration(alpha=4.0, beta=0.0, gamma=0.0, bins=BINS),
)  # fmt: skip


@pytest.fixture
def prediction() -> Prediction:
    """A tenth of a cell and a hundredth of variance in each of 20 × 30 pixels."""
    density = np.full((1, 20, 30), 0.1, dtype=np.float32)
    return Prediction(
        density=density, variance=density / 10, grid=Grid((20, 30)), image_shape=(20, 30),
        diameter_px=3.0, model="m", model_sha256="", calibration=CALIBRATION,
    )  # fmt: skip


def rectangle(height: float, width: float, y: float = -0.5, x: float = -0.5):
    return [(y, x), (y, x + width), (y + height, x + width), (y + height, x)]


@pytest.mark.parametrize(
    ("region", "count", "quantile"),
    [(rectangle(4, 10), 4.0, 1.95), (rectangle(10, 10, 3.25, 7.5), 10.0, 3.9)],
)
def test_scores_and_scale_are_those_of_regions(prediction, region, count, quantile) -> None:
    interval = of(prediction, 0.95, region)
    half = quantile * math.sqrt(4 * count / 10)
    assert interval.kind == "calibrated"
    assert interval.reason == ""
    assert interval.low == pytest.approx(max(count - half, 0), rel=1e-2)
    assert interval.high == pytest.approx(count + half, rel=1e-2)
    assert of(prediction).high == pytest.approx(60 + 0.977 * math.sqrt(6), rel=1e-2)


def test_a_drawn_shape_is_approximate(prediction) -> None:
    triangle = of(prediction, 0.95, [(0, 0), (10, 0), (0, 10)])
    assert triangle.kind == "calibrated"
    assert triangle.reason == "approximate, as it was calibrated on rectangles"
    turned = [(5, 0), (10, 5), (5, 10), (0, 5)]
    assert of(prediction, 0.95, turned).reason == triangle.reason


def test_without_calibrated_regions_it_is_provisional(prediction) -> None:
    bare = replace(prediction, calibration=replace(CALIBRATION, regions=None))
    interval = of(bare, 0.95, rectangle(4, 10))
    assert interval.kind == "provisional"
    assert "whole images only" in interval.reason
    few = replace(CALIBRATION.regions, bins=(RegionBin(0.0, (0.1, 1.0), 2),))
    interval = of(
        replace(prediction, calibration=replace(CALIBRATION, regions=few)), 0.5, rectangle(4, 10)
    )
    assert interval.kind == "provisional"
    assert "2 independent groups" in interval.reason


def test_beyond_the_image_nothing_is_counted(prediction) -> None:
    interval = of(prediction, 0.95, rectangle(5, 5, 100, 100))
    assert (interval.low, interval.high) == (0, 0)


def images(rng, n):
    """Rectangles in images that are harder than others: predicted, true, variance."""
    count = np.exp(rng.uniform(-1, 6, (n, 50)))
    spread = rng.choice([0.5, 1.0, 2.0], (n, 1)) * np.sqrt(0.2 * count + (0.05 * count) ** 2)
    truth = np.maximum(count + spread * rng.standard_normal((n, 1)) * 0.7
                       + spread * rng.standard_normal((n, 50)) * 0.7, 0)  # fmt: skip
    return [np.stack(rows, axis=1) for rows in zip(count, truth, 0.2 * count, strict=True)]


def test_coverage_of_rectangles_in_new_images() -> None:
    rng = np.random.default_rng(3)
    hits: dict[float, list[float]] = {}
    for _ in range(6):
        seen = images(rng, 60)
        whole = np.array([rows.sum(axis=0) for rows in seen])
        calibration = calibrate(
            whole[:, 0], whole[:, 1], whole[:, 2], [str(i) for i in range(60)], regions=seen
        )
        regions = calibration.regions
        assert regions is not None
        assert [b.low for b in regions.bins] == [0, 1, 5, 20, 60, 200]
        assert all(b.groups >= MIN_GROUPS for b in regions.bins)
        for rows in images(rng, 60):
            for count, truth, variance in rows:
                density = np.array([[[count]]], dtype=np.float32)
                prediction = Prediction(
                    density=density, variance=np.full_like(density, variance), grid=Grid((1, 1)),
                    image_shape=(1, 1), diameter_px=3.0, model="m", model_sha256="",
                    calibration=calibration,
                )  # fmt: skip
                interval = of(prediction, 0.95, rectangle(1, 1))
                low = [b.low for b in regions.bins if b.low <= count][-1]
                hits.setdefault(low, []).append(interval.low <= truth <= interval.high)
    for low, inside in hits.items():
        assert 0.93 < np.mean(inside) < 0.985, low


def test_few_rectangles_share_a_bin() -> None:
    rng = np.random.default_rng(0)
    seen = images(rng, 10)
    count = np.array([rows[:, 0].sum() for rows in seen])
    calibration = calibrate(
        count, count, count, [str(i) for i in range(10)],
        regions=[*seen[:5], *([np.empty((0, 3))] * 5)],
    )  # fmt: skip
    (only,) = calibration.regions.bins
    assert (only.low, only.groups) == (0.0, 5)
    none = calibrate(count, count, count, [str(i) for i in range(10)])
    assert none.regions is None
