"""The *Count* button with its progress bar and *Cancel*."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QProgressBar, QPushButton, QVBoxLayout

from celltally._napari.controls import hint, spread, wrapped
from celltally.types import Progress

__all__ = ["CountSection"]


#: The one button that everything leads to.
PRIMARY = (
    "QPushButton { font-weight: bold; padding: 7px; background: #3565c9; color: white; }"
    "QPushButton:hover { background: #4676da; }"
    "QPushButton:disabled { background: rgba(128, 128, 128, 60); color: gray; }"
)


class CountSection(QFrame):
    """Starts and ends a count; says in words why it cannot start."""

    started = Signal()
    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.count_button = QPushButton("Count")
        self.count_button.setStyleSheet(PRIMARY)
        self.count_button.clicked.connect(lambda: self.started.emit())
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(lambda: self.cancelled.emit())
        # Not napari's own activity display: its spinner repaints the whole window.
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.message = wrapped(name="count_message")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(5)
        column.addWidget(self.count_button)
        self.running_row = spread(self.bar, self.cancel_button, stretch=0)
        column.addWidget(self.running_row)
        column.addWidget(self.message)
        self.show_ready(None)

    def show_ready(self, problem: str | None, message: str = "") -> None:
        """Offer to count, or say what keeps from it."""
        self.running_row.setVisible(False)
        self.count_button.setVisible(True)
        self.count_button.setEnabled(problem is None)
        self.count_button.setToolTip(problem or "Count the cells of the plane in view.")
        hint(self.message, message)

    def show_running(self) -> None:
        """Show that a count has started."""
        self.count_button.setVisible(False)
        self.running_row.setVisible(True)
        self.cancel_button.setEnabled(True)
        hint(self.message, "")
        self.show_progress(Progress(0, 0, "Starting"))

    def show_progress(self, step: Progress) -> None:
        """Show how far it is. The bar stands still where that is unknown."""
        self.bar.setRange(0, max(step.total, 1))
        self.bar.setValue(min(step.done, max(step.total, 1)) if step.total else 0)
        share = f" {100 * step.done // step.total} %" if step.total > 1 else ""
        self.bar.setFormat(f"{step.message or 'Counting'}{share}")

    def show_cancelling(self) -> None:
        """Show that the count ends as soon as it can."""
        self.cancel_button.setEnabled(False)
        self.bar.setFormat("Cancelling")
