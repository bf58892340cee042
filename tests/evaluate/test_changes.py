import numpy as np
import pytest

from celltally.evaluate import changes
from celltally.explain.boxes import Box


def box(y0, x0, y1, x1, similarity=2.0, kind="cell"):
    return Box(0, kind, y0, x0, y1, x1, similarity)


def test_the_most_similar_cell_boxes_are_grown_and_chosen():
    boxes = [
        box(19.5, 19.5, 23.5, 23.5),
        box(60.0, 60.0, 62.0, 62.0, kind="background"),
        box(25.5, 25.5, 27.5, 27.5),  # overlaps the first once grown
        box(-0.5, 79.5, 3.5, 85.5),  # cut at the border
    ]
    assert changes.most_similar_places(boxes, 10.0, (100, 90)) == [
        (15, 15, 29, 29), (0, 75, 9, 90),
    ]  # fmt: skip


def test_no_more_than_a_tenth_of_the_image_is_removed():
    boxes = [box(y, x, y + 10, x + 10) for y in range(5, 95, 20) for x in range(5, 95, 20)]
    places = changes.most_similar_places(boxes, 4.0, (100, 100))
    area = sum((y1 - y0) * (x1 - x0) for y0, x0, y1, x1 in places)
    assert 800 < area <= 1000


def test_random_places_are_as_large_and_inside():
    places = [(0, 0, 20, 10), (50, 50, 60, 60), (70, 10, 90, 30)]
    chosen = changes.random_places(places, (100, 80), np.random.default_rng(0))
    held = np.zeros((100, 80), int)
    for (y0, x0, y1, x1), (a0, b0, a1, b1) in zip(places, chosen, strict=True):
        assert (a1 - a0, b1 - b0) == (y1 - y0, x1 - x0)
        held[a0:a1, b0:b1] += 1
    assert held.max() == 1
    assert held.sum() == 200 + 100 + 400
    assert chosen != places


@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_place_takes_the_median_of_what_is_around_it(channels):
    pixels = np.full((40, 40, *channels), 50, np.uint8)
    pixels[10:20, 10:20] = 200
    pixels[0:5] = 9  # too far away to matter
    filled = changes.fill_places(pixels, [(10, 10, 20, 20)], 10.0)
    assert (filled[5:] == 50).all()
    assert (pixels[10:20, 10:20] == 200).all()
    assert filled.dtype == np.uint8


def test_a_place_that_is_the_whole_image_stays():
    pixels = np.arange(16.0).reshape(4, 4)
    assert np.array_equal(changes.fill_places(pixels, [(0, 0, 4, 4)], 8.0), pixels)


def test_noise_is_a_share_of_the_range():
    pixels = np.linspace(100, 1100, 40_000).reshape(200, 200).astype(np.uint16)
    noise = changes.noisy(pixels, np.random.default_rng(0)) - pixels
    assert noise.std() == pytest.approx(changes.NOISE * 1000, rel=0.05)


def test_a_box_is_turned_back_to_its_place():
    pixels = np.zeros((30, 50), np.uint8)
    pixels[4:7, 40:49] = 1
    turned = changes.turned(pixels)
    assert turned.shape == (50, 30)
    rows, columns = np.nonzero(turned)
    there = box(rows.min() - 0.5, columns.min() - 0.5, rows.max() + 0.5, columns.max() + 0.5)
    (back,) = changes.turned_back([there], width=50)
    assert (back.y0, back.x0, back.y1, back.x1) == (3.5, 39.5, 6.5, 48.5)


def test_blank_fields_are_always_the_same():
    one, other = changes.blank_fields((40, 50)), changes.blank_fields((40, 50))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert all(field.shape == (40, 50) and field.dtype == np.uint8 for field in one)
