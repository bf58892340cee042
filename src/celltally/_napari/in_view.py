"""What is looked at: the chosen image, its plane in view, and what was counted there."""

from __future__ import annotations

from typing import Any

from napari.layers import Image

from celltally._napari.counting import PlaneCount
from celltally._napari.image_section import ImageSection
from celltally._napari.planes import Plane, key_of
from celltally._napari.results import Result, Results
from celltally.errors import UserError

__all__ = ["InView"]


class InView:
    """Gives what is looked at.

    Parameters
    ----------
    viewer
        The napari viewer.
    image, results
        Those of the widget.
    """

    def __init__(self, viewer: Any, image: ImageSection, results: Results) -> None:
        self._viewer, self._image, self._results = viewer, image, results
        self._before: tuple[str | None, tuple[int, ...]] | None = None

    def layer_of(self, key: str) -> Image | None:
        """Return the layer of a key; None where it was closed."""
        return next((layer for layer in self._viewer.layers if key_of(layer) == key), None)

    @property
    def layer(self) -> Image | None:
        """The chosen image."""
        return self._image.layer

    @property
    def key(self) -> str | None:
        """Its key."""
        layer = self.layer
        return None if layer is None else key_of(layer)

    @property
    def plane(self) -> Plane | None:
        """The plane in view; None where there is none."""
        try:
            return self._image.plane()
        except UserError:
            return None

    @property
    def result(self) -> Result | None:
        """The result of the plane in view; None where it was not counted, or not loaded."""
        return self._results.at(self.key, self.plane)

    def counted(self) -> tuple[str, PlaneCount] | None:
        """Return the key of the image and the count of its plane in view."""
        key, result = self.key, self.result
        return None if key is None or result is None else (key, result.counted)

    def moved(self) -> bool:
        """Whether another plane is in view than when this was asked last."""
        plane, before = self.plane, self._before
        self._before = None if plane is None else (self.key, plane.position)
        return self._before != before
