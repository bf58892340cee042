from itertools import count

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from celltally.learn.regions.windows import (
    CORRECTED_WEIGHT,
    LARGEST,
    Source,
    teaching_windows,
    windows_of,
)
from celltally.scale import MARGIN
from celltally.types import Region

WHERE = {"nominal_px": 12.0, "stride": 2, "multiple": 4}
#: Cells of the density by which a region of 60 pixels a side begins in its window.
FIRST = MARGIN // 2


@pytest.fixture
def one(reviewed_folder, reviewed_images, write_dots):
    """One image with regions and dots."""

    def make(regions, yx, state="confirmed", **options):
        name = f"set{next(numbers)}"
        folder = reviewed_folder([1], {0: regions}, name=name, **options)
        write_dots(folder, f"{name}-0", yx, state)
        (image,) = reviewed_images(folder)
        return image

    numbers = count()

    return make


def known(window):
    return window.target * (window.weight > 0)


def test_a_whole_image_has_no_rim_and_all_its_cells(one):
    """Also those whose tails the border of the image would cut."""
    yx = [(0.0, 0.0), (63.0, 71.0), (30.0, 36.0), (30.0, 71.4), (-0.5, 40.0)]
    (window,) = teaching_windows(one([], yx), **WHERE)
    assert window.cells == 5
    assert float(known(window).sum()) == pytest.approx(5, abs=1e-4)
    assert float(window.weight.sum()) == 32 * 36
    assert window.values.shape == (1, 64 + 2 * MARGIN, 72 + 2 * MARGIN)
    assert window.weight.shape == window.target.shape == (1, 64, 68)
    assert not window.values[:, :MARGIN].any()
    assert window.values[:, MARGIN:-MARGIN, MARGIN:-MARGIN].any()


def test_the_rim_of_a_region_is_not_asked_for(one, rectangle):
    (window,) = teaching_windows(one([rectangle(10, 12, 50, 60)], [(30, 36)]), **WHERE)
    rows, columns = (window.weight[0] > 0).any(dim=1), (window.weight[0] > 0).any(dim=0)
    # 2 sigma are 3.6 px: nearly two of the 20 and 24 density cells along each side.
    assert int(rows.sum()) == 20 - 4
    assert int(columns.sum()) == 24 - 4
    assert not window.weight[0, : FIRST + 2].any()
    assert window.weight[0, FIRST + 2].any()
    assert float(known(window).sum()) == pytest.approx(1, abs=1e-3)


def test_the_rim_is_kept_at_the_border_of_the_image(one, rectangle):
    (window,) = teaching_windows(one([rectangle(0, 0, 40, 60)], [(20, 30)]), **WHERE)
    asked = window.weight[0, FIRST:, FIRST:] > 0
    assert asked[0, 0]
    assert asked[17, 0]
    assert not asked[18].any()
    assert asked[0, 27]
    assert not asked[:, 28].any()


def test_tails_of_the_known_reach_in_and_those_of_the_unknown_hold_nothing_against(one, rectangle):
    """Of a cell just outside nothing is known; what it puts into the region is not asked for."""
    region = rectangle(0, 0, 64, 40)
    (within,) = teaching_windows(one([region], [(30, 38.0)]), **WHERE)
    assert within.cells == 1
    assert 0 < float(known(within).sum()) < 1
    (outside,) = teaching_windows(one([region], [(30, 40.5)]), **WHERE)
    assert outside.cells == 0
    assert not outside.target.any()
    truth = teaching_windows(one([], [(30, 40.5)]), **WHERE)[0].target[0]
    shown = truth[FIRST : FIRST + 32, FIRST : FIRST + 20]
    asked = outside.weight[0, FIRST : FIRST + 32, FIRST : FIRST + 20] > 0
    assert float((shown * asked).sum()) < 0.03
    assert float((shown * ~asked).sum()) > 0.25


def test_two_regions_side_by_side_have_no_rim_between(one, rectangle):
    regions = [rectangle(0, 0, 64, 36), rectangle(0, 36, 64, 72)]
    first, second = teaching_windows(one(regions, [(30, 35.5), (20, 50)]), **WHERE)
    assert float(first.weight.sum() + second.weight.sum()) == 32 * 36
    assert float(known(first).sum() + known(second).sum()) == pytest.approx(2, abs=1e-3)
    assert first.cells + second.cells == 2


@pytest.mark.parametrize("kind", ["audit", "exclude"])
def test_audit_and_excluded_regions_have_no_weight(one, rectangle, kind):
    regions = [rectangle(0, 0, 64, 72), rectangle(20, 20, 44, 44, kind)]
    dots = [(30, 30), (10, 10)]
    image = one(regions, dots)
    (window,) = teaching_windows(image, **WHERE)
    asked = window.weight[0, FIRST:-FIRST, FIRST:-FIRST]
    assert not asked[10:22, 10:22].any()
    assert not asked[9, 12]
    assert asked[0, 0]
    assert float(window.target.sum()) == pytest.approx(1, abs=1e-3)
    (other,) = teaching_windows(one(regions, [(25, 40), (10, 10)]), **WHERE)
    assert torch.equal(other.target, window.target)


