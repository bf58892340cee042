"""The jobs of the Tally widget. Generators free of Qt; torch is loaded inside."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from celltally._napari.planes import Plane, iter_in_plane
from celltally._napari.preload import loading_torch
from celltally.errors import UserError
from celltally.progress import drain
from celltally.record import ModelRecord
from celltally.types import Dots, Prediction, Progress

if TYPE_CHECKING:
    from celltally.model import Model

__all__ = [
    "Looked",
    "PlaneCount",
    "count_job",
    "list_models_job",
    "load_again",
    "load_record",
    "look_job",
    "with_dots",
]


@dataclass(frozen=True, eq=False)
class PlaneCount:
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
_loaded: list[Model] = []


def load_record(record: ModelRecord) -> Model:
    """Load a model, unless it is the one that was used last."""
    from celltally import zoo

    model = next((m for m in _loaded if _folder_of(m.record) == _folder_of(record)), None)
    if model is None:
        model = zoo.load(record.path or record.name)
        _loaded[:] = [model]
    return model


def _folder_of(record: ModelRecord) -> tuple[object, ...]:
    """Return what tells model folders apart: recalibrated copies share an identity."""
    return record.path, record.sha256, record.files


def load_again(name: str, sha256: str) -> Model:
    """Load the model that made a count, or a copy of it that counts the same.

    Raises
    ------
    UserError
        When it is gone.
    """
    from celltally import zoo

    model = next((m for m in _loaded if m.sha256 == sha256), None)
    if model is not None:
        return model
    same = [record for record in zoo.available() if record.sha256 == sha256]
    if not same:
        raise UserError(
            f"the model {name!r} that made this count is gone or was changed since; "
            "count the image again"
        )
    return load_record(next((record for record in same if record.name == name), same[0]))


def count_job(
    plane: Plane, record: ModelRecord, diameter_px: float, name: str
) -> Generator[Progress, None, PlaneCount]:
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
    with loading_torch():
        from celltally.predict import iter_predict

    model = load_record(record)
    yield Progress(0, 0, "Reading the image")
    pixels = yield from plane.iter_read()
    yield Progress(0, 0, "Counting")
    prediction = yield from iter_predict(model, pixels, diameter_px=diameter_px, image=name)
    yield Progress(1, 1, "Placing the dots")
    return (yield from _iter_with_dots(prediction, plane))


def with_dots(prediction: Prediction, plane: Plane) -> PlaneCount:
    """Find the dots that a threshold may pick from, and its default."""
    return drain(_iter_with_dots(prediction, plane))


def _iter_with_dots(prediction: Prediction, plane: Plane) -> Generator[Progress, None, PlaneCount]:
    from celltally.density import dots_from_prediction
    from celltally.density.peaks import threshold_for_count

    dots = dots_from_prediction(prediction, -np.inf)
    dots = yield from iter_in_plane(dots, plane, prediction.diameter_px)
    dots = dots[np.argsort(-dots.score, kind="stable")]
    return PlaneCount(prediction, plane, dots, threshold_for_count(dots.score, prediction.count))


@dataclass(frozen=True)
class Looked:
    """What looking at a plane suggests.

    Attributes
    ----------
    channel
        Colour that shows the cells; None for all, or where there is no choice.
    diameter_px
        Cell diameter; None where nothing can be estimated.
    statistics, appearance
        Of the image, to compare it with those a model knows; empty where it shows
        nothing.
    """

    channel: str | None
    diameter_px: float | None
    statistics: Mapping[str, float] = field(default_factory=dict)
    appearance: Mapping[str, float] = field(default_factory=dict)


def look_job(plane: Plane, *, guess: bool) -> Generator[Progress, None, Looked]:
    """Look at a plane before it is counted.

    Parameters
    ----------
    plane
        Its channel is taken as it is, unless
    guess
        says that the channel is to be guessed, too.
    """
    yield Progress(0, 0, "Looking at the image")
    from celltally.appearance import appearance
    from celltally.diameter import diameter_of
    from celltally.preprocess import image_statistics, normalise

    channel = plane.guess_channel() if guess else plane.channel
    try:
        values, scaling = normalise(replace(plane, channel=channel).read())
    except UserError:
        return Looked(channel, None)  # it shows nothing to measure; the user may type a number
    diameter = None if scaling.empty else diameter_of(values)
    if not diameter:
        return Looked(channel, diameter)
    statistics = image_statistics(values, scaling)
    return Looked(channel, diameter, statistics, appearance(values, diameter))


def list_models_job() -> Generator[Progress, None, list[ModelRecord]]:
    """Return the records of the models at hand (reading them verifies every file's hash)."""
    yield Progress(0, 0, "Looking for models")
    from celltally import zoo

    return zoo.available()
