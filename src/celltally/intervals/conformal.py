"""Calibration: how many s the errors of images that chose nothing else were away.

The guarantee is that of split-conformal prediction: for a new image that is
exchangeable with the calibration images, the interval holds the true count with
at least the nominal probability. Images of one group (a well, a slide) are not
independent: every group has the same mass, ``1 / (groups + 1)``, shared by its
images, and the last such mass lies at infinity. With one image a group this is
the plain rule, the ⌈(n + 1)·level⌉-th smallest score.

α, β, γ and the difficulty are fitted on the same images, which would make their
scores too small; so every group is scored with an s and an m that were fitted on
other groups (cross-conformal). The guarantee is then approximate by the little by
which the fits differ.

Regions are calibrated with random rectangles in the same images: those of one image
depend on each other and share its mass (hierarchical conformal prediction, Lee et al.
2023), in bins by what was predicted, for a region of three cells errs otherwise than one of
a hundred.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.errors import UserError
from celltally.intervals.aleatoric import Scale, fit_scale
from celltally.intervals.difficulty import difficulty, make_neighbours
from celltally.types import Calibration, RegionBin, RegionCalibration

__all__ = ["MIN_GROUPS", "calibrate", "level_curve", "score_quantile"]

# Independent groups from which on the default level, 0.95, has a quantile.
MIN_GROUPS = 19
_FEW_GROUPS = 5
# The largest score is inflated from no less than this: a few images that were counted without
# any error (empty ones) must not make intervals without any width.
_LEAST_LARGEST = 0.5
_FOLDS = 20
# Most scores kept per group; a larger group is thinned, to the larger scores' side.
_SCORES_PER_GROUP = 20
_SCORES_PER_BIN = 8
# Predicted counts at which regions are told apart, where there are enough of them.
_BIN_EDGES = (0.0, 1.0, 5.0, 20.0, 60.0, 200.0)


def calibrate(
    counts: ArrayLike,
    truths: ArrayLike,
    variances: ArrayLike,
    groups: Sequence[str],
    *,
    looks: Sequence[Mapping[str, float]] | None = None,
    regions: Sequence[NDArray[np.float64]] | None = None,
    sets: Sequence[str] = (),
    ranges: Mapping[str, tuple[float, float]] | None = None,
    date: str | None = None,
) -> Calibration:
    """Learn how far counts are off, from images that neither trained nor chose the model.

    Parameters
    ----------
    counts
        ``(n,)`` predicted counts (sums of the densities).
    truths
        ``(n,)`` true counts.
    variances
        ``(n,)`` sums of the variance maps; zeros for a model without one.
    groups
        ``(n,)`` what is independent: the well or slide of each image, or the
        image's own name where images are independent.
    looks
        Of each image, as of ``Prediction.look``, to tell how hard it is; None: all are alike.
    regions
        Of each image ``(m, 3)``: predicted counts, true counts and sums of the variance
        map of random rectangles; None or all empty: regions cannot be calibrated.
    sets
        Names of the data sets.
    ranges
        For each image statistic the (low, high) that counts as seen.
    date
        ISO date; None: today.

    Returns
    -------
    Calibration
        ``scores`` has equally many entries for every group, so that its order
        statistics weigh groups alike. ``provisional`` with fewer than 19 groups.

    Raises
    ------
    UserError
        Without images, or when a count, truth or variance is not a finite number.
    ValueError
        When the columns differ in length.
    """
    count = np.asarray(counts, dtype=np.float64).ravel()
    truth = np.asarray(truths, dtype=np.float64).ravel()
    variance = np.asarray(variances, dtype=np.float64).ravel()
    shown = [{} for _ in count] if looks is None else list(looks)
    if not len(count) == len(truth) == len(variance) == len(groups) == len(shown):
        raise ValueError(
            f"{len(count)} counts, {len(truth)} truths, {len(variance)} variances and "
            f"{len(groups)} groups do not belong together"
        )
    if len(count) == 0:
        raise UserError("0 images cannot calibrate a model: give some with known counts")
    for name, column in (("count", count), ("true count", truth), ("variance", variance)):
        if not np.all(np.isfinite(column)):
            bad = column[~np.isfinite(column)][0]
            raise UserError(f"a {name} of {bad} cannot calibrate a model: leave that image out")

    names, group = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    error = truth - count
    scores, hardness = _cross_scores(error, variance, count, group, shown)
    scale = fit_scale(error, variance, count)
    surprise = (error / scale(variance, count)) ** 2
    return Calibration(
        alpha=scale.alpha,
        beta=scale.beta,
        gamma=scale.gamma,
        scores=tuple(level_curve(scores, group).tolist()),
        n=len(count),
        groups=len(names),
        date=datetime.date.today().isoformat() if date is None else date,
        sets=tuple(sets),
        ranges=dict(ranges or {}),
        kind="calibrated" if len(names) >= MIN_GROUPS else "provisional",
        neighbours=make_neighbours(shown, count, surprise),
        regions=_calibrate_regions(regions or (), group, hardness),
    )


def score_quantile(calibration: Calibration | RegionBin, level: float) -> tuple[float, bool]:
    """Return how many s an interval of ``level`` reaches, and whether the data carry it.

    With G groups the data carry levels up to G / (G + 1): 19 groups for 0.95.
    Beyond that the largest score, or half an s if that is more, stands for the
    level G / (G + 1) and is inflated by the ratio of the quantiles of Student's t
    at the two levels, with 2 degrees of freedom (1 below five groups, where the
    largest score itself is a poor guide). This is a rule of thumb, no guarantee:
    such tails have no variance, which real errors do, so it errs on the wide side.

    Parameters
    ----------
    calibration
        Scores, equally many per group.
    level
        Nominal coverage in (0, 1).

    Returns
    -------
    quantile : float
        In units of s.
    carried : bool
        False where the quantile is inflated beyond the data.
    """
    scores, n = calibration.scores, calibration.groups
    # The tolerance keeps 0.95 · 20 at 19 whatever the rounding.
    rank = math.ceil(level * (n + 1) * len(scores) / n - 1e-9)
    if rank <= len(scores):
        return scores[max(rank, 1) - 1], True
    largest = max(scores[-1], _LEAST_LARGEST)
    return largest * _t_two_sided(level, n) / _t_two_sided(n / (n + 1), n), False


def _t_two_sided(level: float, n: int) -> float:
    """Quantile of |t| at 1 degree of freedom (n < 5) or 2: both have closed forms."""
    if n < _FEW_GROUPS:
        return math.tan(level * math.pi / 2)
    return level * math.sqrt(2.0 / (1.0 - level**2))


def _cross_scores(
    error: NDArray[np.float64],
    variance: NDArray[np.float64],
    count: NDArray[np.float64],
    group: NDArray[np.intp],
    looks: Sequence[Mapping[str, float]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """|error| / (m·s) and m for each image, both fitted without the image's group."""
    # A single group is left out image by image; a single image scores itself.
    unit = group if group.max() > 0 else np.arange(len(error))
    fold = unit % min(int(unit.max()) + 1, _FOLDS)
    scores, hardness = np.empty(len(error)), np.empty(len(error))
    for k in range(int(fold.max()) + 1):
        held = fold == k
        rest = ~held if not held.all() else held
        scale: Scale = fit_scale(error[rest], variance[rest], count[rest])
        known = make_neighbours(
            [look for look, there in zip(looks, rest, strict=True) if there],
            count[rest],
            (error[rest] / scale(variance[rest], count[rest])) ** 2,
        )
        hardness[held] = [
            difficulty(known, look, n)
            for look, n, there in zip(looks, count, held, strict=True)
            if there
        ]
        s = hardness[held] * scale(variance[held], count[held])
        scores[held] = np.abs(error[held]) / s
    return scores, hardness


