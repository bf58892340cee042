"""The jobs of the Calibrate widget. Generators free of Qt; torch is loaded inside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from celltally._napari.counting import load_record
from celltally._napari.planes import Plane
from celltally._napari.preload import loading_torch
from celltally.errors import UserError, failure
from celltally.intervals import AuditSummary, summarise_audits
from celltally.learn.audit_store import AuditSession, AuditStore, store_path
from celltally.record import ModelRecord
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.learn.audits import AuditField, Candidate
    from celltally.model import Model

__all__ = [
    "AuditRun",
    "begin_job",
    "copy_job",
    "copy_place",
    "field_job",
    "folder_candidates",
    "layer_candidates",
    "summary_job",
]


@dataclass(frozen=True, eq=False)
class AuditRun:
    """An audit that is under way.

    Attributes
    ----------
    model
        What is audited.
    candidates
        Images that regions are drawn from.
    store
        The answers.
    """

    model: Model
    candidates: list[Candidate]
    store: AuditStore


def folder_candidates(
    folder: str, units: str, channel: str | None
) -> Callable[[], list[Candidate]]:
    """Return what lists the images of a folder, on whichever thread it is called."""

    def find() -> list[Candidate]:
        from celltally.learn.audits import candidates_in

        return candidates_in(Path(folder), units, channel)

    return find


def layer_candidates(
    planes: Collection[tuple[str, Plane]], units: str
) -> Callable[[], list[Candidate]]:
    """Return what makes candidates of planes in view, by name."""

    def find() -> list[Candidate]:
        from dataclasses import replace

        from celltally.learn.audits import Candidate, group_of

        def reader(plane: Plane) -> Callable[[], object]:
            return lambda: replace(plane, channel=plane.guess_channel()).read()

        return [Candidate(name, group_of(name, units), reader(plane)) for name, plane in planes]

    return find


def begin_job(
    find: Callable[[], list[Candidate]], record: ModelRecord, session: AuditSession
) -> Generator[Progress, None, AuditRun]:
    """Look for the images, load the model, and open the file of the audits.

    Parameters
    ----------
    find
        Gives the images.
    record
        Of the model.
    session
        What is audited; where its file is there already, that is gone on with.
    """
    yield Progress(0, 0, "Loading the model")
    with loading_torch():
        model = load_record(record)
    yield Progress(0, 0, "Looking for images")
    candidates = find()
    return AuditRun(model, candidates, AuditStore(store_path(session), session))


def field_job(
    run: AuditRun, taken: Collection[tuple[str, int]] = ()
) -> Generator[Progress, None, AuditField | None]:
    """Draw the next region that was not answered; None where there is no more.

    Parameters
    ----------
    run
        The audit.
    taken
        Regions that are shown or waiting.
    """
    from celltally.learn.audits import iter_field, unanswered

    session = run.store.session
    for candidate, draw in unanswered(run.candidates, run.store):
        if (candidate.name, draw) in taken or candidate.name in run.store.unusable:
            continue
        try:
            return (
                yield from iter_field(
                    run.model,
                    candidate,
                    draw,
                    seed=session.seed,
                    diameter_px=session.diameter_px,
                )
            )
        except Exception as error:  # the other images can be audited all the same
            run.store.failed(candidate.name, failure(error, Path(candidate.name)))
    if not run.store.answers:
        raise UserError("there is no image to draw a region from; choose others")
    unusable = run.store.unusable
    if unusable and len(unusable) == len({c.name for c in run.candidates}):
        raise UserError(f"no image can be audited; the first one: {next(iter(unusable.values()))}")
    return None


def summary_job(run: AuditRun) -> Generator[Progress, None, AuditSummary]:
    """Compare the intervals of before with those of after."""
    yield Progress(0, 0, "Comparing")
    return summarise_audits(run.model.calibration, run.store.audits)


def copy_place(name: str) -> Path:
    """Folder of the user's model of a name.

    Raises
    ------
    UserError
        For a name that no folder should have.
    """
    from celltally import zoo

    name = name.strip()
    if not name or name.startswith(".") or any(not (c.isalnum() or c in " ._-") for c in name):
        raise UserError(
            f"a model cannot be named {name!r}: use letters, digits, spaces, dots, - and _"
        )
    if (
        any(record.name == name for record in zoo.available())
        and not (zoo.user_models_dir() / name).exists()
    ):
        raise UserError(f"there is a model {name!r} that ships; choose another name")
    return zoo.user_models_dir() / name


def copy_job(run: AuditRun, name: str) -> Generator[Progress, None, Path]:
    """Save a calibrated copy among the user's models; return its folder."""
    yield Progress(0, 0, "Calibrating a copy")
    from celltally.learn.audits import copy_with_audits

    place = copy_place(name)
    copy_with_audits(run.model, run.store, place)
    return place
