"""What is wrong with the user's input, as a sentence or None. Free of Qt and napari."""

from __future__ import annotations

import math
from collections.abc import Sequence

from celltally.record import ModelRecord

__all__ = [
    "diameter_problem",
    "model_warnings",
    "shape_problem",
    "view_problem",
]

#: Cells rescaled by more than this look unlike anything that was learned.
LARGEST_RESCALING = 6.0


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
    if diameter_px is None or not math.isfinite(diameter_px) or diameter_px <= 0:
        return "Enter the cell diameter: a number of pixels above 0."
    if diameter_px < 1:
        return f"A cell diameter of {diameter_px:g} px is less than one pixel; enter a larger one."
    if shape is not None and diameter_px > 2 * max(shape):
        return (
            f"A cell diameter of {diameter_px:g} px is larger than the image "
            f"({shape[1]} × {shape[0]} px); enter a smaller one."
        )
    return None


def model_warnings(record: ModelRecord, diameter_px: float | None) -> tuple[str, ...]:
    """Say what the user should know before counting with a model.

    Parameters
    ----------
    record
        The model's record.
    diameter_px
        Cell diameter in the image, or None where unknown.
    """
    warnings = []
    if diameter_px is not None and diameter_problem(diameter_px) is None:
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
