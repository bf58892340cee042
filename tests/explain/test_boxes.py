import numpy as np
import pytest
from scipy import ndimage

from celltally.explain.boxes import find_boxes
from celltally.explain.similarity import Similarities
from celltally.types import Grid

GREATEST = 4.0


def maps(*values, kinds=("cell", "background"), step=2.0):
    stack = np.stack(values).astype(np.float32)
    return Similarities(
        values=stack, prototypes=tuple(range(7, 7 + len(stack))), kinds=kinds[: len(stack)],
        weights=np.ones(len(stack), np.float32), bias=0.0,
        grid=Grid(stack.shape[1:], (step, step)), diameter_px=6.0, complete=True,
        model="m", model_sha256="",
    )  # fmt: skip


def test_a_box_holds_connected_places_above_the_percentile():
    values = np.full((40, 60), 0.5)
    values[10:13, 20:22] = 3.0
    values[13, 22] = 2.5  # joined by its corner
    values[30, 50] = 3.5
    boxes = find_boxes(maps(values), GREATEST)
    assert [box.similarity for box in boxes] == [3.5, 3.0]
    alone, joined = boxes
    assert (alone.y0, alone.x0, alone.y1, alone.x1) == (59.5, 99.5, 61.5, 101.5)
    assert (joined.y0, joined.x0, joined.y1, joined.x1) == (19.5, 39.5, 27.5, 45.5)
    assert {(box.prototype, box.kind) for box in boxes} == {(7, "cell")}


def test_an_image_that_is_like_nothing_has_no_boxes():
    rng = np.random.default_rng(0)
    assert find_boxes(maps(rng.uniform(0, 0.2 * GREATEST, (50, 50))), GREATEST) == []
    assert find_boxes(maps(np.zeros((50, 50))), GREATEST) == []


def test_each_prototype_has_boxes_of_its_own_map():
    one, other = np.zeros((50, 50)), np.zeros((50, 50))
    one[5, 5], other[40, 40] = 2.0, 3.0
    boxes = find_boxes(maps(one, other), GREATEST)
    assert [(b.prototype, b.kind, b.similarity) for b in boxes] == [
        (8, "background", 3.0), (7, "cell", 2.0),
    ]  # fmt: skip


@pytest.mark.parametrize(("percentile", "number"), [(99.0, 1), (90.0, 2)])
def test_the_percentile_is_of_the_map(percentile, number):
    values = np.zeros((20, 20))
    values[2:4, 2:4] = 3.0
    values[10, 10] = 2.0
    assert len(find_boxes(maps(values), GREATEST, percentile=percentile)) == number


def test_connected_places_are_those_of_an_image_library():
    rng = np.random.default_rng(1)
    values = ndimage.gaussian_filter(rng.normal(size=(80, 60)), 1.2)
    values = (4 * (values - values.min()) / np.ptp(values)).astype(np.float32)
    inside = values > np.percentile(values.astype(float), 80.0)
    labels, n = ndimage.label(inside, structure=np.ones((3, 3)))
    expected = sorted(
        (2 * s[0].start - 0.5, 2 * s[1].start - 0.5, 2 * s[0].stop - 0.5, 2 * s[1].stop - 0.5,
         float(values[labels == i].max()))
        for i, s in enumerate(ndimage.find_objects(labels), start=1)
    )  # fmt: skip
    boxes = find_boxes(maps(values), GREATEST, percentile=80.0, floor=0.0)
    assert n > 10
    assert sorted((b.y0, b.x0, b.y1, b.x1, b.similarity) for b in boxes) == expected


def test_the_end_of_a_row_is_not_beside_the_beginning_of_the_next():
    values = np.zeros((30, 30))
    values[3, 29] = values[4, 0] = values[5, 0] = 3.0
    boxes = find_boxes(maps(values), GREATEST)
    assert sorted((b.y0, b.x0, b.y1, b.x1) for b in boxes) == [
        (5.5, 57.5, 7.5, 59.5), (7.5, -0.5, 11.5, 1.5),
    ]  # fmt: skip
