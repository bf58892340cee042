import copy
from dataclasses import replace

import pytest
import torch

from celltally.errors import UserError
from celltally.learn.regions import loop
from celltally.learn.regions.batches import as_they_are
from celltally.learn.regions.loop import RegionFit, iter_fit_regions, iter_mean_loss, region_loss
from celltally.learn.regions.rehearsal import iter_rehearsal_windows
from celltally.learn.replay import replay_patches
from celltally.progress import drain

CPU = torch.device("cpu")
FIT = RegionFit(steps=8, pixels=20_000, learning_rate=3e-3)


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)


@pytest.fixture
def windows(reviewed_folder, windows_in):
    return windows_in(reviewed_folder([6, 9], shape=(40, 44)))


def fitted(network, windows, kept_back=(), replayed=(), **changes):
    copied = copy.deepcopy(network)
    job = iter_fit_regions(copied, windows, kept_back, replayed, replace(FIT, **changes), CPU)
    steps = []
    kept = drain(job, steps.append)
    return copied, kept, steps


def mean_loss(network, windows):
    return drain(iter_mean_loss(network, windows, FIT, CPU))


def weights(network):
    return {name: t.clone() for name, t in network.state_dict().items()}


def moved(network, other):
    pairs = zip(network.parameters(), other.parameters(), strict=True)
    return float(sum((a - b).detach().square().sum() for a, b in pairs)) ** 0.5


def test_it_learns_and_tells_how(tiny_model, windows):
    network, kept, steps = fitted(tiny_model.network, windows, steps=25, pull=0.0)
    assert mean_loss(network, windows) < 0.9 * mean_loss(tiny_model.network, windows)
    assert [s.done for s in steps] == list(range(1, 26))
    assert {s.total for s in steps} == {25}
    assert {s.message for s in steps} == {"learning"}
    assert all(set(s.values) == {"loss"} for s in steps)
    assert kept == 25
    assert not network.training


def test_the_same_seed_gives_the_same_weights(tiny_model, windows):
    one, again, other = (fitted(tiny_model.network, windows, seed=s)[0] for s in (1, 1, 2))
    assert all(torch.equal(t, weights(again)[name]) for name, t in weights(one).items())
    assert moved(one, other) > 0


@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_job_that_is_closed_leaves_the_network(tiny_model, windows, after):
    network = tiny_model.network
    before = weights(network)
    job = iter_fit_regions(network, windows, windows, (), FIT, CPU)
    for _ in range(after):
        next(job)
    job.close()
    assert all(torch.equal(t, before[name]) for name, t in weights(network).items())
    assert not network.training
    assert all(p.requires_grad for p in network.parameters())


def test_the_variance_is_not_learned(tiny_model, windows):
    network, _, _ = fitted(tiny_model.network, windows)
    changed = {
        name
        for (name, a), b in zip(
            network.named_parameters(), tiny_model.network.parameters(), strict=True
        )
        if not torch.equal(a, b)
    }
    assert changed
    assert not any(name.startswith("variance") for name in changed)


def test_what_diverges_is_refused(tiny_model, windows):
    with pytest.raises(UserError, match=r"diverged at step \d+ \(loss (nan|inf)\)"):
        fitted(tiny_model.network, windows, learning_rate=1e30)


@pytest.mark.parametrize("clearly", [1.0, loop.CLEARLY])
def test_kept_back_regions_choose(tiny_model, windows, monkeypatch, clearly):
    """The last weights of which they do not clearly say that others were better."""
    monkeypatch.setattr(loop, "CLEARLY", clearly)
    network = tiny_model.network
    with torch.no_grad():  # what they ask for is the parent's own density
        (batch,) = as_they_are(windows, 10**6, 2)
        own = network(batch.images, network.encode_context(batch.thumbnails)).density
    kept_back = [replace(w, target=t) for w, t in zip(windows, own, strict=True)]
    options = {"steps": 20, "learning_rate": 1e-2, "pull": 0.0}
    chosen, kept, steps = fitted(network, windows, kept_back, **options)
    told = {s.done: s.values["val_loss"] for s in steps if "val_loss" in s.values}
    assert 20 in told
    assert kept == max(step for step, loss in told.items() if loss <= clearly * min(told.values()))
    assert kept < 20 or clearly > 1
    assert mean_loss(chosen, kept_back) == pytest.approx(told[kept], rel=1e-3)
    if kept < 20:
        last, _, _ = fitted(network, windows, **options)
        assert moved(last, chosen) > 0


