from __future__ import annotations

import threading

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication

from celltally._napari import display, image_section, shown_dots
from celltally._napari import tally as module
from celltally._napari.compat import camera
from celltally._napari.counting import Looked
from celltally._napari.layers import density_layer, dots_layer, ring_layer
from celltally._napari.planes import key_of
from celltally.batch.outputs import check_replaceable
from celltally.errors import UserError
from celltally.io import read_dots
from celltally.project.images import all_images, register
from celltally.types import Interval, Progress

pytestmark = pytest.mark.gui


def layers_of(tally):
    key = key_of(tally.image.layer)
    return density_layer(tally.viewer.layers, key), dots_layer(tally.viewer.layers, key)


def test_without_an_image_nothing_can_be_started(tally, counter, qtbot, click):
    assert not tally.count_section.count_button.isEnabled()
    assert "Open an image" in tally.image.note.text()
    click(tally.count_section.count_button)
    tally.count()
    qtbot.wait(50)
    assert counter.calls == []
    assert not tally.running


def test_counting_shows_count_interval_dots_and_layers(counted, counter):
    density, dots = layers_of(counted)
    assert counted.result.count_label.text() == "4 cells"
    assert counted.result.interval.low < 3.6 < counted.result.interval.high
    assert counted.result.interval_label.text() == "1 – 6"
    assert counted.result.n_dots == len(dots.data) == 4
    assert "as many as counted" in counted.result.dots_label.text()
    assert "fake" in counted.result.origin_label.text()
    assert (density.name, dots.name) == ("cells density", "cells dots")
    plane, record, diameter, name = counter.calls[0]
    assert (plane.shape, record.name, diameter, name) == ((120, 160), "fake", 10.0, "cells")


def test_a_dot_lands_on_its_cell_in_the_world(counted):
    _, dots = layers_of(counted)
    world = np.array([dots.data_to_world(d) for d in dots.data])
    # The image has half a unit per pixel and begins at (10, 20).
    np.testing.assert_allclose(np.abs(world - [20.0, 35.0]).sum(axis=1).min(), 0, atol=0.3)


def test_the_density_lies_between_image_and_dots(counted):
    assert [layer.name for layer in counted.viewer.layers] == [
        "cells",
        "cells density",
        "cells dots",
    ]
    assert {layer.name for layer in counted.viewer.layers.selection} == {"cells"}


def test_moving_the_threshold_moves_the_dots_without_counting(counted, counter, click):
    _, dots = layers_of(counted)
    slider = counted.result.slider
    slider.setValue(int(slider.maximum() * 0.9))
    assert len(dots.data) == 3
    assert "1 fewer than counted" in counted.result.dots_label.text()
    assert counted.result.count_label.text() == "4 cells"
    slider.setValue(slider.maximum())
    assert len(dots.data) == 0
    click(counted.result.reset_button)
    assert len(dots.data) == 4
    assert len(counter.calls) == 1


def test_dots_keep_their_ids_when_the_threshold_moves(counted):
    _, dots = layers_of(counted)
    before = list(dots.features["id"])
    counted.result.slider.setValue(int(counted.result.slider.maximum() * 0.9))
    assert set(dots.features["id"]) < set(before)


def test_another_level_changes_the_interval_only(counted, counter):
    wide = counted.result.interval
    counted.result.level_box.setCurrentIndex(0)
    narrow = counted.result.interval
    assert narrow.level == 0.5
    assert wide.low < narrow.low < narrow.high < wide.high
    assert len(counter.calls) == 1


def test_counting_again_uses_the_same_layers(counted, press):
    before = layers_of(counted)
    press(counted)
    assert layers_of(counted) == before
    assert len(counted.viewer.layers) == 3


