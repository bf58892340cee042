"""Small parts that the sections of our widgets are made of."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

__all__ = ["Section", "hint", "wrapped"]


def wrapped(text: str = "", name: str = "") -> QLabel:
    """A label that breaks its lines, selectable, and takes no more room than it needs."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    if name:
        label.setObjectName(name)
    label.setVisible(bool(text))
    return label


def hint(label: QLabel, text: str) -> None:
    """Show a sentence, or nothing at all where there is none."""
    label.setText(text)
    label.setVisible(bool(text))


class Section(QFrame):
    """A titled part of a widget, with a form for its rows."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = QLabel(title)
        self.title.setStyleSheet("font-weight: bold;")
        self.form = QFormLayout()
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setSpacing(5)
        self.form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(5)
        self.column.addWidget(self.title)
        self.column.addLayout(self.form)


class Line(QFrame):
    """A thin line between two sections."""

    def __init__(self) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.HLine)
        self.setMaximumHeight(1)

    def sizeHint(self) -> QSize:  # noqa: N802  (Qt's name)
        """One pixel high."""
        return QSize(10, 1)


def spread(*widgets: QWidget) -> QWidget:
    """Widgets side by side."""
    from qtpy.QtWidgets import QHBoxLayout

    box = QWidget()
    row = QHBoxLayout(box)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(5)
    for widget in widgets:
        row.addWidget(widget)
    return box
