from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest

from celltally._napari import counting, image_section, model_section, savings, unnamed
from celltally.density import density_map
from celltally.record import ModelRecord, TrainingSet
from celltally.types import Calibration, Grid, Prediction, Progress

#: Where the cells of the fake prediction are, (y, x) in image pixels.
CELLS = np.array([[20.0, 30.0], [50.0, 80.0], [90.0, 40.0], [100.0, 130.0]])


def record(**changes):
    settings = {
        "name": "fake",
        "network": "tally",
        "config": {},
        "diameter_px": 16.0,
        "preprocessing": {},
        "stride": 2,
        "halo": 64,
        "parameters": 10,
        "sample": "Nuclei of the tests",
        "training_data": (TrainingSet("discs", 3, "CC0", "00"),),
        "files": {"calibration.json": "00"},
        "sha256": "ab" * 32,
    }
    return ModelRecord(**(settings | changes))


def prediction(shape=(120, 160), cells=CELLS, diameter_px=10.0, weights=None, **changes):
    """A density of sharp peaks at known places, two image pixels a cell."""
    grid = Grid((shape[0] // 2, shape[1] // 2), step=(2.0, 2.0))
    weights = np.ones(len(cells)) if weights is None else weights
    density = np.zeros(grid.shape, dtype=np.float32)
    for cell, weight in zip(cells, weights, strict=True):
        density += weight * density_map(cell[None], grid, 2.0)
    settings = {
        "density": density[None],
        "variance": 0.1 * density[None],
        "grid": grid,
        "image_shape": shape,
        "diameter_px": diameter_px,
        "model": "fake",
        "model_sha256": "ab" * 32,
        "calibration": Calibration(
            alpha=1.0,
            beta=0.0,
            gamma=1.0,
            scores=tuple(np.linspace(0.1, 2.0, 40)),
            n=40,
            groups=40,
            date="2026-01-01",
        ),
        "image": "cells.tif",
        "seconds": 0.1,
    }
    return Prediction(**(settings | changes))


class FakeCounter:
    """Stands in for the net: remembers what was asked for."""

    def __init__(self):
        self.calls = []
        self.weights = np.array([1.0, 1.0, 1.0, 0.6])
        self.cells = CELLS
        self.steps = 3
        self.pause = 0.01
        self.error = None
        self.closed = False

    def __call__(self, plane, model, diameter_px, name):
        self.calls.append((plane, model, diameter_px, name))
        try:
            for i in range(self.steps):
                yield Progress(i, self.steps, "Counting")
                time.sleep(self.pause)
            if self.error is not None:
                raise self.error
            found = prediction(plane.shape, self.cells, diameter_px, self.weights, image=name)
            return counting.with_dots(found, plane)
        finally:
            self.closed = True


@pytest.fixture(autouse=True)
def own_projects(tmp_path, monkeypatch):
    """Projects that nobody chose a place for go to the test's folder, and end with it."""
    monkeypatch.setattr(unnamed, "projects_dir", lambda: tmp_path / "projects")
    yield
    savings.close_all()


@pytest.fixture
def fake_prediction():
    return prediction


@pytest.fixture
def counter(monkeypatch):
    """The net, the estimate and the list of models, replaced by quick fakes."""

    def models():
        yield Progress(0, 0)
        return [record(), record(name="other", sha256="cd" * 32, files={})]

    def look(plane, *, guess):
        yield Progress(0, 0)
        return counting.Looked(plane.guess_channel() if guess else plane.channel, 10.0)

    fake = FakeCounter()
    monkeypatch.setattr(counting, "count_job", fake)
    monkeypatch.setattr(model_section, "list_models_job", models)
    monkeypatch.setattr(image_section, "look_job", look)
    return fake


@pytest.fixture
def manifest(npe2pm):
    """Our manifest, known to a napari that has no other plugins."""
    manifest = PluginManifest.from_distribution("celltally")
    npe2pm.register(manifest)
    return manifest


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def open_tally(qtbot):
    """Opens the widget in a viewer, and waits until it has found the models."""
    from celltally._napari.tally import TallyWidget

    jobs = []

    def open_in(viewer):
        widget = TallyWidget(viewer)
        jobs.append(widget.jobs)
        viewer.window.add_dock_widget(widget, name="Tally")
        qtbot.waitUntil(lambda: not widget.model.loading)
        return widget

    yield open_in
    for one in jobs:
        one.stop()


@pytest.fixture
def tally(viewer, counter, open_tally):
    """The widget in a viewer without images."""
    return open_tally(viewer)


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    return rng.integers(0, 500, (120, 160)).astype(np.uint16)


@pytest.fixture
def counted(tally, viewer, image, press):
    """The widget after counting one image."""
    viewer.add_image(image, name="cells", scale=(0.5, 0.5), translate=(10, 20))
    press(tally)
    return tally


@pytest.fixture
def click(qtbot):
    """Clicks a button with the mouse."""
    from qtpy.QtCore import Qt

    return lambda button: qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def start(qtbot, click):
    """Presses *Count* as soon as it can be pressed."""

    def start(tally):
        qtbot.waitUntil(lambda: tally.problem() is None)
        click(tally.count_section.count_button)

    return start


@pytest.fixture
def press(qtbot, start):
    """Presses *Count* and waits for the result."""

    def press(tally):
        start(tally)
        qtbot.waitUntil(lambda: not tally.running, timeout=10_000)

    return press


@pytest.fixture
def make_record():
    return record


@pytest.fixture
def make_plane():
    """A plane of an array; ``axes`` names those before the last two."""
    from celltally._napari.planes import Plane

    def make(data, position=(), axes=""):
        names = tuple(axes.lower())
        return Plane(data, position, names, tuple(axes), False, None, data.shape[-2:])

    return make


@pytest.fixture
def make_counted(make_plane):
    """What counting plane z = 2 of a stack gave, by the fake."""

    def make(**changes):
        plane = make_plane(np.zeros((4, 120, 160)), (2,), "Z")
        return counting.with_dots(prediction(**changes), plane)

    return make


#: Of napari and of what it uses, not of ours.
FOREIGN = ("ignore:System theme detection requires a Qt6 backend:UserWarning",)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for warning in FOREIGN:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item):
    """Let what was left out of the search for garbage be found, or viewers outlive their test."""
    gc.unfreeze()
