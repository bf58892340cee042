"""Regions in the window: drawn, moved, named and deleted, and what is counted in them."""

from __future__ import annotations

import csv
import json
import threading

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from celltally._napari import measuring, regions_section
from celltally._napari.layers import region_layer, regions_of, set_regions, show_regions
from celltally._napari.layers.regions import outline_of
from celltally._napari.planes import key_of
from celltally.density.inside import is_upright
from celltally.intervals import of
from celltally.types import Region

pytestmark = pytest.mark.gui


def rectangle(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float)


def settle(tally, qtbot):
    """Wait until the figures have followed."""
    qtbot.waitUntil(lambda: tally.regions.settled and not tally.correcting.waits, timeout=60_000)


def drawn(tally, viewer, qtbot, *regions, plane=None):
    layer = show_regions(viewer, tally.image.layer, plane or tally.image.plane(), regions)
    settle(tally, qtbot)
    return layer


def row(tally, i):
    table = tally.regions.table
    return [table.item(i, column).text() for column in range(table.columnCount())]


def test_counts_areas_and_densities(counted, viewer, qtbot):
    counted.image.pixel_edit.setValue(2.0)
    drawn(counted, viewer, qtbot, Region(rectangle(-0.5, -0.5, 59.5, 99.5), name="left"),
          Region(rectangle(80, 20, 110, 60)))  # fmt: skip
    assert row(counted, 0) == ["left", "count", "2", row(counted, 0)[3], "2",
                               "24\u202f000\u202fµm²", "83", ""]  # fmt: skip
    assert row(counted, 1)[0] == "Region 1"
    assert row(counted, 1)[2] == "1"
    assert "All 2 regions: 3 cells" in counted.regions.sums_label.text()
    assert "Image: 4 cells" in counted.regions.sums_label.text()
    assert not counted.regions.table.isColumnHidden(5)
    counted.image.pixel_edit.setValue(0)
    assert counted.regions.table.isColumnHidden(5)


def test_the_interval_follows_the_level(counted, viewer, qtbot):
    box = rectangle(0, 0, 70, 100)
    drawn(counted, viewer, qtbot, Region(box))
    wide = counted.regions.rows()[0].interval
    counted.result.level_box.setCurrentIndex(0)
    narrow = counted.regions.rows()[0].interval
    assert narrow == of(counted.regions._counted.prediction, 0.5, box)
    assert narrow.high < wide.high
    assert counted.regions.table.horizontalHeaderItem(3).text() == "50\u202f%"


def test_excluded_regions_are_taken_off_the_image_and_it_is_said(counted, viewer, qtbot, tmp_path):
    whole = counted.result.interval
    layer = drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100), "exclude"),
                  Region(rectangle(0, 10, 60, 90), "exclude"))  # fmt: skip
    result = counted.result
    assert result.count_label.text() == "2 cells"
    assert result.correction_label.text() == "without 2 excluded regions"
    assert result.n_dots == 2
    assert result.interval.high < whole.high
    assert result.copied().startswith("2\t")
    assert row(counted, 0)[1:3] == ["exclude", "2"]
    path = tmp_path / "counts.csv"
    counted.save_counts(str(path))
    (saved,) = csv.DictReader(path.read_text().splitlines())
    assert float(saved["count"]) == pytest.approx(1.6, abs=0.1)
    assert "without 2 excluded regions" in saved["message"]
    assert saved["n_dots"] == "2"
    layer.selected_data = {0, 1}
    counted.regions.delete()
    settle(counted, qtbot)
    assert result.count_label.text() == "4 cells"
    assert result.correction_label.text() == ""
    assert result.interval == whole
    assert counted.regions.table.rowCount() == 0


def test_regions_outlive_their_layer(counted, viewer, qtbot):
    layer = drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100), "exclude"))
    assert counted.result.count_label.text() == "2 cells"
    viewer.layers.remove(layer)
    key = counted.in_view.key
    qtbot.waitUntil(lambda: region_layer(viewer.layers, key) is not None)
    settle(counted, qtbot)
    assert region_layer(viewer.layers, key) is not layer
    assert counted.result.count_label.text() == "2 cells"
    assert len(counted.correcting.work(key).regions) == 1


