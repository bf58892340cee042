"""Dots are corrected with real mouse and key events; whatever else happens is caught."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

from celltally._napari.compat import camera

pytestmark = pytest.mark.gui

#: Where the cells of the fake prediction are.
CELLS = np.array([[20.0, 30.0], [50.0, 80.0], [90.0, 40.0], [100.0, 130.0]])
LEFT = Qt.MouseButton.LeftButton
SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier
CTRL = Qt.KeyboardModifier.ControlModifier


def test_click_adds_and_drag_beside_dots_moves_the_view(window):
    window.click((60.0, 20.0))
    assert window.states() == ["proposed"] * 4 + ["added"]
    np.testing.assert_allclose(window.work.dots.yx[4], (60, 20), atol=0.5)
    assert window.work.dots.source[4] == window.tally.correcting.author
    before = camera(window.viewer).center
    window.drag((60.0, 120.0), (70.0, 100.0), (75.0, 95.0))
    assert camera(window.viewer).center != before
    assert len(window.work.dots) == 5
    assert window.actions() == ["add"]
    window.agree()
    assert window.tally.result.n_dots == 5


def test_a_click_beside_the_image_adds_nothing(window):
    for place in ((-10.0, 30.0), (60.0, -10.0), (130.0, 30.0), (60.0, 170.0)):
        window.click(place)
    assert window.actions() == []
    window.click((0.0, 0.0))
    assert window.actions() == ["add"]


def test_dots_whose_layer_was_closed_come_back_with_the_tool(window, qtbot):
    button, before = window.tally.correct.correct_button, window.work.dots
    window.viewer.layers.remove(window.layer)
    assert window.layer is None
    assert not button.isChecked()
    qtbot.mouseClick(button, LEFT)
    assert window.layer.features["id"].tolist() == before.id.tolist()
    assert button.isChecked()
    window.right_click(CELLS[1])
    assert window.actions() == ["remove"]
    window.agree()


def test_dragging_a_dot_moves_it_in_one_edit(window):
    before = camera(window.viewer).center
    window.drag(CELLS[0], (30.0, 40.0), (40.0, 60.0))
    assert window.states()[0] == "moved"
    np.testing.assert_allclose(window.work.dots.yx[0], (40, 60), atol=0.6)
    assert window.actions() == ["move"]
    assert camera(window.viewer).center == before
    window.agree()
    window.press(Qt.Key.Key_Z, CTRL)
    np.testing.assert_allclose(window.work.dots.yx[0], CELLS[0], atol=0.1)
    assert window.states()[0] == "proposed"
    window.agree()


def test_nothing_is_written_while_a_dot_is_dragged(window):
    window.begin_drag(CELLS[0], (30.0, 40.0))
    held = np.array(window.layer.data[0])
    window.tally.correcting.propose(window.key, window.work.dots[1:])  # meanwhile
    window.qtbot.wait(120)
    np.testing.assert_array_equal(window.layer.data[0], held)
    window.end_drag((40.0, 60.0))
    window.agree()
    assert sorted(window.states()) == ["moved", "proposed", "proposed", "proposed"]


def test_right_click_removes_and_brings_back(window):
    window.right_click(CELLS[1])
    assert window.states() == ["proposed", "removed", "proposed", "proposed"]
    assert str(window.layer.symbol[1]) == "x"
    assert window.tally.result.n_dots == 3
    window.agree()
    window.right_click(CELLS[1])
    assert window.states()[1] == "confirmed"
    window.right_click((5.0, 150.0))  # beside every dot
    assert window.actions() == ["remove", "bring back"]
    window.agree()


def test_an_added_dot_that_is_removed_vanishes_and_comes_back_by_undo(window):
    window.click((60.0, 20.0))
    window.right_click((60.0, 20.0))
    assert len(window.work.dots) == len(window.layer.data) == 4
    window.press(Qt.Key.Key_Z, CTRL)
    assert window.states() == ["proposed"] * 4 + ["added"]
    window.agree()


@pytest.mark.parametrize("key", [Qt.Key.Key_Delete, Qt.Key.Key_Backspace])
def test_a_box_is_selected_and_removed_by_key(window, key):
    window.drag((5.0, 5.0), (30.0, 50.0), (60.0, 95.0), keys=SHIFT)
    assert set(window.layer.selected_data) == {0, 1}
    window.press(key)
    assert window.states() == ["removed", "removed", "proposed", "proposed"]
    assert window.actions() == ["remove"]
    window.agree()
    assert not window.layer.selected_data  # else the next press would bring them back
    window.point((50.0, 80.0))
    window.press(key)
    assert window.states()[:2] == ["removed", "confirmed"]


def test_a_lasso_selects_what_is_in_it(window, qtbot):
    around = [(10.0, 20.0), (10.0, 45.0), (100.0, 60.0), (110.0, 30.0), (60.0, 25.0)]
    zoom = camera(window.viewer).zoom
    window.drag(*around, keys=ALT)
    assert set(window.layer.selected_data) == {0, 2}
    assert camera(window.viewer).zoom == zoom
    window.layer.selected_data = set()
    qtbot.mouseClick(window.tally.correct.lasso_button, LEFT)
    window.drag(*around)
    assert set(window.layer.selected_data) == {0, 2}
    assert window.edits == []


def test_a_layer_that_was_hidden_for_a_moment_is_corrected_as_before(window):
    window.layer.visible = False
    window.layer.visible = True
    assert window.tally.correct.correct_button.isChecked()
    window.right_click(CELLS[1])
    window.click((60.0, 20.0))
    assert window.actions() == ["remove", "add"]
    window.agree()


def test_confirming_the_selection_or_the_dot_under_the_mouse(window):
    window.point(CELLS[2])
    window.press(Qt.Key.Key_C)
    assert window.states() == ["proposed", "proposed", "confirmed", "proposed"]
    window.press(Qt.Key.Key_C)
    assert window.states() == ["proposed"] * 4
    window.drag((5.0, 5.0), (60.0, 95.0), keys=SHIFT)
    window.press(Qt.Key.Key_C)
    assert window.states() == ["confirmed", "confirmed", "proposed", "proposed"]
    assert window.actions() == ["confirm", "unconfirm", "confirm"]
    window.agree()


def test_number_keys_choose_classes(window):
    window.tally.correct.add_class("dead")
    window.tally.correcting.set_class(window.key, "cell")
    window.click(CELLS[3])  # selects it
    window.press(Qt.Key.Key_2)
    assert window.work.dots.label.tolist() == ["cell", "cell", "cell", "dead"]
    assert window.states()[3] == "confirmed"
    assert not np.allclose(window.layer.face_color[3], window.layer.face_color[0])
    window.layer.selected_data = set()
    window.press(Qt.Key.Key_2)
    window.click((60.0, 20.0))
    assert window.work.dots.label[4] == "dead"
    assert window.layer.mode == "add"  # napari's own 2 is not heard
    window.agree()


def test_undo_and_redo_of_many_edits(window):
    rng = np.random.default_rng(0)
    before = [window.work.dots]
    places = [(10.0 + 9 * i, 150.0) for i in range(5)]
    for place in places:
        window.click(place)
        before.append(window.work.dots)
    window.right_click(CELLS[1])
    for _ in range(6):
        window.press(Qt.Key.Key_Z, CTRL)
    assert window.work.dots.id.tolist() == before[0].id.tolist()
    assert window.states() == ["proposed"] * 4
    assert window.work.undoable is None
    for _ in range(3):
        window.press(Qt.Key.Key_Y, CTRL)
    for _ in range(3):
        window.press(Qt.Key.Key_Z, CTRL | SHIFT)
    assert window.work.dots.id.tolist() == before[5].id.tolist()
    assert window.states()[1] == "removed"
    assert {edit.kind for _, edit in window.edits} == {"edit", "undo", "redo"}
    window.press(Qt.Key.Key_Z, CTRL)
    window.click(rng.uniform(60, 70, 2))  # redo is over
    assert window.work.redoable is None
    window.agree()


def test_the_buttons_do_the_same(window, qtbot):
    section = window.tally.correct
    window.click(CELLS[0])
    for button, state in (
        (section.confirm_button, "confirmed"), (section.remove_button, "removed"),
        (section.undo_button, "confirmed"), (section.redo_button, "removed"),
    ):  # fmt: skip
        qtbot.waitUntil(button.isEnabled)
        qtbot.mouseClick(button, LEFT)
        assert window.states()[0] == state
    qtbot.waitUntil(lambda: "remove 1 dot" in section.undo_button.toolTip())
    assert "nothing" in section.redo_button.toolTip()
    assert "you +0 −1" in section.live_label.text()


# ---- what other tools and other code do ----


def test_what_is_pasted_is_new(window):
    window.layer.mode = "select"
    assert not window.tally.correct.correct_button.isChecked()
    window.layer.selected_data = {0, 1}
    window.press(Qt.Key.Key_C, CTRL)
    window.press(Qt.Key.Key_V, CTRL)
    window.settle()
    assert window.states() == ["proposed"] * 4 + ["added"] * 2
    assert len(set(window.work.dots.id)) == 6
    assert window.actions() == ["add"]
    window.agree()


def test_the_trash_button_leaves_crosses(window, qtbot):
    from qtpy.QtWidgets import QPushButton

    window.layer.mode = "select"
    window.layer.selected_data = {1, 2}
    controls = window.viewer.window._qt_viewer.controls.widgets[window.layer]
    (button,) = [b for b in controls.findChildren(QPushButton)
                 if "delete" in str(b.property("mode"))]  # fmt: skip
    qtbot.mouseClick(button, LEFT)
    window.settle()
    assert window.states() == ["proposed", "removed", "removed", "proposed"]
    assert len(window.layer.data) == 4
    assert window.actions() == ["remove"]
    window.agree()


def test_napari_s_own_tools_make_edits(window):
    window.layer.mode = "pan_zoom"
    window.layer.mode = "add"  # napari's own
    window.click((60.0, 20.0))
    window.settle()
    assert window.states() == ["proposed"] * 4 + ["added"]
    window.layer.mode = "select"
    window.drag(CELLS[0], (30.0, 40.0), (40.0, 60.0))
    window.settle()
    assert window.states()[0] == "moved"
    assert window.actions() == ["add", "move"]
    window.agree()


def test_data_and_features_that_are_set_make_edits(window):
    window.layer.data = window.layer.data + 1.0
    window.settle()
    assert window.states() == ["moved"] * 4
    features = window.layer.features.copy()
    features.loc[1, "class"] = "dead"
    window.layer.features = features
    window.settle()
    assert window.work.dots.label.tolist() == ["cell", "dead", "cell", "cell"]
    assert "dead" in window.tally.correcting.classes
    window.layer.data[2] += 3.0  # in place: no event at all
    window.qtbot.waitUntil(lambda: len(window.edits) == 3, timeout=4000)
    assert window.actions() == ["move", "classify", "move"]
    window.agree()
