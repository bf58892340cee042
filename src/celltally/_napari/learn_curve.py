"""A small curve of a loss, drawn while a model learns: cheap enough to be painted anew."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import (
    QColor,
    QFontMetricsF,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

__all__ = ["LossCurve", "thinned"]

#: Of the curve and of the level of the model in use: seen on napari's dark and light theme
#: alike, and told apart with any kind of colour vision; the one is full, the other dashed.
CURVE, LEVEL = QColor("#4a86e8"), QColor("#e08214")
HEIGHT = 104
#: Points that a curve is drawn with; of more, neighbours are averaged.
MOST_POINTS = 120
#: Points from which on none has a symbol of its own.
MOST_SYMBOLS = 24

Points = Sequence[tuple[float, float]]


def thinned(points: Points, most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Average neighbours until there are no more than so many points; the rest stay as they are."""
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if len(finite) <= most:
        return finite
    size = math.ceil(len(finite) / most)
    groups = [finite[i : i + size] for i in range(0, len(finite), size)]
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]


class LossCurve(QWidget):
    """Draws a figure against steps, and a dashed level to compare it with.

    Parameters
    ----------
    title
        What is drawn.
    level_name
        What the dashed line is; "" where there is none.
    """

    def __init__(self, title: str, level_name: str = "") -> None:
        super().__init__()
        self.title, self.level_name = title, level_name
        self.points: list[tuple[float, float]] = []
        self.level: float | None = None
        self.last = 1.0
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(HEIGHT)
        self.setObjectName("loss_curve")
        self.setAccessibleName(title)

    def sizeHint(self) -> QSize:  # noqa: N802  (Qt's name)
        """Return the size that is best."""
        return QSize(280, HEIGHT)

    def show_points(self, points: Points, last: float, level: float | None = None) -> None:
        """Show figures by step.

        Parameters
        ----------
        points
            Steps and figures, in the order of the steps.
        last
            Step that the axis reaches at least.
        level
            Of the dashed line.
        """
        shown = thinned(points)
        if (shown, last, level) != (self.points, self.last, self.level):
            self.points, self.last, self.level = shown, last, level
            self.update()

    def words(self) -> str:
        """Say the last figure, for whoever does not see the curve."""
        if not self.points:
            return f"{self.title}: nothing yet"
        said = f"{self.title}: {_figure(self.points[-1][1])} after step {self.points[-1][0]:.0f}"
        return said if self.level is None else f"{said}; {self.level_name}: {_figure(self.level)}"

    # ---- where things are ----

    def top(self) -> float:
        """Largest figure of the axis; single ones far above the others are cut off."""
        figures = sorted(y for _, y in self.points)
        most = figures[min(len(figures) - 1, int(0.97 * len(figures)))] if figures else 1.0
        most = max(most, self.level or 0.0, 1e-9)
        power = 10.0 ** math.floor(math.log10(most))
        return next(power * f for f in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * f >= most)

    def _area(self) -> QRectF:
        metrics = QFontMetricsF(self.font())
        widest = max(metrics.horizontalAdvance(_figure(v)) for v in (0.0, self.top()))
        row = metrics.height()
        left, top, bottom = widest + 8, row + 7, row + 4
        width = max(self.width() - left - 6, 1.0)
        return QRectF(left, top, width, max(self.height() - top - bottom, 1.0))

    def place(self, x: float, y: float) -> QPointF:
        """Where a figure of a step is drawn."""
        area, end = self._area(), max(self.last, self.points[-1][0] if self.points else 1.0, 1.0)
        height = area.height() * min(max(y / self.top(), 0.0), 1.0)
        return QPointF(area.left() + area.width() * x / end, area.bottom() - height)

    # ---- drawing ----

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802  (Qt's name)
        """Draw axes, the level and the curve."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_axes(painter, self.palette().color(QPalette.ColorRole.WindowText))
        if self.level is not None and math.isfinite(self.level):
            painter.setPen(QPen(LEVEL, 1.6, Qt.PenStyle.DashLine))
            area, y = self._area(), self.place(0, self.level).y()
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
        painter.setPen(QPen(CURVE, 1.8))
        places = [self.place(x, y) for x, y in self.points]
        painter.drawPolyline(QPolygonF(places))
        if len(places) <= MOST_SYMBOLS:
            painter.setBrush(CURVE)
            painter.setPen(Qt.PenStyle.NoPen)
            for place in places:
                painter.drawEllipse(place, 2.6, 2.6)
        painter.end()

    def _paint_axes(self, painter: QPainter, text: QColor) -> None:
        area, metrics = self._area(), QFontMetricsF(self.font())
        row = metrics.height()
        faint = QColor(text)
        faint.setAlpha(70)
        for share in (0.0, 0.5, 1.0):
            y = area.bottom() - share * area.height()
            painter.setPen(QPen(faint, 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            if share != 0.5:
                painter.setPen(text)
                right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                box = QRectF(0, y - row / 2, area.left() - 5, row)
                painter.drawText(box, right, _figure(share * self.top()))
        painter.setPen(text)
        painter.drawText(QPointF(0, metrics.ascent()), self.title)
        if self.level is not None:
            self._paint_key(painter, metrics, text)
        end = f"{max(self.last, self.points[-1][0] if self.points else 1.0):.0f}"
        below = area.bottom() + row
        painter.drawText(QPointF(area.left(), below), "0")
        painter.drawText(QPointF(area.right() - metrics.horizontalAdvance(end), below), end)
        middle = QRectF(area.left(), area.bottom() + 2, area.width(), row)
        painter.drawText(middle, int(Qt.AlignmentFlag.AlignHCenter), "step")

    def _paint_key(self, painter: QPainter, metrics: QFontMetricsF, text: QColor) -> None:
        """Say what the dashed line is, at the right end of the title's line."""
        wide = metrics.horizontalAdvance(self.level_name)
        left = self.width() - wide - 6
        if left - 24 < metrics.horizontalAdvance(self.title):
            return  # no room
        painter.drawText(QPointF(left, metrics.ascent()), self.level_name)
        painter.setPen(QPen(LEVEL, 1.6, Qt.PenStyle.DashLine))
        y = metrics.height() / 2
        painter.drawLine(QPointF(left - 22, y), QPointF(left - 5, y))
        painter.setPen(text)


def _figure(value: float) -> str:
    return "0" if value == 0 else f"{value:.3g}"
