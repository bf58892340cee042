import math

import pytest
import torch

from celltally.networks import losses


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_density_loss_is_in_units_of_a_peak():
    density, target = torch.full((1, 1, 4, 4), 0.3), torch.full((1, 1, 4, 4), 0.1)
    assert losses.density_loss(density, target, 0.1).item() == pytest.approx(4.0)
    assert losses.density_loss(target, target, 0.1) == 0


def test_blocks_see_counts_and_not_places():
    target = torch.zeros(1, 1, 8, 8)
    target[..., 1, 1] = 1.0
    moved = torch.zeros_like(target)
    moved[..., 2, 2] = 1.0
    assert losses.block_count_loss(moved, target, (4,)) == 0
    assert losses.block_count_loss(moved, target, (1,)) > 0
    missing = torch.zeros_like(target)
    assert losses.block_count_loss(missing, target, (8,)).item() == pytest.approx(1 / 8**2)
    assert losses.block_count_loss(missing, target, (4, 8)).item() == pytest.approx(
        (1 / 4 / 4**2 + 1 / 8**2) / 2
    )


def test_blocks_hold_all_cells_at_odd_sizes():
    error = torch.zeros(1, 1, 5, 7)
    error[..., 4, 6] = 1.0
    assert losses.block_count_loss(error, torch.zeros_like(error), (4,)) > 0


def test_count_loss():
    density = torch.full((2, 1, 2, 2), 1.0)
    loss = losses.count_loss(density, torch.tensor([4.0, 8.0]))
    assert loss.item() == pytest.approx((0 + 4 / 3) / 2)


def test_a_count_below_zero_is_no_divergence():
    """What another network counts in an empty patch may be less than nothing."""
    loss = losses.count_loss(torch.zeros(1, 1, 2, 2), torch.tensor([-3.0]))
    assert loss.item() == pytest.approx(3.0)


def test_prototypes_are_tied_to_their_own_group():
    """Only distances at places of the own group count, and of those the smallest."""
    target = torch.zeros(1, 1, 9, 9)
    target[..., 4, 4] = 0.5
    distances = torch.full((1, 4, 9, 9), 3.0, requires_grad=True)
    loss = losses.prototype_to_feature_loss(distances, target, 2)
    assert loss.item() == pytest.approx(3.0)
    loss.backward()
    reached = distances.grad[0] != 0
    assert reached[:2].any(dim=0).nonzero().tolist() == [[4, 4]]
    assert reached[2:].any()
    assert not reached[2:, 3:6, 3:6].any()


def test_prototypes_without_places():
    distances = torch.rand(1, 4, 5, 5, requires_grad=True)
    full = torch.full((1, 1, 5, 5), 5e-4)  # neither a cell nor empty
    assert losses.prototype_to_feature_loss(distances, full, 2) == 0
    empty = losses.prototype_to_feature_loss(distances, torch.zeros(1, 1, 5, 5), 2)
    assert empty.item() == pytest.approx(distances[0, 2:].amin(dim=(1, 2)).mean().item())


def test_diversity():
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    assert losses.diversity_loss(apart, 2, 0.0) == 0
    alike = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    assert losses.diversity_loss(alike, 2, 0.2).item() == pytest.approx(0.8)
    # Groups do not repel each other.
    across = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert losses.diversity_loss(across, 2, 0.0) == 0


def test_a_prototype_alone_in_its_group_is_diverse():
    assert losses.diversity_loss(torch.ones(2, 4), 1, 0.0) == 0


def test_diversity_drives_prototypes_apart():
    prototypes = torch.nn.Parameter(1 + 0.1 * torch.randn(6, 8))
    optimizer = torch.optim.SGD([prototypes], lr=0.5)
    before = losses.diversity_loss(prototypes, 3, 0.2).item()
    for _ in range(300):
        optimizer.zero_grad()
        losses.diversity_loss(prototypes, 3, 0.2).backward()
        optimizer.step()
    assert losses.diversity_loss(prototypes, 3, 0.2).item() < 0.5 * before


def test_the_variance_loss_is_smallest_at_the_true_variance():
    target = torch.zeros(400, 1, 4, 4)
    density = target.clone()
    density[:, :, 0, 0] = 2.0 * torch.randn(400, 1)
    values = {}
    for variance in (1.0, 4.0, 16.0):
        log_variance = torch.full_like(target, math.log(variance / 16))
        values[variance] = losses.variance_loss(density, log_variance, target, (4,)).item()
    assert min(values, key=values.get) == 4.0


def test_the_variance_loss_does_not_reach_the_density():
    density = torch.rand(1, 1, 4, 4, requires_grad=True)
    log_variance = torch.zeros(1, 1, 4, 4, requires_grad=True)
    losses.variance_loss(density, log_variance, torch.zeros(1, 1, 4, 4), (2,)).backward()
    assert density.grad is None
    assert log_variance.grad.abs().sum() > 0


def test_density_loss_where_nothing_is_known():
    density, target = torch.rand(2, 1, 6, 6), torch.rand(2, 1, 6, 6)
    weight = torch.ones(2, 1, 6, 6)
    whole = losses.density_loss(density, target, 0.1)
    assert losses.density_loss(density, target, 0.1, weight).item() == pytest.approx(whole.item())
    assert losses.density_loss(density, target, 0.1, 3 * weight).item() == pytest.approx(
        whole.item()
    )
    weight[..., :3] = 0
    density[..., :3] = 99.0
    known = losses.density_loss(density[..., 3:], target[..., 3:], 0.1)
    assert losses.density_loss(density, target, 0.1, weight).item() == pytest.approx(known.item())
    assert losses.density_loss(density, target, 0.1, 0 * weight) == 0


def test_a_place_of_weight_three_counts_three_times():
    density, target = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    density[..., 0, 0] = 1.0
    weight = torch.ones(1, 1, 2, 2)
    weight[..., 0, 0] = 3.0
    assert losses.density_loss(density, target, 1.0, weight).item() == pytest.approx(3 / 6)


def test_blocks_where_nothing_is_known():
    density, target = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    weight = torch.ones(2, 1, 8, 8)
    whole = losses.block_count_loss(density, target, (2, 4)).item()
    assert losses.block_count_loss(density, target, (2, 4), weight).item() == pytest.approx(whole)
    weight[..., :4] = 0
    density[..., :4] = 99.0
    known = losses.block_count_loss(density[..., 4:], target[..., 4:], (2, 4)).item()
    assert losses.block_count_loss(density, target, (2, 4), weight).item() == pytest.approx(known)
    assert losses.block_count_loss(density, target, (2, 4), 0 * weight) == 0


def test_of_a_block_that_is_known_in_part_the_part_is_counted():
    target = torch.zeros(1, 1, 4, 8)
    density = torch.zeros_like(target)
    density[..., 0, 0] = 1.0
    weight = torch.ones_like(target)
    weight[..., 2:, :4] = 0  # half of the first block
    loss = losses.block_count_loss(density, target, (4,), weight).item()
    assert loss == pytest.approx(0.5 / 4**2 / 1.5)
