"""The total of a study from all predictions and a few audited images.

A model that is off by a tenth on a new microscope is off by a tenth on the total of a
study, however many images that has. A few images that a human counts, drawn at random,
tell by how much: the total is the sum of all predictions and the mean error of the audited
ones times the number of images. It is unbiased whatever the model is, and the better the
model, the narrower the interval: prediction-powered inference (Angelopoulos et al. 2023,
eq. for a mean), which for a fixed set of images is the difference estimator of survey
sampling (Särndal et al. 1992, §6.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from celltally.errors import UserError
from celltally.intervals.of import check_level

__all__ = ["AuditedTotal", "audited_total"]

#: Audited units from which on the errors' mean is about normally distributed.
FEW_UNITS = 10


@dataclass(frozen=True)
class AuditedTotal:
    """A total over many images.

    Attributes
    ----------
    total, low, high
        Estimate and bounds in cells; none is ever below what the audits counted.
    level
        Nominal coverage.
    predicted
        Sum of the predictions alone.
    units, audited
        Number of units that could be drawn, and that were: images, or groups of them.
    reason
        In words, what limits the interval; empty otherwise.
    """

    total: float
    low: float
    high: float
    level: float
    predicted: float
    units: int
    audited: int
    reason: str = ""


def audited_total(
    predicted: ArrayLike,
    counted: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    level: float = 0.95,
) -> AuditedTotal:
    """Total of all images, corrected by what was found in those that a human counted.

    Parameters
    ----------
    predicted
        ``(n,)`` predicted counts of all images of the study.
    counted
        ``(n,)`` a human's counts, NaN where the image was not audited. Which images are
        audited must have been drawn at random, not chosen for what they show.
    groups
        ``(n,)`` wells or slides, where these were drawn and each drawn one audited whole;
        None where single images were drawn.
    level
        Nominal coverage, in (0, 1).

    Raises
    ------
    UserError
        For a level that is none, predictions that are not finite, fewer than two audited
        units, or a group of which only some images are audited.
    ValueError
        When the columns differ in length.
    """
    if problem := check_level(level):
        raise UserError(problem)
    guess = np.asarray(predicted, dtype=np.float64).ravel()
    truth = np.asarray(counted, dtype=np.float64).ravel()
    names = [str(i) for i in range(len(guess))] if groups is None else list(groups)
    if not len(guess) == len(truth) == len(names):
        raise ValueError(
            f"{len(guess)} predictions, {len(truth)} counts and {len(names)} groups do not "
            "belong together"
        )
    if not np.isfinite(guess).all():
        raise UserError("a predicted count is not a finite number: count that image again")
    if np.isinf(truth).any() or (truth < 0).any():
        raise UserError("an audited count is no number of cells: counts are 0 or more")
    units, unit = np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)
    size = np.bincount(unit)
    done = np.bincount(unit, weights=~np.isnan(truth)).astype(int)
    if (split := (done > 0) & (done < size)).any():
        i = int(np.flatnonzero(split)[0])
        raise UserError(
            f"{done[i]} of the {size[i]} images of the group {str(units[i])!r} are audited: audit "
            "the others as well, or leave the groups out"
        )
    audited = done > 0
    m, n = int(audited.sum()), len(units)
    if m < 2:
        raise UserError(
            f"{m} audited {'image' if groups is None else 'group'}{'s' * (m != 1)} tell nothing of "
            "the others: count at least 2, drawn at random"
        )
    error = np.bincount(unit, weights=np.nan_to_num(truth - guess))[audited]
    total = float(guess.sum() + n * error.mean())
    deviation = n * np.sqrt((1 - m / n) * error.var(ddof=1) / m)
    reach = float(stdtrit(m - 1, 0.5 + level / 2) * deviation)
    known = float(np.nansum(truth))
    what = "images" if groups is None else "groups"
    return AuditedTotal(
        total=max(total, known),
        low=max(total - reach, known),
        high=max(total + reach, known),
        level=level,
        predicted=float(guess.sum()),
        units=n,
        audited=m,
        reason=f"from {m} audited {what} only" if m < min(FEW_UNITS, n) else "",
    )
