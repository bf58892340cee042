"""The dots of counted images in their layers: those in view, where they are many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Points
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, QTimer, Signal

from celltally._napari.compat import camera_events
from celltally._napari.counting import PlaneCount
from celltally._napari.layers import (
    MOST_DOTS,
    cover_of,
    density_layer,
    dots_layer,
    dots_of,
    is_edited,
    show_dots,
)
from celltally._napari.planes import key_of
from celltally._napari.texts import number
from celltally.types import Dots

__all__ = ["Result", "ShownDots"]

#: Milliseconds after the last movement of the view until the dots follow.
FOLLOW_AFTER = 120


@dataclass
class Result:
    """The count of one image, and where its threshold stands."""

    counted: PlaneCount
    threshold: float

    @property
    def n_dots(self) -> int:
        """Number of dots above the threshold, without making them."""
        return int(np.count_nonzero(self.counted.candidates.score >= np.float32(self.threshold)))


class ShownDots(QObject):
    """Keeps the layers of dots in step with results and view, and hears of edits.

    ``changed`` is emitted with the key of an image whose dots were edited, or are others
    because the view has moved.

    Parameters
    ----------
    viewer
        The napari viewer.
    results
        By the key of the image; not changed here.
    """

    changed = Signal(str)

    def __init__(self, viewer: Any, results: Mapping[str, Result], parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._results = viewer, results
        self._follow = QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.setInterval(FOLLOW_AFTER)
        self._follow.timeout.connect(self._follow_view)
        camera = camera_events(viewer)
        camera.center.connect(self._view_moved)
        camera.zoom.connect(self._view_moved)

    def disconnect_viewer(self) -> None:
        """Hear nothing more of the view."""
        camera = camera_events(self._viewer)
        camera.center.disconnect(self._view_moved)
        camera.zoom.disconnect(self._view_moved)

    def leave(self) -> None:
        """Hear nothing more of the dots, and do nothing more."""
        self._follow.stop()
        for layer in self._viewer.layers:
            if isinstance(layer, Points):
                layer.events.data.disconnect(self._edited)

    def put(self, key: str) -> None:
        """Put the dots above the threshold into their layer: those in view, if they are many."""
        layer = next((one for one in self._viewer.layers if key_of(one) == key), None)
        result = self._results.get(key)
        if layer is None or result is None:
            return
        shown, complete = self._in_view(key, result.counted.dots(result.threshold))
        before = dots_layer(self._viewer.layers, key)
        if before is not None and is_edited(before):
            show_info(f"The dots that you edited are kept in the layer “{before.name}”.")
        counted = result.counted
        points = show_dots(
            self._viewer, layer, counted.plane, shown, counted.prediction.diameter_px,
            complete=complete,
        )  # fmt: skip
        self._hear(points)

    def watch(self, key: str) -> None:
        """Hear of every edit of the dots of an image, if they are shown."""
        points = dots_layer(self._viewer.layers, key)
        if points is not None:
            self._hear(points)

    def dots(self, key: str) -> Dots:
        """All dots of a counted image, with what a human changed."""
        result, layer = self._results[key], dots_layer(self._viewer.layers, key)
        dots = result.counted.dots(result.threshold)
        return dots if layer is None or len(dots) > MOST_DOTS else dots_of(layer)

    def told(self, key: str) -> tuple[int, str]:
        """Give the number of dots of a counted image, and what to say beside it."""
        found, layer = self._results[key].n_dots, dots_layer(self._viewer.layers, key)
        shown = 0 if layer is None else len(layer.data)
        if found <= MOST_DOTS:
            return (found if layer is None else shown), ""
        return found, f"The {number(shown)} in view are shown" if shown else "Zoom in to see them"

    def _in_view(self, key: str, dots: Dots) -> tuple[Dots, bool]:
        """Dots to show, and whether these are all."""
        if len(dots) <= MOST_DOTS:
            return dots, True
        density = density_layer(self._viewer.layers, key)
        if density is None:
            return dots[:0], False
        low, high = cover_of(density, self._results[key].counted.prediction.grid)
        seen = dots[np.all((dots.yx >= low) & (dots.yx <= high), axis=1)]
        return (seen if len(seen) <= MOST_DOTS else seen[:0]), False

    def _hear(self, points: Points) -> None:
        """Hear, once, of every edit."""
        points.events.data.disconnect(self._edited)
        points.events.data.connect(self._edited)

    def _edited(self, event: Any) -> None:
        for key in self._results:
            if dots_layer(self._viewer.layers, key) is event.source:
                self.changed.emit(key)

    def _view_moved(self, event: Any = None) -> None:
        self._follow.start()

    def _follow_view(self) -> None:
        for key, result in list(self._results.items()):
            if result.n_dots > MOST_DOTS and dots_layer(self._viewer.layers, key) is not None:
                self.put(key)
                self.changed.emit(key)
