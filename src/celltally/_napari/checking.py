"""Goes from one place that is worth checking to the next, and back."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from celltally._napari import texts
from celltally._napari.compat import camera, fit_view
from celltally._napari.correcting import Correcting
from celltally._napari.counting import PlaneCount
from celltally._napari.jobs import Jobs, sentence
from celltally._napari.layers.place_frame import hide_place, show_place
from celltally._napari.planes import key_of
from celltally.intervals import Place, places_to_check
from celltally.types import Progress

__all__ = ["Checking"]

#: How many times as wide as the place the view is.
AROUND = 3.0


class Checking(QObject):
    """Finds places to check, and shows them.

    The ranking is made anew for every step, so that what was corrected meanwhile counts;
    places that were seen are not shown again, but by going back.

    Parameters
    ----------
    viewer
        The napari viewer.
    jobs
        Those of the widget, which end with it.
    correcting
        Knows the dots and regions.
    parent
        Ends it.
    """

    #: Where one is, in words.
    told = Signal(str)

    def __init__(self, viewer: Any, jobs: Jobs, correcting: Correcting, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._jobs, self._correcting = viewer, jobs, correcting
        self._image: Image | None = None
        self._counted: PlaneCount | None = None
        self._seen: list[Place] = []
        self._left = 0
        self._at = -1
        self._finding = False

    @property
    def busy(self) -> bool:
        """Whether places are being looked for."""
        return self._finding

    def show_image(self, image: Image | None, counted: PlaneCount | None) -> None:
        """Begin anew with another image or another count."""
        if counted is self._counted and image is self._image:
            return
        if self._image is not None:
            hide_place(self._viewer, key_of(self._image))
        self._image, self._counted = image, counted
        self._seen, self._left, self._at = [], 0, -1
        self.told.emit("")

    def step(self, by: int) -> None:
        """Go to the next place (1), or to the one before (-1)."""
        if self._counted is None or self._finding:
            return
        if by < 0 or self._at + 1 < len(self._seen):
            if 0 <= self._at + by < len(self._seen):
                self._at += by
                self._show()
            return
        self._find()

    def _find(self) -> None:
        counted, image = self._counted, self._image
        work = None if image is None else self._correcting.work(key_of(image))
        if counted is None or image is None or work is None:
            return
        dots = self._correcting.in_plane(key_of(image))
        yx, plane = dots.yx[dots.state != "removed"], counted.plane
        here = (plane.index("T"), plane.index("Z"))
        regions = [region for region in work.regions if (region.t, region.z) == here]
        self._finding = True

        def find() -> Generator[Progress, None, list[Place]]:
            yield Progress(0, 0, "Looking for places to check")
            return places_to_check(counted.prediction, yx, regions)

        def found(places: list[Place]) -> None:
            self._finding = False
            if counted is self._counted:
                self._found(places)

        def failed(error: Exception) -> None:
            self._finding = False
            self.told.emit(sentence(error))

        self._jobs.start(find, on_done=found, on_failed=failed)

    def _found(self, places: list[Place]) -> None:
        new = [one for one in places if not any(_overlap(one, other) for other in self._seen)]
        self._left = max(len(new) - 1, 0)
        if not new:
            found = "No further place" if self._seen else "No place"
            self.told.emit(f"{found} where the count is off by half a cell or more.")
            return
        self._seen.append(new[0])
        self._at = len(self._seen) - 1
        self._show()

    def _show(self) -> None:
        image, counted = self._image, self._counted
        if image is None or counted is None or image not in self._viewer.layers:
            return
        place = self._seen[self._at]
        frame = show_place(self._viewer, image, counted.plane, place.window)
        fit_view(self._viewer, [frame])
        camera(self._viewer).zoom /= AROUND
        error = texts.amount(place.error) if place.error < 1 else texts.number(place.error)
        cells = "cell" if error == "1" else "cells"
        total = len(self._seen) + self._left
        self.told.emit(f"Place {self._at + 1} of {total}, about ±{error} {cells}")


def _overlap(one: Place, other: Place) -> bool:
    a, b = one.window, other.window
    return all(a[k] < b[k + 2] and b[k] < a[k + 2] for k in (0, 1))
