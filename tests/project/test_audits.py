"""A blinded count as one edit: what becomes of whose dots, and what is said."""

from __future__ import annotations

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.project.audits import Audited, audit_edit, audit_name, new_seed, random_of, words
from celltally.project.edits import Work, dot_record, region_record
from celltally.types import Dots, Region

SQUARE = np.array([(9.5, 9.5), (9.5, 59.5), (59.5, 59.5), (59.5, 9.5)])
#: Four dots in the square, one on its left side, one on its right side, one beside it.
PLACES = [(15, 15), (30, 30), (40, 50), (50, 20), (20, 9.5), (20, 59.5), (80, 80)]


def region(**changes):
    return Region(SQUARE, "audit", "Audit 1", **changes)


def dots(states=("proposed",) * 7, **changes):
    return Dots.new(PLACES, state=list(states), source="model", **changes)


def audited(known, yx, **options):
    options = {"diameter_px": 10.0, "author": "Ada", "predicted": 5.4, **options}
    return audit_edit(region(), known, yx, **options)


def after(known, edit):
    work = Work(known)
    work.do(edit)
    return work


def states(work, n=7):
    return work.dots.state[:n].tolist()


def test_matched_dots_are_confirmed_others_removed_and_own_ones_added() -> None:
    known = dots()
    edit, found = audited(known, [(16, 17), (20, 11), (55, 55), (45, 30)])
    work = after(known, edit)
    assert states(work) == [
        "confirmed", "removed", "removed", "removed", "confirmed", "proposed", "proposed",
    ]  # fmt: skip
    assert work.dots.state[7:].tolist() == ["added", "added"]
    assert work.dots.source[7:].tolist() == ["Ada", "Ada"]
    np.testing.assert_array_equal(work.dots.yx[7:], [(55, 55), (45, 30)])
    np.testing.assert_array_equal(work.dots.yx[:7], known.yx)  # a confirmed dot stays where it is
    (outline,) = work.regions
    assert (outline.kind, outline.name, outline.stated) == ("audit", "Audit 1", None)
    assert outline.by_dots
    assert edit.action == "audit"
    assert found == Audited(4, 4, 5.4, 5, 2)
    assert words(found) == (
        "You counted 4; the model 5.4 (its dots: 5). 2 matched, 2 you only, 3 model only."
    )


def test_one_undo_takes_all_of_it_back_and_redo_makes_it_again() -> None:
    known = dots(["proposed", "confirmed", "moved", "removed", "added", "added", "removed"])
    before = [dot_record(known, row) for row in range(7)]
    edit, _ = audited(known, [(16, 17), (50, 21), (45, 30)])
    work = after(known, edit)
    done = [dot_record(work.dots, row) for row in range(len(work.dots))]
    assert done != before
    work.undo()
    assert [dot_record(work.dots, row) for row in range(len(work.dots))] == before
    assert work.dots.id.tolist() == known.id.tolist()
    assert work.regions == ()
    assert work.undoable is None
    work.redo()
    assert [dot_record(work.dots, row) for row in range(len(work.dots))] == done
    assert len(work.regions) == 1


def test_the_blinded_answer_rules_over_earlier_work_and_deletes_nothing() -> None:
    known = dots(["confirmed", "confirmed", "moved", "removed", "added", "added", "confirmed"])
    edit, found = audited(known, [(15, 15), (50, 20)])
    work = after(known, edit)
    assert states(work) == [
        "confirmed", "removed", "removed", "confirmed", "removed", "added", "confirmed",
    ]  # fmt: skip
    assert len(work.dots) == 7
    # The model had four dots there; one of two that were found is one that had been removed.
    assert (found.model_dots, found.matched, found.touched) == (4, 2, 3)
    assert words(found).endswith(
        "3 dots that had been set or confirmed here before are crossed out: "
        "you did not set them again."
    )
    counting = work.dots.state != "removed"
    assert counting[:5].sum() == 2  # what was counted blind


