"""Plate maps and file name patterns: what they tell of which image, and what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celltally.errors import UserError
from celltally.project.history import history
from celltally.project.images import all_images, register, set_columns
from celltally.project.plate_map import (
    apply,
    from_names,
    from_plate_map,
    pattern_of,
    read_plate_map,
    well_name,
)


@pytest.fixture
def images(store, tmp_path):
    """Three images: two of one well, one of another; by name."""
    names = ("P1_A01_s1.tif", "P1_A01_s2.tif", "P1_B02_s1.tif")
    return {name: register(store, name=name) for name in names}


@pytest.fixture
def plate_map(tmp_path):
    def write(text: str):
        path = tmp_path / "map.csv"
        path.write_text(text, encoding="utf-8")
        return read_plate_map(path)

    return write


def column(store, name: str) -> dict[str, str]:
    found = all_images(store)
    return {e.name: getattr(e, name, None) or e.further.get(name, "") for e in found}


@pytest.mark.parametrize(
    ("text", "well"),
    [("A1", "A01"), ("a01", "A01"), (" h 12 ", "H12"), ("AF48", "AF48"), ("well 3", "well 3")],
)
def test_wells_have_one_name(text, well):
    assert well_name(text) == well


# ---- by image ----


def test_images_are_found_by_name_stem_or_path(store, images, plate_map):
    read = plate_map(
        "image,condition,Replicate,Cell line\n"
        "P1_A01_s1.tif,drug,1,HeLa\n"
        "p1_a01_s2,drug,2,HeLa\n"
        "C:\\data\\P1_B02_s1.TIF,none,1,\n"
    )
    preview = from_plate_map(store, read)
    assert preview.columns == ("condition", "replicate", "cell_line")
    assert (preview.changed, preview.without, preview.unmatched) == (3, (), ())
    assert apply(store, preview) == 3
    assert column(store, "condition") == dict(zip(images, ("drug", "drug", "none"), strict=True))
    assert column(store, "cell_line")["P1_B02_s1.tif"] == ""


def test_a_folder_tells_files_of_one_name_apart(store, tmp_path, plate_map):
    for plate in ("plate_1", "plate_2"):
        (tmp_path / plate).mkdir()
        (tmp_path / plate / "a.tif").write_bytes(plate.encode())
        register(store, name="a.tif", path=tmp_path / plate / "a.tif")
    preview = from_plate_map(
        store, plate_map("image,condition\nplate_1/a.tif,drug\nPlate_2\\A,none\nlate_1/a.tif,x\n")
    )
    told = {one.entry.path.parent.name: dict(one.values) for one in preview.assignments}
    assert told == {"plate_1": {"condition": "drug"}, "plate_2": {"condition": "none"}}
    assert preview.unmatched == ("late_1/a.tif (line 4)",)
    assert preview.several == ()
    preview = from_plate_map(store, plate_map("image,condition\na.tif,drug\n"))
    assert preview.changed == 2
    assert preview.sentences[-1] == (
        "All images of a name are set; give its folder where one is meant: "
        "a.tif (line 2) fits 2 images."
    )


def test_nothing_is_set_before_it_is_applied_and_then_it_is_logged(store, images, plate_map):
    set_columns(store, {images["P1_A01_s1.tif"]: {"condition": "old"}})
    preview = from_plate_map(store, plate_map("file,condition\nP1_A01_s1.tif,new\n"))
    assert column(store, "condition")["P1_A01_s1.tif"] == "old"
    assert history(store) == []
    assert apply(store, preview, author="Grace") == 1
    (entry,) = history(store)
    assert (entry.author, entry.action, entry.kind) == ("Grace", "plate map", "system")
    assert entry.detail["source"] == "map.csv"
    assert entry.detail["changed"] == {str(images["P1_A01_s1.tif"]): {"condition": ["old", "new"]}}
    assert apply(store, from_plate_map(store, plate_map("file,condition\nP1_A01_s1,new\n"))) == 0
    assert len(history(store)) == 1


def test_nothing_is_set_that_the_log_does_not_tell(store, images, plate_map, monkeypatch):
    def fail(*_, **__):
        raise UserError("the disk is full")

    monkeypatch.setattr("celltally.project.plate_map.record", fail)
    preview = from_plate_map(store, plate_map("image,condition\nP1_A01_s1.tif,drug\n"))
    with pytest.raises(UserError, match="full"):
        apply(store, preview)
    assert set(column(store, "condition").values()) == {""}


def test_unknown_images_and_rows_are_named(store, images, plate_map):
    preview = from_plate_map(store, plate_map("image,condition\nP1_A01_s1.tif,x\n\nP9.tif,y\n"))
    assert preview.unmatched == ("P9.tif (line 4)",)
    assert [e.name for e in preview.without] == ["P1_A01_s2.tif", "P1_B02_s1.tif"]
    assert preview.sentences == (
        "map.csv tells condition of 1 image; for 1 of them something changes.",
        "Nothing is known of P1_A01_s2.tif, P1_B02_s1.tif.",
        "No image of the project fits P9.tif (line 4).",
    )


# ---- by well ----


@pytest.fixture
def with_wells(store, images):
    apply(store, from_names(store, "{plate}_{well}_s{site}.tif"))


@pytest.mark.usefixtures("with_wells")
def test_images_are_found_by_well(store, plate_map):
    preview = from_plate_map(store, plate_map("Well;Treatment;dose\nA1;drug;5,0\nb2;none;0\n"))
    assert preview.columns == ("condition", "dose")
    apply(store, preview)
    assert list(column(store, "condition").values()) == ["drug", "drug", "none"]
    assert list(column(store, "dose").values()) == ["5,0", "5,0", "0"]


@pytest.mark.usefixtures("with_wells")
def test_plate_and_site_narrow_a_well_down(store, plate_map):
    preview = from_plate_map(
        store, plate_map("plate,well,site,condition\np1,A01,02,drug\nP2,B02,1,none\n")
    )
    assert [one.entry.name for one in preview.assignments] == ["P1_A01_s2.tif"]
    assert preview.unmatched == ("P2 B02 1 (line 3)",)


@pytest.mark.usefixtures("with_wells")
def test_rows_that_contradict_each_other_are_refused(store, plate_map):
    with pytest.raises(UserError, match=r"'drug' in line 2 and 'none' in line 3"):
        from_plate_map(store, plate_map("well,condition\nA01,drug\nA1,none\n"))


# ---- files that cannot be used ----


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "is empty"),
        ("image,condition\n", "has no rows"),
        ("name,condition\na,b\n", "neither a column 'image' nor one 'well'; its columns are name"),
        ("image,x,X\na,1,2\n", "the column 'x' twice"),
        ("image,condition\na.tif,drug,5\n", "line 2, has 3 values for 2 columns"),
        ('image,condition\n"a.tif,drug\n' + "x" * 200_000, "no CSV table"),
    ],
)
def test_a_plate_map_that_cannot_be_used_is_refused_in_a_sentence(plate_map, text, word):
    with pytest.raises(UserError, match=word):
        plate_map(text)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        read_plate_map(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        read_plate_map(tmp_path / "none.csv")
    excel, latin = tmp_path / "a.xlsx", tmp_path / "b.csv"
    excel.write_bytes(b"PK\x03\x04")
    latin.write_bytes("image,Größe\n".encode("latin-1"))
    with pytest.raises(UserError, match="save it as CSV"):
        read_plate_map(excel)
    with pytest.raises(UserError, match="UTF-8"):
        read_plate_map(latin)


@given(content=st.binary(max_size=300))
def test_any_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("maps") / "map.csv"
    path.write_bytes(b"image,a\n" + content)
    try:
        read = read_plate_map(path)
    except UserError as error:
        refused = str(error)
    else:
        assert len(read.rows) == len(read.lines) > 0
        refused = "not"
    assert "\n" not in refused


# ---- file names ----


def test_a_pattern_reads_names_whatever_their_suffix(store, images):
    register(store, name="notes.tif")
    preview = from_names(store, "{plate}_{well}_s{site}")
    assert preview.changed == 3
    assert [e.name for e in preview.without] == ["notes.tif"]
    apply(store, preview)
    assert list(column(store, "well").values()) == ["A01", "A01", "B02", ""]
    assert list(column(store, "site").values()) == ["1", "2", "1", ""]


def test_a_pattern_may_be_a_regular_expression(store, images):
    preview = from_names(store, r"_(?P<Well>[A-H]\d\d)_s(?P<field>\d)")
    assert preview.columns == ("well", "site")
    assert preview.assignments[2].values == {"well": "B02", "site": "1"}


def test_a_star_stands_for_any_text(store):
    register(store, name="2024-01-01 run7 (B3) final.tif")
    (one,) = from_names(store, "* ({well}) *.tif").assignments
    assert one.values == {"well": "B03"}


def test_a_pattern_is_not_tried_on_names_that_no_file_has(store):
    longest = "A01_" + "a" * 247 + ".tif"
    register(store, name=longest)
    register(store, name="a" + longest)
    preview = from_names(store, "{well}_*.tif")
    assert [one.entry.name for one in preview.assignments] == [longest]


def test_an_expression_that_tries_again_is_not_tried_on_very_long_names(store):
    register(store, name="a" * 100_000 + "!")
    assert len(from_names(store, "(?P<x>(a+)+)$").without) == 1  # would never end


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("plate.tif", "names no column"),
        ("{well}_{Well}.tif", "'well' twice"),
        ("{field}_{site}.tif", "'site' twice"),
        ("{}.tif", "letters, digits"),
        ("{a b!}.tif", "letters, digits"),
        ("(?P<well>[A-", "no regular expression"),
        ("(?P<site>a)(?P<field>b)", "a column twice"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern, word):
    with pytest.raises(UserError, match=word):
        pattern_of(pattern)
