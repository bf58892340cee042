"""A model for a new cell type, from dots alone."""

from __future__ import annotations

import pytest
import torch

from celltally.errors import UserError
from celltally.learn import new_model
from celltally.learn.new_model import iter_new_model
from celltally.model import Model
from celltally.networks import build
from celltally.progress import drain


@pytest.fixture(autouse=True)
def _tiny(monkeypatch, tiny_config):
    """From chance, too, a network that counts in milliseconds."""
    monkeypatch.setattr(new_model, "build", lambda name: build(name, tiny_config))
    monkeypatch.setattr("celltally.devices.cpu_is_good_at_bfloat16", lambda: False)


def made(*folders, steps=4, **options):
    job = iter_new_model(folders, name="mine", steps=steps, device="cpu", **options)
    return drain(job)


def test_from_chance(reviewed_folder, tmp_path):
    folder = reviewed_folder([5, 6, 4], shape=(48, 52))
    result = made(folder, sample="round cells", project="Wells", by=["A. Person"])
    model, learned = result.model, result.model.record.learned
    assert model.record.sample == "round cells"
    assert model.record.parent is None
    assert model.base is None
    assert not model.replay
    assert (learned.images, learned.regions, learned.kept_back) == (2, 2, 1)
    assert learned.helped is None
    assert "mae_after" in learned.metrics
    assert result.helped is None
    assert [c.judge for c in result.compared] == ["kept back"]
    assert result.sentences[0].startswith("On 1 kept-back region it is off by ")
    assert len(model.prototypes) == 4
    assert {p.dataset for record in model.prototypes for p in record.patches} == {"cells"}
    assert model.calibration.kind == "provisional"
    loaded = Model.load(model.save(tmp_path / "mine").record.path)
    assert loaded.sha256 == model.sha256


def test_the_same_seed_gives_the_same_model(reviewed_folder):
    folder = reviewed_folder([5, 6], shape=(48, 52))
    one, again, other = (made(folder, seed=s).model.sha256 for s in (1, 1, 2))
    assert one == again != other


def test_from_the_weights_of_another(reviewed_folder, tiny_model):
    before = {n: t.clone() for n, t in tiny_model.network.state_dict().items()}
    folder = reviewed_folder([5, 6], shape=(48, 52))
    model = made(folder, start=tiny_model).model
    assert all(torch.equal(t, before[n]) for n, t in tiny_model.network.state_dict().items())
    assert model.record.parent == tiny_model.sha256
    assert model.base is None
    assert model.diameter_px == tiny_model.diameter_px
    assert model.record.training["started from"] == "the weights of tiny"


def test_it_learns(reviewed_folder):
    folder = reviewed_folder([9, 3], shape=(48, 52))
    result = made(folder, steps=60)
    error = sum(abs(e.after - e.counted) for e in result.examples)
    assert result.sentences[0].startswith("Nothing tells how well it counts: all 2 regions")
    assert error < 3


def test_stated_counts_alone(reviewed_folder, rectangle):
    folder = reviewed_folder([5], {0: [rectangle(0, 0, 48, 52, stated=5)]}, shape=(48, 52))
    assert made(folder).model.record.learned.stated == 1


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_no_time(reviewed_folder, minutes):
    with pytest.raises(UserError, match="minutes are no training"):
        made(reviewed_folder([5]), minutes=minutes)


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps(reviewed_folder, steps):
    with pytest.raises(UserError, match=f"{steps} steps teach nothing"):
        made(reviewed_folder([5]), steps=steps)


def test_networks_that_look_at_whole_images_only(reviewed_folder, monkeypatch):
    monkeypatch.setattr(new_model, "build", build)
    with pytest.raises(UserError, match="'patch_regression' looks at whole images only"):
        made(reviewed_folder([5]), network="patch_regression")
