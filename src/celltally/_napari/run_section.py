"""A button that starts something long, with its progress bar and *Cancel*."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QProgressBar, QPushButton, QVBoxLayout

from celltally._napari.controls import hint, spread, wrapped
from celltally.types import Progress

__all__ = ["RunSection"]


class RunSection(QFrame):
    """Starts and ends a job; says in words why it cannot start.

    Parameters
    ----------
    name
        Words on the button.
    tip
        What the button does, in a sentence.
    doing
        What the bar says where a step does not say it.
    """

    started = Signal()
    cancelled = Signal()

    def __init__(self, name: str, tip: str, doing: str) -> None:
        super().__init__()
        self._tip, self._doing = tip, doing
        self.button = QPushButton(name)
        self.button.clicked.connect(lambda: self.started.emit())
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(lambda: self.cancelled.emit())
        # Not napari's own activity display: its spinner repaints the whole window.
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.message = wrapped(name="run_message")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(5)
        column.addWidget(self.button)
        self.running_row = spread(self.bar, self.cancel_button, stretch=0)
        column.addWidget(self.running_row)
        column.addWidget(self.message)
        self.show_ready(None)

    def show_ready(self, problem: str | None, message: str = "") -> None:
        """Offer to start, or say what keeps from it."""
        self.running_row.setVisible(False)
        self.button.setVisible(True)
        self.button.setEnabled(problem is None)
        self.button.setToolTip(problem or self._tip)
        hint(self.message, message)

    def show_running(self) -> None:
        """Show that the job has started."""
        self.button.setVisible(False)
        self.running_row.setVisible(True)
        self.cancel_button.setEnabled(True)
        hint(self.message, "")
        self.show_progress(Progress(0, 0, "Starting"))

    def show_progress(self, step: Progress) -> None:
        """Show how far it is. The bar stands still where that is unknown."""
        self.bar.setRange(0, max(step.total, 1))
        self.bar.setValue(min(step.done, max(step.total, 1)) if step.total else 0)
        words = step.message or self._doing
        share = f" {100 * step.done // step.total} %" if step.total > 1 else ""
        self.bar.setFormat(f"{words[:1].upper()}{words[1:]}{share}")

    def show_cancelling(self) -> None:
        """Show that the job ends as soon as it can."""
        self.cancel_button.setEnabled(False)
        self.bar.setFormat("Cancelling")
