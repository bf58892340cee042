"""The family of a model, as the tree of versions shows it. Free of Qt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from celltally.lineage import Version, errors_of, origin_of
from celltally.record import ModelRecord

__all__ = ["family", "version_details", "version_error", "version_lines"]


def family(trees: Iterable[Version], of: ModelRecord | None) -> Version | None:
    """Return the versions that a model is one of; None where it is not among the models at hand.

    The tree begins at the oldest ancestor that learning from corrections began with: what that
    was trained from is no version of it. In the same way only such children are in it that
    learned, or were calibrated anew.

    Parameters
    ----------
    trees
        Of all models at hand, see ``lineage.lineages``.
    of
        The model's record.
    """
    line = [] if of is None else next((found for t in trees if (found := _line(t, of))), [])
    if not line:
        return None
    root = line[-1]
    for version, above in zip(reversed(line), [*reversed(line[:-1]), None], strict=True):
        root = version
        if above is None or not _is_version(version):
            break
    return _versions_only(root)


def _line(version: Version, record: ModelRecord) -> list[Version]:
    """Return the way from the root of a tree to a record; [] where it is not in it."""
    if version.record == record:
        return [version]
    below = next((found for c in version.children if (found := _line(c, record))), [])
    return [version, *below] if below else []


def _is_version(version: Version) -> bool:
    """Whether a model was made of another by learning, or by calibrating it anew."""
    record = version.record
    return record is not None and (
        record.learned is not None or "calibrated from" in record.training
    )


def _versions_only(version: Version) -> Version:
    children = tuple(_versions_only(c) for c in version.children if _is_version(c))
    return replace(version, children=children)


def version_lines(version: Version, *, in_use: bool) -> tuple[str, ...]:
    """Return short lines on a version: its name, when and by whom, and what it learned from."""
    record = version.record
    if record is None:
        return f"{version.sha256[:8]} (gone)", "not among your models any more"
    learned = record.learned
    name = record.name if version.there else f"{record.name} (gone)"
    first = (name, "in use") if in_use else (name,)
    if learned is None:
        return *first, origin_of(record).removeprefix("trained on ")
    by = f", by {', '.join(learned.by)}" if learned.by else ""
    stated = f", {learned.stated} stated" if learned.stated else ""
    plural = "s" * (learned.regions != 1)
    lesson = f"{learned.regions} region{plural}{stated}, {learned.dots} dots"
    return *first, f"{learned.date[:10]}{by}", lesson


def version_error(version: Version) -> str:
    """Errors before and after: ``5.2 → 1.9``; a dash where nothing judged, "" for no child.

    Of a model from nothing only the one after: ``1.9``.
    """
    learned = None if version.record is None else version.record.learned
    if learned is None:
        return ""
    errors = errors_of(learned)
    if errors is None:
        return "–"
    before, after = errors
    return f"{after:.1f}" if before is None else f"{before:.1f} → {after:.1f}"


def version_details(version: Version) -> str:
    """Everything that is to be known of a version, for a tool tip."""
    record = version.record
    if record is None:
        return f"The model {version.sha256[:12]} is not among the models at hand."
    lines = [record.name, origin_of(record)]
    learned = record.learned
    if learned is not None:
        error = version_error(version)
        off = f": off by {error} cells a region" if "→" in error else ""
        lines += [
            f"Learned on {learned.date.replace('T', ' ').rstrip('Z')} (UTC), from "
            f"{learned.images} image{'s' * (learned.images != 1)}",
            f"{learned.corrected} dots corrected by hand, {learned.excluded} regions excluded",
            f"Judged by {learned.kept_back} kept-back and {learned.audits} audit regions",
            f"{learned.verdict}{off}",
        ]
    if not version.there:
        lines.append("It is gone from your models; a child keeps a copy to count with")
    lines.append(f"Identity: {record.sha256[:12]}")
    return "\n".join(lines)
