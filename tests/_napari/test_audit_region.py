"""*Audit a region…* with real mouse and key events: blinded, one edit, undone at once."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLabel

from celltally._napari import audit_region
from celltally._napari.compat import camera
from celltally._napari.layers import density_layer, dots_layer, region_layer
from celltally._napari.planes import key_of
from celltally.density.random_region import corners_of, draw_apart
from celltally.density.regions import region_sums
from celltally.project.audits import random_of

pytestmark = pytest.mark.gui

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
CTRL = Qt.KeyboardModifier.ControlModifier
#: Cells everywhere, so that a region is a part of the image.
GRID = np.array([(y, x) for y in range(8, 118, 13) for x in range(8, 158, 13)], dtype=float)


class Window:
    """A counted image in a window that is seen."""

    def __init__(self, tally, qtbot):
        self.tally, self.viewer, self.qtbot = tally, tally.viewer, qtbot
        self.audit, self.section = tally.audit, tally.audit.section
        self.image = tally.image.layer
        self.key = key_of(self.image)
        self.edits = []
        tally.correcting.edited.connect(lambda key, edit: self.edits.append(edit))

    @property
    def canvas(self):
        return self.viewer.window._qt_viewer.canvas

    @property
    def work(self):
        return self.tally.correcting.work(self.key)

    @property
    def model(self):
        """The model's dots in the region that is shown, as it shows them."""
        top, left, bottom, right = (side - 0.5 for side in self.audit.drawn.shown.frame)
        yx = self.work.dots.yx - self.audit.drawn.shown.origin
        there = yx[((yx >= (top, left)) & (yx < (bottom, right))).all(axis=1)].round(1)
        return there[np.lexsort(there.T[::-1])]

    def start(self):
        self.tally.regions.unfold()
        QApplication.processEvents()
        self.tally.bring_into_view(self.audit.button)
        self.qtbot.mouseClick(self.audit.button, LEFT)
        self.qtbot.waitUntil(lambda: self.audit.drawn is not None, timeout=10_000)
        QTest.qWait(100)  # the view is fitted

    def click(self, yx, button=LEFT):
        """Click at a place of what is shown, (y, x) in its pixels."""
        x, y = self.canvas.view.scene.transform.map([yx[1], yx[0], 0, 1])[:2]
        at, native = (round(x), round(y)), self.canvas.native
        for kind in (QEvent.Type.MouseMove, QEvent.Type.MouseButtonPress,
                     QEvent.Type.MouseButtonRelease):  # fmt: skip
            move, release = kind == QEvent.Type.MouseMove, kind == QEvent.Type.MouseButtonRelease
            none = Qt.MouseButton.NoButton
            event = QMouseEvent(
                kind, QPointF(*at), QPointF(native.mapToGlobal(QPoint(*at))),
                none if move else button, none if move or release else button,
                Qt.KeyboardModifier.NoModifier,
            )  # fmt: skip
            QApplication.sendEvent(native, event)
            if move:
                QTest.qWait(40)

    def press(self, key, modifiers=Qt.KeyboardModifier.NoModifier):
        self.qtbot.keyClick(self.canvas.native, key, modifiers)

    def counts(self, number):
        self.qtbot.waitUntil(lambda: self.section.number == number)

    def type_number(self, number):
        edit = self.section.number_edit
        edit.setFocus()
        edit.selectAll()
        self.qtbot.keyClicks(edit, str(number))

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.tally.correcting.waits)
        self.qtbot.waitUntil(lambda: self.tally.regions.settled)

    @property
    def said(self):
        return self.audit.outcome.text()


@pytest.fixture
def window(make_napari_viewer, counter, open_tally, image, press, qtbot, monkeypatch):
    monkeypatch.setattr(audit_region, "new_seed", lambda: f"{next(seeds):032x}")
    seeds = iter(range(3, 100))
    counter.cells, counter.weights = GRID, np.ones(len(GRID))
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 850)
    tally = open_tally(viewer)
    assert not tally.audit.button.isEnabled()
    viewer.add_image(image, name="secret", scale=(0.5, 0.5), translate=(10, 20))
    press(tally)
    viewer.reset_view()
    QApplication.processEvents()
    return Window(tally, qtbot)


