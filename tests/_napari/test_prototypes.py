"""What prototypes say of a count, in the window: with a real, tiny model and real clicks."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMenu

from celltally import zoo
from celltally._napari import boxes_section, counting, explaining, layers, planes, texts
from celltally._napari.colours import KINDS
from celltally._napari.layers.boxes import _free
from celltally._napari.layers.pointed import place_in, pointed_dot, selected_polygon
from celltally._napari.planes import key_of
from celltally.appearance import APPEARANCE
from celltally.explain import overview
from celltally.explain.boxes import Box
from celltally.explain.contributions import contributions_at, contributions_over
from celltally.explain.gallery import Patch
from celltally.explain.similarity import similarities
from celltally.intervals import known_appearances
from celltally.model import Model
from celltally.networks import build
from celltally.progress import drain
from celltally.record import Learned
from celltally.types import Calibration

SHAPE = (120, 160)
SCALE, TRANSLATE = 0.5, (10.0, 20.0)


@pytest.fixture
def model(tiny_model, tmp_path, monkeypatch):
    """The tiny model, as the only one there is."""
    model = tiny_model.save(tmp_path / "models" / "tiny")
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tmp_path / "none")
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tmp_path / "models")
    monkeypatch.setattr(counting, "_loaded", [])
    monkeypatch.setattr(overview, "FLOOR", 0.0)  # random weights know nothing that is much alike
    return model


@pytest.fixture
def pixels(draw_cells, scatter):
    rng = np.random.default_rng(0)
    return draw_cells(scatter(25, SHAPE, rng), SHAPE, rng=rng)


@pytest.fixture
def count(viewer, model):
    """Counts an image with the tiny model, and shows that as the Tally widget does."""

    def count(pixels, name="cells", record=None):
        if name in viewer.layers:
            layer = viewer.layers[name]
        else:
            layer = viewer.add_image(pixels, name=name, scale=(SCALE, SCALE), translate=TRANSLATE)
        plane = planes.plane_in_view(layer, viewer.dims)
        job = counting.count_job(plane, record or model.record, 12.0, f"{name}.tif")
        counted = drain(job)
        shown = layers.show_density(viewer, layer, plane, counted.prediction)
        layers.keep(shown, counted=counted)
        dots = counted.candidates[:10]
        layers.show_dots(viewer, layer, plane, dots, 12.0)
        viewer.layers.selection.active = layer
        return counted

    return count


@pytest.fixture
def open_explain(viewer, qtbot):
    from celltally._napari.explain import ExplainWidget

    jobs = []

    def open_explain():
        widget = ExplainWidget(viewer)
        jobs.append(widget.jobs)
        viewer.window.add_dock_widget(widget, name="Explain")
        viewer.window._qt_window.show()  # clicks are for a widget that is seen
        qtbot.waitUntil(widget.isVisible)
        known = widget.explainer
        qtbot.waitUntil(lambda: known.known.prototypes is not None or bool(known.known.problem))
        return widget

    yield open_explain
    for one in jobs:
        one.stop()


@pytest.fixture
def counted(count, pixels):
    return count(pixels)


@pytest.fixture
def widget(counted, open_explain):
    """The widget beside one counted image."""
    return open_explain()


@pytest.fixture
def explained(widget, click, qtbot):
    """The same after *Explain this count*."""
    click(widget.gallery.run.button)
    qtbot.waitUntil(lambda: widget.explainer.known.overview is not None)
    qtbot.waitUntil(lambda: not widget.explainer.running)
    return widget


@pytest.fixture
def found(model, pixels):
    return similarities(model, pixels, diameter_px=12.0, device="cpu")


@pytest.fixture
def press_space(qtbot):
    """Ticks or clears a box with the keyboard."""
    return lambda box: qtbot.keyClick(box, Qt.Key.Key_Space)


@pytest.fixture
def canvas_click(viewer, qtbot):
    """Clicks a place of the image, in its pixels, on the canvas."""

    def canvas_click(yx, button=Qt.MouseButton.LeftButton, drag=0):
        native = viewer.window._qt_viewer.canvas.native
        point = canvas_point(viewer, yx)
        qtbot.mousePress(native, button, pos=point)
        if drag:
            from qtpy.QtCore import QPoint

            qtbot.mouseMove(native, point + QPoint(drag, drag))
        qtbot.mouseRelease(native, button, pos=point)

    return canvas_click


def canvas_point(viewer, yx):
    from qtpy.QtCore import QPoint

    y, x = (TRANSLATE[i] + SCALE * yx[i] for i in (0, 1))
    transform = viewer.window._qt_viewer.canvas.view.scene.transform
    column, row = transform.map([x, y, 0, 1])[:2]
    return QPoint(round(column), round(row))


def drawn(widget, qtbot):
    """Waits until the boxes are drawn; their layer."""
    qtbot.waitUntil(lambda: not widget.boxes._waiting)
    qtbot.wait(30)
    subject = widget.explainer.subject
    return layers.boxes_layer(widget.viewer.layers, key_of(subject.layer))


def sum_of(widget):
    name, value = widget.contributions.bars.rows()[-1]
    assert name == "sum"
    return float(value)


# ---- gallery and boxes ------------------------------------------------------


@pytest.mark.gui
def test_prototypes_are_shown_and_chosen_with_keys(explained, qtbot, counted):
    gallery = explained.gallery
    cell, background = gallery.lists["cell"], gallery.lists["background"]
    assert [cell.item(i).text() for i in range(cell.count())] == ["p0", "p1"]
    assert [background.item(i).text() for i in range(background.count())] == ["p2", "p3"]
    assert gallery.numbers == ()
    cell.setFocus()
    qtbot.keyClick(cell, Qt.Key.Key_Home)
    qtbot.keyClick(cell, Qt.Key.Key_Right)
    assert gallery.numbers == (1,)
    assert "Cell prototype p1" in gallery.detail.text()
    assert "places of your image" in gallery.detail.text()
    layer = drawn(explained, qtbot)
    known = explained.explainer.known.overview
    own = [box for box in known.boxes if box.prototype == 1]
    assert len(layer.data) == len(own)
    background.setFocus()
    qtbot.keyClick(background, Qt.Key.Key_Home)
    assert gallery.numbers == (2,)  # the other list lets go


@pytest.mark.gui
def test_boxes_carry_prototype_and_similarity_as_text(explained, qtbot):
    explained.boxes.box.setCurrentIndex(explained.boxes.box.findData("cell"))
    layer = drawn(explained, qtbot)
    known = explained.explainer.known.overview
    cell = [box for box in known.boxes if box.kind == "cell"]
    assert cell
    assert layer.visible
    assert layer.features["prototype"].tolist() == [box.prototype for box in cell]
    labels = layer.features["label"].tolist()
    assert any(labels)
    for box, label in zip(cell, labels, strict=True):  # none where it would lie out of view
        assert label in ("", f"p{box.prototype} · {box.similarity:.1f}")
    expected = [tuple(int(KINDS["cell"][i : i + 2], 16) / 255 for i in (1, 3, 5))] * len(cell)
    np.testing.assert_allclose(layer.edge_color[:, :3], expected, atol=1e-3)
    first = cell[0]
    np.testing.assert_allclose(layer.data[0][0], (first.y0, first.x0))
    np.testing.assert_allclose(layer.data[0][2], (first.y1, first.x1))
    np.testing.assert_allclose(layer.scale, (SCALE, SCALE))
    explained.boxes.box.setCurrentIndex(explained.boxes.box.findData("none"))
    assert len(drawn(explained, qtbot).data) == 0


@pytest.mark.gui
def test_of_very_many_boxes_the_most_similar_are_drawn(explained, qtbot, monkeypatch):
    monkeypatch.setattr(boxes_section, "MOST_BOXES", 2)
    known = explained.explainer.known.overview
    background = [box for box in known.boxes if box.kind == "background"]
    assert len(background) > 2
    explained.boxes.box.setCurrentIndex(explained.boxes.box.findData("background"))
    layer = drawn(explained, qtbot)
    assert len(layer.data) == 2
    assert "the 2 most similar are drawn" in explained.boxes.words.text()


def test_labels_do_not_cover_each_other():
    boxes = [
        Box(0, "cell", y, x, y + 4, x + 4, s) for y, x, s in [(0, 0, 2), (5, 5, 3), (5, 90, 1)]
    ]
    view = (-1.0, -1.0, 100.0, 100.0)
    assert _free(boxes, (10.0, 50.0), view) == [False, True, True]
    assert _free(boxes, (1.0, 1.0), view) == [True, True, True]
    assert _free(boxes, (1.0, 1.0), (3.0, -1.0, 100.0, 50.0)) == [False, True, False]


@pytest.mark.gui
def test_choosing_a_prototype_explains_at_once(widget, qtbot):
    assert widget.explainer.known.overview is None
    widget.gallery.choose(3)
    qtbot.waitUntil(lambda: widget.explainer.known.overview is not None)
    qtbot.waitUntil(lambda: drawn(widget, qtbot) is not None)
    assert widget.gallery.run.button.isHidden()


@pytest.mark.gui
def test_training_patches_are_shown_where_they_may_be(counted, open_explain, monkeypatch):
    picture = np.zeros((96, 96), np.uint8)
    patches = (Patch(picture, "bbbc039", 1.0, 2.0, 4.6),)

    def job(count):
        yield from ()
        return explaining.Prototypes(("cell", "background"), (patches, ()))

    monkeypatch.setattr(explaining, "prototypes_job", job)
    widget = open_explain()
    widget.gallery.lists["cell"].setCurrentRow(0)
    assert "training images (bbbc039)" in widget.gallery.detail.text()
    assert not widget.gallery.pictures[0].isHidden()
    assert widget.gallery.pictures[1].isHidden()
    widget.explainer.cancel()


@pytest.mark.gui
def learned(model, looks, new):
    """The model as a child that learned from images of this look, with new prototypes."""
    told = Learned(
        project="", by=(), date="", images=1, regions=1, stated=0, excluded=0, dots=1,
        corrected=0, kept_back=0, audits=0, helped=None, metrics={}, new_prototypes=new,
        looks=looks,
    )  # fmt: skip
    return replace(model, record=replace(model.record, learned=told))


def test_new_prototypes_are_marked(counted, model, open_explain, monkeypatch):
    monkeypatch.setattr(counting, "_loaded", [learned(model, None, (1,))])
    gallery = open_explain().gallery
    cells, background = gallery.lists["cell"], gallery.lists["background"]
    assert [cells.item(row).text() for row in range(cells.count())] == ["p0", "p1 new"]
    assert cells.gridSize().width() > background.gridSize().width()
    assert "new" in cells.item(1).toolTip()
    gallery.choose(1)
    assert gallery.detail.text().startswith("Cell prototype p1, new: the model learned it")
    gallery.choose(0)
    assert gallery.detail.text().startswith("Cell prototype p0; ")


def test_what_the_base_counted_is_explained_by_the_base(
    viewer, count, pixels, model, open_explain, tiny_config, tmp_path, click, qtbot, monkeypatch
):
    plain = count(pixels).prediction
    shown = plain.appearance
    seen = known_appearances([shown], ["a"], APPEARANCE)
    other = known_appearances([{k: v + 5 for k, v in shown.items()}], ["b"], APPEARANCE)
    base = model.with_calibration(
        Calibration(1.0, 0.0, 1.0, (1.0,), n=1, groups=1, date="", appearances=seen)
    )
    network = build("tally", tiny_config | {"prototypes": 6})
    child = Model.from_network(
        network,
        name="child",
        diameter_px=12.0,
        base=base,
        learned=learned(model, other, (4, 5)).record.learned,
    ).save(tmp_path / "models" / "child")
    again = count(pixels, record=child.record)
    np.testing.assert_array_equal(again.prediction.density, plain.density)
    assert again.prediction.model == "child"
    widget = open_explain()
    known = widget.explainer.known
    assert len(known.prototypes.kinds) == 4
    assert known.prototypes.new == frozenset()
    click(widget.gallery.run.button)
    qtbot.waitUntil(lambda: known.overview is not None)
    qtbot.waitUntil(lambda: not widget.explainer.running)
    assert known.overview.contributions.total == pytest.approx(
        plain.density.sum(dtype=float), abs=1e-2
    )


def test_a_blank_image_has_no_boxes(count, open_explain, click, qtbot):
    count(np.full(SHAPE, 7, np.uint8))
    widget = open_explain()
    click(widget.gallery.run.button)
    qtbot.waitUntil(lambda: widget.explainer.known.overview is not None)
    widget.boxes.box.setCurrentIndex(widget.boxes.box.findData("cell"))
    assert "nothing in this image is like any prototype" in widget.boxes.words.text()
    assert drawn(widget, qtbot) is None


# ---- contributions ----------------------------------------------------------


@pytest.mark.gui
def test_a_click_shows_what_makes_the_density(explained, counted, found, canvas_click, qtbot):
    canvas_click((40.2, 60.3))
    bars = explained.contributions.bars
    qtbot.waitUntil(lambda: bars.isVisible())
    parts = contributions_at(found, (40.2, 60.3))
    assert sum_of(explained) == pytest.approx(parts.total, rel=0.05, abs=1e-4)
    assert sum_of(explained) == pytest.approx(counted.prediction.density[0, 20, 30], rel=0.05)
    names = [name for name, _ in bars.rows()]
    assert sorted(names) == sorted(
        ["p0 cell", "p1 cell", "p2 background", "p3 background", "bias", "sum"]
    )
    assert "y 40, x 60" in explained.contributions.words.text()
    qtbot.waitUntil(lambda: "cells explained place" in explained.viewer.layers)
    np.testing.assert_allclose(
        explained.viewer.layers["cells explained place"].data[0], (40.2, 60.3), atol=1.0
    )
    bars.setCurrentItem(bars.topLevelItem(0))
    assert f"p{explained.gallery.numbers[0]} " in names[0] + " "


@pytest.mark.gui
def test_a_drag_and_a_click_beside_the_image_ask_nothing(explained, canvas_click, qtbot):
    canvas_click((40, 60), drag=30)
    canvas_click((-30, 60))
    qtbot.wait(50)
    assert not explained.contributions.bars.isVisible()
    explained.viewer.layers.selection.active = explained.viewer.layers["cells dots"]
    explained.viewer.layers["cells dots"].mode = "add"
    canvas_click((40, 60))
    assert not explained.contributions.bars.isVisible()  # it added a dot


@pytest.mark.gui
def test_a_right_click_on_a_dot_asks_why(widget, counted, found, canvas_click, qtbot):
    dot = counted.candidates.yx[0]
    away = next(
        yx for yx in ((5.0, 5.0), (60.0, 80.0), (110.0, 150.0))
        if np.hypot(*(counted.candidates.yx[:10] - yx).T).min() > 8
    )  # fmt: skip
    canvas_click(away, Qt.MouseButton.RightButton)
    assert not [m for m in widget.findChildren(QMenu) if m.isVisible()]
    canvas_click(dot, Qt.MouseButton.RightButton)
    (menu,) = [m for m in widget.findChildren(QMenu) if m.isVisible()]
    (action,) = menu.actions()
    assert action.text() == "Why this dot?"
    action.trigger()
    menu.close()
    qtbot.waitUntil(lambda: widget.contributions.bars.isVisible())  # compared on demand
    expected = contributions_at(found, dot).total
    assert sum_of(widget) == pytest.approx(expected, rel=0.05, abs=1e-4)
    assert widget.contributions.words.text().startswith("This dot at")


@pytest.mark.gui
def test_a_key_asks_of_the_dot_under_the_mouse(explained, counted, qtbot, viewer):
    dot = counted.candidates.yx[1]
    viewer.cursor.position = tuple(np.array(TRANSLATE) + SCALE * dot)
    viewer.layers.selection.active = viewer.layers["cells"]
    qtbot.keyClick(
        viewer.window._qt_viewer.canvas.native, Qt.Key.Key_W, Qt.KeyboardModifier.ShiftModifier
    )
    assert explained.contributions.words.text().startswith("This dot at")


@pytest.mark.gui
def test_the_selected_dot_and_the_whole_image(explained, counted, viewer, click):
    click(explained.contributions.whole)
    expected = counted.prediction.density.sum(dtype=float)
    assert sum_of(explained) == pytest.approx(expected, rel=0.02)
    click(explained.contributions.dot)
    assert "Select a dot" in explained.contributions.words.text()
    viewer.layers["cells dots"].selected_data = {0}
    click(explained.contributions.dot)
    y, x = counted.candidates.yx[0]
    assert f"y {y:.0f}, x {x:.0f}" in explained.contributions.words.text()


@pytest.mark.gui
def test_a_shape_of_the_user(explained, viewer, found, click):
    click(explained.contributions.shape_button)
    assert "select a rectangle" in explained.contributions.words.text()
    corners = np.array([(20.0, 30.0), (20.0, 90.0), (80.0, 90.0), (80.0, 30.0)])
    world = corners * SCALE + TRANSLATE
    shapes = viewer.add_shapes(world, shape_type="rectangle")
    shapes.selected_data = {0}
    viewer.layers.selection.active = shapes
    click(explained.contributions.shape_button)
    expected = contributions_over(found, corners).total
    assert sum_of(explained) == pytest.approx(expected, rel=0.02)


# ---- similarity -------------------------------------------------------------


@pytest.mark.gui
def test_the_similarity_layer_is_there_when_asked_for(explained, viewer, found, press_space):
    explained.gallery.choose(2)
    assert layers.similarity_layer(viewer.layers, key_of(viewer.layers["cells"])) is None
    press_space(explained.similarity.on)
    layer = layers.similarity_layer(viewer.layers, key_of(viewer.layers["cells"]))
    np.testing.assert_array_equal(layer.data, found.values[2])
    assert layer.name == "cells similarity to p2 (background)"
    middle = found.grid.to_image((10.5, 20.5))[0]
    np.testing.assert_allclose(
        layer.data_to_world((10, 20)), viewer.layers["cells"].data_to_world(middle)
    )
    explained.gallery.choose(0)
    np.testing.assert_array_equal(layer.data, found.values[0])
    press_space(explained.similarity.on)
    assert not layer.visible


@pytest.mark.gui
def test_the_similarity_of_an_earlier_count_is_put_aside(
    explained, viewer, found, count, qtbot, press_space
):
    explained.gallery.choose(2)
    press_space(explained.similarity.on)
    key = key_of(viewer.layers["cells"])
    layer, density = layers.similarity_layer(viewer.layers, key), viewer.layers["cells density"]
    assert (layer.visible, density.visible) == (True, False)
    counted = count(None)
    qtbot.waitUntil(lambda: explained.subject.subject.counted is counted)
    assert (layer.visible, density.visible) == (False, True)
    qtbot.waitUntil(lambda: explained.explainer.known.prototypes is not None)
    explained.similarity._compare()
    qtbot.waitUntil(lambda: explained.explainer.known.found is not None)
    qtbot.waitUntil(lambda: layer.visible)
    assert layers.kept(layer, "found") is explained.explainer.known.found
    assert not density.visible


# ---- large images -----------------------------------------------------------


@pytest.mark.gui
def test_of_a_large_image_a_part_is_compared(
    widget, found, monkeypatch, qtbot, click, press_space, viewer
):
    monkeypatch.setattr(explaining, "MOST_MEGABYTES", 4 * 4 * 900e-6)  # 30 × 30 density cells
    click(widget.gallery.run.button)
    qtbot.waitUntil(lambda: widget.explainer.known.overview is not None)
    assert widget.explainer.known.found is None  # too large to keep
    for place in [(5.0, 5.0), (110.0, 150.0)]:
        widget.contributions.show_place(place)
        qtbot.waitUntil(lambda: widget.contributions.bars.isVisible())
        part = widget.explainer.known.found
        assert max(part.grid.shape) <= 30
        np.testing.assert_allclose(part.at(place), found.at(place), rtol=1e-3, atol=1e-6)
    widget.gallery.choose(1)
    press_space(widget.similarity.on)
    assert not widget.similarity.again.isHidden()
    assert "Only a part" in widget.similarity.words.text()
    layer = layers.similarity_layer(viewer.layers, key_of(viewer.layers["cells"]))
    assert layer.data.shape == part.grid.shape
    middle = part.grid.to_image((3.5, 4.5))[0]
    np.testing.assert_allclose(
        layer.data_to_world((3, 4)), viewer.layers["cells"].data_to_world(middle)
    )


# ---- ends of all kinds ------------------------------------------------------


@pytest.mark.gui
def test_a_model_without_prototypes_says_so(
    count, pixels, tiny_config, tmp_path, open_explain, monkeypatch
):
    del tiny_config["prototypes"]
    plain = Model.from_network(build("tally_plain", tiny_config), name="plain", diameter_px=12.0)
    saved = plain.save(tmp_path / "models" / "plain")
    count(pixels, record=saved.record)
    widget = open_explain()
    assert "counts without prototypes" in widget.gallery.words.text()
    for part in (widget.boxes, widget.contributions, widget.similarity, widget.gallery.run):
        assert part.isHidden()
    assert not widget.saliency.isHidden()


@pytest.mark.gui
def test_a_new_count_puts_old_explanations_aside(
    explained, viewer, count, pixels, canvas_click, qtbot
):
    explained.boxes.box.setCurrentIndex(explained.boxes.box.findData("cell"))
    layer = drawn(explained, qtbot)
    explained.contributions.show_place((40.0, 60.0))
    assert explained.contributions.bars.isVisible()
    count(pixels)
    qtbot.waitUntil(lambda: explained.explainer.known.overview is None)
    qtbot.waitUntil(lambda: not explained.contributions.bars.isVisible())
    assert not layer.visible
    assert "Explain this count" in explained.boxes.words.text()


@pytest.mark.gui
def test_closing_the_image_in_the_middle_is_safe(widget, viewer, click, qtbot, monkeypatch):
    original = explaining.overview_job

    def slow(*args):
        for step in original(*args):
            time.sleep(0.02)
            yield step

    monkeypatch.setattr(explaining, "overview_job", slow)
    click(widget.gallery.run.button)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not widget.explainer.running)
    qtbot.waitUntil(lambda: widget.gallery.isHidden())
    assert len(viewer.layers) == 0


@pytest.mark.gui
def test_cancel_changes_nothing(widget, viewer, click, qtbot, monkeypatch):
    from celltally.types import Progress

    def endless(*args):
        while True:
            yield Progress(0, 0)
            time.sleep(0.001)

    monkeypatch.setattr(explaining, "overview_job", endless)
    click(widget.gallery.run.button)
    click(widget.gallery.run.cancel_button)
    qtbot.waitUntil(lambda: not widget.explainer.running)
    assert "Cancelled" in widget.gallery.run.message.text()
    assert not widget.gallery.run.button.isHidden()
    assert len(viewer.layers) == 3


@pytest.mark.gui
def test_a_closed_dock_hears_nothing_more(explained, viewer, qtbot, canvas_click):
    keys = len(viewer.keymap)
    callbacks = len(viewer.mouse_drag_callbacks)
    died = []
    explained.destroyed.connect(lambda: died.append(True))
    viewer.window.remove_dock_widget(explained)
    qtbot.waitUntil(lambda: bool(died))
    assert len(viewer.mouse_drag_callbacks) == callbacks - 1
    assert len(viewer.keymap) == keys - 1
    canvas_click((40, 60))
    assert "cells explained place" not in viewer.layers


def test_parts_of_a_count_are_readable():
    values = (1234.4, 99.96, 12.345, 0.98, 0.1234, -0.0567, 0.0002, 0.0)
    shown = ["1\u202f234", "100", "12.3", "1.0", "0.12", "-0.057", "0.000", "0.000"]
    assert [texts.amount(value) for value in values] == shown


# ---- places -----------------------------------------------------------------


def test_places_of_a_stack_are_those_of_its_plane():
    viewer = ViewerModel()
    image = viewer.add_layer(
        Image(np.zeros((4, 120, 160)), scale=(2.0, 0.5, 0.5), translate=(1, 10, 20))
    )
    viewer.dims.set_current_step(0, 2)
    plane = planes.plane_in_view(image, viewer.dims)
    at = image.data_to_world((2, 30.2, 40.4))
    np.testing.assert_allclose(place_in(image, plane, at), (30.2, 40.4))
    assert place_in(image, plane, image.data_to_world((1, 30, 40))) is None
    assert place_in(image, plane, image.data_to_world((2, 30, 170))) is None
    dots = layers.show_dots(
        viewer, image, plane, planes.in_plane(_dots([(30, 40), (30, 44)]), plane), 12.0
    )
    assert pointed_dot(dots, image, plane, at, 3.0) == (30.0, 40.0)
    assert pointed_dot(dots, image, plane, image.data_to_world((2, 50, 40)), 3.0) is None
    dots.visible = False
    assert pointed_dot(dots, image, plane, at, 3.0) is None


def _dots(yx):
    from celltally.types import Dots

    return replace(Dots.new(yx))


def test_shapes_are_polygons_in_pixels_of_the_image():
    image = Image(np.zeros((100, 100)), scale=(0.5, 0.5), translate=(10, 20))
    square = np.array([(0.0, 0.0), (0.0, 40.0), (20.0, 40.0), (20.0, 0.0)])
    shapes = Shapes([square, square, square[:2]], shape_type=["rectangle", "ellipse", "line"])
    assert selected_polygon(shapes, image) is None
    shapes.selected_data = {0}
    np.testing.assert_allclose(selected_polygon(shapes, image), (square - (10, 20)) / 0.5)
    shapes.selected_data = {1}
    ellipse = selected_polygon(shapes, image)
    y, x = ellipse[:, 0], ellipse[:, 1]
    area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert area == pytest.approx(np.pi * 20 * 40, rel=0.01)
    shapes.selected_data = {2}
    assert selected_polygon(shapes, image) is None
    assert selected_polygon(image, image) is None
