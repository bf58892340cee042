"""What is done about napari's own doings."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.gui

REMOVED_AND_ADDED = """
import sys
import napari, numpy as np
from qtpy.QtTest import QTest
from celltally._napari.compat import guard_drawing
viewer = napari.Viewer()
if "guarded" in sys.argv:
    guard_drawing(viewer)
random = np.random.default_rng(0)
viewer.add_image(random.random((120, 160)))
QTest.qWait(300)
places = random.random((4, 2)) * 100
points = viewer.add_points(places)
QTest.qWait(200)
second = viewer.add_image(random.random((60, 80)))
QTest.qWait(200)
viewer.layers.remove(second)
viewer.layers.remove(points)
QTest.qWait(300)
viewer.add_points(places)
QTest.qWait(300)
print("drawn", flush=True)
viewer.close()
"""


def test_layers_that_were_removed_do_not_end_the_program():
    """Without the guard this dies of a segmentation fault where Mesa draws."""
    environment = {**os.environ, "NAPARI_CONFIG": ""}
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REMOVED_AND_ADDED, "guarded"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "drawn" in found.stdout, found.stderr[-2000:]
    assert found.returncode == 0
