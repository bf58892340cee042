"""Contributions are the computation of the density itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from celltally.errors import UserError
from celltally.explain import similarity as module
from celltally.explain.similarity import similarities
from celltally.model import Model
from celltally.networks import build
from celltally.predict import predict
from celltally.progress import drain

FAMILIES = {
    "tally": {"widths": (8, 8), "encoder_blocks": (1, 1), "decoder_blocks": (1,), "depth": 8,
              "prototypes": 4, "context": 4},
    "countxplain": {"width": 1 / 16, "depth": 8},
}  # fmt: skip


@pytest.fixture(params=FAMILIES)
def model(request):
    torch.manual_seed(0)
    network = build(request.param, FAMILIES[request.param])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Model.from_network(network.eval(), name=request.param, diameter_px=12.0)


@pytest.fixture
def pixels():
    y, x = np.mgrid[:90, :130]
    field = np.random.default_rng(0).normal(20, 2, (90, 130))
    for row, column in [(10, 7), (20, 60), (50, 30), (70, 100), (85, 128)]:
        field += 180 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 18)
    return field.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("tile", [None, 40])
def test_contributions_add_up_to_the_density(model, pixels, tile):
    told = drain(module.iter_similarities(model, pixels, diameter_px=9.0, device="cpu", tile=tile))
    counted = predict(model, pixels, diameter_px=9.0, device="cpu", tile=tile)
    assert told.complete
    assert told.grid == counted.grid
    density = told.contributions.sum(axis=0) + told.bias
    assert np.allclose(density, counted.density[0], rtol=1e-4, atol=1e-4 * abs(density).max())


def test_a_place_and_a_region_are_parts_of_the_whole(model, pixels):
    told = similarities(model, pixels, diameter_px=12.0, device="cpu")
    counted = predict(model, pixels, diameter_px=12.0, device="cpu")
    stride = model.network.stride
    at = told.at((5 * stride + 0.2, 3 * stride + 0.2))
    expected = counted.density[0, 5, 3]
    assert at.sum() + told.bias == pytest.approx(expected, rel=1e-3, abs=1e-5)
    corners = [(-0.5, -0.5), (-0.5, 129.5), (89.5, 129.5), (89.5, -0.5)]
    parts, bias = told.over(corners)
    whole = counted.density[0][: 90 // stride, : 130 // stride].sum(dtype=float)
    if 90 % stride == 130 % stride == 0:
        assert parts.sum() + bias == pytest.approx(whole, rel=1e-3)
    half = [(-0.5, -0.5), (-0.5, 60.0), (89.5, 60.0), (89.5, -0.5)]
    rest = [(-0.5, 60.0), (-0.5, 129.5), (89.5, 129.5), (89.5, 60.0)]
    assert np.allclose(told.over(half)[0] + told.over(rest)[0], parts, rtol=1e-6)


def test_some_prototypes_are_the_same_as_among_all(model, pixels):
    every = similarities(model, pixels, diameter_px=12.0, device="cpu")
    some = similarities(model, pixels, prototypes=[3, 1], diameter_px=12.0, device="cpu")
    assert not some.complete
    assert np.array_equal(some.values, every.values[[3, 1]])
    assert np.array_equal(some.weights, every.weights[[3, 1]])
    assert some.kinds == (every.kinds[3], every.kinds[1])
    assert set(every.kinds) == {"cell", "background"}
    assert (every.values >= 0).all()


def test_an_image_that_shows_nothing_is_like_nothing(model):
    told = similarities(model, np.full((40, 50), 7, np.uint8), diameter_px=12.0, device="cpu")
    assert not told.values.any()
    assert told.bias == 0


def test_what_cannot_be_compared(model, pixels, monkeypatch):
    with pytest.raises(UserError, match="no prototype 77"):
        similarities(model, pixels, prototypes=[77])
    told = similarities(model, pixels, diameter_px=12.0, device="cpu")
    with pytest.raises(UserError, match="outside the image"):
        told.at((5.0, 500.0))
    monkeypatch.setattr(module, "MOST_MEGABYTES", 0.001)
    with pytest.raises(UserError, match="ask for fewer"):
        similarities(model, pixels, diameter_px=12.0)
    plain = build("tally_plain", {k: v for k, v in FAMILIES["tally"].items() if k != "prototypes"})
    with pytest.raises(UserError, match="has no prototypes"):
        similarities(replace(model, network=plain), pixels)
