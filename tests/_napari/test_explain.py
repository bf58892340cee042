from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QMainWindow

from celltally import zoo
from celltally._napari import counting, explaining, layers, planes, saliency_section
from celltally._napari.colours import DENSITY, SALIENCY
from celltally._napari.planes import key_of
from celltally.errors import UserError
from celltally.explain.saliency import Saliency
from celltally.progress import drain
from celltally.types import Grid, Progress


def saliency_of(counted, top=1.0, **changes):
    """A map with one bright row and column, three image pixels for two of its own."""
    height, width = (2 * side // 3 for side in counted.plane.shape)
    values = np.full((height, width), 0.1 * top, dtype=np.float32)
    values[20], values[:, 30] = top, top
    prediction = counted.prediction
    settings = {
        "values": values,
        "grid": Grid((height, width), step=(1.5, 1.5)),
        "count": prediction.count,
        "model": prediction.model,
        "model_sha256": prediction.model_sha256,
        "image": prediction.image,
        "diameter_px": prediction.diameter_px,
    }
    return Saliency(**(settings | changes))


class FakeExplainer:
    """Stands in for the net: remembers what was asked for."""

    def __init__(self):
        self.calls = []
        self.steps, self.pause = 3, 0.01
        self.error = None
        self.closed = False
        self.changes = {}

    def __call__(self, counted):
        self.calls.append(counted)
        try:
            for i in range(self.steps):
                yield Progress(i, self.steps, "explaining")
                time.sleep(self.pause)
            if self.error is not None:
                raise self.error
            return saliency_of(counted, **self.changes)
        finally:
            self.closed = True


def no_prototypes(counted):
    yield Progress(0, 0)
    return explaining.Prototypes(())


@pytest.fixture
def explainer(monkeypatch):
    fake = FakeExplainer()
    monkeypatch.setattr(explaining, "saliency_job", fake)
    monkeypatch.setattr(explaining, "prototypes_job", no_prototypes)
    return fake


@pytest.fixture
def open_explain():
    from celltally._napari.explain import ExplainWidget

    jobs = []

    def open_in(viewer):
        widget = ExplainWidget(viewer)
        jobs.append(widget.jobs)
        viewer.window.add_dock_widget(widget, name="Explain")
        return widget

    yield open_in
    for one in jobs:
        one.stop()


@pytest.fixture
def explain(counted, viewer, explainer, open_explain):
    """The widget in a viewer with one counted image."""
    return open_explain(viewer)


@pytest.fixture
def show(qtbot, click):
    """Presses *Show saliency* and waits for the end."""

    def show(widget):
        click(widget.saliency.run.button)
        qtbot.waitUntil(lambda: not widget.saliency.running, timeout=10_000)

    return show


def words(widget):
    return widget.subject.words.text()


def message(widget):
    return widget.saliency.run.message.text()


def layer_of(viewer, name="cells"):
    return layers.saliency_layer(viewer.layers, key_of(viewer.layers[name]))


# ---- what is explained ------------------------------------------------------


@pytest.mark.gui
def test_without_an_image_it_says_what_to_do(viewer, explainer, open_explain, qtbot):
    widget = open_explain(viewer)
    assert words(widget).startswith("Open an image and count it")
    assert words(widget).count(".") == 1
    assert widget.saliency.isHidden()
    widget.saliency.start()
    qtbot.wait(50)
    assert explainer.calls == []


@pytest.mark.gui
def test_an_image_that_is_not_counted_is_named(viewer, image, open_explain, qtbot):
    widget = open_explain(viewer)
    viewer.add_image(image, name="plate 1")
    qtbot.waitUntil(lambda: "“plate 1” is not counted yet: press Count" in words(widget))
    assert widget.saliency.isHidden()


@pytest.mark.gui
def test_a_count_is_noticed_and_named(tally, viewer, image, explainer, open_explain, qtbot, press):
    widget = open_explain(viewer)
    viewer.add_image(np.stack([image] * 3), name="stack", axis_labels=("z", "y", "x"))
    viewer.dims.set_current_step(0, 2)
    press(tally)
    said = "4 cells in “stack”, z 2, counted by the model “fake”."
    qtbot.waitUntil(lambda: words(widget) == said)
    assert not widget.saliency.isHidden()
    assert widget.saliency.run.button.isEnabled()
    viewer.layers["stack"].name = "embryo"
    qtbot.waitUntil(lambda: "“embryo”" in words(widget))


@pytest.mark.gui
def test_it_follows_the_layer_that_is_looked_at(
    counted, viewer, image, explainer, open_explain, qtbot, press, show
):
    viewer.add_image(image, name="second")
    counter_widget = counted
    press(counter_widget)
    viewer.add_image(image, name="third")
    widget = open_explain(viewer)
    for active, shown in [
        ("cells", "“cells”, counted"),
        ("third", "“third” is not counted"),
        ("second dots", "“second”, counted"),
        ("cells density", "“cells”, counted"),
    ]:
        viewer.layers.selection.active = viewer.layers[active]
        qtbot.waitUntil(lambda shown=shown: shown in words(widget))
    viewer.layers.selection.active = viewer.add_labels(np.zeros((9, 9), np.uint8))
    qtbot.wait(50)
    assert "“cells”, counted" in words(widget)  # no image: the last one stays
    show(widget)
    first = explainer.calls[0]
    assert first is layers.kept(viewer.layers["cells density"], "counted")
    viewer.layers.remove("cells")
    qtbot.waitUntil(lambda: "“second”, counted" in words(widget))  # the one that is counted


# ---- showing it -------------------------------------------------------------


@pytest.mark.gui
def test_the_map_lies_exactly_over_the_image(explain, viewer, show):
    show(explain)
    image, layer = viewer.layers["cells"], viewer.layers["cells saliency"]
    found = layers.kept(layer, "saliency")
    assert layer.data.shape == found.values.shape
    for cell in [(0, 0), (20, 30), (79, 105)]:
        middle = found.grid.to_image(np.array(cell) + 0.5)[0]
        np.testing.assert_allclose(layer.data_to_world(cell), image.data_to_world(middle))
    assert layer.units == image.units


@pytest.mark.gui
def test_the_map_is_seen_in_place_of_the_density_and_below_the_dots(explain, viewer, show):
    show(explain)
    names = [layer.name for layer in viewer.layers]
    assert names == ["cells", "cells density", "cells saliency", "cells dots"]
    visible = {layer.name for layer in viewer.layers if layer.visible}
    assert visible == set(names) - {"cells density"}
    assert {layer.name for layer in viewer.layers.selection} == {"cells"}
    assert message(explain).startswith("Shown in the layer “cells saliency”. The density is hidden")
    layer = layer_of(viewer)
    assert layer.colormap.name == SALIENCY.name != DENSITY.name
    assert layer.contrast_limits == [0.0, 1.0]


@pytest.mark.gui
def test_what_is_said_follows_the_eyes_and_the_layers(explain, viewer, show, qtbot):
    show(explain)
    viewer.layers["cells density"].visible = True
    qtbot.waitUntil(lambda: message(explain) == "Shown in the layer “cells saliency”.")
    viewer.layers.remove("cells saliency")
    qtbot.waitUntil(lambda: message(explain) == "")


@pytest.mark.gui
def test_a_second_run_replaces_the_first(explain, viewer, explainer, show):
    show(explain)
    before = layer_of(viewer)
    explainer.changes = {"top": 7.0}
    show(explain)
    assert layer_of(viewer) is before
    assert len(viewer.layers) == 4
    assert before.data.max() == 7.0
    assert before.contrast_limits == [0.0, 7.0]


@pytest.mark.gui
def test_a_new_count_puts_an_old_map_aside(explain, counted, viewer, show, press, qtbot):
    show(explain)
    press(counted)
    qtbot.waitUntil(lambda: "explains an earlier count" in message(explain))
    assert viewer.layers["cells density"].visible
    assert not layer_of(viewer).visible
    show(explain)
    assert layer_of(viewer).visible
    assert not viewer.layers["cells density"].visible
    assert message(explain).startswith("Shown in the layer")


@pytest.mark.gui
def test_a_density_that_the_user_hid_stays_hidden(counted, viewer, press):
    viewer.layers["cells density"].visible = False
    press(counted)
    assert not viewer.layers["cells density"].visible


@pytest.mark.gui
def test_a_map_without_light_and_what_to_know_are_told(explain, explainer, viewer, show):
    note = "The memory did not suffice: explained in smaller tiles of 256 px."
    explainer.changes = {"top": 0.0, "notes": (note,)}
    show(explain)
    assert "no small change would change this count" in message(explain)
    assert message(explain).endswith(note)
    assert layer_of(viewer).contrast_limits[1] > 0


@pytest.mark.gui
def test_another_widget_knows_the_map(explain, viewer, show, open_explain):
    show(explain)
    assert message(open_explain(viewer)) == message(explain)


def test_the_map_of_a_plane_lies_there(make_counted):
    viewer = ViewerModel()
    image = viewer.add_layer(
        Image(np.zeros((4, 120, 160)), name="a", scale=(2.0, 0.5, 0.5), translate=(1, 10, 20))
    )
    viewer.dims.set_current_step(0, 2)
    plane = planes.plane_in_view(image, viewer.dims)
    found = saliency_of(make_counted())
    layer = layers.show_saliency(viewer, image, plane, found)
    assert layer.data.shape == (1, 80, 106)
    middle = found.grid.to_image([(20.5, 30.5)])[0]
    np.testing.assert_allclose(layer.data_to_world((0, 20, 30)), image.data_to_world((2, *middle)))
    assert layers.own_role(layer) == "saliency"
    assert layers.image_of(layer) == key_of(image)


def test_a_few_values_far_above_the_others_do_not_darken_the_map(make_counted):
    viewer = ViewerModel()
    image = viewer.add_layer(Image(np.zeros((120, 160))))
    plane = planes.plane_in_view(image, viewer.dims)
    values = np.random.default_rng(0).random((80, 106), dtype=np.float32)
    values[5, 5] = 1000.0
    layer = layers.show_saliency(viewer, image, plane, saliency_of(make_counted(), values=values))
    assert 0.99 < layer.contrast_limits[1] <= 1.0
    assert layer.contrast_limits_range[1] == 1000.0  # for the user to go up to


# ---- ends of all kinds ------------------------------------------------------


@pytest.mark.gui
def test_cancel_in_the_middle_changes_nothing(explain, viewer, explainer, qtbot, click):
    explainer.steps, explainer.pause = 10_000, 0.001
    run = explain.saliency.run
    click(run.button)
    assert run.button.isHidden()
    qtbot.waitUntil(lambda: run.bar.maximum() == 10_000)
    assert run.bar.format().startswith("Explaining")
    click(run.cancel_button)
    qtbot.waitUntil(lambda: not explain.saliency.running)
    qtbot.waitUntil(lambda: explainer.closed)
    assert len(viewer.layers) == 3
    assert "Cancelled" in message(explain)
    assert not run.button.isHidden()


@pytest.mark.gui
def test_an_error_is_one_sentence(explain, viewer, explainer, show, monkeypatch):
    told = []
    monkeypatch.setattr(saliency_section, "show_error", told.append)
    explainer.error = UserError("the memory does not suffice; close other programs")
    show(explain)
    assert told == ["The memory does not suffice; close other programs"] == [message(explain)]
    assert len(viewer.layers) == 3
    explainer.error = None
    show(explain)
    assert message(explain).startswith("Shown in the layer")


@pytest.mark.gui
def test_closing_the_image_in_the_middle_is_safe(
    explain, viewer, explainer, qtbot, click, monkeypatch
):
    told = []
    monkeypatch.setattr(saliency_section, "show_info", told.append)
    explainer.steps, explainer.pause = 30, 0.01
    click(explain.saliency.run.button)
    qtbot.wait(50)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not explain.saliency.running)
    assert told == ["The image was closed while its count was explained."]
    assert len(viewer.layers) == 0
    qtbot.waitUntil(lambda: explain.saliency.isHidden())
    assert words(explain).startswith("Open an image")


