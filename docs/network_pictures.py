r"""Make the pictures of the networks, in docs/images: for docs/networks.md and the README.

    python docs/network_pictures.py
    python docs/network_pictures.py csrnet=my/csrnet tally=general

Every network counts the same sample image; a model is a name or a folder. A model that has
learned from the image is refused.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

import celltally
from celltally import zoo
from celltally.errors import UserError
from celltally.published import PUBLISHED
from celltally.record import ModelRecord, sha256_of

IMAGES = Path(__file__).parent / "images"
SAMPLE = Path(celltally.__file__).parent / "_napari" / "samples" / "u2os-hoechst-1.tif"
#: Annotated nuclei (samples/ATTRIBUTION.md), and their diameter as the data set states it.
TRUE, DIAMETER_PX = 128, 28.0
#: Rows and columns that the README shows, some of whose nuclei touch.
CROP = (slice(20, 180), slice(110, 270))
MODELS = {
    "tally": "u2os-hoechst",
    "csrnet": "csrnet-u2os",
    "countxplain": "countxplain-u2os",
    "decoupled": "decoupled-u2os",
    "fpn_counter": "fpn-counter-u2os",
    "patch_regression": "patch-regression-u2os",
}
SKY = "#56b4e9"


@dataclass(frozen=True, eq=False)
class Counted:
    """The sample as a model sees it: its density, positions ``(n, 2)`` and what was counted."""

    density: np.ndarray
    extent: tuple[float, float, float, float]
    yx: np.ndarray
    title: str


def main(words: list[str]) -> int:
    models = dict(MODELS)
    try:
        for word in words:
            network, _, model = word.partition("=")
            if network not in MODELS or not model:
                raise UserError(f"{word!r} cannot be used; give NETWORK=MODEL, as in csrnet=mine")
            models[network] = model
        IMAGES.mkdir(exist_ok=True)
        pixels = celltally.select_pixels(celltally.read_image(SAMPLE))
        for network, model in models.items():
            counted = count(network, model, pixels)
            print(counted.title.replace("\n", ": "), flush=True)
            draw(pixels, counted, IMAGES / f"networks-{network}.png")
            draw_small(pixels, counted, IMAGES / f"networks-{network}-small.png")
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


def count(network: str, name: str, pixels: np.ndarray) -> Counted:
    model = zoo.load(name)
    if model.record.network != network:
        raise UserError(f"the model {name} is a {model.record.network}, not a {network}")
    if sha256_of(SAMPLE.read_bytes())[:16] in model.record.taught_by:
        raise UserError(f"the model {name} has learned from {SAMPLE.name}; give another one")
    said = celltally.predict(model, pixels, diameter_px=DIAMETER_PX)
    interval = celltally.intervals.of(said)
    dots = celltally.dots_from_prediction(said)
    (top, left), (high, wide) = said.grid.origin, said.grid.step
    rows, columns = said.grid.shape
    bounds = f", 95 %: {interval.low:.0f}–{interval.high:.0f}" if interval.high < np.inf else ""
    return Counted(
        said.density.sum(axis=0),
        (left, left + wide * columns, top + high * rows, top),
        dots.yx,
        f"{title(model.record)}\n{said.count:.0f} cells{bounds}; {TRUE} annotated",
    )


def title(record: ModelRecord) -> str:
    """Say which network it is, and what was changed in it."""
    architecture = PUBLISHED.get(record.network)
    if architecture is None:
        return f"Tally ({record.name})"
    return ", ".join([architecture.name, *architecture.changes(record.config)])


def draw(pixels: np.ndarray, counted: Counted, path: Path) -> None:
    """Draw the image, its density and its dots, side by side."""
    figure = Figure(figsize=(11, 3.35), layout="constrained")
    figure.suptitle(counted.title, fontsize=11)
    panels = figure.subplots(1, 3)
    names = ("image", "density", f"dots: {len(counted.yx)}")
    for axes, name in zip(panels, names, strict=True):
        axes.set_title(name, fontsize=9)
    show_image(panels[0], pixels)
    show_density(panels[1], counted)
    show_image(panels[2], pixels)
    show_dots(panels[2], counted, 9)
    frame(panels, (slice(0, pixels.shape[0]), slice(0, pixels.shape[1])))
    save(figure, 100, path)


def draw_small(pixels: np.ndarray, counted: Counted, path: Path) -> None:
    """Draw a detail of density and dots."""
    figure = Figure(figsize=(3.22, 1.6))
    panels = figure.subplots(
        1, 2, gridspec_kw={"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.0125}
    )
    show_density(panels[0], counted)
    show_image(panels[1], pixels)
    show_dots(panels[1], counted, 16)
    frame(panels, CROP)
    save(figure, 100, path)


def show_image(axes: Any, pixels: np.ndarray) -> None:
    low, high = np.percentile(pixels, (0.5, 99.8))
    lifted = np.clip((pixels - low) / (high - low), 0, 1) ** 0.6  # dim nuclei beside bright ones
    axes.imshow(lifted, cmap="gray", interpolation="nearest")


def show_density(axes: Any, counted: Counted) -> None:
    density = counted.density.clip(0)
    axes.imshow(density, cmap="magma", vmin=0, extent=counted.extent, interpolation="nearest")


def show_dots(axes: Any, counted: Counted, size: float) -> None:
    # A dark edge, so that they show on bright nuclei.
    edge = [withStroke(linewidth=2.6, foreground="black")]
    axes.scatter(*counted.yx.T[::-1], s=size, color=SKY, path_effects=edge)


def frame(panels: Any, window: tuple[slice, slice]) -> None:
    rows, columns = window
    for axes in panels:
        axes.set_axis_off()
        axes.set(
            xlim=(columns.start - 0.5, columns.stop - 0.5),
            ylim=(rows.stop - 0.5, rows.start - 0.5),
        )


def save(figure: Figure, dpi: int, path: Path) -> None:
    """Write a picture of 256 colours, chosen so that few small dots keep theirs."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, format="png")
    few = (
        Image.open(drawn)
        .convert("RGB")
        .quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    few.save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
