"""The prototypes of one kind, as small pictures to choose from with mouse or arrow keys."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QImage, QPainter, QPen, QPixmap, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QApplication, QListView, QListWidget, QListWidgetItem

from celltally._napari.colours import KINDS

__all__ = ["PrototypeList", "framed"]

#: Side of a picture, and what it takes with its number and the gap, in pixels; where some are
#: marked as new.
SIDE, CELL, WIDE_CELL = 32, QSize(38, 50), QSize(54, 50)
#: Share of a picture that a cell diameter takes.
DIAMETER = 0.25
_ADDING = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier


class PrototypeList(QListWidget):
    """Shows prototypes of one kind.

    ``chosen`` is emitted with True where they are chosen beside those of another list.
    """

    chosen = Signal(bool)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.setObjectName(f"prototypes_{kind}")
        self.setAccessibleName(f"{kind} prototypes")
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setIconSize(QSize(SIDE, SIDE))
        self.setGridSize(CELL)
        self.setUniformItemSizes(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.setStyleSheet("QListWidget { border: none; padding: 0px; }")
        self._pictures: list[NDArray[np.uint8] | None] = []
        self.itemSelectionChanged.connect(self._selected)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the chosen prototypes."""
        items = (self.item(row) for row in range(self.count()))
        return tuple(int(i.data(Qt.ItemDataRole.UserRole)) for i in items if i.isSelected())

    def fill(
        self,
        numbers: Sequence[int],
        pictures: Sequence[NDArray[np.uint8] | None],
        tips: Sequence[str],
        new: Container[int] = (),
    ) -> None:
        """Show prototypes; what was chosen stays chosen where it is still there.

        Parameters
        ----------
        numbers, pictures, tips
            Of each.
        new
            Numbers of those that are marked as new.
        """
        if [self.item(row).data(Qt.ItemDataRole.UserRole) for row in range(self.count())] != list(
            numbers
        ):
            self.clear()
            for number in numbers:
                item = QListWidgetItem(f"p{number}")
                item.setData(Qt.ItemDataRole.UserRole, number)
                item.setData(Qt.ItemDataRole.TextAlignmentRole, int(Qt.AlignmentFlag.AlignHCenter))
                self.addItem(item)
            self._pictures = [None] * len(numbers)
            for row in range(len(numbers)):
                self._show_picture(row, None)
        for row, (picture, tip) in enumerate(zip(pictures, tips, strict=True)):
            self.item(row).setToolTip(tip)
            self.item(row).setText(f"p{numbers[row]}{' new' if numbers[row] in new else ''}")
            if picture is not self._pictures[row]:
                self._show_picture(row, picture)
        self.setGridSize(WIDE_CELL if any(number in new for number in numbers) else CELL)
        self._fit()

    def _show_picture(self, row: int, picture: NDArray[np.uint8] | None) -> None:
        self._pictures[row] = picture
        pixmap = framed(picture, self.kind, SIDE)
        icon = QIcon(pixmap)
        icon.addPixmap(pixmap, QIcon.Mode.Selected)  # Qt would tint it
        self.item(row).setIcon(icon)

    def choose(self, number: int) -> bool:
        """Choose one prototype alone; whether it is in this list."""
        for row in range(self.count()):
            if self.item(row).data(Qt.ItemDataRole.UserRole) == number:
                self.setCurrentRow(row)
                return True
        return False

    def _selected(self) -> None:
        beside = QApplication.keyboardModifiers() & _ADDING
        self.chosen.emit(bool(beside))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802  (Qt's name)
        """Be as high as the rows are at the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        columns = max(1, (self.width() - 4) // self.gridSize().width())
        rows = -(-self.count() // columns)
        self.setFixedHeight(rows * CELL.height() + 4)


def framed(picture: NDArray[np.uint8] | None, kind: str, side: int) -> QPixmap:
    """Picture of a place in the colour of its kind, with a ring a cell diameter wide.

    Parameters
    ----------
    picture
        ``(h, w)`` or ``(h, w, 3)``; None where there is none to show.
    kind
        ``cell`` or ``background``.
    side
        In pixels.
    """
    pixmap = QPixmap(side, side)
    pixmap.fill(QColor(128, 128, 128, 60))
    painter = QPainter(pixmap)
    if picture is not None:
        pixels = np.ascontiguousarray(picture)
        data = pixels.tobytes()
        colour = pixels.ndim == 3
        layout = QImage.Format.Format_RGB888 if colour else QImage.Format.Format_Grayscale8
        shown = QImage(data, pixels.shape[1], pixels.shape[0], pixels.strides[0], layout).scaled(
            side,
            side,
            Qt.AspectRatioMode.IgnoreAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        painter.drawImage(0, 0, shown)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(KINDS[kind]), 1))
        width = round(DIAMETER * side)
        painter.drawEllipse((side - width) // 2, (side - width) // 2, width, width)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    painter.setPen(QPen(QColor(KINDS[kind]), 2))
    painter.drawRect(1, 1, side - 2, side - 2)
    painter.end()
    return pixmap
