"""A random square of an image that a person is to count: where it lies, and its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.overlay import Overlay, bounds, overlaps
from celltally.density.regions import RegionSums
from celltally.types import Grid

__all__ = ["Box", "CutOut", "corners_of", "cut_out", "draw_apart", "draw_region"]

#: Edges (top, left, bottom, right) in whole pixels; 0 is the image's outer edge.
Box = tuple[int, int, int, int]

#: A region has a number of predicted cells between these, each size (as a ratio) as likely.
FEWEST, MOST = 10.0, 40.0
#: Cell diameters that a side of a region has at least and at most.
SHORTEST, LONGEST = 3.0, 30.0
#: Cell diameters, and share of a side, of the ring of context around it.
RING, RING_SHARE = 1.5, 0.15
#: Percentiles of the image between which it is shown.
DARK, BRIGHT = 0.2, 99.8
#: How often a region is drawn anew that overlaps one that is to be avoided.
MOST_TRIES = 200


def draw_region(
    sums: RegionSums, image_shape: tuple[int, int], diameter_px: float, rng: np.random.Generator
) -> Box:
    """Draw a square of whole pixels: its middle anywhere, its size by what is predicted there.

    It grows round its middle, along the image's sides where it meets them, until the
    predicted count is the one drawn, or it is ``LONGEST`` diameters wide.
    """
    target = float(np.exp(rng.uniform(np.log(FEWEST), np.log(MOST))))
    sides = np.asarray(image_shape)
    middle = rng.uniform(size=2) * sides
    short, long = max(int(SHORTEST * diameter_px), 8), max(int(LONGEST * diameter_px), 8)

    def box(side: int) -> Box:
        size = np.minimum(side, sides)
        low = np.clip(np.round(middle - side / 2).astype(int), 0, sides - size)
        return int(low[0]), int(low[1]), int(low[0] + size[0]), int(low[1] + size[1])

    low, high = short, max(short, min(long, int(sides.max())))
    while low < high:
        side = (low + high) // 2
        if float(sums.over(corners_of(box(side)))[0]) < target:
            low = side + 1
        else:
            high = side
    return box(low)


def draw_apart(
    sums: RegionSums,
    image_shape: tuple[int, int],
    diameter_px: float,
    rng: np.random.Generator,
    avoid: Sequence[ArrayLike] = (),
    within: Sequence[ArrayLike] = (),
) -> Box:
    """Draw as ``draw_region``, again and again until all of it lies where it may.

    Where that does not come about in ``MOST_TRIES``, of those that were drawn the one of which
    most does.

    Parameters
    ----------
    sums, image_shape, diameter_px, rng
        See ``draw_region``.
    avoid
        Polygons that it is not to overlap.
    within
        Polygons, in any of which it is to lie; none: anywhere.
    """
    polygons = [np.asarray(polygon, dtype=np.float64) for polygon in avoid]
    boxes = np.stack([bounds(p) for p in polygons]) if polygons else np.empty((0, 2, 2))
    best, least = (0, 0, 0, 0), np.inf
    for _ in range(MOST_TRIES):
        box = draw_region(sums, image_shape, diameter_px, rng)
        corners = np.array(corners_of(box))
        near = [polygons[i] for i in np.flatnonzero(overlaps(bounds(corners), boxes))]
        amiss = _amiss(corners, near, within, image_shape) if near or within else 0.0
        if amiss < least:
            best, least = box, amiss
        if amiss <= 0:
            break
    return best


def _amiss(
    corners: NDArray[np.float64],
    avoid: Sequence[ArrayLike],
    within: Sequence[ArrayLike],
    image_shape: tuple[int, int],
) -> float:
    """Share of a rectangle that lies where it should not; 0 where it is only rounding."""
    overlay = Overlay([[corners], avoid, within])
    anywhere = not within
    outline = overlay.outline(
        lambda inside: np.asarray(inside[0] & (inside[1] | ~(inside[2] | anywhere)))
    )
    height, width = image_shape
    grid = Grid((1, 1), step=(float(height), float(width)))
    pixels = height * width * RegionSums(np.ones((1, 1, 1), dtype=np.float32), grid).along(outline)
    low, high = bounds(corners)
    share = float(pixels[0]) / float(np.prod(high - low))
    return share if share > 1e-6 else 0.0


def corners_of(box: Box) -> tuple[tuple[float, float], ...]:
    """Corners (y, x) in image pixels; the edge of the first pixel is −0.5."""
    top, left, bottom, right = box
    y, x = (top - 0.5, bottom - 0.5), (left - 0.5, right - 0.5)
    return ((y[0], x[0]), (y[0], x[1]), (y[1], x[1]), (y[1], x[0]))


@dataclass(frozen=True, eq=False)
class CutOut:
    """The pixels of a region, as a person is shown them.

    Attributes
    ----------
    pixels
        The region with its ring of context, ``(h, w)`` or ``(h, w, 3)``.
    frame
        (top, left, bottom, right) edges of the region in ``pixels``; 0 is the outer edge.
    origin
        (y, x) in the image of the middle of the first of ``pixels``.
    limits
        Values between which it is to be shown.
    diameter_px
        Cell diameter in image pixels.
    """

    pixels: NDArray[Any]
    frame: Box
    origin: tuple[int, int]
    limits: tuple[float, float]
    diameter_px: float


def cut_out(pixels: NDArray[Any], box: Box, diameter_px: float) -> CutOut:
    """Cut a region out of an image, ``(H, W)`` or ``(H, W, 3)``, with a ring of context."""
    top, left, bottom, right = box
    ring = int(max(RING * diameter_px, RING_SHARE * (bottom - top)))
    y, x = max(top - ring, 0), max(left - ring, 0)
    crop = np.array(pixels[y : bottom + ring, x : right + ring])
    sample = pixels[:: max(pixels.shape[0] // 1000, 1), :: max(pixels.shape[1] // 1000, 1)]
    dark, bright = (float(v) for v in np.percentile(sample[np.isfinite(sample)], (DARK, BRIGHT)))
    frame = (top - y, left - x, bottom - y, right - x)
    limits = (dark, bright if bright > dark else dark + 1)
    return CutOut(crop, frame, (y, x), limits, diameter_px)
