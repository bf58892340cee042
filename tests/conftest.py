"""Fixtures that several rooms share: a tiny model, and data sets made of drawn cells."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

# No test needs triton, and its import kills a process in which Mesa has drawn a window with
# its own LLVM (see celltally._napari.preload): tests could not run in any order.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]


def screen_of_ones_own() -> None:
    """Give a further process of the test run a virtual screen, before Qt opens a window.

    Windows of two processes on one screen take the keyboard from each other.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if worker == "gw0" or not os.environ.get("DISPLAY") or shutil.which("Xvfb") is None:
        return
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    screen = subprocess.Popen(command, pass_fds=(write,), stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as answer:
        os.environ["DISPLAY"] = f":{answer.readline().strip()}"
    os.environ.pop("XAUTHORITY", None)  # it is the other screen's
    atexit.register(screen.terminate)


screen_of_ones_own()

#: Settings of a `tally` that runs in milliseconds.
TINY = {
    "widths": (8, 8),
    "encoder_blocks": (1, 1),
    "decoder_blocks": (1,),
    "depth": 8,
    "prototypes": 4,
    "context": 4,
}


@pytest.fixture
def tiny_config() -> dict[str, object]:
    return dict(TINY)


@pytest.fixture
def tiny_model(tiny_config):
    """A `tally` with random, lively weights: every layer matters, biases included."""
    import torch

    from celltally.model import Model
    from celltally.networks import build

    torch.manual_seed(0)
    network = build("tally", tiny_config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Model.from_network(network, name="tiny", diameter_px=12.0)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """Folder of a model that counts in milliseconds, calibrated; for reading only."""
    import torch

    from celltally.model import Model
    from celltally.networks import build
    from celltally.types import Calibration

    torch.manual_seed(0)
    network = build("tally", TINY | {"depth": 4, "context": 0})
    calibration = Calibration(1.0, 0.0, 4.0, tuple(np.linspace(0, 2, 40)), 40, 40, "2024-01-01")
    model = Model.from_network(network, name="tiny", diameter_px=12.0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model.with_calibration(calibration).save(folder)
    return folder


def _draw_cells(
    yx: np.ndarray,
    shape: tuple[int, int],
    sigma: float = 3.0,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Bright Gaussian blobs at ``yx`` on a dark, slightly noisy ground, uint8."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    field = np.full(shape, 20.0)
    for row, column in np.asarray(yx, dtype=float).reshape(-1, 2):
        field += 180 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))
    if rng is not None:
        field += rng.normal(0, 2, shape)
    return np.clip(field, 0, 255).round().astype(np.uint8)


def _scatter(n: int, shape: tuple[int, int], rng: np.random.Generator, apart: float = 10.0):
    """Up to ``n`` positions, all at least ``apart`` from each other."""
    points: list[np.ndarray] = []
    for candidate in rng.uniform((4, 4), np.array(shape) - 5, (50 * n, 2)):
        if len(points) == n:
            break
        if all(np.hypot(*(candidate - p)) >= apart for p in points):
            points.append(candidate)
    return np.array(points).reshape(-1, 2)


@pytest.fixture
def draw_cells():
    return _draw_cells


@pytest.fixture
def scatter():
    return _scatter


@pytest.fixture
def dataset_folder(tmp_path) -> Callable[..., Path]:
    """Write a data set folder of drawn cells; returns its path."""

    def make(
        name: str = "blobs",
        counts: Sequence[int] = (4, 8, 6, 10),
        *,
        shape: tuple[int, int] = (64, 72),
        stems: Sequence[str] | None = None,
        labels: str = "dots",
        folder: Path | None = None,
        **meta: object,
    ) -> Path:
        folder = folder or tmp_path / name
        (folder / "images").mkdir(parents=True)
        rng = np.random.default_rng(len(counts))
        rows = ["image,count"]
        for i, n in enumerate(counts):
            stem = stems[i] if stems else f"{name}-{i}"
            yx = _scatter(n, shape, rng)
            imageio.imwrite(folder / "images" / f"{stem}.png", _draw_cells(yx, shape, rng=rng))
            rows.append(f"{stem}.png,{len(yx)}")
            if labels == "dots":
                (folder / "dots").mkdir(exist_ok=True)
                lines = ["y,x", *(f"{y:.3f},{x:.3f}" for y, x in yx)]
                (folder / "dots" / f"{stem}.csv").write_text("\n".join(lines) + "\n")
        if labels == "counts":
            (folder / "counts.csv").write_text("\n".join(rows) + "\n")
        content = {"name": name, "diameter_px": 12, "licence": "CC0 1.0"} | meta
        (folder / "dataset.json").write_text(json.dumps(content))
        return folder

    return make


@pytest.fixture
def prepared_images(dataset_folder):
    """Images of a small data set at model scale, as training takes them."""

    def make(*args: object, nominal_px: float = 12.0, **options: object):
        from celltally.learn.data import read_dataset
        from celltally.learn.prepare import prepare
        from celltally.progress import drain

        dataset = read_dataset(dataset_folder(*args, **options))
        return drain(prepare([(dataset, s) for s in dataset.samples], nominal_px))

    return make