def test_counting_again_keeps_what_a_human_did(counted, press, qtbot):
    _, dots = layers_of(counted)
    dots.add([5.0, 5.0])
    qtbot.waitUntil(lambda: counted.result.n_dots == 5)
    dots.selected_data = {0}
    dots.remove_selected()
    before = set(dots.features["id"])
    press(counted)
    assert layers_of(counted)[1] is dots
    assert len(counted.viewer.layers) == 3
    states = sorted(dots.features["state"])
    assert states == ["added", "proposed", "proposed", "proposed", "removed"]
    assert len(before & set(dots.features["id"])) == 1  # the added one; proposals are others
    assert counted.result.n_dots == 4


def save_dots(tally, path, qtbot):
    path.unlink(missing_ok=True)
    tally.save_dots(str(path))
    qtbot.waitUntil(path.exists)


def test_dots_that_a_human_added_are_saved(counted, tmp_path, qtbot):
    _, dots = layers_of(counted)
    dots.add([5.0, 6.0])
    path = tmp_path / "dots.csv"
    save_dots(counted, path, qtbot)
    saved = read_dots(path)
    assert len(saved) == 5
    assert saved.state.tolist().count("added") == 1
    assert [5.0, 6.0] in saved.yx.tolist()


def test_dots_that_a_human_removed_are_saved_as_such_and_not_overwritten(counted, tmp_path, qtbot):
    path = tmp_path / "cells.csv"
    save_dots(counted, path, qtbot)
    check_replaceable([path], [], None)  # as counting a folder would have written it
    before = read_dots(path)
    _, dots = layers_of(counted)
    dots.selected_data = {1, 2}
    dots.remove_selected()
    save_dots(counted, path, qtbot)
    assert counted.result.n_dots == 2
    saved = read_dots(path)
    assert saved.id.tolist() == before.id.tolist()
    assert saved.state.tolist() == ["proposed", "removed", "removed", "proposed"]
    for name in ("yx", "score", "source"):
        np.testing.assert_array_equal(getattr(saved, name), getattr(before, name))
    with pytest.raises(UserError, match="not written by counting"):
        check_replaceable([path], [], None)


def test_counts_are_saved_and_a_bad_place_is_told(counted, tmp_path, capsys):
    path = tmp_path / "counts.csv"
    counted.save_counts(str(path))
    header, row = path.read_text().splitlines()
    assert header.startswith("image,t,z,class,count,ci_low,ci_high")
    assert row.startswith("cells,0,0,cell,3.6")
    counted.save_counts(str(tmp_path / "none" / "counts.csv"))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("calibrated", ""),
        ("exact", ""),
        ("provisional", "calibrated on 12 independent groups of images only, too few for 0.99"),
        (
            "not calibrated",
            "; ".join(["contrast much lower than any seen (0.02; seen: 0.1 to 1)"] * 5),
        ),
    ],
)
def test_no_kind_of_interval_is_cut_off(
    kind, reason, make_napari_viewer, counter, image, open_tally, press, qtbot
):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    tally = open_tally(viewer)
    viewer.add_image(image)
    press(tally)
    tally.result.show_interval(Interval(1190, 1280, 0.95, kind, reason))
    label = tally.result.kind_label
    assert reason in label.text()
    assert label.isVisible() == (kind != "calibrated")
    qtbot.waitUntil(lambda: label.height() >= label.heightForWidth(label.width()))
    bottom = tally.result.mapTo(tally, tally.result.rect().bottomRight())
    assert tally.rect().contains(bottom)
    assert tally.result.interval_label.width() >= tally.result.interval_label.sizeHint().width()


def test_copy_gives_plain_digits(counted, click):
    click(counted.result.copy_button)
    assert QApplication.clipboard().text() == "4\t1\t6\t4"


def test_cancel_in_the_middle_changes_nothing(tally, viewer, image, counter, qtbot, click, start):
    counter.steps, counter.pause = 10_000, 0.001
    viewer.add_image(image, name="cells")
    start(tally)
    qtbot.waitUntil(lambda: tally.count_section.bar.maximum() == 10_000)
    assert tally.running
    click(tally.count_section.cancel_button)
    qtbot.waitUntil(lambda: not tally.running)
    qtbot.waitUntil(lambda: counter.closed)
    assert len(viewer.layers) == 1
    assert "Cancelled" in tally.count_section.message.text()
    assert tally.count_section.count_button.isEnabled()


