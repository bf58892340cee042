"""Joins what a Tally widget shows with the project: keeps it there, and brings it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from celltally._napari.correcting import Correcting
from celltally._napari.counting import PlaneCount
from celltally._napari.export import image_name
from celltally._napari.keeper import Keeper, Restored
from celltally._napari.planes import Plane, key_of
from celltally._napari.results import NOT_KEPT, Results
from celltally._napari.saving import Saving

__all__ = ["Keeping"]


class Keeping(QObject):
    """Keeps counts, thresholds and edits of images, and restores them.

    Parameters
    ----------
    viewer
        The napari viewer.
    saving
        That of the window.
    results, correcting
        Those of the widget, which are filled with what is restored.
    parent
        Ends it.
    """

    #: Key of an image whose work is there; and one whose count is loaded.
    restored = Signal(str)
    loaded = Signal(str)

    def __init__(
        self,
        viewer: Any,
        saving: Saving,
        results: Results,
        correcting: Correcting,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._saving = viewer, saving
        self._results, self._correcting = results, correcting
        self._known: set[str] = set()
        self._loading: set[int] = set()
        correcting.edited.connect(self._edited)

    def look_up(self, layer: Image, plane: Plane, diameter_px: float | None) -> None:
        """Bring an image back that the project knows; each is looked up once.

        Parameters
        ----------
        plane
            The one in view.
        diameter_px
            Cell diameter, for an image that was corrected and never counted.
        """
        key = key_of(layer)
        if key in self._known:
            return
        self._forget_closed()
        self._known.add(key)
        self._look_up(layer, plane, diameter_px)

    def _look_up(
        self, layer: Image, plane: Plane, diameter_px: float | None, *, again: bool = False
    ) -> None:
        """Look an image up; once more where it was counted meanwhile."""
        key = key_of(layer)
        brought = self._correcting.work(key) is not None and not again  # by its layers

        def restored(found: Restored | None) -> None:
            if found is None or key not in self._known:
                return
            self._results.set_stored(key, found.counts)
            diameters = [count.diameter_px for count in found.counts]
            if brought:  # all of it is there, and what was done since
                self.restored.emit(key)
                return
            self._correcting.catch(key)
            work, here = found.work, self._correcting.work(key)
            if here is not None and self._results.counted(key) and not again:
                self._look_up(layer, plane, diameter_px, again=True)  # with what was kept since
                return
            known = {edit.id for edit in work.edits}
            for edit in () if here is None else here.edits:  # made while it was looked up
                if edit.id not in known:
                    work.do(edit)
            if len(work.dots) or work.regions or found.counts:
                size = (diameters or [diameter_px or 0])[-1]
                self._correcting.set_work(key, work, plane, size or DIAMETER)
            self.restored.emit(key)

        self._saving.restore(layer, restored)

    def load(self, layer: Image, plane: Plane) -> bool:
        """Load the count of a plane that the project keeps; whether there is one."""
        key = key_of(layer)
        count = self._results.stored(key, plane)
        if count is None or count.id == NOT_KEPT:
            return False
        if count.id in self._loading:
            return True
        self._loading.add(count.id)

        def loaded(found: Any) -> None:
            self._loading.discard(count.id)
            now = self._results.stored(key, plane)
            if found is None or now is None or now.id != count.id:
                return  # it was counted again meanwhile
            prediction, candidates = found
            counted = PlaneCount(
                replace(prediction, image=image_name(layer)),
                replace(plane, channel=count.channel or None, z_method=count.z_method),
                candidates,
                count.default_threshold,
            )
            self._results.put(key, counted, now.threshold, kept=True)
            self.loaded.emit(key)

        self._saving.load(count, loaded)
        return True

    @property
    def read_only(self) -> bool:
        """Whether nothing is kept."""
        return self._saving.read_only

    def keeper(self, layer: Image) -> Keeper | None:
        """Return what keeps counts of an image, from any thread; None in a read-only project."""
        self._known.add(key_of(layer))
        return None if self.read_only else self._saving.keeper(layer)

    def keep_threshold(self, layer: Image, plane: Plane, threshold: float) -> None:
        """Keep where the threshold of a plane stands."""
        self._saving.keep_threshold(layer, plane, threshold)

    def forget(self, key: str) -> None:
        """Forget an image that was closed."""
        self._known.discard(key)
        self._saving.forget(key)

    def _forget_closed(self) -> None:
        """Forget images that were closed, those that were only looked at as well."""
        for key in self._known - {key_of(layer) for layer in self._viewer.layers}:
            self.forget(key)

    def forget_all(self) -> None:
        """Forget every image: another project is open."""
        self._known.clear()

    def _edited(self, key: str, edit: Any) -> None:
        for layer in self._viewer.layers:
            if key_of(layer) == key:
                self._saving.keep_edit(layer, edit)


#: Cell diameter in pixels where nobody knows one: it sets the size of drawn dots.
DIAMETER = 20.0
