from dataclasses import replace

import numpy as np
import pytest
import torch

from celltally.learn.refit import iter_refit
from celltally.progress import drain
from celltally.scale import MARGIN, pad_with_margin

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)


@pytest.fixture
def network(tiny_model):
    return tiny_model.network


def refit(network, images):
    return drain(iter_refit(network, images, nominal_px=12.0, device=CPU))


def density_of(network, image):
    values = pad_with_margin(image.values.float().expand(3, -1, -1)[None], network.multiple)
    first = MARGIN // network.stride
    rows, columns = (-(-side // network.stride) for side in image.values.shape[1:])
    with torch.no_grad():
        context = network.encode_context(image.thumbnail[None])
        density = network(values, context).density
    return density[0, 0, first : first + rows, first : first + columns]


def test_it_ends_in_the_same_density_wherever_it_starts(network, prepared_images):
    images = prepared_images(counts=[5, 7, 6])
    refit(network, images)
    best = density_of(network, images[1])
    weight, bias = network.contribution_weights
    network.set_contribution_weights(torch.full_like(weight, 0.3), torch.zeros_like(bias))
    strange = float((density_of(network, images[1]) - best).abs().max())
    refit(network, images)
    assert float((density_of(network, images[1]) - best).abs().max()) < 0.1 * strange


def test_the_count_alone_is_met_where_nothing_else_is_known(network, prepared_images):
    images = prepared_images(counts=[6])
    counted = [replace(images[0], yx=None)]
    refit(network, counted)
    assert float(density_of(network, counted[0]).sum()) == pytest.approx(6, abs=0.05)


def test_density_lies_where_the_dots_are(network, prepared_images):
    image = prepared_images(counts=[8])[0]
    generator = torch.Generator().manual_seed(0)
    network.set_contribution_weights(
        torch.randn(1, 4, generator=generator), torch.randn(1, generator=generator)
    )
    refit(network, [image])
    density = density_of(network, image).numpy()
    at = (image.yx / network.stride).astype(int)
    assert density[at[:, 0], at[:, 1]].mean() > 2 * np.abs(density.mean())


def test_features_and_prototypes_stay(network, prepared_images):
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    refit(network, prepared_images(counts=[5, 7]))
    changed = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {"head.weight", "head.bias"}


def test_without_images_nothing_changes(network):
    before = network.head.weight.detach().clone()
    refit(network, [])
    assert torch.equal(network.head.weight, before)