def test_a_user_error_is_one_sentence(tally, viewer, image, counter, monkeypatch, press):
    told = []
    monkeypatch.setattr(module, "show_error", told.append)
    counter.error = UserError("the memory does not suffice; close other programs")
    viewer.add_image(image)
    press(tally)
    assert told == ["The memory does not suffice; close other programs"]
    assert tally.count_section.message.text() == told[0]
    assert tally.count_section.count_button.isEnabled()


def test_a_defect_is_one_sentence_and_the_detail_is_logged(
    tally, viewer, image, counter, monkeypatch, caplog, press
):
    told = []
    monkeypatch.setattr(module, "show_error", told.append)
    counter.error = RuntimeError("tensor of the wrong shape")
    viewer.add_image(image)
    press(tally)
    assert told == ["Something went wrong (RuntimeError); see the log for details."]
    assert "tensor of the wrong shape" in caplog.text


def test_closing_the_image_in_the_middle_is_safe(tally, viewer, image, counter, qtbot, start):
    counter.steps, counter.pause = 20, 0.01
    layer = viewer.add_image(image)
    start(tally)
    qtbot.wait(50)
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: not tally.running)
    assert len(viewer.layers) == 0
    assert "closed" in tally.count_section.message.text()
    assert not tally.count_section.count_button.isEnabled()


def by_window(viewer, widget):
    viewer.window.remove_dock_widget(widget)


def by_button(viewer, widget):
    widget.parent().title.close_button.click()


def gone(widget):
    """Return a list that is filled when the widget is destroyed."""
    died = []
    widget.destroyed.connect(lambda: died.append(True))
    return died


@pytest.mark.parametrize("close", [by_window, by_button])
def test_closing_the_dock_in_the_middle_ends_the_count(
    close, viewer, image, counter, qtbot, open_tally, start, monkeypatch
):
    counter.steps, counter.pause = 10_000, 0.001
    widget = open_tally(viewer)
    viewer.add_image(image)
    start(widget)
    qtbot.waitUntil(lambda: bool(counter.calls))
    died = gone(widget)
    close(viewer, widget)
    qtbot.waitUntil(lambda: bool(died))
    qtbot.waitUntil(lambda: counter.closed)
    looked = []
    monkeypatch.setattr(image_section, "look_job", lambda *a, **k: looked.append(a))
    viewer.add_image(image)
    qtbot.wait(50)
    assert looked == []
    assert len(viewer.layers) == 2
    viewer.layers.clear()


@pytest.mark.parametrize("close", [by_window, by_button])
def test_closing_the_dock_after_a_count_leaves_the_layers_alone(
    close, counted, viewer, qtbot, monkeypatch
):
    _, dots = layers_of(counted)
    died, calls = gone(counted), []
    for kind, name in ((display.Display, "_show_dots"), (shown_dots.ShownDots, "_write")):
        monkeypatch.setattr(kind, name, lambda *a: calls.append(a))
    close(viewer, counted)
    qtbot.waitUntil(lambda: bool(died))
    dots.add([5.0, 5.0])
    viewer.layers["cells"].name = "plate 1"
    camera(viewer).zoom *= 2
    qtbot.wait(shown_dots.FOLLOW_AFTER + 50)
    assert calls == []
    assert len(viewer.layers) == 3


def test_only_the_reopened_widget_follows_view_and_edits(
    counted, viewer, image, qtbot, open_tally, monkeypatch
):
    died = gone(counted)
    by_button(viewer, counted)
    qtbot.waitUntil(lambda: bool(died))
    again = open_tally(viewer)
    monkeypatch.setattr(shown_dots, "MOST_DOTS", 3)
    put, real = [], shown_dots.ShownDots._write
    monkeypatch.setattr(
        shown_dots.ShownDots, "_write", lambda self, *a: (put.append(self), real(self, *a))
    )
    camera(viewer).zoom *= 2
    qtbot.waitUntil(lambda: bool(put))
    qtbot.wait(200)
    assert all(shown is again.correcting.shown for shown in put)
    monkeypatch.setattr(shown_dots, "MOST_DOTS", 5_000)
    again.correcting.shown.put(key_of(again.image.layer))
    _, dots = layers_of(again)
    dots.add([5.0, 5.0])
    qtbot.waitUntil(lambda: again.result.n_dots == len(dots.data) == 5)


