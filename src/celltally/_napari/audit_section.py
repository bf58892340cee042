"""*Count this region*: the number, *Next*, *Back*, *Skip*, and how many are still needed."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QComboBox, QPushButton, QShortcut, QSpinBox

from celltally._napari.controls import Section, hint, spread, text, wrapped
from celltally._napari.count_section import PRIMARY

__all__ = ["REASONS", "AuditSection"]

RULE = (
    "Click the middle of every cell, or type how many there are. A cell on the border counts if "
    "its middle is in the frame; with the middle on the line itself, the blue edges (left, top) "
    "are in, the orange ones (right, bottom) out."
)
#: Why a region may be left out.
REASONS = (
    "cells cannot be told apart",
    "out of focus",
    "damaged or dirty",
    "not what is to be counted",
)
#: Stands for no number.
UNSET = -1


class AuditSection(Section):
    """Takes a person's count of the region that is shown."""

    answered = Signal()
    skipped = Signal(str)
    went_back = Signal()
    undone = Signal()
    finished = Signal()

    def __init__(self) -> None:
        super().__init__("Count this region")
        self.typed = False
        self.number_edit = QSpinBox()
        self.number_edit.setRange(UNSET, 99_999)
        self.number_edit.setSpecialValueText("not counted")
        self.number_edit.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.number_edit.setToolTip("Follows your dots; type a number to give that instead.")
        self.number_edit.valueChanged.connect(self._typed)
        self.undo_button = QPushButton("Undo dot")
        self.undo_button.setToolTip("Take the last dot away.")
        self.undo_button.clicked.connect(lambda: self.undone.emit())
        self.next_button = QPushButton("Next (Enter)")
        self.next_button.setStyleSheet(PRIMARY)
        self.next_button.setToolTip("Save the count and show the next region.")
        self.next_button.clicked.connect(lambda: self.answered.emit())
        self.back_button = QPushButton("Back")
        self.back_button.setToolTip("Show the region before, to change its count.")
        self.back_button.clicked.connect(lambda: self.went_back.emit())
        self.reason_box = QComboBox()
        for reason in REASONS:
            self.reason_box.addItem(reason)
        self.skip_button = QPushButton("Skip")
        self.skip_button.setToolTip(
            "Leave this region out for the reason beside it. What is left out is not judged by "
            "the new interval, so skip only what you could not count by any means."
        )
        self.skip_button.clicked.connect(lambda: self.skipped.emit(self.reason_box.currentText()))
        self.finish_button = QPushButton("Finish")
        self.finish_button.setToolTip(
            "End or interrupt the audit. What you answered with Next is saved, and can be gone on "
            "with later."
        )
        self.finish_button.clicked.connect(lambda: self.finished.emit())
        self.note = wrapped(name="audit_note")
        self.progress = wrapped(name="audit_progress")
        self.saved = text(name="audit_saved")
        self.column.addWidget(wrapped(RULE, "audit_rule"))
        self.add_row("Cells", spread(self.number_edit, self.undo_button, stretch=0))
        self.column.addWidget(self.note)
        self.column.addWidget(spread(self.next_button, self.back_button, stretch=0))
        self.column.addWidget(spread(self.reason_box, self.skip_button, stretch=0))
        self.column.addWidget(self.progress)
        self.column.addWidget(spread(self.saved, self.finish_button, stretch=0))
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(lambda: self.answered.emit())

    @property
    def number(self) -> int | None:
        """What the person counted; None where nothing is given yet."""
        value = self.number_edit.value()
        return None if value == UNSET else int(value)

    def show_number(self, number: int | None, *, typed: bool = False) -> None:
        """Show a number; a typed one stays whatever becomes of the dots."""
        with QSignalBlocker(self.number_edit):
            self.number_edit.setValue(UNSET if number is None else number)
        self.typed = typed

    def show_dots(self, inside: int, outside: int) -> None:
        """Follow the dots."""
        self.show_number(inside if inside or outside else None)
        self.say(
            f"{outside} of the dots {'is' if outside == 1 else 'are'} outside the frame and not "
            "counted."
            if outside
            else ""
        )

    def say(self, words: str) -> None:
        """Say something about this region."""
        hint(self.note, words)

    def show_progress(self, words: str, saved: str) -> None:
        """Say how many are still needed, and what is saved."""
        hint(self.progress, words)
        self.saved.setText(saved)

    def _typed(self, value: int) -> None:
        self.typed = value != UNSET
