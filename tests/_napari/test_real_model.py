from __future__ import annotations

import numpy as np
import pytest
import torch

from celltally import zoo
from celltally._napari import counting
from celltally._napari.layers import density_layer
from celltally._napari.planes import Plane, key_of
from celltally._napari.tally import TallyWidget
from celltally.model import Model
from celltally.networks import build
from celltally.progress import drain
from celltally.types import Calibration

TINY = {"widths": (8, 8), "encoder_blocks": (1, 1), "decoder_blocks": (1,), "depth": 8}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny network with random weights, as the only model there is."""
    torch.manual_seed(0)
    network = build("tally", {**TINY, "prototypes": 4, "context": 0})
    model = Model.from_network(network, name="tiny", diameter_px=16.0, sample="noise")
    model = model.save(tmp_path / "models" / "tiny")
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tmp_path / "none")
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tmp_path / "models")
    monkeypatch.setattr(counting, "_loaded", [])
    return model


def plane(pixels):
    return Plane(pixels, (), (), False, None, pixels.shape)


def test_the_job_gives_what_the_library_gives(tiny):
    from celltally.predict import predict

    pixels = np.random.default_rng(0).normal(100, 10, (96, 80)).astype(np.float32)
    counted = drain(counting.count_job(plane(pixels), tiny.record, 16.0, "noise.tif"))
    expected = predict(tiny, pixels, diameter_px=16.0)
    assert counted.prediction.count == pytest.approx(expected.count, rel=1e-4)
    assert counted.prediction.image == "noise.tif"
    assert counted.prediction.model_sha256 == tiny.sha256
    assert (np.diff(counted.candidates.score) <= 0).all()


def test_the_model_is_loaded_once(tiny, monkeypatch):
    loads = []
    load = zoo.load
    monkeypatch.setattr(zoo, "load", lambda name: loads.append(name) or load(name))
    for _ in range(2):
        drain(counting.count_job(plane(np.eye(64)), tiny.record, 16.0, "a"))
    assert len(loads) == 1


def test_a_recalibrated_copy_is_another_model(tiny, tmp_path):
    """It has the same identity, for it counts the same; its name and intervals are its own."""
    scores = tuple(float(i) for i in range(20))
    calibration = Calibration(1.0, 0.0, 1.0, scores, n=20, groups=20, date="2026-01-01")
    copy = tiny.with_calibration(calibration).save(tmp_path / "models" / "copy")
    assert copy.sha256 == tiny.sha256
    pixels = np.random.default_rng(0).normal(100, 10, (64, 64)).astype(np.float32)
    told = [
        drain(counting.count_job(plane(pixels), model.record, 16.0, "a")).prediction
        for model in (tiny, copy)
    ]
    assert [p.model for p in told] == ["tiny", "copy"]
    assert [p.calibration for p in told] == [None, calibration]


@pytest.mark.gui
def test_from_the_button_to_the_layers(tiny, viewer, qtbot, press):
    widget = TallyWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Tally")
    qtbot.waitUntil(lambda: not widget.model.loading)
    assert widget.model.record.name == "tiny"
    image = viewer.add_image(np.random.default_rng(0).normal(100, 10, (96, 80)))
    qtbot.waitUntil(lambda: not widget.image.busy)
    widget.image.diameter_edit.setValue(16)
    press(widget, qtbot)
    density = density_layer(viewer.layers, key_of(image))
    assert widget.result.interval is not None
    assert max(density.data.sum(), 0) == pytest.approx(
        float(density.metadata["celltally"]["prediction"].count), rel=1e-4, abs=1e-4
    )
    assert "no calibration" in widget.result.kind_label.text()
    widget.jobs.stop()
