"""The cells of a z stack, counted in its planes and merged, and why they have no interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celltally.density.stacks import Merged
from celltally.errors import UserError
from celltally.intervals.of import check_level
from celltally.types import Dots, Interval

__all__ = ["NO_INTERVAL", "StackCount"]

#: Why cells that were merged over z have no interval.
NO_INTERVAL = (
    "cells merged over z have no interval: the calibration is of densities of single planes"
)


@dataclass(frozen=True, eq=False)
class StackCount:
    """The cells of a z stack.

    Attributes
    ----------
    planes
        Index of every plane that was counted.
    plane_counts
        ``(n,)`` count of each plane by its density. Their sum is no count of the stack: it
        has a cell once for every plane that it is seen in.
    dots
        Of all planes, each with its z.
    merged
        Cells, and which of ``dots`` each was merged from.
    diameter_px
        Cell diameter that all planes were counted with.
    unlike
        Planes with cells that are unlike the images the model knows; None without a
        calibration that could tell.
    classes, model, model_sha256, calibration_sha256, image
        As of a ``Prediction``.
    notes
        Sentences that the user should read.
    """

    planes: tuple[int, ...]
    plane_counts: NDArray[np.float64]
    dots: Dots
    merged: Merged
    diameter_px: float
    unlike: tuple[int, ...] | None
    classes: tuple[str, ...]
    model: str
    model_sha256: str
    calibration_sha256: str
    image: str
    notes: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.merged.dots)

    def interval(self, level: float = 0.95) -> Interval:
        """Of kind *not calibrated*, without bounds: nothing stands behind any.

        Raises
        ------
        UserError
            When the level is not a number between 0 and 1.
        """
        if problem := check_level(level):
            raise UserError(problem)
        return Interval(float("nan"), float("nan"), level, "not calibrated", NO_INTERVAL)
