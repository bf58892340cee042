"""Boxes around the places of an image that are most similar to a prototype."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from celltally.explain.greatest import Greatest
from celltally.explain.similarity import Similarities
from celltally.types import Grid

__all__ = ["FLOOR", "PERCENTILE", "Box", "boxes_of", "components_of", "find_boxes"]

#: A box holds similarities above this percentile of its map (CountXplain, MIDL 2025), …
PERCENTILE = 99.0
#: … and above this share of the greatest similarity that there can be, log(1/ε): an image
#: without cells has none.
FLOOR = 0.25


@dataclass(frozen=True)
class Box:
    """Where an image is like a prototype.

    Attributes
    ----------
    prototype, kind
        Its number in the model, and ``cell`` or ``background``.
    y0, x0, y1, x1
        Borders in image pixels: of the density cells that the box holds.
    similarity
        The greatest in the box.
    """

    prototype: int
    kind: str
    y0: float
    x0: float
    y1: float
    x1: float
    similarity: float


def find_boxes(
    found: Similarities,
    greatest: float,
    *,
    percentile: float = PERCENTILE,
    floor: float = FLOOR,
) -> list[Box]:
    """Bounding boxes of connected places above both thresholds, the most similar first.

    Parameters
    ----------
    found
        Similarities to prototypes.
    greatest
        The greatest similarity that there can be, of a place that is the prototype.
    percentile
        Of each prototype's own map, in percent.
    floor
        Least similarity as a share of the greatest.
    """
    boxes = []
    for values, number, kind in zip(found.values, found.prototypes, found.kinds, strict=True):
        greatest_of_map = Greatest(found.grid.shape, percentile)
        greatest_of_map.add(values)
        boxes += boxes_of(greatest_of_map, floor * greatest, number, kind, found.grid)
    return sorted(boxes, key=lambda box: -box.similarity)


def boxes_of(top: Greatest, floor: float, number: int, kind: str, grid: Grid) -> list[Box]:
    """Boxes of one prototype, see ``find_boxes``.

    Parameters
    ----------
    top
        The greatest values of its map, from the percentile on.
    floor
        Least similarity.
    number, kind
        Of the prototype.
    grid
        Of the map.
    """
    cells, values, starts = components_of(top, floor)
    if not len(cells):
        return []
    low = grid.to_image(np.minimum.reduceat(cells, starts, axis=0))
    high = grid.to_image(np.maximum.reduceat(cells, starts, axis=0) + 1)
    peaks = np.maximum.reduceat(values, starts)
    corners = np.concatenate([low, high], axis=1).tolist()
    return [
        Box(number, kind, y0, x0, y1, x1, similarity)
        for (y0, x0, y1, x1), similarity in zip(corners, peaks.tolist(), strict=True)
    ]


def components_of(
    top: Greatest, floor: float
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return the connected places of one prototype, which its boxes are drawn around.

    Parameters
    ----------
    top, floor
        See ``boxes_of``.

    Returns
    -------
    cells, values
        ``(n, 2)`` rows and columns of the map, and the ``(n,)`` similarities there: one
        component after the other.
    starts
        Where each component begins.
    """
    cells, values = top.above(max(top.percentile, floor))
    if not len(cells):
        return cells, values, np.zeros(0, dtype=np.int64)
    group = _connected(cells, top.shape[1])
    # Sorted by group, so that each is a run.
    order = np.argsort(group, kind="stable")
    return cells[order], values[order], np.flatnonzero(np.diff(group[order], prepend=-1))


def _connected(cells: NDArray[np.int64], width: int) -> NDArray[np.int32]:
    """Group of each of ``(n, 2)`` cells, which are sorted by row and column.

    Corners connect as well: a cell of two places is one.
    """
    n = len(cells)
    places = cells[:, 0] * (width + 1) + cells[:, 1]  # one more: no row's end touches the next
    pairs = []
    for step in (1, width, width + 1, width + 2):
        at = np.searchsorted(places, places + step)
        there = places[np.minimum(at, n - 1)] == places + step
        pairs.append(np.stack([np.flatnonzero(there), at[there]]))
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(n, n))
    labels: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels
