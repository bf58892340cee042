import numpy as np
import pytest
import torch

from celltally.learn.augment import AUGMENTATIONS
from celltally.learn.regions.batches import RegionBatches, as_they_are


@pytest.fixture
def windows(reviewed_folder, windows_in, rectangle):
    regions = {0: [rectangle(0, 0, 40, 50)], 1: [rectangle(4, 4, 60, 60, stated=3)]}
    return windows_in(reviewed_folder([6, 8, 5], regions))


def batches(windows, seed=0, pixels=10**6, augmentation=None):
    rng = np.random.default_rng(seed)
    return RegionBatches(windows, pixels=pixels, stride=2, augmentation=augmentation, rng=rng)


def test_all_are_turned_alike(windows):
    """The light of a window, its dots and its weights stay one above the other."""
    window = windows[0]
    light = window.values[:, ::2, ::2]
    marked = type(window)(
        values=window.values, thumbnail=window.thumbnail, target=light, weight=light * 2 + 1,
        stated=None, cells=6.0,
    )  # fmt: skip
    seen = set()
    drawing = batches([marked])
    for _ in range(40):
        batch = next(drawing)
        seen.add(tuple(batch.target.shape[2:]))
        images, target = batch.images[0, :1], batch.target[0]
        assert torch.equal(batch.weight[0], target * 2 + 1)
        matches = [images[:, y::2, x::2] for y in (0, 1) for x in (0, 1)]
        assert any(torch.equal(target, part) for part in matches)
    assert len(seen) == 2  # lying and standing


def test_what_is_known_is_only_moved(windows):
    batch = next(batches(windows, augmentation=AUGMENTATIONS["mild"]))
    sums = sorted(float(w.target.sum()) for w in windows)
    assert sorted(batch.target.sum(dim=(1, 2, 3)).tolist()) == pytest.approx(sums, abs=1e-3)
    assert batch.images.shape[1] == 3
    assert int(torch.isnan(batch.stated).sum()) == 2
    assert float(batch.stated.nansum()) == 3
    assert torch.isfinite(batch.images).all()


def test_every_window_once_before_one_comes_again(windows):
    drawing = batches(windows, pixels=1)
    marks = {float(w.weight.sum()): i for i, w in enumerate(windows)}
    for _ in range(3):
        drawn = [float(next(drawing).weight.sum()) for _ in windows]
        assert {marks[d] for d in drawn} == {0, 1, 2}


def test_the_seed_decides(windows):
    light = AUGMENTATIONS["mild"]
    first, again, other = (next(batches(windows, s, augmentation=light)) for s in (3, 3, 4))
    assert torch.equal(first.images, again.images)
    assert first.images.shape != other.images.shape or not torch.equal(first.images, other.images)


def test_padding_holds_nothing(windows):
    (batch,) = as_they_are(windows, 10**6, 2)
    assert len(batch.images) == 3
    for i, window in enumerate(windows):
        height, width = window.target.shape[1:]
        assert torch.equal(batch.target[i, :, :height, :width], window.target)
        assert not batch.weight[i, :, height:].any()
        assert not batch.weight[i, :, :, width:].any()


def test_as_they_are_each_once(windows):
    parts = list(as_they_are(windows, 1, 2))
    assert [float(p.weight.sum()) for p in parts] == [float(w.weight.sum()) for w in windows]
