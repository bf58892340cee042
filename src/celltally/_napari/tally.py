"""The *Tally* widget: image, model, count, result. It joins its sections, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error, show_info
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from celltally._napari import counting, dot_export, export
from celltally._napari.audit_region import RegionAudit
from celltally._napari.controls import line
from celltally._napari.correct_section import CorrectSection
from celltally._napari.correcting import Correcting
from celltally._napari.count_section import CountSection
from celltally._napari.counting import PlaneCount
from celltally._napari.docked import Docked
from celltally._napari.image_section import ImageSection
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.keeping import Keeping
from celltally._napari.layers import (
    density_layer,
    image_of,
    keep,
    kept,
    own_role,
    show_density,
)
from celltally._napari.model_section import ModelSection
from celltally._napari.planes import Plane, key_of
from celltally._napari.project_bar import ProjectBar
from celltally._napari.regions_section import RegionsSection
from celltally._napari.result_section import ResultSection
from celltally._napari.results import Result, Results
from celltally._napari.saving import saving_of
from celltally._napari.texts import number
from celltally._napari.uncertainty_section import UncertaintyBox
from celltally.errors import UserError
from celltally.project.edits import Work

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
        self._shown: tuple[str | None, tuple[int, ...]] | None = None
        self._results = Results()
        self.saving = saving_of(napari_viewer, self)
        self.project = ProjectBar(self.saving)
        self.image = ImageSection(napari_viewer, self.jobs)
        self.image.put_beside_title(self.project)
        self.model = ModelSection(self.jobs)
        self.count_section = CountSection()
        self.result = ResultSection()
        self.correcting = Correcting(napari_viewer, self, self.saving.author)
        self.keeping = Keeping(napari_viewer, self.saving, self._results, self.correcting, self)
        self.correct = CorrectSection(self.correcting)
        self.regions = RegionsSection(
            napari_viewer, self.jobs, self.image.plane, self._dot_positions
        )
        self.audit = RegionAudit(
            napari_viewer, self.jobs, self.correcting, self._counted_in_view, self
        )
        self.regions.body.insertWidget(3, self.audit.button)  # below the tools
        self.regions.body.insertWidget(4, self.audit.outcome)
        self.audit.audited.connect(lambda _: self.regions.unfold())
        self.uncertainty = UncertaintyBox(napari_viewer, self.jobs)
        self.result.column.addWidget(self.uncertainty)
        self.lay_out(
            self.project.trouble, self.image, line(), self.model, self.count_section, line(),
            self.result, line(), self.correct, line(), self.regions,
        )  # fmt: skip
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(30)  # so that the window is painted in between
        self._soon.timeout.connect(self._do_step)
        self._threshold_moved = QTimer(self)
        self._threshold_moved.setSingleShot(True)
        self._threshold_moved.setInterval(300)  # it is kept where it comes to rest
        self._threshold_moved.timeout.connect(self._keep_threshold)
        self.image.changed.connect(self._refresh)
        self.image.image_changed.connect(self._image_changed)
        self.model.changed.connect(self._refresh)
        self.count_section.started.connect(self.count)
        self.count_section.cancelled.connect(self.cancel)
        self.result.threshold_changed.connect(self._threshold_changed)
        self.result.level_changed.connect(self._show_interval)
        self.result.level_changed.connect(lambda: self.regions.show_level(self.result.level))
        self.regions.corrected.connect(self._show_corrected)
        self.regions.measured.connect(
            lambda: self.correct.show_reviewed(self.regions.reviewed_share)
        )
        self.correcting.changed.connect(self._dots_changed)
        self.keeping.restored.connect(self._restored)
        self.keeping.loaded.connect(self._restored)
        self.saving.switched.connect(self._project_switched)
        self.result.save_counts.connect(self.save_counts)
        self.result.save_dots.connect(self.save_dots)
        self.result.save_density.connect(self.save_density)
        self._hook_viewer()
        self._image_changed()
        self._refresh()

    def _hook_viewer(self) -> None:
        """Follow the viewer for as long as the widget is there."""
        image, regions, jobs = self.image, self.regions, self.jobs
        correcting, tool = self.correcting, self.correct.tool
        removed, forget = self.viewer.layers.events.removed, self._layer_removed
        removed.connect(forget)

        def unhook(*_: object) -> None:
            jobs.stop()
            image.disconnect_viewer()
            tool.disconnect_viewer()
            correcting.disconnect_viewer()
            regions.disconnect_viewer()
            removed.disconnect(forget)

        self._unhook = unhook
        self.destroyed.connect(unhook)

    def leave(self) -> None:
        """Hear nothing more of the viewer and its dots, and end what runs."""
        self._soon.stop()
        self._threshold_moved.stop()
        self.audit.leave()
        self.correct.leave()
        self.correcting.leave()
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
        if self._view_moved():
            self._show_result()
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
            self._results.put(key, counted)
            self._show_density(layer, counted)
            self.keeping.keep_count(layer, counted, intervals.of(counted.prediction))
            self._later(dots)

        def dots() -> None:
            self._ended(self._propose(key, counted, counted.threshold))
            self._show_result()

        from celltally import intervals

        density()

    def _show_density(self, layer: Any, counted: PlaneCount) -> None:
        shown = show_density(self.viewer, layer, counted.plane, counted.prediction)
        keep(shown, counted=counted)

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
        for key in self._results.images() - there:
            self._forget(key)
            self.keeping.forget(key)

    def _forget(self, key: str) -> None:
        self._results.forget(key)
        self.correcting.forget(key)

    def _key(self) -> str | None:
        layer = self.image.layer
        return None if layer is None else key_of(layer)

    def _plane(self) -> Plane | None:
        """Return the plane in view; None where there is none."""
        try:
            return self.image.plane()
        except UserError:
            return None

    def _result(self) -> Result | None:
        """Return the result of the plane in view."""
        plane = self._plane()
        return None if plane is None else self._results.at(self._key(), plane.position)

    def _counted_in_view(self) -> tuple[str, PlaneCount] | None:
        """Return the key of the image and the count of its plane in view."""
        key, result = self._key(), self._result()
        return None if key is None or result is None else (key, result.counted)

    def _view_moved(self) -> bool:
        """Whether another plane is in view than when this was asked last."""
        plane = self._plane()
        before = self._shown
        self._shown = None if plane is None else (self._key(), plane.position)
        return self._shown != before

    def _image_changed(self) -> None:
        """Show another image, as it was left."""
        layer, plane = self.image.layer, self._plane()
        if layer is not None and plane is not None:
            self._take_over(key_of(layer))
            self.keeping.look_up(layer, plane, self.image.diameter_px)
        self._view_moved()
        self._show_result()

    def _take_over(self, key: str) -> None:
        """Know what the layers of an image know, whichever widget counted it."""
        density = density_layer(self.viewer.layers, key)
        counted = kept(density, "counted") if density is not None else None
        if counted is not None and not self._results.counted(key):
            self._results.put(key, counted)
        if self.correcting.work(key) is None:
            self.correcting.adopt(key)

    def _restored(self, key: str) -> None:
        """Show what the project knows of an image."""
        if key == self._key():
            result = self._result()
            if result is not None:
                self.image.restore_diameter(key, result.counted.prediction.diameter_px)
            self._show_result()

    def _project_switched(self) -> None:
        """Show the images as the project that is open now knows them."""
        self.keeping.forget_all()
        for key in self._results.images():
            self._forget(key)
        for layer in [one for one in self.viewer.layers if image_of(one) is not None]:
            if own_role(layer) in ("density", "dots", "regions", "uncertainty"):
                self.viewer.layers.remove(layer)
        self._image_changed()

    def _show_result(self) -> None:
        """Show the result of the plane in view, if it was counted."""
        layer, plane, result = self.image.layer, self._plane(), self._result()
        if result is None and layer is not None and plane is not None:
            self.keeping.load(layer, plane)
        key = self._key()
        if key is not None and plane is not None:
            self.correcting.look_at(key, plane if result is None else result.counted.plane)
        for section in (self.regions, self.uncertainty):
            section.show_image(layer, result.counted if result else None)
        self.correct.show_image(key)
        self.audit.show_ready(result is not None)
        if layer is None or key is None or result is None:
            self.result.clear()
            return
        counted = result.counted
        density = density_layer(self.viewer.layers, key)
        if density is None or kept(density, "counted") is not counted:
            self._show_density(layer, counted)
        self.result.show_counted(counted, result.threshold)
        self.correct.show_model(counted.prediction.count)
        self._show_interval()
        self._show_dots(key)

    def _show_interval(self) -> None:
        from celltally import intervals

        result = self._result()
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

    def _propose(self, key: str, counted: PlaneCount, threshold: float) -> str:
        """Propose the dots above a threshold; what a human has touched stays.

        Returns
        -------
        str
            What has changed, where a human had edited dots before.
        """
        work, diameter = self.correcting.work(key), counted.prediction.diameter_px
        if work is None:
            work = Work()
            self.correcting.set_work(key, work, counted.plane, diameter)
        by_hand = int(np.count_nonzero(work.dots.state != "proposed"))
        edit = self.correcting.propose(key, counted.dots(threshold), counted.plane, diameter)
        changes = () if edit is None else edit.changes
        new = sum(change.before is None for change in changes)
        gone = sum(change.after is None for change in changes)
        if not by_hand:
            return ""
        return (
            f"{new} dots newly proposed, {gone} proposals gone. "
            f"The {by_hand} dots that you edited are as they were."
        )

    def _threshold_changed(self, threshold: float) -> None:
        key, result = self._key(), self._result()
        if key is not None and result is not None:
            result.threshold = threshold
            self._propose(key, result.counted, threshold)
            self._show_dots(key)
            self._threshold_moved.start()

    def _keep_threshold(self) -> None:
        layer, result = self.image.layer, self._result()
        if layer is not None and result is not None:
            self.keeping.keep_threshold(layer, result.counted.plane, result.threshold)

    def _dots_changed(self, key: str) -> None:
        if key == self._key():
            self._show_dots(key)

    def _show_dots(self, key: str) -> None:
        subject = self.correcting.subject(key)
        if subject is None or self._result() is None:
            return
        self.regions.dots_changed()
        n_dots, corrected = self.correcting.figures(key).n_dots, self.regions.correction
        note = ""
        if subject.many:
            shown = self.correcting.shown.n_shown(key)
            note = f"The {number(shown)} in view are shown" if shown else "Zoom in to see them"
        self.result.show_dots(n_dots if corrected is None else corrected[0].n_dots, note)

    def _dot_positions(self) -> NDArray[np.float64]:
        """Where the dots of the chosen image are that were not removed."""
        key = self._key()
        if key is None or self.correcting.work(key) is None:
            return np.empty((0, 2))
        dots = self.correcting.in_plane(key)
        return dots.yx[dots.state != "removed"]

    # ---- out of napari ----

    def save_dots(self, path: str, name: str = "celltally") -> None:
        """Write the dots of the chosen image in one of ``DOT_FORMATS``."""
        work, result = self.correcting.work(self._key()), self._result()
        if work is None:
            return
        self.correcting.catch(self._key() or "")
        counted = told = None
        if result is not None:
            counted = result.counted
            told = dot_export.provenance(
                counted,
                self.result.interval,
                count=self.result.count,
                threshold=result.threshold,
                author=self.correcting.author,
                pixel_um=self.image.pixel_um,
            )
        self._save(path, lambda: dot_export.export_dots(path, work.dots, name, counted, told))

    def save_density(self, path: str) -> None:
        """Write the density of the plane in view."""
        result, pixel_um = self._result(), self.image.pixel_um
        if result is not None:
            self.jobs.start(
                lambda: dot_export.density_job(path, result.counted, pixel_um),
                on_done=lambda _: show_info(f"Saved {Path(path).name}."),
                on_failed=lambda error: show_error(sentence(error)),
            )

    def save_counts(self, path: str) -> None:
        """Write the result of the chosen image as a row of a CSV file."""
        result, interval = self._result(), self.result.interval
        if result is not None and interval is not None:
            counted, n_dots = result.counted, self.result.n_dots
            corrected = self.regions.correction
            after = {"count": self.result.count, "correction": corrected[1]} if corrected else {}
            self._save(path, lambda: export.write_counts(path, counted, interval, n_dots, **after))

    def _save(self, path: str, write: Any) -> None:
        try:
            lost = write() or ()
        except Exception as error:  # whatever it is, the window must go on
            show_error(sentence(error))
        else:
            show_info(" ".join([f"Saved {Path(path).name}.", *lost]))
