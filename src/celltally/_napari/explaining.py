"""The jobs of the Explain widget. Generators free of Qt; torch is loaded inside."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from celltally._napari.counting import PlaneCount, load_again
from celltally._napari.preload import preload_torch
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.explain.saliency import Saliency

__all__ = ["saliency_job"]


def saliency_job(counted: PlaneCount) -> Generator[Progress, None, Saliency]:
    """Say what a count depends on: the same plane, model and cell diameter once more."""
    yield Progress(0, 0, "Loading the model")
    preload_torch()
    from celltally.explain.saliency import iter_saliency

    prediction = counted.prediction
    model = load_again(prediction.model, prediction.model_sha256)
    yield Progress(0, 0, "Reading the image")
    pixels = counted.plane.read()
    yield Progress(0, 0, "Explaining")
    return (
        yield from iter_saliency(
            model, pixels, diameter_px=prediction.diameter_px, image=prediction.image
        )
    )
