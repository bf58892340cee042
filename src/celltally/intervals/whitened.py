"""Images as points in a space where all directions in which they differ are alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Whitened"]


class Whitened:
    """Known images, each a point, scaled and turned so that their covariance is about one.

    Parameters
    ----------
    points
        ``(n, d)`` figures of each image.
    least
        ``(d,)`` difference from which on each figure is one; one in which the images hardly
        differ is not stretched beyond it.
    shrinkage
        Variance that is added along every direction, in units of that of a figure:
        directions in which the known images happen not to differ are not to decide alone.

    Attributes
    ----------
    points
        ``(n, d)`` in this space.
    widths
        ``(d,)`` of the figures.
    """

    def __init__(self, points: ArrayLike, least: ArrayLike, shrinkage: float) -> None:
        raw = np.asarray(points, dtype=np.float64)
        self._centre = raw.mean(axis=0)
        self.widths = np.maximum(raw.std(axis=0), np.maximum(np.asarray(least), 1e-6))
        scaled = (raw - self._centre) / self.widths
        values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        self._turn = vectors / np.sqrt(np.maximum(values, 0.0) + shrinkage)
        self.points = scaled @ self._turn

    def squares(self, point: ArrayLike) -> NDArray[np.float64]:
        """``(n,)`` squared distances of the known images to another one, ``(d,)``."""
        place = (np.asarray(point) - self._centre) / self.widths @ self._turn
        return np.asarray(((self.points - place) ** 2).sum(axis=1))

    def among(self) -> NDArray[np.float64]:
        """``(n, n)`` squared distances of the known images to each other."""
        lengths = (self.points**2).sum(axis=1)
        squares = lengths[:, None] + lengths - 2.0 * self.points @ self.points.T
        return np.asarray(np.maximum(squares, 0.0))

    def reach(self, differences: ArrayLike) -> float:
        """How far images are apart that differ by this much in every figure, ``(d,)``.

        Root mean square over the signs that the differences may have.
        """
        scaled = (np.asarray(differences) / self.widths)[:, None] * self._turn
        return float(np.sqrt((scaled**2).sum()))
