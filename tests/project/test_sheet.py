"""The sheet of a study, as CSV and as an Excel file."""

from __future__ import annotations

import csv
import io
import math

import openpyxl
import pandas as pd
import pytest

from celltally.errors import UserError
from celltally.progress import drain
from celltally.project.history import LogEntry, history
from celltally.project.images import register, set_columns
from celltally.project.remembering import iter_refresh
from celltally.project.sheet import columns, csv_text, records, write_csv, write_excel
from celltally.project.study import rows
from celltally.project.study_groups import groups
from celltally.project.study_lock import Lock, lock
from celltally.types import Dots


@pytest.fixture
def study(store, count_image, put, rectangle, tmp_path):
    """An image with everything, one that was not counted, and a region."""
    path = tmp_path / "=HYPERLINK(1).tif"
    path.write_bytes(b"pixels")
    full = register(store, name=path.name, path=path, shape=(100, 120), pixel_size_um=(0.5, 0.5))
    register(store, name="none.tif", shape=(100, 120))
    set_columns(store, {full: {"well": "A01", "condition": "+drug", "count": "7", "dose": "5"}})
    count_image(full, channel="red")
    dots = Dots.new([(5, 5), (6, 60)], state="added", label=["live", "@dead"])
    put(full, dots, rectangle(-1, -1, 101, 121, kind="reviewed"), author="-Grace")
    put(
        full,
        None,
        rectangle(-0.5, -0.5, 49.5, 59.5, kind="count", name="north", stated=2.0),
        author="-Grace",
    )
    lock(store, Lock("tiny", "b" * 64))
    drain(iter_refresh(store))
    return rows(store)


def test_every_row_has_every_column(study):
    found = list(csv.DictReader(io.StringIO(csv_text(study))))
    assert tuple(found[0]) == columns(study)
    # The image: all classes, then each; its region has one class; then the image not counted.
    assert [(r["image"], r["region"], r["class"]) for r in found] == [
        ("'=HYPERLINK(1).tif", "", "all"),
        ("'=HYPERLINK(1).tif", "", "'@dead"),
        ("'=HYPERLINK(1).tif", "", "live"),
        ("'=HYPERLINK(1).tif", "north", "live"),
        ("none.tif", "", "all"),
    ]
    whole, _, live, north, none = found
    expected = {
        "well": "A01", "condition": "'+drug", "dose": "5", "plate_map_count": "7",
        "t": "0", "z_method": "plane", "count": "2", "ci_low": "2", "ci_high": "2",
        "level": "0.95", "interval_kind": "exact", "density_count": "120", "n_dots": "2",
        "added": "2", "removed": "0", "model": "tiny", "model_sha256": "a" * 64,
        "calibration_sha256": "c" * 64, "channel": "red", "diameter_px": "12",
        "threshold": "0.5", "reviewed_share": "1", "area_px": "12000", "area_mm2": "0.003",
        "cells_per_mm2": "666.6666667", "in_tissue": "false", "stale": "false",
        "flags": "counted with another model (tiny, aaaaaaaa)", "last_edit_by": "'-Grace",
    }  # fmt: skip
    assert {name: whole[name] for name in expected} == expected
    assert len(whole["file_sha256"]) == 64
    assert whole["counted"] < whole["last_edit"]
    assert (live["count"], live["ci_low"], live["n_dots"], live["added"]) == ("1", "1", "1", "")
    assert (north["count"], north["stated"]) == ("1", "2")
    assert (none["count"], none["model"], none["n_dots"]) == ("", "", "0")
    assert none["interval_reason"] == "it was not counted"


def test_pandas_reads_numbers_as_numbers(study, tmp_path):
    path = tmp_path / "out.csv"
    write_csv(path, study)
    table = pd.read_csv(path)
    assert table["count"].dtype == table["area_mm2"].dtype == float
    assert table["in_tissue"].dtype == bool


def test_records_are_numbers_or_nothing(study):
    found = records(study)
    assert found[0]["count"] == 2.0
    assert found[-1]["count"] is None
    assert found[0]["region"] is None
    values = [value for record in found for value in record.values()]
    assert not any(isinstance(v, float) and math.isnan(v) for v in values)


def test_excel_has_numbers_and_no_formulas(study, store, tmp_path):
    path = tmp_path / "out.xlsx"
    log = [*history(store), LogEntry(99, "now", "=cmd", None, "", "edit", "a\x07b", 1)]
    write_excel(path, study, groups=groups(study), methods="=1+1\nTwo.", log=log)
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["counts", "groups", "regions", "methods", "log"]
    sheets = {sheet.title: list(sheet.iter_rows()) for sheet in book}
    assert all(sheet.freeze_panes == "A2" for sheet in book)
    assert not any(
        cell.data_type == "f" for cells in sheets.values() for row in cells for cell in row
    )
    head = [cell.value for cell in sheets["counts"][0]]
    assert "region" not in head
    first = dict(zip(head, sheets["counts"][1], strict=True))
    assert (first["image"].value, first["image"].quotePrefix) == ("=HYPERLINK(1).tif", True)
    assert (first["count"].value, first["count"].data_type) == (2, "n")
    assert first["well"].quotePrefix is False
    assert len(sheets["counts"]) == 1 + 4
    regions = [cell.value for cell in sheets["regions"][0]]
    assert [row[regions.index("region")].value for row in sheets["regions"][1:]] == ["north"]
    assert [row[0].value for row in sheets["methods"]] == ["methods", "=1+1", "Two."]
    told = [[cell.value for cell in row] for row in sheets["log"]]
    assert told[-1][:5] == [99, "now", "=cmd", None, "a�b"]
    by_group = [[cell.value for cell in row] for row in sheets["groups"]]
    assert by_group[0][:6] == ["group", "columns", "t", "n", "unit", "mean"]
    assert by_group[2][:6] == ["+drug", "condition", None, 1, "well", 2]
    assert book["counts"].column_dimensions["A"].width > 10


def test_a_place_that_cannot_be_written_is_a_sentence(study, tmp_path):
    for write in (write_csv, write_excel):
        with pytest.raises(UserError, match="cannot be written"):
            write(tmp_path / "none" / "out", study)


def test_an_empty_study_has_a_header(tmp_path):
    assert csv_text([]).startswith("image,path,scene,")
    write_excel(tmp_path / "out.xlsx", [])
