"""The jobs of the Tally widget. Generators free of Qt; torch is loaded inside."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celltally._napari.layers import Plane
from celltally._napari.preload import preload_torch
from celltally.errors import UserError
from celltally.record import ModelRecord
from celltally.types import Dots, Prediction, Progress

if TYPE_CHECKING:
    from celltally.model import Model

__all__ = ["Counted", "count_job", "list_models_job", "look_job", "with_dots"]


@dataclass(frozen=True, eq=False)
class Counted:
    """What counting one plane gave.

    Attributes
    ----------
    prediction
        The model's.
    plane
        Which plane was counted.
    candidates
        All dots that a threshold may pick from, best first; their ids stay the
        same whatever the threshold.
    threshold
        The one that brings the number of dots nearest to the count.
    """

    prediction: Prediction
    plane: Plane
    candidates: Dots
    threshold: float

    def dots(self, threshold: float) -> Dots:
        """Candidates that score at least ``threshold``."""
        return self.candidates[self.candidates.score >= np.float32(threshold)]


#: The model used last; loading takes longer than counting a small image.
_loaded: dict[str, Model] = {}


def _load(record: ModelRecord) -> Model:
    from celltally import zoo

    model = _loaded.get(record.sha256)
    if model is None:
        model = zoo.load(record.path or record.name)
        _loaded.clear()
        _loaded[record.sha256] = model
    return model


def count_job(
    plane: Plane, record: ModelRecord, diameter_px: float, name: str
) -> Generator[Progress, None, Counted]:
    """Count one plane.

    Parameters
    ----------
    plane
        What to count.
    record
        Of the model to count with.
    diameter_px
        Cell diameter in image pixels.
    name
        Name of the image.
    """
    yield Progress(0, 0, "Loading the model")
    preload_torch()
    from celltally.predict import iter_predict

    model = _load(record)
    yield Progress(0, 0, "Reading the image")
    pixels = plane.read()
    yield Progress(0, 0, "Counting")
    prediction = yield from iter_predict(model, pixels, diameter_px=diameter_px, image=name)
    yield Progress(1, 1, "Placing the dots")
    return with_dots(prediction, plane)


def with_dots(prediction: Prediction, plane: Plane) -> Counted:
    """Find the dots that a threshold may pick from, and its default."""
    from celltally.density import dots_from_prediction
    from celltally.density.peaks import threshold_for_count

    dots = dots_from_prediction(prediction, -np.inf)
    dots = dots[np.argsort(-dots.score, kind="stable")]
    return Counted(prediction, plane, dots, threshold_for_count(dots.score, prediction.count))


def look_job(plane: Plane) -> Generator[Progress, None, float | None]:
    """Estimate the cell diameter in pixels; None where nothing can be estimated."""
    yield Progress(0, 0, "Estimating the cell diameter")
    from celltally.diameter import estimate_diameter

    try:
        return float(estimate_diameter(plane.read()))
    except UserError:
        return None  # an empty image has no cells to measure; the user may type a number


def list_models_job() -> Generator[Progress, None, list[ModelRecord]]:
    """Records of the models at hand (reading them verifies every file's hash)."""
    yield Progress(0, 0, "Looking for models")
    from celltally import zoo

    return zoo.available()
