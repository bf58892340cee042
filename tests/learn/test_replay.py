from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from celltally.density import density_map
from celltally.errors import UserError
from celltally.learn.replay import (
    ReplayPatch,
    in_words,
    make_replay,
    replay_patches,
    store_patches,
)
from celltally.types import Grid

SIDE = 48


def make(images, free=("blobs",), *, seed=0, **options):
    rng = np.random.default_rng(seed)
    return make_replay(images, rng, free=free, **{"patches": 12, "side": SIDE} | options)


def in_colour(image):
    """The same image with three channels that differ."""
    shades = torch.tensor([1.0, 0.5, 0.25]).view(3, 1, 1)
    return replace(image, values=(image.values.float() * shades).half())


def n_inside(patch: ReplayPatch) -> int:
    side = patch.values.shape[-1]
    return int(((patch.yx > -0.5) & (patch.yx < side - 0.5)).all(axis=1).sum())


@pytest.fixture
def images(prepared_images):
    return prepared_images(counts=(0, 2, 10, 30), shape=(100, 120))


def test_patches_are_those_of_the_images(images):
    patches = replay_patches(make(images))

    assert len(patches) == 12
    for patch in patches:
        assert patch.values.shape == (1, SIDE, SIDE)
        assert patch.thumbnail.shape == (3, 64, 64)
        assert patch.dataset == "blobs"
        top, left = (round(-edge - 0.5) for edge in patch.extent[:2])
        (image,) = [i for i in images if torch.allclose(i.thumbnail, patch.thumbnail, atol=0.01)]
        shape = [int(side) for side in image.values.shape[1:]]
        expected = torch.full((1, shape[0] + 2 * SIDE, shape[1] + 2 * SIDE), torch.nan)
        expected[:, SIDE:-SIDE, SIDE:-SIDE] = image.values.float()
        y, x = top + SIDE, left + SIDE
        expected = expected[:, y : y + SIDE, x : x + SIDE]
        step = float(image.values.float().max() - image.values.float().min()) / 255
        beyond = expected.isnan()
        assert not patch.values[beyond].any()
        torch.testing.assert_close(patch.values[~beyond], expected[~beyond], atol=step, rtol=0)
        assert patch.extent == (
            -0.5 - top,
            -0.5 - left,
            shape[0] - top - 0.5,
            shape[1] - left - 0.5,
        )
        inside = {
            (round(float(a), 3), round(float(b), 3)) for a, b in patch.yx + np.array([top, left])
        }
        assert inside <= {(round(float(a), 3), round(float(b), 3)) for a, b in image.yx}


