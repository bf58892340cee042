"""The dots of corrected images in their layers: those in view, where they are many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from celltally._napari.compat import camera_events
from celltally._napari.layers import MOST_DOTS, dots_layer, keep, kept, show_dots, update_dots
from celltally._napari.layers.place import lead_in_view
from celltally._napari.layers.pointed import window_in_view
from celltally._napari.planes import Plane, key_of
from celltally.project.edits import Change, Work, apply_to_dots
from celltally.types import Dots, Region

__all__ = ["ShownDots", "Subject"]

#: More changes than this are those of a count, maybe of planes that are not in view.
MANY_CHANGES = 200
#: Milliseconds after the last movement of the view until the dots follow.
FOLLOW_AFTER = 120


@dataclass
class Subject:
    """An image that is corrected.

    Attributes
    ----------
    work
        Its dots and regions.
    plane
        The one that was counted last; its axes are those of the image.
    diameter_px
        Cell diameter.
    regions
        By their ids, as the layer gave them back when it was last compared.
    stale
        Whether the layers are behind, because the user had them in hand.
    """

    work: Work
    plane: Plane
    diameter_px: float
    regions: dict[str, Region] = field(default_factory=dict)
    stale: bool = False

    @property
    def many(self) -> bool:
        """Whether only a part of the dots is shown."""
        return len(self.work.dots) > MOST_DOTS


class ShownDots(QObject):
    """Keeps the layers of dots in step with the dots and the view.

    Parameters
    ----------
    viewer
        The napari viewer.
    subjects
        By the key of the image; not changed here.
    classes
        Names in the order of their colours.
    settle
        Called with the key of an image before its layer is written anew for another view;
        False keeps it from being written now.
    """

    #: Key of an image of which other dots are shown, because the view has moved.
    moved = Signal(str)

    def __init__(
        self,
        viewer: Any,
        subjects: Mapping[str, Subject],
        classes: Callable[[], list[str]],
        settle: Callable[[str], bool],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._subjects, self._classes = viewer, subjects, classes
        self._settle = settle
        self._follow = QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.setInterval(FOLLOW_AFTER)
        self._follow.timeout.connect(self._follow_view)
        for emitter in self._emitters():
            emitter.connect(self._view_moved)

    def _emitters(self) -> tuple[Any, ...]:
        camera = camera_events(self._viewer)
        return camera.center, camera.zoom, self._viewer.dims.events.current_step

    def disconnect_viewer(self) -> None:
        """Hear nothing more of the view."""
        for emitter in self._emitters():
            emitter.disconnect(self._view_moved)

    def leave(self) -> None:
        """Do nothing more."""
        self._follow.stop()

    def image(self, key: str) -> Image | None:
        """Return the layer of an image; None where it was closed."""
        return next((layer for layer in self._viewer.layers if key_of(layer) == key), None)

    def put(self, key: str) -> None:
        """Write the dots of an image into their layer: those in view, if they are many."""
        image = self.image(key)
        if image is not None:
            self._write(key, image, self._in_view(self._subjects[key], image))

    def update(self, key: str, changes: Iterable[Change]) -> None:
        """Write dots that have changed."""
        layer, image = dots_layer(self._viewer.layers, key), self.image(key)
        if image is None:
            return
        if layer is None:
            self.put(key)
            return
        changes, written = tuple(changes), kept(layer, "written")
        if self._subjects[key].many and len(changes) > MANY_CHANGES:
            dots = self._in_view(self._subjects[key], image)
            touched = np.isin(written.id, [change.id for change in changes])
            if touched.any() or not np.array_equal(dots.id, written.id):
                self._write(key, image, dots)
            return
        dots = apply_to_dots(written, changes)
        if update_dots(layer, dots, classes=self._classes()):
            return
        if self._subjects[key].many:  # what was counted elsewhere is not put in
            self.put(key)
        else:
            self._write(key, image, dots)

    def rewrite(self, key: str, now: Dots, changes: Sequence[Change]) -> None:
        """Write what the user has changed in the layer, as the work has it.

        Parameters
        ----------
        key
            Of the image.
        now
            What the layer holds, and then what is gone from it, see ``layers.dots_of``.
        changes
            What that was taken for.
        """
        layer, image = dots_layer(self._viewer.layers, key), self.image(key)
        if layer is None or image is None:
            return
        dots, n = apply_to_dots(now, changes), len(layer.data)
        ids = {change.id for change in changes} | set(now.id[n:].tolist())
        in_order = np.array_equal(np.asarray(layer.data)[:, -2:], now.yx[:n])
        if not in_order or not update_dots(
            layer, dots, classes=self._classes(), before=now[:n], anew=ids
        ):
            self._write(key, image, dots)

    def _write(self, key: str, image: Image, dots: Dots) -> None:
        subject = self._subjects[key]
        layer = show_dots(
            self._viewer, image, subject.plane, dots, subject.diameter_px, classes=self._classes()
        )
        keep(layer, work=subject.work, plane=subject.plane, diameter_px=subject.diameter_px)

    def n_shown(self, key: str) -> int:
        """Return how many dots are in the layer that are not removed."""
        layer = dots_layer(self._viewer.layers, key)
        if layer is None:
            return 0
        return int(np.count_nonzero(kept(layer, "written").state != "removed"))

    def _in_view(self, subject: Subject, image: Image) -> Dots:
        dots = subject.work.dots
        if not subject.many:
            return dots
        lead = dict(zip(subject.plane.axes, lead_in_view(image, self._viewer.dims), strict=True))
        there = np.ones(len(dots), dtype=bool)
        for letter, column in (("T", dots.t), ("Z", dots.z)):
            if letter in lead:
                there &= column == lead[letter]
        if np.count_nonzero(there) > MOST_DOTS:
            there &= _in_window(dots, window_in_view(image, subject.plane))
        return dots[there] if np.count_nonzero(there) <= MOST_DOTS else dots[:0]

    def _view_moved(self, event: Any = None) -> None:
        if any(subject.many for subject in self._subjects.values()):
            self._follow.start()

    def _follow_view(self) -> None:
        for key, subject in list(self._subjects.items()):
            layer, image = dots_layer(self._viewer.layers, key), self.image(key)
            if not subject.many or layer is None or image is None:
                continue
            if not self._settle(key):  # the user is in the middle of something
                self._follow.start()
                continue
            dots = self._in_view(subject, image)
            if not np.array_equal(dots.id, kept(layer, "written").id):
                self._write(key, image, dots)
                self.moved.emit(key)


def _in_window(dots: Dots, window: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    low, high = np.array(window[:2]), np.array(window[2:])
    return np.asarray(((dots.yx >= low) & (dots.yx <= high)).all(axis=1))
