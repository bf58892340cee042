import pytest
import torch

from celltally.networks.layers import (
    ChannelNorm,
    Downsample,
    ResidualBlock,
    UnitNorm,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def lively(layer):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


@pytest.mark.parametrize(
    "layer", [ChannelNorm(6), UnitNorm()], ids=lambda layer: type(layer).__name__
)
def test_norms_look_at_one_place_only(layer):
    lively(layer)
    x = torch.randn(2, 6, 5, 7)
    before = layer(x)
    x[:, :, 2, 3] *= 100
    after = layer(x)
    changed = (before != after).any(dim=1)
    assert changed[:, 2, 3].sum() <= 2
    changed[:, 2, 3] = False
    assert not changed.any()


def test_channel_norm_by_hand():
    x = torch.randn(2, 6, 3, 4)
    mean, variance = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True, unbiased=False)
    assert torch.allclose(ChannelNorm(6)(x), (x - mean) / (variance + 1e-5).sqrt(), atol=1e-5)


def test_unit_norm_gives_the_root_of_the_channels():
    out = UnitNorm()(100 * torch.randn(2, 9, 4, 4))
    assert torch.allclose(out.norm(dim=1), torch.full((2, 4, 4), 3.0), atol=1e-4)
    assert UnitNorm()(torch.zeros(1, 9, 1, 1)).isfinite().all()


def test_unit_norm_is_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = UnitNorm()(torch.randn(1, 4, 2, 2).bfloat16())
    assert out.dtype == torch.float32


def test_a_residual_block_starts_as_nothing_and_reaches_as_far_as_it_says():
    block = ResidualBlock(4)
    x = torch.randn(1, 4, 11, 11)
    assert torch.equal(block(x), x)
    lively(block)
    before = block(x)
    x[0, :, 5, 5] += 1
    rows, columns = torch.nonzero((before != block(x)).any(dim=1)[0], as_tuple=True)
    reach = ResidualBlock.reach
    assert (rows.min(), rows.max()) == (5 - reach, 5 + reach)
    assert (columns.min(), columns.max()) == (5 - reach, 5 + reach)


def test_downsampling_does_not_overlap():
    layer = lively(Downsample(3, 5))
    x = torch.randn(1, 3, 8, 8)
    before = layer(x)
    x[0, :, 3, 4] += 1
    changed = torch.nonzero((before != layer(x)).any(dim=1)[0]).tolist()
    assert before.shape == (1, 5, 4, 4)
    assert changed == [[1, 2]]
