"""A calibration for a user's own microscope, from the calibration that there is and audits.

An audit is a region, drawn at random, in which a person has counted. It tells how many of
the parent's interval widths a count of this microscope is off; the shape of the interval,
how its width depends on the count and on the image, stays the parent's.

With audits in at least 19 independent groups (images or wells) that is split-conformal
prediction with the parent's widths as the scale: the audits' errors in half-widths of the
parent's interval are the new scores, each group with the same mass, shared by its regions
(hierarchical conformal prediction, Lee et al. 2023). It promises as much for new regions that
are drawn as the audits were, whatever the parent was worth, as the parent's own calibration
did for its images.

With fewer nothing can be promised. Then the parent's interval is widened: n groups are
enough to see the level n / (n + 1), so the parent's scores are multiplied by how many
times the largest audited score is the parent's score at that level, and by no less than 1.
The 95 % interval so holds whatever was audited, and is never narrower than the parent's.

A person counts whole cells. Where a model predicts next to nothing its intervals may be next
to nothing wide, and a single cell there would be hundreds of widths off; so before all this the
parent's 95 % intervals are widened to half a cell, at least, to either side.

An image is more than a region: what makes all counts of a microscope too small adds up over
it, where what is off to and fro averages out. So the interval of an image takes the scatter
of the audits round their common shift as its factor, and the shift on top. Nothing but whole
images that were audited can calibrate it, so without these it stays provisional.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.intervals.aleatoric import Scale
from celltally.intervals.conformal import MIN_GROUPS, level_curve, score_quantile
from celltally.intervals.difficulty import difficulty
from celltally.types import Audited, Calibration, RegionBin, RegionCalibration

__all__ = [
    "Audit",
    "AuditSummary",
    "audit_doubt",
    "recalibrate",
    "still_needed",
    "summarise_audits",
    "unmeasured",
]

#: The level at which intervals are compared.
LEVEL = 0.95
#: A score at a low level is taken for no smaller than this share of the one at ``LEVEL``,
#: or a single audit could blow an interval up beyond all sense. Nor do audits narrow an interval
#: below this share: regions in which there was nothing to count tell nothing of the others.
LEAST_SHARE = 0.1
#: Cells that the parent's 95 % intervals are taken to reach at least, whatever is predicted.
LEAST_REACH = 0.5
#: Standard normal scores at 19 equal shares: the level curve where nothing was measured.
NORMAL = (0.063, 0.126, 0.19, 0.253, 0.319, 0.385, 0.454, 0.524, 0.598, 0.674,
          0.755, 0.842, 0.935, 1.036, 1.15, 1.282, 1.44, 1.645, 1.96)  # fmt: skip


@dataclass(frozen=True)
class Audit:
    """A region that a person has counted.

    Attributes
    ----------
    image, group
        Name of the image, and the independent group that it is of.
    predicted, variance
        Sums of the density and of the variance map over the region.
    counted
        The person's count.
    image_predicted, image_variance
        The same sums over the whole image.
    statistics, appearance
        Of the image.
    whole
        Whether the region is the whole image.
    region
        Corners (y, x) in image pixels.
    """

    image: str
    group: str
    predicted: float
    variance: float
    counted: float
    image_predicted: float
    image_variance: float
    statistics: Mapping[str, float] = field(default_factory=dict)
    appearance: Mapping[str, float] = field(default_factory=dict)
    whole: bool = False
    region: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class AuditSummary:
    """What audits say of a model before and after it was calibrated with them.

    Attributes
    ----------
    regions, groups
        How many were audited.
    predicted, counted
        Cells in all of them, by the model and by the person.
    bias
        (predicted − counted) / counted; NaN where no cell was counted.
    before, after
        In how many regions the count lies in the parent's 95 % interval, and in the new
        one; each region is judged by an interval that was made without its group. ``after``
        is None with a single group.
    factor
        How many times as wide as the parent's the intervals of regions became.
    """

    regions: int
    groups: int
    predicted: float
    counted: float
    bias: float
    before: int
    after: int | None
    factor: float


def still_needed(groups: int, units: str = "images") -> str:
    """Say how many groups are audited and how many are needed, in a sentence."""
    if groups >= MIN_GROUPS:
        return f"{groups} {units} audited: enough for a calibrated interval"
    return (
        f"{groups} of {MIN_GROUPS} {units} audited: {MIN_GROUPS - groups} more needed for a "
        "calibrated interval"
    )


def audit_doubt(audits: Audited, count: float | None) -> str:
    """Why an interval that was made from audits is provisional; "" where it is calibrated.

    Parameters
    ----------
    audits
        Of the calibration.
    count
        Predicted count of a region; None for the whole image.
    """
    if audits.groups < MIN_GROUPS:
        return still_needed(audits.groups, audits.units)
    if count is None and audits.whole < MIN_GROUPS:
        return "from audits of regions, not of whole images"
    if count is not None and not audits.low <= count <= audits.high:
        return f"the audited regions have {audits.low:.0f} to {audits.high:.0f} cells"
    return ""


def recalibrate(
    parent: Calibration | None,
    audits: Sequence[Audit],
    *,
    model: str = "",
    sha256: str = "",
    units: str = "images",
    ranges: Mapping[str, tuple[float, float]] | None = None,
    date: str | None = None,
) -> Calibration:
    """Make a calibration from a parent's and audits; see the module for how.

    Parameters
    ----------
    parent
        Calibration of the model that was audited. None: an error of a tenth and one cell
        is expected until audits tell.
    audits
        Counted regions, drawn at random.
    model, sha256
        Name of the model, and hash of its calibration, to be remembered.
    units
        What the groups are, in words.
    ranges
        Of the statistics of the user's images; the parent's are widened by them.
    date
        ISO date; None: today.

    Raises
    ------
    UserError
        Without audits, or for one whose figures are not finite or below zero.
    """
    if not audits:
        raise UserError("nothing is audited yet: count at least one region first")
    for audit in audits:
        figures = (
            *(audit.predicted, audit.variance, audit.counted),
            *(audit.image_predicted, audit.image_variance),
        )
        if not (np.isfinite(figures).all() and min(figures) >= 0):
            raise UserError(
                f"an audit of {audit.image} has a count that is no number of cells; leave it out"
            )
    base = unmeasured() if parent is None else parent
    calibration = _recalibrated(base, audits, [_hardness(base, audit) for audit in audits])
    assert calibration.audits is not None
    return replace(
        calibration,
        date=datetime.date.today().isoformat() if date is None else date,
        ranges=_union(base.ranges, ranges or {}),
        audits=replace(calibration.audits, parent=model, parent_calibration=sha256, units=units),
    )


def _recalibrated(
    base: Calibration, audits: Sequence[Audit], hardness: Sequence[float]
) -> Calibration:
    """Make the copy, from audits of which the difficulty of each one's image is known."""
    regions = base.regions or _as_regions(base)
    known = replace(regions, gamma=max(regions.gamma, _least_gamma(regions.bins[0])))
    base = replace(base, gamma=max(base.gamma, _least_gamma(base)))
    _, group = np.unique([a.group for a in audits], return_inverse=True)
    groups = int(group.max()) + 1
    enough = groups >= MIN_GROUPS
    error, count = np.array([(a.counted - a.predicted, a.predicted) for a in audits]).T
    shift = float(error.sum() / max(count.sum(), 1.0))

    widths = _region_widths(known, audits, hardness, groups)
    curve = level_curve(np.abs(error) / widths, group)
    factor = _factor(curve, groups)
    if factor <= LEAST_SHARE:
        curve = np.maximum(curve, LEAST_SHARE)
    scatter = level_curve(np.abs(error - shift * count) / widths, group)
    image_factor = _factor(scatter, groups) + abs(shift) * max(
        a.image_predicted / _image_width(base, a, hard)
        for a, hard in zip(audits, hardness, strict=True)
    )
    if enough:
        bins = tuple(
            RegionBin(b.low, _short(curve * _quantile(b, LEVEL)), groups) for b in known.bins
        )
    else:
        bins = tuple(replace(b, scores=_short(np.array(b.scores) * factor)) for b in known.bins)
    scores, n, n_groups = _short(np.array(base.scores) * image_factor), base.n, base.groups
    wholes = [(a, hard) for a, hard in zip(audits, hardness, strict=True) if a.whole]
    n_whole = len({a.group for a, _ in wholes})
    if n_whole >= MIN_GROUPS:
        scores, n, n_groups = _of_whole_images(base, wholes), len(wholes), n_whole
        made = replace(base, scores=scores, n=n, groups=n_groups)
        image_factor = score_quantile(made, LEVEL)[0] / _quantile(base, LEVEL)
    return replace(
        base,
        scores=scores,
        n=n,
        groups=n_groups,
        kind="calibrated" if enough else "provisional",
        regions=replace(known, bins=bins),
        audits=Audited(
            parent="",
            parent_calibration="",
            units="images",
            groups=groups,
            regions=len(audits),
            whole=n_whole,
            low=min(a.predicted for a in audits),
            high=max(a.predicted for a in audits),
            region_factor=float(f"{factor:.5g}"),
            image_factor=float(f"{image_factor:.5g}"),
        ),
    )


