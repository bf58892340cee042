"""Notices that something has happened to our layers of dots and regions.

Whatever it was is found by comparing contents; here is only told when to compare.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer, Signal

from celltally._napari.layers import image_of, own_role

__all__ = ["Catching"]

#: Milliseconds after the last event until it is compared, and between comparisons that nothing
#: has asked for: napari does not tell of everything.
DEBOUNCE, POLL = 30, 1500
_ROLES = ("dots", "regions")
_EVENTS = ("data", "features", "set_data")


class Catching(QObject):
    """Hears of changes of our layers.

    Parameters
    ----------
    viewer
        The napari viewer.
    keys
        Of the images whose layers matter; it may change.
    """

    #: Key of an image whose layers are to be compared.
    due = Signal(str)

    def __init__(self, viewer: Any, keys: Collection[str], parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._keys = viewer, keys
        self._pending: set[str] = set()
        self._heard: list[Layer] = []
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(DEBOUNCE)
        self._soon.timeout.connect(self._tell)
        self._poll = QTimer(self)
        self._poll.setInterval(POLL)
        self._poll.timeout.connect(self._look)
        self._poll.start()
        viewer.layers.events.inserted.connect(self.hear)
        viewer.layers.events.removed.connect(self.hear)

    def disconnect_viewer(self) -> None:
        """Hear nothing more."""
        self._viewer.layers.events.inserted.disconnect(self.hear)
        self._viewer.layers.events.removed.disconnect(self.hear)
        for layer in self._heard:
            for name in _EVENTS:
                getattr(layer.events, name).disconnect(self._changed)
        self._heard = []

    def leave(self) -> None:
        """Tell nothing more."""
        self._soon.stop()
        self._poll.stop()

    def hear(self, event: Any = None) -> None:
        """Hear of the layers that are there now, of each once."""
        ours = [
            layer
            for layer in self._viewer.layers
            if own_role(layer) in _ROLES and image_of(layer) in self._keys
        ]
        for layer in self._heard:
            if not any(layer is other for other in ours):
                for name in _EVENTS:
                    getattr(layer.events, name).disconnect(self._changed)
        for layer in ours:
            if not any(layer is other for other in self._heard):
                for name in _EVENTS:
                    getattr(layer.events, name).connect(self._changed)
                self.ask(str(image_of(layer)))
        self._heard = ours

    def ask(self, key: str) -> None:
        """Have the layers of an image compared soon."""
        self._pending.add(key)
        if not self._soon.isActive():
            self._soon.start()

    @property
    def waits(self) -> bool:
        """Whether something is to be compared."""
        return bool(self._pending)

    def _changed(self, event: Any) -> None:
        key = image_of(event.source)
        if key is not None:
            self.ask(key)

    def _look(self) -> None:
        self._pending.update(self._keys)
        self._tell()

    def _tell(self) -> None:
        pending, self._pending = self._pending, set()
        for key in pending & set(self._keys):
            self.due.emit(key)