def _calibrate_regions(
    regions: Sequence[NDArray[np.float64]],
    group: NDArray[np.intp],
    hardness: NDArray[np.float64],
) -> RegionCalibration | None:
    """Scores of rectangles, binned by what was predicted for them."""
    image = np.repeat(np.arange(len(regions)), [len(r) for r in regions])
    if not len(image):
        return None
    count, truth, variance = np.concatenate(regions).T
    error, hard = truth - count, hardness[image]
    # One scale for thousands of rectangles: leaving an image out would not change it.
    scale = fit_scale(error / hard, variance, count)
    scores = np.abs(error) / (hard * scale(variance, count))
    edges = _edges(count, group[image])
    bins = []
    for low, high in pairwise(edges):
        inside = (count >= low) & (count < high)
        _, members = np.unique(group[image[inside]], return_inverse=True)
        curve = level_curve(scores[inside], members, _SCORES_PER_BIN)
        scores_kept = tuple(float(f"{score:.5g}") for score in curve)
        bins.append(RegionBin(low, scores_kept, int(members.max()) + 1))
    return RegionCalibration(scale.alpha, scale.beta, scale.gamma, tuple(bins))


def _edges(count: NDArray[np.float64], group: NDArray[np.intp]) -> list[float]:
    """Edges of bins, of which each has regions of enough groups, or all there are."""
    edges: list[float] = [0.0]
    for low, high in pairwise(_BIN_EDGES):
        inside = (count >= low) & (count < high)
        rest = count >= high
        enough = [len(np.unique(group[part])) >= MIN_GROUPS for part in (inside, rest)]
        if all(enough):
            edges.append(high)
    return [*edges, math.inf]


def level_curve(
    scores: NDArray[np.float64], group: NDArray[np.intp], most: int = _SCORES_PER_GROUP
) -> NDArray[np.float64]:
    """Sorted scores in which every group has equally many.

    Parameters
    ----------
    scores, group
        ``(n,)``, and the number of the group of each, from 0 on without gaps.
    most
        Most scores of a group.
    """
    members = [np.sort(scores[group == g]) for g in range(int(group.max()) + 1)]
    each = min(max(len(m) for m in members), most)
    share = np.arange(1, each + 1)
    # Rounded up: a group's k-th share is never below its quantile at that share.
    return np.sort(np.concatenate([m[-(-share * len(m) // each) - 1] for m in members]))
