"""Densities of several planes in one file."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from celltally.errors import UserError
from celltally.io import DensityStack, is_celltally_density
from celltally.types import Grid, Prediction


def prediction(value, classes=("cell",), shape=(5, 7)):
    density = np.full((len(classes), *shape), value, np.float32)
    return Prediction(
        density=density,
        variance=density,
        grid=Grid(shape, (2.0, 2.0)),
        image_shape=(10, 14),
        diameter_px=8.0,
        model="tiny",
        model_sha256="a" * 64,
        classes=classes,
        image="é, 1.tif",
    )


@pytest.mark.parametrize("classes", [("cell",), ("live", "dead")])
@pytest.mark.parametrize("times", [[0], [3, 4], list(range(60))])
def test_planes_stand_where_they_belong(tmp_path, classes, times):
    path, planes = tmp_path / "s.tif", [5, 6, 7]
    with DensityStack(path, times, planes, (0.5, 0.25)) as stack:
        for t in reversed(times):  # in any order
            for z in planes:
                stack.add(t, z, prediction(10 * t + z, classes))
        assert not path.exists()
        stack.finish()
    with tifffile.TiffFile(path) as tif:
        shape = (len(times), 3, len(classes), 5, 7)
        series = tif.series[0]
        maps = series.asarray().reshape(shape)
        assert tif.is_imagej
        assert set(series.axes) == {"Y", "X", "Z"} | ({"T"} if len(times) > 1 else set()) | (
            {"C"} if len(classes) > 1 else set()
        )
        labels = tif.imagej_metadata["Labels"]
        assert labels[0].startswith(f"t {times[0]}, z 5")
        assert len(labels) == len(times) * 3 * len(classes)
        assert "must not be summed" in tif.imagej_metadata["Info"]
        y, x = (tif.pages[0].tags[f"{axis}Resolution"].value for axis in "YX")
        assert (y[1] / y[0], x[1] / x[0]) == pytest.approx((1.0, 0.5))
    wanted = 10.0 * np.array(times)[:, None] + np.array(planes)
    assert np.array_equal(maps[..., 0, 0, 0], wanted)
    assert (maps == maps[..., :1, :1, :1]).all()
    assert is_celltally_density(path)
    assert [p.name for p in tmp_path.iterdir()] == ["s.tif"]


def test_a_plane_that_was_not_counted_is_no_number(tmp_path):
    with DensityStack(tmp_path / "s.tif", [0, 1, 2], ["max"]) as stack:
        stack.add(0, "max", prediction(1))
        stack.add(2, "max", prediction(3))
        stack.finish()
    maps = tifffile.imread(tmp_path / "s.tif")
    assert maps[:, 0, 0] == pytest.approx([1, np.nan, 3], nan_ok=True)
    assert np.isnan(maps[1]).all()


def test_nothing_is_left_of_what_is_not_finished(tmp_path):
    path = tmp_path / "s.tif"
    path.write_bytes(b"before")
    with DensityStack(path, [0, 1], [0]) as stack:
        stack.add(0, 0, prediction(1))
    with DensityStack(path, [0, 1], [0]) as stack:
        stack.finish()  # nothing was counted
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["s.tif"]


def test_what_cannot_be_written_is_said(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"gone.*cannot be written"):
        DensityStack(tmp_path / "gone" / "s.tif", [0], [0])
    with DensityStack(tmp_path / "s.tif", range(9), [0]) as stack:
        monkeypatch.setattr("celltally.io.density_stack._LARGEST_BYTES", 1000)
        with pytest.raises(UserError, match=r"densities of 9 planes of é, 1\.tif do not fit"):
            stack.add(0, 0, prediction(1))
    with DensityStack(tmp_path / "s.tif", [0, 1], [0]) as stack:
        stack.add(0, 0, prediction(1))
        with pytest.raises(ValueError, match="shape"):
            stack.add(1, 0, prediction(1, shape=(4, 7)))
