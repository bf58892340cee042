"""Dots in files: exact round trips, recognised headers, and rows that are wrong."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.io import DOT_FORMATS, read_dots, write_dots
from celltally.types import Dots

FIELDS = ("yx", "id", "t", "z", "label", "score", "state", "source")


def some_dots(n=200, seed=0):
    rng = np.random.default_rng(seed)
    return Dots.new(
        rng.uniform(-0.5, 5000, (n, 2)) * 10.0 ** rng.integers(-8, 1, (n, 1)),
        t=rng.integers(0, 3, n),
        z=rng.integers(0, 40, n),
        label=rng.choice(["cell", "neutrophil, mature", 'say "T"', "Zelle µ"], n),
        score=np.where(rng.random(n) < 0.2, np.nan, rng.random(n)),
        state=rng.choice(["proposed", "confirmed", "added", "moved", "removed"], n),
        source=rng.choice(["", "Ada", "0f" * 32], n),
    )


def same(a, b, names=FIELDS):
    for name in names:
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype.kind == right.dtype.kind, name
        equal_nan = left.dtype.kind == "f"
        assert np.array_equal(left, right, equal_nan=equal_nan), name


@pytest.mark.parametrize("name", ["celltally", "napari"])
def test_round_trip_is_exact(tmp_path, name):
    dots = some_dots()
    write_dots(tmp_path / "a.csv", dots, format=name)
    same(read_dots(tmp_path / "a.csv"), dots)
    same(read_dots(tmp_path / "a.csv", format=name), dots)


@pytest.mark.parametrize("name", ["celltally", "napari", "spotiflow"])
@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one(tmp_path, name, n):
    dots = Dots.new(np.full((n, 2), 1 / 3))
    write_dots(tmp_path / "a.csv", dots, format=name)
    got = read_dots(tmp_path / "a.csv")
    assert got.yx.shape == (n, 2)
    assert np.array_equal(got.yx, dots.yx)


def test_our_header(tmp_path):
    write_dots(tmp_path / "a.csv", some_dots(2))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert ",".join(next(csv.reader(file))) == "y,x,id,t,z,class,score,state,source"


@pytest.mark.parametrize(
    ("t", "z", "axes"),
    [(0, 0, 2), (0, 3, 3), (2, 3, 4), (2, 0, 4)],
)
def test_napari_axes(tmp_path, t, z, axes):
    write_dots(tmp_path / "a.csv", Dots.new([[1.5, 2.5]], t=t, z=z), format="napari")
    header = (tmp_path / "a.csv").read_text().splitlines()[0].split(",")
    assert header[: 1 + axes] == ["index", *(f"axis-{i}" for i in range(axes))]
    got = read_dots(tmp_path / "a.csv")
    assert (got.yx.tolist(), got.t.tolist(), got.z.tolist()) == ([[1.5, 2.5]], [t], [z])


def test_files_of_other_programs(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("index,axis-0,axis-1,axis-2\n0.0,3.0,10.5,20.25\n1.0,4.0,1e1,2\n")
    got = read_dots(path)
    assert got.yx.tolist() == [[10.5, 20.25], [10, 2]]
    assert got.z.tolist() == [3, 4]
    path.write_text("y,x,intensity,probability\n1.25,2.5,100,0.75\n")
    got = read_dots(path)
    assert (got.yx.tolist(), got.score.tolist()) == ([[1.25, 2.5]], [0.75])
    path.write_text("z,y,x\n3.4,1,2\n")
    assert read_dots(path).z.tolist() == [3]


def test_only_y_and_x_are_needed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfX ; y\r\n2.5;1\r\n\r\n4;3\r\n")
    got = read_dots(path)
    assert got.yx.tolist() == [[1, 2.5], [3, 4]]
    assert len(set(got.id)) == 2
    assert got.label.tolist() == ["cell"] * 2
    assert got.state.tolist() == ["proposed"] * 2
    assert np.isnan(got.score).all()


def test_ids_are_filled_and_unique(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("y,x,id\n1,1,abc\n2,2,\n3,3,abc\n")
    ids = read_dots(path).id.tolist()
    assert ids[0] == "abc"
    assert len(set(ids)) == 3
    assert all(ids)


@pytest.mark.parametrize("name", [known.name for known in DOT_FORMATS])
def test_every_format_recognises_its_own_files(tmp_path, name):
    known = next(f for f in DOT_FORMATS if f.name == name)
    content = known.write(some_dots(3))
    assert [f.name for f in DOT_FORMATS if f.recognises(content)] == [name]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("abc,1", "'abc', which is no number"),
        (",1", "'', which is no number"),
        ("1,nan", "'nan', which is no place"),
        ("inf,1", "'inf', which is no place"),
        ("1,-Infinity", "which is no place"),
        ("1,1e300", "which is no place"),
        ("1", "has 1 of 2 values"),
    ],
)
@pytest.mark.parametrize("header", ["y,x", "axis-0,axis-1"])
def test_wrong_coordinates_name_the_row(tmp_path, header, row, what):
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n1,2\n3,4\n{row}\n5,6\n")
    with pytest.raises(UserError, match=what) as error:
        read_dots(path)
    assert f"{path}, row 3 (line 4)" in str(error.value)


@pytest.mark.parametrize(
    ("header", "row", "what"),
    [
        ("y,x,state", "1,2,maybe", "unknown state 'maybe'; valid: proposed"),
        ("y,x,t,class", "1,2,two,cell", "t is 'two'"),
        ("y,x,score,id", "1,2,inf,a", "score is 'inf', which is too large"),
        ("y,x,z,id", "1,2,1e40,a", "z is '1e40'"),
    ],
)
def test_wrong_columns_name_the_row(tmp_path, header, row, what):
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n{row}\n")
    with pytest.raises(UserError, match=what) as error:
        read_dots(path)
    assert "row 1 (line 2)" in str(error.value)


def test_not_dots(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(UserError, match="does not exist"):
        read_dots(path)
    path.touch()
    with pytest.raises(UserError, match="is empty"):
        read_dots(path)
    path.write_text("image,count\na.tif,5\n")
    with pytest.raises(UserError, match="no column 'y'; its columns are image, count"):
        read_dots(path)
    path.write_text("\n\n")
    with pytest.raises(UserError, match="no column 'y'"):
        read_dots(path)
    path.write_bytes(b"II*\0\xff\xfe\x80")
    with pytest.raises(UserError, match="not text in UTF-8"):
        read_dots(path)
    path.write_text('y,x\n"1,2\n3,4\n')
    with pytest.raises(UserError, match="broken CSV"):
        read_dots(path)
    (tmp_path / "a.txt").write_text("hello\n")
    with pytest.raises(UserError, match=r"in no format of dots.*celltally"):
        read_dots(tmp_path / "a.txt")
    with pytest.raises(UserError, match="is a folder"):
        read_dots(tmp_path)
    with pytest.raises(UserError, match="has no columns axis-0"):
        read_dots(tmp_path / "a.txt", format="napari")


def test_unknown_format(tmp_path):
    with pytest.raises(UserError, match="unknown format of dots 'excel'; valid: napari, celltally"):
        write_dots(tmp_path / "a.csv", some_dots(1), format="excel")
    (tmp_path / "a.csv").write_text("y,x\n")
    with pytest.raises(UserError, match="unknown format of dots 'excel'"):
        read_dots(tmp_path / "a.csv", format="excel")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    write_dots(path, some_dots(5))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"a\.csv cannot be written \(no space left"):
        write_dots(path, some_dots(9, seed=1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_write_into_no_folder(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        write_dots(tmp_path / "no" / "a.csv", some_dots(1))