def test_what_is_excluded_does_not_count_in_other_regions(counted, viewer, qtbot):
    drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100)),
          Region(rectangle(0, 60, 70, 100), "exclude"))  # fmt: skip
    assert row(counted, 0)[2] == "1"
    assert row(counted, 0)[4] == "1"
    assert counted.regions.rows()[0].measured.area_px == pytest.approx(70 * 60)


def test_tissue_gives_the_area(counted, viewer, qtbot):
    counted.image.pixel_edit.setValue(1.0)
    drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 160)),
          Region(rectangle(0, 0, 120, 60), "tissue"))  # fmt: skip
    first, second = counted.regions.rows()
    assert first.measured.area_px == pytest.approx(70 * 60)
    assert first.measured.n_dots == 1
    assert second.measured.area_px == pytest.approx(119.5 * 60)
    assert "Tissue: 2 cells" in counted.regions.sums_label.text()
    assert counted.result.count_label.text() == "4 cells"


def test_reviewed_regions_count_their_dots_and_all_reviewed_is_exact(counted, viewer, qtbot):
    drawn(counted, viewer, qtbot, Region(rectangle(-9, -9, 200, 200), "reviewed"))
    assert counted.result.count_label.text() == "4 cells"
    assert counted.result.interval.kind == "exact"
    assert "Exact" in counted.result.kind_label.text()
    counted.viewer.layers["cells dots"].add([5.0, 5.0])
    settle(counted, qtbot)
    assert counted.result.count_label.text() == "5 cells"
    assert counted.result.correction_label.text() == "dots in 1 reviewed region"


def test_dots_that_move_are_counted_where_they_are(counted, viewer, qtbot):
    drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100)))
    dots = viewer.layers["cells dots"]
    dots.add([10.0, 10.0])
    settle(counted, qtbot)
    assert row(counted, 0)[4] == "3"
    dots.selected_data = {4}
    dots.remove_selected()
    settle(counted, qtbot)
    assert row(counted, 0)[4] == "2"
    counted.result.slider.setValue(counted.result.slider.maximum())
    settle(counted, qtbot)
    assert row(counted, 0)[4] == "0"
    assert row(counted, 0)[2] == "2"


def test_the_counting_frame(counted, viewer, qtbot, click):
    # Cells of 10 px: (20, 30) touches the upper side, (50, 80) the right one.
    drawn(counted, viewer, qtbot, Region(rectangle(22, 10, 70, 82)))
    counted.regions.unfold()
    assert row(counted, 0)[4] == "1"
    assert counted.regions.rows()[0].measured.n_dots == 1
    counted.regions.frame_box.setChecked(True)
    settle(counted, qtbot)
    taken = counted.regions.rows()[0].measured
    assert taken.n_dots == 1  # the upper one in, the right one out
    dots = viewer.layers["cells dots"]
    dots.add([30.0, 50.0])
    settle(counted, qtbot)
    assert counted.regions.rows()[0].measured.n_dots == 2
    assert counted.result.n_dots == 5
    dots.add([119.0, 50.0])  # on the lower side of the image
    settle(counted, qtbot)
    assert counted.regions.sums()[0].measured.n_dots == 5
    assert counted.result.n_dots == 6


def test_names_and_kinds_can_be_changed_in_the_table(counted, viewer, qtbot):
    layer = drawn(counted, viewer, qtbot, *(Region(rectangle(i, 0, 70, 100)) for i in range(3)))
    table = counted.regions.table
    assert [row(counted, i)[0] for i in range(3)] == ["Region 1", "Region 2", "Region 3"]
    table.item(0, 0).setText("crypt")
    table.item(1, 1).setText("exclude")
    settle(counted, qtbot)
    assert list(layer.features["name"]) == ["crypt", "Excluded 1", "Region 3"]
    assert list(layer.features["kind"]) == ["count", "exclude", "count"]
    assert not np.allclose(layer.edge_color[0], layer.edge_color[1])
    assert counted.result.correction_label.text() == "without 1 excluded region"
    table.item(2, 0).setText("crypt")  # a name that is taken
    settle(counted, qtbot)
    assert row(counted, 2)[0] == "Region 1"


