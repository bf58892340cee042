"""The greatest values of a map that comes in parts, in memory for these alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["Greatest"]


class Greatest:
    """Keeps the values of a map from a percentile on, and where they lie.

    The percentile is exact (``numpy.percentile``, linear between two values), for it is
    known beforehand how many values there will be. At most twice as many as are above it
    are held, and those of one part.

    Parameters
    ----------
    shape
        Rows and columns of the map.
    percentile
        In percent.
    """

    def __init__(self, shape: tuple[int, int], percentile: float) -> None:
        self.shape = shape
        total = shape[0] * shape[1]
        rank = percentile / 100.0 * (total - 1)
        self._share = rank - math.floor(rank)
        self._most = total - math.floor(rank)
        self._values = np.empty(0, dtype=np.float32)
        self._places = np.empty(0, dtype=np.int64)
        self._least = -math.inf

    def add(self, values: NDArray[np.float32], row: int = 0, column: int = 0) -> None:
        """Take in a part of the map whose first cell is ``(row, column)``."""
        inside = values > self._least
        i, j = np.nonzero(inside)
        self._values = np.concatenate([self._values, values[inside]])
        self._places = np.concatenate([self._places, (i + row) * self.shape[1] + j + column])
        if len(self._values) > 2 * self._most:
            self._cut()

    def _cut(self) -> None:
        """Let go of what is not among the greatest."""
        if len(self._values) > self._most:
            first = len(self._values) - self._most
            kept = np.argpartition(self._values, first)[first:]
            self._values, self._places = self._values[kept], self._places[kept]
            self._least = float(self._values.min())

    @property
    def percentile(self) -> float:
        """The percentile of the whole map."""
        self._cut()
        low, *others = np.partition(self._values, min(1, len(self._values) - 1))[:2].tolist()
        return float(low + self._share * (others[0] - low)) if others else float(low)

    def above(self, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Places above a threshold that is no less than the percentile, and their values.

        Returns
        -------
        cells
            ``(n, 2)`` rows and columns, in the order in which they are read.
        values
            ``(n,)``.
        """
        self._cut()
        inside = self._values > threshold
        places, values = self._places[inside], self._values[inside]
        order = np.argsort(places)
        return np.stack(np.divmod(places[order], self.shape[1]), axis=1), values[order]

    def best(self, number: int, apart: float) -> list[tuple[tuple[int, int], float]]:
        """Cells of the greatest values that are farther apart than ``apart`` cells, with these."""
        cells, values = self.above(-math.inf)
        found: list[tuple[tuple[int, int], float]] = []
        while len(values) and len(found) < number:
            at = int(np.argmax(values))
            found.append(((int(cells[at, 0]), int(cells[at, 1])), float(values[at])))
            far = ((cells - cells[at]) ** 2).sum(axis=1) > apart**2
            cells, values = cells[far], values[far]
        return found
