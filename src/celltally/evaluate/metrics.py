"""Figures of merit for counts, their intervals, and dots."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from celltally.density import Matching, rates

__all__ = ["count_metrics", "dot_metrics"]


def count_metrics(
    truth: ArrayLike,
    predicted: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    level: float = 0.95,
) -> dict[str, float]:
    """Compare counts with the truth.

    Parameters
    ----------
    truth, predicted
        ``(n,)`` counts, one per image.
    low, high
        ``(n,)`` interval bounds; NaN for an image without an interval.
    level
        Nominal coverage of the intervals.

    Returns
    -------
    dict
        ``n``; ``mae`` and ``rmse`` in cells; ``mre``, the mean of
        |error| / max(truth, 1); ``bias``, the mean of predicted − true;
        ``slope`` of the least-squares line of predicted on true; ``r2`` = 1 −
        Σ error² / Σ (truth − mean truth)²; and over the images that have an
        interval ``coverage`` (share of truths within, bounds included),
        ``mean_width`` and ``interval_score``, the mean of width + 2/(1 − level) ×
        the distance by which the truth lies outside (Gneiting and Raftery 2007,
        equation 43; smaller is better). NaN where a figure does not exist: slope
        and r2 where all truths are equal, the last three without intervals, all
        but n without images.

    Raises
    ------
    ValueError
        When the columns differ in length.
    """
    true = np.asarray(truth, dtype=np.float64).ravel()
    found = np.asarray(predicted, dtype=np.float64).ravel()
    lower, upper = (
        np.full(len(true), np.nan) if b is None else np.asarray(b, dtype=np.float64).ravel()
        for b in (low, high)
    )
    if not len(true) == len(found) == len(lower) == len(upper):
        raise ValueError(
            f"{len(true)} truths, {len(found)} counts, {len(lower)} lower and {len(upper)} upper "
            "bounds do not belong together"
        )
    names = ("mae", "rmse", "mre", "bias", "slope", "r2", "coverage", "mean_width")
    figures = {"n": len(true), **dict.fromkeys((*names, "interval_score"), math.nan)}
    if len(true) == 0:
        return figures
    error = found - true
    figures["mae"] = float(np.abs(error).mean())
    figures["rmse"] = float(np.sqrt((error**2).mean()))
    figures["mre"] = float((np.abs(error) / np.maximum(true, 1)).mean())
    figures["bias"] = float(error.mean())
    if true.min() < true.max():
        centred = true - true.mean()
        spread = float((centred**2).sum())
        figures["slope"] = float((centred * (found - found.mean())).sum()) / spread
        figures["r2"] = 1 - float((error**2).sum()) / spread
    given = ~(np.isnan(lower) | np.isnan(upper))
    if given.any():
        true, lower, upper = true[given], lower[given], upper[given]
        outside = np.maximum(lower - true, 0) + np.maximum(true - upper, 0)
        figures["coverage"] = float((outside == 0).mean())
        figures["mean_width"] = float((upper - lower).mean())
        figures["interval_score"] = float((upper - lower + 2 / (1 - level) * outside).mean())
    return figures


def dot_metrics(matchings: Sequence[Matching]) -> dict[str, float]:
    """Precision, recall and F1 over the dots of all images together.

    Parameters
    ----------
    matchings
        One per image.

    Returns
    -------
    dict
        ``precision``, ``recall``, ``f1`` (every dot weighs the same; conventions
        for empty sides as in ``celltally.density.rates``) and
        ``match_radius_px``, the median of the radii. All NaN without images.
    """
    if not matchings:
        return dict.fromkeys(("precision", "recall", "f1", "match_radius_px"), math.nan)
    pooled = rates(
        sum(len(m.pairs) for m in matchings),
        sum(m.n_true for m in matchings),
        sum(m.n_found for m in matchings),
    )
    return {
        "precision": pooled.precision,
        "recall": pooled.recall,
        "f1": pooled.f1,
        "match_radius_px": float(np.median([m.radius_px for m in matchings])),
    }
