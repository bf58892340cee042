"""What is in each region of an image, and in all of them. Free of Qt.

Whatever was summed is remembered by what it was summed from, so that a region that is
dragged costs itself and those that it overlaps, and another level costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.inside import in_frame, inside_any, is_upright
from celltally.density.overlay import bounds, overlaps
from celltally.intervals import Measured, measure
from celltally.types import Grid, Interval, Prediction, Region

__all__ = ["Measuring", "Row", "cells_per_mm2", "uncounted"]

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
        None while it is not summed yet.
    interval
        None before anything was counted.
    """

    name: str
    kind: str
    index: int
    measured: Measured | None
    interval: Interval | None


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

    def measure(self, seconds: float = np.inf) -> bool:
        """Sum what is not known yet; at most for a time. Return whether all is done.

        What was known of other regions is forgotten when all is done.
        """
        end = time.perf_counter() + seconds
        wanted = [self._image, *self._parts, *(part for _, part in self._sums)]
        keys = [self._key(part) for part in wanted]
        for key, part in zip(keys, wanted, strict=True):
            if key in self._known:
                continue
            if time.perf_counter() > end:
                return False
            self._known[key] = self._measure(part)
        self._known = {key: self._known[key] for key in keys}
        self._intervals = {k: v for k, v in self._intervals.items() if k[0] in self._known}
        return True

    # ---- what there is to show ----

    def rows(self, level: float) -> list[Row]:
        """Give a row for each region."""
        return [
            self._row(region.name, region.kind, index, part, level)
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
        """Return how many regions of some kinds there are."""
        return sum(region.kind in kinds for _, region in self._regions)

    def _row(self, name: str, kind: str, index: int, part: _Part, level: float) -> Row:
        key = self._key(part)
        measured = self._known.get(key)
        if measured is None or not self.counted:
            return Row(name, kind, index, measured, None)
        if (key, level) not in self._intervals:
            self._intervals[key, level] = measured.interval(self.prediction, level)
        return Row(name, kind, index, measured, self._intervals[key, level])

    # ---- sums ----

    def _key(self, part: _Part) -> Hashable:
        return (
            self._dots,
            self.frame and part.framed,
            tuple(tuple(p.tobytes() for p in group) for group in part.within),
            tuple((r.kind, r.polygon.tobytes()) for r in part.taken),
        )

    def _measure(self, part: _Part) -> Measured:
        found = measure(self.prediction, self._yx, part.taken, within=part.within)
        frame = self._frame(part.within)
        if not (self.frame and part.framed) or frame is None:
            return found
        # The frame takes the first polygon's place; what is excluded stays so.
        chosen = in_frame(self._yx, frame, self.prediction.diameter_px)
        excluded = [r.polygon for r in part.taken if r.kind == "exclude"]
        chosen &= ~inside_any(self._yx, excluded)
        for group in part.within[1:]:
            chosen &= inside_any(self._yx, group)
        return replace(found, n_dots=int(chosen.sum()))

    def _frame(
        self, within: tuple[tuple[NDArray[np.float64], ...], ...]
    ) -> NDArray[np.float64] | None:
        """Return the rectangle that a counting frame has here, if there is one."""
        if not within:
            bottom, right = (side - 0.5 for side in self.prediction.image_shape)
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
        """Return those that may overlap a region."""
        near = overlaps(bounds(region.polygon), self._boxes)
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
