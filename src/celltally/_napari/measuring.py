"""What is in each region of an image, and in all of them. Free of Qt.

Whatever was summed is remembered by what it was summed from, so that a region that is
dragged costs itself and those that it overlaps, and another level costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.inside import in_frame, inside_any, is_upright
from celltally.density.overlay import bounds, overlaps
from celltally.intervals import Measured, measure
from celltally.types import Grid, Interval, Prediction, Region

__all__ = ["Measuring", "Row", "cells_per_mm2", "uncounted"]

#: Corners of all polygons that are summed at once; more may take longer than a window waits.
MOST_CORNERS = 3000
#: Kinds of regions that change what counts in others.
_TAKEN = ("exclude", "reviewed", "audit")


@dataclass(frozen=True, eq=False)
class Row:
    """A region, or all of them, and what is in it.

    Attributes
    ----------
    name, kind
        Of the region; of a sum of them what it is, and "".
    index
        Number of its shape; −1 for a sum.
    measured
        None while it, or its interval, is not known yet.
    interval
        None before anything was counted.
    stated
        A count that a human states for the region; None where there is none.
    """

    name: str
    kind: str
    index: int
    measured: Measured | None
    interval: Interval | None
    stated: float | None = None


def uncounted(image_shape: tuple[int, int]) -> Prediction:
    """Stand in for the prediction of an image that was not counted: it has areas, but no cells."""
    nothing = np.zeros((1, 1, 1), dtype=np.float32)
    grid = Grid((1, 1), step=(float(image_shape[0]), float(image_shape[1])))
    return Prediction(nothing, nothing, grid, image_shape, 1.0, "", "")


def cells_per_mm2(count: float, area_px: float, pixel_um: float | None) -> float:
    """Cells per square millimetre; NaN where there is no area, or its size is not known."""
    if not pixel_um or area_px <= 0:
        return float("nan")
    return count / (area_px * pixel_um**2) * 1e6


class _Part(NamedTuple):
    """What is summed: what lies in all of the groups, given the regions that are taken off.

    ``framed`` tells whether a counting frame may choose its dots.
    """

    within: tuple[tuple[NDArray[np.float64], ...], ...]
    taken: tuple[Region, ...]
    framed: bool = True

    @property
    def large(self) -> bool:
        """Whether its polygons have so many corners that laying them over each other takes long."""
        polygons = [p for group in self.within for p in group] + [r.polygon for r in self.taken]
        return len(polygons) > 1 and sum(map(len, polygons)) > MOST_CORNERS


class Measuring:
    """Sums over the regions of one image.

    Parameters
    ----------
    prediction
        The count; for an image that was not counted, see ``uncounted``.
    counted
        Whether it was counted.
    """

    def __init__(self, prediction: Prediction, *, counted: bool = True) -> None:
        self.prediction, self.counted = prediction, counted
        self.frame = False
        self._yx: NDArray[np.float64] = np.empty((0, 2))
        self._dots = 0
        self._known: dict[Hashable, Measured] = {}
        self._intervals: dict[Hashable, Interval] = {}
        self.set_regions(())

    def set_dots(self, yx: ArrayLike) -> None:
        """Positions ``(n, 2)`` of the dots, without those that were removed."""
        points = np.asarray(yx, dtype=np.float64).reshape(-1, 2)
        if not np.array_equal(points, self._yx):
            self._yx, self._dots = points, self._dots + 1

    def set_regions(self, regions: Sequence[tuple[int, Region]]) -> None:
        """Regions, each with the number of its shape."""
        self._regions = list(regions)
        taken = [r for _, r in self._regions if r.kind in _TAKEN]
        tissue = [r for _, r in self._regions if r.kind == "tissue"]
        nearby = _Nearby(taken), _Nearby(tissue)
        self._parts = [_part(region, *nearby) for _, region in self._regions]
        self._image = _Part((), tuple(taken), framed=False)
        self._sums = self._plan_sums(tuple(taken), tuple(r.polygon for r in tissue))

    def _plan_sums(
        self, taken: tuple[Region, ...], tissue: tuple[NDArray[np.float64], ...]
    ) -> list[tuple[str, _Part]]:
        """Return what else is shown: the image or the tissue in it, and all counted regions."""
        found = [("Tissue", _Part((tissue,), taken)) if tissue else ("Image", _Part((), taken))]
        counted = tuple(r.polygon for _, r in self._regions if r.kind == "count")
        if len(counted) > 1:
            within = (counted, tissue) if tissue else (counted,)
            found.append((f"All {len(counted)} regions", _Part(within, taken)))
        return found

    def measure(self, level: float, seconds: float = np.inf) -> bool:
        """Sum what is not known yet, with its interval; at most for a time.

        What was known of other regions is forgotten when all is done.

        Parameters
        ----------
        level
            Of the intervals.
        seconds
            How long. Where there is an end, ``left`` gives what would take longer at once.

        Returns
        -------
        bool
            Whether all is done, but for what is left.
        """
        end = time.perf_counter() + seconds
        wanted = self._wanted()
        for key, part in wanted.items():
            new = key not in self._known
            if (new and seconds < np.inf and part.large) or not (new or self._open(key, level)):
                continue
            if time.perf_counter() > end:
                return False
            if new:
                self._known[key] = _measured(self.prediction, self._yx, part, frame=self.frame)
            if self._open(key, level):
                found = self._known[key].interval(self.prediction, level)
                self._intervals[key, level] = found
        self._known = {key: self._known[key] for key in wanted if key in self._known}
        self._intervals = {k: v for k, v in self._intervals.items() if k[0] in self._known}
        return True

    def left(self) -> Callable[[], dict[Hashable, Measured]] | None:
        """Return what sums up what ``measure`` left; None where it left nothing.

        It may be called on any thread; ``take`` its result.
        """
        parts = {key: part for key, part in self._wanted().items() if key not in self._known}
        prediction, yx, frame = self.prediction, self._yx, self.frame

        def found() -> dict[Hashable, Measured]:
            return {
                key: _measured(prediction, yx, part, frame=frame) for key, part in parts.items()
            }

        return found if parts else None

    def take(self, found: Mapping[Hashable, Measured]) -> None:
        """Know what was summed elsewhere."""
        self._known.update(found)

    def _wanted(self) -> dict[Hashable, _Part]:
        wanted = (self._image, *self._parts, *(part for _, part in self._sums))
        return {self._key(part): part for part in wanted}

    def _open(self, key: Hashable, level: float) -> bool:
        """Whether there is no interval yet where there should be one."""
        return self.counted and (key, level) not in self._intervals

    # ---- what there is to show ----

    def rows(self, level: float) -> list[Row]:
        """Give a row for each region; what is not known yet is None."""
        return [
            replace(self._row(region.name, region.kind, index, part, level), stated=region.stated)
            for (index, region), part in zip(self._regions, self._parts, strict=True)
        ]

    def sums(self, level: float) -> list[Row]:
        """Give rows for the image (or the tissue in it) and for all counted regions together."""
        return [self._row(name, "", -1, part, level) for name, part in self._sums]

    def image(self) -> Measured | None:
        """Return what is in the image after corrections; None while that is not summed.

        Its dots are taken where they are, not by a counting frame.
        """
        return self._known.get(self._key(self._image))

    def n_regions(self, *kinds: str) -> int:
        """Return how many regions of some kinds there are; without those below."""
        return sum(r.kind in kinds and not r.by_stated for _, r in self._regions)

    @property
    def n_stated(self) -> int:
        """How many regions count by what is stated for them."""
        return sum(region.by_stated for _, region in self._regions)

    def _row(self, name: str, kind: str, index: int, part: _Part, level: float) -> Row:
        key = self._key(part)
        interval = self._intervals.get((key, level))
        waits = self.counted and interval is None
        return Row(name, kind, index, None if waits else self._known.get(key), interval)

    # ---- sums ----

    def _key(self, part: _Part) -> Hashable:
        return (
            self._dots,
            self.frame and part.framed,
            tuple(tuple(p.tobytes() for p in group) for group in part.within),
            tuple((r.kind, r.stated, r.polygon.tobytes()) for r in part.taken),
        )


def _measured(
    prediction: Prediction, yx: NDArray[np.float64], part: _Part, *, frame: bool
) -> Measured:
    """Sum a part; ``frame`` tells whether a counting frame chooses the dots where it may."""
    found = measure(prediction, yx, part.taken, within=part.within)
    rectangle = _frame(part.within, prediction.image_shape) if frame and part.framed else None
    if rectangle is None:
        return found
    # The frame takes the first polygon's place; what is excluded stays so.
    chosen = in_frame(yx, rectangle, prediction.diameter_px)
    chosen &= ~inside_any(yx, [r.polygon for r in part.taken if r.kind == "exclude"])
    for group in part.within[1:]:
        chosen &= inside_any(yx, group)
    return replace(found, n_dots=int(chosen.sum()))


def _frame(
    within: tuple[tuple[NDArray[np.float64], ...], ...], image_shape: tuple[int, int]
) -> NDArray[np.float64] | None:
    """Return the rectangle that a counting frame has here, if there is one."""
    if not within:
        bottom, right = (side - 0.5 for side in image_shape)
        return np.array([(-0.5, -0.5), (-0.5, right), (bottom, right), (bottom, -0.5)])
    first = within[0]
    return first[0] if len(first) == 1 and is_upright(first[0]) else None


class _Nearby:
    """Regions, to be found by where they are."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self.regions = regions
        boxes = [bounds(region.polygon) for region in regions]
        self._boxes = np.stack(boxes) if boxes else np.empty((0, 2, 2))

    def to(self, region: Region) -> tuple[Region, ...]:
        """Return those that may overlap a region, or one of them that states a count."""
        near = overlaps(bounds(region.polygon), self._boxes)
        for i in np.flatnonzero(near):
            if self.regions[i].by_stated:
                near = near | overlaps(self._boxes[i], self._boxes)
        return tuple(self.regions[i] for i in np.flatnonzero(near))


def _part(region: Region, taken: _Nearby, tissue: _Nearby) -> _Part:
    """Return what a region is summed over: itself, in the tissue, less what is excluded.

    An excluded region shows what was taken off, a tissue region all that is in it.
    """
    own = (region.polygon,)
    if region.kind == "exclude":
        return _Part((own,), (), framed=False)
    if region.kind == "tissue" or not tissue.regions:
        return _Part((own,), taken.to(region))
    return _Part((own, tuple(r.polygon for r in tissue.to(region))), taken.to(region))
