"""Corrected counts of the images of a project, and when they are stale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from celltally.intervals import corrected
from celltally.progress import drain
from celltally.project import measuring, remembering
from celltally.project.counts import latest_counts, load_prediction
from celltally.project.edits import Edit
from celltally.project.figures import NOT_COUNTED
from celltally.project.images import register
from celltally.project.remembering import iter_refresh, of_image, remembered
from celltally.project.store import Store
from celltally.project.work import load_dots, load_regions, record
from celltally.types import Dots


def the_one(found):
    (figures,) = found
    return figures


def test_an_untouched_count_is_the_models(store, image_id, count_image, monkeypatch):
    number = count_image(image_id)
    monkeypatch.setattr(measuring, "load_prediction", None)  # its maps are not needed
    found = the_one(of_image(store, image_id))
    assert (found.count, found.density_count, found.n_dots) == (120, 120, 0)
    assert found.interval == latest_counts(store)[0].interval
    assert found.area_px == 100 * 120
    assert found.prediction_id == number
    assert found.reviewed_share == 0
    assert found.cells_per_mm2((0.5, 0.5)) == pytest.approx(120 / (12_000 * 0.25e-6))
    assert math.isnan(found.cells_per_mm2(None))


def test_a_corrected_count_is_that_of_intervals(store, image_id, count_image, put, rectangle):
    count_image(image_id)
    yx = np.array([(5, 5), (5, 30), (60, 60), (95, 115)])
    dots = Dots.new(yx, state=np.array(["confirmed", "added", "proposed", "removed"]))
    put(image_id, dots, rectangle(-0.5, -0.5, 49.5, 59.5, kind="reviewed"))
    put(image_id, None, rectangle(49.5, 59.5, 99.5, 119.5, kind="exclude"))
    found = the_one(of_image(store, image_id))
    prediction, _ = load_prediction(store, latest_counts(store)[0])
    live = load_dots(store, image_id)
    live = live[live.state != "removed"]
    expected = corrected(prediction, live.yx, load_regions(store, image_id))
    assert found.count == pytest.approx(expected.count)
    assert found.count == pytest.approx(2 + 60)
    assert found.interval == expected.interval
    assert found.density_count == 120
    # The excluded quarter takes one proposed and the removed dot with it.
    assert found.states == {"proposed": 0, "confirmed": 1, "added": 1, "moved": 0, "removed": 0}
    assert found.n_dots == expected.n_dots == 2
    assert found.area_px == pytest.approx(9_000)
    assert found.reviewed_share == pytest.approx(1 / 3)


def test_a_wholly_reviewed_image_is_exact_by_class(store, image_id, put, rectangle):
    dots = Dots.new(
        np.array([(5, 5), (5, 30), (60, 60)]),
        state="added",
        label=np.array(["live", "dead", "live"]),
    )
    put(image_id, dots, rectangle(-1, -1, 101, 121, kind="audit"))
    found = the_one(of_image(store, image_id))
    assert (found.count, found.interval.kind, found.reviewed_share) == (3, "exact", 1)
    assert found.classes == found.class_counts == {"dead": 1, "live": 2}
    assert found.prediction_id is None


def test_a_stated_count_of_an_audited_region_takes_the_place_of_its_dots(
    store, image_id, count_image, put, rectangle
):
    count_image(image_id)
    left = rectangle(-0.5, -0.5, 99.5, 59.5, kind="audit", stated=47.0)
    put(image_id, Dots.new([(5, 5), (60, 90)]), left)
    found = the_one(of_image(store, image_id))
    assert (found.count, found.reviewed_share) == (pytest.approx(47 + 60), pytest.approx(0.5))
    assert (found.n_dots, found.density_count) == (2, 120)
    assert found.interval.low > 47


def test_a_stated_count_is_of_no_class(store, image_id, count_image, put, rectangle):
    count_image(image_id, classes=("live", "dead"))
    put(image_id, Dots.new([(5, 5)]), rectangle(-1, -1, 101, 121, kind="audit", stated=7.0))
    found = the_one(of_image(store, image_id))
    assert (found.count, found.interval.kind, found.class_counts) == (7, "exact", {})


def test_an_image_that_nobody_counted_has_no_count(store, image_id, put):
    put(image_id, Dots.new([(5, 5)], state="added"))
    found = the_one(of_image(store, image_id))
    assert math.isnan(found.count)
    assert (found.n_dots, found.interval.reason) == (1, NOT_COUNTED)
    nothing = the_one(of_image(store, register(store, name="none.tif")))
    assert math.isnan(nothing.area_px)


def test_classes_that_the_model_tells_are_counted_each(
    store, image_id, count_image, put, rectangle
):
    count_image(image_id, classes=("live", "dead"))
    dots = Dots.new([(5, 5), (6, 20)], state="added", label=np.array(["dead", "dead"]))
    put(image_id, dots, rectangle(-0.5, -0.5, 49.5, 119.5, kind="reviewed"))
    found = the_one(of_image(store, image_id))
    assert found.class_counts == pytest.approx({"live": 30, "dead": 32})
    assert found.count == pytest.approx(62)


def test_regions_to_count_have_rows_of_their_own(store, image_id, count_image, put, rectangle):
    count_image(image_id)
    quarter = rectangle(-0.5, -0.5, 49.5, 59.5, kind="count", name="north", stated=31.0)
    put(image_id, Dots.new([(5, 5), (90, 90)]), quarter)
    whole, north = of_image(store, image_id)
    assert (whole.region_id, whole.count) == ("", 120)
    assert (north.region_id, north.name, north.stated) == (quarter.id, "north", 31.0)
    assert north.count == north.density_count == pytest.approx(30)
    assert (north.n_dots, north.area_px) == (1, pytest.approx(3_000))
    assert north.interval.low < 30 < north.interval.high


def test_where_there_is_tissue_figures_are_those_of_the_tissue(
    store, image_id, count_image, put, rectangle
):
    count_image(image_id)
    put(
        image_id,
        Dots.new([(5, 5), (90, 90)], state="added"),
        rectangle(-0.5, -0.5, 49.5, 119.5, kind="tissue"),
        rectangle(-0.5, -0.5, 49.5, 59.5, kind="reviewed"),
    )
    found = the_one(of_image(store, image_id))
    assert found.in_tissue
    assert found.count == pytest.approx(1 + 30)
    assert found.density_count == pytest.approx(60)
    assert found.reviewed_share == pytest.approx(0.5)
    assert found.n_dots == found.states["added"] == 1


def test_without_regions_no_place_of_a_dot_is_read(
    store, image_id, count_image, put, dots, rectangle, monkeypatch
):
    for t in range(3):
        for z in range(2):
            count_image(image_id, t=t, z=z)
    states = np.random.default_rng(1).choice(["proposed", "added", "removed", "moved"], 200)
    put(image_id, dots(200, state=states))
    monkeypatch.setattr(measuring, "load_dots", None)
    light = of_image(store, image_id)
    wide = of_image(store, image_id, level=0.99)
    monkeypatch.undo()
    put(image_id, None, rectangle(200, 200, 210, 210, kind="exclude"))  # beside the image
    full = of_image(store, image_id)
    for a, b, c in zip(light, full, wide, strict=True):
        assert a.states == b.states == c.states
        assert a.classes == b.classes == c.classes
        assert a.n_dots == b.n_dots == c.n_dots > 0
        assert a.count == b.count == c.count
        assert c.interval.low < a.interval.low


# ---- time and z ----


def test_time_points_are_rows_and_never_a_sum(store, image_id, count_image, put, rectangle):
    for t in (0, 1, 2):
        count_image(image_id, t=t)
    put(
        image_id,
        Dots.new([(5, 5)], t=1, state="added"),
        rectangle(-0.5, -0.5, 49.5, 119.5, kind="reviewed", t=1),
    )
    found = of_image(store, image_id)
    assert [f.t for f in found] == [0, 1, 2]
    assert [f.count for f in found] == pytest.approx([120, 61, 120])


def test_an_edited_plane_that_was_not_counted_is_a_row(store, image_id, count_image, put):
    count_image(image_id, z=3)
    put(image_id, Dots.new([(5, 5)], z=4, state="added"))
    assert [(f.z, math.isnan(f.count)) for f in of_image(store, image_id)] == [
        (3, False),
        (4, True),
    ]


def test_a_projection_takes_the_place_of_its_planes(store, image_id, count_image, put, rectangle):
    count_image(image_id, z=3)
    count_image(image_id, z=0, z_method="projection")
    put(
        image_id,
        Dots.new([(5, 5), (6, 40)], z=np.array([1, 4]), state="added"),
        rectangle(-0.5, -0.5, 49.5, 119.5, kind="reviewed", z=4),
    )
    found = the_one(of_image(store, image_id))
    assert (found.z_method, found.n_dots) == ("projection", 2)
    assert found.count == pytest.approx(62)


def test_cells_of_merged_planes_are_counted_once(store, image_id, count_image, put, rectangle):
    for z in (1, 2):
        count_image(image_id, z=z, z_method="merged")
    yx = [(20, 20), (21, 20), (60, 60), (80, 80)]
    put(image_id, Dots.new(yx, z=[1, 2, 2, 2], state="confirmed"))
    found = the_one(of_image(store, image_id))
    assert (found.z, found.z_method, found.count, found.n_dots) == (1, "merged", 3, 3)
    assert found.interval.kind == "not calibrated"
    assert math.isnan(found.interval.low)
    put(image_id, None, rectangle(-1, -1, 101, 121, kind="reviewed", z=1))
    assert the_one(of_image(store, image_id)).reviewed_share == pytest.approx(0.5)
    put(image_id, None, rectangle(-1, -1, 101, 121, kind="reviewed", z=2))
    assert the_one(of_image(store, image_id)).interval.kind == "exact"
    put(image_id, None, rectangle(50, 50, 70, 70, kind="exclude", z=2))
    assert the_one(of_image(store, image_id)).count == 2


# ---- what is remembered ----


def test_figures_are_remembered_until_something_is_done(
    store, image_id, count_image, put, monkeypatch
):
    other = register(store, name="other.tif", shape=(100, 120))
    count_image(image_id)
    count_image(other)
    assert remembered(store).stale == {image_id, other}
    steps = []
    drain(iter_refresh(store), steps.append)
    assert [(s.done, s.total) for s in steps] == [(1, 2), (2, 2)]
    known = remembered(store)
    assert known.stale == frozenset()
    assert known.figures[image_id] == of_image(store, image_id)
    monkeypatch.setattr(remembering, "work_out", None)
    assert of_image(store, image_id) == known.figures[image_id]
    monkeypatch.undo()

    put(other, Dots.new([(5, 5)], state="added"))
    assert remembered(store).stale == {other}
    drain(iter_refresh(store))
    assert remembered(store).stale == frozenset()
    count_image(other, sha256="b" * 64)
    assert remembered(store).stale == {other}
    record(store, None, Edit("plate map", (), "system"))
    assert remembered(store).stale == {other}
    assert remembered(store, level=0.5).stale == {image_id, other}


def test_another_level_makes_other_intervals(store, image_id, count_image):
    count_image(image_id)
    wide = the_one(of_image(store, image_id)).interval
    store.set_setting("level", 0.5)
    narrow = the_one(of_image(store, image_id)).interval
    assert narrow.level == 0.5
    assert wide.low < narrow.low < narrow.high < wide.high


def test_what_is_remembered_reads_back_as_it_was(store, image_id, put, rectangle):
    put(image_id, Dots.new([(5, 5)]), rectangle(0, 0, 9, 9, kind="count", stated=2))
    before = of_image(store, image_id)
    after = remembered(store).figures[image_id]
    assert repr(before) == repr(after)  # NaN is not equal to itself


def test_a_cancelled_refresh_keeps_what_it_has(store, count_image):
    for i in range(3):
        count_image(register(store, name=f"{i}.tif", shape=(100, 120)))
    job = iter_refresh(store)
    next(job)
    job.close()
    assert len(remembered(store).stale) == 2
    job = iter_refresh(store)
    next(job)
    store.close()
    job.close()  # nothing can be kept any more, and nothing is said of it


def test_a_reader_works_out_but_does_not_write(store, image_id, count_image, path):
    count_image(image_id)
    with Store(path, read_only=True) as reader:
        fresh = drain(iter_refresh(reader))
        assert the_one(fresh[image_id]).count == 120
        assert the_one(of_image(reader, image_id)).count == 120
        assert remembered(reader).stale == {image_id}


def test_an_edit_while_it_is_worked_out_leaves_it_stale(
    store, image_id, count_image, put, monkeypatch
):
    count_image(image_id)
    real = remembering.work_out

    def slow(*arguments):
        found = real(*arguments)
        put(image_id, Dots.new([(5, 5)], state="added"))
        return tuple(replace(f) for f in found)

    monkeypatch.setattr(remembering, "work_out", slow)
    drain(iter_refresh(store))
    assert remembered(store).stale == {image_id}
