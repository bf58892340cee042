"""Channels and planes: what is chosen, what is guessed, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.io import channel_names, guess_channel, select_pixels
from celltally.types import Image

rng = np.random.default_rng(2)


def image(shape, axes, names=(), dtype="uint16"):
    data = rng.integers(0, 200, shape).astype(dtype)
    return Image(data=data, axes=axes, name="a.tif", channel_names=names)


@pytest.mark.parametrize(
    ("names", "guess"),
    [
        (("GFP", "DAPI"), 1),
        (("BF", "Cy5", "hoechst 33342"), 2),
        (("red", "H2B-mCherry"), 1),
        (("TRITC", "DRAQ5"), 1),
        (("actin", "Nuclei"), 1),
        (("phase", "Propidium Iodide"), 1),
        (("phase", "PI"), 1),
        (("Phalloidin", "DNA stain"), 1),
        (("GFP", "mCherry"), 0),
        (("epi", "pisum"), 0),
        ((), 0),
    ],
)
def test_guess_a_nuclear_channel(names, guess):
    picture = image((max(len(names), 2), 5, 6), "CYX", names)
    assert guess_channel(picture) == guess
    assert np.array_equal(select_pixels(picture), picture.data[guess])


def test_nothing_to_guess():
    assert guess_channel(image((5, 6), "YX")) is None
    assert guess_channel(image((3, 5, 6), "ZYX")) is None


@pytest.mark.parametrize("colour", [0, 1, 2])
def test_one_colour_holds_the_signal(colour):
    data = np.full((40, 40, 3), 20, np.uint8)
    data[10:20, 10:20, colour] = 220
    data[10:12, 10:12, :] = 60
    picture = Image(data=data, axes="YXS", name="a.png")
    name = ("red", "green", "blue")[colour]
    assert guess_channel(picture) == name
    assert np.array_equal(select_pixels(picture), data[..., colour])
    assert np.array_equal(select_pixels(picture, channel="colour"), data)


def test_stained_tissue_stays_in_colour():
    data = np.full((40, 40, 3), 240, np.uint8)
    data[10:20, 10:20] = (90, 60, 140)
    picture = Image(data=data, axes="YXS", name="a.png")
    assert guess_channel(picture) == "colour"
    assert np.array_equal(select_pixels(picture), data)


def test_constant_and_not_finite_colours():
    for data in (np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), np.nan, np.float32)):
        assert guess_channel(Image(data=data, axes="YXS", name="a")) == "colour"
        assert select_pixels(Image(data=data, axes="YXS", name="a")).shape[:2] == (4, 5)


def test_the_guess_is_the_same_for_all_planes():
    data = np.zeros((3, 20, 20, 3), np.uint8)
    data[1, 5:9, 5:9, 2] = 200
    data[0] = rng.integers(0, 255, (20, 20, 3))
    picture = Image(data=data, axes="ZYXS", name="a")
    assert np.array_equal(select_pixels(picture, plane={"z": 0}), data[0, ..., 2])


def test_colours_by_name_and_index():
    picture = image((8, 9, 4), "YXS", dtype="uint8")
    data = picture.data
    for i, name in enumerate(("red", "Green", " BLUE ")):
        assert np.array_equal(select_pixels(picture, channel=name), data[..., i])
        assert np.array_equal(select_pixels(picture, channel=i), data[..., i])
        assert np.array_equal(select_pixels(picture, channel=str(i)), data[..., i])
    grey = select_pixels(picture, channel="gray")
    assert grey.dtype == np.uint8
    expected = data[..., :3] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - expected).max() <= 0.5 + 1e-9
    assert np.array_equal(select_pixels(picture, channel="grey"), grey)
    assert select_pixels(picture, channel="color").shape == (8, 9, 3)
    for wrong in (3, -1, "purple", "", True):
        with pytest.raises(UserError, match="valid: colour, red, green, blue, gray"):
            select_pixels(picture, channel=wrong)


def test_channels_by_name_and_index():
    picture = image((3, 8, 9), "CYX", ("DAPI", "GFP", "2"))
    for choice in (1, "1", "gfp", " GFP ", "1: GFP", np.int64(1)):
        assert np.array_equal(select_pixels(picture, channel=choice), picture.data[1]), choice
    assert np.array_equal(select_pixels(picture, channel="2"), picture.data[2])
    for wrong in (3, -1, "cy5", "7"):
        with pytest.raises(UserError, match=r"no channel .*valid: 0: DAPI, 1: GFP, 2: 2"):
            select_pixels(picture, channel=wrong)


def test_a_single_channel():
    picture = image((8, 9), "YX")
    for choice in (None, 0, "0", "gray", "grey"):
        assert np.array_equal(select_pixels(picture, channel=choice), picture.data)
    for wrong in (1, "dapi"):
        with pytest.raises(UserError, match="one channel only"):
            select_pixels(picture, channel=wrong)


@pytest.mark.parametrize(
    "picture",
    [
        image((8, 9), "YX"),
        image((8, 9, 3), "YXS"),
        image((3, 8, 9), "CYX"),
        image((2, 8, 9), "CYX", ("a", "a")),
    ],
)
def test_every_listed_choice_can_be_selected(picture):
    names = channel_names(picture)
    assert len(names) == len(set(names))
    picked = [select_pixels(picture, channel=name) for name in names]
    if "C" in picture.axes:
        for i, pixels in enumerate(picked):
            assert np.array_equal(pixels, picture.data[i])
    guess = guess_channel(picture)
    assert guess is None or guess in names or names[guess]


def test_planes():
    picture = image((2, 5, 8, 9), "TZYX")
    data = picture.data
    assert np.array_equal(select_pixels(picture), data[0, 2])
    assert np.array_equal(select_pixels(picture, plane={"t": 1}), data[1, 2])
    assert np.array_equal(select_pixels(picture, plane={"Z": 4, "T": 1}), data[1, 4])
    assert np.array_equal(select_pixels(picture, plane={"z": np.int64(3)}), data[0, 3])
    for wrong in ({"z": 5}, {"z": -1}, {"t": 2}):
        with pytest.raises(UserError, match=r"no plane .*valid: t 0 to 1, z 0 to 4"):
            select_pixels(picture, plane=wrong)
    for wrong in ({"z": 1.5}, {"z": "1"}, {"z": True}):
        with pytest.raises(UserError, match="no whole number"):
            select_pixels(picture, plane=wrong)
    with pytest.raises(UserError, match="no axis 'q'"):
        select_pixels(picture, plane={"q": 0})


def test_a_flat_image_has_plane_zero_only():
    picture = image((8, 9), "YX")
    assert np.array_equal(select_pixels(picture, plane={"t": 0, "z": 0}), picture.data)
    with pytest.raises(UserError, match="no plane z=1; it is a single plane"):
        select_pixels(picture, plane={"z": 1})


@pytest.mark.parametrize("axes", ["XY", "XYC", "CXY", "ZXYC", "SXY"])
def test_any_order_of_axes(axes):
    lengths = {"X": 9, "Y": 8, "C": 2, "Z": 3, "S": 3}
    picture = image(tuple(lengths[a] for a in axes), axes)
    got = select_pixels(picture)
    assert got.shape == ((8, 9, 3) if "S" in axes else (8, 9))
    at = tuple({"C": 0, "Z": 1}.get(a, 4 if a == "X" else slice(None)) for a in axes)
    row = picture.data[at]
    assert np.array_equal(got[:, 4], row.T if "S" in axes else row)


def test_only_one_plane_is_asked_for():
    class Watched:
        shape = (4, 3, 8, 9)
        dtype = np.dtype("uint8")

        def __init__(self):
            self.keys = []

        def __getitem__(self, key):
            self.keys.append(key)
            return np.zeros((8, 9), np.uint8)

    data = Watched()
    select_pixels(Image(data=data, axes="ZCYX", name="a"), channel=2, plane={"z": 1})
    assert data.keys == [(1, 2, slice(None), slice(None))]


def test_byte_order_becomes_native_and_rows_contiguous():
    picture = Image(data=np.arange(12, dtype=">u2").reshape(3, 4).T, axes="YX", name="a")
    got = select_pixels(picture)
    assert got.dtype == np.dtype("uint16")
    assert got.dtype.isnative
    assert got.flags.c_contiguous
    assert np.array_equal(got, picture.data)


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("bad chunk"), MemoryError()])
def test_errors_while_reading_are_sentences(error):
    class Broken:
        shape = (8, 9)
        dtype = np.dtype("uint8")

        def __getitem__(self, key):
            raise error

    with pytest.raises(UserError, match=r"a\.tif (cannot be read|needs more memory)"):
        select_pixels(Image(data=Broken(), axes="YX", name="a.tif"))
