"""Small parts that the sections of our widgets are made of."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

__all__ = [
    "ATTENTION",
    "LABEL_WIDTH",
    "Column",
    "Row",
    "Section",
    "evenly",
    "hint",
    "line",
    "spread",
    "text",
    "wrapped",
]

#: Labels of all sections end at the same place.
LABEL_WIDTH = 106
#: Of what the user should not overlook: a bar beside it, for no colour of the words
#: themselves can be read on napari's dark and light theme alike.
ATTENTION = "border-left: 3px solid #d9920a; padding-left: 6px;"


def text(words: str = "", name: str = "", style: str = "") -> QLabel:
    """Make a label that can be copied from; it begins where buttons and fields begin."""
    label = QLabel(words)
    label.setIndent(0)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setObjectName(name)
    label.setStyleSheet(style)
    return label


def wrapped(words: str = "", name: str = "", style: str = "") -> QLabel:
    """Make a text that breaks its lines and takes no more room than it needs."""
    label = text(words, name, style)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setVisible(bool(words))
    return label


def hint(label: QLabel, words: str) -> None:
    """Show a sentence, or nothing at all where there is none."""
    label.setText(words)
    label.setVisible(bool(words))


class Row(QWidget):
    """A label and a field beside it; a hidden row leaves no gap."""

    def __init__(self, name: str, field: QWidget) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        label = QLabel(name)
        label.setIndent(0)
        label.setFixedWidth(LABEL_WIDTH)
        label.setBuddy(field)
        row.addWidget(label)
        row.addWidget(field, 1)


class Column(QWidget):
    """Parts below each other, just as high as their texts need at the width there is.

    Without it a scroll area takes broken lines for higher than they are.
    """

    def minimumSizeHint(self) -> QSize:  # noqa: N802  (Qt's name)
        """Return the least size: the height is the one that belongs to the width."""
        size, layout = super().minimumSizeHint(), self.layout()
        if layout is not None and layout.hasHeightForWidth():
            size.setHeight(layout.heightForWidth(max(self.width(), size.width())))
        return size

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802  (Qt's name)
        """Ask for another height where the width has changed."""
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self.updateGeometry()


class Section(QFrame):
    """A titled part of a widget."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = text(title, style="font-weight: bold;")
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(5)
        self.column.addWidget(self.title)

    def put_beside_title(self, widget: QWidget) -> None:
        """Put something at the right end of the title's line, where it needs no room."""
        self.column.removeWidget(self.title)
        self.column.insertWidget(0, spread(self.title, widget, stretch=0))

    def add_row(self, name: str, field: QWidget) -> Row:
        """Add a field with its label."""
        row = Row(name, field)
        self.column.addWidget(row)
        return row


def line() -> QFrame:
    """Draw a thin line between two sections."""
    frame = QFrame()
    frame.setFrameShape(QFrame.Shape.HLine)
    frame.setFixedHeight(1)
    frame.setStyleSheet("background: rgba(128, 128, 128, 90); border: none;")
    return frame


def evenly(*widgets: QWidget) -> QWidget:
    """Widgets side by side, each of the same width."""
    box = spread(*widgets)
    for i in range(len(widgets)):
        box.layout().setStretch(i, 1)
    return box


def spread(*widgets: QWidget, stretch: int | None = None) -> QWidget:
    """Widgets side by side; the one at ``stretch`` takes the room that is left."""
    box = QWidget()
    row = QHBoxLayout(box)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(5)
    for i, widget in enumerate(widgets):
        row.addWidget(widget, 0 if stretch is None else int(i == stretch))
    return box
