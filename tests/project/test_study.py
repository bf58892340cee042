"""The table of a study: rows, flags, lock and groups."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from scipy import stats

from celltally.errors import UserError
from celltally.progress import drain
from celltally.project import schema
from celltally.project.figures import Figures, level_of
from celltally.project.history import history
from celltally.project.images import ImageEntry, register, set_columns
from celltally.project.remembering import iter_refresh
from celltally.project.store import inserted, now
from celltally.project.study import StudyRow, missing_files, rows
from celltally.project.study_groups import groups
from celltally.project.study_lock import Lock, lock, locked, suggested_lock, unlock
from celltally.types import Dots

#: Of images.
NUMBERS = itertools.count(1000)
LOCK = Lock("tiny", "a" * 64, diameter_px=12.0)


def the_row(store, **options):
    (row,) = rows(store, **options)
    return row


# ---- rows ----


def test_a_row_has_what_is_known(store, image_id, count_image, put):
    count_image(image_id)
    set_columns(store, {image_id: {"well": "A01", "condition": "drug", "dose": "5"}})
    put(image_id, Dots.new([(5, 5)], state="added"), author="Grace")
    drain(iter_refresh(store))
    row = the_row(store)
    assert not row.stale
    assert row.label == "cells.tif"
    assert [row.column(name) for name in ("well", "condition", "dose", "lot")] == [
        *("A01", "drug", "5", "")
    ]
    assert (row.figures.count, row.figures.n_dots, row.value("n_dots")) == (120, 1, 1)
    assert row.counted.model == "tiny"
    assert (row.last_edit.by, row.flags) == ("Grace", ())
    assert math.isnan(row.cells_per_mm2)


def test_opening_does_not_wait_for_figures(store, image_id, count_image, put, monkeypatch):
    count_image(image_id)
    put(image_id, Dots.new([(5, 5), (9, 9)], state=np.array(["added", "removed"])))
    monkeypatch.setattr("celltally.project.remembering.work_out", None)
    row = the_row(store)
    assert row.stale
    assert (row.figures.count, row.figures.n_dots) == (120, 1)
    assert (row.figures.states["added"], row.figures.states["removed"]) == (1, 1)


def test_stale_figures_are_shown_as_they_were(store, image_id, count_image, put, rectangle):
    count_image(image_id)
    drain(iter_refresh(store))
    put(image_id, None, rectangle(-1, -1, 101, 121, kind="reviewed"))
    row = the_row(store)
    assert (row.stale, row.figures.count) == (True, 120)
    fresh = {image_id: (replace(row.figures, count=0.0),)}
    row = the_row(store, fresh=fresh)
    assert (row.stale, row.figures.count) == (False, 0)


def test_an_image_that_was_not_counted_says_so(store, image_id, put, rectangle):
    assert the_row(store).flags == ("not counted",)
    put(image_id, None, rectangle(-1, -1, 101, 121, kind="reviewed"))
    drain(iter_refresh(store))
    assert the_row(store).flags == ()  # a person counted it


def test_a_missing_file_is_flagged(store, tmp_path):
    path = tmp_path / "gone.tif"
    path.write_bytes(b"pixels")
    number = register(store, name=path.name, path=path)
    assert not the_row(store).missing
    path.unlink()
    row = the_row(store)
    assert row.missing
    assert row.flags == ("not counted", "file is missing")
    assert missing_files([row.entry]) == {number}
    assert not the_row(store, missing=()).missing


def test_regions_follow_their_image(store, image_id, count_image, put, rectangle):
    count_image(image_id, t=2)
    put(image_id, None, rectangle(0, 0, 9, 9, name="north", t=2))
    drain(iter_refresh(store))
    image, region = rows(store)
    assert (image.label, image.is_region) == ("cells.tif · t 2", False)
    assert (region.label, region.is_region) == ("cells.tif · t 2 · north", True)


def test_the_number_of_queries_is_the_same_for_any_number_of_images(store, count_image):
    said: list[str] = []
    sa.event.listen(store._engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    numbers = []
    for n in (2, 12):
        for i in range(n):
            count_image(register(store, name=f"{n}-{i}.tif"))
        for refresh in (False, True):
            if refresh:
                drain(iter_refresh(store))
            said.clear()
            rows(store)
            numbers.append(len([text for text in said if text.startswith("SELECT")]))
    assert numbers[0] == numbers[2]
    assert numbers[1] == numbers[3]
    assert max(numbers) < 12


def test_many_dots_are_not_read_one_by_one(store, count_image):
    with store.write() as connection:
        source = inserted(connection, schema.sources.insert().values(name="m"))
    for i in range(20):
        number = register(store, name=f"{i}.tif", shape=(100, 120))
        count_image(number)
        with store.write() as connection:
            values = {"image_id": number, "t": 0, "z": 0, "class": "cell", "score": 1.0}
            values |= {"state": "proposed", "source_id": source}
            many = [values | {"id": f"{k:032x}", "y": 1.0, "x": 1.0} for k in range(5_000)]
            connection.execute(schema.dots.insert(), many)
    start = time.perf_counter()
    study = rows(store)
    seconds = time.perf_counter() - start
    assert [row.figures.n_dots for row in study] == [5_000] * 20
    assert seconds < 1.0  # 0.02 s on a free machine; row by row it is several


# ---- the lock ----


def test_a_lock_says_who_and_when_and_is_logged(store, image_id):
    assert locked(store) is None
    before = now()
    made = lock(store, replace(LOCK, level=0.9), author="Grace")
    assert locked(store) == made
    assert (made.by, level_of(store)) == ("Grace", 0.9)
    assert before <= made.at <= now()
    assert made.text == "tiny (aaaaaaaa), diameter 12 px, threshold as counted, intervals of 90 %"
    unlock(store)
    assert locked(store) is None
    unlock(store)  # nothing to unlock, nothing to log
    told = [(e.kind, e.action, e.author, e.image_id) for e in history(store)]
    assert told == [
        ("system", "lock study", "Grace", None),
        ("system", "unlock study", "Ada", None),
    ]
    assert history(store)[0].detail["model_sha256"] == "a" * 64


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"level": 1.5}, "level"),
        ({"diameter_px": 0.2}, "0.2 px"),
        ({"diameter_px": math.nan}, "diameter"),
        ({"threshold": math.inf}, "threshold"),
        ({"model_sha256": ""}, "model"),
    ],
)
def test_a_study_is_locked_to_usable_values(store, wrong, word):
    with pytest.raises(UserError, match=word):
        lock(store, replace(LOCK, **wrong))
    assert locked(store) is None
    assert history(store) == []


@pytest.mark.parametrize(
    ("counted", "held", "flags"),
    [
        ({}, {}, ()),
        ({"diameter_px": 12.005}, {}, ()),
        ({"diameter_px": 13.0}, {}, ("other diameter (13 px)",)),
        ({"diameter_px": 13.0}, {"diameter_px": None}, ()),
        ({"model": "big", "sha256": "b" * 64}, {}, ("counted with another model (big)",)),
        ({"sha256": "b" * 64}, {}, ("counted with another model (tiny, bbbbbbbb)",)),
        ({"threshold": 0.7, "default_threshold": 0.5}, {}, ("threshold moved (0.7)",)),
        ({"threshold": 0.7, "default_threshold": 0.5}, {"threshold": 0.7}, ()),
        ({}, {"threshold": 0.7}, ("threshold moved (0.5)",)),
        ({}, {"calibration_sha256": "d" * 64}, ("counted with another calibration",)),
        ({}, {"calibration_sha256": "c" * 64}, ()),
    ],
)
def test_rows_that_were_counted_otherwise_are_marked(
    store, image_id, count_image, counted, held, flags
):
    count_image(image_id, **counted)
    drain(iter_refresh(store))
    assert the_row(store).flags == ()
    lock(store, replace(LOCK, **held))
    assert the_row(store).flags == flags


def test_the_suggested_lock_is_what_most_were_counted_with(store, count_image):
    assert suggested_lock(store) is None
    for i, sha256 in enumerate(("a", "b", "a")):
        count_image(register(store, name=f"{i}.tif"), sha256=sha256 * 64)
    found = suggested_lock(store)
    assert (found.model_sha256, found.diameter_px, found.threshold) == ("a" * 64, 12.0, None)
    count_image(register(store, name="3.tif"), diameter_px=20.0)
    assert suggested_lock(store).diameter_px is None


def test_a_film_is_one_image_of_those_that_suggest_a_lock(store, count_image):
    for i, sha256 in enumerate(("a", "a")):
        count_image(register(store, name=f"{i}.tif"), sha256=sha256 * 64)
    film = register(store, name="film.tif")
    for t in range(3):
        count_image(film, t=t, sha256="b" * 64)
    assert suggested_lock(store).model_sha256 == "a" * 64


# ---- groups ----


def row(count, *, t=0, z=0, region="", number=None, area=1e6, **columns):
    names = {k: columns.pop(k) for k in list(columns) if k in ("condition", "replicate", "well")}
    number = next(NUMBERS) if number is None else number
    entry = ImageEntry(number, f"{number}.tif", pixel_size_um=(1.0, 1.0), further=columns, **names)
    return StudyRow(entry, Figures(number, t, z, region_id=region, count=count, area_px=area), None)


def test_replicates_are_the_unit_and_their_fields_are_averaged_first():
    study = [
        *(row(n, condition="drug", replicate="1") for n in (10, 20, 30)),
        row(40, condition="drug", replicate="2"),
        row(7, condition="none", replicate="1"),
        row(1000, condition="drug", replicate="2", region="r"),
    ]
    drug, none = groups(study)
    assert (drug.label, drug.n, drug.unit, drug.images) == ("drug", 2, "replicate", 4)
    assert (drug.values, drug.names) == ((20, 40), ("1", "2"))
    assert drug.mean == 30
    assert drug.sd == pytest.approx(np.std([20, 40], ddof=1))
    low, high = stats.t.interval(0.95, 1, loc=30, scale=stats.sem([20, 40]))
    assert (drug.low, drug.high) == pytest.approx((low, high))
    assert (none.n, none.mean, math.isnan(none.sd), math.isnan(none.low)) == (1, 7, True, True)


def test_without_replicates_wells_are_the_unit_and_without_wells_images():
    wells = [row(n, well=w) for n, w in ((10, "A01"), (30, "A01"), (40, "A02"))]
    (found,) = groups(wells, ())
    assert (found.unit, found.values, found.label) == ("well", (20, 40), "all images")
    (found,) = groups([*wells, row(5)], ())
    assert (found.unit, found.n) == ("image", 4)


def test_planes_of_an_image_are_no_replicates_and_time_points_are_apart():
    (found,) = groups([row(10, number=1, z=0), row(20, number=1, z=1)], ())
    assert found.values == (15,)
    first, second = groups([row(10, number=1), row(20, number=1, t=1)], ())
    assert [(g.t, g.mean, g.label) for g in (first, second)] == [
        (0, 10, "all images · t 0"),
        (1, 20, "all images · t 1"),
    ]


def test_images_without_a_value_are_left_out_and_told():
    (found,) = groups([row(10, well="A01"), row(math.nan, well="A02")], ())
    assert (found.n, found.images, found.left_out, found.mean) == (1, 1, 1, 10)


def test_groups_are_in_the_order_of_their_numbers():
    found = groups([row(n, dose=d) for n, d in ((1, "10"), (2, "9"), (3, "100"))], ("dose",))
    assert [g.key for g in found] == [("9",), ("10",), ("100",)]
    found = groups([row(1, condition=c) for c in ("wild type", "B10", "b2", "")])
    assert [g.label for g in found] == ["(none)", "b2", "B10", "wild type"]


def test_groups_may_be_of_densities():
    (found,) = groups([row(10, area=2e6)], (), value="cells_per_mm2")
    assert found.mean == pytest.approx(5)
    with pytest.raises(UserError, match="level"):
        groups([], level=2)
