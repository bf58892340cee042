"""ilastik's boxes: sums of the density in them, in pixels of the image."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.io import write_boxes
from celltally.io.ilastik import BOX_COLUMNS
from celltally.types import Grid, Prediction, Region


def prediction(density, step=(1.0, 1.0), shape=None):
    density = np.asarray(density, np.float32)
    density = density.reshape((-1, *density.shape[-2:]))
    return Prediction(
        density=density,
        variance=np.zeros_like(density),
        grid=Grid(density.shape[1:], step),
        image_shape=shape or density.shape[1:],
        diameter_px=10,
        model="general",
        model_sha256="ab" * 32,
    )


def box(y0, x0, y1, x1, **known):
    corners = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], float) - 0.5
    return Region(corners, **known)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_boxes_of_pixels(tmp_path):
    density = np.random.default_rng(0).random((20, 30))
    path = tmp_path / "boxes.csv"
    assert write_boxes(path, [box(2, 3, 7, 13), box(0, 0, 20, 30)], prediction(density)) == []
    assert (
        path.read_text().splitlines()[0]
        == "StartX,StartY,StopX,StopY,Count,AverageDensity,StdDensity"
    )
    first, second = rows(path)
    part = density[2:7, 3:13].astype(np.float32)
    assert [first[name] for name in BOX_COLUMNS[:4]] == ["3", "2", "13", "7"]
    assert float(first["Count"]) == pytest.approx(part.sum(), rel=1e-5)
    assert float(first["AverageDensity"]) == pytest.approx(part.mean(), rel=1e-5)
    assert float(first["StdDensity"]) == pytest.approx(part.std(), rel=1e-5)
    assert float(second["Count"]) == pytest.approx(density.sum(), rel=1e-5)


def test_cells_count_with_the_fraction_that_is_inside(tmp_path):
    # One cell of the density covers 4 × 4 pixels and holds 16 cells: one to a pixel.
    found = prediction(np.full((5, 5), 16.0), (4.0, 4.0), (20, 20))
    write_boxes(tmp_path / "b.csv", [box(1, 1, 4, 7)], found)
    (row,) = rows(tmp_path / "b.csv")
    assert float(row["Count"]) == pytest.approx(18)
    assert float(row["AverageDensity"]) == pytest.approx(1)
    assert float(row["StdDensity"]) == pytest.approx(0, abs=1e-6)


def test_classes_are_summed(tmp_path):
    write_boxes(tmp_path / "b.csv", [box(0, 0, 2, 2)], prediction(np.ones((2, 2, 2))))
    assert float(rows(tmp_path / "b.csv")[0]["Count"]) == 8


def test_other_shapes_are_told_by_name(tmp_path):
    triangle = Region(np.array([[0.0, 0], [5, 0], [5, 5]]), name="left")
    told = write_boxes(tmp_path / "b.csv", [triangle, box(0, 0, 2, 2)], prediction(np.ones((9, 9))))
    assert told == ["ilastik has boxes only: of left the box round it is counted."]
    first = rows(tmp_path / "b.csv")[0]
    assert [first[name] for name in BOX_COLUMNS[:4]] == ["0", "0", "6", "6"]


def test_boxes_end_at_the_image(tmp_path):
    write_boxes(tmp_path / "b.csv", [box(-5, -5, 50, 3)], prediction(np.ones((9, 9))))
    (row,) = rows(tmp_path / "b.csv")
    assert [row[name] for name in BOX_COLUMNS[:4]] == ["0", "0", "3", "9"]
    assert float(row["Count"]) == 27


def test_no_box_at_all(tmp_path):
    with pytest.raises(UserError, match="no region lies in the image"):
        write_boxes(tmp_path / "b.csv", [box(50, 50, 60, 60)], prediction(np.ones((9, 9))))
    assert list(tmp_path.iterdir()) == []
