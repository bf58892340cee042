"""In a locked study another model asks before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QComboBox, QMessageBox, QWidget

from celltally._napari.saving import Saving
from celltally.record import CALIBRATION, ModelRecord

if TYPE_CHECKING:
    from celltally.project.study_lock import Lock

__all__ = ["OtherModel", "locked_row"]


class OtherModel(QObject):
    """Asks what is to be done where a model is not the one that the study is locked to.

    Parameters
    ----------
    saving
        That of the window: it knows what the study is locked to.
    parent
        The widget that it belongs to.
    """

    #: All images are to be counted with the model (a ``ModelRecord``).
    recount = Signal(object)
    #: This image is to be counted with it.
    once = Signal()
    #: The model that the study is locked to is wanted (its ``Lock``).
    keep = Signal(object)

    def __init__(self, saving: Saving, parent: QWidget) -> None:
        super().__init__(parent)
        self._saving, self._parent = saving, parent
        self.box: QMessageBox | None = None

    def asks(self, record: ModelRecord) -> bool:
        """Whether counting with a model has to be asked for: it would be marked."""
        held = self._saving.held
        if held is None or self._saving.read_only:  # what is not kept is not marked
            return False
        return not held.holds(record.sha256, record.files.get(CALIBRATION, ""))

    def ask(self, record: ModelRecord) -> None:
        """Ask, beside what else the window does."""
        held = self._saving.held
        if held is None or self.box is not None:
            return
        box = self.box = QMessageBox(self._parent)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Another model")
        box.setText(_question(held, record))
        box.setInformativeText(
            "Images that are counted with different models cannot be compared with each other."
        )
        role = QMessageBox.ButtonRole
        self.recount_button = box.addButton("Recount all with it…", role.AcceptRole)
        self.once_button = box.addButton("Count only this image, marked", role.AcceptRole)
        self.keep_button = box.addButton("Keep the locked model", role.RejectRole)
        box.setDefaultButton(self.keep_button)
        box.setEscapeButton(self.keep_button)
        for button, tip in (
            (self.recount_button, "See what changes in each image, and decide then."),
            (self.once_button, "Its row in the study says that another model counted it."),
            (self.keep_button, "Choose the locked model again; nothing is counted."),
        ):
            button.setToolTip(tip)
        box.buttonClicked.connect(lambda button: self._answer(button, held, record))
        box.finished.connect(lambda _: self._closed())
        box.open()

    def _answer(self, button: object, held: Lock, record: ModelRecord) -> None:
        if button is self.recount_button:
            self.recount.emit(record)
        elif button is self.once_button:
            self.once.emit()
        else:
            self.keep.emit(held)

    def _closed(self) -> None:
        self.box = None


def _question(held: Lock, record: ModelRecord) -> str:
    if record.sha256 == held.model_sha256:
        return (
            f"This study is locked to {held.version} as it was calibrated then. Count with "
            f"{record.name}, which is calibrated otherwise, instead?"
        )
    new = f"{record.name} ({record.sha256[:8]})"
    return f"This study is locked to {held.version}. Count with {new} instead?"


def locked_row(box: QComboBox, held: Lock) -> int | None:
    """Row of the model that a study is locked to, by its name where several are the same."""
    found = []
    for row in range(box.count()):
        record = box.itemData(row)
        if record is not None and held.holds(record.sha256, record.files.get(CALIBRATION, "")):
            found.append((record.name != held.model, row))
    return min(found)[1] if found else None
