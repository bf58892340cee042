"""Which image of the project each open layer is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image

from celltally._napari.identity import LayerImage, Origin, layer_image, origin_of
from celltally._napari.planes import key_of

if TYPE_CHECKING:
    from celltally.project.store import Store

__all__ = ["KnownImages"]


class KnownImages:
    """Tells images apart, and knows those again that the project has; keys are of ``key_of``."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._origins: dict[str, Origin] = {}
        self._closed: set[str] = set()

    def number_of(self, key: str) -> int | None:
        """Return the project's number of an image; None while that is not known."""
        return self._numbers.get(key)

    def another_project(self) -> None:
        """Forget all numbers: another project has others."""
        self._numbers.clear()

    def known_as(self, layer: Image) -> LayerImage:
        """Return what an image layer is kept as: by its name when it was first seen.

        A layer that is renamed is still the same scene of its file. Its file is looked for
        once only, for a network share may keep the window waiting.
        """
        key = key_of(layer)
        self._closed.discard(key)
        if key not in self._origins:
            self._origins[key] = origin_of(layer)
        return layer_image(layer, self._origins[key])

    def register(self, store: Store, key: str, image: LayerImage) -> int:
        """Return the project's number of an image; a new one is added. On the saving thread."""
        from celltally.project.images import register

        if key not in self._numbers:
            size = None if image.pixel_um is None else (image.pixel_um, image.pixel_um)
            _, known = self._known(store, key, image)
            self._numbers[key] = register(
                store, name=image.name, shape=image.shape, pixel_size_um=size, **known
            )
        return self._numbers[key]

    def look_up(self, store: Store, key: str, image: LayerImage) -> int | None:
        """Return the project's number of an image; None for a new one. On the saving thread."""
        number, _ = self._known(store, key, image)
        if number is not None:
            self._numbers[key] = number
        return number

    def _known(
        self, store: Store, key: str, image: LayerImage
    ) -> tuple[int | None, dict[str, Any]]:
        """Return the number of an image, None for a new one, and what tells it from others.

        What is open in another layer at the same time is an image of its own there: else two
        layers would change the same dots.
        """
        from celltally.project.images import find

        path = image.path if image.path is not None and image.path.exists() else None
        known: dict[str, Any] = {"path": path, "scene": image.scene}
        known["pixels_sha256"] = "" if path is not None else image.hash_pixels()
        copies = 1
        while True:
            number = find(store, **known)
            others = [n for of, n in self._numbers.items() if of != key and of not in self._closed]
            if number not in others:
                return number, known
            copies += 1
            known["scene"] = f"{image.scene or ''} (copy {copies})".strip()

    def forget(self, key: str) -> None:
        """Know that an image was closed: opened again, it is no copy beside it.

        Its number stays, for what is still in the line of what is saved.
        """
        self._closed.add(key)
