"""The *Tally* widget: image, model, count, result. It joins its sections, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtCore import Qt

from celltally._napari.audit_region import RegionAudit
from celltally._napari.checking import Checking
from celltally._napari.collecting import spare
from celltally._napari.compat import guard_drawing
from celltally._napari.controls import line
from celltally._napari.correct_section import CorrectSection
from celltally._napari.correcting import Correcting
from celltally._napari.count_runner import CountRunner
from celltally._napari.count_section import CountSection
from celltally._napari.display import Display
from celltally._napari.docked import Docked
from celltally._napari.image_section import ImageSection
from celltally._napari.in_view import InView
from celltally._napari.jobs import Jobs
from celltally._napari.keeping import Keeping
from celltally._napari.layers import (
    density_layer,
    image_of,
    kept,
    own_role,
)
from celltally._napari.model_section import ModelSection
from celltally._napari.other_model import OtherModel, locked_row
from celltally._napari.out import Out
from celltally._napari.over_time import OverTime
from celltally._napari.planes import key_of
from celltally._napari.project_bar import ProjectBar
from celltally._napari.recount_window import RecountWindow
from celltally._napari.regions_section import RegionsSection
from celltally._napari.result_section import ResultSection
from celltally._napari.results import Results
from celltally._napari.savings import saving_of
from celltally._napari.suggesting import NextRegion
from celltally._napari.uncertainty_section import UncertaintyBox

if TYPE_CHECKING:
    import napari

    from celltally.project.study_lock import Lock
    from celltally.record import ModelRecord

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
        self._results = Results()
        self.saving = saving_of(napari_viewer, self)
        self.project = ProjectBar(self.saving)
        self.image = ImageSection(napari_viewer, self.jobs)
        self.image.put_beside_title(self.project)
        self.in_view = InView(napari_viewer, self.image, self._results)
        self.model = ModelSection(self.jobs)
        self.count_section = CountSection()
        self.other_model = OtherModel(self.saving, self)
        self.recounting: RecountWindow | None = None
        self.result = ResultSection()
        self.correcting = Correcting(napari_viewer, self, self.saving.author)
        self.keeping = Keeping(napari_viewer, self.saving, self._results, self.correcting, self)
        self.runner = CountRunner(
            self.jobs, self._results, self.correcting, self.keeping,
            self.in_view.layer_of, self,
        )  # fmt: skip
        self.over_time = OverTime(self.jobs, self._results, self.correcting, self.saving, self)
        self.correct = CorrectSection(self.correcting)
        self.checking = Checking(napari_viewer, self.jobs, self.correcting, self)
        self.correct.stepped.connect(self.checking.step)
        self.checking.told.connect(self.correct.show_place)
        self.regions = RegionsSection(
            napari_viewer, self.jobs, self.image.plane, lambda: self.display.dot_positions()
        )
        self.audit = RegionAudit(
            napari_viewer, self.jobs, self.correcting, self.in_view.counted, self
        )
        self.regions.body.insertWidget(3, self.audit.button)  # below the tools
        self.regions.body.insertWidget(4, self.audit.outcome)
        self.audit.audited.connect(lambda _: self.regions.unfold())
        self.next_region = NextRegion(
            napari_viewer, self.jobs, self.saving, self.correcting, self.keeping, self.in_view,
            lambda: self.model.record, lambda: self.image.diameter_px, self,
        )  # fmt: skip
        self.regions.body.insertWidget(3, self.next_region.button)
        self.regions.body.insertWidget(4, self.next_region.outcome)
        self.uncertainty = UncertaintyBox(napari_viewer, self.jobs)
        self.result.column.addWidget(self.uncertainty)
        self.display = Display(
            napari_viewer, self.in_view, self._results, self.keeping, self.correcting,
            self.over_time, lambda: self.running, result=self.result, correct=self.correct,
            regions=self.regions, uncertainty=self.uncertainty, checking=self.checking,
            audit=self.audit, parent=self,
        )  # fmt: skip
        self.out = Out(
            self.jobs, self.in_view, self._results, self.correcting, self.saving,
            image=self.image, result=self.result, regions=self.regions,
        )  # fmt: skip
        self.lay_out(
            self.project.trouble, self.image, line(), self.model, self.count_section, line(),
            self.result, line(), self.correct, line(), self.regions,
        )  # fmt: skip
        self.image.changed.connect(self._refresh)
        self.image.image_changed.connect(self._image_changed)
        self.model.changed.connect(self._refresh)
        self.count_section.started.connect(self.count)
        self.count_section.cancelled.connect(self.cancel)
        self.other_model.once.connect(lambda: self.count(asked=True))
        self.other_model.recount.connect(self.recount)
        self.other_model.keep.connect(self._choose_locked)
        self.runner.progressed.connect(self.count_section.show_progress)
        self.runner.counted.connect(self.display.plane_counted)
        self.runner.ended.connect(self._ended)
        self.runner.failed.connect(lambda words: show_error(words))
        self.keeping.restored.connect(self._restored)
        self.keeping.loaded.connect(self._restored)
        self.saving.switched.connect(self._project_switched)
        self._hook_viewer()
        guard_drawing(napari_viewer)
        spare(napari_viewer)
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
        self.runner.leave()
        self.display.leave()
        self.audit.leave()
        self.next_region.leave()
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
        if self.in_view.moved():
            self._show()
        if self.running:
            return
        problem = self.problem()
        waits = self.model.loading or self.image.busy  # the sections say so themselves
        quiet = problem is None or waits or self.image.says_why
        self.count_section.show_ready(problem, "" if quiet else problem)

    def _show(self) -> None:
        """Show the plane in view; what the model is for was read when it was counted."""
        self.display.show()
        self.model.show_briefly(self.in_view.result is not None)

    def count(self, *, asked: bool = False) -> None:
        """Start counting what is chosen; nothing is started on bad input.

        In a locked study another model asks first, unless it was ``asked`` already.
        """
        if self.running:
            return
        problem = self.problem()
        layer, record, diameter = self.image.layer, self.model.record, self.image.diameter_px
        if problem is not None or layer is None or record is None or diameter is None:
            self.count_section.show_ready(problem, problem or "")
            return
        if not asked and self.other_model.asks(record):
            self.other_model.ask(record)
            return
        self.saving.keep_lineage(self.model.records())
        self.count_section.show_running()
        self.runner.start(layer, self.image.plane(), self.image.scope, record, diameter)

    def cancel(self) -> None:
        """End the count that is under way as soon as it can be."""
        if self.running:
            self.count_section.show_cancelling()
            self.runner.cancel()

    def recount(self, record: ModelRecord) -> None:
        """Open the window that counts all images of the study with a model."""
        if self.recounting is not None:
            self.recounting.close()
        window = self.recounting = RecountWindow(self.saving, self.jobs, self, record)
        window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        window.used.connect(lambda words: self.count_section.show_ready(self.problem(), words))
        window.destroyed.connect(lambda *_: self._recount_closed(window))
        window.show()

    def _recount_closed(self, window: RecountWindow) -> None:
        if self.recounting is window:
            self.recounting = None

    def _choose_locked(self, held: Lock) -> None:
        """Choose the model that the study is locked to."""
        row = locked_row(self.model.model_box, held)
        if row is not None:
            self.model.model_box.setCurrentIndex(row)
            words = f"{held.model} is chosen again; press Count to count with it."
        else:
            words = f"{held.version} is not among the models here; unlock the study in Study."
        self.count_section.show_ready(self.problem(), words)

    def _ended(self, words: str) -> None:
        self.count_section.show_ready(self.problem(), words)
        self._show()

    # ---- images ----

    def _layer_removed(self, event: Any = None) -> None:
        """Forget closed images, whose pixels a result holds; our layers still know theirs."""
        there = {key_of(layer) for layer in self.viewer.layers}
        for key in self._known() - there:
            self._forget(key)
            self.keeping.forget(key)
        self.correcting.show_regions_again()

    def _known(self) -> set[str]:
        """Keys of the images that were counted or corrected."""
        return self._results.images() | self.correcting.images()

    def _forget(self, key: str) -> None:
        self._results.forget(key)
        self.over_time.forget(key)
        self.correcting.forget(key)

    def _image_changed(self) -> None:
        """Show another image, as it was left."""
        layer, plane = self.in_view.layer, self.in_view.plane
        if layer is not None and plane is not None:
            self._take_over(key_of(layer))
            self.keeping.look_up(layer, plane, self.image.diameter_px)
        self.in_view.moved()
        self._show()

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
        if key == self.in_view.key:
            result = self.in_view.result
            if result is not None:
                self.image.restore_diameter(key, result.counted.prediction.diameter_px)
            self._show()

    def _project_switched(self) -> None:
        """Show the images as the project that is open now knows them."""
        self.runner.cancel()
        self.keeping.forget_all()
        for key in self._known():
            self._forget(key)
        for layer in [one for one in self.viewer.layers if image_of(one) is not None]:
            if own_role(layer) in ("density", "dots", "regions", "uncertainty"):
                self.viewer.layers.remove(layer)
        self._image_changed()

    # ---- out of napari ----

    def save_dots(self, path: str, name: str = "celltally") -> None:
        """Write the dots of the chosen image; see ``Out``."""
        self.out.save_dots(path, name)

    def save_counts(self, path: str) -> None:
        """Write the result of the chosen image; see ``Out``."""
        self.out.save_counts(path)
