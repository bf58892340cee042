"""Seconds of every step from an image file to a count with its interval and dots.

    python benchmarks/pipeline.py [FILE] [--model general] [--diameter 12] [--repeats 5]

Without a file an image with bright spots is made.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

from celltally import intervals, zoo
from celltally.density import dots_from_prediction
from celltally.devices import resolve_device
from celltally.diameter import diameter_of
from celltally.io import read_image, select_pixels
from celltally.model import Model
from celltally.predict import infer, predict
from celltally.preprocess import normalise
from celltally.progress import drain
from celltally.scale import model_shape, rescale

SIDE = 2048


class Clock:
    """Seconds of named steps, over several rounds."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def step(self, name: str) -> Generator[None, None, None]:
        """Measure what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)

    @property
    def medians(self) -> dict[str, float]:
        """Median seconds of each step."""
        return {name: statistics.median(taken) for name, taken in self.seconds.items()}


def measure(file: Path, model: Model, diameter_px: float | None, repeats: int) -> Clock:
    """Run every step by itself, as a count runs them one after the other."""
    clock = Clock()
    device = resolve_device("auto")
    prediction = predict(model, select_pixels(read_image(file)), diameter_px=diameter_px)
    for _ in range(repeats):
        with clock.step("read the file"):
            pixels = select_pixels(read_image(file))
        with clock.step("normalise intensities"):
            values, _ = normalise(pixels)
        with clock.step("estimate the diameter"):
            estimated = diameter_of(values)
        with clock.step("rescale"):
            cells = diameter_px or estimated or model.diameter_px
            scaled = rescale(values, model_shape(values.shape[1:], cells, model.diameter_px))
        with clock.step("network"):
            drain(infer(model.network, scaled, device=device))
        with clock.step("find dots"):
            dots_from_prediction(prediction)
        with clock.step("interval"):
            intervals.of(prediction)
    height, width = scaled.shape[1:]
    megapixels = height * width / 1e6
    print(f"{device}, {width} × {height} px at model scale, median of {repeats}")
    for name, seconds in clock.medians.items():
        print(f"{name:>22}: {1e3 * seconds:8.1f} ms, {megapixels / seconds:8.1f} Mpx/s")
    total = sum(clock.medians.values())
    print(f"{'together':>22}: {1e3 * total:8.1f} ms, {megapixels / total:8.1f} Mpx/s")
    return clock


def spots(side: int) -> np.ndarray:
    """Bright spots of 12 px on a dark, noisy ground, uint8."""
    rng = np.random.default_rng(0)
    image = rng.normal(30, 4, (side, side))
    y, x = np.mgrid[-9:10, -9:10]
    spot = 150 / (1 + np.exp(np.hypot(y, x) - 6))
    for top, left in rng.integers(0, side - 19, (side * side // 2000, 2)):
        image[top : top + 19, left : left + 19] += spot
    return np.clip(image, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--model", default="general")
    parser.add_argument("--diameter", type=float, help="cell diameter in px; else estimated")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    model = zoo.load(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.file
        if file is None:
            file = Path(folder) / "spots.tif"
            tifffile.imwrite(file, spots(SIDE))
        measure(file, model, arguments.diameter, arguments.repeats)


if __name__ == "__main__":
    main()
