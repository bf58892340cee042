"""What a recount changes in the conditions of a study, as a small table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem

from celltally._napari.recount_table import count_text, signed_text

if TYPE_CHECKING:
    from celltally.project.differences import Total

__all__ = ["TotalsTable"]

#: Pixels that a row is high, and rows that are seen without scrolling.
_ROW, _SEEN = 22, 4
_HEADS = (
    *("Condition", "t", "Images", "Before", "After", "Difference", "%"),
    *("Stand out", "Corrected before", "Corrected after"),
)


class TotalsTable(QTableWidget):
    """A row for each condition; time points, which are no sum with each other, have their own."""

    def __init__(self) -> None:
        super().__init__(0, len(_HEADS))
        self.setObjectName("recount_totals")
        self.setAccessibleName("Sums of the counts by condition")
        self.setHorizontalHeaderLabels(_HEADS)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setShowGrid(False)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(_ROW)

    def show_totals(self, totals: Sequence[Total]) -> None:
        """Show other sums."""
        self.setRowCount(len(totals))
        self.setColumnHidden(1, not any(total.t for total in totals))
        for row, total in enumerate(totals):
            alone = "all images" if len({one.condition for one in totals}) == 1 else "–"
            cells = (
                total.condition or alone,
                str(total.t),
                str(total.images),
                count_text(total.before),
                count_text(total.after),
                signed_text(total.difference),
                signed_text(total.percent, " %"),
                str(total.outside),
                count_text(total.study_before),
                count_text(total.study_after),
            )
            for column, words in enumerate(cells):
                item = QTableWidgetItem(words)
                side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
                item.setTextAlignment(int(side | Qt.AlignmentFlag.AlignVCenter))
                self.setItem(row, column, item)
        self.resizeColumnsToContents()
        head = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(head + _ROW * min(max(len(totals), 1), _SEEN) + 4)
