import numpy as np
import pytest
import torch

from celltally.networks import build, groups, losses


@pytest.fixture
def network(tiny_config):
    """Two cell prototypes at 60° to each other; the background ones are the same direction."""
    network = build("tally", tiny_config | {"depth": 2})
    half = 3**0.5 / 2
    network.set_prototypes(torch.tensor([[1.0, 0.0], [0.5, half], [0.0, 1.0], [0.0, 3.0]]))
    return network


def test_cosines_and_distances_are_within_groups(network):
    cosines = groups.group_cosines(network)
    assert list(cosines) == ["cell", "background"]
    assert np.allclose(cosines["cell"], [[1, 0.5], [0.5, 1]])
    assert np.allclose(cosines["background"], 1)
    distances = groups.least_distance(network)
    assert distances == pytest.approx({"cell": 1.0, "background": 2.0})


def test_the_excess_is_the_diversity_loss(network):
    assert groups.excess_cosine(network, 0.2) == pytest.approx((0.3 + 0.8) / 2)
    assert groups.excess_cosine(network, 0.2) == pytest.approx(
        losses.diversity_loss(network.prototypes, 2, 0.2).item()
    )


@pytest.mark.parametrize(("alike", "number"), [(0.95, 3), (0.4, 2), (1.1, 4)])
def test_prototypes_that_are_alike_count_once(network, alike, number):
    assert groups.distinct(network, alike) == number


def test_a_chain_of_like_prototypes_counts_once(tiny_config):
    network = build("tally", tiny_config | {"depth": 2, "prototypes": 6})
    angles = torch.tensor([0.0, 0.4, 0.8, 0.0, 1.5, 3.0])
    network.set_prototypes(torch.stack([angles.cos(), angles.sin()], dim=1))
    assert groups.distinct(network, float(np.cos(0.5))) == 1 + 3


def test_a_network_may_have_a_tolerance_of_its_own(network):
    assert groups.tolerance_of(network, 0.2) == 0.2
    own = build("countxplain", {"width": 1 / 16, "depth": 4, "tolerance": 0.3})
    assert groups.tolerance_of(own, 0.2) == 0.3


def test_a_prototype_that_is_alone_has_no_neighbour(tiny_config):
    network = build("tally", tiny_config | {"prototypes": 2})
    assert groups.least_distance(network) == {"cell": np.inf, "background": np.inf}
    assert groups.distinct(network) == 2
