"""*Boxes*: where in the image it is most like the chosen prototypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, QTimer
from qtpy.QtWidgets import QComboBox

from celltally._napari.compat import camera, camera_events
from celltally._napari.controls import Section, wrapped
from celltally._napari.counting import PlaneCount
from celltally._napari.explainer import Explainer
from celltally._napari.layers import (
    add_boxes,
    boxes_layer,
    clear_boxes,
    keep,
    kept,
    label_boxes,
)
from celltally._napari.layers.pointed import window_in_view
from celltally._napari.planes import key_of
from celltally._napari.texts import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celltally.explain.boxes import Box

__all__ = ["BoxesSection"]

#: Boxes that are drawn: napari takes a millisecond or two for each, and more hide the image.
MOST_BOXES = 150
#: Boxes that are drawn at once: the window lives in between.
CHUNK = 12
#: Width of a line in cell diameters.
LINE = 0.06
#: Height and width of a label on the canvas, in its pixels.
LABEL = (16.0, 84.0)
#: Milliseconds after the last movement of the view until the boxes follow.
FOLLOW_AFTER = 300
NONE, CHOSEN, CELL, BACKGROUND = "none", "chosen", "cell", "background"
CHOICES = (
    ("none", NONE),
    ("the chosen prototypes", CHOSEN),
    ("all cell prototypes", CELL),
    ("all background prototypes", BACKGROUND),
)


class BoxesSection(Section):
    """Draws boxes as a layer, and says how many there are.

    Parameters
    ----------
    viewer
        Where they are drawn.
    explainer
        Knows the boxes.
    """

    def __init__(self, viewer: Any, explainer: Explainer) -> None:
        super().__init__("Boxes")
        self._viewer, self._explainer = viewer, explainer
        self._numbers: tuple[int, ...] = ()
        self._waiting: list[Box] = []
        self._drawn: list[Box] = []
        self._for: tuple[PlaneCount, tuple[Box, ...]] | None = None
        self.box = QComboBox()
        self.box.setToolTip(
            "A box holds a place that is more like a prototype than 99 % of the image, and more "
            "than a quarter of what is possible. It is written beside it which prototype it is "
            "(p3) and how similar (4.2)."
        )
        self.box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.box.setMinimumContentsLength(12)
        for words, value in CHOICES:
            self.box.addItem(words, value)
        self.box.currentIndexChanged.connect(lambda: self.refresh())
        self.add_row("Boxes of", self.box)
        self.words = wrapped(name="boxes_words")
        self.column.addWidget(self.words)
        self._step = QTimer(self)
        self._step.setSingleShot(True)
        self._step.timeout.connect(self._draw_some)
        self._follow = QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.setInterval(FOLLOW_AFTER)
        self._follow.timeout.connect(self._follow_view)
        events = camera_events(viewer)
        events.center.connect(self._moved)
        events.zoom.connect(self._moved)

    def disconnect_viewer(self) -> None:
        """Hear nothing more of the viewer."""
        events = camera_events(self._viewer)
        events.center.disconnect(self._moved)
        events.zoom.disconnect(self._moved)

    def show_numbers(self, numbers: tuple[int, ...]) -> None:
        """Draw the boxes of other prototypes."""
        self._numbers = numbers
        if numbers and self.box.currentData() != CHOSEN:
            with QSignalBlocker(self.box):
                self.box.setCurrentIndex(self.box.findData(CHOSEN))
        self.refresh()

    def refresh(self) -> None:
        """Draw what is to be seen by now, where it is not drawn yet."""
        subject, overview = self._explainer.subject, self._explainer.known.overview
        choice = self.box.currentData()
        if subject is None or overview is None:
            self._stop()
            self._put_aside()
            self._say("" if choice == NONE else "Press “Explain this count” to find the boxes.")
            return
        boxes = self._asked(overview.boxes)
        chosen = self._in_view(boxes)
        asked = (subject.counted, tuple(chosen))
        layer = boxes_layer(self._viewer.layers, key_of(subject.layer))
        self._say(self._words(boxes, len(chosen), bool(overview.boxes)))
        gone = layer is None and self._for is not None and bool(chosen) and not self._waiting
        if (self._for == asked and not gone) or (self._for is None and not chosen):
            return
        self._stop()
        self._for = asked
        if chosen or layer is not None:
            layer = clear_boxes(self._viewer, subject.layer)
            keep(layer, counted=subject.counted)
            layer.visible = not chosen
            self._waiting, self._drawn = list(chosen), []
            self._draw_some()

    def _put_aside(self) -> None:
        """Hide the boxes of an earlier count."""
        subject = self._explainer.subject
        if subject is not None:
            layer = boxes_layer(self._viewer.layers, key_of(subject.layer))
            if layer is not None and kept(layer, "counted") is not subject.counted:
                layer.visible = False

    def _asked(self, boxes: Sequence[Box]) -> list[Box]:
        """Boxes of the prototypes that are asked for, the most similar first."""
        choice = self.box.currentData()
        if choice == CHOSEN:
            return [box for box in boxes if box.prototype in self._numbers]
        return [box for box in boxes if box.kind == choice]

    def _in_view(self, boxes: list[Box]) -> list[Box]:
        """Return all boxes, or of very many the most similar of those in view."""
        subject = self._explainer.subject
        if len(boxes) <= MOST_BOXES or subject is None:
            return boxes
        y0, x0, y1, x1 = window_in_view(subject.layer, subject.counted.plane)
        seen = [b for b in boxes if b.y1 > y0 and b.y0 < y1 and b.x1 > x0 and b.x0 < x1]
        return seen[:MOST_BOXES]

    def _draw_some(self) -> None:
        subject = self._explainer.subject
        layer = None
        if subject is not None:
            layer = boxes_layer(self._viewer.layers, key_of(subject.layer))
        if layer is None or subject is None:  # closed by now
            self._waiting = []
            return
        plane, diameter = subject.counted.plane, subject.counted.prediction.diameter_px
        some, self._waiting = self._waiting[:CHUNK], self._waiting[CHUNK:]
        add_boxes(layer, plane, some, max(LINE * diameter, 0.5))
        self._drawn += some
        if self._waiting:
            self._step.start(0)
        else:
            self._label()
            QTimer.singleShot(0, self._appear)

    def _appear(self) -> None:
        """Show the layer; not before all is in it, for every chunk would be painted."""
        subject = self._explainer.subject
        layer = None
        if subject is not None:
            layer = boxes_layer(self._viewer.layers, key_of(subject.layer))
        if layer is not None and kept(layer, "counted") is subject.counted:
            layer.visible = True

    def _label(self) -> None:
        """Write beside boxes what they are, where there is room at this zoom."""
        subject = self._explainer.subject
        layer = None
        if subject is not None:
            layer = boxes_layer(self._viewer.layers, key_of(subject.layer))
        if (
            layer is None
            or subject is None
            or not self._drawn
            or len(layer.data) != len(self._drawn)
        ):
            return  # closed, or the user has drawn in it
        scale = np.abs(np.asarray(subject.layer.scale, dtype=float)[-2:])
        room = np.asarray(LABEL) / (camera(self._viewer).zoom * scale)
        window = window_in_view(subject.layer, subject.counted.plane)
        label_boxes(layer, self._drawn, (float(room[0]), float(room[1])), window)

    def _stop(self) -> None:
        self._step.stop()
        self._waiting, self._for = [], None

    def _moved(self, event: Any = None) -> None:
        if self._drawn:
            self._follow.start()

    def _follow_view(self) -> None:
        """Draw other boxes where they are very many, and label them anew."""
        if self.isVisible() and self._explainer.known.overview is not None:
            before = self._for
            self.refresh()
            if self._for is before and not self._waiting:
                self._label()

    def _say(self, words: str) -> None:
        self.words.setText(words)
        self.words.setVisible(bool(words))

    def _words(self, boxes: list[Box], drawn: int, some: bool) -> str:
        choice = self.box.currentData()
        if choice == NONE:
            return ""
        if not some:
            return "There are no boxes: nothing in this image is like any prototype."
        if choice == CHOSEN and not self._numbers:
            return "Choose a prototype above."
        if not boxes:
            these = "this prototype" if len(self._numbers) == 1 else "these prototypes"
            return f"There are no boxes: nothing in this image is much like {these}."
        boxes_are = "1 box" if len(boxes) == 1 else f"{number(len(boxes))} boxes"
        if drawn == len(boxes):
            return f"{boxes_are}. A label says which prototype, and how similar."
        return (
            f"{boxes_are}; of those in view the {number(drawn)} most similar are drawn: zoom in "
            "for others."
        )
