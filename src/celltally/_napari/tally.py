"""The *Tally* widget: image, model, count, result. It joins its sections, and no more."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from celltally._napari import dot_export, export, out
from celltally._napari.audit_region import RegionAudit
from celltally._napari.checking import Checking
from celltally._napari.controls import line
from celltally._napari.correct_section import CorrectSection
from celltally._napari.correcting import Correcting
from celltally._napari.count_runner import CountRunner
from celltally._napari.count_section import CountSection
from celltally._napari.counting import PlaneCount
from celltally._napari.curve import Point, curve_note
from celltally._napari.docked import Docked
from celltally._napari.image_section import ImageSection
from celltally._napari.jobs import Jobs
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
from celltally._napari.over_time import OverTime
from celltally._napari.plane_figures import Cells
from celltally._napari.planes import Plane, go_to, key_of
from celltally._napari.project_bar import ProjectBar
from celltally._napari.regions_section import RegionsSection
from celltally._napari.result_section import NOTHING, ResultSection
from celltally._napari.results import Result, Results
from celltally._napari.saving import saving_of
from celltally._napari.texts import number
from celltally._napari.uncertainty_section import UncertaintyBox
from celltally.errors import UserError
from celltally.project.edits import Work
from celltally.types import Dots

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
        self.runner = CountRunner(
            self.jobs, self._results, self.correcting, self.keeping, self._layer, self
        )
        self.over_time = OverTime(self.jobs, self._results, self.correcting, self.saving, self)
        self.correct = CorrectSection(self.correcting)
        self.checking = Checking(napari_viewer, self.jobs, self.correcting, self)
        self.correct.stepped.connect(self.checking.step)
        self.checking.told.connect(self.correct.show_place)
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
        self._threshold_moved = self._timer(300, self._keep_threshold)  # where it comes to rest
        self._curve_soon = self._timer(150, self._show_curve)
        self.image.changed.connect(self._refresh)
        self.image.image_changed.connect(self._image_changed)
        self.model.changed.connect(self._refresh)
        self.count_section.started.connect(self.count)
        self.count_section.cancelled.connect(self.cancel)
        self.result.threshold_changed.connect(self._threshold_changed)
        self.result.level_changed.connect(self._show_interval)
        self.result.level_changed.connect(lambda: self.regions.show_level(self.result.level))
        self.result.level_changed.connect(self._show_curve)
        self.result.time_chosen.connect(self._go_to)
        self.runner.progressed.connect(self.count_section.show_progress)
        self.runner.counted.connect(self._plane_counted)
        self.runner.ended.connect(self._ended)
        self.runner.failed.connect(lambda words: show_error(words))
        self.over_time.changed.connect(self._worked_out)
        self.regions.corrected.connect(self._show_corrected)
        self.regions.measured.connect(self._show_reviewed)
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

    def _timer(self, milliseconds: int, do: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(do)
        return timer

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
        self.runner.leave()
        self._threshold_moved.stop()
        self._curve_soon.stop()
        self.audit.leave()
        self.correct.leave()
        self.correcting.leave()
        self.regions.leave()
        self._unhook()

    # ---- count ----

    @property
    def running(self) -> bool:
        """Whether a count is under way."""
        return self.runner.running

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
        """Start counting what is chosen; nothing is started on bad input."""
        if self.running:
            return
        problem = self.problem()
        layer, record, diameter = self.image.layer, self.model.record, self.image.diameter_px
        if problem is not None or layer is None or record is None or diameter is None:
            self.count_section.show_ready(problem, problem or "")
            return
        self.count_section.show_running()
        self.runner.start(layer, self.image.plane(), self.image.scope, record, diameter)

    def cancel(self) -> None:
        """End the count that is under way as soon as it can be."""
        if self.running:
            self.count_section.show_cancelling()
            self.runner.cancel()

    def _plane_counted(self, key: str, counted: PlaneCount | None) -> None:
        """Show what there is of a count that goes on; the rest follows when it is over."""
        layer = self._layer(key)
        if counted is not None and layer is not None:
            self._show_density(layer, counted)
        elif key == self._key() and not self.running and self._result() is None:
            self._show_result()
        self._curve_soon.start()

    def _ended(self, words: str) -> None:
        self.count_section.show_ready(self.problem(), words)
        self._show_result()

    def _show_density(self, layer: Any, counted: PlaneCount) -> None:
        shown = show_density(self.viewer, layer, counted.plane, counted.prediction)
        keep(shown, counted=counted)

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
        self.over_time.forget(key)
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
        return self._results.at(self._key(), self._plane())

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
        self.runner.cancel()
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
        words = NOTHING
        if result is None and layer is not None and plane is not None:
            words = self._missing(layer, plane)
        key = self._key()
        if key is not None and plane is not None:
            self._results.look(key, plane)
            self.correcting.look_at(key, plane if result is None else result.counted.plane)
        for section in (self.regions, self.uncertainty, self.checking):
            section.show_image(layer, result.counted if result else None)
        self.correct.show_image(key)
        self.audit.show_ready(result is not None)
        if layer is None or key is None or result is None:
            self.result.clear(words)
            self._show_curve()
            return
        counted = result.counted
        density = density_layer(self.viewer.layers, key)
        if density is None or kept(density, "counted") is not counted:
            self._show_density(layer, counted)
        if not self.running:
            self._propose_missing(key, result)
        self.result.show_counted(counted, result.threshold)
        merged = counted.plane.z_method == "merged"  # the model's count is of single planes
        self.correct.show_model(math.nan if merged else counted.prediction.count)
        self._show_interval()
        self._show_dots(key)
        self._show_curve()

    def _missing(self, layer: Any, plane: Plane) -> str:
        """Load the count of the plane in view, if there is one; say what is to be waited for."""
        if self.keeping.load(layer, plane):
            return "The count is being loaded."
        if self._results.stored(key_of(layer), plane) is None:
            others = self._results.counted(key_of(layer))
            return f"{plane.text} is not counted." if others and plane.text else NOTHING
        if self.saving.read_only:
            return "Counted, but not kept: the project is open for reading only."
        return "Counted; it is shown as soon as it is saved."

    def _cells(self, level: float) -> Cells | None:
        """Return the cells of the time point in view, where planes are merged."""
        key, result = self._key(), self._result()
        if key is None or result is None or result.counted.plane.z_method != "merged":
            return None
        return self.over_time.cells(key, result.counted.plane, level)

    def _show_interval(self) -> None:
        from celltally import intervals

        result = self._result()
        if result is None:
            return
        prediction, level = result.counted.prediction, self.result.level
        if result.counted.plane.z_method == "merged":
            cells = self._cells(level)
            if cells is None:
                self.result.show_count(math.nan, "The dots are being merged.")
                return
            self.result.show_count(cells.count, cells.words)
            self.result.show_interval(cells.interval)
        elif self.regions.correction is None:
            self.result.show_count(prediction.count)
            self.result.show_interval(intervals.of(prediction, level=level))
        else:
            found, words = self.regions.correction
            self.result.show_count(found.count, words)
            self.result.show_interval(found.interval(prediction, level))

    def _show_corrected(self) -> None:
        self._show_interval()
        self._show_dots(self._key() or "")
        self._curve_soon.start()

    def _show_reviewed(self) -> None:
        cells = self._cells(self.result.level)
        self.correct.show_reviewed(self.regions.reviewed_share if cells is None else cells.reviewed)

    def _worked_out(self) -> None:
        """Show what was worked out beside the window."""
        self._show_merged(self._key() or "")
        self._show_curve()

    # ---- over time ----

    def _show_curve(self) -> None:
        """Show the counts over time, where there are several."""
        key, plane = self._key(), self._plane()
        if key is None or plane is None or plane.length("T") < 2:
            self.result.show_curve((), 0, None)
            return
        now, level = plane.index("T"), self.result.level
        points = self.over_time.points(key, plane, level)
        result, interval = self._result(), self.result.interval
        if result is not None and interval is not None and math.isfinite(self.result.count):
            words = self.result.correction_label.text()
            merged = result.counted.plane.z_method == "merged"
            live = Point(
                now, self.result.count, interval, self.result.n_dots, "" if merged else words
            )
            points = [live if point.t == now else point for point in points]
        note = curve_note(points, plane.length("T"), level, trouble=self.over_time.trouble)
        self.result.show_curve(points, plane.length("T"), now, note)

    def _go_to(self, t: int) -> None:
        """Move the slider to a time point."""
        layer, plane = self.image.layer, self._plane()
        if layer is not None and plane is not None:
            go_to(layer, self.viewer.dims, plane.moved(t=t))

    # ---- dots ----

    def _propose_missing(self, key: str, result: Result) -> None:
        """Propose the dots of a count that was kept when the program was ended before it did."""
        counted, work = result.counted, self.correcting.work(key)
        dots = Dots.new() if work is None else work.dots
        t, z = counted.plane.place
        here = (dots.t == t) if z is None else (dots.t == t) & (dots.z == z)
        if not here.any() and result.n_dots:
            self._propose(key, counted, result.threshold)

    def _propose(self, key: str, counted: PlaneCount, threshold: float) -> None:
        """Propose the dots above a threshold; what a human has touched stays."""
        diameter = counted.prediction.diameter_px
        if self.correcting.work(key) is None:
            self.correcting.set_work(key, Work(), counted.plane, diameter)
        self.correcting.propose(key, counted.dots(threshold), [counted.plane.place], diameter)

    def _threshold_changed(self, threshold: float) -> None:
        key, result = self._key(), self._result()
        if key is not None and result is not None:
            self._results.set_threshold(key, result, threshold)
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
        self._curve_soon.start()
        if self._show_merged(key):
            return
        n_dots, corrected = self.correcting.figures(key).n_dots, self.regions.correction
        note = self._note_on_many(key)
        self.result.show_dots(n_dots if corrected is None else corrected[0].n_dots, note)

    def _note_on_many(self, key: str) -> str:
        subject = self.correcting.subject(key)
        if subject is None or not subject.many:
            return ""
        shown = self.correcting.shown.n_shown(key)
        return f"The {number(shown)} in view are shown" if shown else "Zoom in to see them"

    def _show_merged(self, key: str) -> bool:
        """Show the cells of merged planes; False where planes are not merged."""
        result = self._result()
        if result is None or result.counted.plane.z_method != "merged":
            return False
        self._show_interval()
        cells, plane = self._cells(self.result.level), result.counted.plane
        if cells is not None:
            here = int(np.count_nonzero(cells.dots.z == plane.index("Z")))
            self.result.show_cells(cells.count, here, self._note_on_many(key))
            self._show_reviewed()
        return True

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
        out.save(path, lambda: dot_export.export_dots(path, work.dots, name, counted, told))

    def save_density(self, path: str) -> None:
        """Write the density of the plane in view."""
        result, pixel_um = self._result(), self.image.pixel_um
        if result is not None:
            out.save_in_job(
                self.jobs, path, lambda: dot_export.density_job(path, result.counted, pixel_um)
            )

    def save_counts(self, path: str) -> None:
        """Write the result of the chosen image as a row of a CSV file; a row a time point."""
        layer, key, result, interval = (
            self.image.layer, self._key(), self._result(), self.result.interval
        )  # fmt: skip
        if layer is None or key is None or result is None or interval is None:
            return
        plane, level = result.counted.plane, self.result.level
        known = self._results.over_time(key, plane)
        if len(known) > 1 or plane.z_method == "merged":
            work, store = self.correcting.work(key), self.saving.store
            frozen = None if work is None else Work(work.dots, work.regions)
            counts = {t: self._results.over_z(key, t) for t in self._results.times(key)}
            rows = out.rows_job(
                path, export.image_name(layer), known, counts.__getitem__, frozen, store,
                level,
            )  # fmt: skip
            out.save_in_job(self.jobs, path, lambda: rows)
            return
        corrected = self.regions.correction
        after = {"count": self.result.count, "correction": corrected[1]} if corrected else {}
        n_dots = self.result.n_dots
        out.save(path, lambda: export.write_counts(path, result.counted, interval, n_dots, **after))
