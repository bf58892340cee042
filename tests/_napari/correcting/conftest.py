"""A window in which dots are corrected with real mouse and key events."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from celltally._napari.layers import dots_layer, kept
from celltally._napari.planes import key_of

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


class Window:
    """A counted image in a window that is seen, with the tool in hand."""

    def __init__(self, tally, qtbot):
        self.tally, self.viewer, self.qtbot = tally, tally.viewer, qtbot
        self.image = tally.image.layer
        self.key = key_of(self.image)
        self.edits = []
        tally.correcting.edited.connect(lambda key, edit: self.edits.append((key, edit)))

    @property
    def layer(self):
        return dots_layer(self.viewer.layers, self.key)

    @property
    def work(self):
        return self.tally.correcting.work(self.key)

    def states(self):
        return self.work.dots.state.tolist()

    def click(self, yx, button=LEFT):
        click(self.viewer, self.image, yx, button)

    def right_click(self, yx):
        click(self.viewer, self.image, yx, RIGHT)

    def drag(self, *places, **options):
        drag(self.viewer, self.image, *places, **options)

    def begin_drag(self, *places):
        """Press at the first place and move over the others; nothing lets go."""
        first, *others = (on_canvas(self.viewer, self.image, place) for place in places)
        mouse(self.viewer, MOVE, first, Qt.MouseButton.NoButton)
        mouse(self.viewer, PRESS, first)
        for place in others:
            mouse(self.viewer, MOVE, place)

    def end_drag(self, place):
        at = on_canvas(self.viewer, self.image, place)
        mouse(self.viewer, MOVE, at)
        mouse(self.viewer, RELEASE, at)

    def press(self, key, modifiers=Qt.KeyboardModifier.NoModifier):
        self.qtbot.keyClick(canvas_of(self.viewer), key, modifiers)

    def point(self, yx):
        mouse(self.viewer, MOVE, on_canvas(self.viewer, self.image, yx), Qt.MouseButton.NoButton)

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.tally.correcting.waits)
        self.qtbot.waitUntil(lambda: self.tally.regions.settled)

    def actions(self):
        return [edit.action for _, edit in self.edits]

    def agree(self):
        """The layer shows what is in the work, and no edit is due."""
        self.settle()
        written = kept(self.layer, "written")
        assert sorted(written.id) == sorted(self.work.dots.id)
        assert list(self.layer.features["id"]) == written.id.tolist()
        assert list(self.layer.features["state"]) == written.state.tolist()
        np.testing.assert_allclose(self.layer.data[:, -2:], written.yx)
        symbols = {"proposed": "disc", "confirmed": "square", "added": "diamond",
                   "moved": "triangle_up", "removed": "x"}  # fmt: skip
        assert [str(s) for s in self.layer.symbol] == [symbols[s] for s in written.state]


@pytest.fixture
def window_of(qtbot):
    """Gives a window of a widget that has counted, with the tool in hand."""

    def make(tally):
        window = Window(tally, qtbot)
        qtbot.mouseClick(tally.correct.correct_button, LEFT)
        assert tally.correct.correct_button.isChecked()
        assert tally.viewer.layers.selection.active is window.layer
        return window

    return make


@pytest.fixture
def window(make_napari_viewer, counter, open_tally, image, press, window_of):
    """A window with one counted image."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1100, 800)
    tally = open_tally(viewer)
    viewer.add_image(image, name="cells", scale=(0.5, 0.5), translate=(10, 20))
    press(tally)
    viewer.reset_view()
    QApplication.processEvents()
    return window_of(tally)
