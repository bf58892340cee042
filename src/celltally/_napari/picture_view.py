"""A plot in a window: drawn beside it, anew where its size has changed, and saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtGui import QImage, QPixmap, QResizeEvent
from qtpy.QtWidgets import QFileDialog, QLabel, QSizePolicy, QVBoxLayout, QWidget

from celltally._napari.controls import hint, wrapped
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.pictures import PAPER, Ink, Paint, Picture, picture_job, save_job

__all__ = ["PictureView", "ink_of"]

#: Pixels per inch, at which letters of 10 points are as large as those of the window.
_DPI = 96.0
#: Milliseconds until a size holds.
_STEADY = 120


def ink_of(viewer: Any) -> Ink:
    """Colours of a viewer's theme."""
    from napari.utils.theme import get_theme

    theme = get_theme(viewer.theme)
    return Ink(theme.background.as_hex(), theme.text.as_hex())


class _Canvas(QLabel):
    """Tells when it has another size: when the window has, or the words below need more room."""

    resized = Signal()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802  (Qt's name)
        """Tell of it."""
        super().resizeEvent(event)
        self.resized.emit()


class PictureView(QWidget):
    """Shows a plot, or says why there is none.

    Parameters
    ----------
    jobs
        Of its window.
    ink
        Gives the colours to draw with.
    """

    #: It was drawn, or could not be.
    drawn = Signal()
    #: What is to be told, in a sentence.
    told = Signal(str)

    def __init__(self, jobs: Jobs, ink: Callable[[], Ink] = lambda: PAPER) -> None:
        super().__init__()
        self._jobs, self._ink = jobs, ink
        self._paint: Paint | None = None
        self._job: Job | None = None
        self.picture: Picture | None = None
        self.label = _Canvas()
        self.label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.message = wrapped(name="picture_message")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.label, 1)
        column.addWidget(self.message)
        self._steady = QTimer(self)
        self._steady.setSingleShot(True)
        self._steady.setInterval(_STEADY)
        self._steady.timeout.connect(self._draw)
        self.label.resized.connect(self._resized)

    def sizeHint(self) -> QSize:  # noqa: N802  (Qt's name)
        """Return a size at which a plot can be read."""
        return QSize(560, 360)

    @property
    def busy(self) -> bool:
        """Whether it is being drawn, or will be."""
        return self._steady.isActive() or (self._job is not None and self._job.running)

    def show_plot(self, paint: Paint) -> None:
        """Draw something, in place of what was there."""
        self._paint = paint
        self._steady.start(0)

    def _resized(self) -> None:
        """Draw it anew when the size holds."""
        if self._paint is not None:
            self._steady.start(_STEADY)

    def _draw(self) -> None:
        paint, ratio = self._paint, float(self.devicePixelRatioF())
        if paint is None:
            return
        if self._job is not None:
            self._job.abandon()
        size = self.label.size()
        pixels = (max(int(size.width() * ratio), 200), max(int(size.height() * ratio), 150))
        ink = self._ink()
        self._job = self._jobs.start(
            lambda: picture_job(paint, pixels, _DPI * ratio, ink),
            on_done=lambda picture: self._show(picture, ratio),
            on_failed=self._failed,
        )

    def _show(self, picture: Picture, ratio: float) -> None:
        self.picture = picture
        image = QImage(
            picture.pixels,
            picture.width,
            picture.height,
            4 * picture.width,
            QImage.Format.Format_RGBA8888,
        ).copy()
        pixmap = QPixmap.fromImage(image)
        pixmap.setDevicePixelRatio(ratio)
        self.label.setPixmap(pixmap)
        hint(self.message, picture.said)
        self.drawn.emit()

    def _failed(self, error: Exception) -> None:
        self.picture = None
        self.label.clear()
        words = sentence(error)
        hint(self.message, words if words.endswith(".") else f"{words}.")
        self.drawn.emit()

    # ---- save ----

    def ask_save(self, name: str) -> None:
        """Ask where to, and save it."""
        place = str(Path.home() / f"{name}.png")
        filters = "Pictures (*.png);;Drawings (*.svg);;PDF (*.pdf)"
        path, chosen = QFileDialog.getSaveFileName(self, "Save plot", place, filters)
        if path:
            suffix = chosen.rpartition("*")[2].rstrip(")") or ".png"
            self.save(Path(path) if Path(path).suffix else Path(path).with_suffix(suffix))

    def save(self, path: Path) -> None:
        """Save it on white, as the suffix says: PNG, SVG or PDF."""
        paint = self._paint
        if paint is not None:
            self._jobs.start(
                lambda: save_job(paint, path),
                on_done=self.told.emit,
                on_failed=lambda error: self.told.emit(f"{sentence(error)}."),
            )