def test_the_kind_that_is_chosen_is_drawn(counted, viewer, qtbot, click):
    section = counted.regions
    section.toolbar.kind_box.setCurrentIndex(section.toolbar.kind_box.findData("exclude"))
    section.unfold()
    section.use("Polygon")
    layer = region_layer(viewer.layers, key_of(counted.image.layer))
    layer.add(rectangle(0, 0, 70, 100), shape_type="polygon")
    layer.selected_data = {0}
    section.toolbar.kind_box.setCurrentIndex(section.toolbar.kind_box.findData("count"))
    layer.add(rectangle(0, 0, 70, 100), shape_type="polygon")
    settle(counted, qtbot)
    assert list(layer.features["kind"]) == ["exclude", "count"]
    assert list(layer.features["name"]) == ["Excluded 1", "Region 1"]
    assert not section.toolbar.buttons["Rectangle"].isChecked()
    assert section.toolbar.buttons["Polygon"].isChecked()


def test_a_region_that_is_pasted_counts_too(counted, viewer, qtbot):
    layer = drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100)))
    layer.selected_data = {0}
    layer._copy_data()
    layer._paste_data()
    settle(counted, qtbot)
    assert [row(counted, i)[:3] for i in range(2)] == [
        ["Region 1", "count", "2"], ["Region 2", "count", "2"],
    ]  # fmt: skip
    assert "All 2 regions: 2 cells" in counted.regions.sums_label.text()


def test_before_the_count_there_are_areas_only(tally, viewer, image, qtbot, press):
    viewer.add_image(image, name="cells")
    qtbot.waitUntil(lambda: tally.problem() is None)
    tally.image.pixel_edit.setValue(1.0)
    drawn(tally, viewer, qtbot, Region(rectangle(0, 0, 70, 100)))
    assert row(tally, 0)[2:] == ["–", "–", "–", "7\u202f000\u202fµm²", "–", ""]
    assert "Not counted yet" in tally.regions.note_label.text()
    assert not tally.regions.copy_button.isEnabled()
    press(tally)
    settle(tally, qtbot)
    assert row(tally, 0)[2] == "2"


def test_counting_again_keeps_the_regions(counted, viewer, qtbot, press, counter):
    drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100)),
          Region(rectangle(80, 0, 120, 160), "exclude"))  # fmt: skip
    counter.weights = np.array([2.0, 1.0, 1.0, 1.0])
    press(counted)
    settle(counted, qtbot)
    assert row(counted, 0)[2] == "3"
    assert counted.result.count_label.text() == "3 cells"
    assert counted.result.correction_label.text() == "without 1 excluded region"


def test_regions_belong_to_their_plane(tally, viewer, qtbot, press):
    viewer.add_image(np.zeros((3, 120, 160), np.uint16), name="stack", scale=(2, 0.5, 0.5),
                     translate=(0, 5, 5))  # fmt: skip
    viewer.dims.set_point(0, 2)
    press(tally)
    layer = drawn(tally, viewer, qtbot, Region(rectangle(0, 0, 70, 100)))
    assert layer.data[0][:, 0].tolist() == [1, 1, 1, 1]
    world = layer.data_to_world((1, 20, 30))
    np.testing.assert_allclose(world, tally.image.layer.data_to_world((1, 20, 30)))
    assert row(tally, 0)[2] == "2"
    viewer.dims.set_point(0, 0)
    set_regions(layer, tally.image.plane(), [Region(rectangle(0, 0, 10, 10))])
    settle(tally, qtbot)
    assert tally.regions.table.rowCount() == 1
    assert "1 region lies in other planes" in tally.regions.note_label.text()


def test_no_region_can_be_drawn_in_three_dimensions(tally, viewer, qtbot, click):
    viewer.add_image(np.zeros((3, 120, 160), np.uint16), name="stack")
    viewer.dims.ndisplay = 3
    tally.regions.use("Rectangle")
    assert "2-D" in tally.regions.note_label.text()
    assert len(viewer.layers) == 1


