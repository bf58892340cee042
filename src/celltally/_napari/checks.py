"""What is wrong with the user's input, as a sentence or None. Free of Qt and napari."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from celltally.diameter import check_diameter
from celltally.intervals import unlike
from celltally.record import ModelRecord
from celltally.types import Calibration, Grid, Prediction

if TYPE_CHECKING:
    from celltally._napari.counting import Looked

__all__ = [
    "diameter_problem",
    "model_warnings",
    "shape_problem",
    "unlike_training",
    "view_problem",
]

#: Cells rescaled by more than this look unlike anything that was learned.
LARGEST_RESCALING = 6.0
#: Diameters that differ by less than this factor show an image on the same scale.
SAME_SCALE = 1.1


def shape_problem(shape: Sequence[int], *, rgb: bool) -> str | None:
    """Whether an image layer's data can be counted.

    Parameters
    ----------
    shape
        Of the full-resolution data, colour samples included.
    rgb
        Whether the last axis holds colour samples.
    """
    plane = shape[:-1] if rgb else shape
    if len(plane) < 2:
        return "This layer is no image plane: it has only one axis."
    if min(plane) == 0:
        return "This image is empty: it has no pixels."
    return None


def view_problem(ndisplay: int, displayed: Sequence[int], ndim: int) -> str | None:
    """Whether the plane in view is one that can be counted.

    Parameters
    ----------
    ndisplay
        2 or 3 displayed axes.
    displayed
        The viewer's displayed axes.
    ndim
        Number of the viewer's axes.
    """
    if ndisplay != 2:
        return "Switch the viewer to 2-D: one plane is counted at a time."
    if tuple(displayed) != (ndim - 2, ndim - 1):
        return "Show the image's last two axes: the axes are rolled or swapped in the viewer."
    return None


def diameter_problem(diameter_px: float | None, shape: Sequence[int] | None = None) -> str | None:
    """Whether a cell diameter makes sense.

    Parameters
    ----------
    diameter_px
        In image pixels; None where nothing was entered.
    shape
        ``(height, width)`` of the plane, where known.
    """
    if diameter_px is None:
        return "Enter the cell diameter: a number of pixels above 0."
    if problem := check_diameter(diameter_px):
        return f"{problem[:1].upper()}{problem[1:]}."
    if shape is not None and diameter_px > 2 * max(shape):
        return (
            f"A cell diameter of {diameter_px:g} px is larger than the image "
            f"({shape[1]} × {shape[0]} px); enter a smaller one."
        )
    return None


def unlike_training(
    calibration: Calibration, looked: Looked, diameter_px: float | None
) -> str | None:
    """Say in what an image is unlike those that a calibration saw, or None.

    Parameters
    ----------
    calibration
        The model's.
    looked
        What looking at the image gave.
    diameter_px
        Cell diameter that is set, or None where unknown.
    """
    statistics, ranges = dict(looked.statistics), calibration.ranges
    appearance = looked.appearance
    if statistics:
        if diameter_px is not None and looked.diameter_px is not None:
            statistics["diameter_px"] = diameter_px
            statistics["diameter_ratio"] = diameter_px / looked.diameter_px
            if not 1 / SAME_SCALE < statistics["diameter_ratio"] < SAME_SCALE:
                appearance = {}  # it was looked at on another scale
        # The others are known only when the image was counted.
        ranges = {name: seen for name, seen in ranges.items() if name in statistics}
    uncounted = np.zeros((1, 1, 1), dtype=np.float32)
    strange = unlike(
        Prediction(
            density=uncounted,
            variance=uncounted,
            grid=Grid((1, 1)),
            image_shape=(1, 1),
            diameter_px=diameter_px or 1.0,
            model="",
            model_sha256="",
            statistics=statistics,
            appearance=appearance,
        ),
        replace(calibration, ranges=ranges),
    )
    return f"Unlike the training images: {'; '.join(strange)}." if strange else None


def model_warnings(
    record: ModelRecord,
    diameter_px: float | None,
    calibration: Calibration | None = None,
    looked: Looked | None = None,
) -> tuple[str, ...]:
    """Say what the user should know before counting with a model.

    Parameters
    ----------
    record
        The model's record.
    diameter_px
        Cell diameter in the image, or None where unknown.
    calibration
        The model's, where it has one.
    looked
        What looking at the image gave, where that is known.
    """
    warnings = []
    if diameter_px is not None and diameter_problem(diameter_px) is not None:
        diameter_px = None
    if calibration is not None and looked is not None:
        strange = unlike_training(calibration, looked, diameter_px)
        if strange is not None:
            return (strange,)
    if diameter_px is not None:
        factor = record.diameter_px / diameter_px
        if factor > LARGEST_RESCALING:
            warnings.append(
                f"Cells of {diameter_px:g} px are much smaller than this model knows; "
                "expect a poor count."
            )
        elif factor < 1 / LARGEST_RESCALING:
            warnings.append(
                f"Cells of {diameter_px:g} px are much larger than this model knows; "
                "check the diameter with the ring."
            )
    if not record.is_calibrated:
        warnings.append("This model is not calibrated: it cannot say how sure a count is.")
    return tuple(warnings)
