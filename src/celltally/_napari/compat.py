"""What differs between the napari versions that we run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = [
    "camera",
    "camera_events",
    "draw_outline",
    "fit_view",
    "from_file",
    "guard_drawing",
    "in_hand",
    "unrefreshed",
    "when_closed",
]

#: Vertex attributes that every OpenGL has at least.
ATTRIBUTES = 16


def camera(viewer: Any) -> Any:
    """Return the viewer's camera, which moved in napari 0.9."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def camera_events(viewer: Any) -> Any:
    """Return the events of the viewer's camera."""
    return camera(viewer).events


def fit_view(viewer: Any, layers: Sequence[Any]) -> None:
    """Zoom so that layers fill the canvas; older versions can only show all layers."""
    try:
        viewer.reset_view(layers=layers)
    except TypeError:
        viewer.reset_view()


def in_hand(layer: Any) -> bool:
    """Whether the user is in the middle of something with a layer: a drag, or a shape.

    napari tells neither; where its attributes are other ones, the answer is no.
    """
    dragging = bool(getattr(layer, "_mouse_drag_gen", None))
    return dragging or bool(getattr(layer, "_is_creating", False))


def draw_outline(layer: Any, corners: Any) -> None:
    """Draw a line over a Points layer while the user selects; None takes it away.

    Parameters
    ----------
    layer
        A Points layer. napari's own box for selecting is drawn with the same attribute.
    corners
        ``(n, 2)`` in the two axes that are displayed, or None.
    """
    if hasattr(layer, "_highlight_box"):
        layer._highlight_box = corners
        layer.events.highlight()


def guard_drawing(viewer: Any) -> None:
    """Keep a removed layer from ending the program when another one is drawn.

    vispy deletes a layer's buffers, but leaves its vertex attributes switched on; where a
    driver looks at all of them, as Mesa's software OpenGL does, drawing anything with fewer
    of its own reads memory that is gone. What is drawn switches its own on each time, so all
    of them can be off in between.
    """
    inner = getattr(viewer, "__wrapped__", viewer)
    if getattr(inner.layers, "_celltally_guarded", False):
        return
    inner.layers._celltally_guarded = True

    def switch_off(event: Any = None) -> None:
        from vispy.gloo import gl

        try:
            canvas = inner.window._qt_viewer.canvas.native
            canvas.makeCurrent()
        except (AttributeError, RuntimeError):  # another napari, or the window is closing
            return
        for index in range(ATTRIBUTES):
            gl.glDisableVertexAttribArray(index)
        canvas.doneCurrent()

    inner.layers.events.removed.connect(switch_off)


def when_closed(viewer: Any, call: Callable[[], None]) -> None:
    """Call something when a viewer's window is gone."""
    viewer.window._qt_window.destroyed.connect(lambda *_: call())


def from_file(path: Any) -> AbstractContextManager[None]:
    """Give layers that are made meanwhile a file as their source, where napari can do that."""
    try:
        from napari.layers._source import layer_source
    except ImportError:
        return nullcontext()
    return layer_source(path=str(path))


def unrefreshed(layer: Any) -> AbstractContextManager[Any]:
    """Keep a layer from being drawn while several things in it change; refresh it afterwards.

    Older versions draw it each time, which takes longer and does no harm.
    """
    block = getattr(layer, "_block_refresh", None)
    return nullcontext() if block is None else block()