@pytest.mark.gui
@pytest.mark.parametrize("by_button", [True, False])
def test_closing_the_dock_in_the_middle_ends_the_job(
    by_button, explain, viewer, image, explainer, qtbot, click
):
    explainer.steps, explainer.pause = 10_000, 0.001
    click(explain.saliency.run.button)
    qtbot.waitUntil(lambda: bool(explainer.calls))
    died = []
    explain.destroyed.connect(lambda: died.append(True))
    if by_button:
        explain.parent().title.close_button.click()
    else:
        viewer.window.remove_dock_widget(explain)
    qtbot.waitUntil(lambda: bool(died))
    qtbot.waitUntil(lambda: explainer.closed)
    refreshed = []
    explain.subject.refresh = lambda: refreshed.append(True)
    viewer.add_image(image, name="another")
    viewer.layers["cells"].name = "plate 1"
    viewer.layers.clear()
    qtbot.wait(50)
    assert refreshed == []


@pytest.mark.gui
def test_of_a_removed_layer_nothing_is_heard(explain, viewer, qtbot):
    layer = viewer.layers["cells"]
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: words(explain).startswith("Open an image"))
    told = []
    explain.subject.changed.connect(lambda: told.append(True))
    layer.name = "kept elsewhere"
    layer.visible = False
    qtbot.wait(50)
    assert told == []
    viewer.add_layer(layer)  # heard of again, and once
    qtbot.waitUntil(lambda: "kept elsewhere" in words(explain))
    layer.name = "plate 1"
    qtbot.waitUntil(lambda: "plate 1" in words(explain))


