"""Sets and removes dots in a region that is counted blind, with mouse and keys."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from napari.layers import Points

from celltally._napari.clicks import CLICK, LEFT, REACH, RIGHT
from celltally._napari.compat import camera

__all__ = ["take_in_hand", "undo_dot"]


def take_in_hand(viewer: Any, layer: Points) -> None:
    """Have clicks set dots and right clicks remove them, where napari's mode sets one by either.

    Delete and Backspace remove the dot under the mouse, Ctrl-Z the last one.
    """
    layer.mode = "pan_zoom"
    before = list(layer.mouse_drag_callbacks)
    layer.mode = "add"  # in which neither a double click nor Alt zooms
    for callback in list(layer.mouse_drag_callbacks):
        if callback not in before:
            layer.mouse_drag_callbacks.remove(callback)

    def pressed(layer: Points, event: Any) -> Generator[None, None, None]:
        at, button, pixel = tuple(event.position), event.button, np.array(event.pos)
        modifiers, moved = tuple(event.modifiers), False
        yield
        while event.type == "mouse_move":
            moved = moved or float(np.hypot(*(np.array(event.pos) - pixel))) > CLICK
            yield
        if moved or modifiers:
            return
        if button == LEFT:
            layer.add(np.asarray(layer.world_to_data(np.asarray(at)[-layer.ndim :])))
            layer.selected_data = set()
        elif button == RIGHT:
            _remove(viewer, layer, at)

    def remove(_: Any) -> None:
        _remove(viewer, layer, viewer.cursor.position)

    layer.mouse_drag_callbacks.append(pressed)
    keys: dict[str, Callable[[Any], None]] = {
        "Delete": remove,
        "Backspace": remove,
        "Control-Z": undo_dot,
    }
    for key, function in keys.items():
        layer.bind_key(key, function, overwrite=True)


def undo_dot(layer: Points) -> None:
    """Take the last dot away."""
    if len(layer.data):
        layer.remove([len(layer.data) - 1])


def _remove(viewer: Any, layer: Points, position: Sequence[float]) -> None:
    """Remove the dot at a place of the canvas, if there is one."""
    if not len(layer.data):
        return
    yx = np.asarray(layer.world_to_data(np.asarray(position)[-layer.ndim :]))
    distances = np.hypot(*(np.asarray(layer.data) - yx).T)
    nearest = int(np.argmin(distances))
    if distances[nearest] <= max(0.6 * float(layer.current_size), REACH / camera(viewer).zoom):
        layer.remove([nearest])
