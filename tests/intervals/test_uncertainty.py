"""Where the count is least sure."""

from dataclasses import replace

import numpy as np
import pytest

from celltally.intervals import of, uncertainty
from celltally.intervals.uncertainty import LEVEL
from celltally.types import Calibration, Grid, Prediction, RegionBin, RegionCalibration

#: Of a disc of 10 px in cells of 2 px.
AREA = np.pi / 4 * 25
BINS = (
    RegionBin(0.0, tuple(np.linspace(0.1, 2.0, 40)), 40),
    RegionBin(1.0, tuple(np.linspace(0.1, 4.0, 40)), 40),
)
CALIBRATION = Calibration(
    alpha=1.0, beta=0.0, gamma=0.0, scores=tuple(np.linspace(0.1, 1.0, 40)), n=40, groups=40,
    date="2026-01-01",
    regions=RegionCalibration(alpha=2.0, beta=0.01, gamma=0.1, bins=BINS),
)  # fmt: skip


@pytest.fixture
def prediction():
    """Sparse above, crowded below; the variance is largest in a corner."""
    density = np.full((1, 40, 60), 0.01, dtype=np.float32)
    density[:, 20:] = 0.2
    variance = density / 10
    variance[:, :10, :10] = 1.0
    return Prediction(
        density=density, variance=variance, grid=Grid((40, 60), step=(2.0, 2.0)),
        image_shape=(80, 120), diameter_px=10.0, model="m", model_sha256="",
        calibration=CALIBRATION,
    )  # fmt: skip


@pytest.mark.parametrize("cell", [(5, 5), (10, 40), (32, 30)])
def test_it_is_the_half_width_of_the_interval_around_a_place(prediction, cell):
    y, x = (2 * i + 0.5 for i in cell)
    turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    around = np.stack([y + 5 * np.sin(turn), x + 5 * np.cos(turn)], axis=1)
    interval = of(prediction, LEVEL, around)
    middle = (interval.high + interval.low) / 2
    half = interval.high - middle if interval.low > 0 else None
    found = uncertainty(prediction)[cell]
    if half is not None:
        assert found == pytest.approx(half, rel=1e-2)
    else:
        count = prediction.density[0, cell[0], cell[1]] * AREA
        assert found == pytest.approx(interval.high - count, rel=1e-2)


def test_it_is_largest_where_the_model_is_least_sure(prediction):
    found = uncertainty(prediction)
    assert found.shape == (40, 60)
    assert found.dtype == np.float32
    assert found[5, 5] == pytest.approx(found.max(), rel=1e-5)
    assert found[5, 5] > 5 * found[10, 40]
    assert found[30, 30] > found[10, 40] > 0


def test_without_regions_and_without_a_calibration(prediction):
    whole = replace(prediction, calibration=replace(CALIBRATION, regions=None))
    quantile = CALIBRATION.scores[27]
    expected = quantile * np.sqrt(AREA * prediction.variance[0, 30, 30])
    assert uncertainty(whole)[30, 30] == pytest.approx(expected, rel=1e-3)
    bare = replace(prediction, calibration=None)
    assert uncertainty(bare)[30, 30] == pytest.approx(
        np.sqrt(AREA * prediction.variance[0, 30, 30]), rel=1e-3
    )


def test_a_cell_smaller_than_the_grid(prediction):
    assert np.isfinite(uncertainty(replace(prediction, diameter_px=0.5))).all()
