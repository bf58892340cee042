import copy

import numpy as np
import pytest
import torch

from celltally.learn.regions import prototypes
from celltally.learn.regions.gallery import iter_region_gallery, known_places
from celltally.learn.regions.prototypes import iter_grow, iter_project_new
from celltally.learn.regions.refit import window_features
from celltally.learn.regions.rehearsal import iter_rehearsal_windows
from celltally.learn.replay import replay_patches
from celltally.progress import drain

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)


@pytest.fixture
def windows(reviewed_folder, windows_in):
    return windows_in(reviewed_folder([8, 9]))


def places_of(network, windows, kind):
    """Features of all cells, or of all places without any."""
    return torch.cat(
        [
            window_features(network, w, CPU)[0][:, known_places(w, network.stride)[kind]].T
            for w in windows
        ]
    )


def among(vector, features):
    return bool(((features - vector).abs().amax(dim=1) < 1e-5).any())


def test_known_places(windows):
    cells, background = known_places(windows[0], 2)
    assert int(cells.sum()) == 8
    assert background.any()
    assert not (cells & background).any()
    assert not (background & (windows[0].target[0] > 1e-4)).any()
    assert not (background & (windows[0].weight[0] == 0)).any()


def test_new_prototypes_lie_on_reviewed_cells_and_count_nothing_yet(
    tiny_model, windows, monkeypatch
):
    monkeypatch.setattr(prototypes, "FAINT", 2.0)  # as if no cell were like the old ones
    network = tiny_model.network
    grown, new = drain(iter_grow(network, windows, [], np.random.default_rng(0), CPU))
    assert len(network.prototypes) == 4
    number = len(new) // 2
    assert 1 <= number <= prototypes.MOST
    kinds = grown.prototype_kinds
    assert [kinds[k] for k in new] == ["cell"] * number + ["background"] * number
    for kind, own in (("cell", 0), ("background", 1)):
        features = places_of(network, windows, own)
        for k in new:
            if kinds[k] == kind:
                assert among(grown.prototypes[k], features)
    old = [k for k in range(len(kinds)) if k not in new]
    assert torch.equal(grown.prototypes[old], network.prototypes)
    images = torch.randn(1, 3, 32, 32)
    context = network.encode_context(torch.randn(1, 3, 64, 64))
    with torch.no_grad():
        before, after = (n(images, context).density for n in (network, grown))
    assert torch.allclose(before, after, atol=1e-6)


def test_every_window_is_a_step(tiny_model, windows, monkeypatch):
    monkeypatch.setattr(prototypes, "FAINT", 2.0)
    rng, steps = np.random.default_rng(0), []
    network, new = drain(iter_grow(tiny_model.network, windows, [], rng, CPU), steps.append)
    assert [(s.done, s.total) for s in steps] == [(1, 2), (2, 2)]
    drain(iter_project_new(network, new, windows, rng, CPU), steps.append)
    assert [(s.done, s.total) for s in steps[2:]] == [(1, 2), (2, 2)]
    assert len({s.message for s in steps}) == 2


def test_no_new_ones_where_cells_are_alike(tiny_model, windows, monkeypatch):
    monkeypatch.setattr(prototypes, "FAINT", 0.0)
    network, new = drain(iter_grow(tiny_model.network, windows, [], np.random.default_rng(0), CPU))
    assert network is tiny_model.network
    assert new == ()


def test_stated_counts_alone_give_none(tiny_model, reviewed_folder, windows_in, rectangle):
    folder = reviewed_folder([6], {0: [rectangle(0, 0, 60, 60, stated=5)]})
    _, new = drain(
        iter_grow(tiny_model.network, windows_in(folder), [], np.random.default_rng(0), CPU)
    )
    assert new == ()


def test_a_replay_without_cells_says_nothing_of_cells(tiny_model, prepared_images):
    """Ripples of a parent's density in an empty patch are no cells."""
    from celltally.learn.replay import make_replay

    images = prepared_images("older", [6])
    stored = make_replay(images, np.random.default_rng(0), free=["older"], patches=1, side=48)
    network = copy.deepcopy(tiny_model.network)
    weight, bias = network.contribution_weights
    network.set_contribution_weights(1e-4 * weight, 0 * bias)
    (window,) = drain(iter_rehearsal_windows(network, replay_patches(stored), CPU))
    assert abs(window.cells) < 0.5
    assert not known_places(window, 2)[0].any()


def test_they_are_put_onto_real_cells_again_each_onto_its_own(tiny_model, windows, monkeypatch):
    monkeypatch.setattr(prototypes, "FAINT", 2.0)
    network, new = drain(iter_grow(tiny_model.network, windows, [], np.random.default_rng(0), CPU))
    with torch.no_grad():
        for parameter in network.stem.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for k in new:  # all of a kind want to be at the same place
            network.head.vectors[k] = network.head.vectors[new[0]]
    before = network.prototypes.detach().clone()
    drain(iter_project_new(network, new, windows, np.random.default_rng(0), CPU))
    for k in range(len(before)):
        if k not in new:
            assert torch.equal(network.prototypes[k], before[k])
    cells = [k for k in new if network.prototype_kinds[k] == "cell"]
    features = places_of(network, windows, 0)
    assert all(among(network.prototypes[k], features) for k in cells)
    assert len({tuple(network.prototypes[k].tolist()) for k in cells}) == len(cells)


def test_pictures_of_prototypes(tiny_model, windows):
    gallery = drain(iter_region_gallery(tiny_model.network, windows, nominal_px=12.0, device=CPU))
    assert [p.kind for p in gallery.prototypes] == ["cell", "cell", "background", "background"]
    for record in gallery.prototypes:
        assert len(record.patches) == 2  # one of each window
        assert {p.image for p in record.patches} == {"cells-0.png", "cells-1.png"}
        for patch in record.patches:
            assert gallery.pictures[patch.png].startswith(b"\x89PNG")
            assert -0.5 <= patch.y <= 63.5
            assert -0.5 <= patch.x <= 71.5
        best = [p.similarity for p in record.patches]
        assert best == sorted(best, reverse=True)
