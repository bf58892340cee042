"""The symbols of a person's dots and of two models', and the key that says which is whose."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

__all__ = ["AFTER", "BEFORE", "TRUE", "MarkKey", "draw_after", "draw_before", "draw_true"]

#: Told apart with any kind of colour vision, on black and on white, and by their symbols:
#: a ring, a cross, a disc (colours of Okabe and Ito). One within the other they are all seen.
TRUE, BEFORE, AFTER = QColor("#ffffff"), QColor("#e69f00"), QColor("#56b4e9")
DARK = QColor(10, 16, 24)


def draw_true(painter: QPainter, at: QPointF, size: float = 1.0) -> None:
    """Draw a dot of the person's."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, width in ((DARK, 3.4), (TRUE, 1.6)):
        painter.setPen(QPen(colour, width))
        painter.drawEllipse(at, 8.0 * size, 8.0 * size)


def draw_before(painter: QPainter, at: QPointF, size: float = 1.0) -> None:
    """Draw a dot of the model in use."""
    for colour, width in ((DARK, 4.0), (BEFORE, 2.0)):
        painter.setPen(QPen(colour, width))
        for sign in (-1, 1):
            arm = QPointF(5.0, 5.0 * sign) * size
            painter.drawLine(at - arm, at + arm)


def draw_after(painter: QPainter, at: QPointF, size: float = 1.0) -> None:
    """Draw a dot of the new model."""
    painter.setPen(QPen(DARK, 1.0))
    painter.setBrush(AFTER)
    painter.drawEllipse(at, 3.4 * size, 3.4 * size)
    painter.setBrush(Qt.BrushStyle.NoBrush)


class MarkKey(QWidget):
    """Says which symbol is whose."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(24)
        self.entries: tuple[tuple[str, Any], ...] = ()
        self.show_models(from_nothing=False)

    def show_models(self, *, from_nothing: bool) -> None:
        """Know whose dots there are: a model from nothing has none before it."""
        both = (("before", draw_before), ("after", draw_after))
        self.entries = (("you", draw_true), *((("it", draw_after),) if from_nothing else both))
        names = {draw_true: "ring", draw_before: "cross", draw_after: "disc"}
        self.setAccessibleName(", ".join(f"{names[draw]}: {name}" for name, draw in self.entries))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802  (Qt's name)
        """Draw the symbols with their words, on the dark ground of a picture."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), DARK)
        metrics, x = self.fontMetrics(), 16.0
        base = (self.height() + metrics.ascent() - metrics.descent()) / 2
        for name, draw in self.entries:
            draw(painter, QPointF(x, self.height() / 2))
            painter.setPen(TRUE)
            painter.drawText(QPointF(x + 14, base), name)
            x += metrics.horizontalAdvance(name) + 42
        painter.end()
