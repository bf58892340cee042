"""Densities back from TIFF and OME-Zarr: the same sum, in the same place, of the same model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from celltally.errors import UserError
from celltally.io import (
    DensityStack,
    find_images,
    is_celltally_density,
    read_density,
    read_density_stack,
    read_image,
    write_density,
)
from celltally.types import Grid, Prediction

SUFFIXES = [".tif", ".ome.zarr"]


def prediction(density, step=(2.0, 4.0), origin=(-0.5, -0.5), **known):
    density = np.asarray(density, np.float32)
    density = density.reshape((-1, *density.shape[-2:]))
    return Prediction(
        density=density,
        variance=np.zeros_like(density),
        grid=Grid(density.shape[1:], step, origin),
        image_shape=(100, 100),
        diameter_px=10,
        model=known.pop("model", "general"),
        model_sha256="ab" * 32,
        **known,
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [None, (0.3, 1 / 3)])
def test_everything_comes_back(tmp_path, suffix, size):
    path = tmp_path / f"d{suffix}"
    maps = np.random.default_rng(1).normal(0.01, 0.1, (2, 37, 53))
    before = prediction(
        maps, (1.7, 3.1), (4.25, -7), classes=("alive, µ", "dead=\n"), image="a=b µ.tif",
        model="Zellen µ\nneu",
    )  # fmt: skip
    write_density(path, before, size)
    assert is_celltally_density(path)
    got = read_density(path)
    assert np.array_equal(got.density, before.density)
    assert got.count == pytest.approx(before.count, rel=1e-12)
    assert got.grid == before.grid
    assert got.classes == before.classes
    assert (got.image, got.model, got.model_sha256) == ("a=b µ.tif", "Zellen µ\nneu", "ab" * 32)
    assert got.pixel_size_um == size


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 4), (4, 3)])
def test_small_maps(tmp_path, suffix, shape):
    path = tmp_path / f"d{suffix}"
    write_density(path, prediction(np.full(shape, 0.5)))
    assert read_density(path).density.shape == (1, *shape)


def test_a_zarr_is_placed_by_the_centre_of_its_first_cell(tmp_path):
    path = tmp_path / "d.zarr"
    write_density(path, prediction(np.ones((5, 6)), (2, 4)), (0.5, 0.25))
    (level,) = json.loads((path / ".zattrs").read_text())["multiscales"]
    assert [axis["name"] for axis in level["axes"]] == ["c", "y", "x"]
    assert level["axes"][1]["unit"] == "micrometer"
    scale, shift = level["datasets"][0]["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [1, 1, 1]}
    assert shift == {"type": "translation", "translation": [0, 0.25, 0.375]}
    image = read_image(path)
    assert (image.axes, image.pixel_size_um) == ("CYX", (1, 1))
    assert np.asarray(image.data[:]).sum() == 30


def test_a_file_of_before_is_read_as_well(tmp_path):
    """Classes in one line, and the pixel size in the resolution only."""
    path = tmp_path / "d.tif"
    tifffile.imwrite(
        path,
        np.ones((5, 6), np.float32),
        imagej=True,
        resolution=(1 / 1.0, 1 / 0.5),
        metadata={
            "unit": "um", "step_y": "2.0", "step_x": "4.0", "origin_y": "-0.5",
            "origin_x": "-0.5", "model": "general", "model_sha256": "ab", "classes": "cell",
            "image": "12",
        },
    )  # fmt: skip
    got = read_density(path)
    assert got.pixel_size_um == pytest.approx((0.25, 0.25))
    assert (got.classes, got.image) == (("cell",), "12")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_density_is_no_image_to_count(tmp_path, suffix):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9), np.uint8))
    write_density(tmp_path / f"d{suffix}", prediction(np.ones((5, 6))))
    assert find_images([tmp_path]) == [tmp_path / "a.tif"]


def test_several_planes_are_not_summed(tmp_path):
    path = tmp_path / "d.tif"
    with DensityStack(path, [0, 1], [0, 1, 2]) as stack:
        for t in (0, 1):
            for z in (0, 1, 2):
                stack.add(t, z, prediction(np.full((5, 6), 10 * t + z)))
        stack.finish()
    with pytest.raises(UserError, match="densities of 6 planes"):
        read_density(path)
    found, axes = read_density_stack(path)
    assert (axes, found.density.shape) == ("TZCYX", (2, 3, 1, 5, 6))
    assert found.density[1, 2, 0, 0, 0] == 12


def test_a_zarr_takes_the_place_of_a_density_only(tmp_path):
    path = tmp_path / "d.zarr"
    write_density(path, prediction(np.ones((5, 6))))
    write_density(path, prediction(np.full((2, 3), 7)))
    assert read_density(path).density.tolist() == [[[7] * 3] * 2]
    assert [p.name for p in tmp_path.iterdir()] == ["d.zarr"]
    other = tmp_path / "mine.zarr"
    other.mkdir()
    (other / "precious").touch()
    with pytest.raises(UserError, match="exists and is no density of ours"):
        write_density(other, prediction(np.ones((5, 6))))
    assert (other / "precious").exists()


def test_a_zarr_that_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "d.zarr"
    write_density(path, prediction(np.ones((5, 6))))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zarr.open_group", full)
    with pytest.raises(UserError, match=r"d\.zarr cannot be written \(no space left"):
        write_density(path, prediction(np.zeros((5, 6))))
    monkeypatch.undo()
    assert read_density(path).count == 30
    assert [p.name for p in tmp_path.iterdir()] == ["d.zarr"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_folder(tmp_path, suffix):
    with pytest.raises(UserError, match="cannot be written"):
        write_density(tmp_path / "no" / f"d{suffix}", prediction(np.ones((5, 6))))
    assert list(tmp_path.iterdir()) == []


def test_what_is_none(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9), np.uint8))
    (tmp_path / "b.zarr").mkdir()
    for name in ("a.tif", "b.zarr", "missing.tif"):
        assert not is_celltally_density(tmp_path / name)
        with pytest.raises(UserError, match="is no density that celltally wrote"):
            read_density(tmp_path / name)


def test_a_tiff_that_breaks_off(tmp_path):
    path = tmp_path / "d.tif"
    write_density(path, prediction(np.random.default_rng(0).random((50, 60))))
    content = path.read_bytes()
    path.write_bytes(content[:3000])
    with pytest.raises(UserError, match="truncated or damaged"):
        read_density(path)
    path.write_bytes(content.replace(b"step_y=2.0", b"step_y=-2."))
    with pytest.raises(UserError, match="truncated or damaged"):
        read_density(path)
    path.write_bytes(content.replace(b"origin_x=-0.5", b"origin_x=nan "))
    with pytest.raises(UserError, match="truncated or damaged"):
        read_density(path)


def test_a_zarr_that_is_damaged(tmp_path):
    path = tmp_path / "d.zarr"
    write_density(path, prediction(np.ones((5, 6))))
    (path / "0" / ".zarray").write_text("{")
    with pytest.raises(UserError, match="truncated or damaged"):
        read_density(path)
    write_density(path, prediction(np.ones((5, 6))))
    text = (path / ".zattrs").read_text()
    (path / ".zattrs").write_text(text.replace('"classes": [', '"classes": ["more",'))
    with pytest.raises(UserError, match="truncated or damaged"):
        read_density(path)
