"""Several planes and a model → counts: a curve over time, or the cells of a z stack."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from celltally import intervals
from celltally.density import dots_from_prediction
from celltally.density.stacks import (
    MERGE_DISTANCE,
    check_gap,
    check_merge_distance,
    join_dots,
    merge_planes,
)
from celltally.diameter import estimate_diameter
from celltally.errors import UserError
from celltally.intervals.stacks import NO_INTERVAL, StackCount
from celltally.model import Model
from celltally.predict import iter_predict
from celltally.progress import relay
from celltally.types import Dots, Prediction, Progress

__all__ = [
    "NO_INTERVAL",
    "PlaneCounted",
    "StackCount",
    "iter_count_planes",
    "iter_count_stack",
    "iter_shared_diameter",
    "spread",
]

#: Planes that are looked at to estimate one cell diameter for all.
SAMPLED_PLANES = 5
#: Given the index of a plane, its pixels: ``(H, W)`` or ``(H, W, 3)``.
ReadPlane = Callable[[int], NDArray[Any]]
Place = TypeVar("Place")


@dataclass(frozen=True, eq=False)
class PlaneCounted(Progress):
    """The step after which a plane is counted.

    Attributes
    ----------
    index
        Of the plane, as it was given to ``read``.
    prediction
        Its own; None where the caller did not ask to keep what came before.
    dots
        Its dots, with the index as z (or t).
    """

    index: int = 0
    prediction: Prediction | None = None
    dots: Dots = field(default_factory=Dots.new)


def iter_shared_diameter(
    read: Callable[[Place], NDArray[Any]], planes: Sequence[Place]
) -> Generator[Progress, None, float | None]:
    """Estimate one cell diameter for several planes: the median over a few of them.

    Planes that were each counted with a diameter of their own could not be compared, and a
    blurred plane at the end of a stack looks as if it had larger cells.

    Parameters
    ----------
    read, planes
        As of ``iter_count_planes``, for places of any kind. At most five, evenly spread, are
        read; those that cannot be are left out.

    Returns
    -------
    float or None
        Pixels; None where no cell can be seen in any of them.
    """
    found = []
    sampled = spread(planes, min(SAMPLED_PLANES, len(planes)))
    for done, place in enumerate(sampled, start=1):
        with suppress(UserError):  # it is told when the plane's turn comes
            estimate = estimate_diameter(read(place))
            if estimate is not None:
                found.append(estimate)
        yield Progress(done, len(sampled), "estimating the cell diameter")
    return median(found) if found else None


def spread(planes: Sequence[Place], n: int) -> list[Place]:
    """Take n of some planes, evenly spread; the middle one for n = 1."""
    return [planes[(2 * i + 1) * len(planes) // (2 * n)] for i in range(n)]


def iter_count_planes(
    model: Model,
    read: ReadPlane,
    planes: Sequence[int],
    *,
    axis: str = "z",
    diameter_px: float | None = None,
    device: str = "auto",
    image: str = "",
) -> Generator[Progress, None, tuple[PlaneCounted, ...]]:
    """Count several planes of an image one by one, all with the same cell diameter.

    Over time the counts are a curve; they are never summed.

    Parameters
    ----------
    model
        What counts.
    read
        Given the index of a plane, its pixels; called when its turn comes.
    planes
        Indices, one at least.
    axis
        What they are indices of: ``"z"`` or ``"t"``.
    diameter_px
        Cell diameter in pixels; None for ``iter_shared_diameter``, or the model's own where
        no cell can be seen.
    device, image
        As of ``iter_predict``.

    Yields
    ------
    Progress
        ``done`` and ``total`` in planes; within a plane with ``tile`` and ``tiles`` among its
        values. After each plane a ``PlaneCounted`` with its prediction.

    Returns
    -------
    tuple of PlaneCounted
        Without the predictions, whose maps may fill the memory: keep those of the steps that
        you need.

    Raises
    ------
    UserError
        As ``iter_predict``, and for an axis that is neither.
    ValueError
        When there is no plane to be counted.
    """
    if axis not in ("t", "z"):
        raise UserError(f"planes cannot be counted along {axis!r}: give t or z")
    if not len(planes):
        raise ValueError("there is no plane to be counted")
    if diameter_px is None:
        shared = yield from relay(
            iter_shared_diameter(read, planes),
            lambda step: Progress(0, len(planes), step.message, _part(0, planes)),
        )
        diameter_px = shared or model.diameter_px
    counted: list[PlaneCounted] = []
    for i, index in enumerate(planes):
        job = iter_predict(model, read(index), diameter_px=diameter_px, device=device, image=image)
        prediction = yield from relay(job, _words(i, planes, axis))
        dots = dots_from_prediction(prediction)
        place = np.full(len(dots), index, dtype=np.int64)
        dots = replace(dots, z=place) if axis == "z" else replace(dots, t=place)
        step = PlaneCounted(
            i + 1, len(planes), f"{axis} {index}", _part(i + 1, planes), index, prediction, dots
        )
        yield step
        counted.append(replace(step, prediction=None))
    return tuple(counted)


def iter_count_stack(
    model: Model,
    read: ReadPlane,
    planes: Sequence[int],
    *,
    diameter_px: float | None = None,
    distance_px: float | None = None,
    gap: int = 0,
    device: str = "auto",
    image: str = "",
) -> Generator[Progress, None, StackCount]:
    """Count every plane of a z stack and merge what lies above each other into cells.

    The densities of the planes are not summed: that would count a cell once for every plane
    that it is seen in.

    Parameters
    ----------
    model, read, planes, diameter_px, device, image
        As of ``iter_count_planes``.
    distance_px
        Largest distance of a cell's dots in neighbouring planes; None: half a cell diameter.
    gap
        Planes that a cell may be missed in between two in which it is found.

    Yields
    ------
    Progress
        As ``iter_count_planes``.

    Returns
    -------
    StackCount

    Raises
    ------
    UserError
        As ``iter_count_planes`` and ``density.stacks.merge_planes``, before a plane is counted.
    """
    problems = (check_gap(gap), distance_px is not None and check_merge_distance(distance_px))
    for problem in problems:
        if problem:
            raise UserError(problem)
    job = iter_count_planes(
        model, read, planes, diameter_px=diameter_px, device=device, image=image
    )
    counts: list[float] = []
    unlike: list[int] | None = None
    notes: dict[str, None] = {}
    last: Prediction | None = None

    def look(step: Progress) -> Progress:
        nonlocal last, unlike
        if isinstance(step, PlaneCounted) and (prediction := step.prediction) is not None:
            last = prediction
            counts.append(prediction.count)
            notes.update(dict.fromkeys(prediction.notes))
            calibration = prediction.calibration
            if calibration is not None and calibration.ranges:
                unlike = unlike or []
                # A plane above or below all cells is like no image, and does no harm.
                if len(step.dots) and intervals.unlike(prediction, calibration):
                    unlike.append(step.index)
        return step

    counted = yield from relay(job, look)
    assert last is not None
    dots = join_dots([step.dots for step in counted])
    distance = MERGE_DISTANCE * last.diameter_px if distance_px is None else distance_px
    return StackCount(
        planes=tuple(planes),
        plane_counts=np.array(counts),
        dots=dots,
        merged=merge_planes(dots, distance, gap=gap),
        diameter_px=last.diameter_px,
        unlike=None if unlike is None else tuple(unlike),
        classes=last.classes,
        model=last.model,
        model_sha256=last.model_sha256,
        calibration_sha256=last.calibration_sha256,
        image=image,
        notes=tuple(notes),
    )


def _words(i: int, planes: Sequence[int], axis: str) -> Callable[[Progress], Progress]:
    """Say of a tile's step in which plane it is."""
    return lambda tile: Progress(
        i,
        len(planes),
        f"{axis} {planes[i]}",
        {**_part(i, planes), "tile": float(tile.done), "tiles": float(tile.total)},
    )


def _part(done: int, planes: Sequence[int]) -> Mapping[str, float]:
    return {"plane": float(done), "planes": float(len(planes))}
