"""The family of a model, as the tree of versions shows it. Free of Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from celltally._napari import texts
from celltally.record import ModelRecord

__all__ = ["Version", "family", "version_details", "version_error", "version_lines"]


@dataclass(frozen=True)
class Version:
    """A model in a tree of versions.

    Attributes
    ----------
    record
        Its record; None for one that is gone, of which only the identity is known.
    children
        Those that were made from it, the oldest first.
    sha256
        Its identity.
    """

    record: ModelRecord | None
    children: tuple[Version, ...]
    sha256: str


def family(records: Sequence[ModelRecord], of: ModelRecord | None) -> Version | None:
    """Return the tree that a model belongs to, from its oldest ancestor; None without a model."""
    if of is None:
        return None
    known = {record.sha256: record for record in records} | {of.sha256: of}
    children: dict[str, list[ModelRecord]] = {}
    for record in known.values():
        if record.parent is not None and record.parent != record.sha256:
            children.setdefault(record.parent, []).append(record)
    root, seen = of.sha256, {of.sha256}
    while (record := known.get(root)) is not None and record.parent and record.parent not in seen:
        root = record.parent
        seen.add(root)

    def tree(sha256: str, above: frozenset[str]) -> Version:
        below = sorted(
            (r for r in children.get(sha256, ()) if r.sha256 not in above),
            key=lambda r: (_date(r), r.name),
        )
        inner = above | {sha256}
        return Version(known.get(sha256), tuple(tree(r.sha256, inner) for r in below), sha256)

    return tree(root, frozenset())


def _date(record: ModelRecord) -> str:
    return record.created if record.learned is None else record.learned.date


def version_lines(version: Version, *, in_use: bool) -> tuple[str, str]:
    """Return two short lines on a version: its name, and what it learned from."""
    record = version.record
    if record is None:
        return f"{version.sha256[:8]} (gone)", "its folder is not among your models"
    name = f"{record.name}{' – in use' if in_use else ''}"
    learned = record.learned
    if learned is None:
        sets = len(record.training_data)
        said = f"{sets} data set{'s' * (sets != 1)}" if sets else "not stated"
        return name, f"{record.created[:10]} · {said}" if record.created else said
    regions = learned.regions + learned.stated
    parts = [
        learned.date[:10],
        f"{regions} region{'s' * (regions != 1)}, {texts.number(learned.dots)} dots",
        ", ".join(learned.by),
    ]
    return name, " · ".join(filter(None, parts))


def version_error(version: Version) -> str:
    """Errors before and after, on kept-back regions or else on audits: ``5.2 → 1.9``; or ""."""
    learned = None if version.record is None else version.record.learned
    if learned is None:
        return ""
    metrics = learned.metrics
    for kind in ("", "audit_"):
        before, after = metrics.get(f"{kind}mae_before"), metrics.get(f"{kind}mae_after")
        if before is not None and after is not None:
            return f"{before:.1f} → {after:.1f}"
    return "–"


def version_details(version: Version) -> str:
    """Everything that is to be known of a version, for a tool tip."""
    record = version.record
    if record is None:
        return (
            f"The model {version.sha256[:12]} from which the others were made is not among the "
            "models at hand."
        )
    lines = [record.name]
    learned = record.learned
    if learned is not None:
        lines += [
            f"Learned on {learned.date} from {learned.project or 'a data set'}",
            f"Regions: {learned.regions} with dots, {learned.stated} with a stated count, "
            f"{learned.excluded} excluded, in {learned.images} images",
            f"Dots: {learned.dots}, of which {learned.corrected} corrected",
            f"Reviewed by {', '.join(learned.by) or 'unknown'}",
            f"Judged by {learned.kept_back} kept-back and {learned.audits} audit regions",
        ]
        said = {True: "It helped", False: "It did not help", None: "Not known whether it helped"}
        error = version_error(version)
        shown = f": off by {error} cells a region" if "→" in error else ""
        lines.append(f"{said[learned.helped]}{shown}")
    lines.append(f"Identity: {record.sha256[:12]}")
    return "\n".join(lines)
