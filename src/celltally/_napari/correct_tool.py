"""One tool for correcting dots with the hand on the mouse, and its keys.

It takes the place of what napari does in its mode for adding points, in our layer of dots only,
so that neither a double click nor Alt zooms while dots are set.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from napari.layers import Points
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from celltally._napari.clicks import CLICK, LEFT, REACH, RIGHT
from celltally._napari.compat import camera, draw_outline
from celltally._napari.correcting import Correcting
from celltally._napari.layers import dots_layer, image_of, keep, kept, own_role
from celltally._napari.layers.place import lead_in_view
from celltally.density.inside import inside

__all__ = ["CorrectTool"]

#: Mode of napari's that ours stands in for.
_MODE = "add"
_LAYER_KEYS = {
    "Delete": "remove",
    "Backspace": "remove",
    "C": "confirm",
    "N": "next",
    "B": "back",
    "Control-Z": "undo",
    "Control-Shift-Z": "redo",
    "Control-Y": "redo",
    **{str(number): f"class {number}" for number in range(1, 10)},
}
_REGION_KEYS = {key: name for key, name in _LAYER_KEYS.items() if name in ("undo", "redo")}


class CorrectTool(QObject):
    """Corrects dots with mouse and keys.

    Parameters
    ----------
    correcting
        What is corrected.
    parent
        Ends it.
    """

    #: It was taken in hand, or put away.
    used = Signal()
    #: A key asked for the next place to check (1), or the one before (-1).
    stepped = Signal(int)

    def __init__(self, correcting: Correcting, parent: QObject) -> None:
        super().__init__(parent)
        self._correcting, self._viewer = correcting, correcting.viewer
        self._lasso = False
        self._bound: list[tuple[Any, Callable[..., Any]]] = []
        self._viewer.layers.events.inserted.connect(self._hear)
        self._viewer.layers.events.removed.connect(self._hear)
        self._hear()

    def disconnect_viewer(self) -> None:
        """Hear nothing more, and give napari its keys and its mode back."""
        self._viewer.layers.events.inserted.disconnect(self._hear)
        self._viewer.layers.events.removed.disconnect(self._hear)
        for layer in list(self._viewer.layers):
            if own_role(layer) == "dots" and kept(layer, "tool"):
                layer.mode = "pan_zoom"
        for layer, callback in self._bound:
            self._unbind(layer, callback)
        self._bound = []

    # ---- taking it in hand ----

    def use(self, key: str, *, on: bool = True, lasso: bool = False) -> None:
        """Take the tool in hand for the dots of an image, or put it away."""
        layer = dots_layer(self._viewer.layers, key)
        if layer is None and on and self._correcting.work(key) is not None:
            self._correcting.shown.put(key)  # somebody closed the layer; its dots are there
            layer = dots_layer(self._viewer.layers, key)
        if layer is None:
            self.used.emit()
            return
        self._lasso = lasso and on
        if on:
            if not layer.visible:
                layer.visible = True
            self._viewer.layers.selection.active = layer
            if not kept(layer, "tool"):
                self._take(layer)
            layer.cursor = "standard" if lasso else "crosshair"
        elif kept(layer, "tool"):
            layer.mode = "pan_zoom"  # its event puts the tool away
        self.used.emit()

    def _take(self, layer: Points) -> None:
        """Put our callback in the place of that of napari's mode."""
        keep(layer, hidden=False)
        layer.mode = "pan_zoom"
        before = list(layer.mouse_drag_callbacks)
        layer.mode = _MODE
        for callback in list(layer.mouse_drag_callbacks):
            if callback not in before:
                layer.mouse_drag_callbacks.remove(callback)
        layer.mouse_drag_callbacks.append(self._pressed)
        keep(layer, tool=True)

    def in_use(self, key: str | None) -> bool:
        """Whether the tool is in hand for the dots of an image."""
        layer = dots_layer(self._viewer.layers, key) if key else None
        return layer is not None and bool(kept(layer, "tool"))

    @property
    def lasso(self) -> bool:
        """Whether dragging selects."""
        return self._lasso

    def _mode_changed(self, event: Any) -> None:
        """Put the tool away where another mode was chosen; napari has its own back then."""
        layer = event.source
        if own_role(layer) != "dots":
            return
        if layer.mode != _MODE and kept(layer, "tool"):
            # A layer that is hidden loses its mode, and gets it back when it is shown again.
            keep(layer, tool=False, hidden=not layer.visible)
            if self._pressed in layer.mouse_drag_callbacks:
                layer.mouse_drag_callbacks.remove(self._pressed)
            self.used.emit()
        elif layer.mode == _MODE and kept(layer, "hidden"):
            self._take(layer)
            self.used.emit()

    # ---- layers and keys ----

    def _hear(self, event: Any = None) -> None:
        """Bind the keys of our layers that are new."""
        for layer in list(self._viewer.layers):
            role = own_role(layer)
            known = any(layer is other for other, _ in self._bound)
            if role in ("dots", "regions") and not known:
                self._bind(layer, _LAYER_KEYS if role == "dots" else _REGION_KEYS)
        there, before = list(self._viewer.layers), len(self._bound)
        self._bound = [(one, f) for one, f in self._bound if any(one is x for x in there)]
        if len(self._bound) < before:
            self.used.emit()  # with its layer the tool is out of hand

    def _bind(self, layer: Any, keys: dict[str, str]) -> None:
        for key, name in keys.items():
            layer.bind_key(key, self._doing(name), overwrite=True)
        self._bound.append((layer, self._mode_changed))
        layer.events.mode.connect(self._mode_changed)

    def _unbind(self, layer: Any, callback: Callable[..., Any]) -> None:
        layer.events.mode.disconnect(callback)
        for key in _LAYER_KEYS if own_role(layer) == "dots" else _REGION_KEYS:
            layer.bind_key(key, None, overwrite=True)

    def _doing(self, name: str) -> Callable[[Any], None]:
        def pressed(layer: Any) -> None:
            self.act(str(image_of(layer)), name)

        return pressed

    def act(self, key: str, name: str, *, pointed: bool = True) -> None:
        """Do what a key or a button stands for.

        Parameters
        ----------
        key
            Of the image.
        name
            ``remove``, ``confirm``, ``undo``, ``redo``, ``next``, ``back`` or ``class 3``.
        pointed
            Whether the dot under the mouse is meant where none is selected.
        """
        correcting = self._correcting
        if correcting.work(key) is None:
            return
        if name in ("undo", "redo"):
            getattr(correcting, name)(key)
        elif name in ("next", "back"):
            self.stepped.emit(1 if name == "next" else -1)
        elif name.startswith("class "):
            number = int(name.removeprefix("class "))
            if number <= len(correcting.classes):
                correcting.set_class(key, correcting.classes[number - 1])
        else:
            rows = correcting.selected(key)
            if not len(rows) and pointed:
                rows = self._under_mouse(key)
            if len(rows):
                getattr(correcting, name)(key, rows)

    def _under_mouse(self, key: str) -> NDArray[np.intp]:
        layer = dots_layer(self._viewer.layers, key)
        row = None if layer is None else self._hit(layer, self._viewer.cursor.position)
        return np.array([] if row is None else [row], dtype=np.intp)

    # ---- the mouse ----

    def _here(self, layer: Points) -> NDArray[np.intp]:
        """Rows of the dots in the plane in view."""
        lead = np.rint(np.asarray(layer.data)[:, :-2])
        there = (lead == np.array(lead_in_view(layer, self._viewer.dims))).all(axis=1)
        return np.flatnonzero(there)

    def _hit(self, layer: Points, position: Sequence[float]) -> int | None:
        """Row of the dot that is meant by a place of the canvas."""
        rows = self._here(layer)
        if not len(rows):
            return None
        yx = np.asarray(layer.world_to_data(np.asarray(position)[-layer.ndim :]))[-2:]
        distances = np.hypot(*(np.asarray(layer.data)[rows, -2:] - yx).T)
        nearest = int(np.argmin(distances))
        size = float(layer.current_size)
        screen = REACH / (camera(self._viewer).zoom * abs(float(layer.scale[-1])))
        # Never so far that no dot could be set beside another.
        reach = max(0.6 * size, min(screen, 2 * size))
        return int(rows[nearest]) if distances[nearest] <= reach else None

    def _pressed(self, layer: Points, event: Any) -> Generator[None, None, None]:
        """Tell clicks and drags apart, and do what is meant."""
        key = str(image_of(layer))
        if self._correcting.work(key) is None or not self._correcting.catch(key):
            return
        start, button, modifiers = tuple(event.position), event.button, tuple(event.modifiers)
        row, pixel = self._hit(layer, start), np.array(event.pos)
        selects = self._lasso or "Shift" in modifiers or "Alt" in modifiers
        yield
        moved = False
        trace: list[tuple[float, ...]] = [start]
        carried = self._carried(layer, row) if button == LEFT and not selects else None
        while event.type == "mouse_move":
            moved = moved or float(np.hypot(*(np.array(event.pos) - pixel))) > CLICK
            if button == LEFT and (selects or carried is not None):
                event.handled = True  # the view stays where it is
                trace.append(tuple(event.position))
                if moved and selects:
                    self._draw(layer, trace, lasso="Shift" not in modifiers)
                elif moved and carried is not None:
                    self._carry(layer, carried, trace)
            yield
        draw_outline(layer, None)
        if moved and selects and button == LEFT:
            self._select(layer, trace, lasso="Shift" not in modifiers)
        elif moved and carried is not None:
            rows, _ = carried
            self._finish(key, "move", rows, np.array(layer.data)[rows, -2:])
        elif not moved:
            self._clicked(layer, key, start, row, button, modifiers)

    def _clicked(
        self, layer: Points, key: str, at: tuple[float, ...], row: int | None, button: int,
        modifiers: tuple[str, ...],
    ) -> None:  # fmt: skip
        if button == RIGHT and not modifiers and row is not None:
            self._finish(key, "remove", np.array([row]))
        elif button != LEFT or "Control" in modifiers:
            return
        elif row is not None:
            layer.selected_data = set(layer.selected_data) ^ {row} if modifiers else {row}
        elif modifiers or self._lasso:
            layer.selected_data = set()
        else:
            layer.selected_data = set()
            place = np.asarray(layer.world_to_data(np.asarray(at)[-layer.ndim :]))
            if self._on_image(key, place[-2:]):
                plane = tuple(np.rint(place[:-2]).astype(int).tolist())
                self._finish(key, "add", place[-2:], plane)

    def _on_image(self, key: str, yx: NDArray[np.float64]) -> bool:
        """Whether a place is in the image: what is beside it cannot be a cell."""
        subject = self._correcting.subject(key)
        if subject is None:
            return False
        return bool(np.all(yx >= -0.5) and np.all(yx <= np.array(subject.plane.shape) - 0.5))

    def _finish(self, key: str, name: str, *values: Any) -> None:
        """Make an edit at the end of a click or drag, which is still in hand until then."""
        with self._correcting.at_hand(key):
            getattr(self._correcting, name)(key, *values)

    def _carried(
        self, layer: Points, row: int | None
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]] | None:
        """Rows that a drag on a dot moves, and where they were: all selected, if it is one."""
        if row is None:
            return None
        chosen = {int(i) for i in layer.selected_data}
        together = chosen & set(self._here(layer).tolist()) if row in chosen else {row}
        rows = np.array(sorted(together))
        return rows, np.array(layer.data)[rows, -2:]

    def _carry(
        self, layer: Points, carried: tuple[NDArray[np.intp], NDArray[np.float64]],
        trace: Sequence[tuple[float, ...]],
    ) -> None:  # fmt: skip
        rows, before = carried
        start, now = (self._yx(layer, trace[i]) for i in (0, -1))
        layer.data[rows, -2:] = before + (now - start)
        layer.refresh(thumbnail=False, extent=False)

    def _draw(self, layer: Points, trace: Sequence[tuple[float, ...]], *, lasso: bool) -> None:
        corners = self._outline(layer, trace, lasso=lasso)
        draw_outline(layer, np.concatenate([corners, corners[:1]]))

    def _outline(
        self, layer: Points, trace: Sequence[tuple[float, ...]], *, lasso: bool
    ) -> NDArray[np.float64]:
        ends = trace if lasso else (trace[0], trace[-1])
        points = np.array([self._yx(layer, place) for place in ends])
        if lasso:
            return points
        (y0, x0), (y1, x1) = points.min(axis=0), points.max(axis=0)
        return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])

    def _select(self, layer: Points, trace: Sequence[tuple[float, ...]], *, lasso: bool) -> None:
        rows = self._here(layer)
        found = inside(np.asarray(layer.data)[rows, -2:], self._outline(layer, trace, lasso=lasso))
        layer.selected_data = set(rows[found].tolist())
        layer.refresh(thumbnail=False, extent=False)
        self._correcting.changed.emit(str(image_of(layer)))

    def _yx(self, layer: Points, position: Sequence[float]) -> NDArray[np.float64]:
        return np.asarray(layer.world_to_data(np.asarray(position)[-layer.ndim :]))[-2:]
