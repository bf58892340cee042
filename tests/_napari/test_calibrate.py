"""The Calibrate widget: real widgets, clicks and keys; the net is replaced by a quick fake."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from celltally._napari import auditing
from celltally._napari.audit_result_section import summary_words
from celltally.errors import UserError
from celltally.intervals import Audit, AuditSummary
from celltally.learn.audit_store import AuditStore, store_path
from celltally.types import Calibration, Progress

BOX = ((39.5, 59.5), (39.5, 99.5), (79.5, 99.5), (79.5, 59.5))


def make_field(name, draw=0, predicted=18.0):
    from celltally.learn.audits import AuditField

    rng = np.random.default_rng(draw)
    audit = Audit(
        name, name, predicted, 1.0, float("nan"), 90.0, 4.0, {"contrast": 1.5}, {}, False, BOX
    )
    return AuditField(
        audit, draw, 10.0, rng.integers(0, 900, (60, 80)).astype(np.uint16),
        (10, 10, 50, 70), (30, 50), (0.0, 900.0),
    )  # fmt: skip


class FakeAudit:
    """Stands in for reading, counting and drawing."""

    def __init__(self):
        self.images = [f"secret_{i}.tif" for i in range(30)]
        self.pause, self.error, self.asked, self.saved = 0.0, None, [], []
        self.calibration = Calibration(1.0, 0.0, 1.0, tuple(np.linspace(0.1, 2, 40)), 40, 40, "")

    def begin(self, find, record, session):
        yield Progress(0, 0, "Loading the model")
        if self.error is not None:
            raise self.error
        self.asked.append(session)
        model = SimpleNamespace(name=record.name, calibration=self.calibration)
        return auditing.AuditRun(model, [], AuditStore(store_path(session), session))

    def field(self, run, taken=()):
        for _ in range(max(int(self.pause / 0.01), 1)):
            yield Progress(0, 0, "counting, for you not to see")
            time.sleep(0.01)
        done = run.store.done | set(taken)
        left = [name for name in self.images if (name, 0) not in done]
        return make_field(left[0]) if left else None

    def copy(self, run, name):
        yield Progress(0, 0)
        self.saved.append(name)
        return auditing.copy_place(name)


@pytest.fixture
def audits(monkeypatch, tmp_path, counter):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    fake = FakeAudit()
    monkeypatch.setattr(auditing, "begin_job", fake.begin)
    monkeypatch.setattr(auditing, "field_job", fake.field)
    monkeypatch.setattr(auditing, "copy_job", fake.copy)
    return fake


@pytest.fixture
def calibrate(viewer, audits, qtbot, tmp_path):
    """The widget, with a folder chosen."""
    from celltally._napari.calibrate import CalibrateWidget

    widget = CalibrateWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Calibrate")
    until(qtbot, lambda: not widget.model.loading)
    widget.setup.choose_folder(str(tmp_path))
    yield widget
    widget.jobs.stop()


@pytest.fixture
def begun(calibrate, qtbot, click):
    """The widget with the first region shown."""
    click(calibrate.run.button)
    until(qtbot, lambda: calibrate.field is not None)
    return calibrate


def clicked(viewer, qtbot, yx):
    """Click with the mouse at a place of the region, (y, x) in pixels of what is shown."""
    canvas = viewer.window._qt_viewer.canvas
    x, y = canvas.view.scene.transform.map([yx[1], yx[0], 0, 1])[:2]
    from qtpy.QtCore import QPoint

    qtbot.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=QPoint(int(x), int(y)))


def until(qtbot, done):
    """Wait for what a busy machine takes its time for."""
    qtbot.waitUntil(done, timeout=30_000)


def shown(widget, qtbot, index):
    until(qtbot, lambda: widget.field is not None and widget._at == index)


def entries(widget):
    return widget.audit.store.answers


def test_nothing_is_begun_on_bad_input(viewer, audits, qtbot, click):
    from celltally._napari.calibrate import CalibrateWidget

    widget = CalibrateWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Calibrate")
    until(qtbot, lambda: not widget.model.loading)
    assert widget.problem() == "Choose a folder with images of your microscope."
    assert not widget.run.button.isEnabled()
    widget.start()
    widget.setup.source_box.setCurrentIndex(1)
    assert widget.problem().startswith("Open images of your microscope first")
    viewer.add_image(np.zeros((40, 50)), name="mine")
    assert widget.problem() is None
    assert [name for name, _ in widget.setup.planes()] == ["mine"]
    assert audits.asked == []
    widget.jobs.stop()


def test_the_region_is_all_that_is_seen(begun, viewer):
    field = begun.field
    names = " ".join(layer.name for layer in viewer.layers)
    assert "secret" not in names
    assert [layer.name for layer in viewer.layers] == [
        "audit region", "audit frame", "audit dots",
    ]  # fmt: skip
    np.testing.assert_array_equal(viewer.layers["audit region"].data, field.pixels)
    told = [label.text() for label in begun.counting.findChildren(QLabel)]
    assert not any("secret" in text or "18" in text for text in told)
    assert begun.model.isHidden()
    assert not begun.counting.isHidden()
    assert viewer.layers.selection.active.mode == "add"


def test_other_layers_are_hidden_and_come_back(calibrate, viewer, qtbot, click):
    seen = viewer.add_image(np.zeros((40, 50)), name="density", scale=(0.5, 0.5))
    off = viewer.add_image(np.zeros((40, 50)), name="off", visible=False)
    click(calibrate.run.button)
    shown(calibrate, qtbot, 0)
    assert not seen.visible
    calibrate.counting.number_edit.setValue(3)
    click(calibrate.counting.next_button)
    shown(calibrate, qtbot, 1)
    click(calibrate.counting.finish_button)
    assert seen.visible
    assert not off.visible
    assert [layer.name for layer in viewer.layers] == ["density", "off"]


@pytest.mark.gui
def test_cells_are_clicked_and_enter_goes_on(begun, viewer, qtbot):
    viewer.window._qt_window.show()
    qtbot.wait(300)
    for yx in ((20, 20), (30, 30), (40, 60)):
        clicked(viewer, qtbot, yx)
        qtbot.wait(60)
    until(qtbot, lambda: begun.counting.number == 3)
    qtbot.keyClick(viewer.window._qt_viewer.canvas.native, Qt.Key.Key_Return)
    shown(begun, qtbot, 1)
    (entry,) = entries(begun)
    assert (entry["entry"], entry["counted"]) == ("counted", 3)
    np.testing.assert_allclose(entry["dots"], [(50, 70), (60, 80), (70, 110)], atol=1.5)
    assert len(begun.layers.dots.data) == 0  # of the next region


def test_a_number_is_typed_and_enter_goes_on(begun, qtbot):
    begun.layers.dots.add([20, 20])
    until(qtbot, lambda: begun.counting.number == 1)
    edit = begun.counting.number_edit
    edit.setFocus()
    edit.selectAll()
    qtbot.keyClicks(edit, "21")
    begun.layers.dots.add([25, 20])
    qtbot.wait(80)
    assert begun.counting.number == 21  # the dots no longer change it
    qtbot.keyClick(edit, Qt.Key.Key_Return)
    shown(begun, qtbot, 1)
    assert entries(begun)[0]["counted"] == 21


def test_no_number_is_no_answer_and_zero_is_one(begun, qtbot, click):
    click(begun.counting.next_button)
    assert begun.counting.note.text() == "Click the cells first, or type 0 if there is none."
    assert (entries(begun), begun._at) == ([], 0)
    begun.counting.number_edit.setValue(0)
    click(begun.counting.next_button)
    shown(begun, qtbot, 1)
    assert entries(begun)[0]["counted"] == 0


def test_left_and_top_edges_are_in_right_and_bottom_ones_out(begun, qtbot, click):
    for yx in ((9.5, 30.0), (30.0, 9.5), (30.0, 30.0)):
        begun.layers.dots.add(yx)
    for yx in ((49.5, 30.0), (30.0, 69.5)):
        begun.layers.dots.add(yx)
    until(qtbot, lambda: begun.counting.number is not None)
    assert begun.counting.number == 3
    assert begun.counting.note.text() == "2 of the dots are outside the frame and not counted."
    click(begun.counting.undo_button)
    until(qtbot, lambda: begun.counting.note.text().startswith("1 of the dots is"))
    assert begun.counting.number == 3


def test_skip_says_why_and_back_changes_an_answer(begun, qtbot, click):
    assert not begun.counting.back_button.isEnabled()
    begun.layers.dots.add([20, 20])
    until(qtbot, lambda: begun.counting.number == 1)
    click(begun.counting.next_button)
    shown(begun, qtbot, 1)
    begun.counting.reason_box.setCurrentIndex(1)
    click(begun.counting.skip_button)
    shown(begun, qtbot, 2)
    assert "(1 left out)" in begun.counting.progress.text()
    click(begun.counting.back_button)
    assert begun.counting.note.text() == "Left out: out of focus."
    click(begun.counting.back_button)
    assert begun.counting.number == 1
    assert len(begun.layers.dots.data) == 1
    begun.layers.dots.add([22, 25])
    until(qtbot, lambda: begun.counting.number == 2)
    click(begun.counting.next_button)
    assert begun._at == 1
    assert [e.get("counted") for e in entries(begun)] == [2, None]


def test_it_says_how_many_are_needed_and_goes_on_in_another_session(
    begun, viewer, qtbot, click, tmp_path
):
    assert begun.counting.progress.text().startswith("0 of 19 images audited: 19 more needed")
    for i in range(2):
        begun.counting.number_edit.setValue(7)
        click(begun.counting.next_button)
        shown(begun, qtbot, i + 1)
    assert begun.counting.progress.text() == (
        "2 of 19 images audited: 17 more needed for a calibrated interval."
    )
    assert begun.counting.saved.text() == "2 counts saved"
    seed = begun.audit.store.session.seed
    begun.leave()  # as when the program ends

    from celltally._napari.calibrate import CalibrateWidget

    again = CalibrateWidget(viewer)
    viewer.window.add_dock_widget(again, name="Calibrate again")
    until(qtbot, lambda: not again.model.loading)
    again.setup.choose_folder(str(tmp_path))
    click(again.run.button)
    shown(again, qtbot, 0)
    assert again.audit.store.session.seed == seed
    assert again.field.audit.image == "secret_2.tif"
    assert again.counting.saved.text() == "2 counts saved"
    again.jobs.stop()


def test_waiting_can_be_cancelled(calibrate, audits, qtbot, click):
    audits.pause = 5.0
    click(calibrate.run.button)
    until(qtbot, lambda: calibrate._auditing and not calibrate.run.running_row.isHidden())
    click(calibrate.run.cancel_button)
    until(qtbot, lambda: not calibrate.running)
    assert calibrate.run.message.text() == "Stopped; everything that you counted is saved."
    assert not calibrate.setup.isHidden()


def test_an_error_is_a_sentence(calibrate, audits, qtbot, click, monkeypatch):
    from celltally._napari import calibrate as module

    told = []
    monkeypatch.setattr(module, "show_error", told.append)
    audits.error = UserError("/x has no images; choose another folder")
    click(calibrate.run.button)
    until(qtbot, lambda: bool(told))
    assert told == ["/x has no images; choose another folder"]
    assert calibrate.run.message.text() == told[0]
    assert calibrate.run.button.isEnabled()


def test_an_answer_that_cannot_be_saved_is_not_lost(begun, qtbot, click, monkeypatch):
    from celltally._napari import calibrate as module

    monkeypatch.setattr(module, "show_error", lambda text: None)
    path = begun.audit.store.path
    path.unlink()
    path.mkdir()
    begun.counting.number_edit.setValue(7)
    click(begun.counting.next_button)
    assert "cannot be saved" in begun.counting.note.text()
    assert (begun._at, begun.counting.number) == (0, 7)


def test_the_end_shows_before_and_after_and_saves_a_copy(begun, audits, viewer, qtbot, click):
    for i in range(3):
        begun.counting.number_edit.setValue(22)
        click(begun.counting.next_button)
        shown(begun, qtbot, i + 1)
    click(begun.counting.finish_button)
    until(qtbot, lambda: not begun.result.isHidden())
    words = begun.result.words.text()
    assert (
        "You counted 66 cells in 3 regions of 3 images, the model 54 (18\u202f% too few)." in words
    )
    assert "before: right in 0 of 3 regions" in words
    assert "3 of 19 images audited: 16 more needed" in words
    assert begun.run.message.text() == ""  # said once
    assert begun.result.name_edit.text() == "fake my microscope"
    reloads = []
    begun.model.reload = lambda: reloads.append(1)
    click(begun.result.run.button)
    until(qtbot, lambda: begun._saving is None)
    assert audits.saved == ["fake my microscope"]
    assert begun.result.run.message.text() == (
        "Saved: choose the model “fake my microscope” in Tally."
    )
    assert reloads == [1]


def test_there_may_be_no_further_region(begun, audits, qtbot, click):
    audits.images = audits.images[:2]
    for _ in range(40):
        if begun.field is None:
            break
        begun.counting.number_edit.setValue(5)
        click(begun.counting.next_button)
        until(qtbot, lambda: begun.field is not None or not begun._auditing)
    until(qtbot, lambda: not begun.result.isHidden())
    assert begun.run.message.text().startswith("There is no further region to draw")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "general"])
def test_names_that_no_copy_can_have(name, monkeypatch, tmp_path, make_record):
    from celltally import zoo

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(zoo, "available", lambda: [make_record(name="general")])
    with pytest.raises(UserError):
        auditing.copy_place(name)
    assert auditing.copy_place("mine 2").name == "mine 2"


def test_words_of_a_summary():
    one = AuditSummary(1, 1, 10.0, 0.0, float("nan"), 0, None, 1.0)
    assert summary_words(one, "images").splitlines() == [
        "You counted 0 cells in 1 region of 1 image, the model 10.",
        "95\u202f% interval before: right in 0 of 1 regions.",
        "Intervals of regions become about as wide as before.",
        "1 of 19 images audited: 18 more needed for a calibrated interval.",
    ]
    many = AuditSummary(40, 20, 800.0, 1000.0, -0.2, 21, 39, 1.83)
    words = summary_words(many, "wells")
    assert "(20\u202f% too few)" in words
    assert "right in 39 of 40 regions, each judged by an interval made without its well." in words
    assert "become 1.8 times as wide as before." in words
    assert words.endswith("20 wells audited: enough for a calibrated interval.")
