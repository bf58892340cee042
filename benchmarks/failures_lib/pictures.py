"""Pictures of a place where counting fails: image, densities, and saliency maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from errors_lib.counted import Counted
from errors_lib.pictures import SKY, YELLOW, contrast, save_picture
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from celltally.model import Model
from failures_lib.nuclei import Nuclei, masses

__all__ = ["Panel", "View", "crop_round", "density_panel", "draw", "image_panel", "saliency_panel"]

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class View:
    """What of an image is shown, and which nuclei in there are meant.

    Attributes
    ----------
    nuclei
        Of the image.
    chosen
        ``(n,)`` bool: outlined, and counted in the titles.
    crop
        ``(top, left, bottom, right)`` in pixel edges.
    """

    nuclei: Nuclei
    chosen: NDArray[np.bool_]
    crop: Box

    @property
    def true(self) -> int:
        """Number of chosen nuclei."""
        return int(self.chosen.sum())


@dataclass(frozen=True)
class Panel:
    """One picture in a figure: values with their place, and what stands above."""

    title: str
    values: NDArray[np.floating[Any]]
    extent: Box
    colours: str
    outlined: bool


def crop_round(
    yx: NDArray[np.float64], shape: tuple[int, int], least_px: float, margin_px: float
) -> Box:
    """Smallest square round some places, of at least a size, moved into the image."""
    low, high = yx.min(axis=0) - margin_px, yx.max(axis=0) + margin_px
    side = min(max(float((high - low).max()), least_px), *shape)
    start = np.clip((low + high) / 2 - side / 2, -0.5, np.array(shape) - 0.5 - side)
    return (float(start[0]), float(start[1]), float(start[0] + side), float(start[1] + side))


def image_panel(pixels: NDArray[np.generic], title: str, outlined: bool = True) -> Panel:
    """Panel of an image, its contrast stretched, dim cells lifted."""
    height, width = pixels.shape[:2]
    extent = (-0.5, -0.5, height - 0.5, width - 0.5)
    return Panel(title, contrast(pixels), extent, "gray", outlined)


def density_panel(counted: Counted, view: View, name: str) -> Panel:
    """Panel of a density; says how many cells it has in the parts of the chosen nuclei."""
    mass = masses(counted, view.nuclei)[view.chosen].sum()
    title = f"{name}\ndensity: {mass:.1f} of {view.true}"
    return Panel(title, counted.density, _extent(counted.density, counted), "magma", True)


def saliency_panel(
    model: Model, pixels: NDArray[np.generic], diameter_px: float | None, device: str, name: str
) -> Panel:
    """Panel of which pixels the count depends on."""
    from celltally.explain.saliency import saliency

    said = saliency(model, pixels, diameter_px=diameter_px, device=device)
    return Panel(f"{name}\nsaliency", said.values, _extent(said.values, said.grid), "viridis", True)


def _extent(values: NDArray[Any], grid: Any) -> Box:
    """``(top, left, bottom, right)`` of a map whose cells lie as a ``Grid`` says."""
    top, left = grid.origin
    return (
        top,
        left,
        top + grid.step[0] * values.shape[0],
        left + grid.step[1] * values.shape[1],
    )


def draw(rows: Sequence[Sequence[Panel]], view: View, caption: str, path: Path) -> None:
    """Draw panels in rows, all of one crop; the chosen nuclei outlined.

    Panels of one column that have the same colours have the same scale.
    """
    size = 2.35
    figure = Figure(
        figsize=(size * len(rows[0]), (size + 0.42) * len(rows) + 0.3), layout="constrained"
    )
    figure.suptitle(caption, fontsize=11)
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    top, left, bottom, right = view.crop
    for line, panels in zip(grid.T, zip(*rows, strict=True), strict=True):
        for axes, panel in zip(line, panels, strict=True):
            axes.set_title(panel.title, fontsize=9.5)
            axes.set(xticks=[], yticks=[])
            y0, x0, y1, x1 = panel.extent
            alike = [other for other in panels if other.colours == panel.colours]
            high = max(float(_inside(other, view.crop).max()) for other in alike)
            axes.imshow(
                panel.values, cmap=panel.colours, vmin=0, vmax=max(high, 1e-9),
                extent=(x0, x1, y1, y0), interpolation="nearest",
            )  # fmt: skip
            if panel.outlined:
                _outline(axes, view)
            axes.set(xlim=(left, right), ylim=(bottom, top))
    save_picture(figure, path)


def _inside(panel: Panel, crop: Box) -> NDArray[Any]:
    """Values of a panel that the crop shows, at least one."""
    (y0, x0, y1, x1), values = panel.extent, panel.values
    step = np.array([(y1 - y0) / values.shape[0], (x1 - x0) / values.shape[1]])
    first = np.floor((np.array(crop[:2]) - (y0, x0)) / step).astype(int).clip(0)
    last = np.ceil((np.array(crop[2:]) - (y0, x0)) / step).astype(int)
    rows, columns = (
        slice(min(int(a), n - 1), int(b)) for a, b, n in zip(first, last, values.shape, strict=True)
    )
    return values[rows, columns]


def _outline(axes: Any, view: View) -> None:
    """Draw the outlines of the nuclei that the crop may show."""
    top, left, bottom, right = view.crop
    yx = view.nuclei.yx
    reach = 40 + max(bottom - top, right - left) / 2
    near = (np.abs(yx - ((top + bottom) / 2, (left + right) / 2)) <= reach).all(axis=1)
    for i in np.flatnonzero(near):
        chosen = bool(view.chosen[i])
        lines = axes.contour(
            view.nuclei.labels == i, levels=[0.5], colors=[YELLOW if chosen else SKY],
            linewidths=1.2 if chosen else 0.5,
        )  # fmt: skip
        if chosen:
            lines.set_path_effects([withStroke(linewidth=2.2, foreground="black")])
