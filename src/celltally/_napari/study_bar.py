"""What stands above and below the table of a study: buttons and filter, words and progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QBoxLayout,
    QCheckBox,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from celltally._napari.controls import spread, text
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.project.study_lock import Lock

__all__ = ["StudyBar", "StudyStatus"]

#: Milliseconds after the last letter until the table is filtered.
_TYPED = 120
#: Pixels from which buttons and filter are beside each other.
_WIDE = 720


class StudyBar(QWidget):
    """Buttons with what can be done, and the filter of the table."""

    filtered = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self.add_button = self._menu_button("Images")
        self.add_files = self._action(
            self.add_button, "Add images…", "Take image files into the project; nothing is counted."
        )
        self.add_folder = self._action(
            self.add_button, "Add folder…", "Take every image of a folder, and below it."
        )
        self.find_moved = self._action(
            self.add_button,
            "Find moved files…",
            "Look in a folder, and below, for images whose files are gone: by their content.",
        )
        self.plate_button = QPushButton("Plate map…")
        self.plate_button.setToolTip("Say what the images are: well, condition, replicate, ….")
        self.lock_button = QPushButton()
        self.recount_button = QPushButton("Recount all…")
        self.recount_button.setToolTip(
            "Count all images with another model, see the differences, and decide then."
        )
        self.plots_button = QPushButton("Plots…")
        self.plots_button.setToolTip("Groups with n = replicates, a histogram, counts over time.")
        self.export_button = self._menu_button("Export")
        self.export_csv = self._action(
            self.export_button, "Table as CSV…", "A row for each plane and region, one figure each."
        )
        self.export_excel = self._action(
            self.export_button, "Excel file…", "Table, groups, methods and the log of edits."
        )
        self.export_methods = self._action(
            self.export_button, "Methods paragraph…", "What was counted, with what, and by whom."
        )
        self.export_training = self._action(
            self.export_button,
            "Training data set…",
            "Reviewed regions with their dots, and stated counts, as a folder to learn from.",
        )
        self.agreement = self._action(
            self.export_button, "Agreement…", "A person with the model, or with another person."
        )
        self.filter_edit = QLineEdit()
        self.filter_edit.setPlaceholderText("Filter")
        self.filter_edit.setToolTip("Rows with these words, in any column.")
        self.filter_edit.setClearButtonEnabled(True)
        self.filter_edit.setMinimumWidth(80)
        self.filter_edit.setMaximumWidth(220)
        self.flagged_box = QCheckBox("only flagged")
        buttons = spread(
            *(self.add_button, self.plate_button, self.lock_button, self.recount_button),
            *(self.plots_button, self.export_button, QWidget()),
            stretch=6,
        )
        find = spread(self.filter_edit, self.flagged_box, stretch=0)
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(5)
        self._row.addWidget(buttons, 1)
        self._row.addWidget(find)
        self._typed = QTimer(self)
        self._typed.setSingleShot(True)
        self._typed.setInterval(_TYPED)
        self._typed.timeout.connect(self._filter)
        self.filter_edit.textChanged.connect(lambda _: self._typed.start())
        self.flagged_box.toggled.connect(lambda _: self._filter())
        self.show_lock(None)

    def _menu_button(self, words: str) -> QPushButton:
        button = QPushButton(f"{words} ▾")  # napari's theme draws no arrow
        button.setStyleSheet("QPushButton::menu-indicator { image: none; width: 0; }")
        menu = QMenu(button)
        menu.setToolTipsVisible(True)
        button.setMenu(menu)
        return button

    def _action(self, button: QPushButton, words: str, tip: str) -> object:
        action = button.menu().addAction(words)
        action.setToolTip(tip)
        return action

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802  (Qt's name)
        """Put the filter below the buttons where there is no room beside them."""
        super().resizeEvent(event)
        beside = event.size().width() >= _WIDE
        directions = QBoxLayout.Direction
        self._row.setDirection(directions.LeftToRight if beside else directions.TopToBottom)

    def _filter(self) -> None:
        self._typed.stop()
        self.filtered.emit(self.filter_edit.text(), self.flagged_box.isChecked())

    def show_lock(self, lock: Lock | None) -> None:
        """Offer to lock the study, or to take the lock off."""
        self.lock_button.setText("Lock for this study…" if lock is None else "Unlock")
        self.lock_button.setToolTip(
            "Hold model, diameter and threshold for all images; rows counted otherwise are marked."
            if lock is None
            else f"Locked to {lock.text}, by {lock.by}, {lock.at[:10]}. Click to unlock."
        )

    def show_ready(self, *, there: bool, writable: bool, rows: bool, counted: bool) -> None:
        """Let be pressed what can be done.

        Parameters
        ----------
        there
            Whether a project is open.
        writable
            Whether it can be written to.
        rows
            Whether it has images.
        counted
            Whether one of them was counted, or the study is locked.
        """
        self.add_button.setEnabled(there and writable)
        self.find_moved.setEnabled(rows)
        self.plate_button.setEnabled(rows and writable)
        self.lock_button.setEnabled(counted and writable)
        self.recount_button.setEnabled(rows and counted)
        self.plots_button.setEnabled(rows)
        self.export_button.setEnabled(rows)


class StudyStatus(QWidget):
    """What the study holds, what happened last, and how far a job is."""

    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.summary = text(name="study_summary")
        self.message = text(name="study_message")
        # A long sentence is cut off, and seen in full by pointing at it.
        self.message.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.bar = QProgressBar()
        self.bar.setMaximumWidth(300)
        self.bar.setMinimumWidth(180)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(lambda: self.cancelled.emit())
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        row.addWidget(self.summary)
        row.addWidget(self.message, 1)
        row.addWidget(self.bar)
        row.addWidget(self.cancel_button)
        self.show_idle()

    def say(self, words: str) -> None:
        """Say what happened."""
        self.message.setText(words)
        self.message.setToolTip(words)

    def show_idle(self) -> None:
        """Show that nothing runs."""
        self.bar.setVisible(False)
        self.cancel_button.setVisible(False)

    def show_progress(self, step: Progress) -> None:
        """Show how far a job is; the bar stands still where that is unknown."""
        self.bar.setVisible(True)
        self.cancel_button.setVisible(True)
        self.cancel_button.setEnabled(True)
        self.bar.setRange(0, max(step.total, 1))
        self.bar.setValue(min(step.done, max(step.total, 1)) if step.total else 0)
        words = step.message[:1].upper() + step.message[1:]
        share = f" {step.done}/{step.total}" if step.total > 1 else ""
        self.bar.setFormat(f"{words}{share}")
        self.bar.setToolTip(words)

    def show_cancelling(self) -> None:
        """Show that the job ends as soon as it can."""
        self.cancel_button.setEnabled(False)
        self.bar.setFormat("Cancelling")
