"""A box to choose from, whose entries may stand in groups with a heading each."""

from __future__ import annotations

from qtpy.QtCore import QModelIndex, QSize, Qt
from qtpy.QtGui import QFont, QFontMetrics, QPainter, QPalette, QStandardItem
from qtpy.QtWidgets import QComboBox, QStyledItemDelegate, QStyleOptionViewItem

__all__ = ["GroupedBox"]

#: Pixels left of an entry's words, and above and below them, in the lists of napari's boxes.
_INDENT, _PADDING = 7, 4


class GroupedBox(QComboBox):
    """A combo box with headings, which neither mouse nor keys nor wheel can choose."""

    def __init__(self) -> None:
        super().__init__()
        self._heading = _Heading(self)

    def add_heading(self, words: str) -> None:
        """Begin a group, below a line where there are entries above it."""
        if self.count():
            self.insertSeparator(self.count())
        heading = QStandardItem(words)
        heading.setFlags(Qt.ItemFlag.NoItemFlags)
        self.view().setItemDelegateForRow(self.count(), self._heading)
        self.model().appendRow(heading)

    def showPopup(self) -> None:  # noqa: N802  (Qt's name)
        """Show the list, wide enough for all of its words."""
        font = self.view().font()
        usual, bold = QFontMetrics(font), QFontMetrics(_bold(font))
        widths = (
            (usual if self.model().item(row).isEnabled() else bold).horizontalAdvance(
                self.itemText(row)
            )
            for row in range(self.count())
        )
        self.view().setMinimumWidth(max(widths, default=0) + 2 * _INDENT)
        super().showPopup()

    def clear(self) -> None:
        """Take out entries and headings."""
        for row in range(self.count()):
            self.view().setItemDelegateForRow(row, None)
        super().clear()


class _Heading(QStyledItemDelegate):
    """Draws a heading as readably as the entries: Qt greys out what cannot be chosen."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw the words in bold, in the colour of the entries."""
        painter.save()
        painter.setFont(_bold(option.font))
        painter.setPen(option.palette.color(QPalette.ColorGroup.Active, QPalette.ColorRole.Text))
        painter.drawText(
            option.rect.adjusted(_INDENT, 0, 0, 0),
            int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft),
            str(index.data()),
        )
        painter.restore()

    def sizeHint(  # noqa: N802  (Qt's name)
        self, option: QStyleOptionViewItem, index: QModelIndex
    ) -> QSize:
        """Return the room of the words."""
        metrics = QFontMetrics(_bold(option.font))
        width = metrics.horizontalAdvance(str(index.data()))
        return QSize(width + 2 * _INDENT, metrics.height() + 2 * _PADDING)


def _bold(font: QFont) -> QFont:
    font = QFont(font)
    font.setBold(True)
    return font
