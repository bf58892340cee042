"""Places where two models count differently, as pictures with the dots of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from celltally._napari.controls import text, wrapped
from celltally._napari.learn_words import example_caption

if TYPE_CHECKING:
    from celltally.learn.outcome import Example

__all__ = ["ExampleView", "Examples", "image_of_pixels"]

#: Told apart with any kind of colour vision, on black and on white, and by their symbols:
#: a ring, a cross, a disc (colours of Okabe and Ito).
TRUE, BEFORE, AFTER = QColor("#ffffff"), QColor("#e69f00"), QColor("#56b4e9")
_DARK = QColor(10, 16, 24)
#: Pictures that are shown.
MOST = 4
#: Least size of a picture in pixels, and of its symbols beside those of a large one.
SIDE, SMALLEST = 120, 0.75


def image_of_pixels(pixels: NDArray[np.uint8]) -> QImage:
    """Turn ``(h, w)`` or ``(h, w, 3)`` uint8 into a picture of its own memory."""
    data = np.ascontiguousarray(pixels)
    height, width = data.shape[:2]
    grey = data.ndim == 2
    kind = QImage.Format.Format_Grayscale8 if grey else QImage.Format.Format_RGB888
    return QImage(data.data, width, height, width * (1 if grey else 3), kind).copy()


class ExampleView(QWidget):
    """One place: rings where the person's dots are, crosses before, discs after.

    Parameters
    ----------
    example
        The place.
    caption
        Its counts in words.
    """

    def __init__(self, example: Example, caption: str) -> None:
        super().__init__()
        self.example, self.caption = example, caption
        self._image = image_of_pixels(example.pixels)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMinimumSize(SIDE, SIDE)
        said = caption.replace("\n", ", ")
        self.setAccessibleName(said)
        self.setToolTip(f"{example.image}: {said}. Click: larger")

    def sizeHint(self) -> QSize:  # noqa: N802  (Qt's name)
        """Return the size that is best: as wide as there is room."""
        return QSize(SIDE, self._height_at(max(self.width(), SIDE)))

    def _height_at(self, width: int) -> int:
        share = self._image.height() / max(self._image.width(), 1)
        return round(width * min(max(share, 0.4), 1.2))

    def resizeEvent(self, event: object) -> None:  # noqa: N802  (Qt's name)
        """Be as high as the picture is at this width."""
        self.setFixedHeight(self._height_at(max(self.width(), SIDE)))

    def area(self) -> QRectF:
        """Where the picture is drawn."""
        scale = min(
            self.width() / max(self._image.width(), 1),
            self.height() / max(self._image.height(), 1),
        )
        wide, high = scale * self._image.width(), scale * self._image.height()
        return QRectF((self.width() - wide) / 2, (self.height() - high) / 2, wide, high)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802  (Qt's name)
        """Draw the pixels, and the dots of person and models over them."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        area, example = self.area(), self.example
        painter.drawImage(area, self._image)
        painter.setClipRect(area)
        size = min(max(self.width() / 260, SMALLEST), 1.0)
        for place in self._places(area, example.dots):
            _ring(painter, place, size)
        for place in self._places(area, example.dots_before):
            _cross(painter, place, size)
        for place in self._places(area, example.dots_after):
            _disc(painter, place, size)
        painter.end()

    def _places(self, area: QRectF, yx: NDArray[np.float64]) -> list[QPointF]:
        scale = area.width() / max(self._image.width(), 1)
        # The centre of a pixel is half a pixel from its edge.
        return [
            QPointF(area.left() + (x + 0.5) * scale, area.top() + (y + 0.5) * scale)
            for y, x in np.asarray(yx, dtype=float).reshape(-1, 2).tolist()
        ]


def _ring(painter: QPainter, at: QPointF, size: float = 1.0) -> None:
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, width in ((_DARK, 3.2), (TRUE, 1.5)):
        painter.setPen(QPen(colour, width))
        painter.drawEllipse(at, 6.0 * size, 6.0 * size)


