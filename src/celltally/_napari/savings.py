"""What saves for each window: one for all widgets of a viewer, until the last is gone."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject

from celltally._napari.saving import Saving

__all__ = ["close_all", "saving_of"]

_savings: dict[int, tuple[Saving, set[int]]] = {}


def saving_of(viewer: Any, widget: QObject) -> Saving:
    """Return what saves for a window, on behalf of one of its widgets."""
    key = id(getattr(viewer, "__wrapped__", viewer))
    if key not in _savings:
        _savings[key] = Saving(), set()
    saving, users = _savings[key]
    user = id(widget)
    users.add(user)

    def left(*_: object) -> None:
        users.discard(user)
        if not users and _savings.get(key, (None,))[0] is saving:
            del _savings[key]
            saving.close()

    widget.destroyed.connect(left)
    return saving


def close_all() -> None:
    """Save what is left in every window, and let go of the files."""
    while _savings:
        _, (saving, _) = _savings.popitem()
        saving.close()
