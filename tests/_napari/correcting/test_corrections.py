"""What a human's actions make of dots and regions; no window."""

from __future__ import annotations

import numpy as np
import pytest

from celltally._napari import corrections
from celltally.project.edits import Work, apply_to_dots
from celltally.types import DOT_STATES, Dots, Region


@pytest.fixture
def dots():
    """One dot in every state, at (0, 0), (10, 10), …"""
    return Dots.new([(10 * i, 10 * i) for i in range(5)], state=list(DOT_STATES), source="model")


def after(dots, edit):
    return dict(zip(dots.id.tolist(), dots.state.tolist(), strict=True)) | {
        c.id: None if c.after is None else c.after["state"] for c in edit.changes
    }


def test_removing_and_bringing_back(dots):
    edit = corrections.remove_dots(dots, range(5))
    assert edit.action == "remove"
    assert [after(dots, edit)[i] for i in dots.id] == ["removed", "removed", None, "removed",
                                                       "removed"]  # fmt: skip
    back = corrections.remove_dots(dots, [4])
    assert (back.action, after(dots, back)[dots.id[4]]) == ("bring back", "confirmed")
    assert corrections.remove_dots(dots, []) is None


def test_confirming_touches_proposals_only(dots):
    edit = corrections.confirm_dots(dots, range(5))
    assert len(edit.changes) == 1
    assert after(dots, edit)[dots.id[0]] == "confirmed"
    again = corrections.confirm_dots(dots, [1, 2, 3])
    assert [(c.id, c.after["state"]) for c in again.changes] == [(dots.id[1], "proposed")]
    assert corrections.confirm_dots(dots, [2, 3, 4]) is None


def test_a_dot_that_a_human_touched_is_no_proposal(dots):
    for edit in (
        corrections.move_dots(dots, [0], [(3.0, 4.0)]),
        corrections.change_class(dots, [0], "dead"),
        corrections.remove_dots(dots, [0]),
        corrections.confirm_dots(dots, [0]),
    ):
        (change,) = edit.changes
        assert change.after["state"] != "proposed"
        assert change.before["state"] == "proposed"
    assert corrections.move_dots(dots, [0], [(0.0, 0.0)]) is None
    assert corrections.change_class(dots, [0], "cell") is None


def test_moving_keeps_what_was_added_or_removed(dots):
    edit = corrections.move_dots(dots, range(5), dots.yx + 1)
    states = [after(dots, edit)[i] for i in dots.id]
    assert states == ["moved", "moved", "added", "moved", "removed"]


def test_what_a_layer_holds_is_explained(dots):
    now = Dots.new(
        [*np.add(dots.yx[:4], [[0, 0], [0, 0], [0, 0], [2, 2]]), (5.0, 5.0)],
        id=[*dots.id[:4], "new"],
        state=["proposed", "confirmed", "added", "moved", "added"],
        label=["dead", *["cell"] * 4],
        source=["model"] * 4 + [""],
    )
    edit = corrections.from_layer(dots, now, dots, "me")
    changes = {c.id: c for c in edit.changes}
    assert changes["new"].after["source"] == "me"
    assert changes[dots.id[0]].after["state"] == "confirmed"  # its class was changed
    assert changes[dots.id[3]].after["y"] == 32
    assert changes[dots.id[4]].after is None  # it is gone from the layer and from the list
    assert set(changes) == {"new", dots.id[0], dots.id[3], dots.id[4]}
    assert edit.action == "change"


def test_what_was_proposed_anew_meanwhile_is_not_removed_twice(dots):
    known = dots[1:]  # the first is gone
    now = Dots.new(dots.yx, id=dots.id, state=["removed", *DOT_STATES[1:]], source="model")
    assert corrections.from_layer(dots, now, known) is None
    moved = Dots.new(dots.yx + 1, id=dots.id, state="moved", source="model")
    edit = corrections.from_layer(dots[:1], moved[:1], known)
    assert edit.changes[0].before is None
    assert edit.changes[0].after["state"] == "moved"


def test_a_reviewed_region_confirms_what_is_in_it_in_its_plane(dots):
    box = np.array([(-5.0, -5.0), (-5.0, 25.0), (25.0, 25.0), (25.0, -5.0)])
    region = Region(box, "reviewed")
    edit = corrections.change_regions((), [region], dots)
    assert edit.action == "review"
    assert [c.item for c in edit.changes] == ["region", "dot"]
    assert corrections.words(edit) == "review 1 region"
    elsewhere = corrections.change_regions((), [Region(box, "reviewed", z=3)], dots)
    assert [c.item for c in elsewhere.changes] == ["region"]
    work = Work(dots)
    work.do(edit)
    renamed = Region(box, "reviewed", "crypt", id=region.id)
    again = corrections.change_regions(work.regions, [renamed], dots)
    assert (again.action, len(again.changes)) == ("rename", 1)  # confirmed once, not again
    assert corrections.change_regions(work.regions, work.regions, dots) is None


def test_undoing_gives_back_what_was(dots):
    work = Work(dots)
    for edit in (
        corrections.add_dots([(1.0, 2.0)], t=1, z=2, label="dead", author="me"),
        corrections.remove_dots(dots, range(5)),
    ):
        work.do(edit)
    added = work.dots[work.dots.label == "dead"]
    assert (added.t[0], added.z[0], added.source[0], added.state[0]) == (1, 2, "me", "added")
    work.undo()
    work.undo()
    assert sorted(work.dots.id) == sorted(dots.id)
    states = dict(zip(work.dots.id, work.dots.state, strict=True))
    assert [states[i] for i in dots.id] == list(DOT_STATES)
    assert len(apply_to_dots(dots, ())) == 5


@pytest.mark.parametrize(
    ("action", "n", "said"),
    [("remove", 3, "remove 3 dots"), ("add", 1, "add 1 dot"),
     ("classify", 2, "change the class of 2 dots")],
)  # fmt: skip
def test_words(dots, action, n, said):
    edit = corrections.edit_of(corrections.remove_dots(dots, range(n)).changes, action)
    assert corrections.words(edit) == said
