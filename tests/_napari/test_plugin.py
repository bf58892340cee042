from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest

import celltally
from celltally._napari import preload, sample_data
from celltally._napari.demo import canvas_is_drawn
from celltally._napari.preload import preload_torch

MANIFEST = PluginManifest.from_file(Path(celltally.__file__).parent / "napari.yaml")


@pytest.mark.parametrize("sample", MANIFEST.contributions.sample_data, ids=lambda s: s.key)
def test_samples_load(sample):
    command = next(c for c in MANIFEST.contributions.commands if c.id == sample.command)
    name = command.python_name.partition(":")[2]
    ((pixels, settings, kind),) = getattr(sample_data, name)()
    assert kind == "image"
    assert pixels.ndim == 2
    assert pixels.std() > 0
    low, high = settings["contrast_limits"]
    assert low < high
    assert sample_data.sample_path(sample.key).is_file()


def test_samples_are_small_and_attributed():
    folder = sample_data.sample_path("u2os-hoechst-1").parent
    assert sum(f.stat().st_size for f in folder.iterdir()) < 2_000_000
    text = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert all(name in text for name in sample_data.SAMPLES.values())


def test_the_plugin_loads_no_torch():
    modules = sorted(
        f"celltally._napari.{path.stem}"
        for path in Path(celltally.__file__).parent.glob("_napari/[!_]*.py")
    )
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


@pytest.mark.skipif(os.name == "nt", reason="nothing is opened beforehand on Windows")
def test_opening_torch_beforehand_does_it_no_harm():
    code = (
        "from celltally._napari.preload import preload_torch; preload_torch();"
        "import sys; assert 'torch' not in sys.modules;"
        "import torch; print(float(torch.ones(3).sum()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "3.0"


@pytest.mark.gui
def test_torchvision_does_not_take_the_window_down():
    """It imports triton, whose LLVM does not bear Mesa's beside it."""
    code = (
        "from qtpy.QtGui import QOffscreenSurface, QOpenGLContext;"
        "from qtpy.QtWidgets import QApplication;"
        "app, surface, gl = QApplication([]), QOffscreenSurface(), QOpenGLContext();"
        "surface.create(); gl.create(); gl.makeCurrent(surface);"
        "from celltally._napari.preload import preload_torch; preload_torch();"
        "import torchvision; print('alive', flush=True)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "alive" in result.stdout, result.stderr


@pytest.mark.parametrize(
    ("loaded", "kept_out"), [("/lib/libLLVM-15.so.1", True), ("/lib/libGLX_nvidia.so.0", False)]
)
def test_triton_is_kept_out_beside_mesas_llvm_only(monkeypatch, tmp_path, loaded, kept_out):
    monkeypatch.setattr(preload, "MAPS", tmp_path / "maps")
    monkeypatch.setitem(sys.modules, "triton", None)  # so that it is as before afterwards
    monkeypatch.delitem(sys.modules, "triton")
    (tmp_path / "maps").write_text(f"7f00-7fff r-xp 00000000 fe:00 1 {loaded}\n")
    preload_torch()
    assert ("triton" in sys.modules) == kept_out


def test_opening_torch_where_there_is_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    preload_torch()
    assert "torch" not in sys.modules


def test_a_black_canvas_is_noticed():
    assert not canvas_is_drawn(np.zeros((50, 50, 4), np.uint8))
    ramp = np.zeros((50, 50, 3), np.uint8)
    ramp[..., 0] = np.arange(50)
    assert canvas_is_drawn(ramp)


@pytest.mark.gui
def test_from_the_sample_menu_to_a_count(manifest, viewer, counter, qtbot, press):
    """The way a user goes: napari hands a plugin's widget a viewer without private parts."""
    (layer,) = viewer.open_sample("celltally", "u2os-hoechst-1")
    _, widget = viewer.window.add_plugin_dock_widget("celltally", "Tally")
    qtbot.waitUntil(lambda: not widget.model.loading)
    assert widget.image.layer.name == layer.name
    press(widget)
    widget.image.ring_box.click()
    widget.result.slider.setValue(10)
    assert [one.name for one in viewer.layers] == [
        "u2os-hoechst-1",
        "u2os-hoechst-1 density",
        "u2os-hoechst-1 dots",
        "u2os-hoechst-1 cell diameter",
    ]
    assert counter.calls[0][3] == "u2os-hoechst-1.tif"
    viewer.layers.clear()
    assert widget.image.layer is None
    widget.jobs.stop()
