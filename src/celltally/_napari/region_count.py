"""*Count this region*: a person's number of cells, which follows the dots until one is typed."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QPushButton, QShortcut, QSpinBox

from celltally._napari.controls import Section, hint, spread, wrapped

__all__ = ["RegionCount"]

RULE = (
    "Click the middle of every cell, or type how many there are. A cell on the border counts if "
    "its middle is in the frame; with the middle on the line itself, the blue edges (left, top) "
    "are in, the orange ones (right, bottom) out."
)
#: Stands for no number.
UNSET = -1


class RegionCount(Section):
    """Takes a person's count of the region that is shown.

    Parameters
    ----------
    hints
        Said below how to count.
    """

    answered = Signal()
    undone = Signal()

    def __init__(self, hints: str = "") -> None:
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
        self.note = wrapped(name="audit_note")
        self.column.addWidget(wrapped(RULE, "audit_rule"))
        if hints:
            self.column.addWidget(wrapped(hints, "audit_hints"))
        self.add_row("Cells", spread(self.number_edit, self.undo_button, stretch=0))
        self.column.addWidget(self.note)
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.add_key(key, self.answered)

    def add_key(self, key: Qt.Key, signal: Signal) -> None:
        """Have a key that is pressed anywhere in the section do what a button does."""
        shortcut = QShortcut(QKeySequence(key), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(lambda: signal.emit())

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

    def _typed(self, value: int) -> None:
        self.typed = value != UNSET
