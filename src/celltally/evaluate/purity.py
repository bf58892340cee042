"""Whether the boxes of prototypes hold what they should: cells, or none."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from celltally.explain.boxes import FLOOR, PERCENTILE, Box, boxes_of, components_of
from celltally.explain.greatest import Greatest
from celltally.explain.similarity import Similarities

__all__ = ["JudgedBox", "judge_boxes", "share_found_again"]


@dataclass(frozen=True)
class JudgedBox:
    """A box, and whether it holds what its prototype's kind promises.

    Attributes
    ----------
    box
        See ``celltally.explain.boxes.find_boxes``.
    pure
        Of a cell box: whether it holds a true dot when it is grown by half a cell diameter
        on every side. Of a background box: whether no true dot lies in the density cells of
        its component (the connected places that it is drawn around). None where no dots
        are known.
    """

    box: Box
    pure: bool | None


def judge_boxes(
    found: Similarities,
    greatest: float,
    dots: NDArray[np.float64] | None,
    diameter_px: float,
) -> list[JudgedBox]:
    """Find an image's boxes and compare them with its true dots.

    Parameters
    ----------
    found
        Similarities of the whole image to all prototypes.
    greatest
        The greatest similarity that there can be.
    dots
        ``(n, 2)`` true dots in image pixels; None where only a count is known.
    diameter_px
        Cell diameter in image pixels.
    """
    judged = []
    for values, number, kind in zip(found.values, found.prototypes, found.kinds, strict=True):
        top = Greatest(found.grid.shape, PERCENTILE)
        top.add(values)
        boxes = boxes_of(top, FLOOR * greatest, number, kind, found.grid)
        if dots is None:
            judged += [JudgedBox(box, None) for box in boxes]
        elif kind == "cell":
            judged += [JudgedBox(box, _holds(box, dots, diameter_px / 2)) for box in boxes]
        else:
            cells, _, starts = components_of(top, FLOOR * greatest)
            held = _held(cells, starts, found, dots)
            judged += [JudgedBox(box, not h) for box, h in zip(boxes, held, strict=True)]
    return judged


def _holds(box: Box, dots: NDArray[np.float64], margin: float) -> bool:
    low = np.array([box.y0, box.x0]) - margin
    high = np.array([box.y1, box.x1]) + margin
    return bool(((dots >= low) & (dots < high)).all(axis=1).any())


def _held(
    cells: NDArray[np.int64],
    starts: NDArray[np.int64],
    found: Similarities,
    dots: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether each component has a dot in one of its cells."""
    dotted = np.zeros(found.grid.shape, dtype=bool)
    at = np.floor(found.grid.to_cells(dots)).astype(int)
    at = at.clip(0, np.array(found.grid.shape) - 1)
    dotted[at[:, 0], at[:, 1]] = True
    inside = dotted[cells[:, 0], cells[:, 1]]
    held: NDArray[np.bool_] = np.logical_or.reduceat(inside, starts) if len(starts) else inside
    return held


def share_found_again(
    before: list[Box], after: list[Box], reach: float, *, same_prototype: bool
) -> tuple[int, int]:
    """Count the boxes that another set of boxes has as well.

    Parameters
    ----------
    before, after
        Boxes of an image, and of the same image changed, in the same coordinates.
    reach
        How far apart two centres of the same box may be, in image pixels.
    same_prototype
        Whether the other box must be of the same prototype, or only of the same kind.

    Returns
    -------
    int, int
        Boxes found again, and all boxes of ``before``.
    """

    def grouped(boxes: list[Box]) -> dict[object, list[tuple[float, float]]]:
        groups: dict[object, list[tuple[float, float]]] = defaultdict(list)
        for box in boxes:
            centre = (box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2
            groups[box.prototype if same_prototype else box.kind].append(centre)
        return groups

    again, others = 0, grouped(after)
    for key, own in grouped(before).items():
        if other := others.get(key):
            again += int((cKDTree(other).query(own)[0] <= reach).sum())
    return again, len(before)
