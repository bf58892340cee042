import math

import pytest
import torch

from celltally.networks.layers import UnitNorm
from celltally.networks.prototypes import PrototypeHead


@pytest.fixture
def head():
    torch.manual_seed(0)
    return PrototypeHead(8, 6, classes=2, epsilon=1e-2, gain=0.1)


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(1)
    return UnitNorm()(torch.randn(2, 8, 5, 7, generator=generator))


def test_distances_by_hand(head, features):
    difference = features[:, None] - head.vectors[None, :, :, None, None]
    expected = difference.square().sum(dim=2) / 8
    assert torch.allclose(head.distances(features), expected, atol=1e-5)


def test_distances_are_never_negative_and_zero_at_the_prototype(head, features):
    with torch.no_grad():
        head.vectors[2] = features[1, :, 3, 4]
    distances = head.distances(features).detach()
    assert (distances >= 0).all()
    assert distances[1, 2, 3, 4] < 1e-6
    similarity = head.similarities(distances)[1, 2, 3, 4].item()
    assert similarity == pytest.approx(math.log(1 / 1e-2), abs=1e-3)
    assert similarity >= head.similarities(distances).max() - 1e-6


def test_similarity_is_that_of_the_paper_with_and_without_gradients(head):
    distances = torch.linspace(0, 4, 50).reshape(1, 1, 5, 10)
    expected = ((distances + 1) / (distances + 1e-2)).log()
    assert torch.allclose(head.similarities(distances.clone()), expected, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(head.similarities(distances.clone()), expected, atol=1e-5)


def test_similarities_do_not_change_the_distances(head):
    distances = torch.linspace(0, 4, 8).reshape(1, 1, 2, 4)
    before = distances.clone()
    with torch.no_grad():
        head.similarities(distances)
    assert torch.equal(distances, before)


def test_the_density_is_the_weighted_sum_for_every_class(head, features):
    with torch.no_grad():
        head.weight.normal_()
        head.bias.normal_()
    similarities = head.similarities(head.distances(features))
    weight, bias = head.contribution_weights
    density = head.density(similarities)
    expected = torch.einsum("ck,nkhw->nchw", weight, similarities) + bias[:, None, None]
    assert density.shape == (2, 2, 5, 7)
    assert torch.allclose(density, expected, rtol=1e-5, atol=1e-6)


def test_cell_prototypes_start_for_and_background_ones_against_a_cell(head):
    weight, _ = head.contribution_weights
    assert (weight[:, :3] > 0).all()
    assert (weight[:, 3:] < 0).all()


@pytest.mark.parametrize("prototypes", [0, 1, 3])
def test_groups_are_of_equal_size(prototypes):
    with pytest.raises(ValueError, match="two groups of equal size"):
        PrototypeHead(8, prototypes, epsilon=1e-2, gain=0.1)


@pytest.fixture
def network(tiny_model):
    return tiny_model.network


def shown(network):
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(2, 3, 32, 32, generator=generator)
    context = network.encode_context(torch.randn(2, 3, 64, 64, generator=generator))
    with torch.no_grad():
        return network(images, context), network.features(images, context)


def test_a_grown_network_counts_as_before(network):
    cells, background = torch.randn(3, 8), torch.randn(3, 8)
    grown = network.grown(cells, background)
    assert grown is not network
    assert len(network.prototypes) == network.config.prototypes == 4
    assert len(grown.prototypes) == grown.config.prototypes == 10
    assert grown.prototype_kinds == ("cell",) * 5 + ("background",) * 5
    assert torch.equal(grown.prototypes[2:5], cells)
    assert torch.equal(grown.prototypes[7:], background)
    (before, _), (after, _) = shown(network), shown(grown)
    assert torch.allclose(before.density, after.density, rtol=0, atol=1e-7)
    assert torch.allclose(before.log_variance, after.log_variance, rtol=0, atol=1e-5)
    assert not grown.training


def test_contributions_of_a_grown_network_add_up(network):
    grown = network.grown(torch.randn(2, 8), torch.randn(2, 8))
    with torch.no_grad():
        grown.head.weight.normal_()
    output, features = shown(grown)
    weight, bias = grown.contribution_weights
    parts = weight[0][:, None, None] * grown.similarities(grown.distances(features))
    summed = parts.sum(dim=1, keepdim=True) + bias
    assert torch.allclose(summed, output.density, rtol=1e-4, atol=1e-5)


def test_new_prototypes_come_in_pairs(network):
    with pytest.raises(ValueError, match="3 cell and 2 background"):
        network.grown(torch.randn(3, 8), torch.randn(2, 8))
