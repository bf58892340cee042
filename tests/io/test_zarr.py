"""OME-Zarr of zarr 2 and 3: metadata, laziness, damage."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from celltally.errors import UserError
from celltally.io import channel_names, list_scenes, read_image, select_pixels

rng = np.random.default_rng(3)


def multiscales(axes, scale, **level):
    kinds = {"t": "time", "c": "channel"}
    units = {"y": "micrometer", "x": "nanometer", "z": "micrometer"}
    return [
        {
            "version": "0.4",
            "axes": [
                {"name": a, "type": kinds.get(a, "space")}
                | ({"unit": units[a]} if a in units else {})
                for a in axes
            ],
            "datasets": [
                {
                    "path": "0",
                    "coordinateTransformations": [{"type": "scale", "scale": scale}],
                },
                {"path": "1", "coordinateTransformations": [{"type": "scale", "scale": scale}]},
            ],
            **level,
        }
    ]


def write(path, pixels, axes, scale, zarr_format, channels=(), at=""):
    root = zarr.open_group(str(path), mode="a", zarr_format=zarr_format)
    group = root.require_group(at) if at else root
    chunks = (*(1,) * (pixels.ndim - 2), 8, 8)
    for name, level in (("0", pixels), ("1", pixels[..., ::2, ::2])):
        array = group.create_array(name, shape=level.shape, chunks=chunks, dtype=level.dtype)
        array[...] = level
    found = {"multiscales": multiscales(axes, scale)}
    if channels:
        found["omero"] = {"channels": [{"label": c} for c in channels]}
    group.attrs.update({"ome": found} if zarr_format == 3 else found)
    return root


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_ome_zarr(tmp_path, zarr_format):
    pixels = rng.integers(0, 99, (2, 3, 5, 20, 30)).astype(np.uint16)
    path = tmp_path / "a.ome.zarr"
    write(path, pixels, "tczyx", [1, 1, 2, 0.5, 250], zarr_format, ("GFP", "DAPI", "Cy5"))
    image = read_image(path)
    assert (image.axes, image.name, image.path) == ("TCZYX", "a.ome.zarr", path)
    assert image.pixel_size_um == pytest.approx((0.5, 0.25))
    assert channel_names(image) == ["0: GFP", "1: DAPI", "2: Cy5"]
    assert image.data.shape == pixels.shape
    assert np.array_equal(select_pixels(image), pixels[0, 1, 2])
    got = select_pixels(image, channel="cy5", plane={"t": 1, "z": 4})
    assert np.array_equal(got, pixels[1, 2, 4])
    assert list_scenes(path) == []


def test_scale_of_the_whole_pyramid_counts(tmp_path):
    pixels = np.zeros((20, 30), np.uint8)
    root = write(tmp_path / "a.zarr", pixels, "yx", [2, 2000], 2)
    level = multiscales(
        "yx", [2, 2000], coordinateTransformations=[{"type": "scale", "scale": [0.5, 0.25]}]
    )
    root.attrs["multiscales"] = level
    assert read_image(tmp_path / "a.zarr").pixel_size_um == pytest.approx((1, 0.5))


def test_no_unit_no_pixel_size(tmp_path):
    root = write(tmp_path / "a.zarr", np.zeros((20, 30), np.uint8), "yx", [1, 1], 2)
    level = multiscales("yx", [1, 1])
    level[0]["axes"] = ["y", "x"]  # as version 0.3 writes them
    root.attrs["multiscales"] = level
    image = read_image(tmp_path / "a.zarr")
    assert (image.axes, image.pixel_size_um) == ("YX", None)


def test_version_without_axes(tmp_path):
    root = write(tmp_path / "a.zarr", np.zeros((1, 1, 1, 20, 30), np.uint8), "tczyx", [1] * 5, 2)
    root.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    assert read_image(tmp_path / "a.zarr").axes == "TCZYX"


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_bare_array(tmp_path, zarr_format):
    pixels = rng.integers(0, 99, (4, 20, 30)).astype(np.uint8)
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=pixels.shape, dtype="uint8", zarr_format=zarr_format
    )
    array[...] = pixels
    image = read_image(tmp_path / "a.zarr")
    assert image.axes == "ZYX"
    assert np.array_equal(select_pixels(image, plane={"z": 3}), pixels[3])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plate_has_scenes(tmp_path, zarr_format):
    path = tmp_path / "plate.zarr"
    fields = {"A/1/0": 1, "A/1/1": 2, "B/3/0": 3}
    for at, value in fields.items():
        root = write(path, np.full((20, 30), value, np.uint8), "yx", [1, 1], zarr_format, at=at)

    def put(node, **found):
        node.attrs.update({"ome": found} if zarr_format == 3 else found)

    put(root, plate={"wells": [{"path": "A/1"}, {"path": "B/3"}]})
    put(root["A/1"], well={"images": [{"path": "0"}, {"path": "1"}]})
    put(root["B/3"], well={"images": [{"path": "0"}]})
    assert list_scenes(path) == list(fields)
    assert (select_pixels(read_image(path)) == 1).all()
    image = read_image(path, scene="B/3/0")
    assert image.scene == "B/3/0"
    assert (select_pixels(image) == 3).all()
    with pytest.raises(UserError, match="no scene 'C/9/0'"):
        read_image(path, scene="C/9/0")


def test_series_of_a_converted_file(tmp_path):
    path = tmp_path / "a.zarr"
    for i in range(11):
        root = write(path, np.full((20, 30), i, np.uint8), "yx", [1, 1], 2, at=str(i))
    root.create_group("OME")
    root.attrs["bioformats2raw.layout"] = 3
    assert list_scenes(path) == [str(i) for i in range(11)]
    assert (select_pixels(read_image(path, scene=10)) == 10).all()


def test_only_the_chunks_of_the_plane_are_read(tmp_path):
    pixels = rng.integers(0, 99, (3, 20, 30)).astype(np.uint8)
    path = tmp_path / "a.zarr"
    write(path, pixels, "zyx", [1, 1, 1], 2)
    for chunk in (path / "0").glob("2.*"):
        chunk.write_bytes(b"broken")
    image = read_image(path)
    assert np.array_equal(select_pixels(image, plane={"z": 1}), pixels[1])
    with pytest.raises(UserError, match=r"a\.zarr cannot be read: it may be truncated"):
        select_pixels(image, plane={"z": 2})


def test_a_folder_without_metadata(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(UserError, match=r"a\.zarr is no zarr image"):
        read_image(tmp_path / "a.zarr")
    with pytest.raises(UserError, match=r"a\.zarr is no zarr image"):
        list_scenes(tmp_path / "a.zarr")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"zarr_format": 9}', '{"zarr_format": 2}'])
def test_broken_metadata(tmp_path, content):
    path = tmp_path / "a.zarr"
    path.mkdir()
    for name in (".zgroup", ".zattrs", "zarr.json"):
        (path / name).write_text(content)
    with pytest.raises(UserError, match=r"a\.zarr") as error:
        read_image(path)
    assert "\n" not in str(error.value)


def test_a_group_without_an_image(tmp_path):
    zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    with pytest.raises(UserError, match="without an image"):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    "damage",
    [
        [{"datasets": []}],
        [{"axes": ["y", "x"], "datasets": [{"path": "gone"}]}],
        [{"axes": ["x"], "datasets": [{"path": "0"}]}],
        [{"axes": ["c", "x"], "datasets": [{"path": "0"}]}],
        [{"axes": 7, "datasets": [{"path": "0"}]}],
        [1],
    ],
)
def test_wrong_multiscales(tmp_path, damage):
    path = tmp_path / "a.zarr"
    write(path, np.zeros((20, 30), np.uint8), "yx", [1, 1], 2)
    (path / ".zattrs").write_text(json.dumps({"multiscales": damage}))
    with pytest.raises(UserError, match=r"a\.zarr"):
        read_image(path)
