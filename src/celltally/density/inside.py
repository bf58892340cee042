"""Which dots lie in a polygon, and which a counting frame takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.overlay import bounds

__all__ = ["in_frame", "inside", "inside_any", "is_upright"]


def inside(yx: ArrayLike, polygon: ArrayLike) -> NDArray[np.bool_]:
    """Whether dots lie in a polygon, by the even–odd rule.

    The upper and the left side belong to it, the lower and the right one do not, so that a
    dot on a side that two polygons share is in exactly one of them.

    Parameters
    ----------
    yx
        ``(n, 2)`` positions.
    polygon
        ``(m, 2)`` corners (y, x).

    Returns
    -------
    ndarray
        ``(n,)`` bool.
    """
    points = np.asarray(yx, dtype=np.float64).reshape(-1, 2)
    corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    found = np.zeros(len(points), dtype=bool)
    low, high = bounds(corners)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    near = near[np.argsort(points[near, 0])]
    y, x = points[near].T
    start, stop = corners, np.roll(corners, -1, axis=0)
    # Every edge looks only at the dots at its height.
    first = np.searchsorted(y, np.minimum(start[:, 0], stop[:, 0]))
    number = np.searchsorted(y, np.maximum(start[:, 0], stop[:, 0])) - first
    edge = np.repeat(np.arange(len(corners)), number)
    dot = np.arange(len(edge)) - np.repeat(np.cumsum(number) - number - first, number)
    a, b = start[edge], stop[edge]
    at = a[:, 1] + (y[dot] - a[:, 0]) * (b[:, 1] - a[:, 1]) / (b[:, 0] - a[:, 0])
    right_of = np.bincount(dot[x[dot] < at], minlength=len(near))
    found[near] = right_of % 2 == 1
    return found


def inside_any(yx: ArrayLike, polygons: Sequence[ArrayLike]) -> NDArray[np.bool_]:
    """Whether dots ``(n, 2)`` lie in any of some polygons; see ``inside``."""
    points = np.asarray(yx, dtype=np.float64).reshape(-1, 2)
    found = np.zeros(len(points), dtype=bool)
    for polygon in polygons:
        found |= inside(points, polygon)
    return found


def is_upright(polygon: ArrayLike) -> bool:
    """Whether a polygon is a rectangle along the image's sides."""
    corners = np.asarray(polygon, dtype=np.float64)
    if len(corners) != 4 or not all(len(np.unique(corners[:, axis])) == 2 for axis in (0, 1)):
        return False
    # Each side runs along one axis; else the four corners are joined crosswise.
    return bool(((np.roll(corners, -1, axis=0) != corners).sum(axis=1) == 1).all())


def in_frame(yx: ArrayLike, frame: ArrayLike, diameter_px: float) -> NDArray[np.bool_]:
    """Which cells an unbiased counting frame takes (Gundersen 1977).

    Every cell is taken for a disc round its dot. A cell counts that touches the frame, also
    where it only reaches over the upper or the left side, unless it touches the forbidden
    line: the right and the lower side, the right one's prolongation upwards and the left
    one's downwards from the lower left corner. Frames side by side so share the cells out,
    each to exactly one of them.

    Parameters
    ----------
    yx
        ``(n, 2)`` positions of the dots.
    frame
        ``(4, 2)`` corners of a rectangle along the image's sides, see ``is_upright``.
    diameter_px
        Of the discs.

    Returns
    -------
    ndarray
        ``(n,)`` bool.
    """
    y, x = np.asarray(yx, dtype=np.float64).reshape(-1, 2).T
    (top, left), (bottom, right) = bounds(frame)
    reach = diameter_px / 2

    def distance(y0: float, x0: float, y1: float, x1: float) -> NDArray[np.float64]:
        return np.hypot(y - np.clip(y, y0, y1), x - np.clip(x, x0, x1))

    forbidden = np.minimum(
        np.minimum(distance(-np.inf, right, bottom, right), distance(bottom, left, bottom, right)),
        distance(bottom, left, np.inf, left),
    )
    return np.asarray((distance(top, left, bottom, right) < reach) & (forbidden >= reach))
