"""The example of docs/add-a-network.md works as it stands there."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

from celltally.learn.fit import FitConfig
from celltally.learn.train import iter_train
from celltally.model import Model
from celltally.networks import build, registry
from celltally.predict import infer, predict
from celltally.progress import drain

TEXT = Path(__file__).resolve().parents[1].joinpath("docs", "add-a-network.md").read_text("utf-8")
TINY = {"width": 8, "dilations": [1, 2]}


@pytest.fixture
def example(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    file = tmp_path / "dilated.py"
    file.write_text(code, encoding="utf-8")
    spec = spec_from_file_location("celltally_example_dilated", file)
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    monkeypatch.setattr(registry, "_families", dict(registry._families))
    spec.loader.exec_module(module)
    return code


def test_it_is_short(example):
    assert sum(1 for line in example.splitlines() if line.strip()) <= 40


def test_its_halo_is_what_it_says(example):
    torch.manual_seed(0)
    network = build("dilated").eval()
    values = torch.rand(3, 107, 131)
    maps = [
        drain(infer(network, values, device=torch.device("cpu"), tile=tile))[0][0]
        for tile in (10_000, 32)
    ]
    assert np.allclose(*maps, atol=1e-5)


def test_it_trains_and_counts(example, dataset_folder, draw_cells, tmp_path):
    data = dataset_folder("blobs", [4, 8, 6, 10, 5, 7, 3, 9])
    job = iter_train(
        [data], network="dilated", network_config=TINY, out=tmp_path / "mine", steps=200,
        device="cpu",
        fit=FitConfig(crop=48, batch=4, learning_rate=3e-3, average=0.9, augmentation=None,
            validate_every=40),
    )  # fmt: skip
    errors = []
    drain(job, lambda step: errors.append(step.values.get("val_error")))
    errors = [error for error in errors if error is not None]
    assert min(errors) < 0.5 * errors[0]
    model = Model.load(tmp_path / "mine")
    places = np.array([[20, 20], [40, 50], [12, 52], [50, 14], [30, 36], [8, 34]])
    few, many = (
        predict(model, draw_cells(places[:n], (64, 72)), diameter_px=12.0, device="cpu")
        for n in (1, 6)
    )
    assert many.count > few.count + 2
    assert many.calibration is not None