@pytest.mark.gui
def test_closing_before_a_removed_layer_was_noticed(explain, viewer, monkeypatch):
    layer = viewer.layers["cells"]
    viewer.layers.remove(layer)
    explain.subject.disconnect_viewer()
    started = []
    monkeypatch.setattr(explain.subject, "_soon", SimpleNamespace(start=started.append))
    layer.name = "kept elsewhere"
    layer.visible = False
    assert started == []


@pytest.mark.gui
def test_it_is_a_tab_beside_tally(explain, counted, qtbot):
    dock = explain.parent()
    window = dock.parent()
    assert isinstance(window, QMainWindow)
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(dock) == [counted.parent()])
    dock.setFloating(True)
    qtbot.wait(50)
    assert dock.isFloating()  # where the user puts it, it stays


@pytest.mark.gui
def test_from_the_menu_to_the_map(manifest, viewer, counter, explainer, qtbot, press, show):
    """The way a user goes: napari hands a plugin's widget a viewer without private parts."""
    viewer.open_sample("celltally", "u2os-hoechst-1")
    _, tally = viewer.window.add_plugin_dock_widget("celltally", "Tally")
    qtbot.waitUntil(lambda: not tally.model.loading)
    _, widget = viewer.window.add_plugin_dock_widget("celltally", "Explain")
    press(tally)
    qtbot.waitUntil(lambda: not widget.saliency.isHidden())
    show(widget)
    assert message(widget).startswith("Shown in the layer “u2os-hoechst-1 saliency”.")
    assert "u2os-hoechst-1 saliency" in viewer.layers
    viewer.layers.clear()
    qtbot.waitUntil(lambda: widget.saliency.isHidden())
    tally.jobs.stop()
    widget.jobs.stop()


