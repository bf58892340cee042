"""Density → dots: candidates are found once, a threshold then picks among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from celltally.errors import UserError
from celltally.types import Dots, Grid, Prediction

__all__ = [
    "Candidates",
    "dots_from_prediction",
    "find_peaks",
    "prediction_candidates",
    "threshold_for_count",
]

# All lengths in cell diameters. A trained density has peaks of sigma 0.15-0.2. Chosen on
# `val` of seven sets: 0.05 and 0.15 set two dots into one nucleus of H&E (F1 0.81 instead of
# 0.84 for bone marrow, 0.68 instead of 0.72 for colon), much more merges bacteria.
_SMOOTHING = 0.08  # takes off what one density cell says against its neighbours
_SEPARATION = 0.25  # two maxima nearer than this are one cell
_REACH = 0.5  # how far a candidate's own mass reaches
_OWN_SIGMA = 0.18  # by how much it gives way to its neighbours
# Less mass than this is no candidate: the ripple of an empty background.
_MIN_SCORE = 0.1
_CHUNK_CELLS = 4_000_000


@dataclass(frozen=True, eq=False)
class Candidates:
    """Places that may be cells, best first.

    Attributes
    ----------
    yx
        ``(n, 2)`` float64, image pixels.
    score
        ``(n,)`` float32, descending: the mass of density that belongs to the
        candidate. A lone cell scores about 1, a place where the model is of two
        minds about 0.5, two cells that share one maximum up to 2.
    label
        ``(n,)`` str: the cell's class.
    """

    yx: NDArray[np.float64]
    score: NDArray[np.float32]
    label: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.yx)

    def above(self, threshold: float) -> Candidates:
        """Return the candidates whose score is at least ``threshold`` (views, nothing is copied).

        Raises
        ------
        UserError
            When the threshold is not a number.
        """
        if math.isnan(threshold):
            raise UserError("a threshold of nan cannot be used: give a number, such as 0.5")
        n = np.searchsorted(-self.score.astype(np.float64), -threshold, side="right")
        return Candidates(self.yx[:n], self.score[:n], self.label[:n])

    def to_dots(self, source: str = "") -> Dots:
        """Proposed dots with new ids; ``source`` is the identity of the model."""
        return Dots.new(self.yx, label=self.label, score=self.score, source=source)


def find_peaks(
    density: ArrayLike, grid: Grid, diameter_px: float, *, label: str = "cell"
) -> Candidates:
    """Find the local maxima of a density, each with a sub-pixel position and a score.

    The position is the top of a parabola through the logarithm of the maximum
    and its neighbours, which is exact for a Gaussian. The score is the mass
    within half a diameter, shared with the neighbouring candidates in the ratio
    of Gaussians at their places: neighbours do not lift each other, and the
    scores of candidates that lie apart add up to the count.

    Parameters
    ----------
    density
        ``(h, w)``, cells per density cell; negative values count as none.
    grid
        Where the density's cells lie on the image.
    diameter_px
        Cell diameter in image pixels.
    label
        Class of the cells.

    Returns
    -------
    Candidates
        Those with a score of at least 0.1, best first; of equal ones the upper
        left one first.

    Raises
    ------
    ValueError
        When the density's shape is not the grid's, or the diameter is not
        positive.
    """
    raw = np.maximum(np.asarray(density, dtype=np.float32), 0)
    if raw.shape != grid.shape:
        raise ValueError(f"a density of {raw.shape} cells does not fit a grid of {grid.shape}")
    if not (math.isfinite(diameter_px) and diameter_px > 0):
        raise ValueError(f"a cell diameter of {diameter_px} px is not a positive number")
    diameter = diameter_px / np.asarray(grid.step)
    smooth = ndimage.gaussian_filter(raw, _SMOOTHING * diameter, mode="nearest")
    peaks = _local_maxima(smooth, np.maximum(np.rint(_SEPARATION * diameter), 1).astype(int))
    score = _own_mass(raw, smooth, peaks, diameter)
    kept = score >= _MIN_SCORE
    peaks, score = peaks[kept], score[kept]
    order = np.argsort(-score, kind="stable")
    peaks, score = peaks[order], score[order]
    yx = grid.to_image(peaks + 0.5 + _offset(smooth, peaks))
    return Candidates(yx, score.astype(np.float32), np.full(len(score), label))


def prediction_candidates(prediction: Prediction) -> tuple[Candidates, ...]:
    """Return the candidates of every class of a prediction, in the order of its classes."""
    bottom_right = np.asarray(prediction.image_shape) - 0.5
    found = []
    for density, label in zip(prediction.density, prediction.classes, strict=True):
        c = find_peaks(density, prediction.grid, prediction.diameter_px, label=label)
        # The grid's last cells may stick out of the image; a dot may not.
        found.append(Candidates(np.clip(c.yx, -0.5, bottom_right), c.score, c.label))
    return tuple(found)


def threshold_for_count(scores: ArrayLike, count: float) -> float:
    """Threshold at which the number of scores ≥ threshold is nearest to ``count``.

    Of two equally near numbers the smaller one is taken. Where there are fewer
    scores than ``count``, all pass. Without any score the threshold is 0.
    """
    ranked = np.unique(np.asarray(scores, dtype=np.float32), return_counts=True)
    values, multiplicity = ranked[0][::-1], ranked[1][::-1]
    if len(values) == 0:
        return 0.0
    passing = np.concatenate([[0], np.cumsum(multiplicity)])
    best = int(np.argmin(np.abs(passing - count)))
    if best == 0:
        return float(np.nextafter(values[0], np.float32(np.inf)))
    return float(values[best - 1])


def dots_from_prediction(
    prediction: Prediction,
    threshold: float | None = None,
    *,
    candidates: Sequence[Candidates] | None = None,
) -> Dots:
    """Dots of a prediction: proposed, scored, with the model's identity as source.

    Parameters
    ----------
    prediction
        What a model says about an image.
    threshold
        Least score of a dot. None: per class, the one that brings the number of
        dots nearest to the count; all candidates where cells are so crowded that
        there are fewer of them than cells.
    candidates
        The result of ``prediction_candidates``, where it is already there.

    Returns
    -------
    Dots
        Class by class, best first.

    Raises
    ------
    UserError
        When the threshold is not a number.
    """
    if candidates is None:
        candidates = prediction_candidates(prediction)
    picked = [
        c.above(threshold_for_count(c.score, float(n)) if threshold is None else threshold)
        for c, n in zip(candidates, prediction.counts, strict=True)
    ]
    return Candidates(
        np.concatenate([c.yx for c in picked]),
        np.concatenate([c.score for c in picked]),
        np.concatenate([c.label for c in picked]),
    ).to_dots(prediction.model_sha256)


def _local_maxima(smooth: NDArray[np.float32], reach: NDArray[np.int_]) -> NDArray[np.int64]:
    """Rows and columns ``(n, 2)`` of the cells that are highest within ``reach`` cells."""
    highest = ndimage.maximum_filter(smooth, size=tuple(2 * reach + 1), mode="nearest")
    top = (smooth == highest) & (smooth > 0)
    # A flat top is one maximum, and its middle cell stands for it.
    labels, n = ndimage.label(top, structure=np.ones((3, 3)))
    rows, columns = np.nonzero(top)
    if n == len(rows):
        return np.stack([rows, columns], axis=1)
    owner = labels[rows, columns] - 1
    size = np.bincount(owner, minlength=n)
    middle = np.stack([np.bincount(owner, x, minlength=n) / size for x in (rows, columns)], axis=1)
    away = ((np.stack([rows, columns], axis=1) - middle[owner]) ** 2).sum(axis=1)
    order = np.lexsort((away, owner))
    nearest = order[np.searchsorted(owner[order], np.arange(n))]
    return np.stack([rows[nearest], columns[nearest]], axis=1)


def _offset(smooth: NDArray[np.float32], peaks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Top of the parabola through log density, in cells from the middle of the peak's cell."""
    tiny = float(np.finfo(np.float32).tiny)
    log = np.pad(np.log(np.maximum(smooth, tiny).astype(np.float64)), 1, mode="edge")
    i, j = peaks[:, 0] + 1, peaks[:, 1] + 1
    offset = np.zeros(peaks.shape)
    for axis, (before, after) in enumerate(
        [(log[i - 1, j], log[i + 1, j]), (log[i, j - 1], log[i, j + 1])]
    ):
        bend = 2 * log[i, j] - before - after
        step = np.where(bend > 0, 0.5 * (after - before) / np.where(bend > 0, bend, 1), 0)
        offset[:, axis] = np.clip(step, -0.5, 0.5)
    return offset