def test_the_density_of_a_patch_is_that_of_its_image(images):
    grid = Grid((SIDE // 2, SIDE // 2), (2.0, 2.0))
    (image,) = [i for i in images if i.count == 30]
    for patch in replay_patches(make([image])):
        made = density_map(patch.yx, grid, 1.8, extent=patch.extent)
        corner = np.array([-patch.extent[0] - 0.5, -patch.extent[1] - 0.5])
        whole = density_map(image.yx - corner, grid, 1.8, extent=patch.extent)
        np.testing.assert_allclose(made, whole, atol=1e-4)


def test_few_and_many_cells_and_none_are_kept_from_all_images(images):
    patches = replay_patches(make(images))

    counts = [n_inside(patch) for patch in patches]
    assert min(counts) == 0
    assert max(counts) >= 5
    assert len({tuple(patch.thumbnail.flatten().tolist()) for patch in patches}) == len(images)


def test_sets_share_the_room_and_leave_what_they_do_not_need(prepared_images):
    few = prepared_images("few", counts=(3, 4), shape=(40, 44))  # each gives one patch
    many = prepared_images("many", counts=(3, 12, 30), shape=(90, 90))
    both = prepared_images("more", counts=(3, 12, 30), shape=(90, 90))

    patches = replay_patches(make([*few, *many, *both], ("few", "many", "more")))

    names = [patch.dataset for patch in patches]
    assert {name: names.count(name) for name in names} == {"few": 2, "many": 5, "more": 5}


def test_only_free_data_and_only_dots_are_kept(images, prepared_images):
    counted = prepared_images("counted", counts=(3, 5), labels="counts")
    other = prepared_images("other")

    patches = replay_patches(make([*images, *counted, *other], ("blobs", "counted")))

    assert {patch.dataset for patch in patches} == {"blobs"}
    assert make([*counted, *other], ("blobs", "counted")) == {}
    assert replay_patches({}) == []


def test_a_small_image_lies_in_the_middle_with_zeros_around(prepared_images):
    (image,) = prepared_images(counts=(4,), shape=(30, 36))

    (patch,) = replay_patches(make([image]))

    assert patch.extent == (8.5, 5.5, 38.5, 41.5)
    assert not patch.values[:, :9].any()
    assert not patch.values[:, 39:].any()
    assert not patch.values[:, :, :6].any()
    assert not patch.values[:, :, 42:].any()
    np.testing.assert_allclose(patch.yx, image.yx + np.array([9, 6]), atol=1e-5)


def test_colour_takes_the_room_of_three_and_stays_colour(images):
    coloured = [in_colour(image) for image in images]

    patches = replay_patches(make(coloured))

    assert len(patches) == 4
    for patch in patches:
        assert patch.values.shape[0] == 3
        assert float(patch.thumbnail[0].max()) > float(patch.thumbnail[2].max())


def test_grey_and_colour_are_kept_side_by_side(images):
    coloured = [replace(in_colour(image), dataset="stained") for image in images]

    patches = replay_patches(make([*images, *coloured], ("blobs", "stained")))

    assert {(p.dataset, len(p.values)) for p in patches} == {("blobs", 1), ("stained", 3)}


def test_the_same_chance_keeps_the_same(images):
    first, again, other = make(images), make(images), make(images, seed=1)

    assert list(first) == list(again)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["grey.values"], other["grey.values"])


def test_what_is_stored_again_is_the_same(images):
    coloured = [replace(in_colour(image), dataset="stained") for image in images]
    stored = make([*images, *coloured], ("blobs", "stained"))

    again = store_patches(replay_patches(store_patches(replay_patches(stored))))

    assert list(again) == list(stored)
    for name, tensor in stored.items():
        if tensor.dtype == torch.float32:
            torch.testing.assert_close(again[name], tensor, atol=1e-5, rtol=0)
        else:
            assert torch.equal(again[name], tensor)


def test_older_patches_share_the_room(images, prepared_images):
    old = replay_patches(make(prepared_images("old", counts=(2, 5, 9), shape=(90, 90)), ("old",)))

    patches = replay_patches(make(images, kept=old))

    names = [patch.dataset for patch in patches]
    assert (names.count("blobs"), names.count("old")) == (6, 6)
    before = {tuple(patch.values.flatten().tolist()) for patch in old}
    after = [p for p in patches if p.dataset == "old"]
    assert all(any(torch.allclose(p.values, o.values, atol=1e-5) for o in old) for p in after)
    assert len(before) == 12


def test_a_usual_replay_is_about_a_megabyte(prepared_images):
    images = prepared_images(counts=(5, 20, 40), shape=(200, 220))

    stored = make(images, patches=48, side=128)

    size = sum(t.numel() * t.element_size() for t in stored.values())
    assert 0.9e6 < size < 1.1e6
    assert len(replay_patches(stored)) == 48


def test_what_is_kept_is_told(images):
    assert in_words(make(images), {"blobs": "CC0 1.0"}) == "12 of blobs (CC0 1.0)"
    assert in_words(make(images), {}) == "12 of blobs"
    assert in_words({}, {}) == ""


def test_patches_of_several_sizes_are_not_stored_together(images):
    small, large = replay_patches(make(images)), replay_patches(make(images, side=64))

    with pytest.raises(ValueError, match="several sizes"):
        store_patches([*small, *large])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sets", lambda t: t[:-1]),
        ("sets", lambda t: t.to(torch.int16)),
        ("grey.values", lambda t: t[:, :, :-1]),
        ("grey.values", lambda t: t.float()),
        ("grey.value_range", lambda t: t * torch.nan),
        ("grey.value_range", lambda t: t.flip(1) + torch.tensor([1.0, 0.0])),
        ("grey.value_range", lambda t: t + 100),
        ("grey.thumbnails", lambda t: t[1:]),
        ("grey.thumbnail_range", lambda t: t + 100),
        ("grey.extent", lambda t: t.flip(1)),
        ("grey.extent", lambda t: t + 1000),
        ("grey.dots", lambda t: t[1:]),
        ("grey.dots", lambda t: t * torch.inf),
        ("grey.n_dots", lambda t: t - 1000),
        ("grey.set", lambda t: t + 1),
        ("grey.set", lambda t: t - 1),
    ],
)
def test_damaged_content_is_refused(images, name, change):
    stored = make(images)

    with pytest.raises(UserError, match=r"damaged .*copy the model again"):
        replay_patches(stored | {name: change(stored[name])})


def test_missing_and_foreign_content_is_refused(images):
    stored = make(images)

    for name in stored:
        with pytest.raises(UserError, match="damaged"):
            replay_patches({n: t for n, t in stored.items() if n != name})
    with pytest.raises(UserError, match="damaged"):
        replay_patches(stored | {"grey.more": torch.zeros(1)})
    text = torch.frombuffer(bytearray(b"[1]"), dtype=torch.uint8)
    with pytest.raises(UserError, match="damaged"):
        replay_patches(stored | {"sets": text})
