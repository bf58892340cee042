"""The classes of dots: names, colours, keys, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from celltally._napari import texts
from celltally._napari.colours import class_colours

__all__ = ["ClassList", "class_icon"]

_KEY, _NAME, _NUMBER = range(3)
#: Rows that are seen at once.
ROWS = 5


class ClassList(QTableWidget):
    """A row for each class; the chosen one is that of the next dots."""

    #: Name of the class that was chosen.
    chosen = Signal(str)
    #: Old and new name.
    renamed = Signal(str, str)

    def __init__(self) -> None:
        super().__init__(0, 3)
        self._names: list[str] = []
        self.setHorizontalHeaderLabels(("Key", "Class", "Dots"))
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(22)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.horizontalHeader().setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        self.setToolTip(
            "Click: the class of the next dots, or of those that are selected. "
            "Click its name twice to give it another."
        )
        self.cellClicked.connect(lambda row, _: self.chosen.emit(self._names[row]))
        self.itemChanged.connect(self._changed)

    def show_classes(
        self, names: Sequence[str], current: str, numbers: Mapping[str, int]
    ) -> None:  # fmt: skip
        """Show the classes, the current one marked, and the number of dots of each."""
        with QSignalBlocker(self):
            self._names = list(names)
            self.setRowCount(len(names))
            for row, name in enumerate(names):
                key = str(row + 1) if row < 9 else ""
                values = (key, name, texts.number(numbers.get(name, 0)))
                for column, words in enumerate(values):
                    self._put(row, column, words)
                self.item(row, _NAME).setIcon(class_icon(name, names))
            rows = min(max(len(names), 1), ROWS)
            self.setFixedHeight(self.horizontalHeader().sizeHint().height() + 22 * rows + 4)
            if current in names:
                self.selectRow(self._names.index(current))

    def _put(self, row: int, column: int, words: str) -> None:
        item = self.item(row, column)
        if item is None:
            item = QTableWidgetItem(words)
            if column != _NAME:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
            self.setItem(row, column, item)
        elif item.text() != words:
            item.setText(words)

    def _changed(self, item: QTableWidgetItem) -> None:
        old, new = self._names[item.row()], item.text().strip()
        if item.column() == _NAME and new != old:
            self.renamed.emit(old, new)


def class_icon(name: str, names: Sequence[str]) -> QIcon:
    """Return a square of a class's colour."""
    square = QPixmap(10, 10)
    square.fill(QColor(class_colours([name], names)[name]))
    return QIcon(square)
