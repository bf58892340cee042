"""Keep Python's search for garbage from holding the window up.

With napari and torch there are some 600,000 objects. Looking through all of them takes 0.3 to
0.9 s with Python's lock held, whatever thread does it, and napari has it done each time that a
layer is removed. Nearly all of them are what imports made, and stay to the end: they are left
out of the search, and the rest is looked through in some 20 ms.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from qtpy.QtCore import QTimer

from celltally._napari.compat import when_closed

__all__ = ["give_back", "look_through", "spare", "without_collecting"]

#: Megabytes of removed layers that are not worth a search through everything.
MOST_WAITING = 200.0
#: Milliseconds until napari and Qt have let go of what goes, too.
LET_GO = 200


@contextmanager
def without_collecting() -> Generator[None, None, None]:
    """Collect no garbage in a block of imports, and leave what they make out of the search.

    They make so many objects that Python looks through all of them again and again.
    """
    was_on, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:
            gc.freeze()
        if was_on:
            gc.enable()


class Spared:
    """Leaves what is there by now out of the search, and gives back what was large of it.

    Parameters
    ----------
    viewer
        Whose layers may be among it.

    Attributes
    ----------
    waiting
        Megabytes of layers that were removed, and are left out.
    """

    def __init__(self, viewer: Any) -> None:
        self.waiting = 0.0
        viewer.layers.events.removed.connect(self._removed)
        when_closed(viewer, gc.unfreeze)  # so that it goes as a whole
        gc.freeze()

    def _removed(self, event: Any) -> None:
        layer = event.value
        if not _is_left_out(layer):
            return  # made since: it is found anyway
        self.waiting += _megabytes(layer.data)
        if self.waiting > MOST_WAITING:
            self.waiting = 0.0
            QTimer.singleShot(LET_GO, look_through)


def spare(viewer: Any) -> None:
    """Leave what is there by now out of the search, once for each viewer."""
    inner = getattr(viewer, "__wrapped__", viewer)
    if getattr(inner.layers, "_celltally_spared", None) is None:
        inner.layers._celltally_spared = Spared(inner)


def give_back(widget: Any) -> None:
    """Look through everything soon, where a widget that goes, with all it holds, is left out."""
    if _is_left_out(widget):
        QTimer.singleShot(LET_GO, look_through)


def look_through() -> None:
    """Look through everything, once."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _is_left_out(thing: Any) -> bool:
    return not any(one is thing for one in gc.get_objects())


def _megabytes(data: Any) -> float:
    """Memory that a layer's data take; the scales of one that has several are added up."""
    parts = [data] if hasattr(data, "nbytes") else data
    return float(sum(getattr(part, "nbytes", 0) for part in parts)) / 1e6
