"""One run over the tiles says what all similarity maps say."""

from dataclasses import replace

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.explain import overview as module
from celltally.explain.boxes import find_boxes
from celltally.explain.similarity import similarities
from celltally.networks import build
from celltally.predict import predict
from celltally.progress import drain

SETTINGS = {"diameter_px": 9.0, "device": "cpu"}


@pytest.fixture
def pixels(draw_cells, scatter):
    rng = np.random.default_rng(0)
    return draw_cells(scatter(30, (150, 170), rng), (150, 170), rng=rng)


@pytest.fixture(params=[None, 40])
def tile(request):
    return request.param


def test_it_says_what_the_maps_say(tiny_model, pixels, tile):
    places = [(10.0, 20.0), (149.0, 169.0)]
    told = module.overview(tiny_model, pixels, places=places, tile=tile, **SETTINGS)
    found = similarities(tiny_model, pixels, tile=tile, **SETTINGS)
    counted = predict(tiny_model, pixels, tile=tile, **SETTINGS)
    assert told.grid == found.grid == counted.grid
    assert told.contributions.total == pytest.approx(
        counted.density.sum(dtype=float), rel=1e-4, abs=1e-3
    )
    for place, there in zip(places, told.at, strict=True):
        np.testing.assert_allclose(there.values, found.at(place), rtol=1e-6)
        assert there.bias == found.bias
    greatest = np.log(1 / tiny_model.network.config.epsilon)
    assert list(told.boxes) == find_boxes(found, greatest)
    assert told.boxes
    assert told.found is None


def test_the_best_patches_of_an_image_are_where_it_is_most_alike(tiny_model, pixels):
    told = module.overview(tiny_model, pixels, **SETTINGS)
    found = similarities(tiny_model, pixels, **SETTINGS)
    for values, patches in zip(found.values, told.patches, strict=True):
        assert 1 <= len(patches) <= 3
        assert patches[0].similarity == values.max()
        for patch in patches:
            i, j = np.floor(found.grid.to_cells((patch.y, patch.x))[0]).astype(int)
            assert patch.similarity == values[i, j]
        where = np.array([(p.y, p.x) for p in patches])
        apart = np.hypot(*(where[:, None] - where[None]).T)
        assert (apart[~np.eye(len(patches), dtype=bool)] > 0.9 * 9.0).all()


@pytest.mark.parametrize(("megabytes", "kept"), [(1.0, True), (0.01, False)])
def test_small_maps_are_kept(tiny_model, pixels, tile, megabytes, kept):
    job = module.iter_overview(tiny_model, pixels, keep_megabytes=megabytes, tile=tile, **SETTINGS)
    told = drain(job)
    assert (told.found is not None) == kept
    if told.found is not None:
        expected = similarities(tiny_model, pixels, tile=tile, **SETTINGS)
        assert np.array_equal(told.found.values, expected.values)
        assert told.found.complete


def test_each_tile_is_shown_once_and_no_map_is_held(tiny_model, pixels, monkeypatch):
    shown = []
    features = type(tiny_model.network).features
    monkeypatch.setattr(
        type(tiny_model.network), "features", lambda *a: shown.append(1) or features(*a)
    )
    steps = []
    job = module.iter_overview(tiny_model, pixels, tile=40, **SETTINGS)
    drain(job, steps.append)
    tiles = [step for step in steps if step.message == "explaining"]
    assert len(shown) == len(tiles) == tiles[-1].total > 4
    assert [step.done for step in steps if step.message != "explaining"] == [1, 2, 3, 4]


def test_an_image_that_shows_nothing_is_like_nothing(tiny_model):
    blank = np.full((60, 70), 7, np.uint8)
    told = module.overview(tiny_model, blank, places=[(3.0, 4.0)], **SETTINGS)
    assert told.boxes == ()
    assert told.contributions.total == told.at[0].total == told.bias == 0.0
    assert told.patches == ((),) * 4


def test_what_cannot_be_explained(tiny_model, pixels, tiny_config):
    for place in [(150.0, 3.0), (-1.0, 3.0), (3.0, 170.0), (float("nan"), 3.0)]:
        with pytest.raises(UserError, match="outside the image of 170 × 150 px"):
            module.overview(tiny_model, pixels, places=[place], **SETTINGS)
    del tiny_config["prototypes"]
    plain = replace(tiny_model, network=build("tally_plain", tiny_config))
    with pytest.raises(UserError, match="has no prototypes"):
        module.overview(plain, pixels, **SETTINGS)