def test_kept_back_regions_are_looked_at_in_steps(tiny_model, windows):
    """A job can be cancelled between their batches, and nobody's state is left switched."""
    network, steps = tiny_model.network.train(), []
    few = replace(FIT, pixels=1)
    drain(iter_mean_loss(network, windows, few, CPU), steps.append)
    assert [(s.done, s.total) for s in steps] == [(1, 2), (2, 2)]
    assert network.training
    job = iter_mean_loss(network, windows, few, CPU)
    next(job)
    assert not torch.is_inference_mode_enabled()
    job.close()
    _, _, steps = fitted(network, windows, windows, pixels=1, validations=1)
    silent = [s for s in steps if not s.values]
    assert [(s.done, s.total, s.message) for s in silent] == [(7, 8, "learning")] * 2
    assert "val_loss" in steps[-1].values


def test_the_pull_keeps_weights_near(tiny_model, windows):
    free, held = (fitted(tiny_model.network, windows, pull=p)[0] for p in (0.0, 100.0))
    assert moved(tiny_model.network, held) < 0.7 * moved(tiny_model.network, free)


def test_the_replay_keeps_the_parents_density(rehearsing, windows):
    network = rehearsing.network
    replay = drain(
        iter_rehearsal_windows(copy.deepcopy(network), replay_patches(rehearsing.replay), CPU)
    )
    assert len(replay) == 4
    options = {"steps": 20, "pull": 0.0, "learning_rate": 5e-3, "replay": 5.0}
    forgot, _, _ = fitted(network, windows, **options)
    kept, _, _ = fitted(network, windows, (), replay, **options)
    assert mean_loss(network, replay) == pytest.approx(0, abs=1e-6)
    assert mean_loss(kept, replay) < 0.5 * mean_loss(forgot, replay)


def test_the_number_of_steps_follows_from_the_time(tiny_model, windows):
    _, kept, steps = fitted(tiny_model.network, windows, steps=None, seconds=1e-6, most_steps=60)
    assert kept == len(steps) == steps[-1].total == 20
    _, kept, steps = fitted(tiny_model.network, windows, steps=None, seconds=1e9, most_steps=6)
    assert kept == len(steps) == 6


def test_nothing_is_asked_for_where_nothing_is_known(tiny_model, windows):
    """Neither the values of the target there nor a gradient."""
    network = tiny_model.network
    (batch,) = as_they_are(windows[:1], 10**6, 2)
    half = batch.weight.clone()
    half[..., : half.shape[-1] // 2] = 0
    losses = []
    for fill in (0.0, 7.0):
        target = torch.where(half > 0, batch.target, torch.tensor(fill))
        losses.append(region_loss(network, replace(batch, weight=half, target=target), FIT).item())
    assert losses[0] == losses[1]


def test_a_stated_count_pulls_the_count(reviewed_folder, rectangle, windows_in, tiny_model):
    folder = reviewed_folder([6], {0: [rectangle(0, 0, 40, 44, stated=6)]}, shape=(40, 44))
    (window,) = windows_in(folder)

    def error(network):
        with torch.no_grad():
            (batch,) = as_they_are([window], 10**6, 2)
            density = network(batch.images, network.encode_context(batch.thumbnails)).density
        return abs(float((density * batch.weight).sum()) - 6)

    network, _, _ = fitted(tiny_model.network, [window], steps=25, pull=0.0)
    assert error(network) < 0.8 * error(tiny_model.network)
