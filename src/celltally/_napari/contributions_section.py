"""*Contributions*: what makes the density of a place, or the count of a region."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from napari.layers import Points
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QPushButton, QSizePolicy

from celltally._napari import texts
from celltally._napari.bars import Bars
from celltally._napari.clicks import KEY
from celltally._napari.controls import Section, evenly, hint, wrapped
from celltally._napari.counting import PlaneCount
from celltally._napari.explainer import Explainer
from celltally._napari.explaining import most_cells
from celltally._napari.layers import dots_layer, own_role, show_marker
from celltally._napari.layers.pointed import selected_dot, selected_polygon, window_in_view
from celltally._napari.planes import key_of

__all__ = ["ContributionsSection"]

WORDS = (
    "Click into the image: what each prototype adds to the density there. "
    f"Right-click on a dot, or press {KEY} with the mouse over it: why this dot?"
)
#: Of a place, in cell diameters.
MARKER = 0.5


class ContributionsSection(Section):
    """Shows contributions as bars.

    ``chosen`` is emitted with the number of a prototype whose bar is chosen, ``shown`` when
    there are other bars.

    Parameters
    ----------
    viewer
        Where places and shapes are.
    explainer
        Knows the similarities, or finds them out.
    """

    chosen = Signal(int)
    shown = Signal()

    def __init__(self, viewer: Any, explainer: Explainer) -> None:
        super().__init__("Contributions")
        self._viewer, self._explainer = viewer, explainer
        self._shown: PlaneCount | None = None
        self._waiting = False
        self.column.addWidget(wrapped(WORDS, "contribution_hint"))
        self.whole = QPushButton("Whole image")
        self.whole.setToolTip("What each prototype adds to the count of the whole image.")
        self.shape_button = QPushButton("In shape")
        self.shape_button.setToolTip(
            "What each prototype adds to the count in the selected box, or in the selected "
            "rectangle, ellipse or polygon of any Shapes layer."
        )
        self.dot = QPushButton("At dot")
        self.dot.setToolTip(
            f"Why the selected dot is there (in the image: right-click on it, or {KEY})."
        )
        self.whole.clicked.connect(lambda: self.show_whole())
        self.shape_button.clicked.connect(lambda: self.show_shape())
        self.dot.clicked.connect(lambda: self.show_selected_dot())
        for button in (self.whole, self.shape_button, self.dot):  # as wide as there is room
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.column.addWidget(evenly(self.whole, self.shape_button, self.dot))
        self.words = wrapped(name="contribution_words")
        self.column.addWidget(self.words)
        self.bars = Bars()
        self.bars.chosen.connect(self.chosen)
        self._place: tuple[float, float] = (0.0, 0.0)
        self._mark = QTimer(self)
        self._mark.setSingleShot(True)
        self._mark.timeout.connect(self._show_marker)
        self.bars.setVisible(False)
        self.column.addWidget(self.bars)

    def refresh(self) -> None:
        """Forget bars of a count that is no longer explained."""
        subject = self._explainer.subject
        if self._shown is not None and (subject is None or subject.counted is not self._shown):
            self._clear("")
            for layer in self._viewer.layers:
                if own_role(layer) == "marker":
                    layer.visible = False
        if self._waiting and not self._explainer.running:  # cancelled, unless bars come now
            self._clear("")

    def _clear(self, words: str, *, waiting: bool = False) -> None:
        self._shown, self._waiting = None, waiting
        self.bars.clear()
        self.bars.setVisible(False)
        hint(self.words, words)

    # ---- a place ----

    def show_place(self, yx: tuple[float, float], *, dot: bool = False) -> None:
        """Show what makes the density at a place of the image, in pixels."""
        subject, found = self._explainer.subject, self._explainer.known.found
        if subject is None:
            return
        self._place = yx
        self._mark.start(0)  # after the bars: napari takes its time with layers
        if found is None or not _holds(found.grid, yx):
            self._clear("Comparing this place with the prototypes…", waiting=True)
            window = self._window_around(yx)
            self._explainer.compare(window, lambda: self._show_found(yx, dot=dot))
            return
        self._show_found(yx, dot=dot)

    def _show_marker(self) -> None:
        subject = self._explainer.subject
        if subject is not None:
            counted = subject.counted
            size = MARKER * counted.prediction.diameter_px
            show_marker(self._viewer, subject.layer, counted.plane, self._place, size)

    def _show_found(self, yx: tuple[float, float], *, dot: bool) -> None:
        from celltally.explain.contributions import contributions_at

        subject, found = self._explainer.subject, self._explainer.known.found
        if subject is None or found is None or not _holds(found.grid, yx):
            return
        parts = contributions_at(found, yx)
        height, width = found.grid.step
        what = "This dot" if dot else "The place"
        density = texts.amount(parts.total)
        self._show(
            parts,
            f"{what} at y {yx[0]:.0f}, x {yx[1]:.0f}: {density} cells in the "
            f"{height:.3g} × {width:.3g} px there.",
        )

    def _window_around(self, yx: tuple[float, float]) -> Any:
        """Return None for a small image; else what is in view, or part of it around a place."""
        subject, prototypes = self._explainer.subject, self._explainer.known.prototypes
        if subject is None:
            return None
        return window_for(subject, len(prototypes.kinds) if prototypes is not None else 0, yx)

    # ---- a region ----

    def show_whole(self) -> None:
        """Show what makes the count of the whole image."""
        overview = self._explainer.known.overview
        if overview is None:
            self._clear("Press “Explain this count” first: it looks at the whole image.")
            return
        parts = overview.contributions
        self._show(parts, f"The whole image: {texts.amount(parts.total)} cells.")

    def show_shape(self) -> None:
        """Show what makes the count in the shape that is selected."""
        subject = self._explainer.subject
        if subject is None:
            return
        corners = selected_polygon(self._viewer.layers.selection.active, subject.layer)
        if corners is None:
            self._clear(
                "Choose a Shapes layer, such as the boxes, and select a rectangle, an ellipse or "
                "a polygon in it."
            )
            return
        found = self._explainer.known.found
        if found is None or not (_covers(found.grid, corners, subject.counted.plane.shape)):
            window = self._window_over(corners)
            if window is False:
                self._clear(
                    "This region is too large to be compared at once, or lies outside the image; "
                    "select another."
                )
                return
            self._clear("Comparing this region with the prototypes…", waiting=True)
            self._explainer.compare(window, lambda: self._show_region(corners))
            return
        self._show_region(corners)

    def _show_region(self, corners: np.ndarray) -> None:
        from celltally.explain.contributions import contributions_over

        found = self._explainer.known.found
        if found is not None:
            parts = contributions_over(found, corners)
            self._show(parts, f"The selected shape: {texts.amount(parts.total)} cells.")

    def _window_over(self, corners: np.ndarray) -> Any:
        """Return the window that holds a region, None for the whole image; False: too large."""
        subject, prototypes = self._explainer.subject, self._explainer.known.prototypes
        if subject is None or prototypes is None:
            return False
        most, grid = most_cells(len(prototypes.kinds)), subject.counted.prediction.grid
        if math.prod(grid.shape) <= most:
            return None
        shape = np.asarray(subject.counted.plane.shape)
        low, high = np.maximum(corners.min(axis=0), -0.5), np.minimum(corners.max(axis=0), shape)
        cells = np.prod((high - low) / np.asarray(grid.step) + 2)
        if not (low < high).all() or cells > most:
            return False
        return (*low.tolist(), *high.tolist())

    # ---- a dot ----

    def show_selected_dot(self) -> None:
        """Show why the dot that is selected is there."""
        subject = self._explainer.subject
        if subject is None:
            return
        active = self._viewer.layers.selection.active
        layer = active if isinstance(active, Points) else None
        own = dots_layer(self._viewer.layers, key_of(subject.layer))
        place = selected_dot(layer, subject.counted.plane) if layer is own else None
        place = place or selected_dot(own, subject.counted.plane)
        if place is None:
            hint(self.words, "Select a dot in the layer of dots first.")
            return
        self.show_place(place, dot=True)

    def _show(self, parts: Any, words: str) -> None:
        subject = self._explainer.subject
        self._shown, self._waiting = None if subject is None else subject.counted, False
        hint(self.words, words)
        self.bars.show_parts(parts)
        self.bars.setVisible(True)
        self.shown.emit()


def window_for(subject: Any, prototypes: int, yx: tuple[float, float] | None = None) -> Any:
    """Return the window to compare: None for all of a small image, else what is in view.

    Where that is too much at once, or does not hold the place ``yx``, it is a square around
    that place, or around the middle of the view.
    """
    counted = subject.counted
    grid, most = counted.prediction.grid, most_cells(prototypes)
    if math.prod(grid.shape) <= most:
        return None
    y0, x0, y1, x1 = window_in_view(subject.layer, counted.plane)
    step = np.asarray(grid.step)
    cells = np.prod(np.maximum([y1 - y0, x1 - x0], 0) / step + 2)
    inside = yx is None or (y0 <= yx[0] < y1 and x0 <= yx[1] < x1)
    if cells <= most and inside and y1 > y0 and x1 > x0:
        return (y0, x0, y1, x1)
    middle = np.array(yx if yx is not None else ((y0 + y1) / 2, (x0 + x1) / 2))
    half = (math.isqrt(most) - 2) / 2 * step
    shape = np.asarray(counted.plane.shape)
    low = np.clip(middle - half, -0.5, np.maximum(shape - 0.5 - 2 * half, -0.5))
    high = np.minimum(low + 2 * half, shape - 0.5)
    return (*low.tolist(), *high.tolist())


def _holds(grid: Any, yx: tuple[float, float]) -> bool:
    cell = np.floor(grid.to_cells(yx)[0])
    return bool((cell >= 0).all() and (cell < grid.shape).all())


def _covers(grid: Any, corners: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether similarities are there for all of a region that lies in the image."""
    inside = np.clip(corners, -0.5, np.asarray(shape) - 0.5)
    cells = grid.to_cells(inside)
    return bool((cells >= -1e-6).all() and (cells <= np.asarray(grid.shape) + 1e-6).all())
