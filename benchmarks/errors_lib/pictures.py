"""Pictures: errors against the diameter, and the images that were counted worst.

Colours are of Okabe and Ito's palette, which any colour vision tells apart; what
matters has a shape of its own as well.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from PIL import Image

from celltally.density import match_dots
from errors_lib.counted import Counted
from errors_lib.study import FACTORS

__all__ = ["LIMIT", "contrast", "draw_diameter", "draw_worst", "save_picture"]

#: Bytes of a picture.
LIMIT = 150_000
SKY, ORANGE, BLUE, YELLOW = "#56b4e9", "#e69f00", "#0072b2", "#f0e442"


def draw_diameter(errors: pd.DataFrame, path: Path) -> None:
    """Draw the errors of ``diameter_errors``, a panel per set, all on one scale."""
    names = errors.index.get_level_values("set").unique()
    rows = math.ceil(len(names) / 4)
    columns = math.ceil(len(names) / rows)
    figure = Figure(figsize=(2.6 * columns, 2.5 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        lines = errors.loc[name]
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.axvline(1, color="0.6", linewidth=0.8)
        axes.plot(lines.index, lines["mae"], "o-", color=BLUE, markersize=4, label="absolute error")
        axes.plot(lines.index, lines["bias"], "s--", color=ORANGE, markersize=3, label="bias")
        axes.set_title(str(name), fontsize=10)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    panels[0].set_xscale("log")
    panels[0].set_xticks([0.5, 0.75, 1, 1.5], ["0.5", "0.75", "1", "1.5"])
    panels[0].set_xticks([], minor=True)
    panels[0].set_xlim(FACTORS[0] * 0.93, FACTORS[-1] * 1.07)
    panels[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    panels[0].legend(fontsize=8, frameon=False)
    figure.supxlabel("diameter that was given / right diameter", fontsize=10)
    figure.supylabel("error / mean count", fontsize=10)
    save_picture(figure, path)


def draw_worst(
    pixels: NDArray[np.generic],
    counted: Counted,
    true: NDArray[np.float64] | None,
    caption: str,
    radius_px: float,
    path: Path,
) -> None:
    """Draw an image, what was found and missed in it, and its density, side by side.

    Parameters
    ----------
    pixels
        ``(H, W)`` or ``(H, W, 3)``.
    counted
        What the model said.
    true
        Positions of the true dots, or None where only their number is known.
    caption
        Stands above.
    radius_px
        How far a found dot may be from its true one.
    path
        Where to; at most ``LIMIT`` bytes.
    """
    height, width = counted.image_shape
    tall = min(3.3 * height / width, 5.0)
    figure = Figure(figsize=(3 * 3.3, tall + 0.85), layout="constrained")
    figure.suptitle(caption, fontsize=11)
    panels = figure.subplots(1, 3)
    shown = contrast(pixels)
    titles = (f"image; ring: the diameter, {counted.diameter_px:.3g} px", "dots", "density")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    for axes in panels[:2]:
        axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    r = counted.diameter_px / 2
    ring = Circle((1.4 * r, height - 1.4 * r), r, fill=False, color=YELLOW, linewidth=1.2)
    panels[0].add_patch(ring)
    _draw_dots(panels[1], counted.dots, true, radius_px)
    top, left = counted.origin
    bottom = top + counted.step[0] * counted.density.shape[0]
    right = left + counted.step[1] * counted.density.shape[1]
    panels[2].imshow(counted.density, cmap="magma", vmin=0, extent=(left, right, bottom, top))
    for axes in panels:
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    save_picture(figure, path)


def _draw_dots(
    axes: Any, found: NDArray[np.float64], true: NDArray[np.float64] | None, radius_px: float
) -> None:
    # A dark edge, so that they show on bright cells; whole, also where they lie on the border.
    edge = [withStroke(linewidth=2.6, foreground="black")]

    def draw(yx: NDArray[np.float64], size: float, marker: str, label: str, **looks: Any) -> None:
        looks |= {"clip_on": False, "path_effects": edge}
        axes.scatter(yx[:, 1], yx[:, 0], s=size, marker=marker, label=label, **looks)

    if true is None:
        draw(found, 9, "o", "found", color=SKY)
        return
    pairs = match_dots(true, found, radius_px).pairs
    missed, extra = np.delete(true, pairs[:, 0], 0), np.delete(found, pairs[:, 1], 0)
    draw(found[pairs[:, 1]], 9, "o", "true and found", color=SKY)
    draw(missed, 45, "o", "true, but missed", facecolors="none", edgecolors=ORANGE, linewidths=1.5)
    draw(extra, 32, "x", "found, but not true", color=YELLOW, linewidths=1.3)


def contrast(pixels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Values in [0, 1]; those of grey images lifted, so that dim cells show beside bright ones."""
    values = np.asarray(pixels, dtype=np.float64)
    low, high = np.percentile(values, (0.5, 99.8))
    shown: NDArray[np.float64] = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return shown**0.6 if shown.ndim == 2 else shown


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture of 256 colours, as large as fits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for dpi in (150, 120, 100, 80, 60):
        drawn, file = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, dpi=dpi, format="png")
        picture = Image.open(drawn).convert("RGB")
        # By coverage: the few pixels of a mark keep their colour.
        few = picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, "PNG", optimize=True)
        if file.tell() <= LIMIT:
            break
    path.write_bytes(file.getvalue())