def test_excluded_parts_of_a_region_with_a_stated_count(one, rectangle):
    regions = [rectangle(0, 0, 64, 72, stated=4), rectangle(20, 20, 44, 44, "exclude")]
    (window,) = teaching_windows(one(regions, []), **WHERE)
    assert window.stated == 4
    assert not window.weight[0, FIRST:-FIRST, FIRST:-FIRST][10:22, 10:22].any()


def test_a_stated_count(one, rectangle):
    (window,) = teaching_windows(one([rectangle(0, 0, 40, 60, stated=7)], [(9, 9)]), **WHERE)
    assert window.stated == window.cells == 7
    assert not window.target.any()
    assert float(window.weight.sum()) == 20 * 30
    assert float(window.weight.max()) == 1


def test_corrected_dots_weigh_more(one):
    (window,) = teaching_windows(
        one([], [(20, 20), (40, 50), (50, 20)], ["confirmed", "added", "removed"]), **WHERE
    )
    weight = window.weight[0, FIRST:-FIRST, FIRST:-FIRST]
    assert float(weight[10, 10]) == pytest.approx(1, abs=0.05)
    assert float(weight[20, 25]) > 0.9 * CORRECTED_WEIGHT
    assert float(weight[25, 10]) > 0.9 * CORRECTED_WEIGHT
    assert float(weight.max()) <= CORRECTED_WEIGHT
    assert window.cells == 2


def test_a_correction_outside_of_a_region_gives_no_weight(one, rectangle):
    image = one([rectangle(0, 0, 30, 30)], [(10, 10), (50, 60)], ["confirmed", "added"])
    (window,) = teaching_windows(image, **WHERE)
    assert float(window.weight.max()) == 1


def test_large_regions_are_divided_and_no_cell_is_lost_or_doubled(one, scatter):
    shape = (2 * LARGEST + 30, 200)
    yx = scatter(60, shape, np.random.default_rng(1))
    windows = teaching_windows(one([], yx.tolist(), shape=shape), **WHERE)
    assert len(windows) == 3
    assert max(w.values.shape[1] for w in windows) <= LARGEST + 2 * MARGIN + 4
    assert sum(w.cells for w in windows) == len(yx) == 60
    assert sum(float(known(w).sum()) for w in windows) == pytest.approx(60, abs=1e-2)
    assert sum(float(w.weight.sum()) for w in windows) == shape[0] * shape[1] / 4


def test_a_triangle_is_a_triangle(one):
    region = Region(np.array([(0, 0), (60, 0), (0, 60)], dtype=float), "reviewed")
    (window,) = teaching_windows(one([region], [(15, 15), (50, 50)]), **WHERE)
    asked = window.weight[0, FIRST:, FIRST:] > 0
    assert asked[7, 7]
    assert not asked[25, 25]
    assert window.cells == 1
    assert float(known(window).sum()) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("diameter_px", [8.0, 12.0, 17.3])
def test_other_scales(one, rectangle, diameter_px):
    yx = [(20.0, 30.0), (40.0, 15.0)]
    image = one([rectangle(2, 2, 62, 66)], yx, diameter_px=diameter_px, shape=(65, 71))
    (window,) = teaching_windows(image, **WHERE)
    assert window.cells == 2
    assert float(known(window).sum()) == pytest.approx(2, abs=0.05)
    assert window.values.shape[1] % 4 == window.values.shape[2] % 4 == 0
    # The density's peaks lie on the dots.
    top = torch.topk(window.target.flatten(), 1).indices.item()
    at = np.array(divmod(top, window.target.shape[2])) * 2 + 0.5
    found = np.array(window.source.to_image(*at))
    reach = 2 * diameter_px / 12
    assert min(np.abs(found - dot).max() for dot in yx) <= reach


def test_a_place_and_back():
    source = Source("set", "a.png", (-30.0, 12.0), (0.75, 1.25))
    y, x = 17.25, 4.5
    in_window = (y + 0.5) * 0.75 - 0.5 + 30.0, (x + 0.5) * 1.25 - 0.5 - 12.0
    assert source.to_image(*in_window) == pytest.approx((y, x))


def test_the_window_shows_the_image_round_the_region(one, rectangle):
    image = one([rectangle(20, 24, 50, 60)], [(30, 30)])
    (window,) = teaching_windows(image, **WHERE)
    assert window.source.origin == (20 - MARGIN, 24 - MARGIN)
    values = image.values()
    top, left = (int(o) for o in window.source.origin)
    assert torch.equal(window.values[:, -top : 64 - top, -left : 72 - left], values[:, :, :])
    assert not window.values[:, :-top].any()


def test_a_constant_image_has_no_windows(one, reviewed_images):
    image = one([], [(30, 30)])
    imageio.imwrite(image.sample.image, np.full((64, 72), 9, dtype=np.uint8))
    (blank,) = reviewed_images(image.dataset.folder)
    assert windows_of(blank, blank.teaching, **WHERE) == []
