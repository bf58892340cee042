"""Regions are edits, too: drawn, reviewed, stated, deleted, undone; and planes."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from celltally._napari.layers import region_layer
from celltally.types import Region

pytestmark = pytest.mark.gui

CELLS = np.array([[20.0, 30.0], [50.0, 80.0], [90.0, 40.0], [100.0, 130.0]])
LEFT = Qt.MouseButton.LeftButton
CTRL = Qt.KeyboardModifier.ControlModifier


def choose_kind(window, kind):
    box = window.tally.regions.toolbar.kind_box
    box.setCurrentIndex(box.findData(kind))


def draw(window, kind, *places):
    """Drag a rectangle with the mouse."""
    choose_kind(window, kind)
    window.tally.regions.unfold()
    window.tally.regions.use("Rectangle")
    window.drag(*places)
    window.settle()


def regions_of(window):
    return [(r.name, r.kind, r.stated) for r in window.work.regions]


def layer_of(window):
    return region_layer(window.viewer.layers, window.key)


def test_a_drawn_region_is_one_edit_and_is_undone(window):
    draw(window, "count", (5, 5), (60, 50), (70, 100))
    assert regions_of(window) == [("Region 1", "count", None)]
    assert window.actions() == ["draw"]
    id_ = window.work.regions[0].id
    window.press(Qt.Key.Key_Z, CTRL)  # the layer of regions is active
    assert window.work.regions == ()
    assert layer_of(window).nshapes == 0
    window.press(Qt.Key.Key_Y, CTRL)
    window.settle()
    assert [region.id for region in window.work.regions] == [id_]
    assert list(layer_of(window).features["id"]) == [id_]
    assert window.actions() == ["draw"] * 3
    window.agree()


def test_nothing_is_an_edit_while_a_region_is_drawn(window):
    window.tally.regions.use("Rectangle")
    window.begin_drag((5, 5), (60, 50))
    window.qtbot.wait(120)
    assert window.edits == []
    window.end_drag((70, 100))
    window.settle()
    assert window.actions() == ["draw"]


def test_a_reviewed_region_confirms_its_dots_in_the_same_edit(window):
    window.right_click(CELLS[1])
    draw(window, "reviewed", (5, 5), (60, 50), (70, 100))
    assert window.states() == ["confirmed", "removed", "proposed", "proposed"]
    assert window.actions() == ["remove", "review"]
    assert "reviewed 32" in window.tally.correct.live_label.text()
    window.press(Qt.Key.Key_Z, CTRL)
    assert window.states() == ["proposed", "removed", "proposed", "proposed"]
    assert window.work.regions == ()
    window.agree()


def test_a_kind_that_is_changed_to_reviewed_confirms(window):
    draw(window, "count", (5, 5), (60, 50), (70, 100))
    table = window.tally.regions.table
    table.item(0, 1).setText("reviewed")
    window.settle()
    assert window.states() == ["confirmed", "confirmed", "proposed", "proposed"]
    assert window.actions() == ["draw", "review"]
    table.item(0, 0).setText("crypt")
    window.settle()
    layer_of(window).selected_data = {0}
    window.qtbot.mouseClick(window.tally.regions.toolbar.delete_button, LEFT)
    window.settle()
    assert window.actions() == ["draw", "review", "rename", "delete"]
    for _ in range(3):
        window.tally.correcting.undo(window.key)
    window.settle()
    assert regions_of(window) == [("Region 1", "count", None)]
    assert window.states() == ["proposed"] * 4
    window.agree()


def test_a_count_is_stated_in_the_table(window):
    draw(window, "reviewed", (5, 5), (60, 50), (70, 100))
    table = window.tally.regions.table
    stated = [table.horizontalHeaderItem(i).text() for i in range(table.columnCount())].index(
        "Stated"
    )
    table.item(0, stated).setText("37")
    window.settle()
    assert regions_of(window) == [("Reviewed 1", "reviewed", 37.0)]
    assert list(layer_of(window).features["label"]) == ["Reviewed 1: 37 stated"]
    table.item(0, stated).setText("many")
    window.settle()
    assert regions_of(window)[0][2] == 37.0
    assert table.item(0, stated).text() == "37"
    table.item(0, stated).setText("")
    window.settle()
    assert regions_of(window)[0][2] is None
    assert window.actions() == ["review", "state the count of", "state the count of"]
    window.tally.correcting.undo(window.key)
    assert regions_of(window)[0][2] == 37.0


def test_a_pasted_region_has_an_id_of_its_own(window):
    draw(window, "count", (5, 5), (60, 50), (70, 100))
    layer = layer_of(window)
    layer.mode = "select"
    layer.selected_data = {0}
    layer._copy_data()
    layer._paste_data()
    window.settle()
    assert [r.name for r in window.work.regions] == ["Region 1", "Region 2"]
    assert len({r.id for r in window.work.regions}) == 2
    assert window.actions() == ["draw", "draw"]


def test_where_it_was_reviewed_nothing_is_proposed(window):
    draw(window, "reviewed", (5, 5), (60, 50), (70, 100))
    window.tally.correcting.remove(window.key, [0])
    window.tally.count_section.count_button.click()
    window.qtbot.waitUntil(lambda: not window.tally.running, timeout=10_000)
    assert sorted(window.states()) == ["confirmed", "proposed", "proposed", "removed"]
    window.agree()


def test_regions_that_were_drawn_before_counting_become_edits(
    make_napari_viewer, counter, open_tally, image, press, qtbot
):
    viewer = make_napari_viewer()
    tally = open_tally(viewer)
    layer = viewer.add_image(image, name="cells")
    qtbot.waitUntil(lambda: tally.problem() is None)
    tally.regions.use("Rectangle")
    regions = region_layer(viewer.layers, str(layer.unique_id))
    box = np.array([(0.0, 0.0), (0.0, 100.0), (70.0, 100.0), (70.0, 0.0)])
    regions.add(box, shape_type="polygon")
    seen = []
    tally.correcting.edited.connect(lambda key, edit: seen.append(edit.action))
    press(tally)
    work = tally.correcting.work(str(layer.unique_id))
    qtbot.waitUntil(lambda: len(work.regions) == 1)
    assert "draw" in seen


def test_two_planes_are_corrected_apart(
    make_napari_viewer, counter, open_tally, press, qtbot, window_of
):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1100, 800)
    tally = open_tally(viewer)
    viewer.add_image(
        np.zeros((2, 3, 120, 160), np.uint16), name="stack", axis_labels=("t", "z", "y", "x")
    )
    viewer.dims.set_current_step((0, 1), (1, 2))
    press(tally)
    viewer.dims.set_current_step((0, 1), (1, 0))
    press(tally)
    viewer.reset_view()
    QApplication.processEvents()
    window = window_of(tally)
    assert sorted(zip(window.work.dots.t.tolist(), window.work.dots.z.tolist(), strict=True)) == [
        (1, 0)] * 4 + [(1, 2)] * 4  # fmt: skip
    assert len(window.layer.data) == 8
    window.click((60.0, 20.0))
    window.right_click(CELLS[1])
    assert (window.work.dots.t[8], window.work.dots.z[8]) == (1, 0)
    removed = window.work.dots[window.work.dots.state == "removed"]
    assert removed.z.tolist() == [0]
    box = np.array([(0.0, 0.0), (0.0, 159.0), (119.0, 159.0), (119.0, 0.0)])
    viewer.dims.set_current_step((0, 1), (1, 2))
    window.tally.regions.use("Polygon")
    layer_of(window).add(np.insert(box, 0, [[1], [2]], axis=1), shape_type="polygon")
    layer = layer_of(window)
    features = layer.features.copy()
    features["kind"] = "reviewed"
    layer.features = features
    window.settle()
    assert isinstance(window.work.regions[0], Region)
    assert (window.work.regions[0].t, window.work.regions[0].z) == (1, 2)
    dots = window.work.dots
    assert set(dots.state[dots.z == 2]) == {"confirmed"}
    assert sorted(dots.state[dots.z == 0]) == ["added", "proposed", "proposed", "proposed",
                                               "removed"]  # fmt: skip
    window.agree()
