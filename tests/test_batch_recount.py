"""Recounting a study with another model: compared image by image, in force all or nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import sqlalchemy as sa
import tifffile

from celltally import zoo
from celltally.batch.in_project import iter_count_project
from celltally.batch.recount import Recounted, iter_recount, version_of
from celltally.batch.settings import Settings
from celltally.errors import UserError
from celltally.progress import drain
from celltally.project import differences as table
from celltally.project import schema
from celltally.project.counts import in_force, latest_counts, load_prediction
from celltally.project.edits import Edit, diff_dots, diff_regions
from celltally.project.history import history
from celltally.project.images import register, set_columns
from celltally.project.new_version import iter_use_recount
from celltally.project.recounts import RECOUNT, Recount, drop_recount
from celltally.project.remembering import of_image
from celltally.project.store import Store
from celltally.project.study import rows
from celltally.project.study_lock import lock, locked, otherwise, suggested_lock
from celltally.project.work import load_dots, load_regions, record
from celltally.types import Dots, Region

PLAIN = Settings(12.0, None, {}, "plane", None, 0, 0.95, "cpu")


def named(model, name, sha256):
    return replace(model, record=replace(model.record, name=name, sha256=sha256))


@pytest.fixture
def calls(monkeypatch):
    """Cells are where it is bright; a model whose name is *child* counts each one twice."""
    predict = import_module("celltally.predict")
    real = predict.iter_predict
    calls = []

    def bright(model, pixels, **options):
        calls.append((model.name, options["image"], options["diameter_px"]))
        prediction = yield from real(model, pixels, **options)
        step = prediction.grid.step
        density = np.zeros(prediction.grid.shape, dtype=np.float32)
        for y, x in np.argwhere(pixels >= 150)[::40]:
            density[int(y / step[0]), int(x / step[1])] = 2.0 if model.name == "child" else 1.0
        if model.base is not None:  # the images are unlike those that the child learned from
            known = model.base.calibration, model.base.calibration_sha256
            prediction = replace(prediction, calibration=known[0], calibration_sha256=known[1])
        return replace(prediction, density=density[None], variance=0.01 * density[None])

    monkeypatch.setattr(predict, "iter_predict", bright)
    return calls


@pytest.fixture
def model(tiny, calls):
    return zoo.load(tiny)


@pytest.fixture
def child(model):
    return named(model, "child", "c1" * 32)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "study.celltally", author="Ada") as store:
        yield store


@pytest.fixture
def cells(draw_cells):
    return draw_cells([(15, 15), (40, 50), (20, 60)], (64, 72))


@pytest.fixture
def add(store, tmp_path):
    def add(name: str, pixels: np.ndarray, axes: str = "YX", condition: str = "") -> int:
        path = tmp_path / name
        tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": axes})
        number = register(store, name=name, path=path, shape=pixels.shape[-2:])
        set_columns(store, {number: {"condition": condition}})
        return number

    return add


@pytest.fixture
def study(store, model, add, cells):
    """Three images, counted and locked; the last has a corner that Ada reviewed."""
    numbers = [
        add("a.tif", cells, condition="drug"),
        add("b.tif", cells + 1, condition="drug"),
        add("c.tif", cells + 2, condition="none"),
    ]
    drain(iter_count_project(store, model, PLAIN))
    corner = Region(np.array([(0, 0), (0, 30), (30, 30), (30, 0)], dtype=float), "reviewed")
    record(store, numbers[2], Edit("draw", diff_regions((), [corner])))
    added = Dots.new([(5.0, 5.0)], state="added", source="Ada")
    record(store, numbers[2], Edit("add", diff_dots(Dots.new(), added)))
    lock(store, suggested_lock(store))
    return numbers


def run(store, model):
    """Recount, and let go of the file."""
    recount = Recount(store, version_of(model))
    try:
        steps: list[Recounted] = []
        found = drain(
            iter_recount(store, model, recount, device="cpu"),
            lambda step: steps.append(step) if isinstance(step, Recounted) else None,
        )
        assert [d for step in steps for d in step.differences] == found
        return found
    finally:
        recount.close()


def use(store, model):
    recount = Recount(store, version_of(model))
    try:
        return drain(iter_use_recount(store, recount, author="Bea"))
    finally:
        recount.close()


def in_study(store):
    """Everything of a project that counting may change."""
    with store.read() as connection:
        return [
            connection.execute(sa.select(one)).all()
            for one in (schema.predictions, schema.dots, schema.regions, schema.steps)
        ]


def test_a_recount_compares_and_changes_nothing(store, study, model, child):
    drain(import_module("celltally.project.remembering").iter_refresh(store))
    before = in_study(store)
    a, b, c = run(store, child)
    assert in_study(store) == before
    assert locked(store).model == model.name
    assert [d.entry.id for d in (a, b, c)] == study
    assert a.after.count == pytest.approx(2 * a.before.count)
    assert a.difference == pytest.approx(a.before.count)
    assert a.percent == pytest.approx(100)
    assert math.isnan(a.before.corrected)
    assert math.isnan(a.after.corrected)
    # In the corner stand Ada's dots, whichever model counts.
    by_hand = 1 + sum(
        (dot.yx[0] < 30).all() for dot in (load_dots(store, study[2])[i : i + 1] for i in range(9))
        if len(dot) and dot.state[0] == "proposed"
    )  # fmt: skip
    outside = c.before.corrected - by_hand
    assert c.after.corrected == pytest.approx(by_hand + 2 * outside, rel=1e-3)
    assert (store.path.parent / f"study.celltally{RECOUNT}").exists()


def test_flags_tell_which_count_lies_outside_the_others_interval(store, study, child):
    one = run(store, child)[0]
    low, high = one.before.interval.low, one.before.interval.high
    assert one.stands_out == (
        not low <= one.after.count <= high or table.BEFORE_OUTSIDE in one.flags
    )
    far = replace(one, after=replace(one.after, count=high + 1))
    assert table.AFTER_OUTSIDE in far.flags
    near = replace(one, after=one.before)
    assert near.flags == ()
    assert (near.difference, near.percent) == (0, 0)


def test_what_comes_into_force_is_what_was_shown(store, study, model, child):
    shown = {d.entry.id: d for d in run(store, child)}
    used = use(store, child)
    assert (used.images, used.left, used.moved) == (3, 0, True)
    for number in study:
        (figures,) = of_image(store, number)
        assert figures.count == pytest.approx(shown[number].after.in_study)
        assert figures.density_count == pytest.approx(shown[number].after.count)
    assert {c.model for c in in_force(latest_counts(store))} == {"child"}
    assert (locked(store).model_sha256, locked(store).by) == ("c1" * 32, "Bea")
    assert all(row.flags == () for row in rows(store) if "interval" not in "".join(row.flags))
    *_, step, locking = history(store)
    assert (step.action, step.author, step.detail["images"]) == ("use new version", "Bea", 3)
    assert step.detail["before"] == [f"{model.name} ({model.sha256[:8]})"]
    assert locking.action == "lock study"
    assert [e.action for e in history(store, study[0])] == ["count", "recount"]
    assert not list(store.path.parent.glob(f"*{RECOUNT}*"))


def test_earlier_counts_and_a_persons_work_stay(store, study, child):
    before = in_study(store)[0]
    region = load_regions(store, study[2])
    reviewed = load_dots(store, study[2])
    run(store, child)
    use(store, child)
    kept = [row for row in in_study(store)[0] if row.id <= max(r.id for r in before)]
    assert kept == before
    assert [r.id for r in load_regions(store, study[2])] == [r.id for r in region]
    now = load_dots(store, study[2])
    inside = reviewed[(reviewed.yx < 30).all(axis=1)]
    assert set(inside.id) <= set(now.id)
    assert (now.state == "added").sum() == 1


def test_cut_off_while_it_counts_it_goes_on_there(store, study, child, calls):
    recount = Recount(store, version_of(child))
    job = iter_recount(store, child, recount, device="cpu")
    calls.clear()
    done = 0
    for step in job:
        done += isinstance(step, Recounted)
        if done == 2:
            break
    job.close()
    recount.close()
    assert len(calls) == 2
    assert len(run(store, child)) == 3
    assert [name for _, name, _ in calls] == ["a.tif", "b.tif", "c.tif"]


def test_cut_off_while_it_comes_into_force_nothing_has(store, study, child):
    run(store, child)
    before = in_study(store)
    recount = Recount(store, version_of(child))
    job = iter_use_recount(store, recount)
    for step in job:
        if step.done == 2:
            break
    job.close()
    assert in_study(store) == before
    assert locked(store).model != "child"
    assert drain(iter_use_recount(store, recount)).images == 3


def test_what_changed_since_is_recounted_first(store, study, model, child, calls, tmp_path, cells):
    run(store, child)
    tifffile.imwrite(tmp_path / "b.tif", cells[::-1].copy(), imagej=True, metadata={"axes": "YX"})
    with pytest.raises(UserError, match=r"^b\.tif changed .* recount once more"):
        use(store, child)
    calls.clear()
    run(store, child)
    assert [name for _, name, _ in calls] == ["b.tif"]
    drain(iter_count_project(store, model, replace(PLAIN, diameter_px=14.0), image_ids=study[:1]))
    run(store, child)
    assert [size for *_, size in calls] == [12.0, 14.0] or calls[-1][2] == 12.0  # the lock's
    assert use(store, child).images == 3


def test_the_diameter_is_that_of_the_lock_else_of_the_count(store, add, model, child, cells, calls):
    add("a.tif", cells)
    drain(iter_count_project(store, model, replace(PLAIN, diameter_px=14.0)))
    calls.clear()
    run(store, child)
    lock(store, replace(suggested_lock(store), diameter_px=13.0))
    run(store, child)
    assert [size for *_, size in calls] == [14.0, 13.0]


def test_an_image_that_cannot_be_recounted_keeps_its_count(store, study, model, child, tmp_path):
    (tmp_path / "b.tif").unlink()
    found = run(store, child)
    assert found[1].after is None
    assert "is missing" in found[1].problem
    assert math.isnan(found[1].difference)
    assert table.largest_first(found)[-1] == found[1]
    used = use(store, child)
    assert (used.images, used.left) == (2, 1)
    assert "1 image could not be recounted and keeps its count, marked." in used.text
    counts = {c.image_id: c.model for c in in_force(latest_counts(store))}
    assert counts[study[1]] == model.name
    marked = [row.entry.name for row in rows(store) if "another model" in "".join(row.flags)]
    assert marked == ["b.tif"]


def test_what_the_new_model_counted_already_is_not_counted_again(store, study, child, calls):
    drain(iter_count_project(store, child, PLAIN, image_ids=study[:1]))
    calls.clear()
    first, *_ = run(store, child)
    assert len(calls) == 2
    assert first.flags[0] == table.KNOWN
    assert first.difference == 0
    assert use(store, child).images == 2


def test_without_a_lock_none_is_made(store, add, model, child, cells):
    add("a.tif", cells)
    drain(iter_count_project(store, model, PLAIN))
    run(store, child)
    used = use(store, child)
    assert not used.moved
    assert locked(store) is None
    assert "locked" not in used.text


@pytest.mark.parametrize("how", ["plane", "projection", "merged"])
def test_stacks_and_films_are_counted_as_they_were(store, add, model, child, cells, how):
    film = np.stack([np.stack([cells // 2, cells, cells // 3])] * 2)
    add("film.tif", film, "TZYX")
    every = replace(PLAIN, z_stack=how, plane={"t": slice(None)})
    drain(iter_count_project(store, model, every))
    before = in_force(latest_counts(store))
    found = run(store, child)
    assert [(d.t, d.z_method) for d in found] == [(0, how), (1, how)]
    assert [total.t for total in table.totals(found)] == [0, 1]
    use(store, child)
    after = in_force(latest_counts(store))
    places = [(c.t, c.z, c.z_method, c.channel, c.merged, c.diameter_px) for c in before]
    assert [(c.t, c.z, c.z_method, c.channel, c.merged, c.diameter_px) for c in after] == places
    (number,) = {c.image_id for c in after}
    for figures, one in zip(of_image(store, number), found, strict=True):
        assert figures.count == pytest.approx(one.after.in_study)
    if how == "merged":
        assert math.isnan(found[0].after.interval.low)
        assert found[0].after.count == int(found[0].after.count)


def test_totals_are_of_conditions(store, study, child, tmp_path):
    (tmp_path / "b.tif").unlink()
    drug, none = table.totals(run(store, child))
    assert (drug.condition, drug.images, drug.left_out) == ("drug", 1, 1)
    assert (none.condition, none.images, none.left_out) == ("none", 1, 0)
    assert drug.after == pytest.approx(2 * drug.before)
    assert none.study_after < 2 * none.study_before
    assert none.percent == pytest.approx(100)


def test_records_have_numbers_and_no_nan(store, study, child):
    first, _, third = table.records(run(store, child))
    assert first["corrected_before"] is None
    assert third["corrected_after"] > third["corrected_before"]
    assert first["difference"] == pytest.approx(first["count_after"] - first["count_before"])
    assert (first["image"], first["condition"], first["level"]) == ("a.tif", "drug", 0.95)


def test_a_project_that_may_only_be_read_is_compared(store, study, child):
    with Store(store.path, read_only=True) as reader:
        assert len(run(reader, child)) == 3
        with pytest.raises(UserError, match="reading only"):
            use(reader, child)
    assert use(store, child).images == 3  # the file stayed


def test_where_nothing_can_be_written_the_file_is_a_temporary_one(store, study, child, monkeypatch):
    monkeypatch.setattr("celltally.project.recounts.os.access", lambda *_: False)
    recount = Recount(store, version_of(child))
    assert not recount.stays
    assert recount.path.parent != store.path.parent
    assert len(drain(iter_recount(store, child, recount, device="cpu"))) == 3
    recount.close()
    assert not recount.path.parent.exists()


def test_another_models_recount_is_dropped(store, study, child, calls):
    run(store, child)
    third = named(child, "third", "d1" * 32)
    calls.clear()
    run(store, third)
    with pytest.raises(UserError, match="nothing was recounted with child"):
        use(store, child)


def test_two_programs_do_not_recount_at_once(store, study, child):
    recount = Recount(store, version_of(child))
    with pytest.raises(UserError, match="being recounted in another program"):
        Recount(store, version_of(child))
    with pytest.raises(UserError, match="being recounted in another program"):
        drop_recount(store)
    recount.close()
    assert drop_recount(store)
    assert not drop_recount(store)


def test_a_damaged_file_is_made_anew(store, study, child):
    path = store.path.with_name(f"{store.path.name}{RECOUNT}")
    path.write_bytes(b"no project" * 100)
    assert len(run(store, child)) == 3


def test_a_study_without_counts_is_told_so(store, child):
    with pytest.raises(UserError, match=r"nothing in study\.celltally was counted yet"):
        run(store, child)


def test_a_full_disk_ends_it_and_the_project_is_as_it_was(store, study, child, monkeypatch):
    def full(*_):
        raise UserError("the disk is full")

    monkeypatch.setattr(Recount, "add", full)
    before = in_study(store)
    with pytest.raises(UserError, match="disk is full"):
        run(store, child)
    assert in_study(store) == before


def test_a_threshold_that_is_locked_chooses_the_dots(store, study, child):
    lock(store, replace(locked(store), threshold=1e6))
    run(store, child)
    use(store, child)
    counts = in_force(latest_counts(store))
    assert {c.threshold for c in counts} == {1e6}
    assert load_prediction(store, counts[0]) is not None
    assert not (load_dots(store, study[0]).state == "proposed").any()


def test_counts_by_a_base_are_the_models_own(store, study, model, child, calls):
    with_base = replace(child, base=model, calibration_sha256="e1" * 32)
    run(store, with_base)
    assert use(store, with_base).moved
    counts = in_force(latest_counts(store))
    assert {c.calibration_sha256 for c in counts} == {model.calibration_sha256}
    held = locked(store)
    assert held.calibration_sha256 == "e1" * 32
    assert all(held.holds(c.model_sha256, c.calibration_sha256) for c in counts)
    assert not any("calibration" in flag for row in rows(store) for flag in otherwise_of(row, held))
    calls.clear()
    assert {d.flags[0] for d in run(store, with_base)} == {table.KNOWN}
    assert calls == []


def otherwise_of(row, held):
    return otherwise(row.counted, held)