def test_a_reopened_widget_hears_of_edits(counted, viewer, qtbot, open_tally):
    died = gone(counted)
    by_window(viewer, counted)
    qtbot.waitUntil(lambda: bool(died))
    again = open_tally(viewer)
    _, dots = layers_of(again)
    dots.add([5.0, 5.0])
    qtbot.waitUntil(lambda: again.result.n_dots == 5)


def test_a_hidden_floating_or_moved_dock_is_not_closed(counted, viewer, image, qtbot, press):
    died, dock = gone(counted), counted.parent()
    dock.title.hide_button.click()
    qtbot.wait(50)
    dock.toggleViewAction().trigger()
    dock.setFloating(True)
    qtbot.wait(50)
    dock.setFloating(False)
    viewer.window.remove_dock_widget(counted)
    viewer.window.add_dock_widget(counted, name="Tally again", tabify=True)
    qtbot.wait(50)
    assert died == []
    viewer.add_image(image, name="second")
    press(counted)
    assert counted.result.count_label.text() == "4 cells"
    assert len(viewer.layers) == 6


def test_a_reopened_widget_still_knows_the_result(counted, viewer, open_tally):
    again = open_tally(viewer)
    assert again.image.layer.name == "cells"
    assert again.result.count_label.text() == "4 cells"
    assert again.result.n_dots == 4


def test_a_closed_image_is_given_back(counted, viewer):
    viewer.layers.remove("cells")
    assert not counted._results.images()


def test_an_image_that_was_not_counted_is_no_copy_when_it_is_opened_again(
    tally, viewer, image, qtbot, press, tmp_path
):
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, image)
    viewer.open(str(path), plugin="napari")
    qtbot.waitUntil(lambda: not tally.saving.busy)
    register(tally.saving.store, name=path.name, path=path)  # as the Study widget adds files
    viewer.layers.clear()
    viewer.open(str(path), plugin="napari")
    qtbot.waitUntil(lambda: not tally.saving.busy)
    viewer.layers.clear()  # neither this time
    viewer.open(str(path), plugin="napari")
    press(tally)
    qtbot.waitUntil(lambda: not tally.saving.busy)
    assert [entry.scene for entry in all_images(tally.saving.store)] == [None]


def test_our_layers_are_no_images_to_count(counted):
    names = [counted.image.layer_box.itemText(i) for i in range(counted.image.layer_box.count())]
    assert names == ["cells"]


def test_each_image_has_its_own_result(counted, viewer, image, qtbot):
    viewer.add_image(image, name="second")
    qtbot.waitUntil(lambda: counted.problem() is None)
    assert counted.image.layer.name == "second"
    assert counted.result.interval is None
    assert not counted.result.empty.isHidden()
    counted.image.layer_box.setCurrentIndex(0)
    assert counted.image.layer.name == "cells"
    assert counted.result.count_label.text() == "4 cells"


def test_a_renamed_image_is_renamed_in_the_list(counted, viewer):
    viewer.layers["cells"].name = "plate 1"
    assert counted.image.layer_box.itemText(0) == "plate 1"


def test_the_plane_in_view_is_counted_and_named(tally, viewer, image, counter, press):
    viewer.add_image(np.stack([image] * 7), axis_labels=("t", "y", "x"))
    viewer.dims.set_current_step(0, 5)
    assert tally.image.plane_label.text() == "t 5"
    press(tally)
    assert counter.calls[0][0].position == (5,)
    assert tally.result.origin_label.text().splitlines()[1] == "t 5"


