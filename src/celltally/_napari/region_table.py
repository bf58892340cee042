"""The table of regions: names and kinds can be changed in it, figures follow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QAbstractItemModel, QModelIndex, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QKeyEvent, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from celltally._napari import texts
from celltally._napari.colours import REGIONS
from celltally._napari.measuring import Row
from celltally._napari.region_report import cells_of
from celltally.types import REGION_KINDS

__all__ = ["RegionTable"]

_HEADS = ("Region", "Kind", "Count", "95 %", "Dots", "Area", "per mm²", "Stated")
_TIPS = (
    "Click twice to give it another name.",
    "What the region is for. Click twice to change it.",
    "Cells: the density in it; where it is reviewed its dots, or what was stated; "
    "without what is excluded, and only in the tissue where tissue regions are drawn.",
    "Interval of the count at the level that is chosen above.",
    "Dots in it.",
    "Without what is excluded, and only the tissue where tissue regions are drawn.",
    "Cells per square millimetre: count by area.",
    "A number of cells that you state for it, without setting a dot for each. "
    "Where it is reviewed that counts in place of its dots. "
    "Click twice to change it.",
)
_NAME, _KIND, _INTERVAL, _AREA, _STATED = 0, 1, 3, 5, 7
#: Rows that are seen at once.
ROWS = 6


class RegionTable(QTableWidget):
    """A row for each region."""

    renamed = Signal(int, str)
    kind_chosen = Signal(int, str)
    #: Number of the shape, and the count that is stated for it; −1 for none.
    stated = Signal(int, float)
    chosen = Signal(list)
    delete_pressed = Signal()

    def __init__(self) -> None:
        super().__init__(0, len(_HEADS))
        self._indices: list[int] = []
        self._stated: list[str] = []
        self._lengths: list[int] = []
        self.setHorizontalHeaderLabels(_HEADS)
        for column, tip in enumerate(_TIPS):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(22)
        # Left to Qt, every text that changes would have all rows measured anew.
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.horizontalHeader().setMinimumSectionSize(30)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setItemDelegateForColumn(_KIND, _KindDelegate(self))
        self.itemChanged.connect(self._changed)
        self.itemSelectionChanged.connect(lambda: self.chosen.emit(self.chosen_indices()))
        self._fit()

    def show_rows(self, rows: Sequence[Row], level: float, pixel_um: float | None) -> None:
        """Show what there is; cells that stay the same are left alone."""
        with QSignalBlocker(self):
            if self.rowCount() != len(rows):
                self.setRowCount(len(rows))
                self._fit()
            self.horizontalHeaderItem(_INTERVAL).setText(texts.percent(level))
            for column in (_AREA, _AREA + 1):
                self.setColumnHidden(column, not pixel_um)
            self._indices = [row.index for row in rows]
            self._stated = ["" if row.stated is None else f"{row.stated:g}" for row in rows]
            named, figures = False, [cells_of(row, pixel_um) for row in rows]
            for i, row in enumerate(rows):
                named |= self._put(i, _NAME, row.name, editable=True)
                if self._put(i, _KIND, row.kind, editable=True):
                    self.item(i, _NAME).setIcon(_icon(row.kind))
                    named = True
                for column, words in enumerate(figures[i], start=_KIND + 1):
                    self._put(i, column, words)
                named |= self._put(i, _STATED, self._stated[i], editable=True)
                tip = ""
                if row.interval is not None:
                    tip = texts.interval_words(row.interval) or row.interval.reason
                self.item(i, _INTERVAL).setToolTip(tip)
            lengths = [max(map(len, column)) for column in zip(*figures, strict=True)]
            if named or lengths != self._lengths:  # digits are all as wide
                self._lengths = lengths
                self.resizeColumnsToContents()

    def _put(self, row: int, column: int, words: str, *, editable: bool = False) -> bool:
        """Write into a cell; whether that changed it."""
        item = self.item(row, column)
        if item is None:
            item = QTableWidgetItem(words)
            if not editable:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                item.setTextAlignment(
                    int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                )
            self.setItem(row, column, item)
        elif item.text() != words:
            item.setText(words)
        else:
            return False
        return True

    def _fit(self) -> None:
        """Be as high as the rows need, up to a few."""
        rows = min(max(self.rowCount(), 1), ROWS)
        bar = self.horizontalScrollBar().sizeHint().height()
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + 22 * rows + bar + 4)

    def chosen_indices(self) -> list[int]:
        """Return the numbers of the shapes whose rows are chosen."""
        rows = {index.row() for index in self.selectedIndexes()}
        return [self._indices[row] for row in sorted(rows) if row < len(self._indices)]

    def choose(self, indices: Sequence[int]) -> None:
        """Choose the rows of some shapes; nobody is told."""
        if sorted(indices) == self.chosen_indices():
            return
        with QSignalBlocker(self):
            self.clearSelection()
            for row, index in enumerate(self._indices):
                if index in indices:
                    for column in range(self.columnCount()):
                        self.item(row, column).setSelected(True)
                    self.scrollToItem(self.item(row, _NAME))

    @property
    def editing(self) -> bool:
        """Whether a name or a kind is being typed."""
        return bool(self.state() == QAbstractItemView.State.EditingState)

    def _changed(self, item: QTableWidgetItem) -> None:
        index, words = self._indices[item.row()], item.text().strip()
        if item.column() == _NAME:
            self.renamed.emit(index, words)
        elif item.column() == _KIND and words in REGION_KINDS:
            self.kind_chosen.emit(index, words)
        elif item.column() == _STATED:
            number = count_of(words)
            if words and number is None:
                with QSignalBlocker(self):
                    item.setText(self._stated[item.row()])
            else:
                self.stated.emit(index, -1.0 if number is None else number)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802  (Qt's name)
        """Delete what is chosen."""
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)


class _KindDelegate(QStyledItemDelegate):
    """A box of kinds, where a kind is changed."""

    def createEditor(  # noqa: N802  (Qt's name)
        self, parent: QWidget, option: QStyleOptionViewItem, index: QModelIndex
    ) -> QWidget:
        """Return the box."""
        box = QComboBox(parent)
        box.addItems(list(REGION_KINDS))
        box.activated.connect(lambda _: self.commitData.emit(box))
        box.activated.connect(lambda _: self.closeEditor.emit(box))
        return box

    def setEditorData(self, editor: QWidget, index: QModelIndex) -> None:  # noqa: N802
        """Begin with the kind that it has."""
        if isinstance(editor, QComboBox):
            editor.setCurrentText(str(index.data()))

    def setModelData(  # noqa: N802  (Qt's name)
        self, editor: QWidget, model: QAbstractItemModel, index: QModelIndex
    ) -> None:
        """Take the chosen one."""
        if isinstance(editor, QComboBox):
            model.setData(index, editor.currentText())


def count_of(words: str) -> float | None:
    """Return the number of cells that was typed; None for anything else."""
    try:
        number = float(words.replace(" ", "").replace("\u202f", "").replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


_icons: dict[str, QIcon] = {}


def _icon(kind: str) -> QIcon:
    """Give a square of the kind's colour."""
    if kind not in _icons:
        square = QPixmap(10, 10)
        square.fill(QColor(REGIONS[kind][0]))
        _icons[kind] = QIcon(square)
    return _icons[kind]
