"""Next place to check, and the classes."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

from celltally._napari.compat import camera
from celltally._napari.layers.own import own_layer
from celltally._napari.layers.place import lead_in_view
from celltally.types import Region

pytestmark = pytest.mark.gui

CELLS = np.array([[20.0, 30.0], [50.0, 80.0], [90.0, 40.0], [100.0, 130.0]])
LEFT = Qt.MouseButton.LeftButton


def settled(window):
    window.qtbot.waitUntil(lambda: not window.tally.checking.busy)


def centre(window):
    """Middle of the view in image pixels."""
    world = np.asarray(camera(window.viewer).center)[-2:]
    return np.asarray(window.image.world_to_data(world))


def test_next_and_back_go_to_places_and_frame_them(window):
    section = window.tally.correct
    for place in [(92.0, 120.0), (108.0, 140.0), (90.0, 140.0), (108.0, 120.0)]:
        window.click(place)  # round the fourth cell, where the density knows of none
    window.press(Qt.Key.Key_N)
    settled(window)
    first = centre(window)
    assert np.hypot(*(first - CELLS[3])) < 25
    words = section.place_label.text()
    assert words.startswith("Place 1 of ")
    assert "±" in words
    frame = own_layer(window.viewer.layers, window.key, "place")
    assert frame.nshapes == 1
    assert window.viewer.layers.selection.active is window.layer
    window.qtbot.mouseClick(section.next_button, LEFT)
    settled(window)
    assert section.place_label.text().startswith("Place 2 of ")
    assert np.hypot(*(centre(window) - first)) > 20
    window.press(Qt.Key.Key_B)
    assert section.place_label.text().startswith("Place 1 of ")
    np.testing.assert_allclose(centre(window), first, atol=1)
    assert len([one for one in window.viewer.layers if "place" in one.name]) == 1


def test_where_all_is_reviewed_there_is_no_place(window):
    box = np.array([(-1.0, -1.0), (-1.0, 200.0), (200.0, 200.0), (200.0, -1.0)])
    window.tally.regions.use("Polygon")
    window.tally.regions._layer.add(box, shape_type="polygon")
    window.settle()
    window.tally.regions.table.item(0, 1).setText("reviewed")
    window.settle()
    assert "reviewed 100" in window.tally.correct.live_label.text()
    window.qtbot.mouseClick(window.tally.correct.next_button, LEFT)
    settled(window)
    assert window.tally.correct.place_label.text().startswith("No place")
    assert own_layer(window.viewer.layers, window.key, "place") is None


def test_classes_are_listed_chosen_and_renamed(window):
    section = window.tally.correct
    window.qtbot.mouseClick(section.classes_button, LEFT)
    section.add_class("dead")
    names = section.class_list
    assert [names.item(row, 1).text() for row in range(2)] == ["cell", "dead"]
    assert [names.item(row, 0).text() for row in range(2)] == ["1", "2"]
    window.click((60.0, 20.0))
    assert window.work.dots.label[4] == "dead"
    window.qtbot.waitUntil(lambda: names.item(1, 2).text() == "1")
    before = window.layer.face_color[4].copy()
    names.item(1, 1).setText("debris")
    assert window.work.dots.label[4] == "debris"
    assert window.tally.correcting.classes == ["cell", "debris"]
    np.testing.assert_allclose(window.layer.face_color[4], before)
    section.add_class("apoptotic")  # first in the alphabet, yet the others keep their colours
    np.testing.assert_allclose(window.layer.face_color[4], before)
    window.agree()
    names.item(1, 1).setText("cell")  # there is one already
    assert window.tally.correcting.classes == ["cell", "debris", "apoptotic"]
    assert names.item(1, 1).text() == "debris"


def test_the_lead_of_a_plain_image_is_empty(window):
    assert lead_in_view(window.image, window.viewer.dims) == ()
    assert Region(np.zeros((3, 2))).id
