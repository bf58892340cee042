"""Asks what a model that is trained from nothing is to be called, and what it counts."""

from __future__ import annotations

from collections.abc import Collection

from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from celltally._napari.controls import ATTENTION, Row, hint, wrapped
from celltally._napari.learn_words import minutes_words, name_problem

__all__ = ["NewModelDialog"]

WORDS = (
    "For a kind of cell that no model counts well. It learns from nothing but the regions that "
    "you reviewed, so it needs more of them: some 20 regions, or 300 dots, of several images."
)
MINUTES = (1.0, 5.0, 120.0)


class NewModelDialog(QDialog):
    """Asks for name, sample and minutes.

    Parameters
    ----------
    taken
        Names of the models at hand.
    parent
        Owns it.
    """

    def __init__(self, taken: Collection[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._taken = taken
        self.setWindowTitle("Train a new model")
        self.setMinimumWidth(380)
        self.name_edit, self.sample_edit = QLineEdit(), QLineEdit()
        self.sample_edit.setPlaceholderText("such as: pollen on a slide, bright field")
        self.minutes_edit = QDoubleSpinBox()
        least, usual, most = MINUTES
        self.minutes_edit.setRange(least, most)
        self.minutes_edit.setDecimals(0)
        self.minutes_edit.setSuffix(" min")
        self.minutes_edit.setValue(usual)
        self.takes = wrapped(name="learn_minutes")
        self.problem = wrapped(name="learn_new_problem", style=ATTENTION)
        buttons = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(buttons.Ok | buttons.Cancel)
        self.buttons.button(buttons.Ok).setText("Train")
        self.buttons.accepted.connect(self._accept)
        self.buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(wrapped(WORDS))
        column.addWidget(Row("Name", self.name_edit))
        column.addWidget(Row("What it counts", self.sample_edit))
        column.addWidget(Row("Time", self.minutes_edit))
        for part in (self.takes, self.problem, self.buttons):
            column.addWidget(part)
        self.name_edit.textChanged.connect(lambda _: hint(self.problem, ""))
        self.minutes_edit.valueChanged.connect(self._show_minutes)
        self._show_minutes()

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.name_edit.text()).strip()

    @property
    def sample(self) -> str:
        """What it counts."""
        return str(self.sample_edit.text()).strip()

    @property
    def minutes(self) -> float:
        """How long it is trained."""
        return float(self.minutes_edit.value())

    def _show_minutes(self) -> None:
        hint(self.takes, minutes_words(self.minutes))

    def _accept(self) -> None:
        """Close only on a name that can be used."""
        problem = name_problem(self.name, self._taken)
        if problem is None:
            self.accept()
        else:
            hint(self.problem, problem)
            self.name_edit.setFocus()
