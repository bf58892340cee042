"""What to review next: which tiles there are, what is known of them, and which are chosen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.learn.suggest import Candidate, iter_candidates, side_of, suggest, tiles, why
from celltally.predict import predict
from celltally.progress import drain
from celltally.types import Region


def candidate(name="a", at=(0, 0), **changes):
    y, x = 100.0 * at[0] - 0.5, 100.0 * at[1] - 0.5
    settings = {
        "image": name,
        "window": (y, x, y + 100, x + 100),
        "unsure": 1.0,
        "disagreement": 0.0,
        "count": 10.0,
        "unfamiliar": 0.2,
        "structure": 0.1,
        "features": np.zeros(2),
    }
    return Candidate(**(settings | changes))


def box(window, kind="reviewed", **more):
    y0, x0, y1, x1 = window
    return Region(np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)]), kind, **more)


def two_kinds(many=8, few=2):
    """Tiles of two looks, in one image each, all in doubt alike."""
    rng = np.random.default_rng(0)
    kinds = [("common", (0, 0), many), ("rare", (9, 9), few)]
    return [
        candidate(name, (0, i), features=np.array(look) + rng.normal(0, 0.1, 2))
        for name, look, n in kinds
        for i in range(n)
    ]


# ---- tiles ----


def test_tiles_reach_all_borders_and_have_the_size_that_was_asked_for():
    found = np.array(tiles((600, 700), 256))
    assert np.allclose(found[:, 2:] - found[:, :2], 256)
    assert found.min() == -0.5
    assert found[:, 2].max() == 599.5
    assert found[:, 3].max() == 699.5
    assert len(found) == 2 * 3


def test_an_image_smaller_than_a_tile_is_one():
    assert tiles((100, 600), 256)[0] == (-0.5, -0.5, 99.5, 255.5)
    assert len(tiles((100, 100), 256)) == 1
    with pytest.raises(ValueError, match="positive"):
        tiles((100, 100), 0)


def test_tiles_hold_a_few_cells_however_large_these_are():
    assert side_of(10) == 256
    assert side_of(100) == 800


# ---- choosing ----


def test_what_is_chosen_is_spread_over_looks():
    found = suggest(two_kinds(), 2)
    assert {one.image for one in found} == {"common", "rare"}
    assert found[0].image == "common"  # there is more of it to be mended


def test_tiles_in_doubt_come_first():
    sure = [candidate("sure", (0, i), features=np.array([0.0, i])) for i in range(4)]
    doubt = candidate("doubt", features=np.array([9.0, 0.0]), unsure=50.0)
    assert suggest([*sure, doubt], 1) == [doubt]
    apart = replace(doubt, unsure=1.0, disagreement=50.0)
    assert suggest([*sure, apart], 1) == [apart]


def test_a_full_tile_comes_before_emptier_ones_that_are_more_usual():
    little = {"count": 5.0, "structure": 0.05}
    usual = [candidate(f"{i}", features=np.array([0.0, 0.1 * i]), **little) for i in range(6)]
    full = candidate("full", features=np.array([0.0, 0.55]), count=20.0, structure=0.2)
    assert suggest([*usual, full], 1) == [full]
    emptier = replace(full, **little)
    assert suggest([*usual, emptier], 1) != [emptier]


def test_strange_tiles_come_first_where_the_model_is_sure_of_everything():
    usual = [
        candidate("a", (0, i), features=np.array([0.0, i]), unsure=0.0, count=0.0) for i in range(3)
    ]
    strange = candidate("b", features=np.array([9.0, 0.0]), unsure=0.0, count=0.0, unfamiliar=0.9)
    assert suggest([*usual, strange], 1) == [strange]
    unlike = replace(strange, unfamiliar=0.2, likeness=1e-6)
    known = [replace(one, likeness=0.5) for one in usual]
    assert suggest([*known, unlike], 1)[0] is unlike


def test_empty_tiles_do_not_win():
    # Most tiles are empty, and the model has nothing to say of any.
    empty = [
        candidate("empty", (0, i), features=np.array([0.0, 0.1 * i]), structure=0.003, count=0.0)
        for i in range(12)
    ]
    full = [candidate("full", (0, i), features=np.array([9.0, 0.1 * i])) for i in range(4)]
    sure = [replace(one, unsure=0.0, count=0.0) for one in (*empty, *full)]
    assert suggest(sure, 1)[0].image == "full"
    assert suggest([*empty, *full], 2)[0].image == "full"


def test_what_was_reviewed_is_not_asked_for_again():
    candidates = two_kinds()
    seen = [replace(candidates[0], open_share=0.0, reviewed_share=1.0), *candidates[1:]]
    assert suggest(seen, 1)[0].image == "rare"  # the common look is known by now
    assert suggest(candidates[1:], 1, reviewed=[candidates[0]])[0].image == "rare"
    assert candidates[0] not in suggest(candidates, 10, reviewed=[candidates[0]])
    assert suggest([replace(candidates[0], open_share=0.3)], 1) == []


def test_chosen_tiles_hardly_overlap():
    one, other = candidate(), candidate(at=(0, 0.5), features=np.ones(2))
    assert len(suggest([one, other], 2)) == 1
    assert len(suggest([one, replace(other, image="b")], 2)) == 2


def test_images_come_before_further_tiles_of_one():
    rng = np.random.default_rng(0)
    found = suggest(
        [
            candidate(name, (0, i), features=rng.normal(0, 1, 4))
            for name in ("a", "b", "c")
            for i in range(3)
        ],
        3,
    )
    assert len({one.image for one in found}) == 3


def test_the_order_does_not_depend_on_how_many_are_asked_for():
    candidates = two_kinds()
    assert suggest(candidates, 2) == suggest(candidates, 5)[:2]
    assert suggest([], 3) == []


def test_candidates_of_two_models_cannot_be_compared():
    with pytest.raises(ValueError, match="one model"):
        suggest([candidate(), candidate(features=np.zeros(3))], 1)


def test_why_is_said_in_a_word_or_two():
    others = [candidate(at=(0, i), unsure=1.0 + i, unfamiliar=0.3) for i in range(4)]
    assert why(others[3], others) == "unsure"
    assert why(replace(others[0], disagreement=5.0), others) == "dots and density disagree"
    assert why(replace(others[0], unfamiliar=0.4), others) == "looks new"
    assert why(replace(others[3], likeness=1e-4), others) == "looks new"


# ---- looking ----


@pytest.fixture
def image(draw_cells, scatter):
    rng = np.random.default_rng(0)
    yx = scatter(25, (96, 64), rng)
    return draw_cells(yx, (96, 192), rng=rng), yx  # cells in the left third only


def look(model, pixels, **options):
    return drain(
        iter_candidates(
            model, pixels, image="i", diameter_px=12.0, device="cpu", side_px=64.0, **options
        )
    )


def test_tiles_know_what_network_and_dots_say_of_them(tiny_model, image):
    pixels, yx = image
    found = look(tiny_model, pixels, dots=yx)
    assert [one.window for one in found] == tiles(pixels.shape, 64)
    said = predict(tiny_model, pixels, diameter_px=12.0, device="cpu")
    given = look(tiny_model, pixels, dots=yx, prediction=said)
    for one, other in zip(found, given, strict=True):
        y0, x0, y1, x1 = one.window
        cells = ((yx >= (y0, x0)) & (yx < (y1, x1))).all(axis=1).sum()
        assert one.disagreement == pytest.approx(other.disagreement)
        assert one.expected_error == pytest.approx(math.hypot(one.unsure, one.disagreement))
        assert 0 < one.unfamiliar < 1
        assert abs(one.disagreement - cells) <= one.count + 1e-6
        assert np.allclose(one.features, other.features)
    assert found[0].structure > 3 * found[-1].structure
    # Neighbouring tiles share the sum of the density where they meet.
    inside = [found[0], found[2], found[-1]]
    assert len(inside[0].features) == 2 * len(tiny_model.network.prototype_kinds)


def test_windows_sum_to_the_image_where_they_fit(tiny_model, image):
    pixels, _ = image
    found = drain(
        iter_candidates(tiny_model, pixels, image="i", diameter_px=12.0, device="cpu", side_px=48.0)
    )
    said = predict(tiny_model, pixels, diameter_px=12.0, device="cpu")
    assert len(found) == 2 * 4
    assert min(said.density.sum(axis=0).min(), 0) > -1  # tiles are cut off at 0 one by one
    positive = np.maximum(
        said.density[0].reshape(2, 24, 4, 24).sum(axis=(1, 3), dtype=np.float64), 0.0
    )
    assert np.allclose([one.count for one in found], positive.ravel(), atol=1e-4)


def test_regions_close_parts_of_tiles(tiny_model, image):
    pixels, yx = image
    first, *_, last = tiles(pixels.shape, 64)
    regions = [box(first), box(last, "exclude")]
    found = look(tiny_model, pixels, dots=yx, regions=regions)
    assert (found[0].open_share, found[0].reviewed_share) == (0.0, 1.0)
    assert found[0].disagreement == 0.0
    assert (found[-1].open_share, found[-1].reviewed_share) == (0.0, 0.0)
    tissue = look(tiny_model, pixels, regions=[box(first, "tissue")])
    assert (tissue[0].open_share, tissue[-1].open_share) == (1.0, 0.0)
    audited = look(tiny_model, pixels, regions=[box(first, "audit")])
    assert (audited[0].open_share, audited[0].reviewed_share) == (0.0, 0.0)
    stated = look(tiny_model, pixels, regions=[box(first, stated=7)])
    assert stated[0].reviewed_share == 1.0


def test_an_image_that_shows_nothing_is_never_suggested_first(tiny_model, image):
    pixels, _ = image
    nothing = look(tiny_model, np.zeros((96, 192), np.uint8))
    assert {one.structure for one in nothing} == {0.0}
    found = suggest([*(replace(one, image="0") for one in nothing), *look(tiny_model, pixels)], 1)
    assert found[0].image == "i"


def test_a_network_without_prototypes_is_asked_as_well(image):
    import torch

    from celltally.model import Model
    from celltally.networks import build

    torch.manual_seed(0)
    config = {"widths": (8, 8), "encoder_blocks": (1, 1), "decoder_blocks": (1,), "depth": 8}
    model = Model.from_network(build("tally_plain", config), name="plain", diameter_px=12.0)
    found = look(model, image[0])
    assert all(math.isnan(one.unfamiliar) for one in found)
    assert len(suggest(found, 3)) == 3
    assert why(found[0], found) in ("unsure", "looks new")


def test_regions_smaller_than_a_cell_are_refused(tiny_model, image):
    with pytest.raises(UserError, match="smaller than a cell of 12 px in i"):
        drain(
            iter_candidates(
                tiny_model, image[0], image="i", diameter_px=12.0, side_px=5.0, device="cpu"
            )
        )
