"""What is left out of the search for garbage, and what is given back all the same."""

from __future__ import annotations

import gc
import sys
import weakref
from contextlib import suppress
from types import ModuleType

import numpy as np
import pytest

from celltally._napari import collecting
from celltally._napari.collecting import look_through, spare, without_collecting
from celltally._napari.docked import Docked


@pytest.fixture(autouse=True)
def nothing_left_out():
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("raises", [False, True])
def test_imports_are_not_held_up_by_collecting_garbage(monkeypatch, raises):
    with suppress(ValueError), without_collecting():
        assert not gc.isenabled()
        monkeypatch.setitem(sys.modules, "celltally_imported", ModuleType("celltally_imported"))
        if raises:
            raise ValueError
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_where_nothing_is_imported_nothing_is_left_out():
    with without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


@pytest.mark.gui
def test_napari_looks_through_little_when_a_layer_is_removed(viewer):
    spare(viewer)
    left_out = gc.get_freeze_count()
    layer = viewer.add_points(np.zeros((3, 2)))
    viewer.layers.remove(layer)
    assert gc.get_freeze_count() > 0.9 * left_out
    assert len(gc.get_objects()) < left_out / 2


@pytest.mark.gui
@pytest.mark.parametrize(("most", "goes"), [(0.0, True), (1.0, False)])
def test_a_large_image_that_was_there_before_is_given_back(viewer, qtbot, monkeypatch, most, goes):
    monkeypatch.setattr(collecting, "MOST_WAITING", most)
    monkeypatch.setattr(collecting, "LET_GO", 50)
    layer = viewer.add_image(np.zeros((300, 400), dtype=np.uint8))
    spare(viewer)
    pixels = weakref.ref(layer)
    viewer.layers.remove(layer)
    del layer
    qtbot.wait(300)
    gc.collect()
    assert (pixels() is None) == goes
    look_through()
    assert pixels() is None
    assert gc.get_freeze_count() > 0


@pytest.mark.gui
def test_a_layer_that_was_added_since_is_found_anyway(viewer, qtbot, monkeypatch):
    monkeypatch.setattr(collecting, "MOST_WAITING", 0.0)
    spare(viewer)
    spare(viewer)  # once
    spared = viewer.layers._celltally_spared
    layer = viewer.add_image([np.zeros((300, 400)), np.zeros((150, 200))])
    gone = weakref.ref(layer)
    viewer.layers.remove(layer)
    del layer
    assert spared.waiting == 0
    qtbot.wait(100)
    gc.collect()
    assert gone() is None


@pytest.mark.gui
@pytest.mark.parametrize("left_out", [True, False])
def test_a_closed_widget_is_looked_for_where_it_was_left_out(viewer, qtbot, monkeypatch, left_out):
    looked = []
    monkeypatch.setattr(collecting, "look_through", lambda: looked.append(look_through()))
    monkeypatch.setattr(collecting, "LET_GO", 50)

    def opened_and_closed():
        widget = Docked()
        dock = viewer.window.add_dock_widget(widget)
        if left_out:
            gc.freeze()
        dock.destroyOnClose()
        return weakref.ref(widget)

    gone = opened_and_closed()
    qtbot.wait(300)
    gc.collect()
    assert gone() is None
    assert bool(looked) == left_out


@pytest.mark.gui
def test_what_several_scales_take_is_added_up(viewer):
    scales = [np.zeros((300, 400)), np.zeros((150, 200))]
    layer = viewer.add_image(scales, multiscale=True)
    spare(viewer)
    viewer.layers.remove(layer)
    assert viewer.layers._celltally_spared.waiting == pytest.approx(8 * 150_000 / 1e6)


@pytest.mark.gui
def test_a_viewer_that_is_closed_goes_as_a_whole(viewer, qtbot):
    spare(viewer)
    assert gc.get_freeze_count() > 0
    viewer.close()
    qtbot.waitUntil(lambda: gc.get_freeze_count() == 0)
