"""Outlines of unions, intersections and differences of polygons.

Regions that a human draws overlap, share sides and cross themselves, and nothing in them
may be counted twice. The plane is cut into slabs at the heights of all corners and
crossings; inside a slab no two edges cross, so going through its edges from left to right
tells between which of them one is inside of which polygons (the sweep of Bentley and
Ottmann 1979, slab by slab). An edge belongs to the outline where the answer to "is this
part meant?" changes. Edges that coincide, or nearly do, lie beside each other and do no
harm. A polygon that crosses itself has its inside where it is drawn filled: by the
even–odd rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components

__all__ = ["Keep", "Overlay", "as_corners", "bounds", "overlaps"]

#: Given for each group whether one is inside of any of its polygons, ``(groups, n)``, says
#: whether the part is meant, ``(n,)``.
Keep = Callable[[NDArray[np.bool_]], NDArray[np.bool_]]

# Crossings that are nearer to a corner than this share of the whole extent are taken to
# be at the corner.
_TOLERANCE = 1e-10
# Each round finds at least one crossing of every bundle of edges that cross in a slab.
_MOST_ROUNDS = 200


class Overlay:
    """Polygons in groups, laid over each other.

    Parameters
    ----------
    groups
        Of each group its polygons, ``(n, 2)`` corners (y, x) each, the last joined to the
        first. What has fewer than three corners has no inside.

    Raises
    ------
    ValueError
        For corners that are not pairs of finite numbers.
    """

    def __init__(self, groups: Sequence[Sequence[ArrayLike]]) -> None:
        polygons = [
            (group, as_corners(corners))
            for group, members in enumerate(groups)
            for corners in members
        ]
        polygons = [(group, corners) for group, corners in polygons if len(corners) > 2]
        self._n_groups = len(groups)
        self._group = np.array([group for group, _ in polygons], dtype=np.intp)
        low, high, self._polygon, self._shift = _edges([corners for _, corners in polygons])
        self._cut(low, high)

    def _cut(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        """Cut the edges into pieces that do not cross, ordered from left to right by slab."""
        heights = np.unique(np.concatenate([low[:, 0], high[:, 0]]))
        extent = max(float(np.ptp(low[:, 1])), float(np.ptp(high[:, 1])), 1.0) if len(low) else 1.0
        tolerance = _TOLERANCE * max(extent, float(np.ptp(heights)) if len(heights) else 0.0)
        for _ in range(_MOST_ROUNDS):
            edge, slab, bottom, top, left, right = _pieces(low, high, heights)
            order = np.lexsort((left + right, slab))
            edge, slab, left, right = edge[order], slab[order], left[order], right[order]
            bottom, top = bottom[order], top[order]
            same = slab[1:] == slab[:-1]
            gap0, gap1 = np.diff(left), np.diff(right)
            crossed = same & ((gap0 < -tolerance) | (gap1 < -tolerance))
            at = np.flatnonzero(crossed)
            share = gap0[at] / (gap0[at] - gap1[at])
            new = bottom[at] + share * (top[at] - bottom[at])
            new = new[(new > bottom[at] + tolerance) & (new < top[at] - tolerance)]
            if not len(new):
                break
            heights = np.unique(np.concatenate([heights, new]))
        self._slab, self._edge_polygon = slab, self._polygon[edge]
        shift = self._shift[edge]
        self._bottom = np.stack([bottom - shift, left], axis=1)
        self._top = np.stack([top - shift, right], axis=1)

    def outline(self, keep: Keep) -> NDArray[np.float64]:
        """Outline of the part that is meant.

        Parameters
        ----------
        keep
            Which part. Outside of all polygons it must be False.

        Returns
        -------
        ndarray
            ``(m, 2, 2)`` its pieces, from end to end (y, x), so directed that the integral
            of x dy along them is the area. Horizontal ones, which add nothing to such an
            integral, are left out.
        """
        n = len(self._slab)
        # The first, third, … edge of a polygon in a slab enters it, the others leave it.
        order = np.lexsort((np.arange(n), self._edge_polygon, self._slab))
        key = np.stack([self._slab[order], self._edge_polygon[order]])
        begins = np.ones(n, dtype=bool)
        begins[1:] = (key[:, 1:] != key[:, :-1]).any(axis=0)
        rank = np.arange(n) - np.maximum.accumulate(np.where(begins, np.arange(n), 0))
        step = np.empty(n, dtype=np.intp)
        step[order] = 1 - 2 * (rank % 2)

        steps = np.zeros((self._n_groups, n), dtype=np.intp)
        steps[self._group[self._edge_polygon], np.arange(n)] = step
        depth = np.cumsum(steps, axis=1)
        meant, before = keep(depth > 0), keep(depth - steps > 0)
        enters, leaves = meant & ~before, before & ~meant
        return np.concatenate(
            [
                np.stack([self._top[enters], self._bottom[enters]], axis=1),
                np.stack([self._bottom[leaves], self._top[leaves]], axis=1),
            ]
        )


def as_corners(polygon: ArrayLike) -> NDArray[np.float64]:
    """Corners ``(n, 2)`` of a polygon.

    Raises
    ------
    ValueError
        When they are not pairs of finite numbers.
    """
    corners = np.asarray(polygon, dtype=np.float64)
    if not corners.size:
        return np.empty((0, 2))
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise ValueError("a polygon's corners are pairs (y, x) of finite numbers")
    return corners


def bounds(polygon: ArrayLike) -> NDArray[np.float64]:
    """Return ``(2, 2)``: least and largest y and x of a polygon's corners."""
    corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    if not len(corners):
        return np.array([[np.inf, np.inf], [-np.inf, -np.inf]])
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def overlaps(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether bounds ``(2, 2)`` overlap or touch each of others, ``(n, 2, 2)``."""
    apart = (others[:, 0] > one[1]) | (others[:, 1] < one[0])
    return np.asarray(~apart.any(axis=1))


def _edges(
    polygons: Sequence[NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """Lower and upper ends of all edges that are not level, their polygon, and their shift.

    Polygons that cannot touch are shifted apart in y, so that none cuts the other's edges.
    """
    if not polygons:
        none = np.empty((0, 2))
        return none, none, np.empty(0, dtype=np.intp), np.empty(0)
    boxes = np.stack([bounds(corners) for corners in polygons])
    touches = np.stack([overlaps(box, boxes) for box in boxes])
    n_heaps, heap = connected_components(touches, directed=False)
    floor, roof = np.full(n_heaps, np.inf), np.full(n_heaps, -np.inf)
    np.minimum.at(floor, heap, boxes[:, 0, 0])
    np.maximum.at(roof, heap, boxes[:, 1, 0])
    height = roof - floor + 1.0
    shifts = (np.cumsum(height) - height - floor)[heap]

    start = np.concatenate(polygons)
    stop = np.concatenate([np.roll(corners, -1, axis=0) for corners in polygons])
    polygon = np.repeat(np.arange(len(polygons)), [len(corners) for corners in polygons])
    shift = shifts[polygon]
    start, stop = (np.stack([e[:, 0] + shift, e[:, 1]], axis=1) for e in (start, stop))
    steep = start[:, 0] != stop[:, 0]
    start, stop, polygon, shift = start[steep], stop[steep], polygon[steep], shift[steep]
    up = (start[:, 0] < stop[:, 0])[:, None]
    return np.where(up, start, stop), np.where(up, stop, start), polygon, shift


def _pieces(
    low: NDArray[np.float64], high: NDArray[np.float64], heights: NDArray[np.float64]
) -> tuple[NDArray[np.intp], ...]:
    """Edges cut at all heights: edge, slab, y of both ends, x of both ends."""
    first = np.searchsorted(heights, low[:, 0])
    number = np.searchsorted(heights, high[:, 0]) - first
    edge = np.repeat(np.arange(len(low)), number)
    slab = np.arange(len(edge)) - np.repeat(np.cumsum(number) - number - first, number)
    bottom, top = heights[slab], heights[slab + 1]
    rise = (high[:, 1] - low[:, 1]) / (high[:, 0] - low[:, 0])
    left, right = (low[edge, 1] + rise[edge] * (y - low[edge, 0]) for y in (bottom, top))
    return edge, slab, bottom, top, left, right
