"""A small curve of counts over time, with their intervals as a band; a click chooses a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QFontMetricsF,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from celltally._napari import texts
from celltally.types import Interval

__all__ = ["CurveView", "Point", "curve_note"]

#: Of the line and its band: seen on napari's dark and light theme alike.
LINE, BAND = QColor("#4a86e8"), QColor(74, 134, 232, 80)
#: Of the time point in view.
MARK = QColor("#f0a020")
HEIGHT = 132
#: Of more points than this, none has a symbol of its own.
MOST_SYMBOLS = 60


@dataclass(frozen=True)
class Point:
    """The count of a time point.

    Attributes
    ----------
    t
        Time point.
    count, interval
        In cells; the interval may be without bounds.
    n_dots
        Number of dots.
    correction
        In words, what was corrected; "" where nothing was.
    """

    t: int
    count: float
    interval: Interval
    n_dots: int
    correction: str = ""

    @property
    def bounded(self) -> bool:
        """Whether the interval has bounds."""
        return math.isfinite(self.interval.low) and math.isfinite(self.interval.high)


def curve_note(points: Sequence[Point], length: int, level: float, *, trouble: str = "") -> str:
    """Say what is to be known of a curve.

    Parameters
    ----------
    points, length
        See ``CurveView.show_points``.
    level
        Of the intervals.
    trouble
        Why something could not be worked out.
    """
    said = []
    if len(points) < length:
        said.append(f"{len(points)} of {length} time points are counted.")
    if any(point.bounded for point in points):
        said.append(
            f"The band is the {texts.percent(level)} interval of each time point by itself."
        )
    if any(point.correction for point in points):
        said.append("Squares: corrected.")
    return " ".join([*said, trouble]).strip()


class CurveView(QWidget):
    """Draws counts against time; ``chosen`` tells the time point that was clicked."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.points: tuple[Point, ...] = ()
        self.length = 0
        self.now: int | None = None
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(HEIGHT)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setObjectName("curve")
        self.setAccessibleName("Counts over time")

    def sizeHint(self) -> QSize:  # noqa: N802  (Qt's name)
        """Return the size that is best."""
        return QSize(280, HEIGHT)

    def show_points(self, points: Sequence[Point], length: int, now: int | None) -> None:
        """Show counts, in the order of time.

        Parameters
        ----------
        points
            Of the time points that were counted.
        length
            How many time points there are.
        now
            The one in view.
        """
        shown = tuple(points)
        if (shown, length, now) != (self.points, self.length, self.now):
            self.points, self.length, self.now = shown, length, now
            self.update()

    # ---- where things are ----

    def _area(self) -> QRectF:
        """Return where the curve is drawn, beside and above the numbers."""
        metrics = QFontMetricsF(self.font())
        low, high = self._range()
        widest = max(metrics.horizontalAdvance(texts.number(v)) for v in (low, high))
        left, bottom = widest + 8, 2 * metrics.height() + 4
        return QRectF(
            left, metrics.height() / 2 + 2, max(self.width() - left - 8, 1.0),
            max(self.height() - bottom - metrics.height() / 2 - 2, 1.0),
        )  # fmt: skip

    def _range(self) -> tuple[float, float]:
        """Lowest and highest number of the axis: round ones that hold all bands."""
        counts = [p.count for p in self.points if math.isfinite(p.count)]
        lows = counts + [p.interval.low for p in self.points if p.bounded]
        highs = counts + [p.interval.high for p in self.points if p.bounded]
        if not counts:
            return 0.0, 1.0
        least, most = max(min(lows), 0.0), max(highs)
        least = 0.0 if least < 0.6 * most else least  # near zero the axis begins there
        step = _step(max(most - least, 1.0) / 4)
        return math.floor(least / step) * step, max(math.ceil(most / step), 1) * step

    def x_of(self, t: int) -> float:
        """Where a time point is across the widget."""
        area = self._area()
        return area.left() + area.width() * (t / max(self.length - 1, 1))

    def y_of(self, count: float) -> float:
        """Where a count is down the widget."""
        area, (low, high) = self._area(), self._range()
        return area.bottom() - area.height() * (count - low) / (high - low)

    def time_at(self, x: float) -> int:
        """Return the time point that is nearest to a place across the widget."""
        area = self._area()
        share = (x - area.left()) / area.width()
        return min(max(round(share * (self.length - 1)), 0), max(self.length - 1, 0))

    # ---- mouse ----

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802  (Qt's name)
        """Choose the time point that was clicked."""
        if event.button() == Qt.MouseButton.LeftButton and self.length:
            self._choose(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802  (Qt's name)
        """Tell the count under the mouse; with the button held, go there."""
        if not self.length:
            return
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._choose(event)
        QToolTip.showText(event.globalPos(), self.words_at(self.time_at(event.pos().x())), self)

    def _choose(self, event: QMouseEvent) -> None:
        t = self.time_at(event.pos().x())
        if t != self.now:
            self.chosen.emit(t)

    def words_at(self, t: int) -> str:
        """Say what was counted at a time point."""
        point = next((p for p in self.points if p.t == t), None)
        if point is None:
            return f"t {t}: not counted"
        words = f"t {t}: {texts.cells(point.count)}"
        if point.bounded:
            level = texts.percent(point.interval.level)
            words += f", {level}: {texts.interval_range(point.interval)}"
        return f"{words}, {point.correction}" if point.correction else words

    # ---- drawing ----

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802  (Qt's name)
        """Draw the axes, the band, the line and the time point in view."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        self._paint_axes(painter, text)
        for run in self._runs():
            self._paint_run(painter, run)
        self._paint_now(painter, text)
        painter.end()

    def _paint_axes(self, painter: QPainter, text: QColor) -> None:
        area, (low, high) = self._area(), self._range()
        metrics = QFontMetricsF(self.font())
        faint = QColor(text)
        faint.setAlpha(60)
        row = metrics.height()
        for value in (low, (low + high) / 2, high):
            y = self.y_of(value)
            painter.setPen(QPen(faint, 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            if value != (low + high) / 2:
                painter.setPen(text)
                right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                painter.drawText(
                    QRectF(0, y - row / 2, area.left() - 5, row), int(right), texts.number(value)
                )
        painter.setPen(text)
        for t in self._ticks(metrics):
            width = metrics.horizontalAdvance(str(t))
            x = min(max(self.x_of(t) - width / 2, 0.0), self.width() - width)
            painter.drawText(QPointF(x, area.bottom() + row), str(t))
        middle = int(Qt.AlignmentFlag.AlignHCenter)
        painter.drawText(
            QRectF(area.left(), area.bottom() + row + 2, area.width(), row), middle,
            "time point (t)",
        )  # fmt: skip

    def _ticks(self, metrics: QFontMetricsF) -> list[int]:
        """Time points with a number below the axis: the first, and as many as there is room."""
        last = max(self.length - 1, 0)
        room = max(int(self._area().width() / (metrics.horizontalAdvance(str(last)) + 24)), 1)
        step = max(int(_step(last / room)), 1) if last else 1
        return list(range(0, last + 1, step))

    def _runs(self) -> list[list[Point]]:
        """Points of time points that follow each other."""
        runs: list[list[Point]] = []
        for point in self.points:
            if not math.isfinite(point.count):
                continue
            if runs and point.t == runs[-1][-1].t + 1:
                runs[-1].append(point)
            else:
                runs.append([point])
        return runs

    def _paint_run(self, painter: QPainter, run: Sequence[Point]) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(BAND)
        bounded = [point for point in run if point.bounded]
        lows = [self._place(p.t, p.interval.low) for p in bounded]
        highs = [self._place(p.t, p.interval.high) for p in bounded]
        painter.drawPolygon(QPolygonF([*lows, *reversed(highs)]))
        if len(run) == 1 and run[0].bounded:
            painter.setPen(QPen(BAND, 4))
            ends = run[0].interval
            painter.drawLine(self._place(run[0].t, ends.low), self._place(run[0].t, ends.high))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(LINE, 2))
        painter.drawPolyline(QPolygonF([self._place(p.t, p.count) for p in run]))
        painter.setBrush(LINE)
        painter.setPen(Qt.PenStyle.NoPen)
        for point in run:
            place = self._place(point.t, point.count)
            if point.correction:  # a square, as a confirmed dot
                painter.drawRect(QRectF(place.x() - 3.5, place.y() - 3.5, 7, 7))
            elif len(self.points) <= MOST_SYMBOLS or len(run) == 1:
                painter.drawEllipse(place, 2.5, 2.5)

    def _paint_now(self, painter: QPainter, text: QColor) -> None:
        if self.now is None:
            return
        area, x = self._area(), self.x_of(self.now)
        painter.setPen(QPen(MARK, 1.5, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        point = next((p for p in self.points if p.t == self.now), None)
        if point is not None and math.isfinite(point.count):
            painter.setPen(QPen(text, 1))
            painter.setBrush(MARK)
            painter.drawEllipse(self._place(point.t, point.count), 4.5, 4.5)

    def _place(self, t: int, count: float) -> QPointF:
        return QPointF(self.x_of(t), self.y_of(count))


def _step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, 20, … that is not below a number."""
    power = 10.0 ** math.floor(math.log10(max(least, 1e-9)))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
    return max(step, 1.0)
