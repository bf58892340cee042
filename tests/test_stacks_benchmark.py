"""The volumes that ways to count a stack are measured on."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def stacks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("stacks")


def test_a_volume_has_the_cells_that_it_says(stacks):
    kind = stacks.Volume(cells=9, step=4, blur=1.0)
    planes = kind.draw(np.random.default_rng(1))
    assert planes.shape == (12, 256, 256)
    assert np.array_equal(planes, kind.draw(np.random.default_rng(1)))
    bright = planes > 1400  # a cell's middle, the blur aside
    assert ndimage.label(bright, np.ones((3, 3, 3)))[1] == 9
    assert max(ndimage.label(plane)[1] for plane in bright) < 9


def test_every_way_is_measured(stacks, tiny_model):
    figures = stacks.measure(tiny_model, stacks.Volume(3).draw(np.random.default_rng(0)))
    assert list(figures) == [
        "sum over planes",
        "middle plane",
        "projection",
        "merged",
        "merged, gap 1",
    ]
    assert figures["merged, gap 1"] <= figures["merged"]
