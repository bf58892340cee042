import io
import math

import imageio.v3 as imageio
import pytest
import torch

from celltally.explain.gallery import PATCHES, PICTURE
from celltally.learn.gallery import iter_gallery
from celltally.learn.push import iter_project
from celltally.progress import drain

CPU = torch.device("cpu")
WHERE = {"nominal_px": 12.0, "device": CPU}


@pytest.fixture
def images(prepared_images):
    return prepared_images(counts=[5, 7, 3, 4])


@pytest.fixture
def network(tiny_model, images, monkeypatch):
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)
    return tiny_model.network


def gallery_of(network, images, cc0=frozenset({"blobs"})):
    return drain(iter_gallery(network, images, cc0=cc0, **WHERE))


def test_the_first_patch_is_the_prototypes_own_place(network, images):
    places = drain(iter_project(network, images, **WHERE)).places
    gallery = gallery_of(network, images)
    for place, record in zip(places, gallery.prototypes, strict=True):
        patch = record.patches[0]
        assert patch.image == place.image.sample.image.name
        y, x = place.image.grid(2).to_cells([patch.y, patch.x])[0].astype(int)
        assert (y, x) == place.cell
        # As similar as anything can be.
        assert patch.similarity == pytest.approx(math.log(1 / network.config.epsilon), abs=1e-2)


def test_pictures_only_of_data_that_may_be_shown(network, images):
    gallery = gallery_of(network, images)
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
    hidden = gallery_of(network, images, cc0=frozenset())
    assert hidden.pictures == {}
    assert all(p.png is None for r in hidden.prototypes for p in r.patches)


def test_without_dots_there_is_nothing_to_show(tiny_model, prepared_images):
    gallery = gallery_of(tiny_model.network, prepared_images(counts=[5], labels="counts"))
    assert [r.patches for r in gallery.prototypes] == [()] * 4
    assert gallery.pictures == {}