def summarise_audits(parent: Calibration | None, audits: Sequence[Audit]) -> AuditSummary:
    """Compare the parent's intervals with the new ones, on the audits themselves.

    Raises
    ------
    UserError
        As ``recalibrate``.
    """
    base = unmeasured() if parent is None else parent
    made = recalibrate(parent, audits)
    hardness = [_hardness(base, audit) for audit in audits]
    seen = list(zip(audits, hardness, strict=True))
    names = {a.group for a in audits}
    after = None
    if len(names) > 1:
        after = 0
        for name in names:
            rest = [one for one in seen if one[0].group != name]
            others = _recalibrated(base, [a for a, _ in rest], [hard for _, hard in rest])
            after += sum(_holds(others, a, hard) for a, hard in seen if a.group == name)
    predicted, counted = (
        float(sum(values))
        for values in zip(*((a.predicted, a.counted) for a in audits))  # noqa: B905
    )
    return AuditSummary(
        regions=len(audits),
        groups=len(names),
        predicted=predicted,
        counted=counted,
        bias=(predicted - counted) / counted if counted else float("nan"),
        before=sum(_holds(base, a, hard) for a, hard in seen),
        after=after,
        factor=made.audits.region_factor if made.audits is not None else 1.0,
    )


def unmeasured() -> Calibration:
    """Expect of a model of which nothing was measured what ``fit_scale`` does."""
    return Calibration(
        alpha=0.0, beta=0.01, gamma=1.0, scores=NORMAL, n=0, groups=MIN_GROUPS, date="",
        kind="provisional",
    )  # fmt: skip


