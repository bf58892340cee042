"""The count after corrections, of an image or a part of it, with its interval.

Count = dots inside reviewed regions + density outside of them, and nothing in excluded
regions. A human vouches for the reviewed part, so the interval comes from the rest alone.
Where a reviewed region states a count, that takes the place of its dots (``stated.py``).
Regions may overlap: nothing counts twice, and what is excluded is so even where it was
reviewed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.inside import inside_any, is_upright
from celltally.density.overlay import Overlay, bounds, overlaps
from celltally.density.regions import RegionSums, region_sums
from celltally.intervals.of import Part, interval_of
from celltally.intervals.stated import stated_in
from celltally.types import Grid, Interval, Prediction, Region

__all__ = ["Corrected", "Measured", "corrected", "measure"]

#: Share of an image that is no more than rounding.
_NOTHING = 1e-9


@dataclass(frozen=True)
class Measured:
    """What lies in a part of an image, before a level is chosen.

    Attributes
    ----------
    density, variance
        Sums of the two maps over what was not reviewed, in cells; not below zero. Parts of
        regions with a stated count are in them, see ``stated_in``.
    reviewed
        Number of dots in the reviewed regions that count by their dots.
    n_dots
        Number of dots, reviewed or not.
    area_px
        Area in image pixels.
    open_px
        Area of what was not reviewed.
    part
        What the density was summed over.
    stated
        Cells that were stated for whole reviewed regions.
    """

    density: float
    variance: float
    reviewed: int
    n_dots: int
    area_px: float
    open_px: float
    part: Part
    stated: float = 0.0

    @property
    def known(self) -> float:
        """What a human vouches for: dots where it was reviewed, or the stated count."""
        return self.reviewed + self.stated

    @property
    def count(self) -> float:
        """What a human vouches for where it was reviewed, and density elsewhere."""
        return self.known + self.density

    def interval(self, prediction: Prediction, level: float = 0.95) -> Interval:
        """Interval of the count: ``exact`` where all was reviewed, or nothing is left.

        Parameters
        ----------
        prediction
            The one that was summed.
        level
            Nominal coverage, in (0, 1).

        Raises
        ------
        UserError
            When the level is not a number between 0 and 1.
        """
        rest = interval_of(prediction, level, self.density, self.variance, self.part)
        if self.open_px <= 0:
            return Interval(self.known, self.known, level, "exact")
        low, high = self.known + rest.low, self.known + rest.high
        return Interval(low, high, rest.level, rest.kind, rest.reason)


@dataclass(frozen=True)
class Corrected:
    """A corrected count.

    Attributes
    ----------
    count
        In cells.
    interval
        Of the count.
    n_dots
        Number of dots that are not excluded.
    area_px
        Area in image pixels that is not excluded.
    """

    count: float
    interval: Interval
    n_dots: int
    area_px: float


def corrected(
    prediction: Prediction,
    yx: ArrayLike,
    regions: Sequence[Region],
    level: float = 0.95,
    *,
    within: Sequence[Sequence[ArrayLike]] = (),
) -> Corrected:
    """Count of an image after corrections; see ``measure`` for the parameters.

    Without reviewed and excluded regions it is the prediction's count, with the interval
    of ``intervals.of``.

    Raises
    ------
    UserError
        When the level is not a number between 0 and 1.
    """
    found = measure(prediction, yx, regions, within=within)
    interval = found.interval(prediction, level)
    return Corrected(found.count, interval, found.n_dots, found.area_px)


def measure(
    prediction: Prediction,
    yx: ArrayLike,
    regions: Sequence[Region],
    *,
    within: Sequence[Sequence[ArrayLike]] = (),
) -> Measured:
    """Sum density, dots and area of an image or a part of it.

    Parameters
    ----------
    prediction
        What a model says about the image.
    yx
        ``(n, 2)`` positions of its dots, in image pixels; without those that were removed.
    regions
        Of these the reviewed and audit ones count by their dots, or by the count that they
        state, and nothing in the excluded ones counts; the others are of no matter here.
    within
        The part of the image: what lies in any polygon of each of these groups. None: the
        whole image.

    Returns
    -------
    Measured
    """
    points = np.asarray(yx, dtype=np.float64).reshape(-1, 2)
    reviewed = [r.polygon for r in regions if r.by_dots]
    excluded = [r.polygon for r in regions if r.kind == "exclude"]
    stated = [r.polygon for r in regions if r.by_stated]
    near = [_near(group, within) for group in (excluded, reviewed)]
    here = np.ones(len(points), dtype=bool)
    for group in within:
        here &= inside_any(points, group)
    here &= ~inside_any(points, near[0])
    n_reviewed = int(inside_any(points[here], near[1]).sum())
    near[1] = near[1] + _near(stated, within)  # neither is left to the density

    sums, overlay = region_sums(prediction), Overlay([*near, *within])
    pixels = prediction.image_shape[0] * prediction.image_shape[1]

    def area_in(outline: NDArray[np.float64]) -> float:
        return pixels * float(_share(prediction.image_shape).along(outline)[0])

    def left(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(inside[2:].all(axis=0) & ~inside[0])

    def unseen(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(left(inside) & ~inside[1])

    if within:
        outline = overlay.outline(unseen)
        mass, open_px = sums.along(outline), area_in(outline)
        area = area_in(overlay.outline(left)) if near[1] else open_px
    else:  # everything, less what is taken off
        taken = overlay.outline(lambda inside: np.asarray(inside.any(axis=0)))
        mass = np.array(
            [prediction.density.sum(dtype=np.float64), prediction.variance.sum(dtype=np.float64)]
        ) - sums.along(taken)
        open_px = pixels - area_in(taken)
        area = pixels - area_in(overlay.outline(lambda inside: inside[0]))
        if not (near[0] or near[1]):
            mass[0] = prediction.count
    nothing = _NOTHING * pixels
    told = stated_in(sums, area_in, points, regions, within, nothing) if stated else None
    open_px = (open_px if open_px > nothing else 0.0) + (told.open_px if told else 0.0)
    return Measured(
        density=max(float(mass[0]), 0.0) + (told.density if told else 0.0),
        variance=max(float(mass[1]), 0.0) + (told.variance if told else 0.0),
        reviewed=n_reviewed,
        n_dots=int(here.sum()),
        area_px=max(area, 0.0),
        open_px=open_px,
        part=_part(within, near),
        stated=told.whole if told else 0.0,
    )


def _near(
    polygons: Sequence[NDArray[np.float64]], within: Sequence[Sequence[ArrayLike]]
) -> list[NDArray[np.float64]]:
    """Those of the polygons that may overlap the part in question."""
    if not within or not polygons:
        return list(polygons)
    boxes = np.stack([bounds(polygon) for polygon in polygons])
    near = np.ones(len(polygons), dtype=bool)
    for group in within:
        near &= np.any([overlaps(bounds(part), boxes) for part in group], axis=0)
    return [polygon for polygon, there in zip(polygons, near, strict=True) if there]


def _share(image_shape: tuple[int, int]) -> RegionSums:
    """Give sums that are shares of the image: of one cell as large as it is."""
    height, width = image_shape
    grid = Grid((1, 1), step=(float(height), float(width)))
    return RegionSums(np.ones((1, 1, 1), dtype=np.float32), grid)


def _part(
    within: Sequence[Sequence[ArrayLike]], taken: Sequence[Sequence[NDArray[np.float64]]]
) -> Part:
    """Return what is left: the image, one upright rectangle of it, or another shape."""
    if any(len(group) for group in taken) or len(within) > 1:
        return "shape"
    if not within:
        return "image"
    (group,) = within
    return "rectangle" if len(group) == 1 and is_upright(group[0]) else "shape"
