"""Counting again proposes, and leaves a person's work as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from celltally.project.edits import Edit, Work, diff_dots
from celltally.project.propose import proposals, propose
from celltally.types import Dots


def dots(*yx, **columns):
    return Dots.new(np.array(yx, dtype=float).reshape(-1, 2), **columns)


def places(work: Work, state: str) -> list[tuple[float, float]]:
    return sorted(map(tuple, work.dots.yx[work.dots.state == state].tolist()))


def test_proposals_take_the_place_of_proposals_only():
    before = dots((10, 10), (30, 30), (50, 50), state=np.array(["proposed", "moved", "proposed"]))
    work = Work(before)
    found = dots((10.5, 10), (70, 70), score=0.9, source="m")
    made = propose(work, found, 12)
    assert (made.new, made.gone, made.beside) == (1, 1, 0)
    assert made.text == "1 new, 1 gone"
    assert (made.edit.kind, work.undoable) == ("system", None)
    work.do(made.edit)
    assert places(work, "proposed") == [(10.5, 10), (70, 70)]
    assert places(work, "moved") == [(30, 30)]
    assert set(work.dots.id[work.dots.state == "proposed"]) == set(found.id)
    assert work.undoable is None  # counting is no human's work


@pytest.mark.parametrize("state", ["confirmed", "added", "moved", "removed"])
def test_nothing_is_proposed_beside_a_touched_dot(state):
    work = Work(dots((10, 10), state=state))
    found = dots((15.9, 10), (16.1, 10))
    made = propose(work, found, 12)
    work.do(made.edit)
    assert places(work, "proposed") == [(16.1, 10)]
    assert places(work, state) == [(10, 10)]
    assert made.text == "1 new, 0 gone, 1 left out beside your edits"


def test_only_dots_of_the_same_plane_are_in_the_way():
    work = Work(dots((10, 10), (10, 10), state=np.array(["removed", "proposed"]), t=[1, 0], z=2))
    made = propose(work, dots((10, 10), t=1, z=3), 12)
    work.do(made.edit)
    assert len(work.dots) == 3
    # A projection counts all z of a time point at once.
    made = propose(work, dots((11, 10), t=1, z=7), 12, planes=[(1, None)])
    assert (made.new, made.gone, made.beside) == (0, 1, 1)


@pytest.mark.parametrize("kind", ["reviewed", "audit"])
def test_where_it_was_reviewed_nothing_changes(rectangle, kind):
    region = rectangle(0, 0, 40, 40, kind=kind)
    work = Work(dots((10, 10), (60, 60)), [region])
    made = propose(work, dots((30, 30), (80, 80)), 12)
    work.do(made.edit)
    assert places(work, "proposed") == [(10, 10), (80, 80)]
    assert made.text == "1 new, 1 gone, 1 left out where it was reviewed"
    elsewhere = Work(dots((10, 10)), [rectangle(0, 0, 40, 40, kind="exclude")])
    assert propose(elsewhere, dots((30, 30)), 12).gone == 1


def test_where_only_a_count_was_stated_dots_are_proposed(rectangle):
    region = rectangle(0, 0, 40, 40, kind="audit", stated=37.0)
    work = Work(dots((10, 10)), [region])
    work.do(propose(work, dots((30, 30)), 12).edit)
    assert places(work, "proposed") == [(30, 30)]


def test_a_touched_dot_does_not_come_back_where_it_was_found():
    moved = dots((90, 90), state="moved")
    found = dots((10, 10), id=moved.id)
    made = propose(Work(moved), found, 12)
    assert made.edit.changes == ()
    assert made.beside == 1


def test_planes_without_a_find_are_told():
    work = Work(dots((10, 10), t=1))
    assert proposals(work, Dots.new(), 12).changes == ()
    made = propose(work, Dots.new(), 12, planes=[(1, 0)])
    work.do(made.edit)
    assert (len(work.dots), made.gone) == (0, 1)


def test_the_same_again_changes_nothing():
    found = dots((10, 10), (30, 30), score=0.5)
    work = Work()
    work.do(proposals(work, found, 12))
    assert proposals(work, found, 12).changes == ()


def test_a_dot_that_was_moved_far_is_not_proposed_again_where_it_was():
    found = Dots.new([[10.0, 10.0], [60.0, 60.0]], source="model")
    work = Work(found)
    moved = replace(found[:1], yx=np.array([[30.0, 30.0]]), state=np.array(["moved"]))
    work.do(Edit("move", diff_dots(found[:1], moved)))
    again = Dots.new([[10.5, 10.0], [60.0, 60.0]], source="another model")
    work.do(propose(work, again, 12.0).edit)
    assert sorted(work.dots.yx.tolist()) == [[30.0, 30.0], [60.0, 60.0]]
