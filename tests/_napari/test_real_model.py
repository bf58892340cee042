from __future__ import annotations

import numpy as np
import pytest

from celltally import zoo
from celltally._napari import counting
from celltally._napari.layers import density_layer, kept
from celltally._napari.planes import key_of
from celltally.progress import drain
from celltally.types import Calibration


@pytest.fixture
def tiny(tiny_model, tmp_path, monkeypatch):
    """The tiny model, as the only one there is."""
    model = tiny_model.save(tmp_path / "models" / "tiny")
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tmp_path / "none")
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tmp_path / "models")
    monkeypatch.setattr(counting, "_loaded", [])
    return model


def test_the_job_gives_what_the_library_gives(tiny, make_plane):
    from celltally.predict import predict

    pixels = np.random.default_rng(0).normal(100, 10, (96, 80)).astype(np.float32)
    counted = drain(counting.count_job(make_plane(pixels), tiny.record, 16.0, "noise.tif"))
    expected = predict(tiny, pixels, diameter_px=16.0)
    assert counted.prediction.count == pytest.approx(expected.count, rel=1e-4)
    assert counted.prediction.image == "noise.tif"
    assert counted.prediction.model_sha256 == tiny.sha256
    assert (np.diff(counted.candidates.score) <= 0).all()


def test_the_model_is_loaded_once(tiny, make_plane, monkeypatch):
    loads = []
    load = zoo.load
    monkeypatch.setattr(zoo, "load", lambda name: loads.append(name) or load(name))
    for _ in range(2):
        drain(counting.count_job(make_plane(np.eye(64)), tiny.record, 16.0, "a"))
    assert len(loads) == 1


def test_a_recalibrated_copy_is_another_model(tiny, make_plane, tmp_path):
    """It has the same identity, for it counts the same; its name and intervals are its own."""
    scores = tuple(float(i) for i in range(20))
    calibration = Calibration(1.0, 0.0, 1.0, scores, n=20, groups=20, date="2026-01-01")
    copy = tiny.with_calibration(calibration).save(tmp_path / "models" / "copy")
    assert copy.sha256 == tiny.sha256
    pixels = np.random.default_rng(0).normal(100, 10, (64, 64)).astype(np.float32)
    told = [
        drain(counting.count_job(make_plane(pixels), model.record, 16.0, "a")).prediction
        for model in (tiny, copy)
    ]
    assert [p.model for p in told] == ["tiny", "copy"]
    assert [p.calibration for p in told] == [None, calibration]


@pytest.mark.gui
def test_the_window_counts_with_the_diameter_that_the_library_estimates(
    tiny, viewer, qtbot, open_tally, press, draw_cells, scatter
):
    from celltally.predict import predict

    rng = np.random.default_rng(0)
    pixels = draw_cells(scatter(12, (120, 140), rng), (120, 140), rng=rng)
    widget = open_tally(viewer)
    image = viewer.add_image(pixels)
    qtbot.waitUntil(lambda: not widget.image.busy)
    expected = predict(tiny, pixels)
    assert widget.image.diameter_px == expected.diameter_px
    press(widget)
    density = density_layer(viewer.layers, key_of(image))
    assert kept(density, "prediction").diameter_px == expected.diameter_px
    assert kept(density, "prediction").count == pytest.approx(expected.count, rel=1e-4)


@pytest.mark.gui
@pytest.mark.parametrize("noise", [0, 10])
def test_an_image_that_shows_nothing(noise, tiny, tmp_path, viewer, qtbot, open_tally, press):
    scores = tuple(float(i) for i in range(20))
    calibration = Calibration(
        1.0, 0.0, 1.0, scores, n=20, groups=20, date="2026-01-01", ranges={"contrast": (0.1, 1.0)}
    )
    tiny.with_calibration(calibration).save(tmp_path / "models" / "calibrated")
    widget = open_tally(viewer)
    widget.model.model_box.setCurrentText("calibrated")
    viewer.add_image(np.random.default_rng(0).normal(100, noise, (96, 80)))
    qtbot.waitUntil(lambda: not widget.image.busy)
    assert widget.image.diameter_px is None
    assert "could not be estimated" in widget.image.note.text()
    widget.image.diameter_edit.setValue(16)
    press(widget)
    result = widget.result
    assert result.count_label.text() == "0 cells"
    assert result.dots_label.text() == "No dots."
    assert not result.slider_row.isEnabled()
    assert result.interval.kind == "not calibrated"
    assert result.interval.reason in result.kind_label.text()


@pytest.mark.gui
def test_from_the_button_to_the_layers(tiny, viewer, qtbot, open_tally, press):
    widget = open_tally(viewer)
    assert widget.model.record.name == "tiny"
    image = viewer.add_image(np.random.default_rng(0).normal(100, 10, (96, 80)))
    qtbot.waitUntil(lambda: not widget.image.busy)
    widget.image.diameter_edit.setValue(16)
    press(widget)
    density = density_layer(viewer.layers, key_of(image))
    assert widget.result.interval is not None
    assert max(density.data.sum(), 0) == pytest.approx(
        kept(density, "prediction").count, rel=1e-4, abs=1e-4
    )
    assert "no calibration" in widget.result.kind_label.text()
