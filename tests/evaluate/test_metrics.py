from __future__ import annotations

import math

import numpy as np
import pytest

from celltally.density import match_dots
from celltally.evaluate import count_metrics, dot_metrics

NAMES = [
    "n", "mae", "rmse", "mre", "bias", "slope", "r2", "coverage", "mean_width", "interval_score",
]  # fmt: skip


def test_figures_of_a_small_case() -> None:
    m = count_metrics([0, 10, 20], [1, 8, 23])
    assert list(m) == NAMES
    assert m["n"] == 3
    assert m["mae"] == pytest.approx(2)
    assert m["rmse"] == pytest.approx(math.sqrt(14 / 3))
    assert m["mre"] == pytest.approx((1 + 0.2 + 0.15) / 3)
    assert m["bias"] == pytest.approx(2 / 3)
    assert m["slope"] == pytest.approx(np.polyfit([0, 10, 20], [1, 8, 23], 1)[0])
    assert m["r2"] == pytest.approx(1 - 14 / 200)
    assert math.isnan(m["coverage"])


def test_intervals_are_scored_as_winkler_does() -> None:
    m = count_metrics([10, 10, 10, 10], [10, 9, 11, 10], [9, 11, 5, 10], [11, 13, 8, 10], 0.9)
    assert m["coverage"] == 0.5
    assert m["mean_width"] == pytest.approx((2 + 2 + 3 + 0) / 4)
    # 2 / 0.1 for each cell outside: one below the second, two above the third.
    assert m["interval_score"] == pytest.approx((2 + (2 + 20) + (3 + 40) + 0) / 4)


def test_images_without_an_interval_are_left_out_of_its_figures() -> None:
    m = count_metrics([10, 10], [10, 10], [9, np.nan], [12, np.nan])
    assert m["coverage"] == 1
    assert m["mean_width"] == 3
    assert math.isnan(count_metrics([1], [1], [np.nan], [np.nan])["interval_score"])


@pytest.mark.parametrize("truth", [[5.0], [5.0, 5.0, 5.0]])
def test_without_spread_there_is_no_slope(truth: list[float]) -> None:
    m = count_metrics(truth, [6.0] * len(truth))
    assert m["mae"] == 1
    assert math.isnan(m["slope"])
    assert math.isnan(m["r2"])


def test_no_images() -> None:
    m = count_metrics([], [])
    assert m["n"] == 0
    assert all(math.isnan(m[name]) for name in NAMES[1:])


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="belong together"):
        count_metrics([1, 2], [1])


def test_dots_are_pooled_over_images() -> None:
    one = match_dots([[0, 0]], [[0, 0]], 3)
    many = match_dots(np.zeros((3, 2)), [[0, 0], [90, 90]], 3)
    m = dot_metrics([one, many])
    assert m["precision"] == pytest.approx(2 / 3)
    assert m["recall"] == pytest.approx(2 / 4)
    assert m["f1"] == pytest.approx(4 / 7)
    assert m["match_radius_px"] == 3


def test_dots_of_empty_images() -> None:
    nothing = match_dots([], [], 3)
    assert dot_metrics([nothing])["f1"] == 1
    assert dot_metrics([nothing, match_dots([], [[1, 1]], 3)])["f1"] == 0
    assert math.isnan(dot_metrics([])["f1"])
