"""Bad files of every format: one sentence that names the file and the place, and no traceback."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile

import numpy as np
import pytest
import roifile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celltally.errors import UserError
from celltally.io import DOT_FORMATS, read_dots, read_regions, write_dots, write_regions
from celltally.types import Dots, Region

NAMES = [known.name for known in DOT_FORMATS]
DOTS = Dots.new(
    [[1.5, 2.5], [3, 4], [5, 6]],
    id=["a" * 32, "b" * 32, "c" * 32],
    z=[0, 1, 1],
    label=["cell", "dead", "cell"],
    score=[0.5, np.nan, 0.25],
)
#: As few examples as still find what there is to find: the same ones in every run.
quick = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def written(name, dots=DOTS):
    return next(f for f in DOT_FORMATS if f.name == name).write(dots)


def told(path, name=None):
    """The sentence that reading a file ends with; dots where it can be read."""
    try:
        return read_dots(path, format=name)
    except UserError as error:
        sentence = str(error)
        assert str(path) in sentence
        assert "\n" not in sentence
        assert len(sentence) < 600
        return sentence


def refused(path, content, match, name=None):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=match) as error:
        read_dots(path, format=name)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


# ---- any bytes ----


@pytest.mark.parametrize("name", NAMES)
@quick
@given(content=st.binary(max_size=300))
def test_any_bytes(tmp_path, name, content):
    path = tmp_path / "any"
    path.write_bytes(content)
    told(path, name)
    told(path)


@pytest.mark.parametrize("name", NAMES)
@quick
@given(data=st.data())
def test_a_file_with_some_bytes_changed(tmp_path, name, data):
    content = bytearray(written(name))
    places = st.integers(0, len(content) - 1)
    for place, value in data.draw(
        st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)
    ):
        content[place] = value
    path = tmp_path / "changed"
    path.write_bytes(bytes(content))
    found = told(path, name)
    if not isinstance(found, str):
        assert np.isfinite(found.yx).all()
        assert (np.abs(found.yx) <= 1e9 + 1).all()


@pytest.mark.parametrize("name", NAMES)
@quick
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_breaks_off(tmp_path, name, share):
    content = written(name)
    path = tmp_path / "short"
    path.write_bytes(content[: int(len(content) * share)])
    found = told(path, name)
    if not isinstance(found, str):  # a table may end after any of its rows
        assert len(found) <= 3


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_file(tmp_path, name):
    path = tmp_path / "empty"
    path.touch()
    assert told(path, name) == f"{path} is empty (0 bytes); copy or export it again"


@pytest.mark.parametrize("name", NAMES)
def test_a_picture(tmp_path, name):
    content = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
    (tmp_path / "a.bin").write_bytes(content)
    assert isinstance(told(tmp_path / "a.bin", name), str)


# ---- round trips of anything ----

text = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda t: t == " ".join(t.split())
)
numbers = st.floats(-1e6, 1e6)
rows = st.tuples(
    numbers,
    numbers,
    st.integers(0, 3),
    st.integers(0, 9),
    text,
    st.one_of(st.just(np.nan), st.floats(0, 1, width=32)),
    st.sampled_from(["proposed", "confirmed", "added", "moved", "removed"]),
    text,
)


def dots_of(found):
    y, x, t, z, label, score, state, source = zip(*found, strict=True) if found else [()] * 8
    return Dots.new(
        np.array([y, x], float).T.reshape(-1, 2),
        t=np.array(t, int),
        z=np.array(z, int),
        label=np.array(label, str),
        score=np.array(score, np.float32),
        state=np.array(state, str),
        source=np.array(source, str),
    )


@pytest.mark.parametrize("name", ["celltally", "napari", "qupath"])
@quick
@given(found=st.lists(rows, max_size=6))
def test_formats_that_hold_all_give_all_back(tmp_path, name, found):
    dots = dots_of(found)
    path = tmp_path / "a"
    write_dots(path, dots, format=name)
    if name == "qupath":
        dots = dots[dots.state != "removed"]
    got = read_dots(path, format=name)
    for column in ("id", "t", "z", "label", "score", "state", "source"):
        equal_nan = column == "score"
        assert np.array_equal(getattr(got, column), getattr(dots, column), equal_nan=equal_nan)
    if name == "qupath":  # half a pixel is added and taken off again
        np.testing.assert_allclose(got.yx, dots.yx, rtol=0, atol=1e-9)
    else:
        assert np.array_equal(got.yx, dots.yx)


@pytest.mark.parametrize(
    "name", ["qupath-points", "imagej", "cell-counter", "cellfinder", "cellfinder-yaml"]
)
@quick
@given(found=st.lists(rows, max_size=6))
def test_formats_that_hold_less_give_back_what_they_hold(tmp_path, name, found):
    dots = dots_of([(y, x, 0, z, *rest) for y, x, _, z, *rest in found])
    path = tmp_path / "a"
    write_dots(path, dots, format=name)
    got = read_dots(path, format=name)
    dots = dots[dots.state != "removed"]

    def listed(some, exact):
        yx = some.yx if exact else np.rint(some.yx)
        labels = [""] * len(some) if "finder" in name else some.label.tolist()
        return sorted(zip(labels, some.z.tolist(), yx.tolist(), strict=True))

    exact = name in ("qupath-points", "imagej")
    ours, theirs = listed(dots, exact), listed(got, exact)
    assert [(label, z) for label, z, _ in theirs] == [(label, z) for label, z, _ in ours]
    for (*_, ours_yx), (*_, their_yx) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(their_yx, ours_yx, rtol=0, atol=0.07 if exact else 0)


# ---- numbers that are nowhere ----


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "1e400", "1e12", "abc", "", "1_0"])
@pytest.mark.parametrize(
    ("name", "template", "where"),
    [
        ("celltally", "y,x\n1,2\n{},3\n", "row 2 (line 3)"),
        ("napari", "index,axis-0,axis-1\n0,1,{}\n", "row 1 (line 2)"),
        ("spotiflow", "y,x,probability\n{},2,0.5\n", "row 1 (line 2)"),
        ("qupath-points", "x\ty\tclass\t\n{}\t2\tcell\t\n", "row 1 (line 2)"),
        (
            "cell-counter",
            "<CellCounter_Marker_File><Marker_Data><Marker_Type><Type>2</Type><Marker><MarkerX>{}"
            "</MarkerX><MarkerY>1</MarkerY><MarkerZ>1</MarkerZ></Marker></Marker_Type>"
            "</Marker_Data></CellCounter_Marker_File>",
            "marker 1 of type 2",
        ),
        (
            "cellfinder-yaml",
            "CellCounter_Marker_File: true\ncandidate_cells:\n- {{x: 1, y: '{}', z: 1, type: 2}}\n",
            "cell 1",
        ),
        (
            "qupath",
            '[{{"type": "Feature", "geometry": {{"type": "Point", "coordinates": [1, "{}"]}}}}]',
            "feature 1",
        ),
    ],
)
def test_numbers_that_are_nowhere(tmp_path, name, template, where, value):
    path = tmp_path / "a"
    path.write_text(template.format(value))
    sentence = told(path, name)
    assert where in sentence
    assert sentence.endswith("correct it")


MARKERS = (
    "<CellCounter_Marker_File><Marker_Data><Marker_Type><Type>2</Type><Marker><MarkerX>1</MarkerX>"
    "<MarkerY>1</MarkerY><MarkerZ>{}</MarkerZ></Marker></Marker_Type></Marker_Data>"
    "</CellCounter_Marker_File>"
)
POINT = '[{{"type": "Feature", "geometry": {{"type": "Point", "coordinates": [1, 2], "plane": {{'


@pytest.mark.parametrize(
    ("name", "template", "told_of"),
    [
        ("celltally", "y,x,z\n1,2,{}\n", "row 1 (line 2): z is -7; planes count from 0"),
        ("celltally", "y,x,t\n1,2,{}\n", "row 1 (line 2): t is -7; time points count from 0"),
        ("napari", "axis-0,axis-1,axis-2\n{},1,2\n", "axis-0 is -7; planes count from 0"),
        ("napari", "axis-0,axis-1,axis-2,axis-3\n{},1,1,2\n", "-7; time points count from 0"),
        ("spotiflow", "z,y,x\n{},1,2\n", "z is -7; planes count from 0"),
        ("qupath-points", "x\ty\tz\t\n1\t2\t{}\t\n", "z is -7; planes count from 0"),
        ("cell-counter", MARKERS, "marker 1 of type 2: MarkerZ is -7; slices count from 1"),
        ("cellfinder", MARKERS, "marker 1 of type 2: MarkerZ is -7; planes count from 0"),
        (
            "cellfinder-yaml",
            "candidate_cells:\n- {{x: 1, y: 2, z: {}, type: 2}}\n",
            "cell 1: z is -7; planes count from 0",
        ),
        ("qupath", POINT + '"z": {}}}}}}}]', "feature 1: z is -7; planes count from 0"),
        ("qupath", POINT + '"t": {}}}}}}}]', "feature 1: t is -7; time points count from 0"),
    ],
)
def test_planes_that_there_are_not(tmp_path, name, template, told_of):
    path = tmp_path / "a"
    path.write_text(template.format(7))
    assert len(read_dots(path, format=name)) == 1
    path.write_text(template.format(-7))
    sentence = told(path, name)
    assert f"{told_of}: correct it" in sentence


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "1e400", "1" + "0" * 400, "true", "null", "[]"]
)
def test_numbers_of_json_that_are_nowhere(tmp_path, value):
    path = tmp_path / "a.geojson"
    path.write_text(
        '[{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, ' + value + "]}}]"
    )
    assert "feature 1: y is" in told(path)


def test_a_number_with_more_digits_than_python_reads(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text("[" + "9" * 10_000 + "]")
    assert "is no readable JSON" in told(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20])
def test_points_of_imagej_that_are_nowhere(tmp_path, value):
    roi = roifile.ImagejRoi.frompoints(np.array([[1.0, 2.0], [3.0, 4.0]]))
    roi.roitype = roifile.ROI_TYPE.POINT
    roi.subpixel_coordinates = np.array([[1.0, 2.0], [3.0, value]], np.float32)
    refused(tmp_path / "a.roi", roi.tobytes(), "point 2 is at x 3.0, y .*no place in an image")


# ---- XML ----

ENTITIES = """<?xml version="1.0"?>
<!DOCTYPE CellCounter_Marker_File [{}]>
<CellCounter_Marker_File><Marker_Data><Marker_Type><Type>1</Type>
<Name>&x;</Name></Marker_Type></Marker_Data></CellCounter_Marker_File>
"""


@pytest.mark.parametrize("suffix", [".xml", ""])
@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY x SYSTEM "file:///etc/hostname">',
        '<!ENTITY x SYSTEM "http://127.0.0.1:9/">',
        '<!ENTITY y "yyyyyyyyyy"><!ENTITY x "&y;&y;&y;&y;&y;&y;&y;&y;&y;&y;">',
        '<!ENTITY % p SYSTEM "file:///etc/hostname"> %p;',
        "",
    ],
)
def test_entities_and_document_types_are_refused(tmp_path, declared, suffix):
    match = "declares a document type or entities"
    name = None if suffix else "cellfinder"
    refused(tmp_path / f"a{suffix}", ENTITIES.format(declared), match, name)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("<html></html>", "root is 'html', without 'Marker_Data'"),
        ("<CellCounter_Marker_File/>", "without 'Marker_Data'"),
        ("<CellCounter_Marker_File><Marker_Data>", r"no readable XML at line 1, column \d+"),
        ('<?xml version="1.0" encoding="nonsense"?><a/>', "no readable XML"),
        ('<?xml version="1.0" encoding="ascii"?><a>\xe9</a>', "no readable XML"),
        (b"\xff\xfe<\0a\0", "no readable XML"),
    ],
)
def test_broken_xml(tmp_path, content, match):
    refused(tmp_path / "a.xml", content, match)


# ---- YAML ----


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("CellCounter_Marker_File: true\n", "no list 'candidate_cells'"),
        ("candidate_cells: 5\n", "no list 'candidate_cells'"),
        ("candidate_cells: [5]\n", "cell 1 is '5', not x, y, z and type"),
        ("candidate_cells: [{x: 1, y: 2, z: 3, type: 9}]\n", "its type is 9"),
        ("candidate_cells: [{x: 1}]\n", "cell 1: y is None"),
        ("candidate_cells: [\n", "no readable YAML at line 2"),
        ("candidate_cells: &a [*a]\n", "line 1 refers to another place"),
        ("candidate_cells: !!python/object/apply:os.system ['true']\n", "cell 1 is 'true'"),
        ("[" * 100_000, "nested more than 16 deep"),
        (b"\xff\xff", "not text in UTF-8"),
        ("a: \x01", "no readable YAML"),
    ],
)
def test_broken_yaml(tmp_path, content, match):
    refused(tmp_path / "a.yml", content, match)


def test_much_yaml_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("celltally.io._yaml._MOST_BYTES", 2**20)
    refused(tmp_path / "a.yml", b"#" * (2**20 + 1), "larger than 1 MB")


# ---- JSON ----


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ('{"type": "FeatureCollection", "features": [', "no readable JSON at line 1, column"),
        ('{"type": "FeatureCollection"}', "with a list of features"),
        ('{"type": "FeatureCollection", "features": {}}', "with a list of features"),
        ("5", "with a list of features"),
        ("[5]", "feature 1 is no GeoJSON feature"),
        ("{}", "feature 1 is no GeoJSON feature"),
        ('[{"type": "Feature", "geometry": {"type": "Point"}}]', r"not \[x, y\]"),
        (
            '[{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1]}}]',
            r"not \[x, y\]",
        ),
        ("[" * 200_000, "no readable JSON"),
        (b"\x80", "not text in UTF-8"),
    ],
)
def test_broken_geojson(tmp_path, content, match):
    refused(tmp_path / "a.geojson", content, match)


def test_half_a_character_is_replaced(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(
        json.dumps(
            [
                {
                    "type": "Feature",
                    "geometry": {"type": "Point", "coordinates": [1, 1]},
                    "properties": {"classification": {"name": "a\ud800b"}},
                }
            ]
        )
    )
    dots = read_dots(path)
    write_dots(tmp_path / "a.csv", dots)
    assert read_dots(tmp_path / "a.csv").label.tolist() == ["a?b"]


# ---- zip ----


def zipped(entries, compression=zipfile.ZIP_DEFLATED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, data in entries:
            file.writestr(name, data)
    return content.getvalue()


@pytest.mark.parametrize(
    "name", ["../evil.roi", "/etc/evil.roi", "a/../../evil.roi", "..\\evil.roi", "C:/evil.roi"]
)
def test_entries_that_point_out_of_the_file(tmp_path, name):
    content = zipped([("cell.roi", written("imagej-roi")), (name, written("imagej-roi"))])
    refused(tmp_path / "a.zip", content, "points out of the file")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("celltally.io._zip.MOST_UNPACKED", 2**20)
    content = zipped([("a.roi", b"\0" * (2**20 + 1))])
    assert len(content) < 5000
    refused(tmp_path / "a.zip", content, "unpacks to more than 1 MB")


def test_a_bomb_that_lies_about_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr("celltally.io._zip.MOST_UNPACKED", 2**20)
    size = (2**21).to_bytes(4, "little")
    content = zipped([("a.roi", b"\0" * 2**21)]).replace(size, (100).to_bytes(4, "little"))
    refused(tmp_path / "a.zip", content, "no readable|unpacks to more")


def test_too_many_entries(tmp_path, monkeypatch):
    monkeypatch.setattr("celltally.io._zip.MOST_ENTRIES", 3)
    refused(tmp_path / "a.zip", zipped([(f"{i}.roi", b"") for i in range(4)]), "has 4 entries")


def test_an_encrypted_file(tmp_path):
    content = bytearray(zipped([("a.roi", written("imagej-roi"))], zipfile.ZIP_STORED))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    refused(tmp_path / "a.zip", bytes(content), "is encrypted")


def test_an_entry_that_is_none(tmp_path):
    refused(tmp_path / "a.zip", zipped([("a.roi", b"Iout")]), "entry 'a.roi' is no readable ImageJ")
    refused(tmp_path / "b.zip", b"PK\x03\x04", "no readable zip file")


def test_what_macos_adds_is_passed_over(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(
        zipped([("cell.roi", written("imagej-roi")), ("__MACOSX/._cell.roi", b"\0\5\x16\7")])
    )
    assert len(read_dots(path)) == 3


# ---- selections of ImageJ ----


def test_a_selection_of_more_points_than_it_has(tmp_path):
    content = bytearray(written("imagej-roi"))
    content[16:18] = b"\0\0"
    content[18:22] = b"\x7f\xff\xff\xff"
    refused(tmp_path / "a.roi", bytes(content), "no readable ImageJ selection")
    content[18:22] = b"\xff\xff\xff\xff"
    refused(tmp_path / "a.roi", bytes(content), "no readable ImageJ selection")


# ---- regions ----

polygons = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=6)


@quick
@given(corners=polygons, name=text, stated=st.one_of(st.none(), st.floats(0, 1e6)))
def test_regions_come_back(tmp_path, corners, name, stated):
    region = Region(np.array(corners), "reviewed", name, stated, t=2, z=3)
    write_regions(tmp_path / "a.geojson", [region])
    got = read_regions(tmp_path / "a.geojson")
    if corners[0] == corners[-1] and len(corners) == 3:
        return
    assert [(r.kind, r.name, r.stated, r.id, r.t, r.z) for r in got] == [
        ("reviewed", name, stated, region.id, 2, 3)
    ]
    if corners[0] != corners[-1]:
        np.testing.assert_allclose(got[0].polygon, region.polygon, rtol=0, atol=1e-9)


@quick
@given(data=st.data())
def test_regions_with_some_bytes_changed(tmp_path, data):
    path = tmp_path / "a.geojson"
    write_regions(path, [Region(np.array([[0, 0], [5, 0], [5, 5]]), "exclude", "a", 3)])
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    with contextlib.suppress(UserError):
        read_regions(path)
