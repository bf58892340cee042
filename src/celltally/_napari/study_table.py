"""The table of a study: a line for each image and region, sorted and filtered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPointF, QSize, Qt, Signal
from qtpy.QtGui import (
    QBrush,
    QColor,
    QFont,
    QIcon,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QPixmap,
    QPolygonF,
)
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from celltally._napari.study_lines import Column, Key, Line, Mark, arranged

__all__ = ["StudyModel", "StudyTable"]

#: Of the signs beside the names, seen on dark and on light themes; the words stand in the
#: column of flags.
_COLOURS: dict[Mark, str] = {
    "missing": "#e5484d",
    "otherwise": "#e8960c",
    "note": "#4d9fe0",
    "stale": "#9a9a9a",
}
#: Before the name of a region.
INDENT = "    ↳ "
#: Widest that a column of text begins with, in pixels.
WIDEST = 260
_MARGIN = 14
_Roles = Qt.ItemDataRole


class StudyModel(QAbstractTableModel):
    """Lines as a table; what is chosen stays chosen when they change, and their order does."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: tuple[Column, ...] = ()
        self._lines: tuple[Line, ...] = ()
        self._order: list[int] = []
        self._sorted: tuple[int | None, bool] = (None, False)
        self._filter: tuple[str, bool] = ("", False)

    # ---- what it shows ----

    def show_lines(self, lines: Sequence[Line], columns: Sequence[Column]) -> bool:
        """Show other lines; whether the columns are other ones, too."""
        same = [c.head for c in columns] == [c.head for c in self.columns]
        if not same:
            column, descending = self._sorted
            head = None if column is None else self.columns[column].head
            heads = [c.head for c in columns]
            self.beginResetModel()
            self.columns, self._lines = tuple(columns), tuple(lines)
            self._sorted = (heads.index(head), descending) if head in heads else (None, False)
            self._order = self._arranged()
            self.endResetModel()
        else:
            self._rearrange(tuple(lines))
        return not same

    def narrow(self, words: str, *, only_flagged: bool) -> None:
        """Show the lines only that have some words, or flags."""
        self._filter = (words, only_flagged)
        self._rearrange(self._lines)

    def sort(self, column: int, order: Any = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; by none (−1) in the order in which the images came."""
        known = 0 <= column < len(self.columns)
        self._sorted = (column if known else None, order == Qt.SortOrder.DescendingOrder)
        self._rearrange(self._lines)

    def _arranged(self) -> list[int]:
        column, descending = self._sorted
        words, only_flagged = self._filter
        return arranged(
            self._lines,
            column=column,
            descending=descending,
            words=words,
            only_flagged=only_flagged,
        )

    def _rearrange(self, lines: tuple[Line, ...]) -> None:
        before, keys = self._order, [self._lines[i].key for i in self._order]
        old, self._lines = self._lines, lines
        order = self._arranged()
        now = [lines[i].key for i in order]
        if now == keys:
            self._order = order
            if order and (old is not lines or before != order):
                last = self.index(len(order) - 1, len(self.columns) - 1)
                self.dataChanged.emit(self.index(0, 0), last)
            return
        self._lines = old
        self.layoutAboutToBeChanged.emit()
        self._lines, self._order = lines, order
        places = {key: place for place, key in enumerate(now)}
        for index in self.persistentIndexList():
            place = places.get(keys[index.row()]) if index.row() < len(keys) else None
            there = QModelIndex() if place is None else self.index(place, index.column())
            self.changePersistentIndex(index, there)
        self.layoutChanged.emit()

    def line(self, row: int) -> Line | None:
        """Line of a row of the table."""
        return self._lines[self._order[row]] if 0 <= row < len(self._order) else None

    def row_of(self, key: Key) -> int | None:
        """Row of a line; None where it is not shown."""
        found = (row for row, i in enumerate(self._order) if self._lines[i].key == key)
        return next(found, None)

    # ---- as Qt asks for it ----

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802  (Qt's name)
        """Return the number of lines that are shown."""
        return 0 if parent is not None and parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802
        """Return the head of a column, and what it means."""
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.columns):
            return None
        if role == _Roles.DisplayRole:
            return self.columns[section].head
        return self.columns[section].tip if role == _Roles.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what a cell shows."""
        line = self.line(index.row())
        if line is None:
            return None
        column = index.column()
        if role == _Roles.DisplayRole:
            text = line.cells[column]
            return f"{INDENT}{text}" if column == 0 and line.row.is_region else text
        if role == _Roles.TextAlignmentRole:
            if self.columns[column].number:
                return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        if role == _Roles.DecorationRole and column == 0:
            return _icon(line.mark)
        if role == _Roles.BackgroundRole and line.mark in ("missing", "otherwise"):
            colour = QColor(_COLOURS[line.mark])
            colour.setAlpha(46)
            return QBrush(colour)
        if role == _Roles.FontRole and line.mark == "stale":
            font = QFont()
            font.setItalic(True)
            return font
        return line.tip if role == _Roles.ToolTipRole else None


class _Head(QHeaderView):
    """The heads of the columns; see ``StudyTable.paintEvent``."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setSectionsClickable(True)
        self.setHighlightSections(False)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802  (Qt's name)
        """Draw the heads in one go."""
        super().paintEvent(event)


class StudyTable(QTableView):
    """Shows the lines; Enter and double click open one, N and P go on to the next and back."""

    #: The line that is to be opened.
    opened = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("study_table")
        self.setAccessibleName("Images and regions of the study")
        self.lines = StudyModel()
        self.setModel(self.lines)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setIconSize(QSize(12, 12))
        self.verticalHeader().setVisible(False)
        # Of fixed height: else Qt measures every row.
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(22)
        head = _Head()
        self.setHorizontalHeader(head)
        head.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        head.setStretchLastSection(True)
        head.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        self.doubleClicked.connect(lambda index: self._open(index.row()))

    def show_lines(self, lines: Sequence[Line], columns: Sequence[Column]) -> None:
        """Show other lines; what is chosen, sorted and scrolled stays so where it can."""
        kept = self.chosen()
        if self.lines.show_lines(lines, columns):
            self._fit(lines)
            row = None if kept is None else self.lines.row_of(kept.key)
            if row is not None:
                self.setCurrentIndex(self.lines.index(row, 0))

    def _fit(self, lines: Sequence[Line]) -> None:
        """Make columns as wide as their texts, reckoned from the longest alone."""
        metrics = self.fontMetrics()
        for i, column in enumerate(self.lines.columns[:-1]):
            words = max((line.cells[i] for line in lines), key=len, default="")
            head = metrics.horizontalAdvance(column.head) + 24  # for the arrow of the order
            lead = 20 + metrics.horizontalAdvance(INDENT) if i == 0 else 0
            width = max(head, metrics.horizontalAdvance(words) + lead + _MARGIN)
            self.setColumnWidth(i, min(width, WIDEST))

    def chosen(self) -> Line | None:
        """Return the line that is chosen; the last one that was, of several."""
        index = self.currentIndex()
        return self.lines.line(index.row()) if index.isValid() else None

    def step(self, by: int) -> None:
        """Go on by some lines, and open the one that is there."""
        rows = self.lines.rowCount()
        if rows == 0:
            return
        index = self.currentIndex()
        row = index.row() + by if index.isValid() else (0 if by > 0 else rows - 1)
        if 0 <= row < rows:
            self.setCurrentIndex(self.lines.index(row, max(index.column(), 0)))
            self._open(row)

    def _open(self, row: int) -> None:
        line = self.lines.line(row)
        if line is not None:
            self.opened.emit(line)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802  (Qt's name)
        """Draw the table in one go.

        Qt asks for thousands of cells; each time it came back to Python by itself, it would
        wait for a job's turn to end. Called from here it holds Python's lock throughout.
        """
        super().paintEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802  (Qt's name)
        """Open, or step, where a key says so."""
        plain = event.modifiers() in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.KeypadModifier,
        )
        key = event.key()
        if plain and key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._open(self.currentIndex().row())
        elif plain and key in (Qt.Key.Key_N, Qt.Key.Key_P):
            self.step(1 if key == Qt.Key.Key_N else -1)
        else:
            super().keyPressEvent(event)


_icons: dict[Mark, QIcon] = {}


def _icon(mark: Mark) -> QIcon:
    """Return the sign of a mark: a cross, a triangle, a disc or a ring; each has its own shape.

    Without a mark it is clear, so that all names begin at the same place.
    """
    if mark not in _icons:
        picture = QPixmap(24, 24)
        picture.fill(Qt.GlobalColor.transparent)
        if not mark:
            _icons[mark] = QIcon(picture)
            return _icons[mark]
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = QColor(_COLOURS[mark])
        pen = painter.pen()
        pen.setColor(colour)
        pen.setWidth(4)
        painter.setPen(pen)
        if mark == "missing":
            painter.drawLine(5, 5, 19, 19)
            painter.drawLine(5, 19, 19, 5)
        elif mark == "stale":
            painter.drawEllipse(5, 5, 14, 14)
        else:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            if mark == "otherwise":
                painter.drawPolygon(QPolygonF([QPointF(12, 2), QPointF(23, 22), QPointF(1, 22)]))
            else:
                painter.drawEllipse(6, 6, 12, 12)
        painter.end()
        _icons[mark] = QIcon(picture)
    return _icons[mark]
