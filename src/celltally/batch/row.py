"""A row of ``counts.csv`` from what was counted: one form for the batch and the window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from celltally import intervals
from celltally.batch.settings import Z_OF_STACK
from celltally.batch.table import COLUMNS, Row, number, one_line
from celltally.types import Interval, Prediction

if TYPE_CHECKING:
    from celltally.model import Model
    from celltally.stack import StackCount

__all__ = ["count_row", "failed_row", "merged_row"]


def count_row(
    prediction: Prediction,
    interval: Interval,
    *,
    n_dots: int,
    t: int,
    z: int | str,
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
        Plane that was counted; for z ``max`` where it was a projection.
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


def merged_row(
    stack: StackCount, level: float, *, t: int, seconds: float, sentences: Iterable[str] = ()
) -> Row:
    """Row of a z stack whose cells were merged: count and dots are both the number of cells.

    Parameters
    ----------
    stack
        What was counted.
    level
        Nominal coverage that was asked for.
    t
        Time point.
    seconds
        Time that it took.
    sentences
        What the user should read, beside why there is no interval.
    """
    interval = stack.interval(level)
    merged = stack.merged
    distance = f"no farther apart than {merged.distance_px:.3g} px"
    gap = f" and {merged.gap} planes" if merged.gap else ""
    told = [interval.reason, *sentences, f"merged were dots {distance}{gap}"]
    if stack.unlike:
        n = len(stack.unlike)
        are = "planes with cells are" if n > 1 else "plane with cells is"
        told.append(f"{n} {are} unlike the images that the model knows")
    in_distribution = "" if stack.unlike is None else "false" if stack.unlike else "true"
    return {
        "image": stack.image,
        "t": str(t),
        "z": Z_OF_STACK["merged"],
        "class": "+".join(stack.classes),
        "count": number(stack.count, 4),
        "ci_low": number(interval.low, 4),
        "ci_high": number(interval.high, 4),
        "level": str(float(level)),
        "interval_kind": interval.kind,
        "n_dots": str(stack.count),
        "diameter_px": number(stack.diameter_px, 3),
        "model": stack.model,
        "model_sha256": stack.model_sha256,
        "calibration_sha256": stack.calibration_sha256,
        "in_distribution": in_distribution,
        "seconds": number(seconds, 3),
        "status": "ok",
        "message": one_line("; ".join(sentence for sentence in (*told, *stack.notes) if sentence)),
    }


def failed_row(
    image: str, model: Model, level: float, seconds: float, sentence: str, *, t: int | None = None
) -> Row:
    """Row of an image, or of one time point of it, that could not be counted."""
    return dict.fromkeys(COLUMNS, "") | {
        "image": image,
        "t": "" if t is None else str(t),
        "level": str(float(level)),
        "model": model.name,
        "model_sha256": model.sha256,
        "calibration_sha256": model.calibration_sha256,
        "seconds": number(seconds, 3),
        "status": "failed",
        "message": one_line(sentence),
    }
