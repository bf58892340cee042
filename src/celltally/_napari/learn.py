"""The *Learn* widget: corrections → a new version of the model. It joins its parts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QDialog, QMessageBox

from celltally._napari import learning
from celltally._napari.collecting import spare
from celltally._napari.compat import guard_drawing
from celltally._napari.controls import line
from celltally._napari.docked import Docked
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.learn_follow import LearnFollowing
from celltally._napari.learn_material_section import MaterialSection
from celltally._napari.learn_new_dialog import NewModelDialog
from celltally._napari.learn_outcome_section import OutcomeSection
from celltally._napari.learn_run_section import LearnCurves, LearnRunSection
from celltally._napari.learn_stages import FROM_NOTHING, ROUND, said_of
from celltally._napari.learn_trace import Trace
from celltally._napari.learn_versions_section import VersionsSection
from celltally._napari.learn_words import kept_words, lock_words, used_words
from celltally._napari.learning import Asked, Learnt
from celltally._napari.model_section import ModelSection
from celltally._napari.savings import saving_of
from celltally.record import ModelRecord
from celltally.types import Progress

if TYPE_CHECKING:
    import napari

__all__ = ["LearnWidget"]


class LearnWidget(Docked):
    """Makes new versions of the model that is chosen in Tally.

    Parameters
    ----------
    napari_viewer
        The viewer.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        guard_drawing(napari_viewer)
        spare(napari_viewer)
        self.viewer = napari_viewer
        self.jobs = Jobs()
        self.saving = saving_of(napari_viewer, self)
        self.material, self.run = MaterialSection(), LearnRunSection()
        self.outcome, self.curves = OutcomeSection(), LearnCurves()
        self.versions = VersionsSection()
        self.follow = LearnFollowing(self, self.saving, self.jobs)
        self.dialog: QDialog | None = None
        #: The new version that is to be decided on.
        self.learnt: Learnt | None = None
        self._said = ""  # how the last one ended
        self._trace = Trace()
        self._job: Job | None = None  # that learns
        self._keeping: Job | None = None
        self.lay_out(self.outcome, self.material, self.run, self.curves, line(), self.versions)
        self._connect()
        self._show_model()
        self._show_material()
        if self.saving.store is None and not self.saving.busy:
            self.saving.open()

    def _connect(self) -> None:
        follow, jobs = self.follow, self.jobs
        follow.material_changed.connect(self._show_material)
        follow.model_changed.connect(self._show_model)
        follow.models_changed.connect(lambda: self.material.show_taken(follow.models.names))
        follow.models_changed.connect(self._show_model)
        follow.told.connect(self._say)
        self.material.changed.connect(self._refresh)
        self.material.tally_asked.connect(self.open_tally)
        self.run.started.connect(self.start)
        self.run.new_asked.connect(self.ask_new)
        self.run.cancelled.connect(self.cancel)
        self.outcome.kept.connect(self.keep)
        self.outcome.discarded.connect(self.discard)
        self.versions.chosen.connect(self.use)

        def unhook(*_: object) -> None:
            follow.leave()
            jobs.stop()

        self._unhook = unhook
        self.destroyed.connect(unhook)

    def leave(self) -> None:
        """End what runs; a version that was not kept goes."""
        self._unhook()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802  (Qt's name)
        """Look at what has changed while nobody saw it."""
        super().showEvent(event)
        self.follow.sleep(False)

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802  (Qt's name)
        """Read nothing while nobody sees it, such as behind another tab."""
        super().hideEvent(event)
        self.follow.sleep(True)

    # ---- what is seen ----

    @property
    def running(self) -> bool:
        """Whether a model learns."""
        return self._job is not None

    def _show_material(self) -> None:
        self.material.show_material(self.follow.material, self.saving.name)
        self._refresh()

    def _show_model(self) -> None:
        self.material.show_model(self.follow.record, tally=self.follow.tally is not None)
        self.versions.show_versions(self.follow.models.trees, self.follow.record)
        self._refresh()

    def _refresh(self) -> None:
        """Offer what can be done now."""
        if self.running:
            return
        self.material.show_running(False)
        for part in (self.material, self.run):
            part.setVisible(self.learnt is None)
        problem, new_problem = self.material.problem(), self.material.problem_of_new()
        # Of a name only: what else keeps from it the section says itself.
        of_name = new_problem is None and self.material.parent_record is not None
        said = problem if problem is not None and of_name else self._said
        self.run.show_ready(problem, new_problem, said)

    def _say(self, words: str) -> None:
        """Say how something ended, until the next is begun."""
        self._said = words
        self._refresh()

    def open_tally(self) -> None:
        """Open the widget Tally beside this one."""
        self.viewer.window.add_plugin_dock_widget("celltally", "Tally")
        self.follow.find_tally()

    # ---- learn ----

    def start(self) -> None:
        """Learn from what was reviewed; nothing is begun on bad input."""
        if self.material.problem() is None:
            self._start(self.material.name, parent=self.material.parent_record)
        else:
            self._refresh()

    def ask_new(self) -> None:
        """Ask what a model from nothing is to be called, and train it."""
        if self.running or self.material.problem_of_new() is not None:
            return
        if self.dialog is not None:
            self.dialog.close()
        dialog = NewModelDialog(self.follow.models.names, self)
        self.dialog = dialog
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.finished.connect(lambda _: self._closed(dialog))
        dialog.accepted.connect(
            lambda: self._start(dialog.name, None, dialog.sample, dialog.minutes)
        )
        dialog.show()

    def _closed(self, dialog: QDialog) -> None:
        if self.dialog is dialog:
            self.dialog = None

    def _start(
        self, name: str, parent: ModelRecord | None, sample: str = "", minutes: float = 5.0
    ) -> None:
        store, material = self.saving.store, self.follow.material
        if self.running or self.learnt is not None or store is None or material is None:
            return
        asked = Asked(
            store, name, parent, project=self.saving.name, by=material.teaching.by,
            sample=sample, minutes=minutes, saved=lambda: self.saving.line.idle,
        )  # fmt: skip
        trace = self._trace = Trace(ROUND if parent is not None else FROM_NOTHING)
        self._said = ""
        self.curves.clear()
        self.run.show_running()
        self.material.show_running(True)
        self._job = self.jobs.start(
            lambda: learning.learn_job(asked, trace),
            on_done=self._learnt,
            on_failed=self._failed,
            on_cancelled=lambda: self._ended("Cancelled: nothing was changed."),
            on_progress=self._progress,
        )

    def cancel(self) -> None:
        """End the learning at its next step; nothing of it remains."""
        if self._job is not None:
            self.run.show_cancelling()
            self._job.cancel()

    def _progress(self, step: Progress) -> None:
        trace = self._trace
        words = said_of(step.message)
        self.run.show_progress(words, trace.share(), trace.seconds_left(time.monotonic()))
        self.curves.show_curves(self._trace.curves())

    def _failed(self, error: Exception) -> None:
        words = sentence(error)
        self._ended(words)
        show_error(words)

    def _ended(self, words: str) -> None:
        """Be as before the start."""
        self._job = None
        self.curves.clear()
        self._say(words)

    def _learnt(self, learnt: Learnt) -> None:
        """Show what came of it; the user decides."""
        self._job, self.learnt = None, learnt
        self.curves.show_curves(self._trace.curves())
        self.outcome.show_learnt(learnt)
        self._refresh()
        self.bring_into_view(self.outcome)

    # ---- keep or discard ----

    def keep(self, name: str) -> None:
        """Save the new version, and use it in Tally."""
        learnt = self.learnt
        if learnt is None or self._keeping is not None:
            return
        self.outcome.show_saving()
        self._keeping = self.jobs.start(
            lambda: learning.keep_job(learnt, name),
            on_done=self._kept,
            on_failed=self._not_kept,
        )

    def discard(self) -> None:
        """Drop the new version."""
        if self._keeping is None and self.learnt is not None:
            self._decided("Discarded: nothing was changed.")

    def _not_kept(self, error: Exception) -> None:
        self._keeping = None
        self.outcome.show_ready(sentence(error))

    def _kept(self, record: ModelRecord) -> None:
        self._keeping = None
        self.material.forget_name()
        used = self._asked_to_use(record)
        self._decided(kept_words(record.name, used=used))
        show_info(f"Saved the model {record.name}.")
        self._list_models(record if used else None)

    def _decided(self, words: str) -> None:
        self.learnt = None
        self.outcome.clear()
        self.curves.clear()
        self._say(words)

    # ---- versions ----

    def use(self, record: ModelRecord) -> None:
        """Choose a version in Tally, unless the study is locked and the user rather not."""
        if self.follow.tally is None:
            self.open_tally()
        if self.follow.tally is not None and self._asked_to_use(record):
            self.follow.tally.model.choose(record.name)
            self._say(used_words(record.name))

    def _list_models(self, used: ModelRecord | None) -> None:
        """Let every list of models have the new one; Tally uses it where it is to."""
        tally = self.follow.tally
        for section in self.window().findChildren(ModelSection):
            if used is not None and tally is not None and section is tally.model:
                section.choose(used.name)
            else:
                section.reload()
        if tally is None:  # else its list is taken
            self.follow.list_models()

    def _asked_to_use(self, record: ModelRecord) -> bool:
        """Whether a version is to be used in Tally: asked only where the study is locked."""
        if self.follow.tally is None:
            return False
        material = self.follow.material
        lock = None if material is None else material.lock
        if lock is None or lock.model_sha256 == record.sha256:
            return True
        return self._ask(lock_words(lock, record.name))

    def _ask(self, words: str) -> bool:
        buttons = QMessageBox.StandardButton
        chosen = QMessageBox.question(
            self, "The study is locked", words, buttons.Yes | buttons.No, buttons.No
        )
        return bool(chosen == buttons.Yes)
