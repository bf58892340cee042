"""Real mouse events on napari's canvas."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

PRESS, MOVE, RELEASE = (
    QEvent.Type.MouseButtonPress, QEvent.Type.MouseMove, QEvent.Type.MouseButtonRelease,
)  # fmt: skip
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


def canvas_of(viewer):
    return viewer.window._qt_viewer.canvas.native


def on_canvas(viewer, layer, yx):
    """Where image pixels are on the canvas."""
    lead = np.asarray(layer.world_to_data(np.asarray(viewer.dims.point)[-layer.ndim :]))[:-2]
    world = np.asarray(layer.data_to_world([*lead, *yx]))[-2:]
    view = viewer.window._qt_viewer.canvas.view
    x, y = view.scene.transform.map([world[1], world[0], 0, 1])[:2]
    return round(x), round(y)


def mouse(viewer, kind, at, button=LEFT, keys=Qt.KeyboardModifier.NoModifier):
    """Send one mouse event; QTest's moves carry no buttons.

    vispy hands moves on some time later, so that a release has to wait for them.
    """
    canvas = canvas_of(viewer)
    buttons = Qt.MouseButton.NoButton if kind == RELEASE else button
    event = QMouseEvent(
        kind, QPointF(*at), QPointF(canvas.mapToGlobal(QPoint(*at))),
        Qt.MouseButton.NoButton if kind == MOVE else button, buttons, keys,
    )  # fmt: skip
    QApplication.sendEvent(canvas, event)
    if kind == MOVE:
        QTest.qWait(40)


def click(viewer, layer, yx, button=LEFT, keys=Qt.KeyboardModifier.NoModifier):
    at = on_canvas(viewer, layer, yx)
    mouse(viewer, MOVE, at, Qt.MouseButton.NoButton, keys)
    mouse(viewer, PRESS, at, button, keys)
    mouse(viewer, RELEASE, at, button, keys)


def drag(viewer, layer, *places, button=LEFT, keys=Qt.KeyboardModifier.NoModifier):
    """Press at the first place, move over the others, and let go at the last."""
    first, *others = (on_canvas(viewer, layer, place) for place in places)
    mouse(viewer, MOVE, first, Qt.MouseButton.NoButton, keys)
    mouse(viewer, PRESS, first, button, keys)
    for place in others:
        mouse(viewer, MOVE, place, button, keys)
    mouse(viewer, RELEASE, others[-1], button, keys)
