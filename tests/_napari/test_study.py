"""The *Study* widget: the table follows its project, opens images, locks, sets, plots, exports."""

from __future__ import annotations

import csv
import math
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QDockWidget, QMainWindow

from celltally import intervals
from celltally._napari import study_follow
from celltally._napari.compat import camera
from celltally._napari.layers.own import own_role
from celltally._napari.pictures import PAPER
from celltally._napari.planes import pixel_size_um
from celltally._napari.study import StudyWidget
from celltally._napari.study_lines import arranged, columns_of, lines_of
from celltally._napari.study_plots import Plot, draw
from celltally._napari.study_table import INDENT
from celltally.errors import UserError
from celltally.project import counts, images, remembering, study, study_lock, work
from celltally.project.edits import Edit, diff_dots, diff_regions
from celltally.project.store import Store
from celltally.types import Dots, Region

pytestmark = pytest.mark.gui

SHAPE = (120, 160)
#: Dots at the cells of the fake prediction.
CELLS = np.array([[20.0, 30.0], [50.0, 80.0], [90.0, 40.0], [100.0, 130.0]])


def square(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float)


def count(store, number, prediction, **changes):
    """Keep a count of an image, and its dots as proposals."""
    facts = {"threshold": 0.5, "t": 0, "z": 0} | changes
    dots = Dots.new(
        CELLS, score=np.linspace(0.6, 0.9, 4), source=prediction.model_sha256, t=facts["t"]
    )
    interval = intervals.of(prediction)
    counts.add_prediction(store, number, prediction, interval, dots, **facts)
    work.record(store, number, Edit("count", diff_dots(Dots.new(), dots), "system"))


