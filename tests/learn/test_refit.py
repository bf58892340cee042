from dataclasses import replace

import numpy as np
import pytest
import torch

from celltally.learn.refit import LastLayer, block_equations, count_equation, iter_refit
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


def rows_and_wanted(seed, n=60, unknowns=5):
    """Equations whose columns are much alike, as similarities are."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.rand(n, 1, generator=generator, dtype=torch.float64)
    rows = common + 0.3 * torch.rand(n, unknowns, generator=generator, dtype=torch.float64)
    rows[:, -1] = 1.0
    return rows, torch.rand(n, 1, generator=generator, dtype=torch.float64)


def solution(network):
    weight, bias = (w.detach().double() for w in network.contribution_weights)
    return torch.cat([weight, bias[:, None]], dim=1)[0]


def test_the_solution_is_that_of_least_squares(network):
    rows, wanted = rows_and_wanted(0)
    last = LastLayer(network, ridge=1e-12)
    for part in range(0, 60, 20):
        last.add(rows[part : part + 20], wanted[part : part + 20])
    last.solve()
    expected = np.linalg.lstsq(rows.numpy(), wanted.numpy(), rcond=None)[0][:, 0]
    assert solution(network).numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_strong_ridge_holds_the_weights(network):
    before = solution(network)
    last = LastLayer(network, ridge=1e6)
    last.add(*rows_and_wanted(0))
    last.solve()
    assert torch.allclose(solution(network), before, atol=1e-4)


def coarse(network):
    """Round as half precision does, but so that it is seen in a small case."""
    with torch.no_grad():
        for tensor in (network.head.weight, network.head.bias):
            tensor.copy_((tensor * 4).round() / 4)


def test_rounding_one_after_the_other_makes_up_for_what_is_lost(network):
    """Of the counts of all rows together, and of each."""
    lost = {"at once": [], "in turn": []}
    for seed in range(8):
        rows, wanted = rows_and_wanted(seed)
        for name in lost:
            last = LastLayer(network)
            last.add(rows, wanted)
            last.solve(coarse if name == "in turn" else None)
            coarse(network)
            error = rows @ solution(network)[:, None] - wanted
            lost[name].append((float(error.sum().abs()), float(error.square().sum())))
    at_once, in_turn = (np.mean(lost[name], axis=0) for name in ("at once", "in turn"))
    assert in_turn[0] < 0.8 * at_once[0]
    assert in_turn[1] < at_once[1]


def test_only_what_is_asked_for_makes_equations():
    known = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    known[:, -1] = 1
    target = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    asked = torch.zeros_like(target)
    asked[..., :4] = 1
    part = list(block_equations(known, target, asked))
    alone = list(block_equations(known[..., :4], target[..., :4]))
    for (rows, wanted), (expected_rows, expected) in zip(part[:2], alone[:2], strict=True):
        assert torch.allclose(rows.T @ rows, expected_rows.T @ expected_rows)
        assert torch.allclose(rows.T @ wanted, expected_rows.T @ expected)


def test_a_count_below_zero_can_be_asked_for():
    """What another network counts in an empty patch may be less than nothing."""
    known = torch.ones(1, 3, 2, 2, dtype=torch.float64)
    rows, wanted = count_equation(known, -3.0)
    assert torch.allclose(wanted / rows[0, 0], torch.full((1, 1), -0.75, dtype=torch.float64))
