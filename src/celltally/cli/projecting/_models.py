"""Which model a command of a project takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from celltally.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from celltally.project.store import Store
    from celltally.project.study_lock import Lock

__all__ = ["Learner", "model_of"]

Learner = Annotated[
    str | None,
    typer.Option(
        help="The model that is to learn, by name or folder; left out, the one that the study "
        "is locked to, else that of its newest count, else general."
    ),
]


def model_of(store: Store, model: str | None) -> str | Path:
    """Return the name or the folder of the model to take.

    Parameters
    ----------
    store
        The project.
    model
        The one that was asked for; None for that of the study's lock, else that of its newest
        count, else the default.

    Raises
    ------
    UserError
        When the study is locked to a model that is not here.
    """
    from celltally import zoo
    from celltally.project.counts import latest_counts
    from celltally.project.study_lock import locked

    if model is not None:
        return model
    held = locked(store)
    if held is not None:
        return _locked(held)
    newest = max(latest_counts(store), key=lambda c: c.id, default=None)
    return zoo.DEFAULT_MODEL if newest is None else newest.model


def _locked(held: Lock) -> str | Path:
    """Return where the model is that a study is locked to."""
    from celltally import zoo

    same = [record for record in zoo.available() if record.sha256 == held.model_sha256]
    for record in sorted(same, key=lambda r: r.name != held.model):
        return record.path or record.name
    raise UserError(
        f"the study is locked to the model {held.model!r} ({held.model_sha256[:8]}), which is not "
        "among the models here; give its folder with --model, or unlock the study"
    )
