"""Dots of neighbouring planes: what becomes one cell, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from celltally.density.stacks import join_dots, merge_planes
from celltally.errors import UserError
from celltally.types import Dots


def dots(*rows, **columns):
    """Dots from (z, y, x, score); ids are a, b, c, …"""
    table = np.array(rows, dtype=float).reshape(-1, 4)
    columns.setdefault("id", [chr(ord("a") + i) for i in range(len(table))])
    return Dots.new(table[:, 1:3], z=table[:, 0].astype(int), score=table[:, 3], **columns)


def merged_ids(merged, given):
    """Sets of ids that are one cell each."""
    return {frozenset(given.id[merged.members(i)].tolist()) for i in range(len(merged.dots))}


def test_a_cell_in_neighbouring_planes_is_one_at_its_best():
    given = dots((3, 10, 10, 0.4), (4, 11, 10, 0.9), (5, 12, 10, 0.7), (4, 40, 40, 0.5))
    merged = merge_planes(given, 3.0)
    assert merged_ids(merged, given) == {frozenset("abc"), frozenset("d")}
    assert merged.dots.id.tolist() == ["b", "d"]
    assert merged.dots.yx.tolist() == [[11, 10], [40, 40]]
    assert merged.dots.z.tolist() == [4, 4]
    assert merged.sizes.tolist() == [3, 1]
    assert (merged.distance_px, merged.gap) == (3.0, 0)


def test_the_distance_is_inclusive_and_from_plane_to_plane():
    """A slanting cell is followed, however far its ends lie apart."""
    slanting = dots(*((z, 3.0 * z, 0, 1) for z in range(6)))
    assert len(merge_planes(slanting, 3.0).dots) == 1
    assert len(merge_planes(slanting, 2.999).dots) == 6


def test_a_gap_splits_a_cell_unless_it_may_be_skipped():
    given = dots((0, 5, 5, 1), (1, 5, 5, 1), (3, 5, 5, 1), (6, 5, 5, 1))
    assert [len(merge_planes(given, 2.0, gap=gap).dots) for gap in range(4)] == [3, 2, 1, 1]


def test_the_nearest_plane_goes_first():
    """A chain that ends in the plane below takes the dot, however near an older end is."""
    # a and b are too far apart for each other, c is near both.
    given = Dots.new([[10, 10], [14, 10], [11, 10]], z=[0, 1, 2], id=["a", "b", "c"])
    merged = merge_planes(given, 3.5, gap=1)
    assert merged_ids(merged, given) == {frozenset("bc"), frozenset("a")}


def test_one_to_one():
    """Of two cells side by side that run through both planes none is lost."""
    given = dots((0, 10, 10, 1), (0, 10, 14, 1), (1, 10, 12, 1), (1, 10, 15, 1))
    assert merged_ids(merge_planes(given, 3.0), given) == {frozenset("ac"), frozenset("bd")}
    assert len(merge_planes(dots((0, 5, 5, 1), (0, 6, 5, 1), (1, 5, 5, 1)), 3.0).dots) == 2


def test_dots_of_one_plane_are_never_merged():
    assert len(merge_planes(dots((2, 5, 5, 1), (2, 5, 5, 1)), 9.0, gap=3).dots) == 2


def test_never_over_time_nor_over_classes():
    rows = [(0, 5, 5, 1), (1, 5, 5, 1), (2, 5, 5, 1), (3, 5, 5, 1)]
    in_time = dots(*rows, t=[0, 1, 1, 0])
    assert merged_ids(merge_planes(in_time, 2.0), in_time) == {
        frozenset("bc"),
        frozenset("a"),
        frozenset("d"),
    }
    classes = dots(*rows, label=["live", "dead", "dead", "live"])
    assert merged_ids(merge_planes(classes, 2.0), classes) == {
        frozenset("bc"),
        frozenset("a"),
        frozenset("d"),
    }


def test_two_cells_straight_above_each_other_are_one_by_this_method():
    """A limit that is documented: nothing in the dots tells them apart."""
    assert len(merge_planes(dots(*((z, 5, 5, 1) for z in range(8))), 2.0).dots) == 1


def test_removed_dots_are_no_cells():
    given = dots((0, 5, 5, 1), (1, 5, 5, 1), (2, 5, 5, 1), state=["proposed", "removed", "added"])
    merged = merge_planes(given, 2.0)
    assert merged.cell.tolist() == [0, -1, 1]
    everything = merge_planes(dots((0, 1, 1, 1), state="removed"), 2.0)
    assert (len(everything.dots), everything.cell.tolist()) == (0, [-1])


@pytest.mark.parametrize("state", ["confirmed", "added", "moved"])
def test_what_a_person_did_stands_for_the_cell(state):
    given = dots((0, 5, 5, 0.9), (1, 6, 5, np.nan), state=["proposed", state])
    assert merge_planes(given, 2.0).dots.id.tolist() == ["b"]


def test_ties_go_to_the_lowest_plane_and_no_score_to_the_last():
    assert merge_planes(dots((2, 5, 5, 0.5), (1, 5, 5, 0.5)), 2.0).dots.id.tolist() == ["b"]
    assert merge_planes(dots((0, 5, 5, np.nan), (1, 5, 5, 0.1)), 2.0).dots.id.tolist() == ["b"]


def test_nothing_in_nothing_out():
    merged = merge_planes(Dots.new(), 4.0)
    assert (len(merged.dots), len(merged.cell), len(merged.sizes)) == (0, 0, 0)


def test_the_order_of_the_dots_does_not_matter():
    rng = np.random.default_rng(0)
    n = 400
    given = Dots.new(rng.uniform(0, 90, (n, 2)), z=rng.integers(0, 7, n), score=rng.random(n))
    whole = merge_planes(given, 4.0, gap=1)
    mixed = given[rng.permutation(n)]
    assert merged_ids(merge_planes(mixed, 4.0, gap=1), mixed) == merged_ids(whole, given)
    assert set(merge_planes(mixed, 4.0, gap=1).dots.id) == set(whole.dots.id)


def test_drawn_cells_are_counted_once():
    """Cells a diameter apart, each seen in a few planes, a little to and fro."""
    rng = np.random.default_rng(1)
    places = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), -1).reshape(-1, 2) * 12
    rows = []
    for y, x in places:
        first = rng.integers(0, 6)
        for z in range(first, first + rng.integers(1, 6)):
            rows.append((z, *(np.array([y, x]) + rng.normal(0, 1, 2)), rng.random()))
    given = dots(*rows, id=[str(i) for i in range(len(rows))])
    assert len(rows) > 350
    assert len(merge_planes(given, 6.0).dots) == len(places)


@pytest.mark.parametrize(
    ("distance", "gap", "words"),
    [
        (0.0, 0, "distance of 0 px"),
        (-1.0, 0, "distance of -1 px"),
        (float("nan"), 0, "distance of nan px"),
        (4.0, -1, "gap of -1 planes"),
        (4.0, 1.5, "gap of 1.5 planes"),
        (4.0, True, "gap of True planes"),
    ],
)
def test_what_cannot_be_used_is_said(distance, gap, words):
    with pytest.raises(UserError, match=words):
        merge_planes(dots((0, 1, 1, 1)), distance, gap=gap)


def test_dots_are_joined_as_they_are():
    a, b = dots((0, 1, 2, 0.5)), dots((4, 3, 4, 0.25), label="a longer name")
    both = join_dots([a, b])
    assert both.label.tolist() == ["cell", "a longer name"]
    assert both.z.tolist() == [0, 4]
    assert len(join_dots([])) == 0
