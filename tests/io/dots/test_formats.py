"""Every format of dots: what it keeps comes back, what it cannot is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.io import (
    DOT_FORMATS,
    format_for,
    read_dots,
    recognised,
    what_is_lost,
    write_dots,
)
from celltally.types import Dots

FORMATS = [known.name for known in DOT_FORMATS]
FOREIGN = [name for name in FORMATS if name not in ("celltally", "napari")]


def path_for(folder, name):
    known = next(f for f in DOT_FORMATS if f.name == name)
    return folder / f"dots{known.suffixes[0] if known.suffixes else '.csv'}"


def round_trip(folder, name, dots, **about):
    path = path_for(folder, name)
    write_dots(path, dots, format=name, **about)
    return read_dots(path)


DOTS = Dots.new(
    [[1.25, 2.75], [10, 20], [30.5, 40.125], [7, 8]],
    id=["0" * 31 + "1", "my own id", "0" * 31 + "3", "0" * 31 + "4"],
    z=[0, 2, 2, 1],
    label=["cell", "dead", "cell", "dead"],
    score=[0.5, np.nan, 0.1, 0.9],
    state=["proposed", "added", "moved", "removed"],
    source=["ab" * 32, "Ada", "", ""],
)


@pytest.mark.parametrize("name", FORMATS)
def test_whole_pixels_come_back(tmp_path, name):
    yx = [[0, 0], [0, 5], [7, 0], [511, 1023]]
    got = round_trip(tmp_path, name, Dots.new(yx))
    assert got.yx.tolist() == yx
    assert got.label.tolist() == ["cell"] * 4
    assert got.t.tolist() == got.z.tolist() == [0] * 4
    assert got.state.tolist() == ["proposed"] * 4


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_not_said_to_be_lost_is_kept(tmp_path, name):
    dots = replace(DOTS, label=np.array(["cell"] * 4)) if "cellfinder" in name else DOTS
    lost = " ".join(what_is_lost(dots, name))
    got = round_trip(tmp_path, name, dots)
    there = dots if "removed dots" not in lost else dots[dots.state != "removed"]
    assert len(got) == len(there)
    order, wanted = (np.lexsort(np.rint(d.yx).T) for d in (got, there))
    got, there = got[order], there[wanted]
    step = 0.5 if "whole pixels" in lost else 1e-3
    assert np.abs(got.yx - there.yx).max() <= step
    for column, word in [
        ("id", " ids"),
        ("t", "time"),
        ("z", "planes"),
        ("label", "classes"),
        ("score", "scores"),
        ("state", "states"),
        ("source", "who or which"),
    ]:
        same = np.array_equal(
            getattr(got, column), getattr(there, column), equal_nan=column == "score"
        )
        assert same is (word not in lost), (column, lost)


def test_our_own_formats_lose_nothing():
    assert what_is_lost(DOTS, "celltally") == []
    assert what_is_lost(DOTS, "napari") == []


@pytest.mark.parametrize("name", FOREIGN)
def test_removed_dots_are_left_out_and_told(tmp_path, name):
    assert "removed dots would count: 1 is left out" in what_is_lost(DOTS, name)[0]
    assert len(round_trip(tmp_path, name, DOTS)) == 3


def test_rounding_is_told_only_where_it_happens():
    whole = Dots.new([[1, 2]])
    assert not any("rounded" in s for s in what_is_lost(whole, "cellfinder"))
    assert any("rounded" in s for s in what_is_lost(Dots.new([[1.5, 2]]), "cellfinder"))
    far = Dots.new([[3_000_000.1, 0]])
    assert any("up to 0.1 px" in s for s in what_is_lost(far, "imagej"))
    assert not any("rounded" in s for s in what_is_lost(DOTS, "imagej"))


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "imagej-roi"])
def test_no_dots_at_all(tmp_path, name):
    assert len(round_trip(tmp_path, name, Dots.new())) == 0
    assert what_is_lost(Dots.new(), name) == []


def test_a_single_selection_needs_a_point(tmp_path):
    with pytest.raises(UserError, match="no selection without points"):
        write_dots(tmp_path / "a.roi", Dots.new(), format="imagej-roi")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_every_file_is_known_by_its_header_alone(tmp_path, name):
    path = path_for(tmp_path, name)
    write_dots(path, DOTS, format=name)
    other = path.rename(tmp_path / "unnamed")
    assert recognised(other).name == name
    assert len(read_dots(other)) >= 3
    content = other.read_bytes()
    assert [f.name for f in DOT_FORMATS if f.recognises(content)] == [name]


def test_suffixes_say_the_format_of_a_new_file(tmp_path):
    found = {
        s: format_for(f"a{s}").name for s in (".csv", ".TSV", ".xml", ".yml", ".zip", ".geojson")
    }
    assert found == {
        ".csv": "celltally",
        ".TSV": "qupath-points",
        ".xml": "cell-counter",
        ".yml": "cellfinder-yaml",
        ".zip": "imagej",
        ".geojson": "qupath",
    }
    with pytest.raises(UserError, match=r"has no suffix that says.*\.csv"):
        format_for(tmp_path / "a.xlsx")


@pytest.mark.parametrize("name", ["cell-counter", "imagej-roi"])
def test_time_and_planes_become_slices(tmp_path, name):
    dots = Dots.new([[1, 1], [2, 2], [3, 3]], t=[0, 1, 2], z=[0, 1, 3])
    told = " ".join(what_is_lost(dots, name))
    assert "with 4 planes to a time point" in told
    assert round_trip(tmp_path, name, dots).z.tolist() == [0, 5, 11]
    assert round_trip(tmp_path, name, dots, planes=10).z.tolist() == [0, 11, 23]
    with pytest.raises(UserError, match="plane z = 3, but the image is said to have 2"):
        round_trip(tmp_path, name, dots, planes=2)


@pytest.mark.parametrize(("t", "z"), [(10**7, 10**7), (0, 2**31 - 1), (2**40, 2**40)])
def test_slices_that_imagej_cannot_number_are_refused(tmp_path, t, z):
    dots = Dots.new([[1, 1], [2, 2]], t=[0, t], z=[0, z])
    with pytest.raises(UserError, match=rf"in slice {t * (z + 1) + z + 1} of .* up to 2147483647"):
        write_dots(tmp_path / "a.xml", dots, format="cell-counter")
    assert not (tmp_path / "a.xml").exists()


@pytest.mark.parametrize("name", ["cell-counter", "imagej", "celltally", "cellfinder"])
def test_the_last_plane_that_imagej_can_number_is_read_back(tmp_path, name):
    dots = Dots.new([[1, 1]], z=[2**31 - 2])
    assert round_trip(tmp_path, name, dots).z.tolist() == [2**31 - 2]
    (tmp_path / "a.csv").write_text(f"y,x,z\n1,1,{2**31 - 1}\n")
    with pytest.raises(UserError, match=r"row 1 \(line 2\): z is '2147483647', which is too large"):
        read_dots(tmp_path / "a.csv")


def test_unwritten_when_a_format_refuses(tmp_path):
    path = tmp_path / "a.xml"
    write_dots(path, DOTS, format="cell-counter")
    before = path.read_bytes()
    with pytest.raises(UserError, match="planes"):
        write_dots(path, Dots.new([[1, 1]], t=1, z=3), format="cell-counter", planes=2)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
