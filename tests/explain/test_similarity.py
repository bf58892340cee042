"""Contributions are the computation of the density itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from celltally.errors import UserError
from celltally.explain import similarity as module
from celltally.explain.similarity import similarities
from celltally.model import Model
from celltally.network_input import scaled_image
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


WINDOWS = [(31.4, 60.2, 33.0, 61.0), (-9, 100, 40, 900), (50, -0.5, 89.5, 20)]


@pytest.mark.parametrize("tile", [None, 40])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_is_a_part_of_the_whole_to_the_last_bit(model, pixels, window, tile):
    settings = {"diameter_px": 9.0, "device": "cpu", "tile": tile}
    whole = similarities(model, pixels, **settings)
    part = similarities(model, pixels, window=window, **settings)
    row, column = np.rint(whole.grid.to_cells(part.grid.origin)[0]).astype(int)
    height, width = part.grid.shape
    expected = whole.values[:, row : row + height, column : column + width]
    assert np.array_equal(part.values, expected)
    assert part.grid.step == whole.grid.step
    # It covers what was asked for, as far as that lies in the image, and no more than it must.
    low, high = part.grid.to_image([(0, 0), part.grid.shape])
    asked = np.clip(np.array(window).reshape(2, 2), -0.5, (89.5, 129.5))
    assert (low <= asked[0] + 1e-9).all()
    assert (high >= asked[1] - 1e-9).all()
    assert (asked[0] - low < whole.grid.step).all()
    assert (high - asked[1] < whole.grid.step).all()


def test_a_window_answers_as_the_whole_does(model, pixels):
    settings = {"diameter_px": 9.0, "device": "cpu"}
    whole = similarities(model, pixels, **settings)
    part = similarities(model, pixels, window=(20, 30, 70, 100), **settings)
    assert np.array_equal(part.at((50.0, 40.0)), whole.at((50.0, 40.0)))
    region = [(30, 40), (60.5, 40), (45, 90.5)]
    for one, other in zip(part.over(region), whole.over(region), strict=True):
        assert np.allclose(one, other, rtol=1e-6)
    with pytest.raises(UserError, match="the part of it that was compared"):
        part.at((5.0, 5.0))


def test_of_a_window_only_its_tiles_are_run(model, pixels, monkeypatch):
    shown = []
    features = type(model.network).features
    monkeypatch.setattr(
        type(model.network), "features", lambda *a: shown.append(a[1].shape) or features(*a)
    )
    settings = {"diameter_px": 9.0, "device": "cpu", "tile": 40}
    similarities(model, pixels, **settings)
    every = len(shown)
    shown.clear()
    similarities(model, pixels, window=(2, 2, 5, 5), **settings)
    assert 1 <= len(shown) < every


def test_many_windows_need_one_scaling(model, pixels):
    scaled = scaled_image(pixels, 9.0, model.diameter_px)
    one = similarities(model, scaled, window=(20, 30, 70, 100), device="cpu")
    other = similarities(model, pixels, window=(20, 30, 70, 100), diameter_px=9.0, device="cpu")
    assert np.array_equal(one.values, other.values)
    assert one.diameter_px == other.diameter_px == 9.0


@pytest.mark.parametrize("window", [(95, 0, 99, 10), (5, 5, 5, 5), (float("nan"), 0, 5, 5)])
def test_a_window_beside_the_image(model, pixels, window):
    with pytest.raises(UserError, match="holds nothing of the image"):
        similarities(model, pixels, window=window, diameter_px=9.0, device="cpu")


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
