from dataclasses import fields

import numpy as np
import pytest
import torch
from skimage.color import hed2rgb, rgb2hed

from celltally.learn.augment import AUGMENTATIONS, Augmentation, blank_field, name_of


@pytest.mark.parametrize("channels", [1, 3])
def test_intensities_change_and_stay_usable(channels):
    values = torch.rand(channels, 32, 32, generator=torch.Generator().manual_seed(0))
    changed = [
        Augmentation().photometric(values, np.random.default_rng(seed)) for seed in range(20)
    ]
    for out in changed:
        assert out.shape == values.shape
        assert out.dtype == torch.float32
        assert out.isfinite().all()
    assert len({round(float(out.mean()), 6) for out in changed}) == 20


def test_it_keeps_cells_where_they_are():
    values = torch.zeros(1, 41, 41)
    values[0, 20, 12] = 1.0
    for seed in range(20):
        out = Augmentation(noise=0).photometric(values, np.random.default_rng(seed))
        assert divmod(int(out[0].argmax()), 41) == (20, 12)


def test_the_same_seed_does_the_same():
    values = torch.rand(3, 16, 16)
    a, b = (Augmentation().photometric(values, np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(a, b)


def test_no_strength_changes_nothing_but_by_chance_the_sharpness():
    calm = Augmentation(gamma=1, gain=1, noise=0, blur=0.3, hue=0, saturation=1, stain=1)
    values = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    for seed in range(8):
        out = calm.photometric(values, np.random.default_rng(seed))
        assert torch.allclose(out, values, atol=0.02)


STAIN_ONLY = Augmentation(gamma=1, gain=1, noise=0, blur=0.3, hue=0, saturation=1, stain=1.4)


def test_each_stain_changes_by_its_own_factor():
    amounts = np.broadcast_to([0.03, 0.02, 0.01], (12, 12, 3))
    values = torch.from_numpy(hed2rgb(amounts).transpose(2, 0, 1).astype(np.float32))
    factors = []
    for seed in range(12):
        out = STAIN_ONLY.photometric(values, np.random.default_rng(seed))
        ratio = rgb2hed(out.numpy(), channel_axis=0) / amounts.transpose(2, 0, 1)
        assert np.ptp(ratio, axis=(1, 2)).max() < 1e-3
        factors.append(ratio[:, 0, 0])
    assert (np.log(factors).std(axis=0) > 0.1).all()
    assert np.abs(np.log(factors)).max() <= np.log(1.4) + 1e-3
    assert not np.allclose(np.array(factors)[:, 0], np.array(factors)[:, 1], atol=0.05)


def test_coloured_light_on_a_dark_ground_is_no_stain():
    values = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5
    for seed in range(8):
        out = STAIN_ONLY.photometric(values, np.random.default_rng(seed))
        assert torch.allclose(out, values, atol=0.02)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 40), (3, 2, 2)])
def test_tiny_images(shape):
    for seed in range(20):
        out = Augmentation().photometric(torch.rand(shape), np.random.default_rng(seed))
        assert out.shape == shape


def test_empty_fields():
    fields = [blank_field(64, np.random.default_rng(seed)) for seed in range(12)]
    for field in fields:
        assert field.shape == (1, 64, 64)
        assert field.dtype == torch.float32
        assert field.isfinite().all()
    assert torch.equal(fields[3], blank_field(64, np.random.default_rng(3)))
    assert not torch.equal(fields[3], fields[4])


def test_strengths_have_names_and_fall():
    full, mild, slight = (AUGMENTATIONS[name] for name in ("full", "mild", "slight"))
    assert full == Augmentation()
    assert [name_of(strengths) for strengths in (full, mild, slight, None)] == [
        "full", "mild", "slight", "none",
    ]  # fmt: skip
    assert "zoom=3" in name_of(Augmentation(zoom=3))
    for field in fields(Augmentation):
        values = [getattr(strengths, field.name) for strengths in (full, mild, slight)]
        assert values == sorted(values, reverse=True), field.name
