import copy

import numpy as np
import torch

from celltally.learn.regions.rehearsal import EDGE, iter_rehearsal_windows
from celltally.learn.replay import make_replay, replay_patches
from celltally.progress import drain

CPU = torch.device("cpu")


def test_the_parents_own_density_is_asked_for(rehearsing, monkeypatch):
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)
    network = rehearsing.network
    patches = replay_patches(rehearsing.replay)
    windows = drain(iter_rehearsal_windows(copy.deepcopy(network), patches, CPU))
    assert len(windows) == len(patches) == 4
    for window, patch in zip(windows, patches, strict=True):
        with torch.no_grad():
            context = network.encode_context(patch.thumbnail[None])
            density = network(patch.values.expand(3, -1, -1)[None], context).density[0]
        assert torch.equal(window.target, density)
        asked = window.weight > 0
        assert not asked[:, :EDGE].any()
        assert not asked[:, :, -EDGE:].any()
        assert asked[:, 10:14, 10:14].any()
        assert window.stated is None
        assert window.source.dataset == "older"
        assert window.source.image == ""  # pictures of it name no file


def test_every_patch_is_a_step(rehearsing):
    patches = replay_patches(rehearsing.replay)
    steps = []
    job = iter_rehearsal_windows(copy.deepcopy(rehearsing.network), patches, CPU)
    windows = drain(job, steps.append)
    assert [(s.done, s.total) for s in steps] == [(n, 4) for n in (1, 2, 3, 4)]
    assert len(windows) == 4


def test_no_patches_no_windows(tiny_model):
    assert drain(iter_rehearsal_windows(copy.deepcopy(tiny_model.network), [], CPU)) == []


def test_what_lies_beyond_the_image_is_not_asked_for(tiny_model, prepared_images):
    images = prepared_images("older", [2], shape=(32, 60))
    stored = make_replay(images, np.random.default_rng(0), free=["older"], patches=1, side=64)
    (window,) = drain(iter_rehearsal_windows(tiny_model.network, replay_patches(stored), CPU))
    rows = (window.weight[0] > 0).any(dim=1)
    assert int(rows.sum()) == 16
