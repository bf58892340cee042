"""Plain split-conformal intervals, against MAPIE's to the last digit that both define."""

from __future__ import annotations

import numpy as np
import pytest
from mapie.regression import SplitConformalRegressor
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from celltally import intervals
from celltally.types import Calibration, Grid, Prediction


class Given(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts the count that it is given."""

    n_features_in_ = 1

    def fit(self, counts: NDArray[np.float64], truths: NDArray[np.float64]) -> Given:
        return self

    def predict(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(counts)[:, 0]


def plain(errors: NDArray[np.float64]) -> Calibration:
    """The case that both know: one image a group, and the same s for all."""
    scores = tuple(sorted(np.abs(errors).tolist()))
    n = len(scores)
    return Calibration(0.0, 0.0, 1.0, scores, n, n, "2024-01-01")


def prediction(count: float, calibration: Calibration) -> Prediction:
    density = np.full((1, 2, 2), count / 4, np.float32)
    return Prediction(
        density, density, Grid((2, 2)), (2, 2), 10.0, "model", "0" * 64, calibration=calibration
    )


#: With fewer images than 1 / (1 - level) MAPIE gives no interval, and ours is inflated.
CASES = [
    *((n, level) for n in (20, 39, 57, 100, 333) for level in (0.5, 0.8, 0.9, 0.95)),
    *((n, 0.99) for n in (100, 333)),
]


@pytest.mark.parametrize(("n", "level"), CASES)
def test_the_same_intervals_as_mapie(n: int, level: float) -> None:
    rng = np.random.default_rng(n)
    counts = rng.uniform(50, 300, n).round()
    truths = (counts + rng.normal(0, 9, n)).round(2)  # of few digits, so that none is lost
    mapie = SplitConformalRegressor(Given(), confidence_level=level, prefit=True)
    mapie.conformalize(counts[:, None], truths)
    for count in (64.0, 128.0, 250.0):
        _, bounds = mapie.predict_interval(np.array([[count]]))
        ours = intervals.of(prediction(count, plain(truths - counts)), level=level)
        assert ours.kind == "calibrated"
        assert (ours.low, ours.high) == pytest.approx(bounds[0, :, 0].tolist(), rel=1e-14)


def test_the_scores_are_mapies_conformity_scores() -> None:
    rng = np.random.default_rng(3)
    counts = rng.uniform(50, 300, 40)
    truths = counts + rng.normal(0, 9, 40)
    mapie = SplitConformalRegressor(Given(), prefit=True)
    mapie.conformalize(counts[:, None], truths)
    theirs = np.sort(mapie._mapie_regressor.conformity_scores_)
    assert np.abs(theirs).tolist() == pytest.approx(plain(truths - counts).scores, rel=1e-14)
