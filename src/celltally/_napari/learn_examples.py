"""Places where two models count differently, as pictures with the dots of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from celltally._napari.controls import hint, text, wrapped
from celltally._napari.learn_marks import MarkKey, draw_after, draw_before, draw_true
from celltally._napari.learn_words import example_caption

if TYPE_CHECKING:
    from celltally.learn.outcome import Example

__all__ = ["ExampleView", "Examples", "image_of_pixels"]

#: Pictures that are shown.
MOST = 4
#: Least width of the large picture in pixels, and the side of the small ones above it.
SIDE, SMALL = 120, 52
#: Width at which the symbols are as large as in the key, and how far they go with it.
USUAL, SMALLEST, LARGEST = 300, 0.75, 1.6
_CHOSEN = "QToolButton:checked { border: 2px solid #56b4e9; }"


def image_of_pixels(pixels: NDArray[np.uint8]) -> QImage:
    """Turn ``(h, w)`` or ``(h, w, 3)`` uint8 into a picture of its own memory."""
    data = np.ascontiguousarray(pixels)
    height, width = data.shape[:2]
    grey = data.ndim == 2
    kind = QImage.Format.Format_Grayscale8 if grey else QImage.Format.Format_RGB888
    return QImage(data.data, width, height, width * (1 if grey else 3), kind).copy()


class ExampleView(QWidget):
    """One place as wide as there is room: rings are the person's dots, crosses before, discs after.

    ``example`` is the place, None while there is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.example: Example | None = None
        self._image = QImage()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMinimumSize(SIDE, SIDE)

    def show_example(self, example: Example | None, caption: str = "") -> None:
        """Show a place, or hold nothing."""
        self.example = example
        self._image = QImage() if example is None else image_of_pixels(example.pixels)
        self.setAccessibleName(caption)
        self._fit()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802  (Qt's name)
        """Return the size that is best: as wide as there is room."""
        return QSize(SIDE, self._height_at(max(self.width(), SIDE)))

    def _height_at(self, width: int) -> int:
        share = self._image.height() / max(self._image.width(), 1)
        return round(width * min(max(share, 0.4), 1.2))

    def resizeEvent(self, event: object) -> None:  # noqa: N802  (Qt's name)
        """Be as high as the picture is at this width."""
        self._fit()

    def _fit(self) -> None:
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
        example = self.example
        if example is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        area = self.area()
        painter.drawImage(area, self._image)
        painter.setClipRect(area)
        size = min(max(self.width() / USUAL, SMALLEST), LARGEST)
        dots = (
            (example.dots, draw_true),
            (example.dots_before, draw_before),
            (example.dots_after, draw_after),
        )
        for yx, draw in dots:
            for place in self._places(area, yx):
                draw(painter, place, size)
        painter.end()

    def _places(self, area: QRectF, yx: NDArray[np.float64]) -> list[QPointF]:
        scale = area.width() / max(self._image.width(), 1)
        # The centre of a pixel is half a pixel from its edge.
        return [
            QPointF(area.left() + (x + 0.5) * scale, area.top() + (y + 0.5) * scale)
            for y, x in np.asarray(yx, dtype=float).reshape(-1, 2).tolist()
        ]


class Examples(QWidget):
    """Up to four places: all small, to choose from, and one of them large below."""

    def __init__(self) -> None:
        super().__init__()
        self._captions: list[str] = []
        self._shown: Sequence[Example] = ()
        self.title = text("Where the count changed most")
        self.key = MarkKey()
        self.view = ExampleView()
        self.caption = wrapped(name="learn_example")
        self.buttons: list[QToolButton] = []
        self._group = QButtonGroup(self)
        self._group.idClicked.connect(self.choose)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        for number in range(MOST):
            button = QToolButton()
            button.setCheckable(True)
            button.setIconSize(QSize(SMALL, SMALL))
            button.setStyleSheet(_CHOSEN)
            self._group.addButton(button, number)
            self.buttons.append(button)
            row.addWidget(button)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.title)
        column.addLayout(row)
        for part in (self.caption, self.key, self.view):
            column.addWidget(part)

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
        self._shown = tuple(examples[:MOST])
        self._captions = [example_caption(e, from_nothing=from_nothing) for e in self._shown]
        for number, button in enumerate(self.buttons):
            there = number < len(self._shown)
            button.setVisible(there and len(self._shown) > 1)
            button.setIcon(_icon(self._shown[number]) if there else QIcon())
            button.setToolTip(self._shown[number].image if there else "")
            button.setAccessibleName(f"Place {number + 1}")
        self.choose(0)
        self.setVisible(bool(self._shown))

    def choose(self, number: int) -> None:
        """Show one of the places large."""
        if number < len(self._shown):
            self.buttons[number].setChecked(True)
            self.view.show_example(self._shown[number], self._captions[number])
            hint(self.caption, self._captions[number])
            self.caption.setToolTip(self._shown[number].image)  # all of a long name
        else:
            self.view.show_example(None)


def _icon(example: Example) -> QIcon:
    image = image_of_pixels(example.pixels)
    fill = Qt.AspectRatioMode.KeepAspectRatioByExpanding
    small = image.scaled(SMALL, SMALL, fill, Qt.TransformationMode.SmoothTransformation)
    left, top = (small.width() - SMALL) // 2, (small.height() - SMALL) // 2
    return QIcon(QPixmap.fromImage(small.copy(left, top, SMALL, SMALL)))
