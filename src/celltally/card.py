"""The model card: ``README.md`` of a model folder, written from its record alone."""

from __future__ import annotations

from celltally.published import PUBLISHED
from celltally.record import Learned, ModelRecord
from celltally.types import Audited, Calibration

__all__ = ["render_card"]

METRICS = ("n", "mae", "mre", "bias", "f1", "coverage")


def render_card(
    record: ModelRecord, calibration: Calibration | None, base: ModelRecord | None = None
) -> str:
    """Markdown text of a model's card.

    Parameters
    ----------
    record
        What the model says of itself.
    calibration
        Its calibration, or None.
    base
        Of the model that counts images unlike those that this one learned from, or None.
    """
    lines = [
        f"# {record.name}",
        "",
        record.sample or "A cell-counting model for Celltally.",
        "",
        f"- Network: `{record.network}`, {record.parameters / 1e6:.2f} M parameters",
        *_architecture(record),
        f"- Nominal cell diameter: {record.diameter_px:g} px (images are rescaled to it)",
        f"- Identity (sha256): `{record.sha256}`",
    ]
    if record.parent and record.learned is None:
        lines.append(f"- Made from: `{record.parent}`")
    lines += [f"- {key}: {value}" for key, value in record.training.items()]
    if record.learned is not None:
        lines += ["", "## Learned from corrections", "", *_learned(record.learned, record, base)]
    lines += ["", "## Training data", ""]
    if record.training_data:
        lines += ["| data set | images | licence of the images |", "|---|---|---|"]
        lines += [f"| {s.name} | {s.images} | {s.licence} |" for s in record.training_data]
        lines += [
            "",
            "The weights were learned from these images; where a licence allows research use "
            "only, so should yours be.",
        ]
    else:
        lines.append("None: the weights are random.")
    lines += ["", "## Figures on validation images", ""]
    if record.metrics:
        names = [m for m in METRICS if any(m in row for row in record.metrics.values())]
        lines += [f"| data set | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        lines += [
            f"| {dataset} | {' | '.join(_number(row.get(name)) for name in names)} |"
            for dataset, row in record.metrics.items()
        ]
        lines += [
            "",
            "The step of the training with the smallest count error on these images was kept, "
            "so expect somewhat larger errors on new ones."
            if base is None
            else f"They are those of {base.name}, which counts images like these.",
        ]
    else:
        lines.append("None were measured.")
    lines += ["", "## Interval", "", _interval(calibration), "", "## Limits", ""]
    lines += [
        "Counts are trustworthy for images like those above: check the cell diameter, and "
        "correct a few images by hand before you rely on a new kind of sample.",
        "",
    ]
    return "\n".join(lines)


def _learned(learned: Learned, record: ModelRecord, base: ModelRecord | None) -> list[str]:
    """Lines on what a person's corrections taught."""
    project = f" of {learned.project}" if learned.project else ""
    taught = [
        f"{_some(learned.regions, 'region')} with {_some(learned.dots, 'dot')} "
        f"({learned.corrected:,} added, moved or removed by hand)"
    ]
    if learned.stated:
        taught.append(f"{_some(learned.stated, 'region')} with a stated count")
    if learned.excluded:
        taught.append(f"{_some(learned.excluded, 'excluded region')}")
    known = base is not None and base.sha256 == record.parent
    lines = [
        *([f"- Made from: `{record.parent}`{f' ({base.name})' if base and known else ''}"]
          if record.parent else []),
        f"- Learned on {learned.date} from {', '.join(taught)}, in "
        f"{_some(learned.images, 'image')}{project}",
    ]  # fmt: skip
    if learned.by:
        lines.append(f"- Reviewed by: {', '.join(learned.by)}")
    for regions, kind, words in (
        (learned.kept_back, "mae", "reviewed region"),
        (learned.audits, "audit_mae", "random audit region"),
    ):
        before, after = (learned.metrics.get(f"{kind}_{when}") for when in ("before", "after"))
        if regions and after is not None:
            # A model from nothing has no error before.
            cells = (
                f"{after:.3g} cells"
                if before is None
                else f"{before:.3g} cells before, {after:.3g} after"
            )
            lines.append(f"- Mean error on {_some(regions, words)} that taught nothing: {cells}")
    if not learned.kept_back and not learned.audits:
        lines.append("- How well it counts is not known: nothing was kept back to tell")
    elif learned.helped is False:
        seems = "does not" if learned.is_firm else "does not seem to"
        lines.append(f"- It {seems} count better than the model that it was made from")
    if learned.new_prototypes:
        numbers = ", ".join(f"p{number}" for number in learned.new_prototypes)
        lines.append(f"- New prototypes: {numbers}")
    if base is not None:
        lines.append(
            f"- Images unlike those it learned from are counted by {base.name} "
            f"(`{base.sha256}`), which is kept in the folder `base`, with that one's calibration"
        )
    return lines


def _some(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _architecture(record: ModelRecord) -> list[str]:
    """Lines on the paper that a network comes from; none of our own."""
    architecture = PUBLISHED.get(record.network)
    if architecture is None:
        return []
    changes = ", ".join(architecture.changes(record.config)) or "none"
    return [
        f"- Architecture: {architecture.name}, for comparison",
        f"- Paper: {architecture.paper}",
        f"- Settings changed from the paper's: {changes}",
        f"- When to use it: {architecture.use}",
    ]


def _interval(calibration: Calibration | None) -> str:
    if calibration is None:
        return "Not calibrated: counts come without an interval."
    if calibration.audits is not None:
        return _audited(calibration.audits, calibration)
    sets = ", ".join(calibration.sets) or "one data set"
    return (
        f"{calibration.kind.capitalize()} on {calibration.date} with {calibration.n} images "
        f"({calibration.groups} independent groups; {sets}) that chose nothing else."
    )


def _audited(audits: Audited, calibration: Calibration) -> str:
    """Say how intervals came from audits."""
    regions = f"{audits.regions} random region{'s' * (audits.regions != 1)}"
    groups = f"{audits.groups} {audits.units if audits.groups != 1 else audits.units[:-1]}"
    return (
        f"{calibration.kind.capitalize()} on {calibration.date} from the calibration of "
        f"`{audits.parent}`, with {regions} in {groups} counted by a person; intervals of regions "
        f"became {audits.region_factor:.2g} times as wide, those of whole images (provisional, "
        f"unless these were counted) {audits.image_factor:.2g} times."
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
