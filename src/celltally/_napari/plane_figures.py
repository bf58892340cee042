"""Corrected counts of planes that are not in view, and of planes whose cells are merged.

Free of Qt. They are worked out as those of the plane in view are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from celltally._napari import region_report
from celltally._napari.measuring import uncounted
from celltally._napari.planes import Plane
from celltally.density.inside import inside_any
from celltally.density.stacks import MERGE_DISTANCE, Merged, merge_planes
from celltally.intervals import measure
from celltally.intervals.stacks import NO_INTERVAL
from celltally.project.edits import Work
from celltally.types import Dots, Interval, Prediction, Region

__all__ = [
    "Cells",
    "Figures",
    "corrections_at",
    "figures_of",
    "live_dots",
    "merge_token",
    "merged_cells",
]

#: Kinds of regions that change what counts.
_TAKEN = ("exclude", "reviewed", "audit")


@dataclass(frozen=True)
class Figures:
    """The count of a plane after corrections.

    Attributes
    ----------
    count, interval
        In cells.
    n_dots
        Number of dots that are not excluded.
    correction
        In words, what was corrected; "" where nothing was.
    """

    count: float
    interval: Interval
    n_dots: int
    correction: str = ""


def live_dots(work: Work | None, plane: Plane) -> Dots:
    """Return the dots of a plane (of all z, where these belong together), without removed ones."""
    if work is None:
        return Dots.new()
    return work.dots[plane.own(work.dots) & (work.dots.state != "removed")]


def corrections_at(work: Work | None, plane: Plane) -> list[Region]:
    """Return the regions that change what counts in a plane."""
    if work is None:
        return []
    every_z = plane.z_method == "projection"
    return [
        region
        for region in work.regions
        if region.kind in _TAKEN
        and len(region.polygon) >= 3
        and region.t == plane.index("T")
        and (every_z or region.z == plane.index("Z"))
    ]


def figures_of(
    prediction: Prediction, dots: Dots, regions: Sequence[Region], level: float
) -> Figures:
    """Work out the corrected count of a plane.

    Parameters
    ----------
    prediction
        Its own.
    dots, regions
        See ``live_dots`` and ``corrections_at``.
    level
        Of the interval.
    """
    from celltally import intervals

    if not regions:
        return Figures(prediction.count, intervals.of(prediction, level=level), len(dots))
    found = measure(prediction, dots.yx, regions)
    words = region_report.corrections(
        sum(region.kind == "exclude" for region in regions),
        sum(region.kind != "exclude" for region in regions),
    )
    return Figures(found.count, found.interval(prediction, level), found.n_dots, words)


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a z stack at a time point: dots above each other, as corrected, are one.

    Attributes
    ----------
    merged
        Cells, and which of ``dots`` each was merged from.
    dots
        Those that were merged.
    planes, depth
        How many planes were counted, and how many there are.
    interval
        Without bounds, but where every plane was reviewed.
    reviewed
        Share of the planes' area that was reviewed.
    """

    merged: Merged
    dots: Dots
    planes: int
    depth: int
    interval: Interval
    reviewed: float

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.merged.dots)

    @property
    def words(self) -> str:
        """Say what was merged: ``merged from 240 dots in 12 planes``."""
        n = len(self.dots)
        planes = f"{self.planes} plane{'s' * (self.planes != 1)}"
        if self.planes < self.depth:
            planes = f"{self.planes} of {self.depth} planes; the others are not counted"
        return f"merged from {n} dot{'s' * (n != 1)} in {planes}"


def _of_time(work: Work, t: int) -> tuple[Dots, list[Region]]:
    return work.dots[work.dots.t == t], [r for r in work.regions if r.t == t]


def merge_token(work: Work, t: int, planes: Collection[int], level: float) -> bytes:
    """Return what the cells of a time point are made from, to know whether it has changed."""
    dots, regions = _of_time(work, t)
    digest = hashlib.blake2b(repr((t, sorted(planes), level)).encode(), digest_size=16)
    for column in (dots.yx, dots.z, dots.state, dots.label, dots.score):
        digest.update(np.ascontiguousarray(column).tobytes())
    for region in regions:
        digest.update(repr((region.kind, region.z)).encode() + region.polygon.tobytes())
    return digest.digest()


def merged_cells(
    work: Work, plane: Plane, planes: Collection[int], diameter_px: float, level: float
) -> Cells:
    """Merge the dots of a time point's planes, as they are corrected, into cells.

    Excluded regions are left out of their planes, and where tissue is drawn cells are counted
    in it only, as the project's figures have it.

    Parameters
    ----------
    work
        Dots and regions of the image.
    plane
        Any of the time point.
    planes
        z of those that were counted.
    diameter_px
        Cell diameter; dots farther apart than half of it are not the same cell.
    level
        Of the interval where every plane was reviewed.
    """
    dots, regions = _of_time(work, plane.index("T"))
    regions = [region for region in regions if len(region.polygon) >= 3]
    there = dots.state != "removed"
    tissue = [region.polygon for region in regions if region.kind == "tissue"]
    if tissue:
        there &= inside_any(dots.yx, tissue)
    for region in regions:
        if region.kind == "exclude":
            there &= ~((dots.z == region.z) & inside_any(dots.yx, [region.polygon]))
    dots = dots[there]
    merged = merge_planes(dots, MERGE_DISTANCE * diameter_px)
    taken = [region for region in regions if region.kind in _TAKEN]
    shares = [0.0] * len(planes)
    if any(region.kind != "exclude" for region in taken):
        within = [tissue] if tissue else []
        shares = [
            _reviewed(plane.shape, [r for r in taken if r.z == z], within) for z in sorted(planes)
        ]
    reviewed = float(np.mean(shares)) if shares else 0.0
    interval = Interval(math.nan, math.nan, level, "not calibrated", NO_INTERVAL)
    if shares and all(share >= 1 for share in shares) and len(planes) == plane.depth:
        n = float(len(merged.dots))
        interval = Interval(n, n, level, "exact")
    return Cells(merged, dots, len(planes), plane.depth, interval, reviewed)


def _reviewed(
    shape: tuple[int, int], taken: Sequence[Region], within: Sequence[Sequence[np.ndarray]]
) -> float:
    found = measure(uncounted(shape), (), taken, within=within)
    if found.open_px <= 0:
        return 1.0
    return min(max(1 - found.open_px / found.area_px, 0.0), 1.0) if found.area_px > 0 else 0.0
