"""What a model learned from and how it was judged, for its record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from celltally.appearance import APPEARANCE
from celltally.intervals import known_appearances
from celltally.learn.data import hash_samples
from celltally.learn.outcome import Compared
from celltally.learn.regions.plan import RegionPlan
from celltally.learn.seen import image_hashes
from celltally.record import Learned, ModelRecord, TrainingSet

__all__ = ["errors_of_judges", "learned_from", "record_details"]


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


def _training_sets(plan: RegionPlan, before: Sequence[TrainingSet]) -> tuple[TrainingSet, ...]:
    """Name the data sets that taught, now and before; one that did both is told as now."""
    now = tuple(
        TrainingSet(name=d.name, images=len(own), licence=d.licence, sha256=hash_samples(own))
        for d, own in plan.sources()
    )
    named = {(s.name, s.licence) for s in now}
    return (*now, *(s for s in before if (s.name, s.licence) not in named))


def record_details(plan: RegionPlan, before: ModelRecord | None) -> dict[str, Any]:
    """Tell what taught a model, as ``ModelRecord`` has it; what taught the one before counts."""
    sets, taught, chose = (
        ((), (), ())
        if before is None
        else (before.training_data, before.taught_by, before.chosen_by)
    )
    return {
        "training_data": _training_sets(plan, sets),
        "taught_by": image_hashes((i.sample for i in plan.teachers), taught),
        "chosen_by": image_hashes((i.sample for i in plan.choosing), chose),
        "parent": None if before is None else before.sha256,
        "created": datetime.now(UTC).date().isoformat(),
    }


def errors_of_judges(judges: Sequence[Compared], plan: RegionPlan) -> dict[str, float]:
    """Mean absolute errors before and after, by name: those of audit regions with a prefix.

    And, where enough judge, ``p``: how often chance alone would change them so.
    """
    found: dict[str, float] = {}
    for one in judges:
        prefix = "audit_" if one.judge == "audit" else ""
        found[f"{prefix}mae_before"] = round(one.mae_before, 3)
        found[f"{prefix}mae_after"] = round(one.mae_after, 3)
        if (p := one.p(plan.kindly)) is not None:
            found[f"{prefix}p"] = round(p, 4)
    return found
