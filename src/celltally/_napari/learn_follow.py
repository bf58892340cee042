"""Follows what a model can learn from: the project, the models at hand, and Tally's choice."""

from __future__ import annotations

from contextlib import suppress

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from celltally._napari import learning
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.learning import Material, ModelsAtHand
from celltally._napari.saving import Saving
from celltally._napari.tally import TallyWidget
from celltally.record import ModelRecord

__all__ = ["LearnFollowing"]

#: Milliseconds without another change until the project is read.
QUIET = 700


class LearnFollowing(QObject):
    """Reads the project when it has changed and the widget is seen.

    Parameters
    ----------
    widget
        The *Learn* widget, in whose window Tally is looked for.
    saving
        That of the window.
    jobs
        Of the widget.
    """

    #: There is other material; another model is in use; there are other models.
    material_changed = Signal()
    model_changed = Signal()
    models_changed = Signal()
    #: What is to be told, in a sentence.
    told = Signal(str)

    def __init__(self, widget: QWidget, saving: Saving, jobs: Jobs) -> None:
        super().__init__()  # no child: it outlives the widget for as long as it must leave
        self._widget, self._saving, self._jobs = widget, saving, jobs
        self.material: Material | None = None
        self.models = ModelsAtHand()
        self.tally: TallyWidget | None = None
        self._reading: Job | None = None
        self._again = False
        self._asleep, self._left = True, False
        self._quiet = QTimer(self)
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(QUIET)
        self._quiet.timeout.connect(self.read)
        saving.opened.connect(self._opened)
        saving.marked.connect(self._marked)
        self.list_models()

    # ---- the project ----

    @property
    def busy(self) -> bool:
        """Whether the project is being read, or soon will be."""
        return self._reading is not None or self._quiet.isActive()

    def sleep(self, asleep: bool) -> None:
        """Read nothing while nobody sees it; afterwards look at everything again."""
        self._asleep = asleep
        if not asleep and not self._left:
            self.find_tally()
            self.read()

    def read(self) -> None:
        """Read the project anew; once more afterwards, if it is being read."""
        self._quiet.stop()
        store = self._saving.store
        if store is None or self._left or self._asleep:
            return
        if self._reading is not None:
            self._again = True
            return
        self._again = False
        self._reading = self._jobs.start(
            lambda: learning.material_job(store), on_done=self._read, on_failed=self._not_read
        )

    def _opened(self) -> None:
        """Another project is open."""
        if self._reading is not None:
            self._reading.abandon()
        self._reading, self.material = None, None
        self.material_changed.emit()
        self.read()

    def _marked(self) -> None:
        if self._saving.line.idle and self._saving.store is not None:
            self._quiet.start()

    def _read(self, material: Material) -> None:
        self._reading, self.material = None, material
        self.material_changed.emit()
        if self._again:
            self.read()

    def _not_read(self, error: Exception) -> None:
        self._reading = None
        self.told.emit(sentence(error))

    # ---- models ----

    @property
    def record(self) -> ModelRecord | None:
        """Record of the model in use: the one chosen in Tally."""
        return None if self.tally is None else self.tally.model.record

    def find_tally(self) -> None:
        """Look for Tally in the window; it may have been opened or closed meanwhile."""
        window = self._widget.window()
        found = next((t for t in window.findChildren(TallyWidget) if t.parent() is not None), None)
        if found is not self.tally:
            self._leave_tally()
            self.tally = found
            if found is not None:
                found.model.changed.connect(self._model_chosen)
                found.destroyed.connect(self._tally_gone)
        self.model_changed.emit()

    def _leave_tally(self) -> None:
        if self.tally is not None:
            self.tally.model.changed.disconnect(self._model_chosen)
            self.tally.destroyed.disconnect(self._tally_gone)
        self.tally = None

    def _tally_gone(self, *_: object) -> None:
        self.tally = None
        if not self._left:
            self.model_changed.emit()

    def _model_chosen(self) -> None:
        self.model_changed.emit()
        tally = self.tally
        if tally is None or tally.model.loading:
            return
        records = tuple(tally.model.records())
        if records and records != self.models.records:  # not read twice, beside each other
            self._jobs.start(
                lambda: learning.families_job(records),
                on_done=self._listed,
                on_failed=lambda error: self.told.emit(sentence(error)),
            )

    def list_models(self) -> None:
        """List the models at hand, beside the window."""
        self._jobs.start(
            learning.models_job,
            on_done=self._listed,
            on_failed=lambda error: self.told.emit(sentence(error)),
        )

    def _listed(self, models: ModelsAtHand) -> None:
        self.models = models
        self.models_changed.emit()

    # ---- end ----

    def leave(self) -> None:
        """Hear nothing more of the project and of Tally."""
        if self._left:
            return
        self._left = True
        # At the end of the program Qt takes its objects in any order, and an error in what it
        # calls then would end it as a crash.
        with suppress(RuntimeError):
            self._quiet.stop()
        with suppress(RuntimeError):
            self._saving.opened.disconnect(self._opened)
            self._saving.marked.disconnect(self._marked)
        with suppress(RuntimeError):
            self._leave_tally()
            self.deleteLater()  # else those who hear of it never go, the widget among them