def test_the_region_is_all_that_is_seen(window):
    window.start()
    viewer, drawn = window.viewer, window.audit.drawn
    assert [layer.name for layer in viewer.layers if layer.visible] == [
        "audit region", "audit frame", "audit dots",
    ]  # fmt: skip
    assert not dots_layer(viewer.layers, window.key).visible
    assert not density_layer(viewer.layers, window.key).visible
    y, x = drawn.shown.origin
    height, width = drawn.shown.pixels.shape
    np.testing.assert_array_equal(
        viewer.layers["audit region"].data, window.image.data[y : y + height, x : x + width]
    )
    labels = [label for label in window.tally.findChildren(QLabel) if label.isVisible()]
    told = " ".join(label.text() for label in labels)
    assert "Count this region" in told
    assert "secret" not in told
    assert not any(figure in told for figure in ("108", f"{drawn.predicted:.1f}"))
    assert not window.tally.result.isVisible()
    assert 8 < drawn.predicted < 45
    assert window.image in viewer.layers
    assert window.edits == []


def test_what_a_count_shows_meanwhile_stays_hidden_until_the_end(window, image):
    window.start()
    added = window.viewer.add_image(image, name="late")
    assert not added.visible
    window.press(Qt.Key.Key_Escape)
    assert added.visible


def test_clicks_set_dots_right_clicks_and_keys_remove_them_and_enter_is_done(window):
    before = camera(window.viewer).zoom, camera(window.viewer).center
    window.start()
    drawn, model = window.audit.drawn, window.model
    n_before, height = len(window.work.dots), drawn.shown.frame[2] - 0.5
    for yx in model[2:]:
        window.click(yx - 1.0)
    window.counts(len(model) - 2)
    own = model[0] + 6.5  # as far as can be from all of them
    window.click(own)
    window.counts(len(model) - 1)
    window.click(own, RIGHT)
    window.counts(len(model) - 2)
    window.click(own, RIGHT)  # there is none any more
    window.click(own)
    window.press(Qt.Key.Key_Delete)  # the one under the mouse
    window.counts(len(model) - 2)
    window.click(own)
    window.click(model[0])
    window.press(Qt.Key.Key_Z, CTRL)  # the last one
    window.counts(len(model) - 1)
    beyond = (height + 3, drawn.shown.frame[1] + 10)
    if beyond[0] < drawn.shown.pixels.shape[0]:
        window.click(beyond)
        window.qtbot.waitUntil(lambda: window.section.note.text().startswith("1 of the dots is"))
    window.press(Qt.Key.Key_Return)
    assert window.audit.drawn is None
    n = len(model)
    assert window.said == (
        f"You counted {n - 1}; the model {drawn.predicted:.1f} (its dots: {n}). "
        f"{n - 2} matched, 1 you only, 2 model only."
    )
    assert window.audit.outcome.isVisible()
    (edit,) = window.edits
    assert edit.action == "audit"
    states, counts = np.unique(window.work.dots.state, return_counts=True)
    assert dict(zip(states.tolist(), counts.tolist(), strict=True)) == {
        "added": 1, "confirmed": n - 2, "removed": 2, "proposed": n_before - n,
    }  # fmt: skip
    assert window.work.dots.source[-1] == window.tally.correcting.author
    (region,) = window.work.regions
    assert (region.kind, region.name, region.stated, region.id) == (
        "audit", "Audit 1", None, f"{3:032x}",
    )  # fmt: skip
    assert (camera(window.viewer).zoom, camera(window.viewer).center) == before
    assert dots_layer(window.viewer.layers, window.key).visible
    assert window.tally.result.isVisible()


def test_what_was_audited_counts_as_reviewed_and_one_undo_takes_it_back(window):
    tally = window.tally
    states = window.work.dots.state.tolist()
    whole = tally.result.count
    window.start()
    drawn, model = window.audit.drawn, window.model
    for yx in model[:3]:
        window.click(yx)
    window.counts(3)
    window.qtbot.mouseClick(window.section.done_button, LEFT)
    window.settle()
    assert tally.result.count == pytest.approx(whole - drawn.predicted + 3, abs=0.01)
    row = next(row for row in tally.regions.rows() if row.name == "Audit 1")
    assert (row.kind, row.interval.kind) == ("audit", "exact")
    assert row.measured.count == pytest.approx(3)
    assert tally.correct.live_label.text().endswith("%")
    window.qtbot.mouseClick(tally.correct.undo_button, LEFT)
    window.settle()
    assert window.work.dots.state.tolist() == states
    assert window.work.regions == ()
    assert tally.result.count == pytest.approx(whole)
    assert len(region_layer(window.viewer.layers, window.key).data) == 0
    window.qtbot.mouseClick(tally.correct.redo_button, LEFT)
    window.settle()
    assert tally.result.count == pytest.approx(whole - drawn.predicted + 3, abs=0.01)


