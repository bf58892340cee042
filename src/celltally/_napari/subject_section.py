"""*Explained count*: which image's, by which model; or what to do where nothing is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from napari.layers import Image, Layer
from napari.utils.events import EventEmitter
from qtpy.QtCore import QTimer, Signal

from celltally._napari import texts
from celltally._napari.controls import Section, hint, wrapped
from celltally._napari.counting import PlaneCount
from celltally._napari.layers import density_layer, image_of, kept, own_role
from celltally._napari.planes import key_of

__all__ = ["Subject", "SubjectSection"]

#: What is explained of a count of several z planes.
_OF_SEVERAL_PLANES = {
    "projection": "The projection is explained; boxes and places are drawn in the z plane that "
    "was in view when it was counted.",
    "merged": "The count of this plane is explained; what was merged over z has no density, and so "
    "no explanation.",
}
#: Letters of an image's name that a sentence has room for.
NAME_LENGTH = 40


@dataclass(frozen=True, eq=False)
class Subject:
    """What is explained.

    Attributes
    ----------
    layer
        The image.
    counted
        Its count.
    """

    layer: Image
    counted: PlaneCount


class SubjectSection(Section):
    """Follows the viewer to the image that is looked at, and says what is explained.

    ``changed`` is emitted for another image, another count, and whatever becomes of layers.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__("Explained count")
        self._viewer = viewer
        self._key: str | None = None
        self._gone = False
        # Weakly: what is no layer any more must not be kept.
        self._heard: WeakSet[Layer] = WeakSet()
        self.subject: Subject | None = None
        self.words = wrapped(name="subject")
        self.column.addWidget(self.words)
        # Later, for a layer of ours is told what it shows only after it is there.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.refresh)
        viewer.layers.events.inserted.connect(self._changed)
        viewer.layers.events.removed.connect(self._changed)
        viewer.layers.selection.events.active.connect(self._changed)
        self.refresh()

    def disconnect_viewer(self) -> None:
        """Hear nothing more of the viewer and its layers."""
        self._gone = True  # nor of what is due; the timer may be deleted already
        self._viewer.layers.events.inserted.disconnect(self._changed)
        self._viewer.layers.events.removed.disconnect(self._changed)
        self._viewer.layers.selection.events.active.disconnect(self._changed)
        self._hear(WeakSet())

    def _changed(self, event: Any = None) -> None:
        self._soon.start(0)

    def _hear(self, layers: WeakSet[Layer]) -> None:
        """Hear of these layers, and no more of others, such as those that were removed."""
        for layer in self._heard - layers:
            for emitter in _emitters(layer):
                emitter.disconnect(self._changed)
        for layer in layers - self._heard:
            for emitter in _emitters(layer):
                emitter.connect(self._changed)
        self._heard = layers

    def refresh(self) -> None:
        """Look anew at what there is to explain."""
        if self._gone:
            return
        self._hear(WeakSet(self._viewer.layers))
        image = self._image()
        self._key = None if image is None else key_of(image)
        counted = None if image is None else self._counted(image)
        self.subject = None if image is None or counted is None else Subject(image, counted)
        hint(self.words, _words(image, counted))
        self.changed.emit()

    def _image(self) -> Image | None:
        """Image that is looked at: the active layer's, else the last one, else one that counts."""
        images = {
            key_of(layer): layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and own_role(layer) is None
        }
        active = self._viewer.layers.selection.active
        keys = [] if active is None else [image_of(active), key_of(active)]
        keys.append(self._key)
        keys.extend(key for key, image in reversed(images.items()) if self._counted(image))
        keys.extend(reversed(images))
        return next((images[key] for key in keys if key in images), None)

    def _counted(self, image: Image) -> PlaneCount | None:
        density = density_layer(self._viewer.layers, key_of(image))
        return None if density is None else kept(density, "counted")


def _emitters(layer: Layer) -> list[EventEmitter]:
    """Give what tells of changes that matter here."""
    names = ["name"]
    if isinstance(layer, Image):  # a density that is counted anew keeps its layer
        names += ["data", "visible"]
    return [getattr(layer.events, name) for name in names]


def _words(image: Image | None, counted: PlaneCount | None) -> str:
    """Say what is explained, or what to do."""
    if image is None:
        return "Open an image and count it with the widget Tally; its count is explained here."
    name = texts.short(str(image.name), NAME_LENGTH)
    if counted is None:
        return (
            f"“{name}” is not counted yet: press Count in the widget Tally "
            "(Plugins → Cell Tally → Tally)."
        )
    prediction, plane = counted.prediction, counted.plane.text
    where = f"“{name}”, {plane}" if plane else f"“{name}”"
    words = (
        f"{texts.cells(prediction.count)} in {where}, counted by the model “{prediction.model}”."
    )
    return f"{words} {_OF_SEVERAL_PLANES.get(counted.plane.z_method, '')}".rstrip()