def test_a_3d_view_is_refused_in_words(tally, viewer, image, counter, qtbot):
    viewer.add_image(np.stack([image] * 3))
    qtbot.waitUntil(lambda: tally.problem() is None)
    viewer.dims.ndisplay = 3
    assert "2-D" in tally.count_section.message.text()
    assert not tally.count_section.count_button.isEnabled()
    tally.count()
    assert counter.calls == []


def test_the_diameter_is_estimated_and_cannot_be_negative(tally, viewer, image, qtbot):
    viewer.add_image(image)
    qtbot.waitUntil(lambda: tally.image.diameter_px == 10.0)
    tally.image.diameter_edit.setValue(-5)
    assert tally.image.diameter_px is None
    assert "cell diameter" in tally.problem()
    assert not tally.count_section.count_button.isEnabled()
    tally.image.diameter_edit.setValue(12)
    assert tally.problem() is None


def test_a_diameter_that_cannot_be_estimated_is_asked_for_once(
    tally, viewer, image, qtbot, monkeypatch
):
    def look(plane, *, guess):
        yield Progress(0, 0)
        return Looked(None, None)

    monkeypatch.setattr(image_section, "look_job", look)
    viewer.add_image(image)
    qtbot.waitUntil(lambda: bool(tally.image.note.text()))
    assert "measure one cell" in tally.image.note.text()
    assert tally.count_section.message.isHidden()
    assert not tally.count_section.count_button.isEnabled()
    tally.image.diameter_edit.setValue(20)
    assert tally.image.note.isHidden()
    tally.image.diameter_edit.setValue(0)
    assert "Enter the cell diameter" in tally.count_section.message.text()


def test_what_is_estimated_late_does_not_touch_what_was_chosen_since(
    tally, viewer, image, qtbot, monkeypatch
):
    go = threading.Event()

    def look(plane, *, guess):
        yield Progress(0, 0)
        if plane.channel is None:
            go.wait(10)
        return Looked(plane.channel, 10.0 if plane.channel is None else 20.0)

    monkeypatch.setattr(image_section, "look_job", look)
    viewer.add_image(np.stack([image] * 3, axis=-1), rgb=True, name="colours")
    tally.image.channel_box.setCurrentIndex(tally.image.channel_box.findText("red"))
    qtbot.waitUntil(lambda: tally.image.diameter_px == 20.0)
    assert tally.image.estimate_button.isEnabled()
    go.set()
    qtbot.wait(200)
    assert tally.image.diameter_px == 20.0


def test_the_estimate_button_speaks_of_the_image_in_view(tally, viewer, image, qtbot, monkeypatch):
    viewer.add_image(image, name="a")
    qtbot.waitUntil(lambda: tally.image.diameter_px == 10.0)
    go = threading.Event()

    def look(plane, *, guess):
        yield Progress(0, 0)
        go.wait(10)
        return Looked(None, 20.0)

    monkeypatch.setattr(image_section, "look_job", look)
    viewer.add_image(image, name="b")
    button = tally.image.estimate_button
    assert (button.text(), button.isEnabled()) == ("Estimating…", False)
    tally.image.layer_box.setCurrentIndex(0)
    assert (button.text(), button.isEnabled()) == ("Estimate", True)
    go.set()
    qtbot.wait(200)
    tally.image.layer_box.setCurrentIndex(1)
    assert (button.text(), button.isEnabled()) == ("Estimate", True)
    assert tally.image.diameter_px == 20.0


def test_the_colour_that_shows_the_cells_is_guessed_and_can_be_chosen(
    tally, viewer, image, counter, qtbot, press
):
    colours = np.zeros((120, 160, 3), np.uint8)
    colours[..., 2] = image // 2
    viewer.add_image(colours, rgb=True)
    qtbot.waitUntil(lambda: tally.problem() is None)
    assert tally.image.channel_box.currentText() == "blue"
    press(tally)
    assert (counter.calls[0][0].read() == colours[..., 2]).all()
    tally.image.channel_box.setCurrentIndex(1)
    press(tally)
    assert (counter.calls[1][0].read() == 0).all()
    assert "red channel" in tally.result.origin_label.text()


