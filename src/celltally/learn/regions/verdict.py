"""Whether learning helped, in words."""

from __future__ import annotations

from collections.abc import Sequence

from celltally.intervals.conformal import MIN_GROUPS
from celltally.learn.outcome import Compared
from celltally.learn.regions.plan import FEWEST_GROUPS, RegionPlan

__all__ = ["accuracy_in_words", "helped", "verdict"]

#: With fewer regions that judge than this, chance may have decided.
FEW = 5


def helped(judges: Sequence[Compared]) -> bool | None:
    """Whether the new model counts what judges it better; None where nothing does.

    Random audit regions decide where there are some: reviewed ones may have been chosen because
    the model was wrong there.
    """
    if not judges:
        return None
    best = next((one for one in judges if one.judge == "audit"), judges[0])
    return best.mae_after < best.mae_before


def verdict(judges: Sequence[Compared], plan: RegionPlan) -> tuple[str, ...]:
    """Say whether it helped, and what would help (more)."""
    better = helped(judges)
    if better is None:
        images = len(plan.teachers)
        return (
            f"Nothing tells whether it helped: {_all_taught(plan)}",
            f"Review regions in {_where_else(images)} images, or audit some, to be told.",
        )
    told = ["It helped." if better else "It did not help."]
    for one in judges:
        n = len(one.regions)
        kind = "audit region" if one.judge == "audit" else "region"
        rest = "" if one.judge == "audit" else " kept back"
        told.append(
            f"On {n} {kind}{'s' * (n != 1)}{rest} ({one.images} image{'s' * (one.images != 1)}) "
            f"the error went from {one.mae_before:.1f} to {one.mae_after:.1f} cells a region."
        )
    if len(judges) > 1:
        told.append("The audit regions decide, for they were drawn at random.")
    judging = sum(len(one.regions) for one in judges)
    if judging < FEW:
        told.append(
            f"{judging} region{'s are' if judging != 1 else ' is'} few to judge by: audit some "
            f"random ones ({MIN_GROUPS} from different images calibrate the interval as well)."
        )
    if not better:
        told.append(
            "More regions would help, from images that differ, where the model is most wrong; and "
            "so would a look at the cell diameter, which decides at what scale cells are seen."
        )
    return tuple(told)


def _all_taught(plan: RegionPlan) -> str:
    regions, images = len(plan.taught), len(plan.teachers)
    if regions == 1:
        return "the only region was learned from."
    return f"all {regions} regions, of {images} image{'s' * (images != 1)}, were learned from."


def accuracy_in_words(judges: Sequence[Compared], plan: RegionPlan) -> tuple[str, ...]:
    """Say how well a model counts that was made from nothing, and what would help."""
    if not judges:
        images = len(plan.teachers)
        return (
            f"Nothing tells how well it counts: {_all_taught(plan)}",
            f"Review regions in {_where_else(images)} images, or audit some, to be told.",
        )
    told = []
    for one in judges:
        n = len(one.regions)
        cells = sum(region.counted for region in one.regions) / n
        kind = "audit region" if one.judge == "audit" else "kept-back region"
        told.append(
            f"On {n} {kind}{'s' * (n != 1)} it is off by {one.mae_after:.1f} cells a region, of "
            f"{cells:.1f} on average."
        )
    told.append("More reviewed regions, from images that differ, make it better.")
    return tuple(told)


def _where_else(images: int) -> str:
    """Say in which images to review; of enough that all taught before none can be kept back."""
    return "other" if images >= FEWEST_GROUPS else f"at least {FEWEST_GROUPS}"
