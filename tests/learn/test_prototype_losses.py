"""What the losses of prototypes do in a training, on networks that learn in seconds."""

import pytest
import torch

from celltally.learn.fit import Budget, FitConfig, iter_fit, make_fabric
from celltally.learn.push import iter_search
from celltally.networks import build
from celltally.networks.groups import excess_cosine
from celltally.progress import drain

CPU = torch.device("cpu")


def fitted(network, images, steps=30, **weights):
    """The network after a few steps of its prototypes, with other weights of the losses."""
    config = FitConfig(
        crop=32, batch=2, validate_every=10**9, learning_rate=0.1, average=0.5, augmentation=None,
        **weights,
    )  # fmt: skip
    fit = iter_fit(
        network, images, (), config, Budget(steps=steps), make_fabric("cpu"), nominal_px=12.0,
        parameters=[network.prototypes],
    )  # fmt: skip
    drain(fit)
    return network


@pytest.fixture
def images(prepared_images):
    return prepared_images(counts=[5, 7, 6])


@pytest.fixture
def collapsed(tiny_config):
    """A network whose prototypes of a group start almost alike."""

    def make():
        torch.manual_seed(0)
        network = build("tally", tiny_config | {"prototypes": 8})
        vectors = torch.randn(2, 8).repeat_interleave(4, dim=0) + 0.1 * torch.randn(8, 8)
        network.set_prototypes(vectors)
        return network

    return make


def test_diversity_keeps_prototypes_apart_in_a_training(collapsed, images):
    before = excess_cosine(collapsed(), 0.2)
    assert before > 0.6
    apart = excess_cosine(fitted(collapsed(), images), 0.2)
    alike = excess_cosine(fitted(collapsed(), images, diversity_weight=0.0), 0.2)
    assert apart < 0.5 * before
    assert alike > 0.8 * before


def astray(network, images):
    """Prototypes nearer to features of the other group, and the groups' mean distances."""
    search = drain(iter_search(network, images, 1, nominal_px=12.0, device=CPU, message="looking"))
    own = sum(found[0].distance for found in search.finds) / len(search.finds)
    return sum(search.astray), own


def test_prototypes_are_tied_to_the_features_of_their_group(tiny_config, images):
    """Cell prototypes come nearer to features at dots than to those of the background."""

    def crossed():
        """Cell prototypes that start on the background, and the reverse."""
        torch.manual_seed(0)
        network = build("tally", tiny_config)
        search = drain(
            iter_search(network, images, 2, nominal_px=12.0, device=CPU, message="looking")
        )
        cells = [find.feature for find in search.finds[0][:2]]
        background = [find.feature for find in search.finds[2][:2]]
        network.set_prototypes(torch.stack([*background, *cells]))
        return network

    before, far = astray(crossed(), images)
    assert before == 4
    untied, _ = astray(
        fitted(crossed(), images, prototype_weight=0.0, diversity_weight=0.0), images
    )
    tied, near = astray(
        fitted(crossed(), images, 60, prototype_weight=10.0, diversity_weight=0.0), images
    )
    assert tied == 0
    assert near < far
    assert untied > 0
