"""Where the models come from that counted a study: kept in it, for models may be gone later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from celltally.project import schema
from celltally.project.store import Store, set_in
from celltally.record import CALIBRATION, ModelRecord, read_base

__all__ = ["calibrations_of", "known_calibrations", "lineages", "remember_lineages"]

_SETTING = "lineage"
#: Generations that are told of.
_MOST = 8


def remember_lineages(store: Store, records: Iterable[ModelRecord]) -> None:
    """Keep in the project what models learned from: of those that counted in it.

    Parameters
    ----------
    store
        The project, open for writing.
    records
        Of the models at hand; others' are ignored.

    Raises
    ------
    UserError
        When it cannot be written.
    """
    known = store.setting(_SETTING, {})
    found = _wanted(store, {**known, **_facts(records)})
    if any(known.get(sha256) != facts for sha256, facts in found.items()):
        with store.write() as connection:
            set_in(connection, _SETTING, {**known, **found})


def lineages(store: Store, records: Iterable[ModelRecord] = ()) -> dict[str, str]:
    """Return where models come from that counted a study, in words, by their sha256.

    Such as ``fine-tuned from 'general' (sha256 ab12…) on 12 regions of this study``. Models that
    learned from no corrections are left out.

    Parameters
    ----------
    store
        The project.
    records
        Of the models at hand; of those that are gone the project knows what was kept.
    """
    facts = _wanted(store, {**store.setting(_SETTING, {}), **_facts(records)})
    told = {sha256: _text(sha256, facts, store.path.stem) for sha256 in facts}
    return {sha256: text for sha256, text in told.items() if text}


def calibrations_of(record: ModelRecord) -> tuple[str, ...]:
    """Return the calibrations that counts of a model may have: its own, and those of its bases."""
    found = []
    model: ModelRecord | None = record
    while model is not None:
        found.append(model.files.get(CALIBRATION, ""))
        model = read_base(model)
    return tuple(found)


def known_calibrations(store: Store, sha256: str, calibration_sha256: str) -> tuple[str, ...]:
    """Return what the project knows of the calibrations of a model and its bases.

    Empty where the model has no bases, or one of its calibrations is not the one given.
    """
    known = store.setting(_SETTING, {}).get(sha256, {}).get("calibrations", ())
    return tuple(known) if calibration_sha256 in known else ()


def _facts(records: Iterable[ModelRecord]) -> dict[str, dict[str, Any]]:
    """Return what is kept of models, by their sha256."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        learned = record.learned
        facts: dict[str, Any] = {"name": record.name}
        if learned is not None:
            facts |= {
                "parent": record.parent,
                "project": learned.project,
                "regions": learned.regions + learned.stated,
                "by": list(learned.by),
                "date": learned.date,
            }
        if record.has_base:
            facts["calibrations"] = list(calibrations_of(record))
        # A recalibrated copy has its model's identity; the first that is listed names it.
        found.setdefault(record.sha256, facts)
    return found


def _wanted(store: Store, facts: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Facts of the models that counted, and of those that they come from."""
    with store.read() as connection:
        query = sa.select(schema.models.c.sha256).distinct()
        todo = list(connection.execute(query).scalars())
    found: dict[str, dict[str, Any]] = {}
    while todo:
        sha256 = todo.pop()
        if sha256 in facts and sha256 not in found:
            found[sha256] = facts[sha256]
            todo += [facts[sha256].get("parent") or ""]
    return found


def _text(sha256: str, facts: Mapping[str, dict[str, Any]], study: str) -> str:
    parts: list[str] = []
    seen: set[str] = set()
    while (of := facts.get(sha256)) is not None and "regions" in of and len(parts) < _MOST:
        if sha256 in seen:  # made by hand: no model is its own ancestor
            break
        seen.add(sha256)
        parent = of.get("parent") or ""
        name = facts.get(parent, {}).get("name")
        parts.append(f"fine-tuned{_from(name, parent)}{_on(of, study)}")
        sha256 = parent
    return ", itself ".join(parts)


def _from(name: str | None, sha256: str) -> str:
    if not sha256:
        return ""
    known = "a model" if name is None else repr(name)
    return f" from {known} (sha256 {sha256[:12]})"


def _on(of: Mapping[str, Any], study: str) -> str:
    n = of["regions"]
    what = f"{n} region{'s' * (n != 1)}"
    if of["project"] == study:
        return f" on {what} of this study"
    return f" on {what} of {of['project']!r}" if of["project"] else f" on {what}"
