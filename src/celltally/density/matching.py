"""Which found dot is which true dot: one-to-one, as many as possible, then as near as possible."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from celltally.errors import UserError

__all__ = ["SAME_CELL", "Matching", "Rates", "match_dots", "rates"]

#: Dots up to this many cell diameters apart can be one cell: nearer than half a diameter, two
#: cells would lie in one another.
SAME_CELL = 0.5


@dataclass(frozen=True)
class Rates:
    """Precision, recall and F1 of found dots, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def rates(n_pairs: int, n_true: int, n_found: int) -> Rates:
    """Precision, recall and F1 from the number of matched, true and found dots.

    Nothing to find and nothing found is perfect: all three are 1. Where only
    one side is empty all three are 0.
    """
    if n_true == 0 and n_found == 0:
        return Rates(1.0, 1.0, 1.0)
    if n_true == 0 or n_found == 0:
        return Rates(0.0, 0.0, 0.0)
    return Rates(n_pairs / n_found, n_pairs / n_true, 2 * n_pairs / (n_true + n_found))


@dataclass(frozen=True, eq=False)
class Matching:
    """True and found dots, paired one to one.

    Attributes
    ----------
    pairs
        ``(m, 2)`` int64: row of the true dot, row of the found dot; sorted by the
        true one.
    distances
        ``(m,)`` float64, image pixels between the two of a pair.
    n_true, n_found
        Numbers of dots on each side, matched or not.
    radius_px
        Largest distance of a pair.
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.float64]
    n_true: int
    n_found: int
    radius_px: float

    @property
    def rates(self) -> Rates:
        """Precision, recall and F1 (see ``rates`` for empty sides)."""
        return rates(len(self.pairs), self.n_true, self.n_found)

    @property
    def precision(self) -> float:
        """Share of the found dots that are true."""
        return self.rates.precision

    @property
    def recall(self) -> float:
        """Share of the true dots that were found."""
        return self.rates.recall

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return self.rates.f1


def match_dots(true_yx: ArrayLike, found_yx: ArrayLike, radius_px: float) -> Matching:
    """Pair true and found dots one to one, no farther apart than ``radius_px``.

    Of all pairings with the largest possible number of pairs, the one with the
    smallest sum of distances.

    Parameters
    ----------
    true_yx, found_yx
        ``(n, 2)`` and ``(m, 2)`` positions in image pixels.
    radius_px
        Largest distance (inclusive) at which two dots can be the same cell.

    Returns
    -------
    Matching

    Raises
    ------
    UserError
        When the radius is not a positive number.
    ValueError
        For positions that are not finite.
    """
    if not (math.isfinite(radius_px) and radius_px > 0):
        raise UserError(
            f"a matching radius of {radius_px} px cannot be used: give a positive number of pixels"
        )
    true = np.asarray(true_yx, dtype=np.float64).reshape(-1, 2)
    found = np.asarray(found_yx, dtype=np.float64).reshape(-1, 2)
    if not (np.all(np.isfinite(true)) and np.all(np.isfinite(found))):
        raise ValueError("a dot's position is not finite")
    pairs = np.empty((0, 2), dtype=np.int64)
    distances = np.empty(0, dtype=np.float64)
    if len(true) and len(found):
        near = cKDTree(true).sparse_distance_matrix(
            cKDTree(found), radius_px, output_type="ndarray"
        )
        pairs, distances = _assign(near["i"], near["j"], near["v"], len(true), len(found))
    return Matching(pairs, distances, len(true), len(found), float(radius_px))


def _assign(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    distances: NDArray[np.float64],
    n_rows: int,
    n_columns: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Best one-to-one choice among the given edges, as pairs and their distances."""
    if len(rows) == 0:
        return np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float64)
    # Every row also gets a column of its own, "unmatched", dearer than any chain of
    # distances: the cheapest full matching is then the largest one, and among those
    # the nearest. Costs are shifted by one because a sparse zero is no edge.
    scale = float(distances.max()) or 1.0
    unmatched = np.full(n_rows, 2.0 * (min(n_rows, n_columns) + 1) + 1.0)
    own = np.arange(n_rows)
    cost = csr_matrix(
        (
            np.concatenate([distances / scale + 1.0, unmatched]),
            (np.concatenate([rows, own]), np.concatenate([columns, own + n_columns])),
        ),
        shape=(n_rows, n_columns + n_rows),
    )
    chosen_rows, chosen_columns = min_weight_full_bipartite_matching(cost)
    kept = chosen_columns < n_columns
    pairs = np.stack([chosen_rows[kept], chosen_columns[kept]], axis=1).astype(np.int64)
    chosen = np.asarray(cost[pairs[:, 0], pairs[:, 1]], dtype=np.float64).ravel()
    order = np.argsort(pairs[:, 0], kind="stable")
    return pairs[order], ((chosen - 1.0) * scale)[order]
