"""A count of the window as a project keeps it. Free of Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celltally._napari.planes import Plane
from celltally.types import Interval

if TYPE_CHECKING:
    from celltally._napari.counting import PlaneCount
    from celltally.project.counts import StoredCount
    from celltally.project.store import Store

__all__ = ["add_count", "stored_count", "stored_z"]


def stored_z(plane: Plane) -> int:
    """Return the z under which a project keeps a count: 0 for a projection."""
    return 0 if plane.z_method == "projection" else plane.index("Z")


def stored_count(
    counted: PlaneCount,
    interval: Interval,
    *,
    unlike: bool | None,
    number: int = 0,
    image_id: int = 0,
) -> StoredCount:
    """Return the figures of a count, as a project keeps them; without a number, as it would."""
    from celltally.project.counts import StoredCount

    prediction, plane = counted.prediction, counted.plane
    return StoredCount(
        id=number,
        image_id=image_id,
        t=plane.index("T"),
        z=stored_z(plane),
        z_method=plane.z_method,
        channel=plane.channel or "",
        model=prediction.model,
        model_sha256=prediction.model_sha256,
        calibration_sha256=prediction.calibration_sha256,
        classes=prediction.classes,
        count=prediction.count,
        interval=interval,
        diameter_px=prediction.diameter_px,
        threshold=counted.threshold,
        default_threshold=counted.threshold,
        in_distribution=None if unlike is None else not unlike,
        seconds=prediction.seconds,
        made="",
        merged=tuple(range(plane.depth)) if plane.z_method == "merged" else (),
    )


def add_count(
    store: Store, image_id: int, counted: PlaneCount, interval: Interval, unlike: bool | None
) -> StoredCount:
    """Keep a count in the project; on the saving thread."""
    from celltally.project.counts import add_prediction

    told = stored_count(counted, interval, unlike=unlike, image_id=image_id)
    number = add_prediction(
        store,
        image_id,
        counted.prediction,
        interval,
        counted.candidates,
        threshold=counted.threshold,
        t=told.t,
        z=told.z,
        z_method=told.z_method,
        channel=told.channel,
        in_distribution=told.in_distribution,
        merged=told.merged,
    )
    return replace(told, id=number)