# ---- the job ----------------------------------------------------------------


@pytest.fixture
def tiny(tiny_model, tmp_path, monkeypatch):
    """The tiny model, as the only one there is."""
    model = tiny_model.save(tmp_path / "models" / "tiny")
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tmp_path / "none")
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tmp_path / "models")
    monkeypatch.setattr(counting, "_loaded", [])
    return model


@pytest.fixture
def tiny_count(tiny, make_plane):
    """What the tiny model counted, with a diameter that nobody would estimate."""
    pixels = np.random.default_rng(0).normal(100, 10, (5, 40, 44)).astype(np.float32)
    pixels[3, 10:20, 15:25] += 300
    plane = make_plane(pixels, (3,), "Z")
    return drain(counting.count_job(plane, tiny.record, 17.0, "a.tif"))


def test_the_job_explains_plane_model_and_diameter_of_the_count(tiny, tiny_count):
    from celltally.explain.saliency import saliency

    found = drain(explaining.saliency_job(tiny_count))
    expected = saliency(tiny, tiny_count.plane.data[3], diameter_px=17.0)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-6)
    assert found.values.any()
    assert (found.model_sha256, found.diameter_px, found.image) == (tiny.sha256, 17.0, "a.tif")


def test_a_model_that_is_no_longer_loaded_is_found_again(tiny, tiny_count, monkeypatch):
    monkeypatch.setattr(counting, "_loaded", [])
    assert drain(explaining.saliency_job(tiny_count)).model == "tiny"


def test_a_renamed_model_counts_the_same(tiny, tiny_count, tmp_path, monkeypatch):
    (tmp_path / "models" / "tiny").rename(tmp_path / "models" / "mine")
    monkeypatch.setattr(counting, "_loaded", [])
    assert drain(explaining.saliency_job(tiny_count)).model_sha256 == tiny.sha256


@pytest.mark.parametrize("gone", ["removed", "changed"])
def test_a_model_that_is_gone_is_one_sentence(
    gone, tiny, tiny_count, tiny_model, tmp_path, monkeypatch
):
    from celltally.model import Model

    (tmp_path / "models" / "tiny").rename(tmp_path / "away")
    if gone == "changed":
        other = Model.from_network(tiny_model.network, name="tiny", diameter_px=13.0)
        other.save(tmp_path / "models" / "tiny")
    monkeypatch.setattr(counting, "_loaded", [])
    with pytest.raises(UserError, match="'tiny' that made this count is gone or was changed"):
        drain(explaining.saliency_job(tiny_count))
