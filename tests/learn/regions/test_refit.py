import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from celltally.learn.regions import refit
from celltally.learn.regions.refit import iter_refit_regions, window_similarities
from celltally.learn.regions.rehearsal import iter_rehearsal_windows
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
    assert float((density(network, window) * asked(window)).sum()) == pytest.approx(9, abs=0.1)


def test_what_is_unknown_does_not_matter(tiny_model, reviewed_folder, windows_in, rectangle):
    (window,) = windows_in(reviewed_folder([7], {0: [rectangle(0, 0, 40, 40)]}))
    other = replace(window, target=torch.where(window.weight > 0, window.target, torch.tensor(5.0)))
    first, second = (refitted(tiny_model.network, [w]).head.weight for w in (window, other))
    assert torch.equal(first, second)


def steps_of(network, windows, replay=()):
    steps, rng = [], np.random.default_rng(0)
    job = iter_refit_regions(
        copy.deepcopy(network), windows, replay, share=0.1, rng=rng, device=CPU
    )
    drain(job, steps.append)
    assert [s.done for s in steps] == list(range(1, steps[-1].total + 1))
    return len(steps)


def test_every_window_is_seen_changed_as_well_and_of_many_each_less_often(
    tiny_model, reviewed_folder, windows_in, monkeypatch
):
    windows = windows_in(reviewed_folder([2, 2, 2], shape=(32, 32)))
    monkeypatch.setattr(refit, "VIEWS", 4)
    monkeypatch.setattr(refit, "MOST_VIEWS", 64)
    assert steps_of(tiny_model.network, windows, windows[:2]) == 3 * (1 + 4) + 2
    monkeypatch.setattr(refit, "MOST_VIEWS", 7)
    assert steps_of(tiny_model.network, windows) == 3 * (1 + 2)
    monkeypatch.setattr(refit, "MOST_VIEWS", 2)
    assert steps_of(tiny_model.network, windows) == 3


def test_views_are_made_one_at_a_time(tiny_model, reviewed_folder, windows_in, monkeypatch):
    """All of those of large windows at once are more than a laptop holds."""
    windows, made = windows_in(reviewed_folder([2, 2], shape=(32, 32))), []
    monkeypatch.setattr(refit, "changed", lambda window, *_: made.append(window) or window)
    rng = np.random.default_rng(0)
    job = iter_refit_regions(
        copy.deepcopy(tiny_model.network), windows, (), share=0.0, rng=rng, device=CPU
    )
    views = [len(made) for _ in job]
    assert views == [0, 0, *range(1, 2 * refit.VIEWS + 1)]


def test_a_window_and_its_views_weigh_as_much_as_the_window_alone(
    tiny_model, reviewed_folder, windows_in, monkeypatch
):
    """Against the replay, that is: views that change nothing change nothing."""
    windows = windows_in(reviewed_folder([4, 3], shape=(48, 48)))
    monkeypatch.setattr(refit, "changed", lambda window, *_: window)
    replay = windows_in(reviewed_folder([6], name="older", shape=(48, 48)))
    found = []
    for views in (0, 4):
        monkeypatch.setattr(refit, "VIEWS", views)
        found.append(refitted(tiny_model.network, windows, replay, share=0.5).head.weight)
    assert torch.allclose(*found, atol=1e-3)


def test_the_replay_holds_the_density(rehearsing, reviewed_folder, windows_in):
    windows = windows_in(reviewed_folder([7]))
    network = rehearsing.network
    replay = drain(
        iter_rehearsal_windows(copy.deepcopy(network), replay_patches(rehearsing.replay), CPU)
    )

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