def test_two_hundred_regions(counted, viewer, qtbot, monkeypatch):
    rng = np.random.default_rng(0)
    corners = rng.uniform((0, 0), (100, 140), (200, 2))
    regions = [Region(rectangle(y, x, y + 15, x + 18)) for y, x in corners]
    layer = drawn(counted, viewer, qtbot, *regions)
    assert counted.regions.table.rowCount() == 200
    prediction = counted.regions._counted.prediction
    for i, region in regions_of(layer, counted.image.plane())[::50]:
        assert counted.regions.rows()[i].interval == of(prediction, 0.95, region.polygon)
    steps = []
    real = measuring._measured
    monkeypatch.setattr(measuring, "_measured", lambda *a, **k: (steps.append(a), real(*a, **k))[1])
    data = layer.data
    data[5] = data[5] + [1.0, 2.0]
    layer.data = data
    settle(counted, qtbot)
    assert len(steps) == 2  # itself, and all together


def test_what_takes_long_is_summed_beside_the_window(counted, viewer, qtbot, monkeypatch):
    monkeypatch.setattr(measuring, "MOST_CORNERS", 4)
    threads, real = [], measuring._measured

    def measured(prediction, yx, part, **k):
        threads.append((part.large, threading.current_thread() is threading.main_thread()))
        return real(prediction, yx, part, **k)

    monkeypatch.setattr(measuring, "_measured", measured)
    layer = drawn(counted, viewer, qtbot, Region(rectangle(-0.5, -0.5, 59.5, 99.5)),
                  Region(rectangle(80, 20, 110, 60)), Region(rectangle(0, 0, 70, 100), "exclude"),
                  Region(rectangle(0, 10, 60, 90), "exclude"))  # fmt: skip
    assert {(True, False), (False, True)} == set(threads)
    assert counted.result.count_label.text() == "2 cells"
    assert "All 2 regions: 1 cell" in counted.regions.sums_label.text()
    layer.data = [corners + 0.25 for corners in layer.data]
    qtbot.waitUntil(lambda: counted.regions._settled.isActive())
    assert "…" in row(counted, 0)  # not known yet,
    assert counted.result.count_label.text() == "2 cells"  # but what was told stands
    settle(counted, qtbot)
    assert "…" not in row(counted, 0)


def test_the_table_measures_its_columns_seldom(counted, viewer, qtbot, monkeypatch):
    layer = drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100)))
    table, fitted = counted.regions.table, []
    monkeypatch.setattr(table, "resizeColumnsToContents", lambda: fitted.append(True))
    layer.data = [corners + 0.25 for corners in layer.data]
    settle(counted, qtbot)
    assert not fitted  # with Qt's own fitting, each of many rows cost 16 ms here
    table.renamed.emit(0, "a region with a long name")
    settle(counted, qtbot)
    assert fitted


def test_regions_that_make_no_sense_are_no_trouble(counted, viewer, qtbot):
    layer = drawn(
        counted, viewer, qtbot,
        Region(rectangle(0, 0, 120, 160)[[0, 2, 1, 3]]),  # crosses itself
        Region(rectangle(500, 500, 600, 600)),  # beyond the image
        Region(np.array([(5.0, 5.0), (5.0, 5.0), (60.0, 60.0)])),  # no area
    )  # fmt: skip
    layer.add(np.array([(0.0, 0.0), (60.0, 60.0)]), shape_type="line")
    settle(counted, qtbot)
    assert [row(counted, i)[2] for i in range(1, 4)] == ["0", "0", "0"]
    crossed, far = counted.regions.rows()[:2]
    assert crossed.measured.area_px == pytest.approx(120 * 160 / 2, rel=0.02)
    assert far.measured.area_px == 0


def test_closing_the_image_and_choosing_another(counted, viewer, image, qtbot):
    drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100)))
    # Other pixels: a project takes the same ones for the same image.
    other = viewer.add_image(image + 1, name="other")
    counted.image.layer_box.setCurrentText("other")
    qtbot.waitUntil(lambda: counted.image.layer is not None and counted.image.layer.name == "other")
    settle(counted, qtbot)
    assert counted.regions.table.rowCount() == 0
    viewer.layers.remove(other)
    settle(counted, qtbot)
    assert counted.regions.table.rowCount() == 1
    viewer.layers.remove("cells")
    settle(counted, qtbot)
    assert counted.regions.table.rowCount() == 0
    assert not counted.regions.toolbar.buttons["Rectangle"].isEnabled()