def test_own_earlier_dots_that_are_set_again_stay_as_they_are() -> None:
    known = dots(["moved", "added", "confirmed", "proposed", "added", "proposed", "proposed"])
    edit, found = audited(known, np.array(PLACES[:5]) + 0.5)
    work = after(known, edit)
    assert states(work)[:5] == ["moved", "added", "confirmed", "confirmed", "added"]
    assert (found.model_dots, found.matched, found.touched) == (3, 3, 0)
    assert len(work.dots) == 7


def test_a_removed_dot_comes_back_only_where_no_other_is_the_cell() -> None:
    known = Dots.new([(30, 30), (31, 30)], state=["removed", "proposed"])
    work = after(known, audited(known, [(30, 30)])[0])
    assert work.dots.state.tolist() == ["removed", "confirmed"]


def test_matching_is_one_to_one_up_to_half_a_diameter() -> None:
    known = Dots.new([(30, 30)])
    work = after(known, audited(known, [(30, 34), (30, 26)])[0])
    assert sorted(work.dots.state.tolist()) == ["added", "confirmed"]
    work = after(known, audited(known, [(30, 35.1)])[0])
    assert work.dots.state.tolist() == ["removed", "added"]


def test_a_number_alone_states_the_count_and_leaves_the_dots() -> None:
    known = dots()
    edit, found = audited(known, [], counted=23, predicted=25.44)
    work = after(known, edit)
    assert states(work) == ["proposed"] * 7
    (outline,) = work.regions
    assert outline.stated == 23
    assert outline.by_stated
    assert words(found) == (
        "You counted 23; the model 25.4 (its dots: 5). "
        "Your number counts here in place of the dots, which stay as they were."
    )


def test_some_dots_and_a_larger_number_remove_nothing() -> None:
    known = dots()
    edit, found = audited(known, [(15, 16), (45, 30)], counted=6)
    work = after(known, edit)
    assert states(work) == ["confirmed"] + ["proposed"] * 6
    assert work.dots.state[7:].tolist() == ["added"]
    assert work.regions[0].stated == 6
    assert "2 of your cells have dots, 1 of which" in words(found)


def test_a_number_that_is_that_of_the_dots_says_no_more_than_they_do() -> None:
    known = dots()
    edit, _ = audited(known, [(15, 16), (45, 30)], counted=2)
    assert after(known, edit).regions[0].by_dots


@pytest.mark.parametrize(
    ("counted", "words_"),
    [(1, "1 was typed, but 2 dots are set"), (-1, "a count of -1"), (np.nan, "a count of nan")],
)
def test_a_number_that_cannot_be_is_refused(counted, words_) -> None:
    with pytest.raises(UserError, match=words_):
        audited(dots(), [(15, 16), (45, 30)], counted=counted)


def test_zero_is_an_answer() -> None:
    known = dots()
    edit, found = audited(known, [])
    assert states(after(known, edit))[:5] == ["removed"] * 5
    assert words(found).startswith("You counted 0; the model 5.4 (its dots: 5). 0 matched")


def test_dots_of_other_planes_are_left_alone() -> None:
    known = dots(z=2)
    work = after(known, audited(known, [])[0])
    assert states(work) == ["proposed"] * 7
    edit, _ = audit_edit(region(t=1, z=2), dots(z=2, t=1), [(45, 30)], diameter_px=10)
    added = after(dots(z=2, t=1), edit).dots[-1:]
    assert (added.t.tolist(), added.z.tolist()) == ([1], [2])


def test_of_a_projection_the_dots_of_all_z_are_compared() -> None:
    known = dots(z=[0, 1, 2, 3, 0, 1, 2])
    edit, found = audited(known, [(15, 15), (40, 50)], every_z=True)
    assert states(after(known, edit))[:5] == [
        "confirmed", "removed", "confirmed", "removed", "removed",
    ]  # fmt: skip
    assert (found.model_dots, found.matched) == (5, 2)


def test_names_are_numbered_and_the_id_is_the_seed() -> None:
    taken = [region(), Region(SQUARE, "count", "Audit 2")]
    assert audit_name(taken) == "Audit 3"
    assert audit_name(()) == "Audit 1"
    seed = new_seed()
    assert random_of(seed).random() == random_of(seed).random() != random_of(new_seed()).random()
    assert region_record(region(id=seed))["name"] == "Audit 1"
