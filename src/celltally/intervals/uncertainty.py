"""Where in an image the count is least sure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from celltally.intervals.aleatoric import Scale
from celltally.intervals.conformal import score_quantile
from celltally.intervals.difficulty import difficulty
from celltally.types import Prediction

__all__ = ["LEVEL", "standard_error", "uncertainty"]

#: Coverage of one standard deviation to both sides of a normal distribution.
LEVEL = 0.6827


def uncertainty(prediction: Prediction) -> NDArray[np.float32]:
    """Give the standard error of the count in the neighbourhood of every place.

    The neighbourhood is a disc as wide as a cell. Its density and variance are summed,
    and the error is what the interval of such a region reaches to either side at the level
    of one standard deviation: in about two neighbourhoods of three, the count is off by no
    more. Neighbourhoods are smaller than most rectangles that the calibration saw, so the
    figures tell places apart rather than promise anything.

    Parameters
    ----------
    prediction
        What a model says about an image. Without a calibration it is the square root of the
        model's own variance.

    Returns
    -------
    ndarray
        ``(h, w)`` float32 on the prediction's grid, in cells, ≥ 0.
    """
    disc = _disc(*(prediction.diameter_px / step for step in prediction.grid.step))

    def around(maps: NDArray[np.float32]) -> NDArray[np.float32]:
        summed = fftconvolve(maps.sum(axis=0, dtype=np.float32), disc, mode="same")
        return np.asarray(np.maximum(summed, 0.0), dtype=np.float32)

    return standard_error(prediction, around(prediction.density), around(prediction.variance))


def standard_error(
    prediction: Prediction, count: NDArray[np.float32], variance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Give the standard error of the counts of many parts of an image.

    Parameters
    ----------
    prediction
        What a model says about the image; the square root of its variance without a
        calibration.
    count, variance
        ``(h, w)`` sums of its density and of its variance over the parts.

    Returns
    -------
    ndarray
        ``(h, w)`` float32, in cells, ≥ 0.
    """
    calibration = prediction.calibration
    if calibration is None or not calibration.scores:
        return np.sqrt(variance)
    known = calibration.regions if calibration.regions is not None else calibration
    scale = Scale(known.alpha, known.beta, known.gamma)
    reach = np.empty(count.shape)
    for rows in np.array_split(np.arange(len(count)), max(len(count) // 256, 1)):  # memory
        reach[rows] = scale(variance[rows], count[rows])
    if calibration.regions is None:
        reach *= score_quantile(calibration, LEVEL)[0]
    else:
        bins = calibration.regions.bins
        quantiles = np.array([score_quantile(b, LEVEL)[0] for b in bins])
        reach *= quantiles[np.digitize(count, [b.low for b in bins[1:]])]
    reach *= difficulty(calibration.neighbours, prediction.look, prediction.count)
    return reach.astype(np.float32)


def _disc(height: float, width: float) -> NDArray[np.float32]:
    """Fractions of cells that an ellipse covers, so scaled that they add up to its area."""
    half = [max(int(np.ceil(side / 2)), 0) for side in (height, width)]
    fine = 8
    y, x = ((np.arange(fine * (2 * n + 1)) + 0.5) / fine - (n + 0.5) for n in half)
    radii = [max(side / 2, 0.5 / fine) for side in (height, width)]
    within = (y[:, None] / radii[0]) ** 2 + (x / radii[1]) ** 2 <= 1
    shape = (2 * half[0] + 1, fine, 2 * half[1] + 1, fine)
    covered = within.reshape(shape).mean(axis=(1, 3))
    area = np.pi / 4 * height * width
    return np.asarray(covered * (area / covered.sum()), dtype=np.float32)
