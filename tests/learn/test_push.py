import io
import math

import imageio.v3 as imageio
import pytest
import torch

from celltally.learn.push import PATCHES, PICTURE, iter_project
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


def project(network, images, cc0=frozenset({"blobs"})):
    return drain(iter_project(network, images, nominal_px=12.0, cc0=cc0, device=CPU))


def features_of(network, image):
    values = pad_with_margin(image.values.float().expand(3, -1, -1)[None], network.multiple)
    first = MARGIN // network.stride
    with torch.no_grad():
        context = network.encode_context(image.thumbnail[None])
        return network.features(values, context)[0, :, first:, first:]


def test_every_prototype_is_a_feature_of_a_training_image(network, prepared_images):
    images = prepared_images(counts=[5, 7, 6])
    before = network.prototypes.detach().clone()
    gallery = project(network, images)
    assert not torch.equal(network.prototypes, before)
    by_name = {i.sample.image.name: i for i in images}
    places = set()
    for k, record in enumerate(gallery.prototypes):
        patch = record.patches[0]
        image = by_name[patch.image]
        y, x = image.grid(2).to_cells([patch.y, patch.x])[0].astype(int)
        feature = features_of(network, image)[:, y, x]
        assert torch.equal(network.prototypes[k], feature)
        similarity = network.similarities(network.distances(feature[None, :, None, None]))
        assert similarity[0, k, 0, 0].item() == pytest.approx(
            math.log(1 / network.config.epsilon), abs=1e-2
        )
        assert patch.similarity == pytest.approx(similarity[0, k, 0, 0].item(), abs=1e-3)
        places.add((patch.image, y, x))
    assert len(places) == len(gallery.prototypes) == 4


def test_cell_prototypes_lie_on_dots_and_the_others_off_them(network, prepared_images):
    images = prepared_images(counts=[5, 7])
    dots = {i.sample.image.name: torch.from_numpy(i.yx) for i in images}
    for record in project(network, images).prototypes:
        for patch in record.patches:
            place = torch.tensor([[patch.y, patch.x]], dtype=torch.float64)
            nearest = torch.cdist(place, dots[patch.image]).min()
            if record.kind == "cell":
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


def test_pictures_only_of_data_that_may_be_shown(network, prepared_images):
    images = prepared_images(counts=[5, 7, 3, 4])
    gallery = project(network, images)
    for record in gallery.prototypes:
        assert len(record.patches) == PATCHES
        similarities = [p.similarity for p in record.patches]
        assert similarities == sorted(similarities, reverse=True)
        assert len({p.image for p in record.patches}) == PATCHES
    named = {p.png for r in gallery.prototypes for p in r.patches}
    assert named == set(gallery.pictures)
    picture = imageio.imread(io.BytesIO(gallery.pictures["00-cell-0.png"]))
    assert picture.shape == (PICTURE, PICTURE)
    assert picture[40:56, 40:56].mean() > picture.mean() + 20  # a cell in the middle
    hidden = project(network, images, cc0=frozenset())
    assert hidden.pictures == {}
    assert all(p.png is None for r in hidden.prototypes for p in r.patches)


def test_without_dots_nothing_is_projected(network, prepared_images):
    before = network.prototypes.detach().clone()
    gallery = project(network, prepared_images(counts=[5], labels="counts"))
    assert torch.equal(network.prototypes, before)
    assert [r.patches for r in gallery.prototypes] == [()] * 4
