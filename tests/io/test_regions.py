"""Regions to QuPath and back: same outlines, same ids, and what each is for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.io import read_dots, read_regions, write_regions
from celltally.types import REGION_KINDS, Region

SQUARE = np.array([[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [10.0, 0.0]])


def area(polygon):
    """Area of what the even–odd rule fills, on a fine grid."""
    grid = np.stack(np.meshgrid(np.arange(-5, 40, 0.25), np.arange(-5, 40, 0.25)), -1) + 0.1
    y, x = grid[..., 0].ravel(), grid[..., 1].ravel()
    inside = np.zeros(len(y), bool)
    for (y0, x0), (y1, x1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside.sum() * 0.25**2


def collection(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def outline(coordinates, shape="Polygon", **properties):
    return {
        "type": "Feature",
        "geometry": {"type": shape, "coordinates": coordinates},
        "properties": properties,
    }


RING = [[0.5, 0.5], [20.5, 0.5], [20.5, 20.5], [0.5, 20.5], [0.5, 0.5]]
HOLE = [[5.5, 5.5], [10.5, 5.5], [10.5, 10.5], [5.5, 10.5], [5.5, 5.5]]


def test_every_kind_comes_back(tmp_path):
    regions = [
        Region(SQUARE + i / 3, kind, f"{kind} µ", None if i % 2 else 3.0 * i, t=i, z=2 * i)
        for i, kind in enumerate(REGION_KINDS)
    ]
    write_regions(tmp_path / "a.geojson", regions)
    got = read_regions(tmp_path / "a.geojson")
    for before, after in zip(regions, got, strict=True):
        np.testing.assert_allclose(after.polygon, before.polygon, rtol=0, atol=1e-12)
        for name in ("kind", "name", "stated", "id", "t", "z"):
            assert getattr(after, name) == getattr(before, name)


def test_as_qupath_has_them(tmp_path):
    path = tmp_path / "a.geojson"
    write_regions(path, [Region(SQUARE, "exclude", "fold", 2.0, id="0123456789abcdef" * 2)])
    (found,) = json.loads(path.read_text())["features"]
    assert found["id"] == "01234567-89ab-cdef-0123-456789abcdef"
    assert found["geometry"]["coordinates"] == [
        [[0.5, 0.5], [10.5, 0.5], [10.5, 10.5], [0.5, 10.5], [0.5, 0.5]]
    ]
    assert found["properties"] == {
        "objectType": "annotation",
        "name": "fold",
        "classification": {"name": "exclude", "color": [255, 90, 79]},
        "measurements": {"stated count": 2.0},
        "metadata": {"kind": "exclude"},
    }


def test_an_id_that_is_no_uuid_is_kept(tmp_path):
    write_regions(tmp_path / "a.geojson", [Region(SQUARE, id="mine"), Region(SQUARE, id="mine")])
    first, second = read_regions(tmp_path / "a.geojson")
    assert first.id == "mine"
    assert second.id != "mine"


def test_what_is_no_area_is_left_out(tmp_path):
    write_regions(tmp_path / "a.geojson", [Region(SQUARE[:2]), Region(SQUARE)])
    assert len(read_regions(tmp_path / "a.geojson")) == 1
    write_regions(tmp_path / "a.geojson", [])
    assert read_regions(tmp_path / "a.geojson") == []


def test_our_earlier_files_count_from_the_centre_of_the_pixel(tmp_path):
    path = collection(
        tmp_path / "a.geojson",
        outline([[[0, 0], [10, 0], [10, 10], [0, 0]]], kind="reviewed", name="a", stated=4),
    )
    (region,) = read_regions(path)
    assert (region.kind, region.name, region.stated) == ("reviewed", "a", 4)
    assert region.polygon.tolist() == [[0, 0], [0, 10], [10, 10]]


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({}, "count"),
        ({"classification": {"name": "Tumor"}}, "count"),
        ({"classification": {"name": "Ignore*"}}, "exclude"),
        ({"classification": {"name": "tissue"}}, "tissue"),
        ({"classification": {"name": "audit"}, "metadata": {"kind": "reviewed"}}, "audit"),
        ({"metadata": {"kind": "reviewed"}}, "reviewed"),
    ],
)
def test_kinds_of_annotations_of_qupath(tmp_path, properties, kind):
    path = collection(
        tmp_path / "a.geojson", outline([RING], objectType="annotation", **properties)
    )
    assert [r.kind for r in read_regions(path)] == [kind]


def test_holes_and_parts(tmp_path):
    far = [[[x + 25, y] for x, y in HOLE]]
    path = collection(
        tmp_path / "a.geojson",
        outline([RING, HOLE], objectType="annotation"),
        outline([[RING, HOLE], far], "MultiPolygon", objectType="annotation"),
    )
    holed, parted = read_regions(path)
    assert area(holed.polygon) == pytest.approx(400 - 25, abs=4)
    assert area(parted.polygon) == pytest.approx(400 - 25 + 25, abs=4)


def test_detections_are_no_regions(tmp_path):
    path = collection(
        tmp_path / "a.geojson",
        *(outline([RING], objectType=kind) for kind in ("cell", "detection", "tile")),
        outline([RING], objectType="annotation"),
    )
    assert len(read_regions(path)) == 1


def test_a_mixed_file_is_read_by_both(tmp_path):
    path = collection(
        tmp_path / "a.geojson",
        outline([RING], objectType="annotation"),
        outline([3.5, 4.5], "Point", objectType="annotation"),
        outline([[0, 0], [1, 1]], "LineString", objectType="annotation"),
    )
    assert len(read_regions(path)) == 1
    assert read_dots(path).yx.tolist() == [[4, 3]]


@pytest.mark.parametrize(
    ("coordinates", "what"),
    [
        ([[[0, 0], [1, "x"], [2, 2]]], "feature 1: y is 'x'"),
        ([[[0, 0], [1], [2, 2]]], r"not \[x, y\]"),
        ([5], "no list of rings"),
        (None, "no list of rings"),
        ([[[0, 0], [1e300, 1], [2, 2]]], "no place in an image"),
    ],
)
def test_outlines_that_are_none(tmp_path, coordinates, what):
    path = collection(tmp_path / "a.geojson", outline(coordinates))
    with pytest.raises(UserError, match=what):
        read_regions(path)
