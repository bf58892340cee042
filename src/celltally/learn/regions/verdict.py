"""Whether learning helped, in words."""

from __future__ import annotations

from collections.abc import Sequence

from celltally.intervals.conformal import MIN_GROUPS
from celltally.learn.outcome import FEWEST_JUDGES, Compared
from celltally.learn.regions.plan import FEWEST_GROUPS, RegionPlan
from celltally.record import Learned

__all__ = ["accuracy_in_words", "helped", "verdict"]

#: Of fewer cells the level of counts cannot be learned. (Four sparse regions of idcia, 29 cells
#: in all, took counts from 10 % too high to 25 % too low in one draw.)
FEWEST_CELLS = 50


def helped(judges: Sequence[Compared]) -> bool | None:
    """Whether the new model counts what judges it better; None where nothing does."""
    return _deciding(judges).is_better if judges else None


def verdict(learned: Learned, judges: Sequence[Compared], plan: RegionPlan) -> tuple[str, ...]:
    """Say whether it helped, as firmly as the evidence is, and what would help (more).

    Parameters
    ----------
    learned
        With what came of it: ``helped``, and the figures of the judges.
    judges
        What was counted before and after.
    plan
        What taught.
    """
    if not judges:
        return (
            f"{learned.verdict}: {_all_taught(plan)}",
            f"Review regions in {_where_else(plan)} images, or audit some, to be told.",
            *_few_cells(plan),
        )
    told = [f"{learned.verdict}."]
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
    decides = _deciding(judges)
    told += _against(decides)
    if few := _few(decides):
        told.append(few)
    elif not learned.is_firm:
        told.append(_why_not_firm(decides, plan))
    told += _few_cells(plan)
    if not learned.helped:
        told.append(
            "More regions would help, from images that differ, where the model is most wrong; and "
            "so would a look at the cell diameter, which decides at what scale cells are seen."
        )
    return tuple(told)


def _deciding(judges: Sequence[Compared]) -> Compared:
    """Random audit regions, where there are some.

    Reviewed ones may have been chosen because the model was wrong there.
    """
    return next((one for one in judges if one.judge == "audit"), judges[0])


def _against(one: Compared) -> list[str]:
    """Say that most regions went another way than the mean."""
    n, against = len(one.regions), one.against
    if 2 * against <= n:
        return []
    other, became = ("worse", "smaller") if one.is_better else ("better", "larger")
    return [
        f"Yet {against} of {n} regions are counted {other} than before: the mean is that of a few "
        f"large errors that became {became}."
    ]


def _few(one: Compared) -> str:
    """Say that too few independent images judge; or ""."""
    n = len(one.groups)
    if n >= FEWEST_JUDGES:
        return ""
    return (
        f"{n} independent image{'s are' if n != 1 else ' is'} few to judge by: audit random "
        f"regions of others ({MIN_GROUPS} images calibrate the interval as well)."
    )


def _few_cells(plan: RegionPlan) -> list[str]:
    """Say that so few cells taught that the level of counts is known roughly."""
    cells = round(plan.cells)
    if cells >= FEWEST_CELLS:
        return []
    return [
        f"Only {cells} cell{'s' * (cells != 1)} taught it, which say only roughly how many there "
        "are elsewhere: review regions with more of them."
    ]


def _why_not_firm(one: Compared, plan: RegionPlan) -> str:
    if len(one.groups - plan.kindly) < FEWEST_JUDGES:
        why = "Some of these images taught it or chose when to stop, and judge kindly"
    elif one.p(plan.kindly) is None:
        why = "Too few of these images are counted otherwise than before"
    else:
        why = "Chance alone may have done that"
    return f"{why}: audit random regions of others to be told."


def _all_taught(plan: RegionPlan) -> str:
    regions, images = len(plan.taught), len(plan.teachers)
    if regions == 1:
        return "the only region was learned from."
    return f"all {regions} regions, of {images} image{'s' * (images != 1)}, were learned from."


def accuracy_in_words(judges: Sequence[Compared], plan: RegionPlan) -> tuple[str, ...]:
    """Say how well a model counts that was made from nothing, and what would help."""
    if not judges:
        return (
            f"Nothing tells how well it counts: {_all_taught(plan)}",
            f"Review regions in {_where_else(plan)} images, or audit some, to be told.",
            *_few_cells(plan),
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
    if few := _few(_deciding(judges)):
        told.append(few)
    told += _few_cells(plan)
    told.append("More reviewed regions, from images that differ, make it better.")
    return tuple(told)


def _where_else(plan: RegionPlan) -> str:
    """Say in which images to review; of enough that all taught before none can be kept back."""
    groups = {image.sample.group for image in plan.teachers}
    if len(groups) >= FEWEST_GROUPS:
        return "other"
    # Fields of one well are several images, and yet one is all that they are worth here.
    independent = " independent" if len(plan.teachers) > len(groups) else ""
    return f"at least {FEWEST_GROUPS}{independent}"