def test_micrometres_and_pixels_go_together(tally, viewer, image, qtbot):
    viewer.add_image(image, scale=(0.5, 0.5))
    qtbot.waitUntil(lambda: tally.image.diameter_px == 10.0)
    assert tally.image.pixel_um == 0.5
    assert tally.image.micron_edit.value() == 5.0
    tally.image.micron_edit.setValue(8.0)
    assert tally.image.diameter_px == 16.0
    tally.image.pixel_edit.setValue(0.25)
    assert tally.image.micron_edit.value() == 4.0
    assert tally.image.diameter_px == 16.0


def test_a_typed_diameter_is_kept_per_image(tally, viewer, image, qtbot):
    viewer.add_image(image, name="a")
    qtbot.waitUntil(lambda: tally.image.diameter_px == 10.0)
    tally.image.diameter_edit.setValue(33)
    viewer.add_image(image, name="b")
    qtbot.waitUntil(lambda: tally.image.diameter_px == 10.0)
    tally.image.layer_box.setCurrentIndex(0)
    assert tally.image.diameter_px == 33


def test_the_ring_comes_follows_and_goes(tally, viewer, image, qtbot):
    viewer.add_image(image, name="cells")
    qtbot.waitUntil(lambda: tally.problem() is None)
    tally.image.ring_box.click()
    ring = ring_layer(viewer.layers, key_of(tally.image.layer))
    assert ring.size[0] == 10.0
    tally.image.diameter_edit.setValue(25)
    assert ring.size[0] == 25.0
    tally.image.ring_box.click()
    assert ring not in viewer.layers


def test_the_model_card_and_its_warnings(tally, viewer, image, qtbot):
    assert "For nuclei of the tests." in tally.model.card.text()
    assert tally.model.warning.isHidden()
    tally.model.model_box.setCurrentIndex(1)
    assert tally.model.record.name == "other"
    assert "not calibrated" in tally.model.warning.text()
    viewer.add_image(image)
    qtbot.waitUntil(lambda: tally.problem() is None)
    tally.image.diameter_edit.setValue(150)
    assert "larger" in tally.model.warning.text()


def test_many_dots_are_shown_where_one_looks(
    tally, viewer, image, counter, qtbot, press, monkeypatch
):
    monkeypatch.setattr(shown_dots, "MOST_DOTS", 3)
    viewer.add_image(image)
    press(tally)
    _, dots = layers_of(tally)
    assert len(dots.data) == 0
    assert "Zoom in" in tally.result.dots_label.text()
    monkeypatch.setattr(shown_dots, "window_in_view", lambda *_: (0.0, 0.0, 60.0, 100.0))
    camera(viewer).zoom *= 2
    qtbot.waitUntil(lambda: len(dots.data) == 2)
    assert "2 in view" in tally.result.dots_label.text()
    assert dots.editable
    dots.add([5.0, 5.0])
    dots.selected_data = {0}
    dots.remove_selected()
    work = tally.correcting.work(key_of(tally.image.layer))
    states = ["added", "proposed", "proposed", "proposed", "removed"]
    qtbot.waitUntil(lambda: sorted(work.dots.state) == states)
    qtbot.waitUntil(lambda: tally.result.n_dots == 4)


def test_two_viewers_do_not_meet(make_napari_viewer, counter, image, open_tally, press):
    viewers = [make_napari_viewer(), make_napari_viewer()]
    widgets = [open_tally(viewer) for viewer in viewers]
    viewers[0].add_image(image, name="one")
    press(widgets[0])
    assert len(viewers[0].layers) == 3
    assert len(viewers[1].layers) == 0
    assert widgets[1].result.interval is None


def test_after_a_count_the_card_leaves_room_and_another_model_is_told_whole(counted):
    card = counted.model.card
    brief = card.text()
    assert brief == "For nuclei of the tests."
    box = counted.model.model_box
    box.setCurrentIndex(1 - box.currentIndex())
    assert len(card.text()) > len(brief)
