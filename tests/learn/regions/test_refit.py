import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from celltally.learn.refit import WHOLE
from celltally.learn.regions.refit import iter_refit_regions, window_similarities
from celltally.learn.regions.rehearsal import rehearsal_windows
from celltally.learn.replay import replay_patches
from celltally.progress import drain

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)


def refitted(network, windows, replay=(), share=0.0):
    other = copy.deepcopy(network)
    rng = np.random.default_rng(0)
    drain(iter_refit_regions(other, windows, replay, share=share, rng=rng, device=CPU))
    return other


def density(network, window):
    known = window_similarities(network, window, CPU)
    with torch.inference_mode():
        weight, bias = network.contribution_weights
        return (torch.einsum("ck,nkhw->nchw", weight, known) + bias)[0]


def asked(window):
    return (window.weight > 0).float()


def test_the_density_comes_nearer_and_features_stay(tiny_model, reviewed_folder, windows_in):
    windows = windows_in(reviewed_folder([7, 5]))
    before, after = tiny_model.network, refitted(tiny_model.network, windows)

    def error(network):
        return sum(
            float(((density(network, w) - w.target) * asked(w)).square().sum()) for w in windows
        )

    assert error(after) < error(before)
    changed = {
        name
        for name, t in after.state_dict().items()
        if not torch.equal(t, before.state_dict()[name])
    }
    assert changed <= {"head.weight", "head.bias"}
    assert changed


def test_a_stated_count_is_met(tiny_model, reviewed_folder, windows_in, rectangle):
    folder = reviewed_folder([7], {0: [rectangle(0, 0, 60, 60, stated=9)]})
    (window,) = windows_in(folder)
    network = refitted(tiny_model.network, [window])
    assert WHOLE > 0
    assert float((density(network, window) * asked(window)).sum()) == pytest.approx(9, abs=0.1)


def test_what_is_unknown_does_not_matter(tiny_model, reviewed_folder, windows_in, rectangle):
    (window,) = windows_in(reviewed_folder([7], {0: [rectangle(0, 0, 40, 40)]}))
    other = replace(window, target=torch.where(window.weight > 0, window.target, torch.tensor(5.0)))
    first, second = (refitted(tiny_model.network, [w]).head.weight for w in (window, other))
    assert torch.equal(first, second)


def test_the_replay_holds_the_density(rehearsing, reviewed_folder, windows_in):
    windows = windows_in(reviewed_folder([7]))
    network = rehearsing.network
    replay = rehearsal_windows(copy.deepcopy(network), replay_patches(rehearsing.replay), CPU)

    def away(other):
        return np.mean(
            [float(((density(other, w) - w.target) * asked(w)).square().mean()) for w in replay]
        )

    shares = [refitted(network, windows, replay, share=share) for share in (0.0, 0.5, 50.0)]
    free, half, held = map(away, shares)
    assert held < half < free


def test_the_weights_are_those_that_are_stored(tiny_model, reviewed_folder, windows_in):
    network = refitted(tiny_model.network, windows_in(reviewed_folder([7])))
    for t in network.state_dict().values():
        assert torch.equal(t, t.half().float())
