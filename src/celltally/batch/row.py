"""A row of ``counts.csv`` from a prediction: one form for the batch and the window."""

from __future__ import annotations

from collections.abc import Iterable

from celltally import intervals
from celltally.batch.table import Row, number, one_line
from celltally.types import Interval, Prediction

__all__ = ["count_row"]


def count_row(
    prediction: Prediction,
    interval: Interval,
    *,
    n_dots: int,
    t: int,
    z: int,
    seconds: float,
    sentences: Iterable[str] = (),
) -> Row:
    """Row of an image that was counted.

    Parameters
    ----------
    prediction, interval
        The count and its interval.
    n_dots
        Number of dots.
    t, z
        Plane that was counted.
    seconds
        Time that it took.
    sentences
        What the user should read, beside the interval's reason and the prediction's
        notes.
    """
    calibration = prediction.calibration
    in_distribution = ""
    if calibration is not None and calibration.ranges:
        in_distribution = "false" if intervals.unlike(prediction, calibration) else "true"
    told = (interval.reason, *sentences, *prediction.notes)
    return {
        "image": prediction.image,
        "t": str(t),
        "z": str(z),
        "class": "+".join(prediction.classes),
        "count": number(prediction.count, 4),
        "ci_low": number(interval.low, 4),
        "ci_high": number(interval.high, 4),
        "level": str(float(interval.level)),
        "interval_kind": interval.kind,
        "n_dots": str(n_dots),
        "diameter_px": number(prediction.diameter_px, 3),
        "model": prediction.model,
        "model_sha256": prediction.model_sha256,
        "calibration_sha256": prediction.calibration_sha256,
        "in_distribution": in_distribution,
        "seconds": number(seconds, 3),
        "status": "ok",
        "message": one_line("; ".join(sentence for sentence in told if sentence)),
    }
