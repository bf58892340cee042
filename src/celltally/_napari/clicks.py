"""Clicks into the image, and the key that asks about the place under the mouse."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from celltally._napari.layers import kept, own_role

__all__ = ["CLICK", "KEY", "LEFT", "REACH", "RIGHT", "Clicks"]

#: Asks "why this dot?" of the dot under the mouse.
KEY = "Shift-W"
#: Buttons of the mouse, as napari numbers them.
LEFT, RIGHT = 1, 2
#: Pixels of the screen: what is moved less is a click, and a dot is hit this far from its middle.
CLICK, REACH = 4, 7


class Clicks:
    """Tells of clicks that are no drags: what is dragged moves or zooms the view.

    Parameters
    ----------
    viewer
        Whose canvas.
    left, right, key
        Called with the position of a click of that button, or of the mouse when the key is
        pressed, in world coordinates.
    """

    def __init__(
        self,
        viewer: Any,
        *,
        left: Callable[[Sequence[float]], None],
        right: Callable[[Sequence[float]], None],
        key: Callable[[Sequence[float]], None],
    ) -> None:
        self._viewer = viewer

        def pressed(_: Any, event: Any) -> Generator[None, None, None]:
            button, position, drag = event.button, tuple(event.position), False
            yield
            while event.type == "mouse_move":
                drag = True
                yield
            if not drag and not event.modifiers and not _correcting(viewer):
                if button == LEFT:
                    left(position)
                elif button == RIGHT:
                    right(position)

        def asked(_: Any) -> None:
            key(tuple(viewer.cursor.position))

        self._pressed, self._asked = pressed, asked
        viewer.mouse_drag_callbacks.append(pressed)
        viewer.bind_key(KEY, asked, overwrite=True)

    def disconnect_viewer(self) -> None:
        """Hear nothing more of the viewer."""
        if self._pressed in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._pressed)
        self._viewer.bind_key(KEY, None, overwrite=True)


def _correcting(viewer: Any) -> bool:
    """Whether clicks set and remove dots now."""
    layer = viewer.layers.selection.active
    if layer is None or own_role(layer) == "audit dots":
        return layer is not None
    return own_role(layer) == "dots" and bool(kept(layer, "tool"))
