import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter

from celltally.density import density_map
from celltally.learn.batches import SIGMA
from celltally.learn.features import model_grid
from celltally.learn.push import _places, iter_project
from celltally.networks import build
from celltally.progress import drain
from celltally.scale import MARGIN, pad_with_margin

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)


@pytest.fixture
def network(tiny_model):
    return tiny_model.network


def project(network, images):
    return drain(iter_project(network, images, nominal_px=12.0, device=CPU)).places


def features_of(network, image):
    values = pad_with_margin(image.values.float().expand(3, -1, -1)[None], network.multiple)
    first = MARGIN // network.stride
    with torch.no_grad():
        context = network.encode_context(image.thumbnail[None])
        return network.features(values, context)[0, :, first:, first:]


def test_every_prototype_is_a_feature_of_a_training_image(network, prepared_images):
    images = prepared_images(counts=[5, 7, 6])
    before = network.prototypes.detach().clone()
    places = project(network, images)
    assert not torch.equal(network.prototypes, before)
    for k, place in enumerate(places):
        y, x = place.cell
        assert torch.equal(network.prototypes[k], features_of(network, place.image)[:, y, x])
    assert len({place.place for place in places}) == len(places) == 4


def test_cell_prototypes_lie_on_dots_and_the_others_off_them(network, prepared_images):
    images = prepared_images(counts=[5, 7])
    for place, kind in zip(project(network, images), network.prototype_kinds, strict=True):
        at = (torch.tensor(place.cell, dtype=torch.float64) + 0.5) * network.stride - 0.5
        nearest = torch.cdist(at[None], torch.from_numpy(place.image.yx)).min()
        if kind == "cell":
            assert nearest < 2
        else:
            assert nearest > 4


def test_more_prototypes_than_images_still_lie_at_different_places(tiny_config, prepared_images):
    torch.manual_seed(0)
    network = build("tally", tiny_config | {"prototypes": 12})
    images = prepared_images(counts=[9])
    project(network, images)
    features = features_of(network, images[0]).flatten(1).T
    vectors = network.prototypes.detach()
    assert (vectors[:, None] == features).all(dim=2).any(dim=1).all()
    assert torch.unique(vectors, dim=0).shape[0] == 12


def test_fewer_dots_than_prototypes(tiny_config, prepared_images):
    network = build("tally", tiny_config | {"prototypes": 8})
    images = prepared_images(counts=[2])
    project(network, images)
    features = features_of(network, images[0]).flatten(1).T
    assert (network.prototypes[:, None] == features).all(dim=2).any(dim=1).all()


@pytest.mark.parametrize(("stride", "margin"), [(2, 1), (8, 0)])
def test_background_keeps_its_distance_in_pixels(prepared_images, stride, margin):
    """At a coarse stride a cell more on each side would leave crowded images no background."""
    image = prepared_images(counts=[8])[0]
    _, background = _places(image, stride, 12.0)
    density = density_map(image.yx, model_grid(image, stride), SIGMA * 12.0)
    expected = ~maximum_filter(density > 1e-4, 2 * margin + 1)
    assert np.array_equal(background, expected)
    assert background.any()


def test_without_dots_nothing_is_projected(network, prepared_images):
    before = network.prototypes.detach().clone()
    places = project(network, prepared_images(counts=[5], labels="counts"))
    assert torch.equal(network.prototypes, before)
    assert places == [None] * 4


def test_which_prototypes_were_nearer_to_the_other_group(network, prepared_images):
    images = prepared_images(counts=[6, 7])
    first = drain(iter_project(network, images, nominal_px=12.0, device=CPU))
    cell, background = (first.places[k].feature for k in (0, 2))
    network.set_prototypes(torch.stack([cell, background, background, cell]))
    again = drain(iter_project(network, images, nominal_px=12.0, device=CPU))
    assert again.astray == (False, True, False, True)


def test_without_dots_no_prototype_is_astray(network, prepared_images):
    images = prepared_images(counts=[5], labels="counts")
    assert drain(iter_project(network, images, nominal_px=12.0, device=CPU)).astray == (False,) * 4
