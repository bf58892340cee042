"""The place where each of the three failures is seen best, and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from failures_lib.images import Images
from failures_lib.nuclei import masses
from failures_lib.pictures import (
    Panel,
    View,
    crop_round,
    density_panel,
    draw,
    image_panel,
    saliency_panel,
)
from failures_lib.study import BLURS, groups_by_shape

__all__ = ["Case", "draw_focus", "draw_overlap", "draw_shape"]

#: How many nuclei a clump has that is shown: more do not fit a legible picture.
CLUMP = range(2, 9)
#: Sides of the crops, in cell diameters.
CROP, WIDE_CROP = 4.5, 7.0


@dataclass(frozen=True, eq=False)
class Case:
    """What pictures are drawn from, and where to.

    Attributes
    ----------
    images
        With the models that counted them.
    shown
        Names of the models in the pictures.
    device
        Where saliency is computed.
    folder
        Of the pictures.
    """

    images: Images
    shown: Sequence[str]
    device: str
    folder: Path

    def masses(self, at: int, sigma_px: float = 0) -> NDArray[np.float64]:
        """``(models, n)`` density in the part of each nucleus of an image."""
        nuclei = self.images.nuclei[at]
        return np.array(
            [masses(self.images.count(model, at, sigma_px), nuclei) for model in self.shown]
        )

    def table(self) -> pd.DataFrame:
        """Rows of the nuclei of all images, by the shown models."""
        table = self.images.nucleus_table
        return table[table["model"].isin(self.shown)].reset_index(drop=True)

    def diameter(self, at: int) -> float:
        """Cell diameter that an image was counted with, in pixels."""
        return self.images.count(self.shown[0], at).diameter_px

    def title(self, at: int) -> str:
        """Set and image."""
        stem = self.images.pairs[at][1].stem
        return f"{self.images.name}, {stem if len(stem) <= 16 else stem[:15] + '…'}"

    def densities(self, at: int, view: View, sigma_px: float = 0) -> list[Panel]:
        """Return a panel per model."""
        counted = {model: self.images.count(model, at, sigma_px) for model in self.shown}
        return [density_panel(said, view, model) for model, said in counted.items()]

    def saliencies(self, at: int, sigma_px: float = 0) -> list[Panel]:
        """Return a panel per model."""
        pixels = self.images.pixels(at, sigma_px)
        return [
            saliency_panel(
                self.images.counters[model].model, pixels, self.diameter(at), self.device, model
            )
            for model in self.shown
        ]


def draw_overlap(case: Case) -> str:
    """Draw the clump of touching nuclei whose number is wrong by most for all shown models.

    That is, by most for the model that is least wrong there, in the direction in which nuclei
    that touch are wrong on average.

    Returns
    -------
    str
        What the picture shows; empty where no image has such a clump, and nothing is drawn.
    """
    table = case.table()
    sign = _direction(table[table["touching"]])
    worst = (0.0, -1, np.empty(0, bool))
    for at, nuclei in enumerate(case.images.nuclei):
        error = sign * (case.masses(at) - 1)
        for clump in np.unique(nuclei.clump[nuclei.touching]):
            members = nuclei.clump == clump
            if members.sum() in CLUMP and nuclei.whole[members].all():
                off = float(error[:, members].sum(axis=1).min())
                worst = max(worst, (off, at, members), key=lambda found: found[0])
    _, at, members = worst
    if at < 0:
        return ""
    return _draw_place(case, at, members, f"{members.sum()} nuclei that touch", "overlap")


def draw_shape(case: Case) -> str:
    """Draw the irregular nucleus, alone, that is wrong by most for all shown models.

    As of ``draw_overlap``: single ones may be wrong the other way, as labels may.

    Returns
    -------
    str
        As of ``draw_overlap``.
    """
    table = case.table()
    table = table[groups_by_shape(table)["irregular"]].copy()
    if table.empty:
        return ""
    table["error"] = _direction(table) * (table["mass"] - 1)
    least = table.groupby(["at", "nucleus"], as_index=False)["error"].min()
    worst = least.loc[least["error"].idxmax()]
    at, i = int(worst["at"]), int(worst["nucleus"])
    nuclei = case.images.nuclei[at]
    what = f"an irregular nucleus (solidity {nuclei.solidity[i]:.2f})"
    return _draw_place(case, at, np.arange(len(nuclei.yx)) == i, what, "shape")


def _direction(table: pd.DataFrame) -> float:
    """Sign of the mean error of nuclei, each with the median over the models."""
    error = table.groupby(["at", "nucleus"])["mass"].median() - 1
    return float(np.sign(error.mean()))


def draw_focus(case: Case) -> str:
    """Draw the square where the strongest blur adds most to the models' errors, in the median.

    Returns
    -------
    str
        As of ``draw_overlap``.
    """
    sigma, worst = BLURS[-1], (0.0, -1, -1)
    for at, nuclei in enumerate(case.images.nuclei):
        sharp, blurry = case.masses(at), case.masses(at, sigma)
        for i in range(len(nuclei.yx)):
            chosen = _around(case, at, i).chosen
            before, after = (
                np.abs(mass[:, chosen].sum(axis=1) - chosen.sum()) for mass in (sharp, blurry)
            )
            worst = max(worst, (float(np.median(after - before)), at, i))
    _, at, i = worst
    if at < 0:
        return ""
    view = _around(case, at, i)
    rows = [
        [image_panel(case.images.pixels(at), f"as it is\ntrue: {view.true}")],
        [image_panel(case.images.pixels(at, sigma), f"blurred, σ = {sigma} px\ntrue: {view.true}")],
        [image_panel(case.images.pixels(at, sigma), f"blurred, σ = {sigma} px\n", outlined=False)],
    ]
    rows[0] += case.densities(at, view)
    rows[1] += case.densities(at, view, sigma)
    rows[2] += case.saliencies(at, sigma)
    caption = f"{case.title(at)}: as it is, and blurred with σ = {sigma} px"
    draw(rows, view, caption, case.folder / "focus.png")
    return caption


def _around(case: Case, at: int, i: int) -> View:
    """Square round a nucleus; those whose dots lie in there are meant."""
    nuclei, side = case.images.nuclei[at], WIDE_CROP * case.diameter(at)
    shape = (nuclei.labels.shape[0], nuclei.labels.shape[1])
    crop = crop_round(nuclei.yx[[i]], shape, side, 0)
    inside = np.all((nuclei.yx >= crop[:2]) & (nuclei.yx < crop[2:]), axis=1)
    return View(nuclei, inside, crop)


def _draw_place(case: Case, at: int, chosen: NDArray[np.bool_], what: str, name: str) -> str:
    """Draw an image with densities above saliency maps; returns what is seen."""
    nuclei, diameter = case.images.nuclei[at], case.diameter(at)
    shape = (nuclei.labels.shape[0], nuclei.labels.shape[1])
    crop = crop_round(nuclei.yx[chosen], shape, CROP * diameter, 1.2 * diameter)
    view = View(nuclei, chosen, crop)
    pixels = case.images.pixels(at)
    outlined = image_panel(pixels, f"true (outlined): {view.true}\n")
    rows = [
        [image_panel(pixels, "image\n", outlined=False), *case.densities(at, view)],
        [outlined, *case.saliencies(at)],
    ]
    caption = f"{case.title(at)}: {what}"
    draw(rows, view, caption, case.folder / f"{name}.png")
    return caption
