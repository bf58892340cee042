"""*Next region to review* with real clicks: over image and project, framed, one edit."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tifffile

from celltally._napari import suggesting
from celltally._napari.layers import region_layer
from celltally._napari.planes import key_of
from celltally.errors import UserError
from celltally.project import images
from celltally.project.store import Store
from celltally.project.work import load_regions
from celltally.types import Progress

pytestmark = pytest.mark.gui

SHAPE = (120, 160)


@pytest.fixture
def learner(monkeypatch, tiny_model):
    """What the button loads in the place of the fake model."""
    monkeypatch.setattr(suggesting, "load_record", lambda record: tiny_model)


@pytest.fixture
def ask(qtbot, click):
    """Presses the button, and waits for the frame."""

    def ask(tally):
        tally.regions.unfold()
        click(tally.next_region.button)
        assert tally.next_region.busy
        qtbot.waitUntil(lambda: not tally.next_region.busy, timeout=20_000)
        qtbot.waitUntil(lambda: not tally.saving.busy, timeout=10_000)

    return ask


def framed(tally):
    work = tally.correcting.work(tally.in_view.key)
    return [(region.name, region.kind) for region in work.regions]


def test_the_image_in_view_gets_a_frame_that_can_be_undone(counted, viewer, learner, ask):
    ask(counted)
    assert framed(counted) == [("To review 1", "count")]
    layer = region_layer(viewer.layers, key_of(counted.image.layer))
    assert len(layer.data) == 1
    assert np.allclose(np.ptp(layer.data[0], axis=0), SHAPE)  # smaller than a tile
    said = counted.next_region.outcome.text()
    assert said.startswith("To review 1 in cells: ")
    assert "make it a reviewed region" in said
    assert counted.next_region.button.text() == "Next region to review"
    (entry,) = images.all_images(counted.saving.store)
    assert [r.name for r in load_regions(counted.saving.store, entry.id)] == ["To review 1"]
    ask(counted)  # nothing else is there to be reviewed
    assert counted.next_region.outcome.text() == "Nothing is left to be reviewed."
    counted.correcting.undo(key_of(counted.image.layer))
    assert framed(counted) == []


@pytest.fixture
def project(tmp_path, draw_cells, scatter):
    """Two images that nobody counted."""
    path = tmp_path / "study.celltally"
    rng = np.random.default_rng(0)
    with Store(path) as store:
        for name, n in (("few", 2), ("many", 60)):
            place = tmp_path / f"{name}.tif"
            tifffile.imwrite(place, draw_cells(scatter(n, SHAPE, rng), SHAPE, rng=rng))
            images.register(store, name=place.name, path=place, shape=SHAPE)
    return path


def test_another_image_of_the_project_is_opened(tally, project, learner, ask, qtbot):
    tally.saving.open(project)
    qtbot.waitUntil(lambda: tally.saving.store is not None and tally.saving.store.path == project)
    qtbot.waitUntil(lambda: tally.problem() is not None or tally.image.layer is None)
    ask(tally)
    first = tally.image.layer.name
    assert framed(tally) == [("To review 1", "count")]
    ask(tally)
    assert {first, tally.image.layer.name} == {"few", "many"}
    assert f"To review 1 in {tally.image.layer.name}.tif" in tally.next_region.outcome.text()
    ask(tally)
    assert tally.next_region.outcome.text() == "Nothing is left to be reviewed."
    with Store(project, read_only=True) as store:
        assert [len(load_regions(store, e.id)) for e in images.all_images(store)] == [1, 1]


def test_it_says_what_is_missing(tally, click):
    tally.regions.unfold()
    click(tally.next_region.button)
    assert tally.next_region.outcome.text() == "Count an image first, or open a project."
    assert not tally.next_region.busy


def test_it_can_be_cancelled(counted, click, qtbot, monkeypatch):
    closed = []

    def endless(*_):
        try:
            while True:
                yield Progress(0, 0, "looking")
                time.sleep(0.01)
        finally:
            closed.append(True)

    monkeypatch.setattr(suggesting, "suggest_job", endless)
    counted.regions.unfold()
    button = counted.next_region.button
    click(button)
    assert button.text() == "Cancel"
    qtbot.waitUntil(lambda: counted.next_region.outcome.text() == "Looking")
    click(button)
    qtbot.waitUntil(lambda: not counted.next_region.busy)
    assert closed == [True]
    assert counted.next_region.outcome.text() == "Cancelled."
    assert framed(counted) == []


def test_an_error_is_one_sentence(counted, click, qtbot, monkeypatch):
    def failing(*_):
        yield Progress(0, 0)
        raise UserError("the model is gone; choose another")

    monkeypatch.setattr(suggesting, "suggest_job", failing)
    counted.regions.unfold()
    click(counted.next_region.button)
    qtbot.waitUntil(lambda: not counted.next_region.busy)
    assert counted.next_region.outcome.text() == "The model is gone; choose another"
