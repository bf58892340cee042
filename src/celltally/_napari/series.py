"""The job that counts several planes of an image, one after the other. Free of Qt."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from celltally._napari import counting
from celltally._napari.counting import PlaneCount
from celltally._napari.planes import Plane
from celltally.errors import UserError
from celltally.progress import relay
from celltally.record import ModelRecord
from celltally.types import Interval, Progress

__all__ = ["CountedPlane", "iter_series"]


@dataclass(frozen=True, eq=False)
class CountedPlane:
    """A plane that is counted, with what is kept of it.

    Attributes
    ----------
    counted
        The count.
    interval
        Of it.
    unlike
        Whether the image is unlike those that the model knows; None where that is not told.
    """

    counted: PlaneCount
    interval: Interval
    unlike: bool | None


#: Takes a plane that is counted, and may have the job wait.
Take = Callable[[CountedPlane], Generator[Progress, None, None]]


def iter_series(
    planes: Sequence[Plane],
    record: ModelRecord,
    diameter_px: float,
    name: str,
    *,
    take: Take,
    words: Callable[[int], str],
) -> Generator[Progress, None, dict[int, Exception]]:
    """Count planes one by one, all with the same cell diameter; none is remembered here.

    Parameters
    ----------
    planes
        One at least.
    record, diameter_px, name
        As of ``counting.count_job``.
    take
        Given each plane as it is counted.
    words
        Says which plane is counted, given its number from 0 on.

    Yields
    ------
    Progress
        ``done`` and ``total`` in planes where there are several, else of the one plane.

    Returns
    -------
    dict
        Why planes could not be counted, by their number; the others were.

    Raises
    ------
    Exception
        What kept the only plane, or every plane, from being counted.
    """
    from celltally import intervals

    several = len(planes) > 1
    problems: dict[int, Exception] = {}

    def tell(i: int, step: Progress) -> Progress:
        return Progress(i, len(planes), words(i), step.values) if several else step

    for i, plane in enumerate(planes):
        job = counting.count_job(plane, record, diameter_px, name)
        try:
            counted = yield from relay(job, lambda step, i=i: tell(i, step))
        except (UserError, OSError, ValueError) as error:
            problems[i] = error  # of this plane; another one may be readable
            continue
        prediction, unlike = counted.prediction, None
        if prediction.calibration is not None and prediction.calibration.ranges:
            unlike = bool(intervals.unlike(prediction, prediction.calibration))
        found = CountedPlane(counted, intervals.of(prediction), unlike)
        del counted, prediction
        yield from relay(take(found), lambda step, i=i: tell(i, step))
        del found
    if len(problems) == len(planes):
        raise problems[0]
    return problems
