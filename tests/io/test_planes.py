"""Which planes are meant, and their projection."""

from __future__ import annotations

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.io import iter_project, planes_along, project_pixels
from celltally.io.planes import brightest_planes, choice_text, look_around
from celltally.types import Image

rng = np.random.default_rng(3)


def image(shape, axes, dtype="uint16"):
    return Image(data=rng.integers(0, 200, shape).astype(dtype), axes=axes, name="a.tif")


class Watched:
    """Pixels that know how much of them was asked for."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.keys = data, data.shape, data.dtype, []

    def __getitem__(self, key):
        self.keys.append(key)
        return self.data[key]


def test_what_a_choice_means():
    picture = image((4, 7, 5, 6), "TZYX")
    assert list(planes_along(picture, "t", None)) == [0]
    assert list(planes_along(picture, "z", None)) == [3]
    assert list(planes_along(picture, "z", 6)) == [6]
    assert list(planes_along(picture, "t", slice(None))) == [0, 1, 2, 3]
    assert list(planes_along(picture, "z", slice(2, 4))) == [2, 3]
    assert list(planes_along(picture, "z", slice(5, None))) == [5, 6]
    assert list(planes_along(picture, "z", slice(None, 2))) == [0, 1]
    flat = image((5, 6), "YX")
    assert list(planes_along(flat, "t", slice(None))) == [0]
    assert list(planes_along(flat, "z", None)) == [0]


@pytest.mark.parametrize(
    ("axis", "choice", "words"),
    [
        ("t", 4, "a.tif has no plane t=4; valid: t 0 to 3"),
        ("t", slice(0, 9), "a.tif has no plane t=8; valid: t 0 to 3"),
        ("t", slice(5, None), "a.tif has no plane t=5; valid: t 0 to 3"),
        ("z", -1, "z=-1"),
        ("z", slice(-2, None), "z=-2:"),
        ("z", slice(3, 3), "z=3:3"),
        ("z", slice(4, 2), "z=4:2"),
        ("z", slice(0, 4, 2), "z=0:4"),
        ("z", True, "z=True"),
        ("z", 1.5, r"z=1\.5"),
    ],
)
def test_what_is_no_choice(axis, choice, words):
    with pytest.raises(UserError, match=words):
        planes_along(image((4, 7, 5, 6), "TZYX"), axis, choice)


def test_choices_as_text():
    choices = (3, slice(None), slice(0, None), slice(2, 6), slice(None, 6), slice(2, None))
    assert [choice_text(c) for c in choices] == [3, "all", "all", "2:6", ":6", "2:"]


def test_a_projection_is_the_maximum():
    picture = image((2, 5, 3, 8, 9), "TZCYX")
    data = picture.data
    assert np.array_equal(project_pixels(picture, channel=2, t=1), data[1, :, 2].max(axis=0))
    some = project_pixels(picture, channel=0, z=range(1, 3))
    assert np.array_equal(some, data[0, 1:3, 0].max(axis=0))
    assert some.dtype == data.dtype


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float32", ">u2"])
def test_any_kind_of_pixels(dtype):
    data = rng.integers(-5 if dtype == "int16" else 0, 2 if dtype == "bool" else 90, (4, 5, 6))
    got = project_pixels(Image(data=data.astype(dtype), axes="ZYX", name="a"))
    assert np.array_equal(got, data.astype(dtype).max(axis=0))


def test_what_is_no_number_counts_as_none():
    data = np.array([[[1.0, np.nan]], [[np.nan, np.nan]]], np.float32)
    got = project_pixels(Image(data=data, axes="ZYX", name="a"))
    assert got[0, 0] == 1
    assert np.isnan(got[0, 1])


def test_planes_are_read_one_at_a_time_and_told():
    data = Watched(rng.integers(0, 9, (3, 4, 8, 9)).astype(np.uint8))
    job = iter_project(Image(data=data, axes="TZYX", name="a"), t=2)
    steps = [next(job)]
    assert data.keys == [(2, 0, slice(None), slice(None))]
    steps += list(job)
    assert [(step.done, step.total) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(data.keys) == 4


def test_colours_are_projected_one_by_one_whatever_a_plane_shows():
    data = np.zeros((3, 4, 5, 3), np.uint8)
    data[0, 0, 0] = (200, 90, 10)
    data[1] = 40  # a plane without colours
    data[2, 1, 1] = (10, 90, 200)
    got = project_pixels(Image(data=data, axes="ZYXS", name="a"), channel="colour")
    assert np.array_equal(got, data.max(axis=0))
    grey_first = Image(data=data[::-1].copy()[1:], axes="ZYXS", name="a")
    assert np.array_equal(project_pixels(grey_first, channel="colour"), data[:2].max(axis=0))


def test_no_axis_z_is_the_plane_itself():
    picture = image((8, 9), "YX")
    assert np.array_equal(project_pixels(picture), picture.data)
    with pytest.raises(ValueError, match="plane"):
        project_pixels(picture, z=[])


def test_a_dot_belongs_where_it_is_brightest():
    data = rng.integers(0, 20, (6, 30, 30)).astype(np.uint8)
    data[4, 8:13, 8:13] = 200
    data[1, 20:25, 19:24] = 180
    picture = Image(data=data, axes="ZYX", name="a")
    places = np.array([[10.0, 10.0], [22.0, 21.0], [10.2, 9.6]])
    assert brightest_planes(picture, places).tolist() == [4, 1, 4]
    assert brightest_planes(picture, places, z=range(2, 4)).max() <= 3
    assert brightest_planes(picture, np.empty((0, 2))).tolist() == []
    assert brightest_planes(picture, np.array([[-0.5, 29.5]])).shape == (1,)
    assert brightest_planes(picture, places, z=[3]).tolist() == [3, 3, 3]


def test_a_dots_plane_is_looked_for_in_a_quarter_of_a_cell():
    assert [look_around(diameter) for diameter in (1.0, 12.0, 40.0)] == [1, 3, 10]
