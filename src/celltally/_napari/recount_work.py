"""Recounting a study with another model, and deciding for it: jobs. Free of Qt."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from celltally._napari.counting import load_record
from celltally._napari.preload import loading_torch
from celltally.record import ModelRecord
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.project.differences import Difference, Total
    from celltally.project.new_version import Used
    from celltally.project.recounts import Version
    from celltally.project.store import Store

__all__ = ["Compared", "leave_job", "recount_job", "save_job", "use_job"]


@dataclass(frozen=True, eq=False)
class Compared:
    """What a recount found; nothing of it is in force.

    Attributes
    ----------
    by
        The model that recounted.
    differences
        In the order in which the images came.
    totals
        By condition and time point.
    """

    by: Version
    differences: tuple[Difference, ...]
    totals: tuple[Total, ...]


def recount_job(store: Store, record: ModelRecord) -> Generator[Progress, None, Compared]:
    """Count all images of the study with a model, and compare; see ``batch.iter_recount``."""
    yield Progress(0, 0, "loading the model")
    with loading_torch():
        from celltally.batch.recount import iter_recount, version_of
        from celltally.project.differences import totals
        from celltally.project.recounts import Recount

    model = load_record(record)
    pending = Recount(store, version_of(model))
    try:
        found = yield from iter_recount(store, model, pending)
    finally:
        pending.close()
    return Compared(pending.by, tuple(found), tuple(totals(found)))


def use_job(
    store: Store, compared: Compared, records: Sequence[ModelRecord]
) -> Generator[Progress, None, Used]:
    """Put what was recounted in force: all of it, or nothing."""
    yield Progress(0, 0, "putting the counts in force")
    from celltally.project.lineage import remember_lineages
    from celltally.project.new_version import iter_use_recount
    from celltally.project.recounts import Recount

    pending = Recount(store, compared.by)
    try:
        used = yield from iter_use_recount(store, pending)
    finally:
        pending.close()
    remember_lineages(store, records)
    return used


def leave_job(store: Store) -> Generator[Progress, None, None]:
    """Drop what was recounted."""
    yield Progress(0, 0, "dropping the recount")
    from celltally.project.recounts import drop_recount

    drop_recount(store)


def save_job(compared: Compared, path: Path) -> Generator[Progress, None, str]:
    """Write the differences as CSV, the largest first."""
    yield Progress(0, 0, "writing")
    from celltally.project.differences import largest_first, records
    from celltally.project.sheet import write_table

    write_table(path, records(largest_first(compared.differences)))
    return f"Saved {path.name}."