@pytest.fixture
def folder(tmp_path):
    """Three images, whose names tell wells and sites."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("A2_s1", "A10_s1", "B1_s2"):
        tifffile.imwrite(folder / f"{name}.tif", rng.integers(0, 500, SHAPE).astype(np.uint16))
    return folder


@pytest.fixture
def project(tmp_path, folder, fake_prediction):
    """Three images: 4, 12 and no cells; the first with a region, the second of another model."""
    path = tmp_path / "screen.celltally"
    with Store(path, author="Anna") as store:
        numbers = [
            images.register(
                store,
                name=f"{name}.tif",
                path=folder / f"{name}.tif",
                shape=SHAPE,
                pixel_size_um=(0.5, 0.5),
            )
            for name in ("A2_s1", "A10_s1", "B1_s2")
        ]
        count(store, numbers[0], fake_prediction())
        many = fake_prediction(model="other", model_sha256="cd" * 32, weights=[3, 3, 3, 3])
        count(store, numbers[1], many, threshold=0.7, default_threshold=0.5)
        drawn = [
            Region(square(0, 0, 60, 100), "count", name="top"),
            Region(square(0, 0, 60, 160), "audit", name="audit 1"),
        ]
        work.record(store, numbers[0], Edit("draw", diff_regions((), drawn)))
    return path


@pytest.fixture
def until(qtbot):
    """Waits until a widget is done with everything."""

    def until(widget):
        # Saving, too: what is saved is read a little later.
        qtbot.waitUntil(lambda: not widget.saving.busy and not widget.busy, timeout=20_000)

    return until


@pytest.fixture
def opened(viewer, qtbot, until, monkeypatch):
    """Opens the widget on a project."""
    monkeypatch.setattr(study_follow, "QUIET", 20)
    widgets = []

    def opened(path):
        widget = StudyWidget(viewer)
        widgets.append(widget)
        viewer.window.add_dock_widget(widget, name="Study", area="bottom")
        viewer.window._qt_window.show()
        widget.saving.open(path)
        qtbot.waitUntil(lambda: widget.saving.store is not None and not widget.saving.busy)
        qtbot.waitUntil(lambda: widget.saving.store.path == path)
        until(widget)
        return widget

    yield opened
    for widget in widgets:
        widget.leave()


@pytest.fixture
def shown(opened, project):
    return opened(project)


def names(widget):
    model = widget.table.lines
    return [model.index(row, 0).data().replace(INDENT, "> ") for row in range(model.rowCount())]


def column(widget, head):
    return [c.head for c in widget.table.lines.columns].index(head)


def cell(widget, row, head):
    return widget.table.lines.index(row, column(widget, head)).data()


def press(qtbot, widget, key):
    widget.table.setFocus()
    qtbot.keyClick(widget.table, key)


def choose(widget, name):
    row = names(widget).index(name)
    widget.table.setCurrentIndex(widget.table.lines.index(row, 0))
    return row


def image_names(viewer):
    return [layer.name for layer in viewer.layers if own_role(layer) is None]


# ---- the table ----


def test_images_and_their_regions_are_rows(shown):
    assert names(shown) == ["A2_s1.tif", "> top", "A10_s1.tif", "B1_s2.tif"]
    assert cell(shown, 0, "Count") == "4"
    assert cell(shown, 0, "Dots") == "4"
    assert cell(shown, 0, "mm²") == f"{120 * 160 * 0.25e-6:.3g}"
    assert cell(shown, 0, "per mm²").replace("\u202f", "") == str(round(4 / (120 * 160 * 0.25e-6)))
    assert cell(shown, 0, "Reviewed").startswith("50")
    assert cell(shown, 2, "Model") == "other"
    assert cell(shown, 3, "Count") == "–"
    assert cell(shown, 3, "Dots") == "–"
    assert "not counted" in cell(shown, 3, "Flags")
    assert "t" not in [c.head for c in shown.table.lines.columns]
    assert shown.status.summary.text() == "3 images · 1 region"


def test_a_click_on_a_head_sorts_numbers_as_numbers(shown, qtbot, until):
    head = shown.table.horizontalHeader()
    place = column(shown, "Count")

    def click():
        x = head.sectionViewportPosition(place) + 10
        qtbot.mouseClick(head.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(x, 8))

    click()
    counted = [cell(shown, row, "Count") for row in range(4) if row != 1]
    assert counted in (["4", "12", "–"], ["12", "4", "–"])
    click()  # the other way round: what has no count stays last
    again = [cell(shown, row, "Count") for row in range(4) if names(shown)[row][0] != ">"]
    assert again == [*counted[1::-1], "–"]
    assert names(shown)[names(shown).index("A2_s1.tif") + 1] == "> top"


def test_names_are_sorted_by_their_numbers(shown):
    shown.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert names(shown) == ["A2_s1.tif", "> top", "A10_s1.tif", "B1_s2.tif"]
    shown.table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert names(shown) == ["B1_s2.tif", "A10_s1.tif", "A2_s1.tif", "> top"]


def test_words_filter_the_rows(shown, qtbot):
    qtbot.keyClicks(shown.bar.filter_edit, "TOP")
    qtbot.waitUntil(lambda: names(shown) == ["A2_s1.tif", "> top"])
    shown.bar.filter_edit.setText("other s1")
    qtbot.waitUntil(lambda: names(shown) == ["A10_s1.tif"])
    shown.bar.filter_edit.setText("nothing like it")
    qtbot.waitUntil(lambda: shown.stack.currentWidget() is shown.empty)
    assert "Clear the filter" in shown.empty.text()


def test_only_flagged_rows_are_shown_where_that_is_asked(shown):
    shown.bar.flagged_box.click()
    assert all(shown.table.lines.line(row).row.flags for row in range(len(names(shown))))
    assert "B1_s2.tif" in names(shown)


def test_what_is_chosen_stays_chosen_when_the_order_changes(shown):
    choose(shown, "A10_s1.tif")
    shown.table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert shown.table.chosen().row.entry.name == "A10_s1.tif"
    assert shown.table.currentIndex().row() == 1


def test_what_is_saved_is_seen_a_little_later(shown, qtbot, until):
    store, number = shown.saving.store, shown.rows[0].entry.id
    dots = Dots.new([(10, 10), (15, 20)], state="added", source="me")  # in the audit region

    def save():
        work.record(store, number, Edit("add", diff_dots(Dots.new(), dots)))

    before = shown.rows[0].figures.count
    shown.saving.line.do(save, on_done=shown.saving._kept, must=True)
    qtbot.waitUntil(lambda: shown.rows[0].figures.count == before + 2, timeout=10_000)
    until(shown)
    assert not any(row.stale for row in shown.rows)
    assert cell(shown, 0, "Count") == "6"


def test_the_table_waits_while_nobody_sees_it(shown, qtbot, until):
    shown.parentWidget().hide()
    dots = Dots.new([(10, 10)], state="added", source="me")
    work.record(shown.saving.store, shown.rows[0].entry.id, Edit("add", diff_dots(dots[:0], dots)))
    shown.saving.marked.emit()
    qtbot.wait(100)
    assert cell(shown, 0, "Dots") == "4"
    shown.parentWidget().show()
    qtbot.waitUntil(lambda: cell(shown, 0, "Dots") == "5")
    until(shown)


def test_a_project_without_images_says_what_to_do(opened, tmp_path):
    widget = opened(tmp_path / "new.celltally")
    assert widget.stack.currentWidget() is widget.empty
    assert "no images in this project yet" in widget.empty.text()
    assert widget.bar.add_button.isEnabled()
    assert not widget.bar.export_button.isEnabled()
    assert not widget.bar.lock_button.isEnabled()


def test_a_project_that_is_read_only_cannot_be_changed(opened, project, qtbot, until):
    widget = opened(project)
    widget.saving.open(project, read_only=True)
    qtbot.waitUntil(lambda: widget.saving.read_only)
    until(widget)
    assert names(widget)[0] == "A2_s1.tif"
    for button in (widget.bar.add_button, widget.bar.plate_button, widget.bar.lock_button):
        assert not button.isEnabled()
    assert widget.bar.export_button.isEnabled()


def test_napari_puts_it_below_the_canvas(viewer, manifest, qtbot):
    dock, widget = viewer.window.add_plugin_dock_widget("celltally", "Study")
    viewer.window._qt_window.show()
    window = dock.parentWidget()
    assert isinstance(window, QMainWindow)
    assert isinstance(dock, QDockWidget)
    bottom = Qt.DockWidgetArea.BottomDockWidgetArea
    qtbot.waitUntil(lambda: window.dockWidgetArea(dock) == bottom)
    widget.leave()


# ---- opening ----


def test_enter_opens_the_image_of_a_row(shown, viewer, qtbot, until):
    choose(shown, "A10_s1.tif")
    press(qtbot, shown, Qt.Key.Key_Return)
    until(shown)
    assert image_names(viewer) == ["A10_s1"]
    layer = viewer.layers["A10_s1"]
    assert viewer.layers.selection.active is layer
    assert layer.source.path == str(shown.rows[2].entry.path)
    assert "in view" in shown.status.message.text()


def test_what_is_opened_has_the_pixel_size_that_the_project_knows(shown, viewer, qtbot, until):
    choose(shown, "A2_s1.tif")
    press(qtbot, shown, Qt.Key.Key_Return)
    until(shown)
    assert pixel_size_um(viewer.layers["A2_s1"]) == pytest.approx(0.5)


def test_a_regions_row_brings_it_to_the_middle(shown, viewer, qtbot, until):
    choose(shown, "> top")
    press(qtbot, shown, Qt.Key.Key_Return)
    until(shown)
    assert camera(viewer).center[-2:] == pytest.approx((30 * 0.5, 50 * 0.5))


def test_a_scene_of_a_file_is_opened(opened, tmp_path, viewer, qtbot, until):
    scenes = [np.full(SHAPE, i, np.uint8) for i in range(2)]
    file = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(file, ome=True) as writer:
        for name, pixels in zip(("left", "right"), scenes, strict=True):
            writer.write(pixels, metadata={"axes": "YX", "Name": name})
    widget = opened(tmp_path / "new.celltally")
    widget.add_images([file])
    until(widget)
    assert [row.entry.scene for row in widget.rows] == ["left", "right"]
    for row in (1, 0, 1):
        widget.table.setCurrentIndex(widget.table.lines.index(row, 0))
        press(qtbot, widget, Qt.Key.Key_Return)
        until(widget)
    assert viewer.layers.selection.active.name == "right"
    assert viewer.layers.selection.active.data.max() == 1
    assert image_names(viewer) == ["right", "left"]


def test_an_image_that_is_open_comes_to_the_front(shown, viewer, qtbot, until):
    for name in ("A2_s1.tif", "A10_s1.tif", "A2_s1.tif"):
        choose(shown, name)
        press(qtbot, shown, Qt.Key.Key_Return)
        until(shown)
    assert image_names(viewer) == ["A2_s1", "A10_s1"]
    assert viewer.layers["A2_s1"].visible
    assert not viewer.layers["A10_s1"].visible
    assert viewer.layers.selection.active is viewer.layers["A2_s1"]


def test_a_double_click_opens(shown, viewer, qtbot, until):
    index = shown.table.lines.index(2, 0)
    place = shown.table.visualRect(index).center()
    buttons = shown.table.viewport(), Qt.MouseButton.LeftButton
    qtbot.mouseClick(*buttons, pos=place)
    qtbot.mouseDClick(*buttons, pos=place)
    until(shown)
    assert image_names(viewer) == ["A10_s1"]


def test_n_and_p_step_and_open(shown, viewer, qtbot, until):
    seen = []
    for key in (Qt.Key.Key_N, Qt.Key.Key_N, Qt.Key.Key_N, Qt.Key.Key_P, Qt.Key.Key_N):
        press(qtbot, shown, key)
        until(shown)
        seen.append((names(shown)[shown.table.currentIndex().row()], image_names(viewer)[-1]))
    assert [name for name, _ in seen] == [
        *("A2_s1.tif", "> top", "A10_s1.tif", "> top", "A10_s1.tif"),
    ]
    assert [layer for _, layer in seen] == ["A2_s1", "A2_s1", "A10_s1", "A10_s1", "A10_s1"]
    assert viewer.layers.selection.active.name == "A10_s1"


def test_keys_step_only_while_the_table_has_them(shown, viewer, qtbot):
    qtbot.keyClicks(shown.bar.filter_edit, "np")
    assert not shown.opening.busy
    assert image_names(viewer) == []


def test_a_missing_file_is_told_with_what_to_do(shown, viewer, folder, qtbot, until):
    (folder / "A10_s1.tif").rename(folder.parent / "moved.tif")
    choose(shown, "A10_s1.tif")
    press(qtbot, shown, Qt.Key.Key_Return)
    until(shown)
    assert "is not there any more; press “Find moved files…”" in shown.status.message.text()
    assert image_names(viewer) == []
    shown.find_moved(folder.parent)
    until(shown)
    assert "1 file found again." in shown.status.message.text()
    assert names(shown) == ["A2_s1.tif", "> top", "moved.tif", "B1_s2.tif"]


def test_a_missing_file_is_marked(opened, project, folder):
    (folder / "B1_s2.tif").unlink()
    widget = opened(project)
    assert "file is missing" in cell(widget, 3, "Flags")
    assert widget.table.lines.line(3).mark == "missing"
    tip = widget.table.lines.index(3, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert "Find moved files" in tip
    assert "1 missing file" in widget.status.summary.text()


def test_pixels_that_came_from_no_file_are_found_among_the_open_ones(
    opened, tmp_path, viewer, qtbot, until
):
    rng = np.random.default_rng(1)
    one, two = (rng.integers(0, 500, SHAPE).astype(np.uint16) for _ in range(2))
    path = tmp_path / "pixels.celltally"
    with Store(path) as store:
        sha256 = images.pixel_sha256(two)
        images.register(store, name="drawn", pixels_sha256=sha256, shape=SHAPE)
    widget = opened(path)
    choose(widget, "drawn")
    press(qtbot, widget, Qt.Key.Key_Return)
    until(widget)
    assert "came from no file and is not open" in widget.status.message.text()
    viewer.add_image(two, name="second")
    viewer.add_image(one, name="first")
    press(qtbot, widget, Qt.Key.Key_Return)
    until(widget)
    assert viewer.layers.selection.active.name == "second"
    assert not viewer.layers["first"].visible


def test_only_the_newest_images_stay_open(opened, tmp_path, viewer, qtbot, until, monkeypatch):
    from celltally._napari import study_opening

    monkeypatch.setattr(study_opening, "MOST_OPEN", 2)
    path = tmp_path / "many.celltally"
    with Store(path) as store:
        for i in range(4):
            file = tmp_path / f"image {i}.tif"
            tifffile.imwrite(file, np.full(SHAPE, i, np.uint8))
            images.register(store, name=file.name, path=file, shape=SHAPE)
    viewer.add_image(np.zeros(SHAPE), name="the user's own")
    widget = opened(path)
    for _ in range(4):
        press(qtbot, widget, Qt.Key.Key_N)
        until(widget)
    assert image_names(viewer) == ["the user's own", "image 2", "image 3"]


# ---- the lock ----


def test_a_lock_marks_rows_that_were_counted_otherwise(shown, qtbot, click, until):
    click(shown.bar.lock_button)
    dialog = shown.dialog
    assert dialog.model_box.currentText() in ("fake (abababab)", "other (cdcdcdcd)")
    dialog.model_box.setCurrentIndex(dialog.model_box.findText("fake (abababab)"))
    click(dialog.ok_button)
    until(shown)
    assert study_lock.locked(shown.saving.store).model == "fake"
    assert "counted with another model (other)" in cell(shown, 2, "Flags")
    assert shown.table.lines.line(2).mark == "otherwise"
    assert "another model" not in cell(shown, 0, "Flags")
    brush = shown.table.lines.index(2, 0).data(Qt.ItemDataRole.BackgroundRole)
    assert brush is not None
    assert "1 counted otherwise" in shown.status.summary.text()
    assert shown.bar.lock_button.text() == "Unlock"
    click(shown.bar.lock_button)
    until(shown)
    assert study_lock.locked(shown.saving.store) is None
    assert "another model" not in cell(shown, 2, "Flags")


def test_a_lock_that_cannot_be_is_told_and_holds_nothing_up(shown, qtbot, until, monkeypatch):
    heard = []
    monkeypatch.setattr("napari.utils.notifications.show_error", heard.append)
    wanted = replace(shown.follow.loaded.suggested, diameter_px=0.0)
    shown.lock(wanted)
    qtbot.waitUntil(lambda: bool(heard))
    assert "diameter of 0 px" in heard[0]
    assert shown.saving.line.idle
    assert not shown.saving.line.stuck


# ---- the plate map ----


def test_a_pattern_is_seen_before_it_is_set(shown, qtbot, click, until):
    click(shown.bar.plate_button)
    dialog = shown.dialog
    qtbot.keyClicks(dialog.pattern_edit, "{well}_s{site}")
    qtbot.waitUntil(lambda: dialog.preview is not None and not dialog.busy)
    assert dialog.model.index(0, 1).data() == "A02"
    assert images.all_images(shown.saving.store)[0].well == ""
    click(dialog.apply_button)
    until(shown)
    wells = [row.entry.well for row in shown.rows if not row.is_region]
    assert wells == ["A02", "A10", "B01"]
    assert cell(shown, 0, "Well") == "A02"
    assert cell(shown, 1, "Well") == ""  # a region's stands with its image


def test_a_pattern_that_cannot_be_used_is_told(shown, qtbot, click):
    click(shown.bar.plate_button)
    dialog = shown.dialog
    qtbot.keyClicks(dialog.pattern_edit, "nothing")
    qtbot.waitUntil(lambda: bool(dialog.problem.text()) and not dialog.busy)
    assert "names no column" in dialog.problem.text()
    assert not dialog.apply_button.isEnabled()


def test_a_table_is_set(shown, tmp_path, qtbot, click, until):
    table = tmp_path / "plate.csv"
    table.write_text(
        "image,condition,dose\nA2_s1,control,0\nA10_s1,drug,5\nB1_s2,drug,5\nC9,drug,1\n"
    )
    click(shown.bar.plate_button)
    dialog = shown.dialog
    dialog.take_table(table)
    qtbot.waitUntil(lambda: dialog.preview is not None and not dialog.busy)
    assert "C9 (line 5)" in dialog.words.text()
    click(dialog.apply_button)
    until(shown)
    assert cell(shown, 0, "Condition") == "control"
    assert cell(shown, 2, "Dose") == "5"


# ---- images ----


def test_a_folder_is_added(opened, tmp_path, folder, until):
    (folder / "broken.tif").write_bytes(b"II*\0")
    widget = opened(tmp_path / "new.celltally")
    widget.add_images([folder])
    until(widget)
    assert sorted(names(widget)) == ["A10_s1.tif", "A2_s1.tif", "B1_s2.tif"]
    said = widget.status.message.text()
    assert said.startswith("3 images added")
    assert "broken.tif" in said
    assert widget.rows[0].entry.shape == SHAPE
    widget.add_images([folder / "A2_s1.tif"])
    until(widget)
    assert widget.status.message.text() == "0 images added, 1 known already."


def test_a_folder_without_images_is_told(opened, tmp_path, until, monkeypatch):
    heard = []
    monkeypatch.setattr("napari.utils.notifications.show_error", heard.append)
    (tmp_path / "empty").mkdir()
    widget = opened(tmp_path / "new.celltally")
    widget.add_images([tmp_path / "empty"])
    until(widget)
    assert len(heard) == 1
    assert "empty" in heard[0]
    assert widget.status.message.text() == heard[0]


# ---- plots ----


@pytest.mark.parametrize(("kind", "said"), [(0, "Points: images."), (1, "2 images.")])
def test_plots_are_drawn_and_saved(shown, qtbot, click, tmp_path, kind, said):
    pytest.importorskip("matplotlib")
    click(shown.bar.plots_button)
    plots = shown.plots
    plots.kind_box.setCurrentIndex(kind)
    qtbot.waitUntil(lambda: not plots.view.busy and plots.view.picture is not None, timeout=20_000)
    assert plots.view.message.text().startswith(said)
    assert len(set(plots.view.picture.pixels)) > 20
    for suffix, head in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        path = tmp_path / f"plot.{suffix}"
        plots.view.save(path)
        qtbot.waitUntil(path.exists, timeout=20_000)
        assert path.read_bytes().startswith(head)
    plots.close()


def test_a_plot_that_cannot_be_says_why(shown, qtbot, click):
    pytest.importorskip("matplotlib")
    click(shown.bar.plots_button)
    shown.plots.kind_box.setCurrentIndex(2)
    qtbot.waitUntil(lambda: "several time points" in shown.plots.view.message.text())
    assert not shown.plots.save_button.isEnabled()
    shown.plots.close()


# ---- out of the project ----


def test_the_table_is_saved_as_csv(shown, tmp_path, until):
    shown.export(tmp_path / "study.csv")
    until(shown)
    assert shown.status.message.text() == "Saved study.csv."
    with (tmp_path / "study.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows if not row["region"]] == [
        *("A2_s1.tif", "A10_s1.tif", "B1_s2.tif"),
    ]
    assert math.isclose(float(rows[0]["count"]), 4, rel_tol=1e-3)


def test_the_table_is_saved_as_excel(shown, tmp_path, until):
    openpyxl = pytest.importorskip("openpyxl")
    shown.export(tmp_path / "study.xlsx")
    until(shown)
    book = openpyxl.load_workbook(tmp_path / "study.xlsx")
    assert book.sheetnames == ["counts", "groups", "regions", "methods", "log"]
    assert book["counts"]["A2"].value == "A2_s1.tif"
    book.close()


def test_the_methods_paragraph_is_copied(shown, qtbot, click, until):
    shown.bar.export_methods.trigger()
    until(shown)
    window = shown.dialog
    assert "Cells were counted in two images" in window.edit.toPlainText()
    click(window.copy_button)
    assert QGuiApplication.clipboard().text() == window.edit.toPlainText()


def test_what_was_reviewed_is_saved_to_learn_from(shown, tmp_path, until):
    shown.export_training(tmp_path / "data")
    until(shown)
    assert shown.status.message.text().startswith("data: 1 image, ")
    assert len(list((tmp_path / "data" / "images").iterdir())) == 1


def test_a_place_that_cannot_be_written_is_told(shown, tmp_path, until, monkeypatch):
    heard = []
    monkeypatch.setattr("napari.utils.notifications.show_error", heard.append)
    shown.export(tmp_path / "nowhere" / "study.csv")
    until(shown)
    assert len(heard) == 1
    assert "nowhere" in heard[0]


def test_a_person_is_compared_with_the_model_in_audit_regions(shown, qtbot, until):
    store, number = shown.saving.store, shown.rows[0].entry.id
    dots = work.load_dots(store, number)
    inside = np.flatnonzero(dots.yx[:, 0] < 60)
    gone = replace(dots, state=np.where(np.arange(4) == inside[0], "removed", dots.state))
    work.record(store, number, Edit("remove", diff_dots(dots, gone)))
    shown.bar.agreement.trigger()
    window = shown.dialog
    qtbot.mouseClick(window.model_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.result is not None and not window.busy)
    found = window.result.found
    assert (found.matched, found.only_a, found.only_b) == (1, 0, 1)
    assert window.result.names == ("person", "model")
    until(shown)
    shown.write_methods()
    until(shown)
    assert "the F1 score of the person and the model" in shown.dialog.edit.toPlainText()


def test_two_people_are_compared_where_both_reviewed(shown, tmp_path, folder, qtbot):
    other = tmp_path / "ben.celltally"
    with Store(other, author="Ben") as store:
        number = images.register(store, name="x.tif", path=folder / "A2_s1.tif", shape=SHAPE)
        dots = Dots.new([CELLS[0] + 1, (55.0, 10.0)], state="added", source="Ben")
        work.record(store, number, Edit("add", diff_dots(Dots.new(), dots)))
        drawn = [Region(square(0, 0, 40, 160), "audit")]
        work.record(store, number, Edit("draw", diff_regions((), drawn)))
    shown.show_agreement()
    window = shown.dialog
    window.compare(other)
    qtbot.waitUntil(lambda: window.result is not None and not window.busy)
    found = window.result.found  # one cell of both in the upper third; Ben's other one is below
    assert (found.matched, found.only_a, found.only_b) == (1, 0, 0)
    assert window.result.names == ("screen", "ben")


def test_another_project_forgets_what_was_compared(shown, tmp_path, qtbot, until):
    shown.show_agreement()
    shown.dialog.compare(None)
    qtbot.waitUntil(lambda: shown._agreed is not None)
    shown.saving.open(tmp_path / "next.celltally")
    qtbot.waitUntil(lambda: shown.saving.name == "next")
    until(shown)
    assert shown.rows == ()
    assert shown._agreed is None
    assert shown.dialog is None


def test_nothing_to_compare_is_told(shown, tmp_path, qtbot):
    with Store(tmp_path / "empty.celltally"):
        pass
    shown.show_agreement()
    shown.dialog.compare(tmp_path / "empty.celltally")
    qtbot.waitUntil(lambda: bool(shown.dialog.problem.text()))
    assert "no region in common" in shown.dialog.problem.text()


# ---- the window lives ----


@pytest.fixture
def large(tmp_path, fake_prediction):
    """A project of 1,000 images, each counted; nothing is worked out yet."""
    path = tmp_path / "large.celltally"
    prediction = fake_prediction((24, 32), np.array([[10.0, 10.0]]))
    with Store(path) as store:
        number = images.register(store, name="image 0", pixels_sha256="0" * 64, shape=(24, 32))
        count(store, number, prediction)
        with store.write() as connection:  # a thousand transactions would take too long
            for table, skipped in (("images", ("id",)), ("predictions", ("id", "image_id"))):
                info = connection.exec_driver_sql(f"PRAGMA table_info({table})")
                rest = ", ".join(row[1] for row in info if row[1] not in skipped)
                numbers = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n LIMIT 999)"
                keys = ", ".join(skipped)
                values = ", ".join("i" for _ in skipped)
                connection.exec_driver_sql(
                    f"{numbers} INSERT INTO {table} ({keys}, {rest}) "
                    f"SELECT {values}, {rest} FROM n, {table} WHERE {table}.id = 1"
                )
            connection.exec_driver_sql("UPDATE images SET name = 'image ' || (id - 1)")
    return path


def test_no_query_runs_on_the_windows_thread(large, opened, qtbot, until, monkeypatch):
    threads, inner = set(), Store._transaction

    @contextmanager
    def watched(self, deed, begin):
        threads.add(threading.get_ident())
        with inner(self, deed, begin) as connection:
            yield connection

    monkeypatch.setattr(Store, "_transaction", watched)
    widget = opened(large)
    qtbot.waitUntil(lambda: len(widget.rows) == 1000, timeout=30_000)
    until(widget)
    assert not any(row.stale for row in widget.rows)
    widget.table.sortByColumn(column(widget, "Count"), Qt.SortOrder.DescendingOrder)
    widget.bar.filter_edit.setText("image 998")
    qtbot.waitUntil(lambda: names(widget) == ["image 998"])
    press(qtbot, widget, Qt.Key.Key_N)
    until(widget)
    widget.show_plate_map()
    widget.show_agreement()
    assert threads
    assert threading.get_ident() not in threads


def test_working_out_can_be_stopped_and_goes_on_later(large, opened, qtbot, until):
    widget = opened(large)
    store = widget.saving.store
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM figures")
    widget.follow.read()
    qtbot.waitUntil(lambda: widget.follow.working and widget.status.cancel_button.isVisible())
    qtbot.mouseClick(widget.status.cancel_button, Qt.MouseButton.LeftButton)
    until(widget)
    assert "Stopped" in widget.status.message.text()
    left = widget.follow.loaded.stale
    assert left > 0
    widget.follow.read()
    qtbot.waitUntil(lambda: widget.follow.loaded.stale == 0, timeout=30_000)
    until(widget)


def test_closing_the_dock_ends_it(shown, viewer, qtbot):
    saving = shown.saving
    ended = []
    shown.destroyed.connect(lambda *_: ended.append(True))
    viewer.window.remove_dock_widget(shown)
    qtbot.waitUntil(lambda: bool(ended))
    saving.marked.emit()
    saving.opened.emit()


# ---- lines, without a window ----


@pytest.fixture
def lines(project):
    with Store(project) as store:
        list(remembering.iter_refresh(store))
        rows = study.rows(store)
    columns = columns_of(rows, 0.95)
    return lines_of(rows, columns), [c.head for c in columns]


def test_time_and_z_are_shown_where_there_are_any(tmp_path, fake_prediction):
    path = tmp_path / "time.celltally"
    with Store(path) as store:
        number = images.register(store, name="stack", pixels_sha256="0" * 64, shape=SHAPE)
        for t in range(3):
            count(store, number, fake_prediction(), t=t)
        rows = study.rows(store)
    heads = [c.head for c in columns_of(rows, 0.95)]
    assert "t" in heads
    assert "z" not in heads
    assert [line.cells[heads.index("t")] for line in lines_of(rows, columns_of(rows, 0.95))] == [
        *"012"
    ]


def test_regions_stay_with_their_plane_however_it_is_sorted(lines):
    made, heads = lines
    kinds = [made[i].row.is_region for i in arranged(made, column=heads.index("Count"))]
    assert kinds[kinds.index(True) - 1] is False
    for descending in (False, True):
        order = arranged(made, column=heads.index("Count"), descending=descending)
        place = next(n for n, i in enumerate(order) if made[i].row.is_region)
        assert made[order[place - 1]].row.entry.id == made[order[place]].row.entry.id
        assert made[order[-1]].row.counted is None


def test_a_read_only_project_gets_no_images(tmp_path):
    from celltally._napari.study_work import add_images_job

    with Store(tmp_path / "p.celltally"):
        pass
    with Store(tmp_path / "p.celltally", read_only=True) as store:
        job = add_images_job(store, [tmp_path])
        with pytest.raises(UserError, match="open for reading only"):
            list(job)


def test_groups_are_drawn_with_their_replicates(project):
    figure_type = pytest.importorskip("matplotlib.figure").Figure
    with Store(project) as store:
        told = {1: ("drug", "1"), 2: ("drug", "2"), 3: ("control", "1")}
        images.set_columns(
            store, {n: {"condition": c, "replicate": r} for n, (c, r) in told.items()}
        )
        rows = study.rows(store)
    figure = figure_type()
    said = draw(figure, rows, Plot("groups"), PAPER)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["drug\nn = 2 replicates"]
    points = axes.collections[0].get_offsets()[:, 1]
    assert sorted(points.tolist()) == pytest.approx([4, 12], rel=1e-3)
    assert said.startswith("Points: replicates, means of their images.")
    assert "1 image without a value" in said


def test_counts_over_time_are_a_curve_with_a_band(tmp_path, fake_prediction):
    figure_type = pytest.importorskip("matplotlib.figure").Figure
    with Store(tmp_path / "time.celltally") as store:
        number = images.register(store, name="stack", pixels_sha256="0" * 64, shape=SHAPE)
        for t in range(3):
            count(store, number, fake_prediction(weights=[1, 1, 1, t + 1]), t=t)
        list(remembering.iter_refresh(store))
        rows = study.rows(store)
    figure = figure_type()
    said = draw(figure, rows, Plot("time"), PAPER)
    (axes,) = figure.axes
    t, values = axes.lines[0].get_data()
    assert list(t) == [0, 1, 2]
    assert list(values) == pytest.approx([4, 5, 6], rel=1e-3)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() < 4
    assert band.max() > 6
    assert "Bands: intervals of the counts." in said
