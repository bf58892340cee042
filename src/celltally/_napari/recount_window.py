"""*Recount all*: what another model changes in a study, image by image, before it is used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from celltally._napari.controls import ATTENTION, hint, spread, wrapped
from celltally._napari.counting import list_models_job
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.recount_table import RecountTable
from celltally._napari.recount_totals import TotalsTable
from celltally._napari.recount_work import Compared, leave_job, recount_job, save_job, use_job
from celltally._napari.saving import Saving
from celltally.record import CALIBRATION, ModelRecord
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.project.new_version import Used

__all__ = ["RecountWindow", "UsingDialog"]

_NOTHING_YET = (
    "Counts every image of the study that was counted once more, each with the same channel, plane "
    "and cell diameter. The study stays as it is until you use the new version; your dots and "
    "regions stay in any case."
)
_READ_ONLY = "The project is open for reading only: the differences can be seen, not used."


class RecountWindow(QDialog):
    """Recounts a study with another model, shows the differences, and asks for a decision.

    Closed without one, what was recounted stays beside the project, and a further recount with
    the same model goes on there.

    Parameters
    ----------
    saving
        That of the window.
    jobs
        Of the widget that opens it.
    parent
        That widget.
    record
        The model to count with; None for one to be chosen.
    """

    #: The new version is in use: words for the user.
    used = Signal(str)

    def __init__(
        self,
        saving: Saving,
        jobs: Jobs,
        parent: QWidget | None = None,
        record: ModelRecord | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Recount all")
        self._saving, self._jobs, self._wanted = saving, jobs, record
        self._job: Job | None = None
        self.compared: Compared | None = None
        self.using: UsingDialog | None = None
        self.model_box = QComboBox()
        self.model_box.setMinimumContentsLength(24)
        self.start_button = QPushButton("Recount")
        self.start_button.clicked.connect(lambda: self.start())
        self.bar = QProgressBar()
        self.bar.setMinimumWidth(220)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("What is recounted by then is kept, to go on later.")
        self.cancel_button.clicked.connect(lambda: self._cancel())
        self.words = wrapped(_NOTHING_YET, name="recount_words")
        self.problem = wrapped(name="recount_problem", style=ATTENTION)
        self.table = RecountTable()
        self.totals = TotalsTable()
        self.save_button = QPushButton("Save table…")
        self.save_button.clicked.connect(lambda: self._ask_save())
        self.leave_button = QPushButton("Leave it")
        self.leave_button.setToolTip("Drop what was recounted; the study stays as it is.")
        self.leave_button.clicked.connect(lambda: self.leave())
        self.use_button = QPushButton("Use the new version")
        self.use_button.setToolTip(
            "Put the new counts in force, and lock the study to the new model where it is locked."
        )
        self.use_button.clicked.connect(lambda: self.use())
        for button in self.findChildren(QPushButton):
            button.setAutoDefault(False)  # Enter in a table decides nothing
        column = QVBoxLayout(self)
        column.addWidget(
            spread(
                QLabel("Count again with"), self.model_box, self.start_button, QWidget(),
                self.bar, self.cancel_button, stretch=3,
            )
        )  # fmt: skip
        column.addWidget(self.words)
        column.addWidget(self.problem)
        column.addWidget(self.table, 1)
        column.addWidget(self.totals)
        self._decide = spread(
            self.save_button, QWidget(), self.leave_button, self.use_button, stretch=1
        )
        column.addWidget(self._decide)
        self.resize(1160, 560)
        saving.opened.connect(self.close)
        self._show_idle()
        self._list()

    # ---- which model ----

    def _list(self) -> None:
        self.model_box.setEnabled(False)
        self.model_box.addItem("looking for models…")
        self._job = self._jobs.start(
            list_models_job, on_done=self._listed, on_failed=self._failed, on_cancelled=self._ended
        )
        self._show_idle()

    def _listed(self, records: list[ModelRecord]) -> None:
        self._job = None
        self.model_box.clear()
        for record in records:
            self.model_box.addItem(f"{record.name} ({record.sha256[:8]})", record)
        chosen = self._suggested(records)
        self.model_box.setCurrentIndex(chosen)
        self._show_idle()

    def _suggested(self, records: Sequence[ModelRecord]) -> int:
        """Place of the model that was asked for, else of the newest child of the locked one."""
        held, wanted = self._saving.held, self._wanted
        places = range(len(records))
        if wanted is not None:
            same = [
                i
                for i in places
                if (records[i].path, records[i].name) == (wanted.path, wanted.name)
            ]
            return same[0] if same else 0
        if held is None:
            return 0
        others = [i for i in places if not held.holds(records[i].sha256, _calibration(records[i]))]
        children = [i for i in others if records[i].parent == held.model_sha256]
        if children:
            return max(children, key=lambda i: (_made(records[i]), i))
        return others[0] if others else 0

    @property
    def record(self) -> ModelRecord | None:
        """The model that is chosen."""
        record: ModelRecord | None = self.model_box.currentData()
        return record

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._job is not None or self.using is not None

    # ---- recounting ----

    def start(self) -> None:
        """Recount with the model that is chosen."""
        store, record = self._saving.store, self.record
        if store is None or record is None or self.busy:
            return
        self._show(None)
        self._job = self._jobs.start(
            lambda: recount_job(store, record),
            on_done=self._done,
            on_failed=self._failed,
            on_cancelled=self._cancelled,
            on_progress=self._progress,
        )
        self._show_idle()
        self._progress(Progress(0, 0, "starting"))

    def _progress(self, step: Progress) -> None:
        _draw(self.bar, step)

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self.cancel_button.setEnabled(False)
            self.bar.setFormat("Cancelling")

    def _cancelled(self) -> None:
        self._ended()
        hint(self.words, "Cancelled. What was recounted is kept: Recount goes on there.")

    def _done(self, compared: Compared) -> None:
        self._job = None
        self._show(compared)
        self._show_idle()

    def _failed(self, error: Exception) -> None:
        self._ended()
        hint(self.problem, f"{sentence(error).rstrip('.')}.")

    def _ended(self) -> None:
        self._job = None
        self._show_idle()

    def _show(self, compared: Compared | None) -> None:
        self.compared = compared
        differences = () if compared is None else compared.differences
        self.table.show_differences(differences)
        self.totals.show_totals(() if compared is None else compared.totals)
        hint(self.problem, _READ_ONLY if compared and self._saving.read_only else "")
        hint(self.words, _NOTHING_YET if compared is None else _summary(compared))

    def _show_idle(self) -> None:
        """Let be pressed what can be done."""
        running, there = self._job is not None, self.compared is not None
        listed = self.record is not None
        self.model_box.setEnabled(listed and not running)
        self.start_button.setEnabled(listed and not running)
        self.bar.setVisible(running and listed)
        self.cancel_button.setVisible(running and listed)
        self.cancel_button.setEnabled(True)
        self.table.setVisible(True)
        self.totals.setVisible(there)
        self.save_button.setEnabled(there and not running)
        self.leave_button.setEnabled(not running)
        self.use_button.setEnabled(there and not running and not self._saving.read_only)

    # ---- deciding ----

    def use(self) -> None:
        """Use the new version, once all is saved that is still to be saved."""
        store, compared = self._saving.store, self.compared
        if store is None or compared is None or self.busy:
            return
        records = [self.model_box.itemData(row) for row in range(self.model_box.count())]
        using = self.using = UsingDialog(self, compared.by.text)

        def start() -> None:
            if self.using is not using:
                return
            self._job = self._jobs.start(
                lambda: use_job(store, compared, [r for r in records if r is not None]),
                on_done=self._used,
                on_failed=self._not_used,
                on_cancelled=lambda: self._not_used(None),
                on_progress=using.show_progress,
            )

        using.cancelled.connect(self._cancel_using)
        using.open()  # nothing is edited in the window meanwhile
        self._saving.line.do(lambda: None, on_done=lambda _: start(), on_failed=self._not_used)

    def _cancel_using(self) -> None:
        if self._job is not None:
            self._job.cancel()
        else:
            self._not_used(None)

    def _end_using(self) -> None:
        using, self.using, self._job = self.using, None, None
        if using is not None:
            using.end()

    def _used(self, used: Used) -> None:
        self._end_using()
        saving = self._saving
        # What the window shows is of before: it is read anew, as another project's would be.
        saving.line.do(saving.read_lock)
        saving.switched.emit()
        saving.marked.emit()
        self.used.emit(used.text)
        self.close()

    def _not_used(self, error: Exception | None) -> None:
        self._end_using()
        self._show_idle()
        said = "Cancelled" if error is None else sentence(error).rstrip(".")
        hint(self.problem, f"{said}. The counts in force are as they were.")

    def leave(self) -> None:
        """Drop what was recounted, and close."""
        store = self._saving.store
        if store is None or self.busy:
            return
        self._job = self._jobs.start(
            lambda: leave_job(store),
            on_done=lambda _: self._left(),
            on_failed=self._failed,
            on_cancelled=self._ended,
        )

    def _left(self) -> None:
        self._ended()
        self.close()

    def _ask_save(self) -> None:
        store = self._saving.store
        if store is not None:
            place = str(store.path.with_name("differences.csv"))
            path, _ = QFileDialog.getSaveFileName(self, "Save table", place, "Tables (*.csv)")
            if path:
                self.save(Path(path))

    def save(self, path: Path) -> None:
        """Write the differences as CSV."""
        compared = self.compared
        if compared is not None:
            self._jobs.start(
                lambda: save_job(compared, path),
                on_done=lambda words: hint(self.words, f"{_summary(compared)} {words}"),
                on_failed=lambda error: hint(self.problem, f"{sentence(error).rstrip('.')}."),
            )

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802  (Qt's name)
        """End what runs; what is recounted by then stays beside the project."""
        self._stop()
        super().closeEvent(event)

    def reject(self) -> None:
        """Close, as Escape asks."""
        self._stop()
        super().reject()

    def _stop(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.abandon()


class UsingDialog(QDialog):
    """Stands before the window while new counts come into force.

    Parameters
    ----------
    parent
        The window of the recount.
    version
        The model, in words.
    """

    cancelled = Signal()

    def __init__(self, parent: QWidget, version: str) -> None:
        super().__init__(parent)
        self.setWindowTitle("Using the new version")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._ending = False
        self.bar = QProgressBar()
        self.bar.setMinimumWidth(320)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(lambda: self._cancel())
        column = QVBoxLayout(self)
        column.addWidget(wrapped(f"The counts by {version} are put in force, all of them or none."))
        column.addWidget(self.bar)
        column.addWidget(spread(QWidget(), self.cancel_button, stretch=0))
        self.show_progress(Progress(0, 0, "saving what is left to save"))

    def show_progress(self, step: Progress) -> None:
        """Show how far it is."""
        _draw(self.bar, step)

    def _cancel(self) -> None:
        self.cancel_button.setEnabled(False)
        self.bar.setFormat("Cancelling")
        self.cancelled.emit()

    def reject(self) -> None:
        """Cancel, as Escape asks; it closes when nothing is half done."""
        if self._ending:
            super().reject()
        elif self.cancel_button.isEnabled():
            self._cancel()

    def end(self) -> None:
        """Close."""
        self._ending = True
        self.close()


def _calibration(record: ModelRecord) -> str:
    return record.files.get(CALIBRATION, "")


def _made(record: ModelRecord) -> str:
    """When a model was made, as far as that is known."""
    return record.created if record.learned is None else record.learned.date


def _draw(bar: QProgressBar, step: Progress) -> None:
    bar.setRange(0, max(step.total, 1))
    bar.setValue(min(step.done, max(step.total, 1)) if step.total else 0)
    words = step.message[:1].upper() + step.message[1:]
    share = f" {step.done}/{step.total}" if step.total > 1 else ""
    bar.setFormat(f"{words[:34]}{share}")
    bar.setToolTip(words)


def _summary(compared: Compared) -> str:
    """Say in a sentence or two what was found."""
    rows: Sequence = [one for one in compared.differences if one.after is not None]
    left = {one.entry.id for one in compared.differences if one.after is None}
    images = len({one.entry.id for one in rows})
    outside = sum(one.stands_out for one in rows)
    said = f"{compared.by.text} recounted {images} image{'s' * (images != 1)}"
    percents = sorted(abs(one.percent) for one in rows if not math.isnan(one.percent))
    if percents:
        middle = f"{percents[len(percents) // 2]:.1f} %"
        alone = len(percents) == 1
        differ = "the count differs by" if alone else "half of the counts differ by at most"
        said += f"; {differ} {middle}"
    said += "."
    if outside:
        are = "row stands out" if outside == 1 else "rows stand out"
        said += f" {outside} {are}: one count lies outside the other's interval."
    if left:
        n = len(left)
        said += f" {n} image{'s' * (n != 1)} could not be recounted and would keep the old count."
    return said + " Nothing of it is in force."
