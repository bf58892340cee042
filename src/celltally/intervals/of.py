"""The interval of one prediction, and what its kind is called in words."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from celltally.density.regions import region_sums
from celltally.errors import UserError
from celltally.intervals.aleatoric import Scale
from celltally.intervals.conformal import MIN_GROUPS, score_quantile
from celltally.intervals.difficulty import difficulty
from celltally.types import (
    Calibration,
    Interval,
    IntervalKind,
    Prediction,
    RegionBin,
    RegionCalibration,
)

__all__ = ["check_level", "count_in", "of", "unlike"]

# What is said of a statistic below and above the range seen; {} takes "much " or "".
_WORDS = {
    "diameter_px": ("cells {}smaller than any seen", "cells {}larger than any seen"),
    "diameter_ratio": (
        "the diameter is {}smaller than the cells look",
        "the diameter is {}larger than the cells look",
    ),
    "contrast": ("contrast {}lower than any seen", "contrast {}higher than any seen"),
    "noise": ("noise {}weaker than any seen", "noise {}stronger than any seen"),
    "density": ("cells {}sparser than any seen", "cells {}more crowded than any seen"),
    "similarity": (
        "cells {}less like the prototypes than any seen",
        "cells {}more like the prototypes than any seen",
    ),
    "colour": ("colours {}paler than any seen", "colours {}stronger than any seen"),
    "brightness": ("image {}darker than any seen", "image {}brighter than any seen"),
    "focus": ("image {}more blurred than any seen", "image {}sharper than any seen"),
}


def check_level(level: object) -> str | None:
    """Why a nominal coverage cannot be used, in words; None where it can."""
    if isinstance(level, int | float) and not isinstance(level, bool) and 0 < level < 1:
        return None
    return f"a level of {level!r} cannot be used: give a number between 0 and 1, such as 0.95"


def of(prediction: Prediction, level: float = 0.95, region: ArrayLike | None = None) -> Interval:
    """Interval of a prediction's count, or of the count in a region of it.

    Parameters
    ----------
    prediction
        What a model says about one image; with the model's calibration.
    level
        Nominal coverage, in (0, 1).
    region
        ``(n, 2)`` corners (y, x) of a polygon in image pixels; None for the whole image.
        The guarantee holds for random rectangles along the image's sides; a polygon of
        another shape gets the same interval, and ``reason`` calls it approximate.

    Returns
    -------
    Interval
        ``calibrated``; ``provisional`` where the calibration had too few groups
        for the level; ``not calibrated`` for an image unlike those seen (the
        bounds are given, but nothing stands behind them) and for a model without
        a calibration (the bounds are NaN). ``reason`` says why.

    Raises
    ------
    UserError
        When the level is not a number between 0 and 1.
    ValueError
        For corners that are not finite.
    """
    if problem := check_level(level):
        raise UserError(problem)
    calibration = prediction.calibration
    if calibration is None or not calibration.scores:
        return _unbounded(level, "the model has no calibration")
    count, variance = _sums(prediction, region)
    if not (math.isfinite(count) and math.isfinite(variance)):
        return _unbounded(level, "the prediction is not a finite number")

    known, curve = _known(calibration, None if region is None else count)
    hard = difficulty(calibration.neighbours, prediction.statistics, prediction.count)
    s = hard * float(Scale(known.alpha, known.beta, known.gamma)(variance, count))
    quantile, carried = score_quantile(curve, level)
    kind: IntervalKind = "calibrated"
    reason = ""
    if strange := unlike(prediction, calibration):
        kind, reason = "not calibrated", "; ".join(strange)
    elif region is not None and calibration.regions is None:
        kind, reason = "provisional", "calibrated on whole images only, not on parts of them"
    elif not carried or curve.groups < MIN_GROUPS or calibration.kind == "provisional":
        kind = "provisional"
        groups = f"{curve.groups} independent group{'s' * (curve.groups != 1)}"
        reason = f"calibrated on {groups} of images only"
        if not carried:
            reason += f", too few for a level of {level!r}"
    elif region is not None and not _is_upright(region):
        reason = "approximate, as it was calibrated on rectangles"
    return Interval(max(count - quantile * s, 0.0), count + quantile * s, level, kind, reason)


def count_in(prediction: Prediction, region: ArrayLike) -> float:
    """Count in a polygon ``(n, 2)`` (y, x) in image pixels, in cells; never below zero."""
    return _sums(prediction, region)[0]


def _sums(prediction: Prediction, region: ArrayLike | None) -> tuple[float, float]:
    """Count and variance of the image or of a region."""
    if region is None:
        return prediction.count, float(prediction.variance.sum(dtype=np.float64))
    count, variance = region_sums(prediction).over(region)
    return max(float(count), 0.0), max(float(variance), 0.0)


def _known(
    calibration: Calibration, count: float | None
) -> tuple[Calibration | RegionCalibration, Calibration | RegionBin]:
    """Coefficients of s, and the scores, for the image (None) or a region with a count."""
    if count is None or calibration.regions is None:
        return calibration, calibration
    bins = calibration.regions.bins
    return calibration.regions, [b for b in bins if b.low <= count][-1]


def _is_upright(region: ArrayLike) -> bool:
    """Whether a polygon is a rectangle along the image's sides."""
    corners = np.asarray(region, dtype=float)
    return len(corners) == 4 and all(len(np.unique(corners[:, axis])) == 2 for axis in (0, 1))


def unlike(prediction: Prediction, calibration: Calibration) -> tuple[str, ...]:
    """Return in words in what an image is unlike all those seen; empty where it is like them.

    Images of which a statistic could not be taken (they are empty, or a few pixels
    wide) cannot be like the others.
    """
    sentences = []
    for name, (low, high) in calibration.ranges.items():
        value = prediction.statistics.get(name, math.nan)
        if math.isnan(value):
            return ("the image shows too little to be compared with those seen",)
        if low <= value <= high:
            continue
        above = value > high
        generic = (f"{name} {{}}lower than any seen", f"{name} {{}}higher than any seen")
        words = _WORDS.get(name, generic)[above]
        gap = value - high if above else low - value
        times = high > 0 and value > 1.5 * high if above else value >= 0 and 1.5 * value < low
        much = "much " if gap > 0.5 * (high - low) or times else ""
        sentences.append(f"{words.format(much)} ({value:.3g}; seen: {low:.3g} to {high:.3g})")
    return tuple(sentences)


def _unbounded(level: float, reason: str) -> Interval:
    return Interval(math.nan, math.nan, level, "not calibrated", reason)
