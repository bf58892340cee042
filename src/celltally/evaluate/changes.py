"""Images changed on purpose: places removed, noise added, turned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltally.explain.boxes import Box
from celltally.preprocess import PERCENTILES

__all__ = [
    "NOISE", "Place", "blank_fields", "fill_places", "most_similar_places", "noisy",
    "random_places", "turned", "turned_back",
]  # fmt: skip

#: Rows and columns of an image: ``(y0, x0, y1, x1)``, the last ones left out.
Place = tuple[int, int, int, int]

#: Places are removed up to this share of an image's area.
REMOVED = 0.1
#: Standard deviation of the noise, as a share of the range of the image's intensities.
NOISE = 0.02


def most_similar_places(
    boxes: list[Box], diameter_px: float, shape: tuple[int, int]
) -> list[Place]:
    """Choose the cell boxes that are removed, each grown by half a cell diameter.

    In the order of their similarity, those that overlap none before, up to a tenth of
    the image's area.

    Parameters
    ----------
    boxes
        Boxes of all prototypes, the most similar first.
    diameter_px
        Cell diameter in image pixels.
    shape
        Height and width of the image.
    """
    chosen: list[Place] = []
    left = REMOVED * shape[0] * shape[1]
    for box in boxes:
        if box.kind != "cell":
            continue
        low = np.array([box.y0, box.x0]) - diameter_px / 2 + 0.5
        high = np.array([box.y1, box.x1]) + diameter_px / 2 + 0.5
        y0, x0, y1, x1 = np.clip(np.rint([*low, *high]), 0, [*shape, *shape]).astype(int).tolist()
        area = (y1 - y0) * (x1 - x0)
        if 0 < area <= left and not any(_overlap((y0, x0, y1, x1), other) for other in chosen):
            chosen.append((y0, x0, y1, x1))
            left -= area
    return chosen


def random_places(
    places: list[Place], shape: tuple[int, int], rng: np.random.Generator
) -> list[Place]:
    """Choose places of the same sizes anywhere; none overlaps another, as far as they fit."""
    chosen: list[Place] = []
    for y0, x0, y1, x1 in places:
        height, width = y1 - y0, x1 - x0
        for _ in range(100):
            y, x = (int(n) for n in rng.integers(0, [shape[0] - height + 1, shape[1] - width + 1]))
            place = (y, x, y + height, x + width)
            if not any(_overlap(place, other) for other in chosen):
                break
        chosen.append(place)
    return chosen


def fill_places(pixels: NDArray[Any], places: list[Place], diameter_px: float) -> NDArray[Any]:
    """Give each place the median of what surrounds it, a quarter of a diameter wide.

    Parameters
    ----------
    pixels
        ``(H, W)`` or ``(H, W, 3)``; they stay as they are. Channels are filled one by one.
    places
        What is removed.
    diameter_px
        Cell diameter in image pixels.
    """
    filled, ring = pixels.copy(), max(1, round(diameter_px / 4))
    for y0, x0, y1, x1 in places:
        top, left = max(0, y0 - ring), max(0, x0 - ring)
        around = pixels[top : y1 + ring, left : x1 + ring]
        outside = np.ones(around.shape[:2], dtype=bool)
        outside[y0 - top : y1 - top, x0 - left : x1 - left] = False
        if outside.any():
            filled[y0:y1, x0:x1] = np.median(around[outside], axis=0).astype(pixels.dtype)
    return filled


def noisy(pixels: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float32]:
    """Add Gaussian noise of ``NOISE`` times the range that images are normalised by."""
    low, high = np.percentile(pixels, PERCENTILES)
    noise = rng.normal(0.0, NOISE * (high - low), pixels.shape)
    return (pixels + noise).astype(np.float32)


def turned(pixels: NDArray[Any]) -> NDArray[Any]:
    """Turn an image by 90°, anticlockwise."""
    return np.ascontiguousarray(np.rot90(pixels))


def turned_back(boxes: list[Box], width: int) -> list[Box]:
    """Boxes of a turned image where they lie in the image, which is ``width`` px wide."""
    return [
        replace(box, y0=box.x0, y1=box.x1, x0=width - 1 - box.y1, x1=width - 1 - box.y0)
        for box in boxes
    ]


def blank_fields(shape: tuple[int, int] = (256, 256)) -> list[NDArray[np.uint8]]:
    """Fields that show nothing: constant, noise, and noise in uneven light; always the same."""
    rng = np.random.default_rng(0)
    light = np.linspace(60, 180, shape[1])[None]
    noise = rng.normal(0, 12, shape)
    return [
        field.clip(0, 255).astype(np.uint8)
        for field in (np.full(shape, 90.0), 90 + noise, light + noise)
    ]


def _overlap(one: Place, other: Place) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
