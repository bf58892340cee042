"""TIFF of every kind that microscopes and ImageJ write."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tifffile

from celltally.errors import UserError
from celltally.io import channel_names, list_scenes, read_image, select_pixels
from celltally.io.tiff import TiffPlanes

rng = np.random.default_rng(0)


def noise(*shape, dtype="uint16"):
    if dtype == "bool":
        return rng.random(shape) > 0.5
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "float16",
        "float32",
        "float64",
    ],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"tile": (16, 16)},
        {"tile": (32, 16), "compression": "zlib", "predictor": True},
        {"byteorder": ">"},
        {"bigtiff": True, "rowsperstrip": 7},
    ],
)
def test_every_dtype_and_layout(tmp_path, dtype, options):
    if dtype == "bool":
        options = {**options, "predictor": False}  # TIFF has none for bits
    pixels = noise(45, 37, dtype=dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", **options)
    image = read_image(path)
    assert (image.axes, image.name, image.path) == ("YX", "a.tif", path)
    got = select_pixels(image)
    assert got.dtype == pixels.dtype
    assert got.dtype.isnative
    assert np.array_equal(got, pixels)


@pytest.mark.parametrize("compression", ["lzw", "zstd", "packbits", "lzma"])
def test_compressions(tmp_path, compression):
    pixels = noise(40, 30)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression=compression)
    assert np.array_equal(select_pixels(read_image(tmp_path / "a.tif")), pixels)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (40, 3), (1, 7), (7, 1), (4, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_tiny_and_constant(tmp_path, shape, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.full(shape, 5, dtype), photometric="minisblack")
    got = select_pixels(read_image(tmp_path / "a.tif"))
    assert got.shape == shape
    assert (got == 5).all()


def test_nan_and_infinite_pixels_are_kept(tmp_path):
    pixels = np.full((5, 6), np.nan, np.float32)
    pixels[2, 2] = np.inf
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    assert np.array_equal(select_pixels(read_image(tmp_path / "a.tif")), pixels, equal_nan=True)


def test_imagej_hyperstack(tmp_path):
    pixels = noise(2, 5, 3, 20, 30)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        imagej=True,
        resolution=(1 / 0.25, 1 / 0.5),
        metadata={"axes": "TZCYX", "unit": "um"},
    )
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "TZCYX"
    assert image.sizes == {"T": 2, "Z": 5, "C": 3, "Y": 20, "X": 30}
    assert image.pixel_size_um == pytest.approx((0.5, 0.25))
    got = select_pixels(image, channel=2, plane={"t": 1, "z": 4})
    assert np.array_equal(got, pixels[1, 4, 2])
    assert np.array_equal(select_pixels(image), pixels[0, 2, 0])


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("micron", 0.5),
        ("um", 0.5),
        ("\\u00B5m", 0.5),
        ("nm", 0.0005),
        ("mm", 500.0),
        ("inch", 12700.0),
        ("pixel", None),
        ("furlong", None),
    ],
)
def test_imagej_units(tmp_path, unit, expected):
    tifffile.imwrite(
        tmp_path / "a.tif", noise(4, 5), imagej=True, resolution=(2, 2), metadata={"unit": unit}
    )
    size = read_image(tmp_path / "a.tif").pixel_size_um
    assert size == (None if expected is None else pytest.approx((expected, expected)))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16)}])
def test_ome_tiff(tmp_path, options):
    pixels = noise(2, 3, 4, 20, 30)
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        pixels,
        ome=True,
        photometric="minisblack",
        metadata={
            "axes": "TCZYX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 500,
            "PhysicalSizeYUnit": "nm",
            "Channel": {"Name": ["GFP", "Hoechst 33342", "Cy5"]},
        },
        **options,
    )
    image = read_image(tmp_path / "a.ome.tif")
    assert image.axes == "TCZYX"
    assert image.pixel_size_um == pytest.approx((0.5, 0.25))
    assert image.channel_names == ("GFP", "Hoechst 33342", "Cy5")
    got = select_pixels(image, channel="cy5", plane={"t": 1, "z": 3})
    assert np.array_equal(got, pixels[1, 2, 3])
    assert np.array_equal(select_pixels(image), pixels[0, 1, 2])
    assert np.array_equal(np.asarray(image.data), pixels)


def test_six_axes(tmp_path):
    pixels = noise(2, 2, 3, 9, 11, 3, dtype="uint8")
    tifffile.imwrite(
        tmp_path / "a.ome.tif", pixels, ome=True, photometric="rgb", metadata={"axes": "TCZYXS"}
    )
    image = read_image(tmp_path / "a.ome.tif")
    assert image.axes == "TCZYXS"
    got = select_pixels(image, channel="red", plane={"t": 1, "c": 1, "z": 2})
    assert np.array_equal(got, pixels[1, 1, 2, ..., 0])


def test_ome_scenes(tmp_path):
    path = tmp_path / "a.ome.tif"
    first, second = noise(8, 9), noise(2, 10, 11)
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(first, metadata={"axes": "YX", "Name": "left", "PhysicalSizeX": 1})
        tif.write(
            second,
            photometric="minisblack",
            metadata={"axes": "CYX", "Name": "right", "PhysicalSizeX": 2, "PhysicalSizeY": 2},
        )
    assert list_scenes(path) == ["left", "right"]
    assert read_image(path).scene == "left"
    for scene in ("right", 1, "1"):
        image = read_image(path, scene=scene)
        assert (image.scene, image.axes, image.pixel_size_um) == ("right", "CYX", (2, 2))
        assert np.array_equal(select_pixels(image, channel=1), second[1])
    with pytest.raises(UserError, match=r"no scene 'up'; its scenes are 0: left, 1: right"):
        read_image(path, scene="up")
    with pytest.raises(UserError, match="no scene 2"):
        read_image(path, scene=2)


def test_one_image_has_no_scenes(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(8, 9))
    assert list_scenes(tmp_path / "a.tif") == []
    assert read_image(tmp_path / "a.tif", scene=0).scene is None


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((3, 20, 30), "CYX"),
        ((4, 20, 30), "CYX"),
        ((5, 20, 30), "ZYX"),
        ((7, 3, 20, 30), "ZCYX"),
        ((2, 7, 3, 20, 30), "TZCYX"),
        ((6, 7, 20, 30), "TZYX"),
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_unnamed_axes(tmp_path, shape, axes, compression):
    pixels = noise(*shape)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", compression=compression)
    image = read_image(tmp_path / "a.tif")
    assert image.axes == axes
    assert np.array_equal(np.asarray(image.data), pixels)


def test_pages_without_any_metadata(tmp_path):
    pixels = noise(9, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata=None)
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "ZYX"
    assert np.array_equal(select_pixels(image, plane={"z": 8}), pixels[8])


def test_too_many_axes(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(2, 2, 2, 2, 5, 6), photometric="minisblack")
    with pytest.raises(UserError, match="more axes than time, channel and z"):
        read_image(tmp_path / "a.tif")


def test_nameless_axes_of_length_one_are_left_out(tmp_path):
    pixels = noise(1, 2, 1, 3, 5, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    image = read_image(tmp_path / "a.tif")
    assert "".join(sorted(image.axes)) == "CTXYZ"
    assert np.array_equal(np.asarray(image.data), pixels.reshape(image.data.shape))


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_rgb(tmp_path, samples, dtype):
    pixels = noise(20, 30, samples, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "YXS"
    assert np.array_equal(select_pixels(image), pixels[..., :3])


def test_planar_rgb(tmp_path):
    pixels = noise(3, 20, 30, dtype="uint8")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate")
    image = read_image(tmp_path / "a.tif")
    assert image.is_rgb
    assert np.array_equal(select_pixels(image), pixels.transpose(1, 2, 0))


def test_samples_that_are_no_colours_are_channels(tmp_path):
    pixels = noise(5, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="separate")
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "CYX"
    assert np.array_equal(np.asarray(image.data), pixels)
    contiguous = noise(20, 30, 5)
    tifffile.imwrite(
        tmp_path / "b.tif", contiguous, photometric="minisblack", planarconfig="contig"
    )
    image = read_image(tmp_path / "b.tif")
    assert image.axes == "YXC"
    assert np.array_equal(select_pixels(image, channel=3), contiguous[..., 3])


def test_unnamed_rows_columns_and_colours(tmp_path):
    pixels = noise(20, 30, 3, dtype="uint8")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "YXS"
    assert np.array_equal(select_pixels(image), pixels)


def test_jpeg_compressed_colours(tmp_path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = (200, 30, 90)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression="jpeg")
    image = read_image(tmp_path / "a.tif")
    assert image.is_rgb
    assert np.abs(select_pixels(image).astype(int) - pixels).mean() < 2


def test_pyramid_gives_full_resolution(tmp_path):
    pixels = noise(64, 96)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(pixels, subifds=1, tile=(16, 16))
        tif.write(pixels[::2, ::2], subfiletype=1, tile=(16, 16))
    assert np.array_equal(select_pixels(read_image(tmp_path / "a.tif")), pixels)


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [("CENTIMETER", 20_000, 0.5), ("INCH", 72, None), ("INCH", 50_800, 0.5), ("NONE", 1, None)],
)
def test_plain_resolution(tmp_path, unit, per_unit, expected):
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise(8, 9),
        resolution=(per_unit, per_unit),
        resolutionunit=unit,
        metadata=None,
    )
    size = read_image(tmp_path / "a.tif").pixel_size_um
    assert size == (None if expected is None else pytest.approx((expected, expected)))


def test_only_the_chosen_pages_are_read(tmp_path, monkeypatch):
    pixels = noise(6, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", compression="zlib")
    image = read_image(tmp_path / "a.tif")
    read = []
    from celltally.io import tiff

    original = tiff._page_pixels

    def spy(page, shape):
        read.append(page.index)
        return original(page, shape)

    monkeypatch.setattr(tiff, "_page_pixels", spy)
    select_pixels(image, plane={"z": 4})
    assert read == [4]


def test_a_plane_of_an_uncompressed_stack_is_read_alone(tmp_path):
    pixels = noise(50, 100, 100)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "ZYX"})
    image = read_image(tmp_path / "a.tif")
    # Cut off behind plane 10: what lies before must still be there, alone.
    content = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        offset = tif.series[0].dataoffset
    (tmp_path / "a.tif").write_bytes(content[: offset + 11 * 20_000])
    assert np.array_equal(select_pixels(image, plane={"z": 10}), pixels[10])
    with pytest.raises(UserError, match=r"a\.tif cannot be read: it may be truncated"):
        select_pixels(image, plane={"z": 11})


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_indexing_is_numpys(tmp_path, options):
    pixels = noise(4, 5, 12, 13)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="minisblack", metadata={"axes": "TZYX"}, **options
    )
    data = read_image(tmp_path / "a.tif").data
    assert isinstance(data, TiffPlanes)
    assert (data.ndim, len(data), data.shape) == (4, 4, pixels.shape)
    for key in (
        1,
        (1, 2),
        (slice(1, 3), -1),
        (..., 3),
        (2, ..., slice(0, 4)),
        (slice(None), 2, slice(2, 9), slice(None, None, -1)),
        ([0, 2],),
        (1, 2, 3, 4),
        (),
    ):
        assert np.array_equal(data[key], pixels[key]), key
    with pytest.raises(IndexError):
        data[9]
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(np.asarray(again), pixels)


def test_channel_labels_of_imagej(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise(2, 8, 9),
        imagej=True,
        metadata={"axes": "CYX", "Labels": ["GFP", "DAPI"]},
    )
    image = read_image(tmp_path / "a.tif")
    assert channel_names(image) == ["0: GFP", "1: DAPI"]


def test_complex_values_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6), np.complex64))
    with pytest.raises(UserError, match=r"a\.tif holds complex64 values"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_where_zero_is_white_it_is_turned(tmp_path, dtype, compression):
    pixels = noise(7, 9, dtype=dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="miniswhite", compression=compression)
    expected = ~pixels if dtype == "bool" else np.iinfo(dtype).max - pixels
    np.testing.assert_array_equal(select_pixels(read_image(path)), expected)


def test_a_plane_whose_file_is_missing(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, noise(2, 5, 6), metadata={"axes": "CYX"}, photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        text = tif.ome_metadata
    lone = tmp_path / "lone.ome.tif"
    import re

    blocks = re.findall(r"<TiffData.*?</TiffData>|<TiffData[^>]*/>", text, flags=re.DOTALL)
    told = (
        '<TiffData FirstC="0" IFD="0" PlaneCount="1"><UUID FileName="lone.ome.tif">urn:uuid:1'
        '</UUID></TiffData><TiffData FirstC="1" IFD="0" PlaneCount="1"><UUID '
        'FileName="gone.ome.tif">urn:uuid:2</UUID></TiffData>'
    )
    text = text.replace(blocks[0], told).replace("<OME ", '<OME UUID="urn:uuid:1" ', 1)
    text = re.sub(r'(UUID="urn:uuid:1" .*?) UUID="[^"]*"', r"\1", text, count=1)
    tifffile.imwrite(lone, noise(5, 6), description=text, metadata=None, photometric="minisblack")
    image = read_image(lone)
    assert select_pixels(image, channel=0).any()
    with pytest.raises(UserError, match="one of several files of an image"):
        select_pixels(image, channel=1)
