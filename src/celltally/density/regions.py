"""Sums of maps over polygons, exact to covered fractions of cells.

A map is a function that is constant on every cell; what is asked for is its integral over
a polygon. With the integral along each row from its start, D(x, y), Green's theorem turns
that into an integral of D along the polygon's edges, and between two crossings of cell
borders D is linear in x, so that its middle gives the exact integral. Only cells that an
edge runs through are visited: a polygon that is being dragged costs its perimeter, not its
area.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.overlay import as_corners
from celltally.types import Grid, Prediction

__all__ = ["RegionSums", "region_sums"]

#: Cells of a row whose masses are summed up beforehand. Sums in front of every single cell would
#: be quicker to look up, but take several times as long to make, and twice the maps' memory.
BLOCK = 32


@dataclass(frozen=True, eq=False)
class RegionSums:
    """Integrals of maps on one grid over polygons.

    Attributes
    ----------
    maps
        K maps ``(h, w)``; a cell's value is its whole mass.
    grid
        Where the cells lie.
    """

    maps: Sequence[NDArray[np.float32]] | NDArray[np.float32]
    grid: Grid

    @cached_property
    def _blocks(self) -> NDArray[np.float64]:
        """``(K, h, blocks)``: mass of each row in front of every block of cells."""
        height, width = self.grid.shape
        starts = np.arange(0, width, BLOCK)
        blocks = np.zeros((len(self.maps), height, len(starts) + 1))
        for sums, one in zip(blocks, self.maps, strict=True):
            np.cumsum(
                np.add.reduceat(one, starts, axis=1, dtype=np.float64), axis=1, out=sums[:, 1:]
            )
        return blocks[:, :, :-1]

    def _before(self, row: NDArray[np.intp], column: NDArray[np.intp]) -> NDArray[np.float64]:
        """``(K, n)``: mass of each row in front of a cell."""
        block = column // BLOCK
        cells = block[:, None] * BLOCK + np.arange(BLOCK)
        within = cells < column[:, None]
        cells = np.minimum(cells, self.grid.shape[1] - 1)
        rest = [
            (one[row[:, None], cells] * within).sum(axis=1, dtype=np.float64) for one in self.maps
        ]
        return np.asarray(self._blocks[:, row, block] + rest)

    def prepare(self) -> None:
        """Do at once what the first sum would need; that takes the time of reading the maps."""
        _ = self._blocks

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
        cell = np.stack([one[row, column] for one in self.maps])
        mass: NDArray[np.float64] = (self._before(row, column) + cell * (x - column)) @ dy
        return mass


#: Those of the predictions that somebody still holds.
_kept: WeakKeyDictionary[Prediction, RegionSums] = WeakKeyDictionary()


def region_sums(prediction: Prediction) -> RegionSums:
    """Give the sums of a prediction's two maps, its density and its variance.

    They are kept as long as the prediction is, so that only the first region waits.
    """
    if prediction not in _kept:
        maps = [
            classes[0] if len(classes) == 1 else classes.sum(axis=0)
            for classes in (prediction.density, prediction.variance)
        ]
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
