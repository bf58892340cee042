"""Contributions as horizontal bars, signed, with their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QModelIndex, QRect, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
)

from celltally._napari.colours import KINDS

if TYPE_CHECKING:
    from celltally.explain.contributions import Contributions

__all__ = ["Bars"]

#: Prototypes that have a bar of their own; the others are added up in one.
MOST_BARS = 8
_VALUE = Qt.ItemDataRole.UserRole
_NUMBER = int(Qt.ItemDataRole.UserRole) + 1
_GREY = "#9a9a9a"


@dataclass(frozen=True)
class _Bar:
    """Length in −1 … 1, and colour."""

    share: float
    colour: str


class Bars(QTreeWidget):
    """Shows what each prototype adds; the largest first, then the others, bias and sum.

    ``chosen`` is emitted with the number of a prototype whose bar is chosen.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("bars")
        self.setAccessibleName("Contributions")
        self.setColumnCount(3)
        self.setHeaderHidden(True)
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setToolTip("Choose a bar with mouse or arrow keys to see the boxes of its prototype.")
        self.setItemDelegateForColumn(1, _Delegate(self))
        header = self.header()
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(20)
        # Of fixed width: to measure all words anew takes longer than everything else here.
        metrics = self.fontMetrics()
        for column, widest in ((0, "p88 background "), (2, "+0.00000")):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(column, metrics.horizontalAdvance(widest) + 8)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self._rows = 0
        self.itemSelectionChanged.connect(self._selected)

    def show_parts(self, parts: Contributions) -> None:
        """Show contributions to a density or a count."""
        order = np.argsort(-np.abs(parts.values), kind="stable")
        first, rest = order[:MOST_BARS], order[MOST_BARS:]
        rows: list[tuple[str, float, str, int | None]] = [
            (f"p{parts.prototypes[k]} {parts.kinds[k]}", float(parts.values[k]),
             KINDS[parts.kinds[k]], parts.prototypes[k])
            for k in first
        ]  # fmt: skip
        if len(rest):
            rows.append((f"{len(rest)} others", float(parts.values[rest].sum()), _GREY, None))
        rows.append(("bias", parts.bias, _GREY, None))
        rows.append(("sum", parts.total, "#d8d8d8", None))
        largest = max((abs(value) for _, value, _, _ in rows), default=0.0) or 1.0
        digits = _digits(largest)
        blocked = self.blockSignals(True)
        self.clearSelection()
        while self.topLevelItemCount() > len(rows):
            self.takeTopLevelItem(self.topLevelItemCount() - 1)
        while self.topLevelItemCount() < len(rows):
            self.addTopLevelItem(_item())
        for i, (name, value, colour, number) in enumerate(rows):
            item = self.topLevelItem(i)
            item.setText(0, name)
            item.setText(2, f"{value:+.{digits}f}")
            item.setData(1, _VALUE, _Bar(value / largest, colour))
            item.setData(0, _NUMBER, number)
            font = item.font(0)
            if font.bold() != (name == "sum"):
                font.setBold(name == "sum")
                item.setFont(0, font)
                item.setFont(2, font)
        self.blockSignals(blocked)
        if self._rows != len(rows):
            self._rows = len(rows)
            self.setFixedHeight(len(rows) * max(self.sizeHintForRow(0), 16) + 4)

    def rows(self) -> list[tuple[str, str]]:
        """Names and values as they are read."""
        items = (self.topLevelItem(i) for i in range(self.topLevelItemCount()))
        return [(item.text(0), item.text(2)) for item in items]

    def _selected(self) -> None:
        items = self.selectedItems()
        number = items[0].data(0, _NUMBER) if items else None
        if number is not None:
            self.chosen.emit(int(number))


def _item() -> QTreeWidgetItem:
    item = QTreeWidgetItem()
    right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    item.setData(2, Qt.ItemDataRole.TextAlignmentRole, right)
    return item


class _Delegate(QStyledItemDelegate):
    """Draws a bar from the middle: to the right what adds, to the left what takes off."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw the bar and the line that it starts from."""
        super().paint(painter, option, index)
        bar = index.data(_VALUE)
        if not isinstance(bar, _Bar):
            return
        area = option.rect.adjusted(4, 3, -4, -3)
        middle, half = area.center().x(), area.width() / 2
        length = round(half * abs(bar.share))
        left = middle if bar.share >= 0 else middle - length
        painter.save()
        painter.fillRect(QRect(left, area.top(), max(length, 1), area.height()), QColor(bar.colour))
        painter.setPen(option.palette.color(QPalette.ColorRole.Text))
        painter.drawLine(middle, option.rect.top(), middle, option.rect.bottom())
        painter.restore()


def _digits(largest: float) -> int:
    """Decimals with which the largest value has three digits that matter."""
    return int(np.clip(2 - np.floor(np.log10(largest)), 0, 6))
