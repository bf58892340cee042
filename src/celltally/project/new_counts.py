"""Counts that were just made: what they propose, and how they come into force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from celltally import intervals
from celltally.density import threshold_for_count
from celltally.density.stacks import join_dots
from celltally.project.counts import add_prediction
from celltally.project.edits import Work
from celltally.project.propose import Proposal, propose
from celltally.project.store import Store
from celltally.project.work import record
from celltally.types import Dots, Interval, Prediction

__all__ = ["NewCount", "keep_counts", "proposed"]


@dataclass(frozen=True, eq=False)
class NewCount:
    """A plane that was counted, with all that a project keeps of it.

    Attributes
    ----------
    prediction
        The model's.
    candidates
        All dots that a threshold may pick from.
    threshold, default_threshold
        Least score of a dot, and the one that makes dots ≈ count.
    interval
        Of the count.
    t, z, z_method, channel, merged
        As of ``counts.StoredCount``.
    """

    prediction: Prediction
    candidates: Dots
    threshold: float
    default_threshold: float
    interval: Interval
    t: int = 0
    z: int = 0
    z_method: str = "plane"
    channel: str = ""
    merged: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        prediction: Prediction,
        candidates: Dots,
        *,
        threshold: float | None = None,
        level: float,
        **place: Any,
    ) -> NewCount:
        """Return a count with its threshold and interval.

        Parameters
        ----------
        threshold
            Least score of a dot; None for the one that makes dots ≈ count.
        level
            Nominal coverage of the interval.
        place
            ``t``, ``z``, ``z_method``, ``channel`` and ``merged``.
        """
        usual = threshold_for_count(candidates.score, prediction.count)
        chosen = usual if threshold is None else threshold
        found = intervals.of(prediction, level)
        return cls(prediction, candidates, chosen, usual, found, **place)

    @property
    def dots(self) -> Dots:
        """Candidates that score at least the threshold."""
        return self.candidates[self.candidates.score >= np.float32(self.threshold)]

    def add(self, store: Store, image_id: int) -> int:
        """Put it in force; return its number."""
        known = self.prediction.calibration
        like = None
        if known is not None and known.ranges:
            like = not intervals.unlike(self.prediction, known)
        return add_prediction(
            store,
            image_id,
            self.prediction,
            self.interval,
            self.candidates,
            threshold=self.threshold,
            default_threshold=self.default_threshold,
            t=self.t,
            z=self.z,
            z_method=self.z_method,
            channel=self.channel,
            in_distribution=like,
            merged=self.merged,
        )


def proposed(work: Work, counts: Sequence[NewCount], *, otherwise: bool = False) -> Proposal:
    """Return what counts of one time point change of an image's dots; see ``propose``.

    Parameters
    ----------
    work
        Dots and regions of the image.
    counts
        One at least, all of one time point and made the same way over z.
    otherwise
        Whether the time point was counted another way over z before: what was proposed in
        other planes goes as well, then.
    """
    t, how = counts[0].t, counts[0].z_method
    planes: list[tuple[int, int | None]] = [(t, count.z) for count in counts]
    if how == "projection":
        planes = [(t, None)]
    elif how == "merged" or otherwise:
        # Merged, proposals of other planes would be cells, too.
        old = work.dots[(work.dots.t == t) & (work.dots.state == "proposed")]
        planes += [(t, z) for z in np.unique(old.z).tolist() if (t, z) not in planes]
    found = join_dots([count.dots for count in counts])
    return propose(work, found, counts[-1].prediction.diameter_px, planes=planes)


def keep_counts(
    store: Store,
    image_id: int,
    counts: Sequence[NewCount],
    proposal: Proposal,
    *,
    action: str = "count",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Put counts of one time point in force with their dots: all of it, or nothing.

    Earlier counts stay in the project, without their maps.

    Parameters
    ----------
    counts, proposal
        What ``proposed`` was given, and what it returned.
    action
        What the log says was done.
    detail
        What the log says beside that.

    Raises
    ------
    UserError
        When it cannot be written.
    """
    last = counts[-1].prediction
    told = {
        "model": last.model,
        "model_sha256": last.model_sha256,
        "diameter_px": round(last.diameter_px, 3),
        "t": counts[0].t,
        "z_method": counts[0].z_method,
        "proposals": proposal.text,
        **(detail or {}),
    }
    with store.write():
        record(store, image_id, replace(proposal.edit, action=action), detail=told)
        for count in counts:
            count.add(store, image_id)
