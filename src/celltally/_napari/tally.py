"""The *Tally* widget: image, model, count, result. It joins its sections, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error, show_info
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from celltally._napari import counting, export
from celltally._napari.controls import line
from celltally._napari.count_section import CountSection
from celltally._napari.counting import PlaneCount
from celltally._napari.docked import Docked
from celltally._napari.image_section import ImageSection
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.layers import density_layer, keep, kept, show_density
from celltally._napari.model_section import ModelSection
from celltally._napari.planes import key_of
from celltally._napari.regions_section import RegionsSection
from celltally._napari.result_section import ResultSection
from celltally._napari.shown_dots import Result, ShownDots
from celltally._napari.uncertainty_section import UncertaintyBox

if TYPE_CHECKING:
    import napari

__all__ = ["TallyWidget"]


class TallyWidget(Docked):
    """Counts the plane in view of an image layer.

    Parameters
    ----------
    napari_viewer
        The viewer whose images are counted.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.jobs = Jobs()
        self._job: Job | None = None
        self._results: dict[str, Result] = {}
        self.image = ImageSection(napari_viewer, self.jobs)
        self.model = ModelSection(self.jobs)
        self.count_section = CountSection()
        self.result = ResultSection()
        self.dots = ShownDots(napari_viewer, self._results, self)
        self.regions = RegionsSection(
            napari_viewer, self.jobs, self.image.plane, self._dot_positions
        )
        self.uncertainty = UncertaintyBox(napari_viewer, self.jobs)
        self.result.column.addWidget(self.uncertainty)
        self.lay_out(
            self.image, line(), self.model, self.count_section, line(), self.result, line(),
            self.regions,
        )  # fmt: skip
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(30)  # so that the window is painted in between
        self._soon.timeout.connect(self._do_step)
        self.image.changed.connect(self._refresh)
        self.image.image_changed.connect(self._show_result)
        self.model.changed.connect(self._refresh)
        self.count_section.started.connect(self.count)
        self.count_section.cancelled.connect(self.cancel)
        self.result.threshold_changed.connect(self._threshold_changed)
        self.result.level_changed.connect(self._show_interval)
        self.result.level_changed.connect(lambda: self.regions.show_level(self.result.level))
        self.regions.corrected.connect(self._show_corrected)
        self.dots.changed.connect(self._dots_changed)
        self.result.save_counts.connect(self.save_counts)
        self.result.save_dots.connect(self.save_dots)
        self._hook_viewer()
        self._show_result()
        self._refresh()

    def _hook_viewer(self) -> None:
        """Follow the viewer for as long as the widget is there."""
        image, dots, regions, jobs = self.image, self.dots, self.regions, self.jobs
        removed, forget = self.viewer.layers.events.removed, self._layer_removed
        removed.connect(forget)

        def unhook(*_: object) -> None:
            jobs.stop()
            image.disconnect_viewer()
            dots.disconnect_viewer()
            regions.disconnect_viewer()
            removed.disconnect(forget)

        self._unhook = unhook
        self.destroyed.connect(unhook)

    def leave(self) -> None:
        """Hear nothing more of the viewer and its dots, and end what runs."""
        self._soon.stop()
        self.dots.leave()
        self.regions.leave()
        self._unhook()

    # ---- count ----

    @property
    def running(self) -> bool:
        """Whether a count is under way."""
        return self._job is not None

    def problem(self) -> str | None:
        """Say what keeps from counting, or None."""
        return self.image.problem() or self.model.problem()

    def _refresh(self) -> None:
        self.model.warn(self.image.diameter_px, self.image.seen)
        self.regions.show_pixel_size(self.image.pixel_um)
        if self.running:
            return
        problem = self.problem()
        waits = self.model.loading or self.image.busy  # the sections say so themselves
        quiet = problem is None or waits or self.image.says_why
        self.count_section.show_ready(problem, "" if quiet else problem)

    def count(self) -> None:
        """Start counting the plane in view; nothing is started on bad input."""
        if self.running:
            return
        problem = self.problem()
        layer, record, diameter = self.image.layer, self.model.record, self.image.diameter_px
        if problem is not None or layer is None or record is None or diameter is None:
            self.count_section.show_ready(problem, problem or "")
            return
        plane, key, name = self.image.plane(), key_of(layer), export.image_name(layer)
        self.count_section.show_running()
        self._job = self.jobs.start(
            lambda: counting.count_job(plane, record, diameter, name),
            on_done=lambda counted: self._done(key, counted),
            on_failed=self._failed,
            on_cancelled=lambda: self._ended("Cancelled: nothing was changed."),
            on_progress=self.count_section.show_progress,
        )

    def cancel(self) -> None:
        """End the count that is under way as soon as it can be."""
        if self._job is not None:
            self.count_section.show_cancelling()
            self._job.cancel()

    def _ended(self, message: str = "") -> None:
        self._job = None
        self.count_section.show_ready(self.problem(), message)

    def _failed(self, error: Exception) -> None:
        text = sentence(error)
        self._ended(text)
        show_error(text)

    def _done(self, key: str, counted: PlaneCount) -> None:
        """Show a result, one layer at a time, so that the window lives in between."""

        def density() -> None:
            layer = self._layer(key)
            if layer is None:
                self._ended("The image was closed while it was counted.")
                return
            self._results[key] = Result(counted, counted.threshold)
            shown = show_density(self.viewer, layer, counted.plane, counted.prediction)
            keep(shown, counted=counted)
            self._later(dots)

        def dots() -> None:
            self.dots.put(key)
            self._ended()
            self._show_result()

        density()

    def _later(self, step: Callable[[], None]) -> None:
        """Do a step when the window has drawn what is there; never, once it is closed."""
        self._step = step
        self._soon.start()

    def _do_step(self) -> None:
        try:
            self._step()
        except Exception as error:  # Qt would end the program
            self._failed(error)

    def _layer(self, key: str) -> Any:
        return next((layer for layer in self.viewer.layers if key_of(layer) == key), None)

    # ---- result ----

    def _layer_removed(self, event: Any = None) -> None:
        """Forget closed images, whose pixels a result holds; our layers still know theirs."""
        there = {key_of(layer) for layer in self.viewer.layers}
        for key in set(self._results) - there:
            del self._results[key]

    def _key(self) -> str | None:
        layer = self.image.layer
        return None if layer is None else key_of(layer)

    def _remembered(self, key: str) -> Result | None:
        """Return the result of an image; its layer knows it, whichever widget counted it."""
        density = density_layer(self.viewer.layers, key)
        counted = kept(density, "counted") if density is not None else None
        if key not in self._results and counted is not None:
            self._results[key] = Result(counted, counted.threshold)
        return self._results.get(key)

    def _show_result(self) -> None:
        """Show the result of the chosen image, if it was counted."""
        key = self._key()
        result = self._remembered(key) if key is not None else None
        for section in (self.regions, self.uncertainty):
            section.show_image(self.image.layer, result.counted if result else None)
        if key is None or result is None:
            self.result.clear()
            return
        self.result.show_counted(result.counted, result.threshold)
        self._show_interval()
        self._show_dots(key)
        self.dots.watch(key)

    def _show_interval(self) -> None:
        from celltally import intervals

        result = self._results.get(self._key() or "")
        if result is None:
            return
        prediction, level = result.counted.prediction, self.result.level
        if self.regions.correction is None:
            self.result.show_count(prediction.count)
            self.result.show_interval(intervals.of(prediction, level=level))
        else:
            found, words = self.regions.correction
            self.result.show_count(found.count, words)
            self.result.show_interval(found.interval(prediction, level))

    def _show_corrected(self) -> None:
        self._show_interval()
        self._show_dots(self._key() or "")

    # ---- dots ----

    def _threshold_changed(self, threshold: float) -> None:
        key = self._key()
        if key is not None and key in self._results:
            self._results[key].threshold = threshold
            self.dots.put(key)
            self._show_dots(key)

    def _dots_changed(self, key: str) -> None:
        if key == self._key():
            self._show_dots(key)

    def _show_dots(self, key: str) -> None:
        if key not in self._results:
            return
        self.regions.dots_changed()
        (n_dots, note), corrected = self.dots.told(key), self.regions.correction
        self.result.show_dots(n_dots if corrected is None else corrected[0].n_dots, note)

    def _dot_positions(self) -> NDArray[np.float64]:
        """Where the dots of the chosen image are that were not removed."""
        key = self._key()
        if key is None or key not in self._results:
            return np.empty((0, 2))
        dots = self.dots.dots(key)
        return dots.yx[dots.state != "removed"]

    # ---- out of napari ----

    def save_dots(self, path: str) -> None:
        """Write the dots of the chosen image as CSV."""
        from celltally.io import write_dots

        key = self._key()
        if key is not None and key in self._results:
            self._save(path, lambda: write_dots(Path(path), self.dots.dots(key)))

    def save_counts(self, path: str) -> None:
        """Write the result of the chosen image as a row of a CSV file."""
        key = self._key()
        interval = self.result.interval
        if key is not None and key in self._results and interval is not None:
            counted, n_dots = self._results[key].counted, self.result.n_dots
            corrected = self.regions.correction
            after = {"count": self.result.count, "correction": corrected[1]} if corrected else {}
            self._save(path, lambda: export.write_counts(path, counted, interval, n_dots, **after))

    def _save(self, path: str, write: Any) -> None:
        try:
            write()
        except Exception as error:  # whatever it is, the window must go on
            show_error(sentence(error))
        else:
            show_info(f"Saved {Path(path).name}.")
