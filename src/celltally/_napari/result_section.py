"""*Result*: the count, how sure it is, the dots beside it, and the way out of napari."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QPushButton,
    QSlider,
)

from celltally._napari import texts
from celltally._napari.controls import (
    ATTENTION,
    LABEL_WIDTH,
    Section,
    hint,
    spread,
    text,
    wrapped,
)
from celltally._napari.counting import PlaneCount
from celltally._napari.curve import CurveView, Point
from celltally._napari.dot_export import ask_for_density, ask_for_dots
from celltally.types import Interval

__all__ = ["ResultSection"]

NOTHING = "Nothing is counted yet."
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
STEPS = 200


class ResultSection(Section):
    """Shows one result; says by signals what the user wants done with it."""

    threshold_changed = Signal(float)
    level_changed = Signal()
    #: A time point of the curve was chosen.
    time_chosen = Signal(int)
    save_counts = Signal(str)
    save_dots = Signal(str, str)
    save_density = Signal(str)

    def __init__(self) -> None:
        super().__init__("Result")
        self.column.setSpacing(4)  # it is the longest section, and is to be seen whole
        self._counted: PlaneCount | None = None
        self._interval: Interval | None = None
        self._n_dots = 0
        self._count = 0.0
        self.empty = wrapped(NOTHING)
        self.count_label = text(name="count", style="font-size: 22px; font-weight: bold;")
        self.correction_label = wrapped(name="correction")
        self.interval_label = text(name="interval", style="font-size: 14px;")
        self.level_box = QComboBox()
        for level in LEVELS:
            self.level_box.addItem(texts.percent(level), level)
        self.level_box.setCurrentIndex(LEVELS.index(0.95))
        self.level_box.setFixedWidth(LABEL_WIDTH)
        self.level_box.setToolTip("How often the true count is to lie inside the interval.")
        self.level_box.currentIndexChanged.connect(lambda _: self.level_changed.emit())
        self.kind_label = wrapped(name="interval_kind", style=ATTENTION)
        self.curve = CurveView()
        self.curve.chosen.connect(self.time_chosen)
        self.curve_label = wrapped(name="curve_note")
        self.dots_label = wrapped(name="dots")
        self.dots_label.setVisible(True)
        self.origin_label = wrapped(name="origin")
        self.note_label = wrapped(name="result_note")
        self._build_slider()
        self._build_buttons()
        for part in (
            self.count_label,
            self.correction_label,
            spread(self.level_box, self.interval_label, stretch=1),
            self.kind_label,
            self.curve,
            self.curve_label,
            self.dots_label,
            self.slider_row,
            self.origin_label,
            self.note_label,
            self.buttons,
            self.exports,
        ):
            self.column.addWidget(part)
        self.column.insertWidget(1, self.empty)
        self._parts = (
            self.count_label,
            self.interval_label,
            self.level_box,
            self.dots_label,
            self.slider_row,
            self.buttons,
            self.exports,
        )
        self.show_curve((), 0, None)
        self.clear()

    def _build_slider(self) -> None:
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setToolTip(
            "How sure the model must be of a single dot. Moving it changes the dots, "
            "never the count."
        )
        self.slider.valueChanged.connect(self._slid)
        self.reset_button = QPushButton("Reset")
        self.reset_button.setToolTip("Back to as many dots as were counted.")
        self.reset_button.clicked.connect(self.reset_threshold)
        self.slider_row = spread(
            text("More dots"), self.slider, text("fewer"), self.reset_button, stretch=1
        )

    def _build_buttons(self) -> None:
        self.copy_button = QPushButton("Copy")
        self.copy_button.setToolTip(
            "Copy count, low, high and dots as plain digits, for a table; of a curve a line for "
            "each time point, which comes first."
        )
        self.copy_button.clicked.connect(self.copy)
        self.counts_button = QPushButton("Save count…")
        self.counts_button.setToolTip(
            "Add this result as a row to a CSV file (a new one, or one that was saved here); "
            "of a curve a row for each time point."
        )
        self.counts_button.clicked.connect(self._save_counts)
        self.dots_button = QPushButton("Export dots…")
        self.dots_button.setToolTip(
            "Save the positions of the dots as a CSV file, with what you moved, added or removed, "
            "or for Fiji, ImageJ, QuPath, cellfinder or Spotiflow."
        )
        self.dots_button.clicked.connect(self._export_dots)
        self.density_button = QPushButton("Export density…")
        self.density_button.setToolTip(
            "Save the density as a float TIFF or OME-Zarr whose sum is the model's count."
        )
        self.density_button.clicked.connect(self._export_density)
        self.buttons = spread(self.copy_button, self.counts_button)
        self.exports = spread(self.dots_button, self.density_button)

    # ---- what is shown ----

    @property
    def level(self) -> float:
        """The chosen confidence level."""
        return float(self.level_box.currentData())

    @property
    def threshold(self) -> float:
        """Least score of a dot that is shown."""
        return self._threshold

    @property
    def interval(self) -> Interval | None:
        """The interval that is shown."""
        return self._interval

    @property
    def count(self) -> float:
        """The count that is shown."""
        return self._count

    @property
    def n_dots(self) -> int:
        """The number of dots that is shown."""
        return self._n_dots

    def clear(self, words: str = NOTHING) -> None:
        """Show that nothing is counted, or say why it is not shown."""
        self.empty.setText(words)
        self._counted = self._interval = None
        self._threshold = 0.0
        self.empty.setVisible(True)
        for part in self._parts:
            part.setVisible(False)
        for label in (self.correction_label, self.kind_label, self.origin_label, self.note_label):
            hint(label, "")

    def show_counted(self, counted: PlaneCount, threshold: float | None = None) -> None:
        """Show a result; the slider starts at its default."""
        self._counted = counted
        self._threshold = counted.threshold if threshold is None else threshold
        with QSignalBlocker(self.slider):
            self.slider.setValue(self._position(self._threshold))
        self.slider_row.setEnabled(len(counted.candidates) > 0)
        prediction = counted.prediction
        self.empty.setVisible(False)
        for part in self._parts:
            part.setVisible(True)
        self.show_count(prediction.count)
        plane = counted.plane
        where = (plane.text, f"{plane.channel} channel" if plane.channel else "")
        told = (
            texts.short(prediction.image, 40),
            " · ".join(part for part in where if part),
            f"Model {prediction.model} · cells of {prediction.diameter_px:g} px",
        )
        hint(self.origin_label, "\n".join(line for line in told if line))
        hint(self.note_label, "\n".join(prediction.notes))

    def show_count(self, count: float, correction: str = "") -> None:
        """Show the count, and in words what was corrected in it."""
        self._count = count
        self.count_label.setText(texts.cells(count))
        hint(self.correction_label, correction)

    def show_interval(self, interval: Interval) -> None:
        """Show how sure the count is."""
        self._interval = interval
        self.interval_label.setText(texts.interval_range(interval))
        hint(self.kind_label, texts.interval_words(interval))

    def show_curve(
        self, points: Sequence[Point], length: int, now: int | None, note: str = ""
    ) -> None:
        """Show counts over time where there are several; see ``CurveView``.

        Parameters
        ----------
        points, length, now
            See ``CurveView.show_points``.
        note
            What is to be known of them.
        """
        self._points = tuple(points) if len(points) > 1 else ()
        self.curve.show_points(self._points, length, now)
        self.curve.setVisible(bool(self._points))
        hint(self.curve_label, note if self._points else "")

    @property
    def points(self) -> tuple[Point, ...]:
        """The counts over time that are shown; empty where there are none."""
        return self._points

    def show_dots(self, n_dots: int, note: str = "") -> None:
        """Show how many dots there are, and how that compares with the count."""
        if self._counted is None:
            return
        self._n_dots = n_dots
        self.dots_label.setText(f"{texts.dots(n_dots, self._count)} {note}".strip())

    def show_cells(self, n_cells: int, n_dots: int, note: str = "") -> None:
        """Show how many dots of a plane there are, where dots of several planes are one cell."""
        if self._counted is None:
            return
        self._n_dots = n_cells
        word = "dot" if n_dots == 1 else "dots"
        words = f"{texts.number(n_dots)} {word} in the plane in view; dots above each other are"
        self.dots_label.setText(f"{words} one cell. {note}".strip())

    # ---- threshold ----

    def _top(self) -> float:
        scores = self._counted.candidates.score if self._counted is not None else ()
        return float(np.max(scores)) * 1.001 if len(scores) else 1.0

    def _position(self, threshold: float) -> int:
        return round(STEPS * min(max(threshold / self._top(), 0.0), 1.0))

    def _slid(self, position: int) -> None:
        self._threshold = self._top() * position / STEPS
        self.threshold_changed.emit(self._threshold)

    def reset_threshold(self, *_: object) -> None:
        """Back to the default: as many dots as were counted."""
        if self._counted is None:
            return
        self._threshold = self._counted.threshold
        with QSignalBlocker(self.slider):
            self.slider.setValue(self._position(self._threshold))
        self.threshold_changed.emit(self._threshold)

    # ---- out of napari ----

    def copied(self) -> str:
        """Return what *Copy* puts on the clipboard: plain digits between tabs.

        Of a curve a line for each time point, with the time point first.
        """
        if self._counted is None or self._interval is None:
            return ""
        if self._points:
            each = (_digits(p.count, p.interval, p.n_dots) for p in self._points)
            lines = ["\t".join([str(p.t), *d]) for p, d in zip(self._points, each, strict=True)]
            return "\n".join(lines)
        return "\t".join(_digits(self._count, self._interval, self._n_dots))

    def copy(self, *_: object) -> None:
        """Put the result on the clipboard."""
        clipboard: Any = QApplication.clipboard()
        clipboard.setText(self.copied())

    def _save_counts(self, *_: object) -> None:
        if self._counted is None:
            return
        path, _ = QFileDialog.getSaveFileName(
            self, "Save counts", "counts.csv", "CSV files (*.csv)",
            options=QFileDialog.Option.DontConfirmOverwrite,  # a row is added
        )  # fmt: skip
        if path:
            self.save_counts.emit(path)

    def _export_dots(self, *_: object) -> None:
        if self._counted is not None and (found := ask_for_dots(self, self._stem())):
            self.save_dots.emit(*found)

    def _export_density(self, *_: object) -> None:
        if self._counted is not None and (path := ask_for_density(self, self._stem())):
            self.save_density.emit(path)

    def _stem(self) -> str:
        """Return what the names of files begin with."""
        image = self._counted.prediction.image if self._counted is not None else ""
        return Path(image).stem or "image"


def _digits(count: float, interval: Interval, n_dots: int) -> list[str]:
    values = (count, interval.low, interval.high)
    return [*(f"{v:.0f}" if np.isfinite(v) else "" for v in values), str(n_dots)]
