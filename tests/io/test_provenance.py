"""What stands beside dots says how they came about, and never anything that is past."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from celltally.errors import UserError
from celltally.io import Provenance, read_dots, read_provenance, write_dots
from celltally.types import Dots

KNOWN = Provenance(
    image="field 1 µ.tif",
    image_sha256="cd" * 32,
    pixel_size_um=(0.5, 0.25),
    model="general",
    model_sha256="ab" * 32,
    diameter_px=17.5,
    threshold=0.25,
    count=123.4,
    ci_low=110.0,
    ci_high=140.0,
    level=0.95,
    interval_kind="calibrated",
    author="Ada",
    when="2026-05-04T03:02:01+00:00",
)
DOTS = Dots.new([[1, 2]])


@pytest.mark.parametrize("name", ["celltally", "napari", "spotiflow"])
def test_it_comes_back(tmp_path, name):
    path = tmp_path / "dots.csv"
    write_dots(path, DOTS, format=name, provenance=KNOWN)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dots.csv", "dots.csv.json"]
    assert read_provenance(path) == KNOWN
    assert len(read_dots(path)) == 1


def test_what_is_not_known_stays_so(tmp_path):
    path = tmp_path / "dots.csv"
    write_dots(path, DOTS, provenance=Provenance(count=float("nan")))
    assert read_provenance(path) == Provenance()
    assert read_provenance(tmp_path / "other.csv") is None


def test_other_programs_get_no_file_beside(tmp_path):
    write_dots(tmp_path / "a.geojson", DOTS, format="qupath", provenance=KNOWN)
    write_dots(tmp_path / "a.xml", DOTS, format="cell-counter", provenance=KNOWN)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.geojson", "a.xml"]
    text = (tmp_path / "a.xml").read_text(encoding="utf-8")
    assert "<Image_Filename>field 1 µ.tif<" in text
    assert "<X_Calibration>0.25<" in text


def test_a_past_one_does_not_stay(tmp_path):
    path = tmp_path / "dots.csv"
    write_dots(path, DOTS, provenance=KNOWN)
    write_dots(path, DOTS, provenance=replace(KNOWN, author="Bob"))
    assert read_provenance(path).author == "Bob"
    write_dots(path, DOTS)
    assert list(tmp_path.iterdir()) == [path]


def test_a_stranger_in_its_place_is_left_alone(tmp_path):
    path, beside = tmp_path / "dots.csv", tmp_path / "dots.csv.json"
    beside.write_text('{"mine": 1}')
    with pytest.raises(UserError, match=r"dots\.csv\.json is no provenance of ours"):
        write_dots(path, DOTS, provenance=KNOWN)
    assert not path.exists()
    write_dots(path, DOTS)
    assert beside.read_text() == '{"mine": 1}'
    assert read_provenance(path) is None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"format": 2}, "is of format '2', which this program does not know"),
        ({"count": "many"}, "count is 'many', which is no number"),
        ({"pixel_size_um": [1]}, r"pixel_size_um is '\[1\]'"),
        ({"pixel_size_um": [1, "x"]}, "pixel_size_um is 'x'"),
        ({"image": 5}, "image is '5'"),
    ],
)
def test_wrong_values(tmp_path, change, what):
    path = tmp_path / "dots.csv"
    write_dots(path, DOTS, provenance=KNOWN)
    beside = tmp_path / "dots.csv.json"
    beside.write_text(json.dumps(json.loads(beside.read_text()) | change))
    with pytest.raises(UserError, match=what):
        read_provenance(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_none(tmp_path, content):
    path = tmp_path / "dots.csv"
    write_dots(path, DOTS)
    (tmp_path / "dots.csv.json").write_bytes(content)
    assert read_provenance(path) is None
