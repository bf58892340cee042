"""The intervals of a child: from regions that taught it nothing, or its parent's, widened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from celltally import intervals
from celltally.appearance import APPEARANCE
from celltally.intervals.recalibrate import Audit
from celltally.learn.calibrate import seen_ranges
from celltally.learn.regions.plan import RegionPlan
from celltally.learn.seen import is_among
from celltally.model import Model
from celltally.types import Audited, Calibration

__all__ = ["recalibrated"]

#: How many times as wide as the parent's the intervals are where nothing was measured.
UNMEASURED = 2.0


def recalibrated(child: Model, parent: Model, plan: RegionPlan, audits: Sequence[Audit]) -> Model:
    """Give a child intervals.

    Parameters
    ----------
    child
        Without a calibration.
    parent
        The model that it was made from.
    plan
        The images that are known to the child.
    audits
        Kept-back and audit regions, as the child counted them. Those in images of which other
        parts have taught it are left out, for it knows these better than new ones, and so are
        those that its base counted, which keeps its own calibration. Regions that chose when
        to stop serve only where there are too few to promise anything.
    """
    taught = _taught(child, plan)
    audits = [
        audit
        for audit in audits
        if audit.group not in taught and child.counting(audit.appearance) is child
    ]
    choosing = {image.sample.group for image in plan.choosing}
    if len({audit.group for audit in audits}) >= intervals.MIN_GROUPS:
        # What earns the word "calibrated" has chosen nothing.
        audits = [audit for audit in audits if audit.group not in choosing]
    images = [*plan.teachers, *plan.kept, *plan.audited]
    looks = [i.scaled for i in images if i.scaled.statistics]
    ranges = seen_ranges([look.statistics for look in looks]) if looks else {}
    known = parent.calibration
    if audits:
        made = intervals.recalibrate(
            known, audits, model=parent.name, sha256=parent.calibration_sha256, ranges=ranges
        )
    else:
        made = _widened(known, parent)
    appearances = intervals.known_appearances(
        [i.scaled.appearance for i in images],
        [i.sample.group for i in images],
        APPEARANCE,
        None if known is None else known.appearances,
    )
    return child.with_calibration(replace(made, appearances=appearances))


def _taught(child: Model, plan: RegionPlan) -> set[str]:
    """Give the groups with an image that taught the child, in this round or before."""
    return {image.sample.group for image in plan.teachers} | {
        image.sample.group
        for image in (*plan.kept, *plan.audited)
        if is_among(image.sample, child.record.taught_by)
    }


def _widened(known: Calibration | None, parent: Model) -> Calibration:
    """Return the parent's calibration, its intervals wider by ``UNMEASURED``, and provisional."""
    base = intervals.unmeasured() if known is None else known
    regions = base.regions
    if regions is not None:
        bins = tuple(
            replace(b, scores=tuple(float(s) for s in np.array(b.scores) * UNMEASURED))
            for b in regions.bins
        )
        regions = replace(regions, bins=bins)
    return replace(
        base,
        scores=tuple(float(s) for s in np.array(base.scores) * UNMEASURED),
        kind="provisional",
        regions=regions,
        date=date.today().isoformat(),
        audits=Audited(
            parent=parent.name, parent_calibration=parent.calibration_sha256, units="images",
            groups=0, regions=0, whole=0, low=0.0, high=0.0,
            region_factor=UNMEASURED, image_factor=UNMEASURED,
        ),
    )  # fmt: skip
