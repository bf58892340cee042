"""*Correct*: the tool, classes, undo and redo, places to check, and what was done."""

from __future__ import annotations

import math

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtWidgets import QInputDialog, QPushButton, QToolButton

from celltally._napari import corrections, texts
from celltally._napari.class_list import ClassList, class_icon
from celltally._napari.controls import Section, evenly, hint, wrapped
from celltally._napari.correct_tool import CorrectTool
from celltally._napari.correcting import Correcting

__all__ = ["CorrectSection"]

_TOOL_TIP = (
    "Click: add a dot. Drag a dot: move it. Right click on a dot: remove it; on a removed one: "
    "bring it back. Drag beside the dots: move the view. Shift and drag: select in a box. "
    "Alt and drag: select with a lasso. Keys while the layer of dots is active (they take the "
    "place of napari's own 1 to 5 there): Delete removes, C confirms, 1 to 9 choose the class, "
    "Ctrl-Z undoes, Ctrl-Shift-Z or Ctrl-Y redoes, N and B go to the next place to check and back."
)


class CorrectSection(Section):
    """Corrects the dots of the chosen image.

    Parameters
    ----------
    correcting
        What is corrected.
    """

    #: A place to check is asked for: 1 the next, -1 the one before.
    stepped = Signal(int)

    def __init__(self, correcting: Correcting) -> None:
        super().__init__("Correct")
        self.correcting = correcting
        self.tool = CorrectTool(correcting, self)
        self._key: str | None = None
        self._model, self._reviewed = math.nan, 0.0
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._refresh)
        self._build()
        correcting.changed.connect(self._changed)
        correcting.classes_changed.connect(self._later)
        self.tool.used.connect(self._show_tool)
        self.tool.stepped.connect(self.stepped)
        self.show_image(None)

    def _build(self) -> None:
        self.correct_button = _button("Correct", _TOOL_TIP)
        self.correct_button.setCheckable(True)
        self.correct_button.clicked.connect(lambda on: self._use(on=on))
        self.lasso_button = _button("Lasso", "Drag round dots to select them; again to end it.")
        self.lasso_button.setCheckable(True)
        self.lasso_button.clicked.connect(lambda on: self._use(on=True, lasso=on))
        self.remove_button = _button(
            "Remove", "Remove the selected dots, or bring removed ones back (Delete)."
        )
        self.confirm_button = _button(
            "Confirm", "Say of the selected dots that they are right, or take that back (C)."
        )
        self.undo_button, self.redo_button = _button("Undo"), _button("Redo")
        self.back_button = _button("Back", "Go to the place to check before this one (B).")
        self.next_button = _button(
            "Next", "Go to the next place to check: where the count is most in doubt (N)."
        )
        for button, name in (
            (self.remove_button, "remove"), (self.confirm_button, "confirm"),
            (self.undo_button, "undo"), (self.redo_button, "redo"),
        ):  # fmt: skip
            button.clicked.connect(lambda _=False, name=name: self._act(name))
        self.back_button.clicked.connect(lambda: self.stepped.emit(-1))
        self.next_button.clicked.connect(lambda: self.stepped.emit(1))
        self.live_label = wrapped(name="live")
        self.live_label.setVisible(True)
        self.place_label = wrapped(name="place")
        self.classes_button = QToolButton()
        self.classes_button.setCheckable(True)
        self.classes_button.setAutoRaise(True)
        self.classes_button.setToolTip("Show the classes of dots.")
        self.classes_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.class_list = ClassList()
        self.class_list.chosen.connect(self._choose_class)
        self.class_list.renamed.connect(self._rename_class)
        self.add_class_button = _button("Add a class…", "Give the next dots another class.")
        self.add_class_button.clicked.connect(self._ask_class)
        self.body = (
            evenly(self.correct_button, self.lasso_button, self.remove_button,
                   self.confirm_button),
            evenly(self.undo_button, self.redo_button, self.back_button, self.next_button),
            self.live_label,
            self.classes_button,
        )  # fmt: skip
        for part in (*self.body, self.class_list, self.add_class_button, self.place_label):
            self.column.addWidget(part)
        self.classes_button.toggled.connect(lambda _: self._refresh())

    # ---- what is shown ----

    def show_image(self, key: str | None) -> None:
        """Show what was corrected in an image; None for none."""
        self._key = key if self.correcting.work(key) is not None else None
        self.setVisible(self._key is not None)
        self._show_tool()
        self._refresh()

    def show_model(self, count: float) -> None:
        """Show the model's count in the live line."""
        self._model = count
        self._later()

    def show_reviewed(self, share: float) -> None:
        """Show which share of the image, or of the tissue in it, was reviewed."""
        if share != self._reviewed:
            self._reviewed = share
            self._later()

    def show_place(self, words: str) -> None:
        """Say which place is being checked."""
        hint(self.place_label, words)

    def _changed(self, key: str) -> None:
        if key == self._key:
            self._later()

    def _later(self) -> None:
        """Show figures when what is under way is done: an edit is not to wait for them."""
        self._soon.start(0)

    def _refresh(self) -> None:
        key = self._key
        work = self.correcting.work(key)
        if key is None or work is None:
            return
        figures = self.correcting.figures(key)
        self.live_label.setText(
            f"model {texts.number(self._model)} · you +{figures.added} −{figures.removed} · "
            f"reviewed {100 * self._reviewed:.0f}{texts.SPACE}%"
        )
        for button, name, edit in (
            (self.undo_button, "Undo", work.undoable), (self.redo_button, "Redo", work.redoable),
        ):  # fmt: skip
            button.setEnabled(edit is not None)
            words = "nothing" if edit is None else corrections.words(edit)
            keys = "Ctrl-Z" if name == "Undo" else "Ctrl-Shift-Z"
            button.setToolTip(f"{name}: {words} ({keys})")
        self._show_classes(key)

    def _show_classes(self, key: str) -> None:
        names, current = self.correcting.classes, self.correcting.current_class
        opened = self.classes_button.isChecked()
        self.classes_button.setText(f" Class of the next dots: {current} ▾")
        self.classes_button.setIcon(class_icon(current, names))
        for part in (self.class_list, self.add_class_button):
            part.setVisible(opened)
        if opened:
            dots = self.correcting.in_plane(key)
            labels, numbers = np.unique(dots.label[dots.state != "removed"], return_counts=True)
            counted = dict(zip(labels.tolist(), numbers.tolist(), strict=True))
            self.class_list.show_classes(names, current, counted)

    def _show_tool(self) -> None:
        on, lasso = self.tool.in_use(self._key), self.tool.lasso
        for button, checked in (
            (self.correct_button, on and not lasso), (self.lasso_button, on and lasso),
        ):  # fmt: skip
            with QSignalBlocker(button):
                button.setChecked(checked)

    # ---- what is asked for ----

    def _use(self, *, on: bool, lasso: bool = False) -> None:
        if self._key is not None:
            self.tool.use(self._key, on=on, lasso=lasso)

    def _act(self, name: str) -> None:
        if self._key is not None:
            self.tool.act(self._key, name, pointed=False)

    def _choose_class(self, name: str) -> None:
        if self._key is not None:
            self.correcting.set_class(self._key, name)

    def _rename_class(self, old: str, new: str) -> None:
        if self._key is not None:
            self.correcting.rename_class(self._key, old, new)
        self._refresh()

    def _ask_class(self) -> None:
        name, agreed = QInputDialog.getText(self, "Add a class", "Name of the class:")
        if agreed and name.strip():
            self.add_class(name.strip())

    def add_class(self, name: str) -> None:
        """Add a class, which becomes that of the next dots or of the selected ones."""
        if self._key is not None:
            self.correcting.set_class(self._key, name)
            self._refresh()

    def leave(self) -> None:
        """Do nothing more."""
        self._soon.stop()


def _button(words: str, tip: str = "") -> QPushButton:
    button = QPushButton(words)
    button.setToolTip(tip)
    button.setStyleSheet("padding: 3px 4px;")
    return button