def test_the_table_is_copied_and_saved(counted, viewer, qtbot, click, tmp_path):
    counted.image.pixel_edit.setValue(2.0)
    drawn(counted, viewer, qtbot, Region(rectangle(-0.5, -0.5, 59.5, 99.5), name="left"),
          Region(rectangle(80, 20, 110, 60), "exclude", stated=3.0))  # fmt: skip
    counted.regions.unfold()
    click(counted.regions.copy_button)
    lines = QApplication.clipboard().text().splitlines()
    assert lines[0].split("\t")[:5] == ["image", "t", "z", "region", "kind"]
    path = tmp_path / "regions.csv"
    counted.regions.out.save(str(path))
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [r["region"] for r in rows] == ["left", "Excluded 1", "Image"]
    assert float(rows[0]["area_um2"]) == pytest.approx(24_000)
    assert float(rows[0]["cells_per_mm2"]) == pytest.approx(float(rows[0]["count"]) / 0.024, 1e-3)
    assert rows[1]["cells_per_mm2"] == ""
    assert rows[2]["kind"] == "sum"
    shapes = tmp_path / "regions.geojson"
    counted.regions.out.save_shapes(str(shapes))
    first, second = json.loads(shapes.read_text())["features"]
    assert first["geometry"]["coordinates"][0][1] == [100, 0]  # from the corner of the pixel
    assert first["geometry"]["coordinates"][0][0] == first["geometry"]["coordinates"][0][-1]
    assert first["properties"]["name"] == "left"
    assert first["properties"]["classification"]["name"] == "count"
    assert second["properties"]["measurements"] == {"stated count": 3.0}


def test_ellipses_have_their_area():
    box = np.array([(0.0, 0.0), (20.0, 0.0), (20.0, 50.0), (0.0, 50.0)])
    y, x = outline_of(box, "ellipse").T
    area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert area == pytest.approx(np.pi * 10 * 25)
    assert (y.mean(), x.mean()) == pytest.approx((10, 25))


def test_a_rectangle_askew_by_rounding_stays_one():
    box = rectangle(0, 0, 20, 50) + np.random.default_rng(0).uniform(-1e-5, 1e-5, (4, 2))
    assert is_upright(outline_of(box, "rectangle"))
    turned = rectangle(0, 0, 20, 50) + np.arange(4)[:, None]
    np.testing.assert_array_equal(outline_of(turned, "rectangle"), turned)


def test_a_shape_of_ones_own_in_another_layer_is_left_alone(counted, viewer, qtbot):
    other = viewer.add_shapes([rectangle(0, 0, 5, 5)], name="mine")
    drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100)))
    assert counted.regions.table.rowCount() == 1
    assert len(other.data) == 1
    assert "kind" not in other.features


def test_choosing_a_row_chooses_the_shape(counted, viewer, qtbot):
    layer = drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100)),
                  Region(rectangle(0, 0, 20, 20)))  # fmt: skip
    counted.regions.table.selectRow(1)
    assert set(layer.selected_data) == {1}
    assert layer.mode == "select"
    layer.selected_data = {0}
    layer.refresh()
    settle(counted, qtbot)
    assert counted.regions.table.chosen_indices() == [0]


def test_a_failure_is_one_sentence(counted, viewer, qtbot, monkeypatch, caplog):
    def broken(layer, plane):
        raise RuntimeError("odd shapes")

    monkeypatch.setattr(regions_section, "regions_of", broken)
    drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100)))
    assert "RuntimeError" in counted.regions.note_label.text()
    assert "odd shapes" in caplog.text


def test_closing_the_dock_leaves_the_regions(counted, viewer, qtbot):
    layer = drawn(counted, viewer, qtbot, Region(rectangle(0, 0, 70, 100)))
    died = []
    counted.destroyed.connect(lambda: died.append(True))
    viewer.window.remove_dock_widget(counted)
    qtbot.waitUntil(lambda: bool(died))
    layer.add(rectangle(0, 0, 5, 5), shape_type="polygon")
    viewer.layers.remove(layer)
    qtbot.wait(60)
