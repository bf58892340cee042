"""How often intervals of a level hold the truth, for images and for parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from celltally import intervals
from celltally.density.rectangles import dots_inside, random_rectangles
from celltally.types import Dots, Prediction

__all__ = ["LEVELS", "RECTANGLES", "Hits", "judge_intervals", "reliability"]

#: Nominal levels that are looked at.
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
#: Random rectangles per image, and the predicted counts that these must have: hardly
#: anything is to be held in an empty one.
RECTANGLES, FEWEST, MOST = 20, 1.0, 200.0

#: A row per interval: what of, its level, and whether it held the truth.
Hits = list[dict[str, Any]]


def judge_intervals(
    prediction: Prediction, true: float, dots: Dots | None, rng: np.random.Generator
) -> Hits:
    """Intervals of an image and of random rectangles in it, against the truth.

    Parameters
    ----------
    prediction
        Of the image.
    true
        Its true count.
    dots
        Its true dots, or None: then there are no rectangles.
    rng
        Source of all chance.

    Returns
    -------
    list of dict
        ``of`` (``image`` or ``region``), ``level``, ``inside``; intervals without bounds
        are left out.
    """
    regions: list[tuple[Any, float]] = [(None, true)]
    if dots is not None:
        for rectangle in random_rectangles(prediction.image_shape, RECTANGLES, rng):
            if FEWEST <= intervals.count_in(prediction, rectangle) <= MOST:
                regions.append((rectangle, dots_inside(dots.yx, rectangle)))
    hits = []
    for region, truth in regions:
        for level in LEVELS:
            interval = intervals.of(prediction, level, region)
            if np.isfinite(interval.high):
                inside = bool(interval.low <= truth <= interval.high)
                what = "image" if region is None else "region"
                hits.append({"of": what, "level": level, "inside": inside})
    return hits


def reliability(hits: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Nominal against observed coverage.

    Returns
    -------
    DataFrame
        ``of``, ``level``, ``n`` and ``observed``, the share of intervals that hold the truth.
    """
    table = pd.DataFrame(hits, columns=["of", "level", "inside"])
    grouped = table.astype({"inside": float}).groupby(["of", "level"])["inside"]
    return pd.DataFrame({"n": grouped.size(), "observed": grouped.mean()}).reset_index()
