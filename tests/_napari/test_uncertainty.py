"""The layer that shows where the count is least sure."""

from __future__ import annotations

import numpy as np
import pytest

from celltally._napari import uncertainty_section as module
from celltally._napari.layers import density_layer, uncertainty_layer
from celltally._napari.planes import key_of
from celltally.intervals import uncertainty

pytestmark = pytest.mark.gui


def ask(tally, qtbot, on=True):
    tally.uncertainty.setChecked(on)
    qtbot.waitUntil(lambda: not tally.uncertainty.running, timeout=10_000)


def layers_of(tally):
    key = key_of(tally.image.layer)
    layers = tally.viewer.layers
    return uncertainty_layer(layers, key), density_layer(layers, key)


def test_it_is_off_until_asked_for_and_takes_the_place_of_the_density(counted, qtbot):
    assert layers_of(counted)[0] is None
    assert counted.uncertainty.isVisibleTo(counted)
    ask(counted, qtbot)
    layer, density = layers_of(counted)
    assert (layer.visible, density.visible) == (True, False)
    assert layer.name == "cells uncertainty"
    np.testing.assert_array_equal(layer.scale, density.scale)
    np.testing.assert_array_equal(layer.translate, density.translate)
    prediction = layer.metadata["celltally"]["prediction"]
    np.testing.assert_array_equal(layer.data, uncertainty(prediction))
    ask(counted, qtbot, on=False)
    assert (layer.visible, density.visible) == (False, True)


def test_it_follows_a_new_count(counted, counter, press, qtbot):
    ask(counted, qtbot)
    before = np.array(layers_of(counted)[0].data)
    counter.weights = counter.weights * 2
    press(counted)
    qtbot.waitUntil(lambda: not counted.uncertainty.running, timeout=10_000)
    layer, _ = layers_of(counted)
    assert layer.data.max() > 1.02 * before.max()


def test_another_image_has_none_yet(counted, viewer, image, qtbot):
    ask(counted, qtbot)
    viewer.add_image(image, name="other")
    counted.image.layer_box.setCurrentText("other")
    qtbot.waitUntil(lambda: counted.image.layer.name == "other")
    assert not counted.uncertainty.isChecked()
    assert not counted.uncertainty.isVisibleTo(counted)


def test_closing_the_image_in_the_middle_is_safe(counted, viewer, qtbot):
    counted.uncertainty.setChecked(True)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not counted.uncertainty.running, timeout=10_000)
    assert len(viewer.layers) == 0


def test_a_failure_is_one_sentence(counted, qtbot, monkeypatch):
    told = []
    monkeypatch.setattr(module, "show_error", told.append)

    def broken(prediction):
        raise RuntimeError("no")
        yield

    monkeypatch.setattr(module, "uncertainty_job", broken)
    ask(counted, qtbot)
    assert told == ["Something went wrong (RuntimeError); see the log for details."]
    assert layers_of(counted)[0] is None
