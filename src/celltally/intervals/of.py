"""The interval of one prediction, and what its kind is called in words."""

from __future__ import annotations

import math
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike

from celltally.density.inside import is_upright
from celltally.density.overlay import Overlay
from celltally.density.regions import region_sums
from celltally.errors import UserError
from celltally.intervals.aleatoric import Scale
from celltally.intervals.conformal import MIN_GROUPS, score_quantile
from celltally.intervals.difficulty import difficulty
from celltally.intervals.likeness import UNLIKE, likeness_score, strangest
from celltally.intervals.recalibrate import audit_doubt
from celltally.types import (
    Calibration,
    Interval,
    IntervalKind,
    Prediction,
    RegionBin,
    RegionCalibration,
)

__all__ = ["Part", "check_level", "count_in", "interval_of", "of", "unlike"]

#: Over what a count was summed.
Part = Literal["image", "rectangle", "shape"]

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

#: What of an image a figure of its appearance tells of.
_LOOKS = {
    "size": "the size of its cells",
    "level": "its brightness",
    "strength": "how strong its structure is",
    "skewness": "the shape of its structure",
    "peakedness": "the shape of its structure",
    "colour": "its colours",
    "red": "its colours",
    "blue": "its colours",
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
        Where it crosses itself, its inside is where it is drawn filled (even–odd).
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
        For corners that are not pairs of finite numbers.
    """
    if region is None:
        variance = float(prediction.variance.sum(dtype=np.float64))
        return interval_of(prediction, level, prediction.count, variance, "image")
    if problem := check_level(level):
        raise UserError(problem)
    count, variance = _sums(prediction, region)
    part: Part = "rectangle" if is_upright(region) else "shape"
    return interval_of(prediction, level, count, variance, part)


def interval_of(
    prediction: Prediction, level: float, count: float, variance: float, part: Part
) -> Interval:
    """Interval of a count that was summed over an image or a part of it; see ``of``.

    Parameters
    ----------
    prediction, level
        As for ``of``.
    count, variance
        Sums of the density and of the variance map, not below zero.
    part
        Over what: the ``image``, a ``rectangle`` along its sides, or another ``shape``.
    """
    if problem := check_level(level):
        raise UserError(problem)
    calibration = prediction.calibration
    if calibration is None or not calibration.scores:
        return _unbounded(level, "the model has no calibration")
    if not (math.isfinite(count) and math.isfinite(variance)):
        return _unbounded(level, "the prediction is not a finite number")

    known, curve = _known(calibration, None if part == "image" else count)
    strange, hard = _of_image(prediction, calibration)
    s = hard * float(Scale(known.alpha, known.beta, known.gamma)(variance, count))
    quantile, carried = score_quantile(curve, level)
    kind: IntervalKind = "calibrated"
    reason = ""
    if strange:
        kind, reason = "not calibrated", "; ".join(strange)
    elif part != "image" and calibration.regions is None:
        kind, reason = "provisional", "calibrated on whole images only, not on parts of them"
    elif doubt := _audit_doubt(calibration, None if part == "image" else count):
        kind, reason = "provisional", doubt
    elif not carried or curve.groups < MIN_GROUPS or calibration.kind == "provisional":
        kind = "provisional"
        groups = f"{curve.groups} independent group{'s' * (curve.groups != 1)}"
        reason = f"calibrated on {groups} of images only"
        if not carried:
            reason += f", too few for {100 * level:.10g} %"
    elif part == "shape":
        reason = "approximate, as it was calibrated on rectangles"
    return Interval(max(count - quantile * s, 0.0), count + quantile * s, level, kind, reason)


def count_in(prediction: Prediction, region: ArrayLike) -> float:
    """Count in a polygon ``(n, 2)`` (y, x) in image pixels, in cells; never below zero."""
    return _sums(prediction, region)[0]


def _sums(prediction: Prediction, region: ArrayLike) -> tuple[float, float]:
    """Count and variance of a region, of which nothing counts twice."""
    outline = Overlay([[region]]).outline(lambda within: within[0])
    count, variance = region_sums(prediction).along(outline)
    return max(float(count), 0.0), max(float(variance), 0.0)


def _known(
    calibration: Calibration, count: float | None
) -> tuple[Calibration | RegionCalibration, Calibration | RegionBin]:
    """Coefficients of s, and the scores, for the image (None) or a region with a count."""
    if count is None or calibration.regions is None:
        return calibration, calibration
    bins = calibration.regions.bins
    return calibration.regions, [b for b in bins if b.low <= count][-1]


#: In what the images of predictions that somebody still holds are unlike, and how hard they are.
_kept: WeakKeyDictionary[Prediction, tuple[tuple[str, ...], float]] = WeakKeyDictionary()


def _of_image(prediction: Prediction, calibration: Calibration) -> tuple[tuple[str, ...], float]:
    """Say what is the same for all parts of an image, so that only the first waits for it."""
    if prediction not in _kept:
        hard = difficulty(calibration.neighbours, prediction.look, prediction.count)
        _kept[prediction] = unlike(prediction, calibration), hard
    return _kept[prediction]


def _audit_doubt(calibration: Calibration, count: float | None) -> str:
    """Why audits do not calibrate an image (None) or a region with a count; "" where they do."""
    return "" if calibration.audits is None else audit_doubt(calibration.audits, count)


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
    # One number that is out of range says more than that the image is.
    if not sentences and (looks := _looks_unlike(prediction, calibration)):
        sentences.append(looks)
    return tuple(sentences)


def _looks_unlike(prediction: Prediction, calibration: Calibration) -> str:
    """Say that an image looks unlike those seen; empty where it does not."""
    known, shown = calibration.appearances, prediction.appearance
    if known is None or not shown:
        return ""
    score = likeness_score(known, shown)
    if math.isnan(score) or score >= UNLIKE:
        return ""
    what = _LOOKS[strangest(known, shown).partition("_")[0]]
    return f"the image looks unlike any seen, most of all in {what} (likeness {score:.2g})"


def _unbounded(level: float, reason: str) -> Interval:
    return Interval(math.nan, math.nan, level, "not calibrated", reason)