def test_a_typed_number_is_stated_and_counts_in_place_of_the_dots(window):
    tally, whole = window.tally, window.tally.result.count
    window.start()
    drawn = window.audit.drawn
    window.type_number(37)
    window.qtbot.keyClick(window.section.number_edit, Qt.Key.Key_Return)
    window.settle()
    assert window.said.startswith(f"You counted 37; the model {drawn.predicted:.1f} (its dots:")
    assert set(window.work.dots.state.tolist()) == {"proposed"}
    assert window.work.regions[0].stated == 37
    assert tally.result.count == pytest.approx(whole - drawn.predicted + 37, abs=0.01)
    row = next(row for row in tally.regions.rows() if row.name == "Audit 1")
    assert (row.interval.kind, row.stated) == ("exact", 37)
    assert row.measured.count == pytest.approx(37)
    assert tally.regions.correction[1] == "stated counts of 1 reviewed region"
    # A layer that is compared with the work says nothing of dots that nobody looked at.
    tally.correcting.catch(window.key)
    assert [edit.action for edit in window.edits] == ["audit"]
    # Without the number, the region is a reviewed one like any other.
    tally.regions.table.item(0, 7).setText("")
    window.settle()
    assert window.work.regions[0].by_dots
    assert set(window.work.dots.state.tolist()) == {"proposed", "confirmed"}


def test_a_number_below_that_of_the_dots_is_not_taken(window):
    window.start()
    for yx in window.model[:3]:
        window.click(yx)
    window.counts(3)
    window.type_number(2)
    window.qtbot.mouseClick(window.section.done_button, LEFT)
    assert window.section.note.text().startswith("2 was typed, but 3 dots are set")
    assert window.audit.drawn is not None
    assert window.edits == []


@pytest.mark.parametrize("how", ["escape", "escape in the dock", "button"])
def test_cancel_changes_nothing(window, how):
    states = window.work.dots.state.tolist()
    active = window.viewer.layers.selection.active
    window.start()
    window.press(Qt.Key.Key_Return)  # nothing was counted yet
    assert window.section.note.text() == "Click the cells first, or type 0 if there is none."
    window.click(window.model[0])
    window.counts(1)
    if how == "escape":
        window.press(Qt.Key.Key_Escape)
    elif how == "button":
        window.qtbot.mouseClick(window.section.cancel_button, LEFT)
    else:
        window.type_number(4)
        window.qtbot.keyClick(window.section.number_edit, Qt.Key.Key_Escape)
    assert window.said == "Cancelled: nothing was changed."
    assert window.audit.drawn is None
    assert window.work.dots.state.tolist() == states
    assert (window.work.regions, window.edits) == ((), [])
    assert not any("audit" in layer.name for layer in window.viewer.layers)
    assert window.viewer.layers.selection.active is active
    assert window.tally.result.isVisible()
    window.press(Qt.Key.Key_Return)  # no key is left behind
    window.press(Qt.Key.Key_Escape)
    window.start()
    assert window.section.number is None


def test_the_next_region_is_another_one_and_keeps_clear_of_the_first(window):
    for _ in range(2):
        window.start()
        window.type_number(5)
        window.press(Qt.Key.Key_Return)
        window.settle()
    first, second = window.work.regions
    assert [first.name, second.name] == ["Audit 1", "Audit 2"]
    low = np.maximum(first.polygon.min(axis=0), second.polygon.min(axis=0))
    high = np.minimum(first.polygon.max(axis=0), second.polygon.max(axis=0))
    assert (low >= high).any()


def test_an_image_that_is_closed_meanwhile_keeps_nothing(window):
    window.start()
    window.viewer.layers.remove(window.image)
    window.type_number(5)
    window.press(Qt.Key.Key_Return)
    assert window.said == "The image was closed while you counted; nothing was kept."
    assert window.edits == []


def test_the_answer_is_in_the_project(window, tmp_path):
    from celltally.project.images import all_images
    from celltally.project.work import load_work

    window.start()
    window.click(window.model[0])
    window.counts(1)
    window.press(Qt.Key.Key_Return)
    saving = window.tally.saving
    window.qtbot.waitUntil(lambda: not saving.busy, timeout=10_000)
    (entry,) = all_images(saving.store)
    work = load_work(saving.store, entry.id)
    (region,) = work.regions
    assert (region.kind, region.id) == ("audit", f"{3:032x}")
    prediction = window.tally.in_view.result.counted.prediction  # of which the id draws it again
    box = draw_apart(
        region_sums(prediction), prediction.image_shape, prediction.diameter_px,
        random_of(region.id),
    )  # fmt: skip
    np.testing.assert_array_equal(region.polygon, corners_of(box))
    assert int(np.count_nonzero(work.dots.state == "confirmed")) == 1
    assert work.undoable.action == "audit"


def test_closing_the_widget_shows_again_what_was_hidden(window):
    window.start()
    window.tally.leave()
    assert dots_layer(window.viewer.layers, window.key).visible
    assert not any("audit" in layer.name for layer in window.viewer.layers)