def _cross(painter: QPainter, at: QPointF, size: float = 1.0) -> None:
    for colour, width in ((_DARK, 3.6), (BEFORE, 1.8)):
        painter.setPen(QPen(colour, width))
        for sign in (-1, 1):
            arm = QPointF(3.6, 3.6 * sign) * size
            painter.drawLine(at - arm, at + arm)


def _disc(painter: QPainter, at: QPointF, size: float = 1.0) -> None:
    painter.setPen(QPen(_DARK, 1.0))
    painter.setBrush(AFTER)
    painter.drawEllipse(at, 3.0 * size, 3.0 * size)
    painter.setBrush(Qt.BrushStyle.NoBrush)


class _Key(QWidget):
    """Says which symbol is whose."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(20)
        self.entries: tuple[tuple[str, Any], ...] = ()
        self.show_models(from_nothing=False)

    def show_models(self, *, from_nothing: bool) -> None:
        """Know whose dots there are: a model from nothing has none before it."""
        rest = (("it", _disc),) if from_nothing else (("before", _cross), ("after", _disc))
        self.entries = (("you", _ring), *rest)
        names = {_ring: "ring", _cross: "cross", _disc: "disc"}
        self.setAccessibleName(", ".join(f"{names[draw]}: {name}" for name, draw in self.entries))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802  (Qt's name)
        """Draw the symbols with their words, on the dark ground of a picture."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), _DARK)
        metrics, x = self.fontMetrics(), 14.0
        base = (self.height() + metrics.ascent() - metrics.descent()) / 2
        for name, draw in self.entries:
            draw(painter, QPointF(x, self.height() / 2))
            painter.setPen(TRUE)
            painter.drawText(QPointF(x + 11, base), name)
            x += metrics.horizontalAdvance(name) + 36
        painter.end()


class Examples(QWidget):
    """Up to four places, two beside each other; a click shows one large."""

    def __init__(self) -> None:
        super().__init__()
        self.views: list[ExampleView] = []
        self._large: int | None = None
        self._cells: list[QWidget] = []
        self.grid = QGridLayout()
        self.grid.setContentsMargins(0, 0, 0, 0)
        self.grid.setSpacing(6)
        for column in (0, 1):
            self.grid.setColumnStretch(column, 1)
        self.title = text("Where the count changed most")
        self.key = _Key()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.title)
        column.addWidget(self.key)
        column.addLayout(self.grid)

    def show_examples(self, examples: Sequence[Example], *, from_nothing: bool = False) -> None:
        """Show places, the first ones of more; nothing at all where there are none.

        Parameters
        ----------
        examples
            The places.
        from_nothing
            Whether there was no model before.
        """
        self.title.setText("Places" if from_nothing else "Where the count changed most")
        self.key.show_models(from_nothing=from_nothing)
        for cell in self._cells:
            self.grid.removeWidget(cell)
            cell.hide()
            cell.deleteLater()
        self._cells, self._large = [], None
        self.views = [
            ExampleView(example, example_caption(example, from_nothing=from_nothing))
            for example in examples[:MOST]
        ]
        for view in self.views:
            cell = QWidget()
            rows = QVBoxLayout(cell)
            rows.setContentsMargins(0, 0, 0, 0)
            rows.setSpacing(1)
            rows.addWidget(view)
            rows.addWidget(wrapped(view.caption))
            rows.addStretch(1)
            self._cells.append(cell)
        self._arrange()
        self.setVisible(bool(self.views))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802  (Qt's name)
        """Show the place that is clicked large, or all again."""
        child = self.childAt(event.pos())
        if isinstance(child, ExampleView) and child in self.views:
            chosen = self.views.index(child)
            self._large = None if self._large == chosen else chosen
            self._arrange()

    def _arrange(self) -> None:
        for cell in self._cells:
            self.grid.removeWidget(cell)
        if self._large is None and len(self._cells) > 1:
            for i, cell in enumerate(self._cells):
                self.grid.addWidget(cell, i // 2, i % 2)
        else:
            for i, cell in enumerate(self._cells):
                self.grid.addWidget(cell, i, 0, 1, 2)
        for i, cell in enumerate(self._cells):
            cell.setVisible(self._large in (None, i))
