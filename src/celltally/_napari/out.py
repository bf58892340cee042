"""Writes what a Tally widget shows: counts, dots, densities."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info

from celltally._napari import dot_export, export
from celltally._napari.correcting import Correcting
from celltally._napari.image_section import ImageSection
from celltally._napari.in_view import InView
from celltally._napari.jobs import Jobs, sentence
from celltally._napari.over_time import loaded_prediction
from celltally._napari.plane_figures import corrections_at, figures_of, live_dots, merged_cells
from celltally._napari.regions_section import RegionsSection
from celltally._napari.result_section import ResultSection
from celltally._napari.results import Known, Results
from celltally._napari.saving import Saving
from celltally.project.edits import Work
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.batch.table import Row
    from celltally.project.counts import StoredCount
    from celltally.project.store import Store

__all__ = ["Out", "rows_job"]


class Out:
    """Writes counts, dots and density of what is looked at, when the result section asks for it.

    Parameters
    ----------
    jobs, in_view, results, correcting, saving
        Those of the widget.
    image, result, regions
        The sections that show it.
    """

    def __init__(
        self,
        jobs: Jobs,
        in_view: InView,
        results: Results,
        correcting: Correcting,
        saving: Saving,
        *,
        image: ImageSection,
        result: ResultSection,
        regions: RegionsSection,
    ) -> None:
        self._jobs, self._in_view, self._results = jobs, in_view, results
        self._correcting, self._saving = correcting, saving
        self._image, self._result, self._regions = image, result, regions
        result.save_counts.connect(self.save_counts)
        result.save_dots.connect(self.save_dots)
        result.save_density.connect(self.save_density)

    def save_dots(self, path: str, name: str = "celltally") -> None:
        """Write the dots of the chosen image in one of ``DOT_FORMATS``."""
        key, result = self._in_view.key, self._in_view.result
        work = self._correcting.work(key)
        if work is None:
            return
        self._correcting.catch(key or "")
        counted = told = None
        if result is not None:
            counted = result.counted
            told = dot_export.provenance(
                counted,
                self._result.interval,
                count=self._result.count,
                threshold=result.threshold,
                author=self._correcting.author,
                pixel_um=self._image.pixel_um,
            )
        dots = work.dots
        self._save_in_job(path, lambda: dot_export.dots_job(path, dots, name, counted, told))

    def save_density(self, path: str) -> None:
        """Write the density of the plane in view."""
        result, pixel_um = self._in_view.result, self._image.pixel_um
        if result is not None:
            counted = result.counted
            self._save_in_job(path, lambda: dot_export.density_job(path, counted, pixel_um))

    def save_counts(self, path: str) -> None:
        """Write the result of the chosen image as a row of a CSV file; of a curve one a time."""
        layer, key = self._in_view.layer, self._in_view.key
        result, interval = self._in_view.result, self._result.interval
        if layer is None or key is None or result is None or interval is None:
            return
        plane, level = result.counted.plane, self._result.level
        known = self._results.over_time(key, plane)
        if len(known) > 1 or plane.z_method == "merged":
            work, store = self._correcting.work(key), self._saving.store
            frozen = None if work is None else Work(work.dots, work.regions)
            counts = {t: self._results.over_z(key, t) for t in self._results.times(key)}
            name = export.image_name(layer)
            self._save_in_job(
                path, lambda: rows_job(path, name, known, counts, frozen, store, level)
            )
            return
        corrected = self._regions.correction
        after = {"count": self._result.count, "correction": corrected[1]} if corrected else {}
        n_dots = self._result.n_dots
        _save(path, lambda: export.write_counts(path, result.counted, interval, n_dots, **after))

    def _save_in_job(self, path: str, make: Callable[[], Generator[Progress, None, Any]]) -> None:
        """Write a file beside the window, and tell of it; the job may return sentences."""
        self._jobs.start(
            make,
            on_done=lambda lost: _tell(path, lost if isinstance(lost, list) else ()),
            on_failed=lambda error: show_error(sentence(error)),
        )


def _save(path: str, write: Callable[[], Any]) -> None:
    """Write a file at once, and tell of it; ``write`` may return sentences on what is lost."""
    try:
        lost = write() or ()
    except Exception as error:  # whatever it is, the window must go on
        show_error(sentence(error))
    else:
        _tell(path, lost)


def _tell(path: str, lost: Sequence[str]) -> None:
    show_info(" ".join([f"Saved {Path(path).name}.", *lost]))


def rows_job(
    path: str,
    name: str,
    known: Sequence[Known],
    over_z: Mapping[int, Sequence[StoredCount]],
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
        Counts of the planes that are merged, by time point.
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
            counts = over_z[t]
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
