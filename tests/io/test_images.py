"""Pictures, the choice by header, folders, and everything that a file can be instead."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import imagecodecs
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from celltally.errors import UserError
from celltally.io import find_images, list_scenes, read_image, select_pixels

rng = np.random.default_rng(1)


def noise(*shape, dtype="uint8", high=255):
    return rng.integers(0, high, shape).astype(dtype)


def one_sentence(error, path):
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    return message


# --- PNG and JPEG -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_grey_png(tmp_path, dtype):
    pixels = noise(20, 30, dtype=dtype, high=np.iinfo(dtype).max)
    iio.imwrite(tmp_path / "a.png", pixels)
    image = read_image(tmp_path / "a.png")
    assert (image.axes, image.name) == ("YX", "a.png")
    got = select_pixels(image)
    assert got.dtype == pixels.dtype
    assert np.array_equal(got, pixels)
    assert list_scenes(tmp_path / "a.png") == []


def test_a_usual_picture_needs_no_codecs(tmp_path, monkeypatch):
    iio.imwrite(tmp_path / "a.png", noise(20, 30))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert select_pixels(read_image(tmp_path / "a.png")).shape == (20, 30)


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colour_png(tmp_path, samples, dtype):
    pixels = noise(20, 30, samples, dtype=dtype, high=np.iinfo(dtype).max)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    got = select_pixels(read_image(tmp_path / "a.png"))
    assert got.dtype == pixels.dtype
    assert np.array_equal(got, pixels[..., :3])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_grey_with_transparency(tmp_path, dtype):
    pixels = noise(20, 30, 2, dtype=dtype)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    assert np.array_equal(select_pixels(read_image(tmp_path / "a.png")), pixels[..., 0])


def test_palette_and_one_bit(tmp_path):
    from PIL import Image as Pillow

    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, 10:] = (200, 0, 100)
    pixels[:, 20:] = (0, 90, 250)
    Pillow.fromarray(pixels).quantize(3).save(tmp_path / "p.png")
    assert np.array_equal(select_pixels(read_image(tmp_path / "p.png")), pixels)
    mask = rng.random((20, 30)) > 0.5
    Pillow.fromarray(mask).save(tmp_path / "m.png")
    got = select_pixels(read_image(tmp_path / "m.png"))
    assert got.dtype == np.bool_
    assert np.array_equal(got, mask)


def test_grey_stored_as_colour_collapses(tmp_path):
    grey = noise(20, 30)
    iio.imwrite(tmp_path / "a.png", np.stack([grey] * 3 + [np.full_like(grey, 255)], axis=-1))
    assert np.array_equal(select_pixels(read_image(tmp_path / "a.png")), grey)


def test_jpeg(tmp_path):
    from PIL import Image as Pillow

    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = (200, 30, 90)
    iio.imwrite(tmp_path / "a.jpg", pixels, quality=95)
    got = select_pixels(read_image(tmp_path / "a.jpg"))
    assert got.shape == (64, 64, 3)
    assert np.abs(got.astype(int) - pixels).mean() < 3
    Pillow.fromarray(pixels).convert("CMYK").save(tmp_path / "print.jpg")
    got = select_pixels(read_image(tmp_path / "print.jpg"))
    assert got.shape == (64, 64, 3)
    assert np.abs(got.astype(int) - pixels).mean() < 10


def test_pictures_larger_than_pillow_allows(tmp_path, monkeypatch):
    from celltally.io import images

    monkeypatch.setattr(images, "_PILLOW_PIXELS", 100)
    pixels = noise(20, 30)
    iio.imwrite(tmp_path / "a.png", pixels)
    assert np.array_equal(select_pixels(read_image(tmp_path / "a.png")), pixels)
    iio.imwrite(tmp_path / "a.jpg", np.full((20, 30), 77, np.uint8))
    assert np.abs(select_pixels(read_image(tmp_path / "a.jpg")).astype(int) - 77).max() <= 1


# --- the header decides -----------------------------------------------------------


def test_the_header_decides_before_the_suffix(tmp_path):
    pixels = noise(20, 30)
    tifffile.imwrite(tmp_path / "a.png", pixels, photometric="minisblack")
    iio.imwrite(tmp_path / "b.png", pixels)
    (tmp_path / "b.png").rename(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "noname", pixels)
    for name in ("a.png", "b.tif", "noname"):
        assert np.array_equal(select_pixels(read_image(tmp_path / name)), pixels), name


# --- files that are not what they should be ---------------------------------------


def test_missing(tmp_path):
    with pytest.raises(UserError, match="does not exist") as error:
        read_image(tmp_path / "no.tif")
    one_sentence(error, tmp_path / "no.tif")


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.nd2", "a.czi", "a.lif", "a"])
def test_empty(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(UserError, match="is empty") as error:
        read_image(tmp_path / name)
    one_sentence(error, tmp_path / name)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.txt"])
def test_foreign(tmp_path, name):
    (tmp_path / name).write_text("y,x\n1,2\n")
    with pytest.raises(UserError, match=r"content is something else|no image that") as error:
        read_image(tmp_path / name)
    one_sentence(error, tmp_path / name)


def test_folder(tmp_path):
    with pytest.raises(UserError, match="is a folder, not an image"):
        read_image(tmp_path)


def test_permission(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(5, 6))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match="may not be read") as error:
        read_image(path)
    one_sentence(error, path)


@pytest.mark.filterwarnings("ignore:.*zero-size:UserWarning")
@pytest.mark.parametrize("shape", [(0, 0), (0, 8), (8, 0)])
def test_no_pixels(tmp_path, shape):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint8))
    with pytest.raises(UserError) as error:
        read_image(path)
    one_sentence(error, path)


def _files(tmp_path):
    pixels = noise(60, 70)
    tifffile.imwrite(tmp_path / "plain.tif", pixels)
    tifffile.imwrite(tmp_path / "zlib.tif", pixels, compression="zlib", rowsperstrip=8)
    tifffile.imwrite(tmp_path / "tiled.tif", pixels, tile=(16, 16), compression="lzw")
    tifffile.imwrite(
        tmp_path / "stack.ome.tif", noise(5, 60, 70), ome=True, photometric="minisblack"
    )
    iio.imwrite(tmp_path / "a.png", pixels)
    iio.imwrite(tmp_path / "a.jpg", pixels)
    return sorted(tmp_path.iterdir())


def pixels_or_sentence(path):
    try:
        return select_pixels(read_image(path))
    except UserError as error:
        return str(error)


def test_truncated_anywhere(tmp_path, caplog, recwarn):
    """Whatever is left of a file: its pixels, or one sentence that names it."""
    for path in _files(tmp_path):
        whole = select_pixels(read_image(path))
        content = path.read_bytes()
        failed = 0
        for share in (0.001, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.995):
            path.write_bytes(content[: max(1, int(share * len(content)))])
            found = pixels_or_sentence(path)
            if isinstance(found, str):
                failed += 1
                assert str(path) in found
                assert "\n" not in found
            else:
                assert np.array_equal(found, whole), (path, share)
        assert failed >= 4, path
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert not list(recwarn)


@pytest.mark.parametrize("options", [{"ome": True}, {"imagej": True}, {"metadata": None}, {}])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_stack_is_never_a_smaller_one(tmp_path, options, compression):
    path = tmp_path / "a.tif"
    if "imagej" in options and compression:
        options = {"ome": True, "bigtiff": True}
    tifffile.imwrite(
        path, noise(5, 60, 70), photometric="minisblack", compression=compression, **options
    )
    whole = select_pixels(read_image(path))
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.8, 0.9, 0.95, 0.99):
        path.write_bytes(content[: int(share * len(content))])
        found = pixels_or_sentence(path)
        assert isinstance(found, str) or np.array_equal(found, whole), share


def test_any_bytes_behind_a_good_header(tmp_path):
    for start in (b"II*\0", b"MM\0*", b"II+\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"):
        for size in (0, 4, 16, 200, 3000):
            path = tmp_path / "a.tif"
            path.write_bytes(start + rng.bytes(size))
            with pytest.raises(UserError) as error:
                select_pixels(read_image(path))
            one_sentence(error, path)


def test_flipped_bytes_give_pixels_or_a_sentence(tmp_path):
    for path in _files(tmp_path):
        content = path.read_bytes()
        for _ in range(25):
            damaged = bytearray(content)
            for at in rng.integers(0, min(len(content), 400), 3):
                damaged[at] = rng.integers(0, 256)
            path.write_bytes(damaged)
            found = pixels_or_sentence(path)
            assert not isinstance(found, str) or path.name in found


# --- folders ----------------------------------------------------------------------


def test_find_images(tmp_path):
    for name in ("b.tif", "a.png", "C.JPG", "notes.txt", ".hidden.tif", "z.czi"):
        (tmp_path / name).touch()
    (tmp_path / "sub" / "deeper").mkdir(parents=True)
    (tmp_path / "sub" / "deeper" / "d.nd2").touch()
    plate = tmp_path / "plate.ome.zarr"
    (plate / "0").mkdir(parents=True)
    (plate / "0" / "inside.png").touch()
    unnamed = tmp_path / "store"
    unnamed.mkdir()
    (unnamed / "zarr.json").write_text("{}")

    here = sorted(tmp_path / n for n in ("b.tif", "a.png", "C.JPG", "z.czi", plate, unnamed))
    assert find_images([tmp_path]) == here
    assert find_images([str(tmp_path)], recursive=True) == sorted(
        [*here, tmp_path / "sub" / "deeper" / "d.nd2"]
    )
    assert find_images([tmp_path / "b.tif", tmp_path / "a.png", tmp_path / "b.tif"]) == [
        tmp_path / "a.png",
        tmp_path / "b.tif",
    ]
    assert find_images([plate, tmp_path / "notes.txt"]) == sorted([plate, tmp_path / "notes.txt"])


def test_an_image_that_is_named_twice_is_found_once(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    iio.imwrite(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    monkeypatch.chdir(tmp_path)
    assert len(find_images(["a.png", tmp_path / "a.png", "sub/../a.png", "."])) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(UserError, match="a device or a pipe"):
        read_image(tmp_path / "pipe.tif")


def test_find_images_says_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist"):
        find_images([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no image; looked for \.tif"):
        find_images([tmp_path / "empty"])
    (tmp_path / "top" / "sub").mkdir(parents=True)
    (tmp_path / "top" / "sub" / "a.tif").touch()
    with pytest.raises(UserError, match=r"top holds no image itself.*--recursive"):
        find_images([tmp_path / "top"])
    assert find_images([tmp_path / "top"], recursive=True) == [tmp_path / "top" / "sub" / "a.tif"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_in_a_circle_end(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.tif").touch()
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert find_images([tmp_path], recursive=True) == [tmp_path / "sub" / "a.tif"]


# --- the room's walls -------------------------------------------------------------


def test_importing_io_loads_nothing_heavy():
    code = (
        "import sys, celltally.io; "
        "bad = {'torch', 'qtpy', 'napari', 'zarr', 'bioio', 'imageio', 'tifffile', 'dask', "
        "'pandas'} & set(sys.modules); "
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
