"""Writes what a Tally widget shows: counts, dots, densities."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info

from celltally._napari import export
from celltally._napari.jobs import Jobs, sentence
from celltally._napari.over_time import loaded_prediction
from celltally._napari.plane_figures import corrections_at, figures_of, live_dots, merged_cells
from celltally._napari.results import Known
from celltally.project.edits import Work
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.batch.table import Row
    from celltally.project.counts import StoredCount
    from celltally.project.store import Store

__all__ = ["rows_job", "save", "save_in_job"]


def save(path: str, write: Callable[[], Any]) -> None:
    """Write a file at once, and tell of it; ``write`` may return sentences on what is lost."""
    try:
        lost = write() or ()
    except Exception as error:  # whatever it is, the window must go on
        show_error(sentence(error))
    else:
        _tell(path, lost)


def save_in_job(jobs: Jobs, path: str, make: Callable[[], Generator[Progress, None, Any]]) -> None:
    """Write a file beside the window, and tell of it; the job may return sentences."""
    jobs.start(
        make,
        on_done=lambda lost: _tell(path, lost if isinstance(lost, list) else ()),
        on_failed=lambda error: show_error(sentence(error)),
    )


def _tell(path: str, lost: Sequence[str]) -> None:
    show_info(" ".join([f"Saved {Path(path).name}.", *lost]))


def rows_job(
    path: str,
    name: str,
    known: Sequence[Known],
    over_z: Callable[[int], Sequence[StoredCount]],
    work: Work | None,
    store: Store | None,
    level: float,
) -> Generator[Progress, None, list[str]]:
    """Write a row for each time point that was counted, as it is corrected.

    Parameters
    ----------
    path
        The table; one of ours grows by the rows.
    name
        Of the image.
    known
        Its time points.
    over_z
        Gives the counts of the planes that are merged at a time point.
    work, store
        Dots and regions, which nobody changes meanwhile, and the project.
    level
        Of the intervals.

    Returns
    -------
    list of str
        What could not be written, in sentences.
    """
    found: list[Row] = []
    missing = 0
    for done, one in enumerate(known):
        yield Progress(done, len(known), "Saving")
        t = one.plane.index("T")
        if one.plane.z_method == "merged":
            counts = over_z(t)
            diameter = max(count.diameter_px for count in counts)
            planes = [count.z for count in counts]
            cells = merged_cells(work or Work(), one.plane, planes, diameter, level)
            found.append(export.merged_row(name, t, cells, counts))
            continue
        prediction = loaded_prediction(one, store)
        if prediction is None:
            missing += 1
            continue
        regions = corrections_at(work, one.plane)
        figures = figures_of(prediction, live_dots(work, one.plane), regions, level)
        after = {"count": figures.count, "correction": figures.correction} if regions else {}
        found.append(
            export.plane_row(prediction, one.plane, figures.interval, figures.n_dots, **after)
        )
    export.write_rows(path, found)
    if not missing:
        return []
    many = missing != 1
    return [
        f"{missing} time point{'s' * many} {'are' if many else 'is'} missing: the project does "
        f"not keep {'their counts' if many else 'its count'}; count the image again."
    ]
