"""Edits: made, taken back, made again, without a file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from celltally.project.edits import (
    Change,
    Edit,
    Work,
    apply_to_dots,
    apply_to_regions,
    diff_dots,
    diff_regions,
    dot_record,
    dots_of_records,
    region_of_record,
    region_record,
)
from celltally.types import Dots, Region

SQUARE = np.array([(0.0, 0), (0, 9), (9, 9), (9, 0)])


def assert_same(some: Dots, others: Dots):
    for name in ("id", "yx", "t", "z", "label", "score", "state", "source"):
        np.testing.assert_array_equal(getattr(some, name), getattr(others, name))


def moved(dots, row, by=1.0):
    yx, state = dots.yx.copy(), dots.state.copy()
    yx[row] += by
    state[row] = "moved"
    return replace(dots, yx=yx, state=state)


def test_a_record_holds_all_that_a_dot_has(dots):
    some = dots(20, source="Ada")
    records = [json.loads(json.dumps(dot_record(some, row))) for row in range(20)]
    assert_same(dots_of_records(some.id.tolist(), records), some)
    assert set(records[0]) == {"y", "x", "t", "z", "class", "score", "state", "source"}
    assert records[0]["score"] is None
    assert len(dots_of_records([], [])) == 0


@pytest.mark.parametrize("stated", [None, 37, 36.5, np.int64(3)])
def test_a_record_holds_all_that_a_region_has(stated):
    region = Region(SQUARE, "audit", "Ödem", stated, t=np.int64(3), z=1)
    record = json.loads(json.dumps(region_record(region)))
    back = region_of_record(region.id, record)
    assert region_record(back) == region_record(region)
    assert (back.id, back.kind, back.name, back.t, back.z) == (region.id, "audit", "Ödem", 3, 1)
    assert back.stated == stated


def test_changes_of_dots_that_stay(dots):
    before = dots(10)
    assert diff_dots(before, before) == ()
    assert diff_dots(before, before[::-1]) == ()  # their order says nothing
    (change,) = diff_dots(before, moved(before, 3))
    assert (change.item, change.id) == ("dot", before.id[3])
    assert change.before == dot_record(before, 3)
    assert change.after == dot_record(before, 3) | {
        "y": before.yx[3, 0] + 1, "x": before.yx[3, 1] + 1, "state": "moved"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("t", 7),
        ("z", 7),
        ("label", "other"),
        ("score", 0.5),
        ("state", "removed"),
        ("source", "me"),
    ],
)
def test_every_column_is_looked_at(dots, name, value):
    before = dots(6)
    column = getattr(before, name).astype(object)
    column[0] = value  # a score that there was not, too
    columns = {n: getattr(before, n) for n in ("id", "t", "z", "label", "score", "state", "source")}
    after = Dots.new(before.yx, **columns | {name: column})
    for some in (after, after[[1, 2, 3, 4, 5, 0]]):
        (change,) = diff_dots(before, some)
        assert change.id == before.id[0]


def test_changes_of_dots_that_come_and_go(dots):
    before, new = dots(8), dots(2, seed=1)
    columns = ("yx", "id", "t", "z", "label", "score", "state", "source")
    kept = moved(before, 5)[[1, 2, 5, 7]]
    after = Dots(**{n: np.concatenate([getattr(new, n), getattr(kept, n)]) for n in columns})
    changes = diff_dots(before, after)
    gone = [c.id for c in changes if c.after is None]
    came = [c.id for c in changes if c.before is None]
    assert gone == before.id[[0, 3, 4, 6]].tolist()
    assert came == new.id.tolist()
    assert [c.id for c in changes if c.before and c.after] == [before.id[5]]
    applied = apply_to_dots(before, changes)
    assert applied.id.tolist() == [*kept.id, *new.id]  # those that stay keep their order
    order = np.argsort(applied.id), np.argsort(after.id)
    assert_same(applied[order[0]], after[order[1]])


def test_applying_nothing_or_what_is_done_already(dots):
    before = dots(5)
    assert apply_to_dots(before, ()) is before
    assert apply_to_dots(before, [Change("region", "a", None, None)]) is before
    assert_same(
        apply_to_dots(before, [Change("dot", "unknown", dot_record(before, 0), None)]), before
    )
    changes = diff_dots(before, moved(before, 1))
    once = apply_to_dots(before, changes)
    assert_same(apply_to_dots(once, changes), once)
    assert len(apply_to_dots(before, diff_dots(before, Dots.new()))) == 0
    assert_same(apply_to_dots(Dots.new(), diff_dots(Dots.new(), before)), before)


def test_thousands_of_dots_are_added_at_once(dots):
    before, after = dots(5000), dots(5000, seed=1)
    changes = diff_dots(before, after)
    assert len(changes) == 10_000
    assert_same(apply_to_dots(before, changes), after)


def test_regions():
    first, second = Region(SQUARE, "reviewed"), Region(SQUARE + 10, "count", "b")
    assert diff_regions([first, second], [second, first]) == ()
    changed = replace(first, stated=3.0, name="a")
    third = Region(SQUARE + 20)
    changes = diff_regions([first, second], [changed, third])
    assert [(c.id, c.before is None, c.after is None) for c in changes] == [
        (second.id, False, True), (first.id, False, False), (third.id, True, False)
    ]  # fmt: skip
    applied = apply_to_regions([first, second], changes)
    assert [region.id for region in applied] == [first.id, third.id]
    assert applied[0].stated == 3.0
    assert diff_regions(applied, [changed, third]) == ()
    assert apply_to_regions([first], ()) == (first,)


def test_a_region_with_other_corners_is_changed():
    region = Region(SQUARE)
    (change,) = diff_regions([region], [replace(region, polygon=SQUARE + 1)])
    assert change.after["polygon"] == (SQUARE + 1).tolist()


# ---- undo and redo ----


def edit_of(work: Work, after: Dots, action="edit") -> Edit:
    return Edit(action, diff_dots(work.dots, after))


def test_undo_and_redo(dots):
    start = dots(4)
    work = Work(start)
    assert work.undo() is None
    assert work.redo() is None
    first = work.do(edit_of(work, moved(start, 0), "move"))
    second = work.do(edit_of(work, work.dots[1:], "remove"))
    end = work.dots
    assert (work.undoable, work.redoable) == (second, None)
    back = work.undo()
    assert (back.kind, back.target, back.action) == ("undo", second.id, "remove")
    assert (work.undoable, work.redoable) == (first, second)
    work.undo()
    assert_same(work.dots[np.argsort(work.dots.id)], start[np.argsort(start.id)])
    again = work.redo()
    assert (again.kind, again.target) == ("redo", first.id)
    work.redo()
    assert_same(work.dots[np.argsort(work.dots.id)], end[np.argsort(end.id)])
    assert (work.undoable, work.redoable) == (second, None)
    ids = [first.id, second.id, back.id, again.id]
    assert len(set(ids)) == 4


def test_an_edit_ends_what_could_be_made_again(dots):
    work = Work(dots(4))
    work.do(edit_of(work, work.dots[1:]))
    work.undo()
    work.do(edit_of(work, moved(work.dots, 2)))
    assert work.redoable is None
    assert work.redo() is None


def test_what_counting_did_cannot_be_undone(dots):
    work = Work(dots(4))
    edit = work.do(edit_of(work, work.dots[:3]))
    work.do(Edit("count", diff_dots(work.dots, dots(6, seed=2)), "system"))
    assert work.undoable == edit
    work.undo()
    work.do(Edit("count", (), "system"))
    assert work.redoable == edit


def test_dots_and_regions_are_undone_together(dots):
    start = dots(4, state="proposed")
    work = Work(start)
    confirmed = replace(start, state=np.array(["confirmed"] * 4))
    region = Region(SQUARE, "reviewed")
    changes = (*diff_dots(start, confirmed), *diff_regions([], [region]))
    work.do(Edit("review", changes))
    assert set(work.dots.state) == {"confirmed"}
    assert [r.id for r in work.regions] == [region.id]
    work.undo()
    assert set(work.dots.state) == {"proposed"}
    assert work.regions == ()


def test_an_undo_that_fits_nothing_is_not_remembered(dots):
    work = Work(dots(2))
    edit = work.do(edit_of(work, work.dots[:1]))
    work.do(Edit("x", (), "undo", "unknown"))
    work.do(Edit("x", (), "redo", "unknown"))
    assert (work.undoable, work.redoable) == (edit, None)
