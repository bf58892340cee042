"""Boxes around the places of an image that are most similar to a prototype."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from celltally.explain.similarity import Similarities

__all__ = ["FLOOR", "PERCENTILE", "Box", "find_boxes"]

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
        threshold = max(float(np.percentile(values, percentile)), floor * greatest)
        boxes += _boxes(values, values > threshold, number, kind, found)
    return sorted(boxes, key=lambda box: -box.similarity)


def _boxes(
    values: NDArray[np.float32],
    inside: NDArray[np.bool_],
    number: int,
    kind: str,
    found: Similarities,
) -> list[Box]:
    # Corners connect as well: a cell of two places is one.
    labels, n = ndimage.label(inside, structure=np.ones((3, 3)))
    peaks = ndimage.maximum(values, labels, range(1, n + 1)) if n else []
    boxes = []
    for window, peak in zip(ndimage.find_objects(labels), peaks, strict=True):
        corners = np.array([[s.start for s in window], [s.stop for s in window]])
        (y0, x0), (y1, x1) = found.grid.to_image(corners).tolist()
        boxes.append(Box(number, kind, y0, x0, y1, x1, float(peak)))
    return boxes