def _as_regions(calibration: Calibration) -> RegionCalibration:
    """Take regions for small images, where a calibration knows images only."""
    bins = (RegionBin(0.0, calibration.scores, calibration.groups),)
    return RegionCalibration(calibration.alpha, calibration.beta, calibration.gamma, bins)


def _least_gamma(scores: Calibration | RegionBin) -> float:
    """γ with which 95 % intervals reach ``LEAST_REACH``, in images of ordinary difficulty."""
    return (LEAST_REACH / _quantile(scores, LEVEL)) ** 2


def _quantile(scores: Calibration | RegionBin, level: float) -> float:
    """Score at a level; at a low one no smaller than a share of the one at ``LEVEL``."""
    at, top = score_quantile(scores, level)[0], score_quantile(scores, LEVEL)[0]
    return max(at, LEAST_SHARE * top, 1e-9)


def _seen_level(groups: int) -> float:
    """Level at which so many groups have a score, up to ``LEVEL``."""
    return min(groups / (groups + 1), LEVEL)


def _bin(known: RegionCalibration, count: float) -> RegionBin:
    return [b for b in known.bins if b.low <= count][-1]


def _hardness(calibration: Calibration, audit: Audit) -> float:
    look = {**audit.statistics, **audit.appearance}
    return difficulty(calibration.neighbours, look, audit.image_predicted)


def _region_widths(
    known: RegionCalibration, audits: Sequence[Audit], hardness: Sequence[float], groups: int
) -> NDArray[np.float64]:
    """Half-widths of the parent's intervals of the audited regions at the level seen."""
    scale, level = Scale(known.alpha, known.beta, known.gamma), _seen_level(groups)
    return np.array(
        [
            _quantile(_bin(known, a.predicted), level)
            * max(hard * float(scale(a.variance, a.predicted)), 1e-9)
            for a, hard in zip(audits, hardness, strict=True)
        ]
    )


def _image_width(base: Calibration, audit: Audit, hardness: float) -> float:
    """Half-width of the parent's interval of an audited image at ``LEVEL``."""
    scale = Scale(base.alpha, base.beta, base.gamma)
    s = hardness * float(scale(audit.image_variance, audit.image_predicted))
    return _quantile(base, LEVEL) * max(s, 1e-9)


def _factor(curve: NDArray[np.float64], groups: int) -> float:
    """Read off the audits' score at the level seen, in the parent's; see the module."""
    found = RegionBin(0.0, tuple(curve.tolist()), groups)
    reach, _ = score_quantile(found, _seen_level(groups))
    return max(reach, LEAST_SHARE if groups >= MIN_GROUPS else 1.0)


def _of_whole_images(base: Calibration, wholes: Sequence[tuple[Audit, float]]) -> tuple[float, ...]:
    """Scores of images from images that were audited whole, each with its difficulty."""
    _, group = np.unique([a.group for a, _ in wholes], return_inverse=True)
    scale = Scale(base.alpha, base.beta, base.gamma)
    scores = np.array(
        [
            abs(a.counted - a.predicted) / max(hard * float(scale(a.variance, a.predicted)), 1e-9)
            for a, hard in wholes
        ]
    )
    return _short(level_curve(scores, group))


def _holds(calibration: Calibration, audit: Audit, hardness: float) -> bool:
    """Whether a region's 95 % interval holds what a person counted."""
    known = calibration.regions or _as_regions(calibration)
    s = hardness * float(
        Scale(known.alpha, known.beta, known.gamma)(audit.variance, audit.predicted)
    )
    reach = score_quantile(_bin(known, audit.predicted), LEVEL)[0] * s
    return bool(abs(audit.counted - audit.predicted) <= reach * (1 + 1e-4))


def _union(
    first: Mapping[str, tuple[float, float]], second: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Widen ranges by others; a statistic that had none gets none."""
    joined = dict(first)
    for name in set(joined) & set(second):
        low, high = zip(joined[name], second[name], strict=True)
        joined[name] = (min(low), max(high))
    return dict(sorted(joined.items()))


def _short(scores: NDArray[np.float64]) -> tuple[float, ...]:
    """Sorted, with the digits that matter."""
    return tuple(sorted(float(f"{score:.5g}") for score in scores))
