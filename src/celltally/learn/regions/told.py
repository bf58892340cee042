"""What a model learned from and how it was judged, for its record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from celltally.appearance import APPEARANCE
from celltally.intervals import known_appearances
from celltally.learn.data import hash_samples
from celltally.learn.outcome import Compared
from celltally.learn.regions.plan import RegionPlan
from celltally.record import Learned, TrainingSet

__all__ = ["errors_of_judges", "learned_from", "training_sets"]


def learned_from(
    plan: RegionPlan, project: str, by: tuple[str, ...], new_prototypes: tuple[int, ...] = ()
) -> Learned:
    """Say what was learned from; whether it helped is not known yet."""
    return Learned(
        project=project or plan.teachers[0].dataset.name,
        by=by,
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        images=len(plan.teachers),
        helped=None,
        metrics={},
        new_prototypes=new_prototypes,
        looks=known_appearances(
            [i.scaled.appearance for i in plan.teachers],
            [i.sample.group for i in plan.teachers],
            APPEARANCE,
        ),
        **plan.numbers(),
    )


def training_sets(plan: RegionPlan, before: Sequence[TrainingSet] = ()) -> tuple[TrainingSet, ...]:
    """Name the data sets that taught, now and before; one that did both is told as now."""
    now = tuple(
        TrainingSet(name=d.name, images=len(own), licence=d.licence, sha256=hash_samples(own))
        for d, own in plan.sources()
    )
    named = {(s.name, s.licence) for s in now}
    return (*now, *(s for s in before if (s.name, s.licence) not in named))


def errors_of_judges(judges: Sequence[Compared]) -> dict[str, float]:
    """Mean absolute errors before and after, by name: those of audit regions with a prefix."""
    found = {}
    for one in judges:
        prefix = "audit_" if one.judge == "audit" else ""
        found[f"{prefix}mae_before"] = round(one.mae_before, 3)
        found[f"{prefix}mae_after"] = round(one.mae_after, 3)
    return found
