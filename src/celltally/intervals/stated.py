"""What stated counts of reviewed regions say of an image, or of a part of it.

"37 in here" is known of the region as a whole, and of no part of it. Where all of the region
belongs to what is asked for, the 37 count there and nothing is left open. Where a border, a
tissue or an excluded region cuts it, a part is asked for of which nobody said anything: then
the region's density, scaled to sum to what was stated, is the best there is to know, and it
remains the model's, with the model's variance. Parts that cover a region so add up to it.

What is known better or was said before goes first, so that nothing counts twice: dots of
other reviewed regions in it are taken off what was stated, as is the share of an earlier
region that states a count, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.inside import inside, inside_any
from celltally.density.overlay import Keep, Overlay, bounds, overlaps
from celltally.density.regions import RegionSums
from celltally.types import Region

__all__ = ["Told", "stated_in"]

#: Cells below which a density does not tell how cells are shared out; the area does then.
_TOO_FEW = 1e-3


@dataclass(frozen=True)
class Told:
    """What stated counts add to a part of an image.

    Attributes
    ----------
    whole
        Cells stated for regions that lie in it whole.
    density, variance
        Of the regions that it cuts: their scaled density, and their variance.
    open_px
        Area of what it has of these, in image pixels.
    """

    whole: float
    density: float
    variance: float
    open_px: float


def stated_in(
    sums: RegionSums,
    area_in: Callable[[NDArray[np.float64]], float],
    points: NDArray[np.float64],
    regions: Sequence[Region],
    within: Sequence[Sequence[ArrayLike]],
    nothing: float,
) -> Told:
    """Add up what regions with a stated count say of a part of an image.

    Parameters
    ----------
    sums
        Of the density and its variance.
    area_in
        Gives the area of an outline in image pixels, without what lies beyond the image.
    points
        ``(n, 2)`` all dots of the image that were not removed.
    regions
        All of the image.
    within
        The part: what lies in any polygon of each of these groups.
    nothing
        Area that is no more than rounding.

    Returns
    -------
    Told
    """
    excluded = [r.polygon for r in regions if r.kind == "exclude"]
    reviewed = [r.polygon for r in regions if r.by_dots]
    earlier: list[NDArray[np.float64]] = []
    whole = density = variance = open_px = 0.0
    for region in regions:
        if region.stated is None or not region.by_stated:
            continue
        box = bounds(region.polygon)
        better, before = _near(reviewed, box), _near(earlier, box)
        parts = [_near([np.asarray(p, dtype=np.float64) for p in g], box) for g in within]
        earlier.append(region.polygon)
        if within and not all(parts):
            continue
        overlay = Overlay([[region.polygon], better, before, _near(excluded, box), *parts])

        def look(keep: Keep, overlay: Overlay = overlay) -> _Looked:
            outline = overlay.outline(keep)
            mass = sums.along(outline)
            return _Looked(float(mass[0]), float(mass[1]), area_in(outline))

        free = look(_free)
        own = look(_own) if before else free
        here = look(_here)
        if own.area <= nothing or here.area <= nothing:
            continue
        known = inside(points, region.polygon) & inside_any(points, better)
        left = max(region.stated - float(known.sum()), 0.0) * own.share_of(free)
        if free.area - here.area <= nothing:
            whole += left
        else:
            density += left * here.share_of(own)
            variance += max(here.variance, 0.0)
            open_px += here.area
    return Told(whole, density, variance, open_px)


@dataclass(frozen=True)
class _Looked:
    """Sums over a part of a region."""

    density: float
    variance: float
    area: float

    def share_of(self, larger: _Looked) -> float:
        """Share of a larger part's cells that this part has."""
        if larger.density > _TOO_FEW:
            return float(np.clip(self.density / larger.density, 0.0, 1.0))
        return float(np.clip(self.area / larger.area, 0.0, 1.0))


def _free(inside_: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where no dots are known."""
    return np.asarray(inside_[0] & ~inside_[1])


def _own(inside_: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where, besides, nothing was stated before."""
    return np.asarray(_free(inside_) & ~inside_[2])


def _here(inside_: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where, besides, it is asked for."""
    return np.asarray(_own(inside_) & ~inside_[3] & inside_[4:].all(axis=0))


def _near(
    polygons: Sequence[NDArray[np.float64]], box: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Those of the polygons that may overlap a box."""
    if not polygons:
        return []
    found = overlaps(box, np.stack([bounds(polygon) for polygon in polygons]))
    return [polygon for polygon, there in zip(polygons, found, strict=True) if there]
