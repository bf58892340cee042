"""Regions that are drawn with the mouse are counted while that is done."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from celltally._napari.layers import region_layer, regions_of
from celltally._napari.planes import key_of
from celltally.intervals import of

pytestmark = pytest.mark.gui


def settle(tally, qtbot):
    """Wait until the figures have followed."""
    qtbot.waitUntil(lambda: tally.regions.settled, timeout=60_000)


def row(tally, i):
    table = tally.regions.table
    return [table.item(i, column).text() for column in range(table.columnCount())]


def mouse(canvas, kind, at, button=Qt.MouseButton.LeftButton):
    """Send one mouse event; QTest's moves carry no buttons.

    napari handles moves some time later. One that came after its own press would make a polygon
    without an edge, which it cannot draw.
    """
    buttons = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseButtonRelease else button
    event = QMouseEvent(
        kind, QPointF(*at), QPointF(canvas.mapToGlobal(QPoint(*at))),
        Qt.MouseButton.NoButton if kind == QEvent.Type.MouseMove else button, buttons,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(canvas, event)
    if kind == QEvent.Type.MouseMove:
        QTest.qWait(60)


def on_canvas(viewer, layer, yx):
    """Where image pixels are on the canvas."""
    world = np.asarray(layer.data_to_world(yx))[-2:]
    view = viewer.window._qt_viewer.canvas.view
    x, y = view.scene.transform.map([world[1], world[0], 0, 1])[:2]
    return round(x), round(y)


@pytest.fixture
def shown(make_napari_viewer, counter, open_tally, image, press):
    """A counted image in a window that is seen, so that it can be drawn on."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1100, 800)
    tally = open_tally(viewer)
    viewer.add_image(image, name="cells", scale=(0.5, 0.5), translate=(10, 20))
    press(tally)
    viewer.reset_view()
    QApplication.processEvents()
    return tally


def test_a_rectangle_is_counted_while_it_is_drawn_and_moved(shown, qtbot, click):
    viewer, section = shown.viewer, shown.regions
    section.unfold()
    click(section.toolbar.buttons["Rectangle"])
    layer = region_layer(viewer.layers, key_of(shown.image.layer))
    assert layer.mode == "add_rectangle"
    assert viewer.layers.selection.active is layer
    canvas = viewer.window._qt_viewer.canvas.native
    image = shown.image.layer
    start, middle, end = (on_canvas(viewer, image, yx) for yx in [(5, 5), (60, 50), (70, 100)])
    mouse(canvas, QEvent.Type.MouseButtonPress, start)
    mouse(canvas, QEvent.Type.MouseMove, middle)
    settle(shown, qtbot)
    assert section._drawing
    assert row(shown, 0)[:3] == ["Region 1", "count", "1"]
    mouse(canvas, QEvent.Type.MouseMove, end)
    settle(shown, qtbot)
    assert row(shown, 0)[2] == "2"
    mouse(canvas, QEvent.Type.MouseButtonRelease, end)
    settle(shown, qtbot)
    assert not section._drawing
    before = row(shown, 0)
    assert before[4] == "2"
    # Moved down and to the right: two other cells.
    click(section.toolbar.buttons["Move"])
    assert layer.mode == "select"
    grip, target = (on_canvas(viewer, image, yx) for yx in [(35, 50), (75, 80)])
    mouse(canvas, QEvent.Type.MouseMove, grip)
    mouse(canvas, QEvent.Type.MouseButtonPress, grip)
    mouse(canvas, QEvent.Type.MouseMove, ((grip[0] + target[0]) // 2, (grip[1] + target[1]) // 2))
    mouse(canvas, QEvent.Type.MouseMove, target)
    settle(shown, qtbot)
    moving = row(shown, 0)
    ((_, region),) = regions_of(layer, shown.image.plane())
    assert region.polygon.min() > 15
    mouse(canvas, QEvent.Type.MouseButtonRelease, target)
    settle(shown, qtbot)
    assert row(shown, 0) == moving
    found = section.rows()[0]
    expected = of(section._counted.prediction, 0.95, region.polygon)
    assert found.interval.high == pytest.approx(expected.high)
    layer.selected_data = {0}
    qtbot.keyClick(section.table, Qt.Key.Key_Delete)
    settle(shown, qtbot)
    assert len(layer.data) == 0
    assert section.table.rowCount() == 0


def test_a_polygon_is_counted_corner_by_corner(shown, qtbot, click):
    viewer, section = shown.viewer, shown.regions
    section.unfold()
    click(section.toolbar.buttons["Polygon"])
    canvas = viewer.window._qt_viewer.canvas.native
    image = shown.image.layer
    for corner in [(5, 5), (5, 100), (70, 100), (70, 5)]:
        at = on_canvas(viewer, image, corner)
        mouse(canvas, QEvent.Type.MouseMove, at, Qt.MouseButton.NoButton)
        mouse(canvas, QEvent.Type.MouseButtonPress, at)
        mouse(canvas, QEvent.Type.MouseButtonRelease, at)
    settle(shown, qtbot)
    assert section._drawing
    assert row(shown, 0)[2] == "2"
    click(section.toolbar.buttons["Move"])  # ends it
    settle(shown, qtbot)
    assert not section._drawing
    assert row(shown, 0)[2] == "2"
