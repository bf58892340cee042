"""A study is locked to a model, a diameter and a threshold, and unlocked."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from celltally.cli._output import say
from celltally.cli.projecting._open import File, command, writing
from celltally.errors import UserError

__all__ = ["register"]


def register(project: typer.Typer) -> None:
    """Add the commands."""
    command(project, lock, "lock study.celltally --model general --diameter 14")
    command(project, unlock, "unlock study.celltally")


def lock(
    file: File,
    model: Annotated[
        str | None,
        typer.Option(help="A model's name or folder; left out, the one that counted most."),
    ] = None,
    diameter: Annotated[
        str | None,
        typer.Option(
            metavar="PX|any",
            help="Cell diameter in pixels; left out, that of all counts, if it is the same.",
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="T|as-counted",
            help="Least score of a dot; as-counted for the one that makes dots ≈ count.",
        ),
    ] = None,
    level: Annotated[
        float | None, typer.Option(help="Level of the intervals; left out, the project's.")
    ] = None,
) -> None:
    """Fix model, diameter and threshold of a study: what is counted otherwise is marked."""
    from celltally.project.figures import level_of
    from celltally.project.study import rows
    from celltally.project.study_lock import Lock, suggested_lock
    from celltally.project.study_lock import lock as lock_study

    given_diameter = _or_word(diameter, "any", "diameter")
    given_threshold = _or_word(threshold, "as-counted", "threshold")
    with writing(file) as store:
        suggested = suggested_lock(store)
        if model is not None:
            from celltally import zoo
            from celltally.project.lineage import calibrations_of
            from celltally.record import CALIBRATION, read_record

            record = read_record(zoo.find(model))
            same = suggested is not None and suggested.model_sha256 == record.sha256
            base = suggested if same and suggested is not None else None
            wanted = Lock(
                record.name,
                record.sha256,
                record.files.get(CALIBRATION, ""),
                diameter_px=None if base is None else base.diameter_px,
                threshold=None if base is None else base.threshold,
                calibrations=calibrations_of(record) if record.has_base else (),
            )
        elif suggested is not None:
            wanted = suggested
        else:
            raise UserError(
                f"nothing in {file.name} was counted yet: name the model with --model, or count"
            )
        changes: dict[str, Any] = {"level": level_of(store) if level is None else level}
        if diameter is not None:
            changes["diameter_px"] = given_diameter
        if threshold is not None:
            changes["threshold"] = given_threshold
        made = lock_study(store, Lock(**(asdict(wanted) | changes)))
        marked = sum(
            any(flag.startswith(("counted", "other", "threshold")) for flag in row.flags)
            for row in rows(store, missing=())
        )
    were = "count was" if marked == 1 else "counts were"
    say(f"Locked to {made.text}; {marked} {were} made otherwise.")


def _or_word(text: str | None, word: str, what: str) -> float | None:
    """Return a number, or None for a word."""
    if text is None or text.strip().lower() == word:
        return None
    try:
        return float(text)
    except ValueError:
        raise UserError(
            f"a {what} of {text!r} cannot be used: give a number, or {word!r}"
        ) from None


def unlock(file: File) -> None:
    """Take the lock off."""
    from celltally.project.study_lock import locked
    from celltally.project.study_lock import unlock as unlock_study

    with writing(file) as store:
        held = locked(store)
        unlock_study(store)
    say("It was not locked." if held is None else f"Unlocked; it was locked to {held.text}.")
