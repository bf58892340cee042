"""One plane, or one projection, of an image is counted for a project."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from celltally.density import dots_from_prediction
from celltally.io import iter_project, select_pixels
from celltally.io.planes import iter_depths, look_around
from celltally.types import Dots, Image, Prediction, Progress

if TYPE_CHECKING:
    from celltally.model import Model

__all__ = ["iter_count_plane"]


def iter_count_plane(
    model: Model,
    image: Image,
    *,
    name: str,
    channel: int | str | None,
    t: int,
    z: int,
    projected: Sequence[int] | None = None,
    diameter_px: float | None,
    device: str = "auto",
) -> Generator[Progress, None, tuple[Prediction, Dots]]:
    """Count a plane, and find every place that may be a dot.

    Parameters
    ----------
    model
        What counts.
    image
        The file.
    name
        Of the image, for messages.
    channel
        As ``io.select_pixels`` takes it.
    t, z
        The plane.
    projected
        Planes (z) of which the maximum projection is counted instead.
    diameter_px
        Cell diameter in image pixels; None for an estimate.
    device
        As ``predict.iter_predict`` takes it.

    Returns
    -------
    tuple of Prediction and Dots
        The dots best first, each with its t and z.
    """
    from celltally.predict import iter_predict

    pixels: Any
    if projected is None:
        pixels = select_pixels(image, channel=channel, plane={"t": t, "z": z})
    else:
        pixels = yield from iter_project(image, channel=channel, t=t, z=projected)
    prediction = yield from iter_predict(
        model, pixels, diameter_px=diameter_px, device=device, image=name
    )
    found = dots_from_prediction(prediction, -np.inf)
    found = found[np.argsort(-found.score, kind="stable")]
    depth = np.full(len(found), z, dtype=np.int64)
    if projected is not None:
        window = look_around(prediction.diameter_px)
        depth = yield from iter_depths(
            image, found.yx, channel=channel, t=t, z=projected, window_px=window
        )
    return prediction, replace(found, t=np.full(len(found), t, dtype=np.int64), z=depth)
