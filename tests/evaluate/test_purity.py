import numpy as np
import pytest

from celltally.evaluate.purity import judge_boxes, share_found_again
from celltally.explain.boxes import Box
from celltally.explain.similarity import Similarities
from celltally.types import Grid

GREATEST = 4.0


def maps(*places, kinds):
    """Similarity maps of 60 × 60 cells of 2 px, with a square of 2 × 2 cells at each place."""
    values = np.zeros((len(kinds), 60, 60), np.float32)
    for k, i, j in places:
        values[k, i : i + 2, j : j + 2] = 3.0
    return Similarities(
        values=values, prototypes=tuple(range(len(kinds))), kinds=kinds,
        weights=np.ones(len(kinds), np.float32), bias=0.0, grid=Grid((60, 60), (2.0, 2.0)),
        diameter_px=10.0, complete=True, model="m", model_sha256="",
    )  # fmt: skip


def test_a_cell_box_is_pure_when_a_dot_lies_within_half_a_diameter():
    """Its borders lie at 19.5 and 23.5 px."""
    found = maps((0, 10, 10), kinds=("cell",))
    for x, pure in ((21.0, True), (14.6, True), (14.4, False), (28.4, True), (28.5, False)):
        (judged,) = judge_boxes(found, GREATEST, np.array([[21.0, x]]), 10.0)
        assert judged.pure == pure


def test_a_background_box_is_pure_when_no_dot_lies_in_its_component():
    found = maps((1, 10, 10), kinds=("cell", "background"))
    for x, pure in ((21.0, False), (19.4, True), (23.4, False), (23.6, True)):
        (judged,) = judge_boxes(found, GREATEST, np.array([[21.0, x]]), 10.0)
        assert judged.box.kind == "background"
        assert judged.pure == pure


def test_a_dot_in_the_box_of_a_slanted_component_is_not_in_the_component():
    found = maps((0, 10, 10), (0, 12, 12), kinds=("background",))
    (judged,) = judge_boxes(found, GREATEST, np.array([[21.0, 25.0]]), 10.0)
    assert (judged.box.y0, judged.box.x1) == (19.5, 27.5)
    assert judged.pure


def test_each_component_is_judged_by_itself():
    found = maps((0, 10, 10), (0, 40, 40), kinds=("background",))
    judged = judge_boxes(found, GREATEST, np.array([[81.0, 81.0]]), 10.0)
    assert {j.box.y0: j.pure for j in judged} == {19.5: True, 79.5: False}


def test_without_dots_nothing_is_judged():
    found = maps((0, 10, 10), (1, 40, 40), kinds=("cell", "background"))
    assert [j.pure for j in judge_boxes(found, GREATEST, None, 10.0)] == [None, None]
    empty = judge_boxes(found, GREATEST, np.empty((0, 2)), 10.0)
    assert {j.box.kind: j.pure for j in empty} == {"cell": False, "background": True}


def test_no_box_and_nothing_to_judge():
    found = maps(kinds=("cell", "background"))
    assert judge_boxes(found, GREATEST, np.array([[5.0, 5.0]]), 10.0) == []


def box(k, y, x, kind="cell"):
    return Box(k, kind, y - 1, x - 1, y + 1, x + 1, 2.0)


@pytest.mark.parametrize(
    ("after", "same", "again"),
    [
        ([box(0, 10, 10), box(1, 30, 30)], True, 2),
        ([box(0, 13, 14), box(1, 30, 36)], True, 1),  # 5 and 6 px away
        ([box(1, 10, 10), box(0, 30, 30)], True, 0),
        ([box(1, 10, 10), box(0, 30, 30)], False, 2),
        ([box(0, 10, 10, "background")], False, 0),
        ([], True, 0),
    ],
)
def test_boxes_that_are_found_again(after, same, again):
    before = [box(0, 10, 10), box(1, 30, 30)]
    assert share_found_again(before, after, 5.0, same_prototype=same) == (again, 2)
