"""A density file's sum is the count, and its pixels have the size of density cells."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from celltally.errors import UserError
from celltally.io import read_image, write_density
from celltally.types import Grid, Prediction


def prediction(density, step=(2.0, 4.0), **known):
    density = np.asarray(density, np.float32)
    density = density.reshape((-1, *density.shape[-2:]))
    return Prediction(
        density=density,
        variance=np.zeros_like(density),
        grid=Grid(density.shape[1:], step),
        image_shape=(100, 100),
        diameter_px=10,
        model=known.pop("model", "general"),
        model_sha256="ab" * 32,
        **known,
    )


def test_sum_and_pixels_are_unchanged(tmp_path):
    rng = np.random.default_rng(0)
    found = prediction(rng.normal(0.01, 0.1, (37, 53)))
    write_density(tmp_path / "d.tif", found)
    got = tifffile.imread(tmp_path / "d.tif")
    assert got.dtype.newbyteorder("=") == np.float32
    assert np.array_equal(got, found.density[0])
    assert got.sum(dtype=np.float64) == found.density.sum(dtype=np.float64)


def test_pixel_size_is_that_of_the_cells(tmp_path):
    write_density(tmp_path / "d.tif", prediction(np.ones((5, 6))), (0.5, 0.25))
    assert read_image(tmp_path / "d.tif").pixel_size_um == pytest.approx((1.0, 1.0))
    write_density(tmp_path / "e.tif", prediction(np.ones((5, 6)), step=(1.7, 3.1)), (0.3, 0.2))
    size = read_image(tmp_path / "e.tif").pixel_size_um
    assert size == pytest.approx((0.51, 0.62), rel=1e-6)


def test_unknown_pixel_size_leaves_image_pixels(tmp_path):
    write_density(tmp_path / "d.tif", prediction(np.ones((5, 6))))
    assert read_image(tmp_path / "d.tif").pixel_size_um is None
    with tifffile.TiffFile(tmp_path / "d.tif") as tif:
        assert tif.imagej_metadata["unit"] == "pixel"
        y, x = tif.pages[0].tags["YResolution"].value, tif.pages[0].tags["XResolution"].value
    assert (y[1] / y[0], x[1] / x[0]) == (2.0, 4.0)


def test_description_holds_what_made_it(tmp_path):
    found = prediction(np.ones((5, 6)), model="Zellen µ\nneu", image="a=b.tif")
    write_density(tmp_path / "d.tif", found)
    with tifffile.TiffFile(tmp_path / "d.tif") as tif:
        assert tif.is_imagej
        described = tif.imagej_metadata
    assert (described["step_y"], described["step_x"]) == (2.0, 4.0)
    assert (described["origin_y"], described["origin_x"]) == (-0.5, -0.5)
    assert described["model_sha256"] == "ab" * 32
    assert described["model"] == "Zellen \\u00b5\\nneu"
    assert "model_sha256: abab" in described["Info"]


def test_one_channel_per_class(tmp_path):
    maps = np.random.default_rng(1).random((2, 7, 8))
    write_density(tmp_path / "d.tif", prediction(maps, classes=("alive", "dead")))
    image = read_image(tmp_path / "d.tif")
    assert (image.axes, image.channel_names) == ("CYX", ("alive", "dead"))
    assert np.array_equal(np.asarray(image.data), maps.astype(np.float32))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 4), (4, 3)])
def test_small_maps(tmp_path, shape):
    write_density(tmp_path / "d.tif", prediction(np.full(shape, 0.5)))
    got = tifffile.imread(tmp_path / "d.tif")
    assert got.reshape(shape).sum() == 0.5 * np.prod(shape)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        write_density(tmp_path / "no" / "d.tif", prediction(np.ones((5, 6))))


def test_too_large_for_the_format(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise ValueError("data too large for standard TIFF file")

    monkeypatch.setattr(tifffile, "imwrite", refuse)
    with pytest.raises(UserError, match=r"b\.png cannot be written to .*d\.tif"):
        write_density(tmp_path / "d.tif", prediction(np.ones((5, 6)), image="b.png"))
    assert not (tmp_path / "d.tif").exists()
