"""Random rectangles in an image, of every size alike."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["dots_inside", "random_rectangles"]

#: Logarithms of the smallest rectangle's share of the image, and of the largest ratio of
#: its height to its width, in heights and widths of the image.
SMALLEST, ASPECT = math.log(0.002), math.log(4.0)


def random_rectangles(
    image_shape: tuple[int, int], n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw rectangles along the image's sides, within the image.

    Parameters
    ----------
    image_shape
        Height and width in pixels.
    n
        How many.
    rng
        Source of all chance.

    Returns
    -------
    ndarray
        ``(n, 4, 2)`` corners (y, x) in image pixels, the upper left one first and the
        lower right one third.
    """
    sides = np.asarray(image_shape, dtype=float)
    area, aspect = rng.uniform((SMALLEST, -ASPECT), (0.0, ASPECT), (n, 2)).T
    shares = np.exp(0.5 * np.stack([area + aspect, area - aspect], axis=1))
    size = sides * np.minimum(shares, 1.0)
    low = rng.uniform(size=(n, 2)) * (sides - size) - 0.5
    high = low + size
    corners = np.stack([low, high], axis=1)
    rows, columns = [0, 0, 1, 1], [0, 1, 1, 0]
    return np.stack([corners[:, rows, 0], corners[:, columns, 1]], axis=-1)


def dots_inside(yx: NDArray[np.float64], rectangle: NDArray[np.float64]) -> int:
    """Count the dots in a rectangle, its upper and left sides included."""
    low, high = rectangle[0], rectangle[2]
    return int(((yx >= low) & (yx < high)).all(axis=1).sum())
