"""Sums of maps over polygons, exact to covered fractions of cells.

A map is a function that is constant on every cell; what is asked for is its integral over
a polygon. With the integral along each row from its start, D(x, y), Green's theorem turns
that into an integral of D along the polygon's edges, and between two crossings of cell
borders D is linear in x, so that its middle gives the exact integral. Only cells that an
edge runs through are visited: a polygon that is being dragged costs its perimeter, not its
area.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.overlay import as_corners
from celltally.types import Grid, Prediction

__all__ = ["RegionSums", "region_sums"]


@dataclass(frozen=True, eq=False)
class RegionSums:
    """Integrals of maps on one grid over polygons.

    Attributes
    ----------
    maps
        ``(K, h, w)``; a cell's value is its whole mass.
    grid
        Where the cells lie.
    """

    maps: NDArray[np.float32]
    grid: Grid

    @cached_property
    def _rows(self) -> NDArray[np.float64]:
        """``(K, h, w + 1)``: mass of each row in front of a cell."""
        k, height, width = self.maps.shape
        rows = np.zeros((k, height, width + 1))
        np.cumsum(self.maps, axis=2, dtype=np.float64, out=rows[:, :, 1:])
        return rows

    def prepare(self) -> None:
        """Do at once what the first sum would need; that takes the time of reading the maps."""
        _ = self._rows

    def over(self, polygon: ArrayLike) -> NDArray[np.float64]:
        """Mass of each map inside a polygon.

        Parameters
        ----------
        polygon
            ``(n, 2)`` corners (y, x) in image pixels; the last is joined to the first.
            What lies beyond the maps has no mass. Where a polygon crosses itself, parts
            that it winds round the other way are taken off.

        Returns
        -------
        ndarray
            ``(K,)`` float64.

        Raises
        ------
        ValueError
            For corners that are not pairs of finite numbers.
        """
        corners = as_corners(polygon)
        if len(corners) < 3:
            return np.zeros(len(self.maps))
        mass = self.along(np.stack([corners, np.roll(corners, -1, axis=0)], axis=1))
        # Corners may run either way round.
        return mass if _signed_area(corners) >= 0 else -mass

    def along(self, outline: ArrayLike) -> NDArray[np.float64]:
        """Mass of each map inside an outline.

        Parameters
        ----------
        outline
            ``(m, 2, 2)`` its pieces from end to end, (y, x) in image pixels, directed as by
            ``Overlay.outline``. What lies beyond the maps has no mass.

        Returns
        -------
        ndarray
            ``(K,)`` float64.
        """
        ends = self.grid.to_cells(outline).reshape(-1, 2, 2)
        height, width = self.grid.shape
        pieces = _pieces(ends[:, 0], ends[:, 1], height, width)
        y, x = 0.5 * (pieces[:, 0] + pieces[:, 1]).T
        # Above and below the maps there is no mass, and to their left; to the right of
        # them D is the mass of the whole row.
        seen = (y > 0) & (y < height) & (x > 0)
        if not seen.any():
            return np.zeros(len(self.maps))
        dy = np.diff(pieces[seen, :, 0], axis=1)[:, 0]
        row = np.clip(np.floor(y[seen]).astype(np.intp), 0, height - 1)
        x = np.minimum(x[seen], width)
        column = np.clip(np.floor(x).astype(np.intp), 0, width - 1)
        before, after = self._rows[:, row, column], self._rows[:, row, column + 1]
        mass: NDArray[np.float64] = (before + (after - before) * (x - column)) @ dy
        return mass


#: Those of the predictions that somebody still holds.
_kept: WeakKeyDictionary[Prediction, RegionSums] = WeakKeyDictionary()


def region_sums(prediction: Prediction) -> RegionSums:
    """Give the sums of a prediction's two maps, its density and its variance.

    They are kept as long as the prediction is, so that only the first region waits.
    """
    if prediction not in _kept:
        maps = np.empty((2, *prediction.density.shape[1:]), dtype=np.float32)
        for total, classes in zip(maps, (prediction.density, prediction.variance), strict=True):
            np.sum(classes, axis=0, out=total)
        _kept[prediction] = RegionSums(maps, prediction.grid)
    return _kept[prediction]


def _pieces(
    start: NDArray[np.float64], stop: NDArray[np.float64], height: int, width: int
) -> NDArray[np.float64]:
    """Edges, cut where they cross borders of cells: ``(m, 2 ends, 2)``."""
    edges, shares = [np.arange(len(start))] * 2, [np.zeros(len(start)), np.ones(len(start))]
    for axis, side in enumerate((height, width)):
        a, b = start[:, axis], stop[:, axis]
        low = np.clip(np.ceil(np.minimum(a, b)), 0, side + 1).astype(np.intp)
        high = np.clip(np.floor(np.maximum(a, b)), -1, side).astype(np.intp)
        number = np.maximum(high - low + 1, 0)
        number[a == b] = 0
        edge = np.repeat(np.arange(len(start)), number)
        first = np.repeat(np.cumsum(number) - number, number)
        border = low[edge] + np.arange(len(edge)) - first
        edges.append(edge)
        shares.append((border - a[edge]) / (b[edge] - a[edge]))
    edge, share = np.concatenate(edges), np.concatenate(shares)
    order = np.lexsort((share, edge))
    edge, share = edge[order], np.clip(share[order], 0.0, 1.0)
    points = start[edge] + share[:, None] * (stop[edge] - start[edge])
    same = edge[1:] == edge[:-1]
    return np.stack([points[:-1][same], points[1:][same]], axis=1)


def _signed_area(corners: NDArray[np.float64]) -> float:
    """Area of a polygon; positive where D dy along it adds up to its mass."""
    y, x = corners.T
    return float(0.5 * np.sum((x + np.roll(x, -1)) * (np.roll(y, -1) - y)))