def _own_mass(
    raw: NDArray[np.float32],
    smooth: NDArray[np.float32],
    peaks: NDArray[np.int64],
    diameter: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mass ``(n,)`` within reach of each peak, shared where reaches overlap."""
    # At least the eight neighbours, however coarse the grid.
    reach = np.maximum(_REACH * diameter, 1.0)
    sigma = np.maximum(_OWN_SIGMA * diameter, 0.5)
    margin = np.floor(reach).astype(int)
    dy, dx = np.mgrid[-margin[0] : margin[0] + 1, -margin[1] : margin[1] + 1]
    # Half a cell more, so that small discs are round and not diamonds.
    inside = (dy / (reach[0] + 0.5)) ** 2 + (dx / (reach[1] + 0.5)) ** 2 <= 1
    dy, dx = dy[inside], dx[inside]
    fall = np.exp(-0.5 * ((dy / sigma[0]) ** 2 + (dx / sigma[1]) ** 2))
    width = raw.shape[1] + 2 * margin[1]
    mass = np.pad(raw, [(m, m) for m in margin]).ravel()
    window = dy * width + dx
    place = (peaks[:, 0] + margin[0]) * width + peaks[:, 1] + margin[1]
    height = smooth[peaks[:, 0], peaks[:, 1]].astype(np.float64)

    chunks = range(0, len(peaks), max(_CHUNK_CELLS // len(window), 1))
    parts = [slice(i, i + chunks.step) for i in chunks]
    claimed = np.zeros(mass.size)
    for part in parts:
        cells = place[part, None] + window
        claim = height[part, None] * fall
        claimed += np.bincount(cells.ravel(), claim.ravel(), minlength=mass.size)
    share = np.divide(mass, claimed, out=np.zeros(mass.size), where=claimed > 0)
    own = np.zeros(len(peaks))
    for part in parts:
        own[part] = height[part] * (share[place[part, None] + window] @ fall)
    return own
