"""ilastik's table of boxes: what its density counting workflow exports, for regions of ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._files import write_atomically
from celltally.io.dots._table import write_table
from celltally.types import Prediction, Region

__all__ = ["BOX_COLUMNS", "write_boxes"]

BOX_COLUMNS = ("StartX", "StartY", "StopX", "StopY", "Count", "AverageDensity", "StdDensity")


def write_boxes(path: str | Path, regions: Sequence[Region], prediction: Prediction) -> list[str]:
    """Write the box round every region, with the count and the density in it.

    As in ilastik a box is rows and columns of pixels, from start (in) to stop (out), both
    counted from 0; the densities are in cells per pixel, mean and standard deviation over the
    pixels of the box. A density cell counts with the fraction of it that the box covers.

    Parameters
    ----------
    path
        Where to.
    regions
        Those that lie outside of the image are left out.
    prediction
        Of the plane that the regions lie in.

    Returns
    -------
    list of str
        What the table cannot hold: names of regions that are not upright rectangles.

    Raises
    ------
    UserError
        When no region lies in the image, or the file cannot be written.
    """
    rows, skewed = [], []
    for region in regions:
        box = _box(region, prediction.image_shape)
        if box is None:
            continue
        rows.append(_row(box, prediction))
        if not _is_box(region.polygon):
            skewed.append(region.name or f"region {len(rows)}")
    if not rows:
        raise UserError("no region lies in the image, so that there are no boxes to write")
    columns = dict(zip(BOX_COLUMNS, zip(*rows, strict=True), strict=True))
    write_atomically(Path(path), write_table({name: list(c) for name, c in columns.items()}))
    if not skewed:
        return []
    return [f"ilastik has boxes only: of {', '.join(skewed)} the box round it is counted."]


def _box(region: Region, shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return start and stop of y, then of x, of the pixels that a region touches."""
    if len(region.polygon) < 3:
        return None
    edges: list[int] = []
    for axis in (0, 1):
        low, high = region.polygon[:, axis].min() + 0.5, region.polygon[:, axis].max() + 0.5
        # A hair beyond an edge of pixels is rounding, not one more pixel.
        start = max(math.floor(low + 1e-6), 0)
        stop = min(math.ceil(high - 1e-6), shape[axis])
        if stop <= start:
            return None
        edges += [start, stop]
    return edges[0], edges[1], edges[2], edges[3]


def _row(box: tuple[int, int, int, int], prediction: Prediction) -> tuple[str, ...]:
    y0, y1, x0, x1 = box
    density = prediction.density.sum(axis=0, dtype=np.float64)
    grid = prediction.grid
    in_y = _pixels_in_cells(y0, y1, grid.shape[0], grid.step[0], grid.origin[0])
    in_x = _pixels_in_cells(x0, x1, grid.shape[1], grid.step[1], grid.origin[1])
    per_pixel = density / (grid.step[0] * grid.step[1])
    count = float(in_y @ per_pixel @ in_x)
    pixels = (y1 - y0) * (x1 - x0)
    mean = count / pixels
    # Pixels that no density cell covers are empty.
    squares = float(in_y @ per_pixel**2 @ in_x)
    deviation = math.sqrt(max(squares / pixels - mean**2, 0.0))
    return (
        *map(str, (x0, y0, x1, y1)),
        *(f"{value:.6g}" for value in (count, mean, deviation)),
    )


def _pixels_in_cells(
    start: int, stop: int, n: int, step: float, origin: float
) -> NDArray[np.float64]:
    """Return how many pixels of ``[start, stop)`` each of n cells covers, along one axis."""
    edges = origin + step * np.arange(n + 1)
    inside = np.clip(edges, start - 0.5, stop - 0.5)
    return np.diff(inside)


def _is_box(polygon: NDArray[np.float64]) -> bool:
    """Whether the corners are those of an upright rectangle."""
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    on_edge = np.isclose(polygon, low, atol=1e-6) | np.isclose(polygon, high, atol=1e-6)
    if not on_edge.all():
        return False
    y, x = polygon.T
    area = 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))
    return math.isclose(area, float(np.prod(high - low)), rel_tol=1e-6)
