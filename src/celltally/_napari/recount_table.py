"""The differences that a recount makes, as a table: the largest first, those that stand out marked.

A difference stands out where one of the two counts lies outside the other's interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from celltally._napari.study_lines import natural

if TYPE_CHECKING:
    from celltally.project.differences import Difference
    from celltally.types import Interval

__all__ = ["DIFFERENCE", "RecountModel", "RecountTable", "count_text", "signed_text"]

_Roles = Qt.ItemDataRole
#: Of rows that stand out, and of those that could not be recounted; on dark and light themes.
_STANDS_OUT, _FAILED = "#e8960c", "#e5484d"


@dataclass(frozen=True)
class _Column:
    """A column: its head, what it means, what a cell shows, and what it is sorted by."""

    head: str
    tip: str
    text: Callable[[Difference], str]
    key: Callable[[Difference], Any]
    number: bool = True


def count_text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.0f}".replace(",", "\u202f")


def signed_text(value: float, unit: str = "") -> str:
    if math.isnan(value):
        return ""
    digits = 0 if not unit and abs(value) >= 9.95 else 1
    if round(value, digits) == 0:
        return f"0{unit}"
    return f"{value:+.{digits}f}{unit}".replace("-", "−")


def _bounds(interval: Interval) -> str:
    if math.isnan(interval.low):
        return interval.kind
    return f"{count_text(interval.low)} – {count_text(interval.high)}"


def _width(interval: Interval) -> float:
    return interval.high - interval.low


def _columns() -> tuple[_Column, ...]:
    def after(show: Callable[[Any], Any], nothing: Any) -> Callable[[Difference], Any]:
        return lambda d: nothing if d.after is None else show(d.after)

    nan = math.nan
    return (
        _Column("Image", "", lambda d: d.label, lambda d: natural(d.label), number=False),
        _Column("Well", "", lambda d: d.entry.well, lambda d: natural(d.entry.well), number=False),
        _Column(
            "Condition",
            "",
            lambda d: d.entry.condition,
            lambda d: natural(d.entry.condition),
            number=False,
        ),
        _Column(
            "Before",
            "The count in force, before corrections.",
            lambda d: count_text(d.before.count),
            lambda d: d.before.count,
        ),
        _Column(
            "Interval",
            "Of the count in force.",
            lambda d: _bounds(d.before.interval),
            lambda d: _width(d.before.interval),
        ),
        _Column(
            "After",
            "What the new version counts, before corrections.",
            after(lambda s: count_text(s.count), ""),
            after(lambda s: s.count, nan),
        ),
        _Column(
            "Interval",
            "Of the new count.",
            after(lambda s: _bounds(s.interval), ""),
            after(lambda s: _width(s.interval), nan),
        ),
        _Column(
            "Difference",
            "Cells more, or fewer, than before. Sorted by its size.",
            lambda d: signed_text(d.difference),
            lambda d: abs(d.difference),
        ),
        _Column(
            "%",
            "The difference in percent of the count before. Sorted by its size.",
            lambda d: signed_text(d.percent, " %"),
            lambda d: abs(d.percent),
        ),
        _Column(
            "Corrected before",
            "What stands in the study: your dots where you reviewed, the model elsewhere.",
            lambda d: count_text(d.before.corrected),
            lambda d: d.before.corrected,
        ),
        _Column(
            "Corrected after",
            "What would stand there with the new version: your dots are the same.",
            after(lambda s: count_text(s.corrected), ""),
            after(lambda s: s.corrected, nan),
        ),
        _Column(
            "Flags", "", lambda d: "; ".join(d.flags), lambda d: "; ".join(d.flags), number=False
        ),
    )


COLUMNS = _columns()
#: Heads of the columns that are there only where somebody corrected.
CORRECTED = ("Corrected before", "Corrected after")
#: The column that it is sorted by at first.
DIFFERENCE = [column.head for column in COLUMNS].index("Difference")


class RecountModel(QAbstractTableModel):
    """Differences as a table, sorted by a column; what there is no number for is last."""

    def __init__(self) -> None:
        super().__init__()
        self._all: tuple[Difference, ...] = ()
        self._order: list[int] = []
        self._column, self._descending = DIFFERENCE, True

    def show_differences(self, differences: Sequence[Difference]) -> None:
        """Show other ones, in the order that was chosen."""
        self.beginResetModel()
        self._all = tuple(differences)
        self._order = self._sorted()
        self.endResetModel()

    def difference(self, row: int) -> Difference:
        """Difference of a row."""
        return self._all[self._order[row]]

    def _sorted(self) -> list[int]:
        key = COLUMNS[self._column].key
        keys = [key(one) for one in self._all]
        rows = range(len(keys))
        known = [i for i in rows if not (isinstance(keys[i], float) and math.isnan(keys[i]))]
        rest = sorted(set(rows) - set(known))
        known.sort(key=lambda i: keys[i], reverse=self._descending)
        return known + rest

    def sort(self, column: int, order: Any = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column."""
        if 0 <= column < len(COLUMNS):
            self._column = column
            self._descending = order == Qt.SortOrder.DescendingOrder
            self.layoutAboutToBeChanged.emit()
            self._order = self._sorted()
            self.layoutChanged.emit()

    # ---- as Qt asks for it ----

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802  (Qt's name)
        """Return the number of differences."""
        return 0 if parent is not None and parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802
        """Return the head of a column, and what it means."""
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(COLUMNS):
            return None
        if role == _Roles.DisplayRole:
            return COLUMNS[section].head
        return COLUMNS[section].tip if role == _Roles.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what a cell shows."""
        one, column = self.difference(index.row()), COLUMNS[index.column()]
        if role == _Roles.DisplayRole:
            return column.text(one)
        if role == _Roles.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column.number else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        if role == _Roles.BackgroundRole and (one.stands_out or one.after is None):
            colour = QColor(_FAILED if one.after is None else _STANDS_OUT)
            colour.setAlpha(46)
            return QBrush(colour)
        return _tip(one) if role == _Roles.ToolTipRole else None


def _tip(one: Difference) -> str:
    """Say what sets a row apart, beside what its cells show."""
    said = [one.label, *one.flags]
    if one.before.interval.reason:
        said.append(f"before: {one.before.interval.reason}")
    if one.after is not None and one.after.interval.reason:
        said.append(f"after: {one.after.interval.reason}")
    return "\n".join(said)


class RecountTable(QTableView):
    """Shows the differences; a click on a head sorts."""

    #: Widest that a column of numbers begins with, in pixels; one of words may be twice as wide.
    WIDEST = 200

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("recount_table")
        self.setAccessibleName("Differences between the counts, image by image")
        self.differences = RecountModel()
        self.setModel(self.differences)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(22)
        head = self.horizontalHeader()
        head.setHighlightSections(False)
        head.setSortIndicator(DIFFERENCE, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)

    def show_differences(self, differences: Sequence[Difference]) -> None:
        """Show differences, with columns as wide as their texts."""
        self.differences.show_differences(differences)
        metrics = self.fontMetrics()
        corrected = any(not math.isnan(one.before.corrected) for one in differences)
        for i, column in enumerate(COLUMNS):
            self.setColumnHidden(i, column.head in CORRECTED and not corrected)
            words = max((column.text(one) for one in differences), key=len, default="")
            width = max(metrics.horizontalAdvance(column.head) + 24, 40)
            width = max(width, metrics.horizontalAdvance(words) + 16)
            self.setColumnWidth(i, min(width, self.WIDEST if column.number else 2 * self.WIDEST))
